//! Profiles in the OCI format (`defaultAction`, `syscalls`), as `localhostProfile` names them.
//!
//! Each action that occurs becomes a filter of its own that lets everything else pass; the kernel takes the most
//! restrictive answer. That is exact for rules that forbid, and for allow-lists with a forbidding default.

use std::collections::BTreeMap;

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use serde::Deserialize;

use super::{Filter, Rules, compile, failed, number};
use crate::error::{Error, Result};

/// A profile is a page of text; more is a mistake.
const MAX_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Default, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

impl Condition {
    fn holds(&self, capabilities: u64) -> bool {
        let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let bit = |name: &String| skiff_sys::caps::bit(name).is_some_and(|bit| capabilities & bit != 0);
        self.caps.iter().all(bit) && (self.arches.is_empty() || self.arches.iter().any(|name| name == arch))
    }

    fn is_empty(&self) -> bool {
        self.caps.is_empty() && self.arches.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

pub(super) fn build(text: &str, capabilities: u64) -> Result<Vec<Filter>> {
    if text.len() > MAX_BYTES {
        return Err(Error::Profile("the seccomp profile is larger than 1 MiB".into()));
    }
    let profile: Profile = skiff_json::from_str(text).map_err(|error| Error::Profile(format!("read the seccomp profile: {error}")))?;
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut by_action: BTreeMap<String, (SeccompAction, Rules)> = BTreeMap::new();
    let mut named = Rules::new();
    for entry in profile.syscalls.iter().filter(|entry| applies(entry, capabilities)) {
        let action = action(&entry.action, entry.errno_ret)?;
        let rules = &mut by_action.entry(format!("{action:?}")).or_insert_with(|| (action, Rules::new())).1;
        for syscall in entry.names.iter().filter_map(|name| number(name)) {
            add(rules, syscall, entry)?;
            add(&mut named, syscall, entry)?;
        }
    }
    let mut filters = Vec::new();
    for (action, rules) in by_action.into_values() {
        if action != default && action != SeccompAction::Allow {
            filters.push(compile(rules, SeccompAction::Allow, action)?);
        }
    }
    if default != SeccompAction::Allow {
        filters.push(compile(named, default, SeccompAction::Allow)?);
    }
    Ok(filters)
}

fn applies(entry: &Entry, capabilities: u64) -> bool {
    entry.includes.as_ref().is_none_or(|condition| condition.holds(capabilities))
        && !entry.excludes.as_ref().is_some_and(|condition| !condition.is_empty() && condition.holds(capabilities))
}

/// No conditions at all is "always" and swallows other rules of the same call.
fn add(rules: &mut Rules, syscall: i64, entry: &Entry) -> Result<()> {
    let arguments = entry.args.as_deref().unwrap_or_default();
    if arguments.is_empty() {
        rules.insert(syscall, Vec::new());
        return Ok(());
    }
    let conditions = arguments.iter().map(condition).collect::<Result<Vec<_>>>()?;
    let rule = SeccompRule::new(conditions).map_err(failed)?;
    match rules.get_mut(&syscall) {
        Some(list) if list.is_empty() => {}
        Some(list) => list.push(rule),
        None => {
            rules.insert(syscall, vec![rule]);
        }
    }
    Ok(())
}

fn condition(argument: &Argument) -> Result<SeccompCondition> {
    let (operator, value) = match argument.op.as_str() {
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
        "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
        other => return Err(Error::Profile(format!("unknown comparison {other:?} in the seccomp profile"))),
    };
    SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, operator, value).map_err(failed)
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction> {
    match name {
        "SCMP_ACT_ALLOW" => Ok(SeccompAction::Allow),
        "SCMP_ACT_ERRNO" => Ok(SeccompAction::Errno(errno.unwrap_or(libc::EPERM as u32))),
        "SCMP_ACT_LOG" => Ok(SeccompAction::Log),
        "SCMP_ACT_TRAP" => Ok(SeccompAction::Trap),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(SeccompAction::KillThread),
        "SCMP_ACT_KILL_PROCESS" => Ok(SeccompAction::KillProcess),
        "SCMP_ACT_TRACE" => Ok(SeccompAction::Trace(errno.unwrap_or(libc::EPERM as u32))),
        other => Err(Error::Profile(format!("unknown action {other:?} in the seccomp profile"))),
    }
}

#[cfg(test)]
mod tests {
    use super::build;

    #[test]
    fn profiles_compile_to_one_filter_an_action() {
        let deny = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
        assert_eq!(build(deny, 0).expect("deny list").len(), 1);
        let allow = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
            {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
        assert_eq!(build(allow, 0).expect("allow list").len(), 2);
        assert!(build(r#"{"defaultAction":"SCMP_ACT_NONE"}"#, 0).is_err());
    }
}
