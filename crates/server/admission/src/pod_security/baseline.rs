//! The checks of the baseline standard; each gives what it found.
use super::subject::{Finding, Subject, containers, plural, quoted, quoted_set, setters};
use crate::value;
use skiff_json::Value;
use std::collections::BTreeSet;

pub(super) fn apparmor(s: Subject<'_>, _: u32) -> Option<Finding> {
    let allowed = |t: &str| matches!(t, "RuntimeDefault" | "Localhost");
    let mut values = BTreeSet::new();
    let mut is_bad = |profile: Option<&Value>| {
        let kind = profile.map(|p| value::text(p, "type")).filter(|t| !allowed(t));
        values.extend(kind.map(str::to_owned));
        kind.is_some()
    };
    let pod = is_bad(s.at("securityContext.appArmorProfile"));
    let bad = s.bad(|c| is_bad(value::at(c, "securityContext.appArmorProfile")));
    let mut notes: Vec<String> = s
        .annotations()
        .filter(|(k, v)| {
            k.starts_with("container.apparmor.security.beta.kubernetes.io/") && !(v.is_empty() || *v == "runtime/default" || v.starts_with("localhost/"))
        })
        .map(|(k, v)| format!("{k}={v:?}"))
        .collect();
    notes.sort();
    let mut who: Vec<String> = setters(pod, &bad).into_iter().collect();
    if !notes.is_empty() {
        who.push(plural("annotation", "annotations", notes.len()).to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let all: Vec<&str> = values.iter().chain(&notes).map(String::as_str).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", all.len());
    Finding::new(reason, format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(all.iter().copied())))
}

const DEFAULT_CAPABILITIES: [&str; 13] =
    ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"];

/// Containers that add a capability out of what is allowed, and those capabilities.
pub(super) fn adding<'a>(s: Subject<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<String>) {
    let mut added = BTreeSet::new();
    let bad = s.bad(|c| {
        let more: Vec<&str> = value::list(c, "securityContext.capabilities.add").iter().filter_map(Value::as_str).filter(|x| !allowed.contains(x)).collect();
        added.extend(more.iter().map(|x| (*x).to_owned()));
        !more.is_empty()
    });
    (bad, added)
}

pub(super) fn capabilities(s: Subject<'_>, _: u32) -> Option<Finding> {
    let (bad, added) = adding(s, &DEFAULT_CAPABILITIES);
    if bad.is_empty() {
        return None;
    }
    Finding::new("non-default capabilities", format!("{} must not include {} in securityContext.capabilities.add", containers(&bad), quoted_set(&added)))
}

pub(super) fn host_namespaces(s: Subject<'_>, _: u32) -> Option<Finding> {
    let shared: Vec<String> =
        ["hostNetwork", "hostPID", "hostIPC"].iter().filter(|k| s.at(k).is_some_and(|v| v == true)).map(|k| format!("{k}=true")).collect();
    if shared.is_empty() { None } else { Finding::new("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(s: Subject<'_>, _: u32) -> Option<Finding> {
    let bad: Vec<&str> = s.list("volumes").iter().filter(|v| value::at(v, "hostPath").is_some()).map(|v| value::text(v, "name")).collect();
    if bad.is_empty() {
        return None;
    }
    Finding::new("hostPath volumes", format!("{} {}", plural("volume", "volumes", bad.len()), quoted(bad.iter().copied())))
}

pub(super) fn host_ports(s: Subject<'_>, _: u32) -> Option<Finding> {
    let mut ports = BTreeSet::new();
    let bad = s.bad(|c| {
        let taken: Vec<String> = value::list(c, "ports").iter().map(|p| value::int(p, "hostPort")).filter(|p| *p != 0).map(|p| p.to_string()).collect();
        let any = !taken.is_empty();
        ports.extend(taken);
        any
    });
    if bad.is_empty() {
        return None;
    }
    let list = ports.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Finding::new("hostPort", format!("{} {} {} {list}", containers(&bad), plural("uses", "use", bad.len()), plural("hostPort", "hostPorts", ports.len())))
}

/// A probe of another host makes the kubelet a client of whatever the pod names.
pub(super) fn host_probes(s: Subject<'_>, _: u32) -> Option<Finding> {
    let mut hosts = BTreeSet::new();
    let handlers = ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop"];
    let mut bad = s.bad(|c| {
        let paths = handlers.iter().flat_map(|h| [format!("{h}.httpGet.host"), format!("{h}.tcpSocket.host")]);
        let named: Vec<String> = paths.map(|p| value::text(c, &p).to_owned()).filter(|h| !h.is_empty()).collect();
        let any = !named.is_empty();
        hosts.extend(named);
        any
    });
    if bad.is_empty() {
        return None;
    }
    bad.sort_unstable();
    bad.dedup();
    let what = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
    Finding::new("probe or lifecycle host", format!("{} {} {what} {}", containers(&bad), plural("uses", "use", bad.len()), quoted_set(&hosts)))
}

pub(super) fn privileged(s: Subject<'_>, _: u32) -> Option<Finding> {
    let bad = s.bad(|c| value::flag(c, "securityContext.privileged"));
    if bad.is_empty() { None } else { Finding::new("privileged", format!("{} must not set securityContext.privileged=true", containers(&bad))) }
}

pub(super) fn proc_mount(s: Subject<'_>, minor: u32) -> Option<Finding> {
    if minor >= 35 && s.own_users() {
        return None;
    }
    let mut kinds = BTreeSet::new();
    let bad = s.bad(|c| {
        let kind = value::at(c, "securityContext.procMount").and_then(Value::as_str).filter(|k| *k != "Default");
        kinds.extend(kind.map(str::to_owned));
        kind.is_some()
    });
    if bad.is_empty() {
        return None;
    }
    Finding::new("procMount", format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted_set(&kinds)))
}

pub(super) fn selinux(s: Subject<'_>, minor: u32) -> Option<Finding> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |options: Option<&Value>| {
        let Some(o) = options else { return false };
        let kind = value::text(o, "type");
        let known = matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t") || (minor >= 31 && kind == "container_engine_t");
        if !known {
            types.insert(kind.to_owned());
        }
        let (u, r) = (!value::text(o, "user").is_empty(), !value::text(o, "role").is_empty());
        user |= u;
        role |= r;
        !known || u || r
    };
    let pod = is_bad(s.at("securityContext.seLinuxOptions"));
    let bad = s.bad(|c| is_bad(value::at(c, "securityContext.seLinuxOptions")));
    let who = setters(pod, &bad)?;
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural("type", "types", types.len()), quoted_set(&types)));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    Finding::new("seLinuxOptions", format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; ")))
}

