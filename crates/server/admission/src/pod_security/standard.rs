//! Which checks a standard has in which version, in upstream's order: baseline by name, then restricted by name.
use super::{
    baseline,
    level::{Level, Standard},
    restricted,
    subject::{Finding, Subject},
};

/// A check at a minor version.
type Check = fn(Subject<'_>, u32) -> Option<Finding>;

struct Row {
    check: Check,
    /// The minor version that brought it.
    since: u32,
    /// The minor version from which a restricted check stands in its place.
    replaced: Option<u32>,
}

const fn row(check: Check, since: u32) -> Row {
    Row { check, since, replaced: None }
}
const fn replaced(check: Check, at: u32) -> Row {
    Row { check, since: 0, replaced: Some(at) }
}

const BASELINE: [Row; 12] = [
    row(baseline::apparmor, 0),
    replaced(baseline::capabilities, 22),
    row(baseline::host_namespaces, 0),
    replaced(baseline::host_path_volumes, 0),
    row(baseline::host_ports, 0),
    row(baseline::host_probes, 34),
    row(baseline::privileged, 0),
    replaced(baseline::proc_mount, 35),
    row(baseline::selinux, 0),
    replaced(baseline::seccomp, 19),
    row(baseline::sysctls, 0),
    row(baseline::windows_host_process, 0),
];
const RESTRICTED: [Row; 7] = [
    row(restricted::privilege_escalation, 8),
    row(restricted::capabilities, 22),
    row(restricted::proc_mount_anywhere, 35),
    row(restricted::volumes, 0),
    row(restricted::run_as_non_root, 0),
    row(restricted::run_as_user, 23),
    row(restricted::seccomp, 19),
];

/// What the standard finds wrong with a pod.
pub(super) fn findings(standard: Standard, s: Subject<'_>) -> Vec<Finding> {
    let minor = standard.version.unwrap_or(u32::MAX);
    let hard = match standard.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => false,
        Level::Restricted => true,
    };
    let kept = BASELINE.iter().filter(|r| !(hard && r.replaced.is_some_and(|at| minor >= at)));
    let added = RESTRICTED.iter().filter(|_| hard);
    kept.chain(added).filter(|r| minor >= r.since).filter_map(|r| (r.check)(s, minor)).collect()
}

/// `reason (detail), reason (detail)`.
pub(super) fn detail(findings: &[Finding]) -> String {
    let one = |f: &Finding| if f.detail.is_empty() { f.reason.clone() } else { format!("{} ({})", f.reason, f.detail) };
    findings.iter().map(one).collect::<Vec<_>>().join(", ")
}
pub(super) fn reasons(findings: &[Finding]) -> String {
    findings.iter().map(|f| f.reason.as_str()).collect::<Vec<_>>().join(", ")
}
