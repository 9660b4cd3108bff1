//! Which objects a controller owns: adoption and release by selector and controller reference.
use crate::view::{Meta, OwnerRef};
use skiff_json::{Value, json};
use skiff_meta::LabelSelector;

/// What to do about one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Owned,
    Adopt,
    Release,
    /// Another's, or nothing to do with us.
    Foreign,
}

pub fn claim(owner: &Meta, selector: &LabelSelector, candidate: &Meta) -> Claim {
    let matches = selector.matches(&candidate.labels);
    match candidate.controller() {
        Some(c) if c.uid != owner.uid => Claim::Foreign,
        Some(_) if matches => Claim::Owned,
        Some(_) if owner.deleting() => Claim::Foreign,
        Some(_) => Claim::Release,
        None if !matches || owner.deleting() || candidate.deleting() || owner.namespace != candidate.namespace => Claim::Foreign,
        None => Claim::Adopt,
    }
}

/// The merge patch that makes `by` the controller of `candidate`, and gives it a finalizer if one is named; refused when
/// it has changed meanwhile.
pub fn adoption(candidate: &Meta, by: &OwnerRef, finalizer: Option<&str>) -> Value {
    let mut owners: Vec<&OwnerRef> = candidate.owner_references.iter().filter(|o| o.uid != by.uid).collect();
    owners.push(by);
    let mut patch = json!({"metadata": {"uid": candidate.uid, "resourceVersion": candidate.resource_version, "ownerReferences": owners}});
    if let Some(f) = finalizer.filter(|f| candidate.finalizers.iter().all(|x| x != f)) {
        let all: Vec<&str> = candidate.finalizers.iter().map(String::as_str).chain([f]).collect();
        patch["metadata"]["finalizers"] = json!(all);
    }
    patch
}

/// The merge patch that takes `owner` out of the candidate's owners.
pub fn release(candidate: &Meta, owner_uid: &str) -> Value {
    let owners: Vec<&OwnerRef> = candidate.owner_references.iter().filter(|o| o.uid != owner_uid).collect();
    let owners = if owners.is_empty() { Value::Null } else { json!(owners) };
    json!({"metadata": {"uid": candidate.uid, "resourceVersion": candidate.resource_version, "ownerReferences": owners}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Time;

    #[test]
    fn claims() {
        let selector = LabelSelector::parse("a=b").unwrap();
        let owner = |deleting: bool| Meta { uid: "me".into(), deletion_timestamp: deleting.then_some(Time(1)), ..Default::default() };
        let candidate = |controller: &str, label: &str, deleting: bool| Meta {
            labels: [("a".to_owned(), label.to_owned())].into(),
            owner_references: if controller.is_empty() {
                vec![]
            } else {
                vec![OwnerRef { uid: controller.into(), controller: Some(true), ..Default::default() }]
            },
            deletion_timestamp: deleting.then_some(Time(1)),
            ..Default::default()
        };
        for (mine, controller, label, deleting, expected) in [
            (false, "me", "b", false, Claim::Owned),
            (true, "me", "b", true, Claim::Owned),
            (false, "me", "x", false, Claim::Release),
            (true, "me", "x", false, Claim::Foreign),
            (false, "other", "b", false, Claim::Foreign),
            (false, "", "b", false, Claim::Adopt),
            (false, "", "b", true, Claim::Foreign),
            (true, "", "b", false, Claim::Foreign),
            (false, "", "x", false, Claim::Foreign),
        ] {
            assert_eq!(claim(&owner(mine), &selector, &candidate(controller, label, deleting)), expected, "{mine} {controller} {label} {deleting}");
        }
    }
}
