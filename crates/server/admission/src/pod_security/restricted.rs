//! The checks that the restricted standard adds, or puts in the place of a baseline check.
use super::{
    baseline::{adding, proc_mount, seccomp_setters},
    subject::{Finding, Subject, containers, plural, quoted, quoted_set, setters},
};
use crate::value;
use skiff_json::Value;
use std::collections::BTreeSet;

/// Since 1.25 what Windows does not have is not asked of its pods.
fn exempt(s: Subject<'_>, minor: u32) -> bool {
    minor >= 25 && s.windows()
}

pub(super) fn privilege_escalation(s: Subject<'_>, minor: u32) -> Option<Finding> {
    let bad = s.bad(|c| value::at(c, "securityContext.allowPrivilegeEscalation").is_none_or(|v| v != false));
    if bad.is_empty() || exempt(s, minor) {
        return None;
    }
    Finding::new("allowPrivilegeEscalation != false", format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad)))
}

pub(super) fn capabilities(s: Subject<'_>, minor: u32) -> Option<Finding> {
    if exempt(s, minor) {
        return None;
    }
    let keeping = s.bad(|c| !value::list(c, "securityContext.capabilities.drop").iter().any(|x| x == "ALL"));
    let (adders, added) = adding(s, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adders.is_empty() {
        details.push(format!("{} must not include {} in securityContext.capabilities.add", containers(&adders), quoted_set(&added)));
    }
    if details.is_empty() { None } else { Finding::new("unrestricted capabilities", details.join("; ")) }
}

/// In its own user namespace a pod may see an unmasked /proc by the baseline, not by this.
pub(super) fn proc_mount_anywhere(s: Subject<'_>, _: u32) -> Option<Finding> {
    proc_mount(s, 0)
}

const VOLUMES: [&str; 9] = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"];
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn volumes(s: Subject<'_>, _: u32) -> Option<Finding> {
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for v in s.list("volumes").iter().filter(|v| !VOLUMES.iter().any(|k| value::at(v, k).is_some())) {
        bad.push(value::text(v, "name"));
        kinds.insert(OTHER_VOLUMES.iter().find(|k| value::at(v, k).is_some()).map_or("unknown", |k| *k).to_owned());
    }
    if bad.is_empty() {
        return None;
    }
    let n = bad.len();
    let what = plural("restricted volume type", "restricted volume types", kinds.len());
    let detail = format!("{} {} {} {what} {}", plural("volume", "volumes", n), quoted(bad.iter().copied()), plural("uses", "use", n), quoted_set(&kinds));
    Finding::new("restricted volume types", detail)
}

pub(super) fn run_as_non_root(s: Subject<'_>, minor: u32) -> Option<Finding> {
    const REASON: &str = "runAsNonRoot != true";
    const PATH: &str = "securityContext.runAsNonRoot";
    if minor >= 35 && s.own_users() {
        return None;
    }
    let of = |v: Option<&Value>| v.and_then(Value::as_bool);
    let pod = of(s.at(PATH));
    let explicit = s.bad(|c| of(value::at(c, PATH)) == Some(false));
    if let Some(who) = setters(pod == Some(false), &explicit) {
        return Finding::new(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    let implicit = s.bad(|c| of(value::at(c, PATH)).is_none() && pod != Some(true));
    if implicit.is_empty() { None } else { Finding::new(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&implicit))) }
}

pub(super) fn run_as_user(s: Subject<'_>, minor: u32) -> Option<Finding> {
    if minor >= 35 && s.own_users() {
        return None;
    }
    let root = |v: Option<&Value>| v.and_then(Value::as_i64) == Some(0);
    let bad = s.bad(|c| root(value::at(c, "securityContext.runAsUser")));
    let who = setters(root(s.at("securityContext.runAsUser")), &bad)?;
    Finding::new("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

pub(super) fn seccomp(s: Subject<'_>, minor: u32) -> Option<Finding> {
    if exempt(s, minor) {
        return None;
    }
    let (pod, bad, values) = seccomp_setters(s);
    if let Some(who) = setters(pod, &bad) {
        return Finding::new("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {}", quoted_set(&values)));
    }
    let covered = s.at("securityContext.seccompProfile").is_some();
    let implicit = s.bad(|c| !covered && value::at(c, "securityContext.seccompProfile").is_none());
    if implicit.is_empty() {
        return None;
    }
    Finding::new(
        "seccompProfile",
        format!("pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"", containers(&implicit)),
    )
}
