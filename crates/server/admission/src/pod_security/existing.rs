//! What a namespace's new standard says of the pods that are there already: warnings only.
use super::{
    level::Standard,
    standard::{findings, reasons},
    subject::Subject,
};
use crate::value;
use skiff_json::Value;
use std::collections::{BTreeMap, HashSet};

/// More pods than this are not looked at in one request.
const LIMIT: usize = 3000;

pub(super) fn warnings(namespace: &str, enforce: Standard, pods: &[Value]) -> Vec<String> {
    // One pod of each controller first, since the others are alike.
    let mut seen = HashSet::new();
    let (first, rest): (Vec<&Value>, Vec<&Value>) = pods.iter().partition(|p| controller(p).is_none_or(|uid| seen.insert(uid.to_owned())));
    let mut by_reason: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in first.into_iter().chain(rest).take(LIMIT) {
        let found = findings(enforce, Subject(pod));
        if found.is_empty() {
            continue;
        }
        let name = value::text(pod, "metadata.name");
        let (least, count) = by_reason.entry(reasons(&found)).or_insert_with(|| (name.to_owned(), 0));
        if name < least.as_str() {
            *least = name.to_owned();
        }
        *count += 1;
    }
    let mut out = Vec::new();
    if pods.len() > LIMIT {
        out.push(format!("new PodSecurity enforce level only checked against the first {LIMIT} of {} existing pods", pods.len()));
    }
    if !by_reason.is_empty() {
        out.push(format!("existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""));
    }
    let mut each: Vec<String> = by_reason.iter().map(|(reason, (name, count))| line(reason, name, *count)).collect();
    each.sort();
    out.extend(each);
    out
}

fn line(reason: &str, name: &str, count: usize) -> String {
    match count {
        1 => format!("{name}: {reason}"),
        2 => format!("{name} (and 1 other pod): {reason}"),
        n => format!("{name} (and {} other pods): {reason}", n - 1),
    }
}

fn controller(pod: &Value) -> Option<&str> {
    value::list(pod, "metadata.ownerReferences").iter().find(|o| value::flag(o, "controller")).map(|o| value::text(o, "uid"))
}