/// The annotations of before 1.19.
fn seccomp_annotations(s: Subject<'_>) -> Option<Finding> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    let valid = |v: &str| v == "runtime/default" || v == "docker/default" || v.starts_with("localhost/");
    let keys: BTreeSet<String> =
        s.containers().map(|c| format!("container.seccomp.security.alpha.kubernetes.io/{}", value::text(c, "name"))).chain([POD.to_owned()]).collect();
    let bad: BTreeSet<String> = s.annotations().filter(|(k, v)| keys.contains(*k) && !valid(v)).map(|(k, v)| format!("{k}={v:?}")).collect();
    if bad.is_empty() {
        return None;
    }
    let list = bad.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Finding::new("seccompProfile", format!("forbidden {} {list}", plural("annotation", "annotations", bad.len())))
}

pub(super) fn seccomp(s: Subject<'_>, minor: u32) -> Option<Finding> {
    if minor < 19 {
        return seccomp_annotations(s);
    }
    let (pod, bad, values) = seccomp_setters(s);
    let who = setters(pod, &bad)?;
    Finding::new("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {}", quoted_set(&values)))
}

/// Whether the pod sets a bad profile, which containers do, and which profiles.
pub(super) fn seccomp_setters(s: Subject<'_>) -> (bool, Vec<&str>, BTreeSet<String>) {
    let mut values = BTreeSet::new();
    let mut is_bad = |profile: Option<&Value>| {
        let kind = profile.map(|p| value::text(p, "type")).filter(|t| !matches!(*t, "RuntimeDefault" | "Localhost"));
        values.extend(kind.map(str::to_owned));
        kind.is_some()
    };
    let pod = is_bad(s.at("securityContext.seccompProfile"));
    let bad = s.bad(|c| is_bad(value::at(c, "securityContext.seccompProfile")));
    (pod, bad, values)
}

/// Sysctls of the pod's own namespaces, with the minor version that allowed them.
const SYSCTLS: [(&str, u32); 14] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
    ("net.ipv4.tcp_slow_start_after_idle", 37),
    ("net.ipv4.tcp_notsent_lowat", 37),
];

pub(super) fn sysctls(s: Subject<'_>, minor: u32) -> Option<Finding> {
    let names = s.list("securityContext.sysctls").iter().map(|x| value::text(x, "name"));
    let bad: Vec<&str> = names.filter(|n| !SYSCTLS.iter().any(|(known, since)| known == n && minor >= *since)).collect();
    if bad.is_empty() { None } else { Finding::new("forbidden sysctls", bad.join(", ")) }
}

pub(super) fn windows_host_process(s: Subject<'_>, _: u32) -> Option<Finding> {
    let bad = s.bad(|c| value::flag(c, "securityContext.windowsOptions.hostProcess"));
    let pod = s.at("securityContext.windowsOptions.hostProcess").is_some_and(|v| v == true);
    let who = setters(pod, &bad)?;
    Finding::new("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}
