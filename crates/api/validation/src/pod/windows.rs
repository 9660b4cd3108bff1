//! What pods of the one operating system may not say that the other understands.
use super::containers;
use crate::{field::Field, names, show::own};

pub(super) fn os(spec: &Field<'_>) {
    let f = spec.at("os");
    if !f.exists() {
        return;
    }
    match f.at("name").str() {
        "" => f.at("name").required(""),
        "linux" => linux(spec),
        "windows" => windows(spec),
        o => f.unsupported(o, &["linux", "windows"]),
    }
}

fn linux(spec: &Field<'_>) {
    for c in std::iter::once(spec.clone()).chain(containers(spec)) {
        let f = c.at("securityContext").at("windowsOptions");
        if f.exists() {
            f.forbidden("windows options cannot be set for a linux pod");
        }
    }
}

fn windows(spec: &Field<'_>) {
    const WHY: &str = "cannot be set for a windows pod";
    let context = spec.at("securityContext");
    for part in [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ] {
        if context.at(part).exists() {
            context.at(part).forbidden(WHY);
        }
    }
    for (part, set) in [
        ("hostUsers", spec.at("hostUsers").exists()),
        ("hostPID", spec.at("hostPID").flag()),
        ("hostIPC", spec.at("hostIPC").flag()),
        ("shareProcessNamespace", spec.at("shareProcessNamespace").exists()),
    ] {
        if set {
            spec.at(part).forbidden(WHY);
        }
    }
    for c in containers(spec) {
        let context = c.at("securityContext");
        for part in [
            "appArmorProfile",
            "seLinuxOptions",
            "seccompProfile",
            "capabilities",
            "readOnlyRootFilesystem",
            "privileged",
            "allowPrivilegeEscalation",
            "procMount",
            "runAsUser",
            "runAsGroup",
        ] {
            if context.at(part).exists() {
                context.at(part).forbidden(WHY);
            }
        }
    }
}

pub(super) fn host_process(spec: &Field<'_>) {
    let of_pod = spec.at("securityContext.windowsOptions.hostProcess").switch();
    let all = containers(spec);
    let mut count = 0;
    for c in &all {
        let f = c.at("securityContext").at("windowsOptions").at("hostProcess");
        let own = f.switch();
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            f.invalid(own, &format!("pod hostProcess value must be identical if both are specified, was {of_pod}"));
        }
        count += usize::from(own.or(of_pod) == Some(true));
    }
    if count == 0 {
        return;
    }
    if count != all.len() {
        spec.invalid("", "If pod contains any hostProcess containers then all containers must be HostProcess containers");
    }
    if !spec.at("hostNetwork").flag() {
        spec.at("hostNetwork").invalid(false, "hostNetwork must be true if pod contains any hostProcess containers");
    }
}

const MAX_SPEC_KIB: usize = 64;
const MAX_DOMAIN: usize = 256;
const MAX_USER: usize = 104;

pub(super) fn security(f: &Field<'_>) {
    let (name, spec, user) = (f.at("gmsaCredentialSpecName"), f.at("gmsaCredentialSpec"), f.at("runAsUserName"));
    if name.exists() {
        for m in names::dns1123_subdomain(name.str()) {
            name.invalid(own(name.value()), &m);
        }
    }
    match spec.text() {
        Some("") => spec.invalid("", "gmsaCredentialSpec cannot be an empty string"),
        Some(s) if s.len() > MAX_SPEC_KIB * 1024 => spec.invalid(own(spec.value()), &format!("gmsaCredentialSpec size must be under {MAX_SPEC_KIB} KiB")),
        _ => {}
    }
    if let Some(text) = user.text() {
        for why in user_name(text) {
            user.invalid(own(user.value()), &why);
        }
    }
}

/// `DOMAIN\user`, as Windows takes it.
fn user_name(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('\\').collect();
    let (domain, user) = match parts[..] {
        _ if text.is_empty() => return vec!["runAsUserName cannot be an empty string".into()],
        _ if text.chars().any(|c| c.is_ascii_control()) => return vec!["runAsUserName cannot contain control characters".into()],
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash".into()],
    };
    let mut out = Vec::new();
    if domain.is_some_and(|d| d.len() >= MAX_DOMAIN) {
        out.push(format!("runAsUserName's Domain length must be under {MAX_DOMAIN} characters"));
    }
    if domain.is_some_and(|d| !net_bios(d) && !dns_domain(d)) {
        out.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".into());
    }
    if user.is_empty() {
        out.push("runAsUserName's User cannot be empty".into());
    } else if user.len() > MAX_USER {
        out.push(format!("runAsUserName's User length must not be longer than {MAX_USER} characters"));
    }
    if !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ') {
        out.push("runAsUserName's User cannot contain only periods or spaces".into());
    }
    if user.chars().any(|c| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        out.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]".into());
    }
    out
}

fn net_bios(d: &str) -> bool {
    let n = d.chars().count();
    (1..=15).contains(&n) && !d.starts_with('.') && !d.chars().any(|c| "\\/:*?\"<>|".contains(c))
}

fn dns_domain(d: &str) -> bool {
    d.split('.').all(|l| {
        let b = l.as_bytes();
        l.len() <= 63
            && matches!((b.first(), b.last()), (Some(f), Some(e)) if f.is_ascii_alphanumeric() && e.is_ascii_alphanumeric())
            && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
    })
}
