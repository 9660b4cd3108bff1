//! Security contexts, of pods and of containers.
use super::{Options, sources, windows};
use crate::{
    field::{Field, range},
    show::{internal, own},
};

fn id(f: &Field<'_>) {
    if f.exists() {
        f.in_range(0, i32::MAX.into());
    }
}

pub(super) fn of_pod(spec: &Field<'_>, options: &Options) {
    let f = spec.at("securityContext");
    if !f.exists() {
        return;
    }
    id(&f.at("fsGroup"));
    id(&f.at("runAsUser"));
    id(&f.at("runAsGroup"));
    for g in f.at("supplementalGroups").items() {
        g.in_range(0, i32::MAX.into());
    }
    sysctls(&f.at("sysctls"), spec, options);
    f.at("fsGroupChangePolicy").optional_of(&["Always", "OnRootMismatch"]);
    seccomp(&f.at("seccompProfile"));
    windows::security(&f.at("windowsOptions"));
    apparmor(&f.at("appArmorProfile"));
    f.at("supplementalGroupsPolicy").optional_of(&["Merge", "Strict"]);
    f.at("seLinuxChangePolicy").optional_of(&["MountOption", "Recursive"]);
}

const SYSCTL: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn sysctl_name(name: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |s: &str| {
        let b = s.as_bytes();
        matches!((b.first(), b.last()), (Some(f), Some(l)) if alphanumeric(*f) && alphanumeric(*l)) && b.iter().all(|c| alphanumeric(*c) || b"-_".contains(c))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

fn sysctls(list: &Field<'_>, spec: &Field<'_>, options: &Options) {
    let mut seen = Vec::new();
    for s in list.items() {
        let name = s.at("name");
        if name.str().is_empty() {
            name.required("");
        } else if !sysctl_name(name.str()) {
            name.invalid(name.str(), &format!("must have at most 253 characters and match regex {SYSCTL}"));
        } else if seen.contains(&name.str()) {
            name.duplicate(name.str());
        }
        if !options.host_sysctls
            && let Some(what) = on_host(spec, name.str())
        {
            name.invalid(name.str(), &format!("may not be specified when '{what}' is true"));
        }
        seen.push(name.str());
    }
}

/// Which of the host's namespaces the setting would change.
pub(super) fn on_host(spec: &Field<'_>, name: &str) -> Option<&'static str> {
    // The first separator says which of the two spellings it is.
    let name: String = match name.find(['.', '/']) {
        Some(i) if name[i..].starts_with('/') => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let name = name.split('*').next().unwrap_or_default();
    const IPC: [&str; 9] = [
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.shm",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
    ];
    if spec.at("hostNetwork").flag() && name.starts_with("net.") {
        return Some("hostNetwork");
    }
    let ipc = IPC.contains(&name) || name == "kernel.msg" || name.starts_with("fs.mqueue.");
    (spec.at("hostIPC").flag() && ipc).then_some("hostIPC")
}

pub(super) fn of_container(f: &Field<'_>, host_users: bool, options: &Options) {
    if !f.exists() {
        return;
    }
    id(&f.at("runAsUser"));
    id(&f.at("runAsGroup"));
    let proc = f.at("procMount");
    if proc.exists() {
        proc.if_any_of(&["Default", "Unmasked"]);
        if host_users && proc.is("Unmasked") {
            proc.invalid(proc.str(), "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(&f.at("seccompProfile"));
    escalation(f, options);
    windows::security(&f.at("windowsOptions"));
    apparmor(&f.at("appArmorProfile"));
}

pub(super) fn escalation(f: &Field<'_>, options: &Options) {
    if f.at("allowPrivilegeEscalation").switch() != Some(false) {
        return;
    }
    let shown = || internal("io.k8s.api.core.v1.SecurityContext", f.value());
    if f.at("privileged").flag() {
        f.invalid(shown(), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    if !options.sys_admin_without_escalation && f.at("capabilities.add").strs().contains(&"CAP_SYS_ADMIN") {
        f.invalid(shown(), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(f: &Field<'_>) {
    if !f.exists() {
        return;
    }
    let (kind, path) = (f.at("type"), f.at("localhostProfile"));
    if kind.str().is_empty() {
        kind.required("type is required when seccompProfile is set");
    } else {
        kind.if_any_of(&PROFILES);
    }
    match path.text() {
        None if kind.is("Localhost") => path.required("must be set when seccomp type is Localhost"),
        None => {}
        Some(p) if kind.is("Localhost") => sources::descending(&path, p),
        Some(_) => path.invalid(internal("io.k8s.api.core.v1.SeccompProfile", f.value()), "can only be set when seccomp type is Localhost"),
    }
}

const MAX_PATH: usize = 4095;

fn apparmor(f: &Field<'_>) {
    if !f.exists() {
        return;
    }
    let (kind, path) = (f.at("type"), f.at("localhostProfile"));
    match kind.str() {
        "Localhost" => match path.text() {
            None => path.required("must be set when AppArmor type is Localhost"),
            Some(p) => {
                if p.trim() != p {
                    path.invalid(p, "must not be padded with whitespace");
                } else if p.is_empty() {
                    path.required("must be set when AppArmor type is Localhost");
                }
                if p.len() > MAX_PATH {
                    path.too_long(MAX_PATH);
                }
            }
        },
        "RuntimeDefault" | "Unconfined" if path.exists() => path.invalid(own(path.value()), "can only be set when AppArmor type is Localhost"),
        "RuntimeDefault" | "Unconfined" => {}
        "" => kind.required("type is required when appArmorProfile is set"),
        k => kind.unsupported(k, &PROFILES),
    }
}

/// Users and groups that a status tells.
pub(super) fn status_user(f: &Field<'_>) {
    let uid = f.at("uid");
    if !(0..=i64::from(u32::MAX)).contains(&uid.int()) {
        uid.invalid(uid.int(), &range(0, u32::MAX.into()));
    }
    f.at("gid").in_range(0, i32::MAX.into());
    for g in f.at("supplementalGroups").items() {
        g.in_range(0, i32::MAX.into());
    }
}
