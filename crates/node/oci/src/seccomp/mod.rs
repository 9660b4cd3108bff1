//! Seccomp filters: the default profile, equal to the one of the field's runtimes, and profiles in the OCI format.
//!
//! Programs of a foreign architecture (32-bit ones on a 64-bit machine) are killed: filters here know one architecture.

mod allowed;
mod numbers;
mod profile;

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use skiff_sys::caps;

use crate::error::{Error, Result};
use crate::spec::Seccomp;

/// A compiled filter.
pub struct Filter(Vec<skiff_sys::seccomp::Instruction>);

impl Filter {
    pub fn instructions(&self) -> &[skiff_sys::seccomp::Instruction] {
        &self.0
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters of a container with these capabilities, in the order in which they are installed.
pub fn build(wanted: &Seccomp, capabilities: u64) -> Result<Vec<Filter>> {
    match wanted {
        Seccomp::Unconfined => Ok(Vec::new()),
        Seccomp::Default => default_filters(capabilities),
        Seccomp::Profile(text) => profile::build(text, capabilities),
    }
}

fn number(name: &str) -> Option<i64> {
    numbers::NUMBERS.binary_search_by(|(known, _)| (*known).cmp(name)).ok().and_then(|at| numbers::NUMBERS.get(at)).map(|(_, number)| *number)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Profile(format!("build the seccomp filter: {error}"))
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<Filter> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(failed)?;
    let program: BpfProgram = filter.try_into().map_err(failed)?;
    let instruction = |i: &seccompiler::sock_filter| skiff_sys::seccomp::Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k };
    Ok(Filter(program.iter().map(instruction).collect()))
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value).map_err(failed)?;
    SeccompRule::new(vec![condition]).map_err(failed)
}

/// System calls that a capability opens.
const BY_CAPABILITY: [(&str, &[&str]); 13] = [
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    ("SYS_MODULE", &["delete_module", "init_module", "finit_module"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"]),
    ("SYS_RAWIO", &["iopl", "ioperm"]),
    ("SYS_TIME", &["settimeofday", "clock_settime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("SYSLOG", &["syslog"]),
    ("BPF", &["bpf"]),
];

fn default_filters(capabilities: u64) -> Result<Vec<Filter>> {
    let holds = |name: &str| caps::bit(name).is_some_and(|bit| capabilities & bit != 0);
    let mut rules = Rules::new();
    let mut allow = |names: &[&str]| {
        for name in names.iter().filter_map(|name| number(name)) {
            rules.insert(name, Vec::new());
        }
    };
    allow(allowed::ALWAYS);
    for (_, names) in BY_CAPABILITY.iter().filter(|(name, _)| holds(name)) {
        allow(names);
    }
    if holds("PERFMON") {
        allow(&["perf_event_open"]);
    }
    // Families from AF_ALG (38) on reach parts of the kernel that containers have no business with.
    if let Some(socket) = number("socket") {
        rules.insert(socket, vec![condition(0, SeccompCmpOp::Lt, 38)?]);
    }
    if let Some(personality) = number("personality") {
        let allowed = [0, 0x8, 0x20000, 0x20008, 0xffff_ffff];
        rules.insert(personality, allowed.iter().map(|value| condition(0, SeccompCmpOp::Eq, *value)).collect::<Result<_>>()?);
    }
    let mut filters = Vec::new();
    if !holds("SYS_ADMIN") {
        // No new namespaces. clone3's flags can't be seen by a filter, so it doesn't exist: libraries then use clone.
        const NEW_NAMESPACES: u64 = 0x7e02_0000;
        if let Some(clone) = number("clone") {
            rules.insert(clone, vec![condition(0, SeccompCmpOp::MaskedEq(NEW_NAMESPACES), 0)?]);
        }
        if let Some(clone3) = number("clone3") {
            rules.insert(clone3, Vec::new());
            let absent = Rules::from([(clone3, Vec::new())]);
            filters.push(compile(absent, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?);
        }
    }
    filters.push(compile(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?);
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_and_every_allowed_name_is_known_somewhere() {
        assert!(numbers::NUMBERS.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0)));
        assert!(number("read").is_some());
        assert!(allowed::ALWAYS.iter().filter(|name| number(name).is_none()).count() < 80);
    }

    #[test]
    fn the_default_profile_compiles() {
        assert_eq!(default_filters(0).expect("without capabilities").len(), 2);
        assert_eq!(default_filters(caps::all()).expect("with all").len(), 1);
    }
}
