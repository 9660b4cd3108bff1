//! Rules of `metadata` that hold for every kind.
use crate::{
    strategy::NameRule,
    table::{Resource, Role},
    value,
};
use skiff_json::Value;
use skiff_meta::{Cause, GroupVersion, NameError};
use std::collections::HashSet;

pub(crate) fn invalid(field: &str, bad: &Value, why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {bad}: {why}"), field: field.into() }
}
fn required(field: &str, why: &str) -> Cause {
    Cause { reason: "FieldValueRequired".into(), message: format!("Required value: {why}"), field: field.into() }
}
fn each(field: &str, bad: &str, errors: Result<(), Vec<NameError>>, into: &mut Vec<Cause>) {
    for e in errors.err().into_iter().flatten() {
        into.push(invalid(field, &bad.into(), &e.0));
    }
}

/// What Go prints of a nil pointer or a zero number in an error.
const TOTAL_ANNOTATIONS: usize = 256 * 1024;

/// Errors of the metadata of an object that is to be.
/// `fresh`: it is new. What has a name keeps it, whatever the rules of names have become.
pub(crate) fn validate(row: &Resource, v: &Value, fresh: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (name, base) = (value::text(v, "metadata.name"), value::text(v, "metadata.generateName"));
    let checked = fresh && row.strategy.name != NameRule::DeclaredSubdomain;
    if !base.is_empty() && checked {
        each("metadata.generateName", base, generate_base(row.strategy.name, base), &mut causes);
    }
    if name.is_empty() {
        causes.push(required("metadata.name", "name or generateName is required"));
    } else if checked {
        each("metadata.name", name, row.strategy.name.check(name), &mut causes);
    }
    if row.namespaced && value::text(v, "metadata.namespace").is_empty() {
        causes.push(required("metadata.namespace", ""));
    }
    labels(v, &mut causes);
    annotations(v, &mut causes);
    owners(v, &mut causes);
    finalizers(row, v, &mut causes);
    causes
}

/// What the declared rule of a new object's name finds.
pub(crate) fn declared_name(row: &Resource, v: &Value) -> Vec<Cause> {
    let (mut causes, name) = (Vec::new(), value::text(v, "metadata.name"));
    if row.strategy.name == NameRule::DeclaredSubdomain && !name.is_empty() {
        each("metadata.name", name, row.strategy.name.check(name), &mut causes);
    }
    causes
}

/// Groups whose kinds may have finalizers without a domain.
const FREE_FINALIZERS: [&str; 5] = ["admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io", "node.k8s.io"];
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizers(row: &Resource, v: &Value, causes: &mut Vec<Cause>) {
    let all = value::list(v, "metadata.finalizers");
    let names = || all.iter().map(|f| f.as_str().unwrap_or_default());
    for name in names() {
        each("metadata.finalizers", name, skiff_meta::is_qualified_name(name), causes);
    }
    if names().any(|f| f == "orphan") && names().any(|f| f == "foregroundDeletion") {
        causes.push(invalid("metadata.finalizers", &all.to_vec().into(), "finalizer orphan and foregroundDeletion cannot be both set"));
    }
    let free = row.custom.is_some()
        || FREE_FINALIZERS.contains(&&*row.group)
        || matches!((&*row.group, &*row.plural), ("", "events") | ("policy", "poddisruptionbudgets"));
    for (i, name) in names().enumerate().filter(|(_, f)| !free && !f.contains('/') && !STANDARD_FINALIZERS.contains(f)) {
        causes.push(invalid(&format!("metadata.finalizers[{i}]"), &name.into(), "name is neither a standard finalizer name nor is it fully qualified"));
    }
}

/// A base may end with a hyphen, since letters follow it.
fn generate_base(rule: NameRule, base: &str) -> Result<(), Vec<NameError>> {
    match base.strip_suffix('-') {
        Some(_) if !matches!(rule, NameRule::PathSegment | NameRule::Address) => rule.check(&format!("{base}x")),
        _ => rule.check(base),
    }
}

fn labels(v: &Value, causes: &mut Vec<Cause>) {
    for (k, x) in value::map(v, "metadata.labels").into_iter().flatten() {
        each("metadata.labels", k, skiff_meta::is_qualified_name(k), causes);
        let x = x.as_str().unwrap_or_default();
        each("metadata.labels", x, skiff_meta::is_label_value(x), causes);
    }
}

fn annotations(v: &Value, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for (k, x) in value::map(v, "metadata.annotations").into_iter().flatten() {
        let errors = skiff_meta::is_qualified_name(&k.to_lowercase())
            .map_err(|all| all.into_iter().map(|e| NameError(e.0.replacen("a qualified name must", "a valid label key must", 1))).collect());
        each("metadata.annotations", k, errors, causes);
        size += k.len() + x.as_str().unwrap_or_default().len();
    }
    if size > TOTAL_ANNOTATIONS {
        causes.push(Cause {
            reason: "FieldValueTooLong".into(),
            message: format!("Too long: may not be more than {TOTAL_ANNOTATIONS} bytes"),
            field: "metadata.annotations".into(),
        });
    }
}

fn owners(v: &Value, causes: &mut Vec<Cause>) {
    let mut controllers = Vec::new();
    for (i, o) in value::list(v, "metadata.ownerReferences").iter().enumerate() {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if value::text(o, key).is_empty() {
                causes.push(required(&format!("metadata.ownerReferences[{i}].{key}"), "must not be empty"));
            }
        }
        if let Some(cause) = owner_kind(o, &format!("metadata.ownerReferences[{i}]")) {
            causes.push(cause);
        }
        if value::flag(o, "controller") {
            controllers.push(format!("{}/{}", value::text(o, "kind"), value::text(o, "name")));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let why = format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}");
        causes.push(invalid("metadata.ownerReferences", &value::list(v, "metadata.ownerReferences").to_vec().into(), &why));
    }
}

/// What can own nothing: events come and go by themselves.
fn owner_kind(owner: &Value, field: &str) -> Option<Cause> {
    let version = value::text(owner, "apiVersion");
    let Some(gv) = GroupVersion::parse(version).filter(|gv| !gv.version.is_empty()) else {
        let wrong = || invalid(&format!("{field}.apiVersion"), &version.into(), "must be <group>/<version> or <version>");
        return (!version.is_empty()).then(wrong);
    };
    let banned = gv.group.is_empty() && &*gv.version == "v1" && value::text(owner, "kind") == "Event";
    banned.then(|| invalid(field, &in_order(owner), "/v1, Kind=Event is disallowed from being an owner"))
}

/// A reference with its fields as they are declared.
fn in_order(owner: &Value) -> Value {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    fields.into_iter().filter_map(|f| Some((f.to_owned(), owner.get(f)?.clone()))).collect::<skiff_json::Map>().into()
}

/// What upstream's aggregator and its server of definitions tell again, when they check what their base has checked:
/// rules of a change once more, rules of any metadata twice more, and where the whole object is checked a third time.
pub(crate) fn told_again(row: &Resource, role: Option<Role>, found: &[Cause]) -> Vec<Cause> {
    let of_any = |c: &&Cause| {
        ["metadata.labels", "metadata.annotations", "metadata.ownerReferences", "metadata.managedFields"].iter().any(|f| c.field.starts_with(f))
            || c.field.starts_with("metadata.finalizers") && c.reason != "FieldValueForbidden"
    };
    let whole = role.is_none() && &*row.kind == "APIService";
    let rest: Vec<Cause> = found.iter().filter(of_any).cloned().collect();
    let mut again = rest.clone();
    again.extend(found.iter().cloned());
    if whole {
        again.extend(rest);
    }
    again
}

/// A new object's names are told of before the rest of it, whoever finds them wrong.
pub(crate) fn names_first(causes: &mut [Cause]) {
    causes.sort_by_key(|c| match c.field.as_str() {
        "metadata.generateName" => 0,
        "metadata.name" => 1,
        _ => 2,
    });
}

/// When a request is looked at for owners that it names twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dedup {
    AsSent,
    AfterAdmission,
}

/// Takes out owners that are named twice in the same words, and says so.
pub(crate) fn dedup_owners(v: &mut Value, when: Dedup) -> Option<String> {
    let all = v.pointer_mut("/metadata/ownerReferences")?.as_array_mut().filter(|all| all.len() > 1)?;
    // By a hash: a body has room for tens of thousands of owners.
    let (mut seen, mut twice) = (HashSet::with_capacity(all.len()), Vec::new());
    all.retain(|owner| {
        let first = seen.insert(owner.clone());
        if !first {
            twice.push(value::text(owner, "uid").to_owned());
        }
        first
    });
    let place = if when == Dedup::AfterAdmission { " after mutating admission happens" } else { "" };
    let text = || {
        format!(
            ".metadata.ownerReferences contains duplicate entries{place}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            twice.join(", ")
        )
    };
    (!twice.is_empty()).then(text)
}

/// What may not change, and what is carried over when the client leaves it out.
pub(crate) fn carry_over(v: &mut Value, old: &Value) {
    for path in ["metadata.uid", "metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds"] {
        if value::at(v, path).is_none() {
            value::copy(v, old, path);
        }
    }
    value::copy(v, old, "metadata.creationTimestamp");
    // An object that is being deleted stays so.
    if value::at(old, "metadata.deletionTimestamp").is_some() {
        value::copy(v, old, "metadata.deletionTimestamp");
    }
    for path in ["metadata.generation", "metadata.generateName"] {
        if path == "metadata.generation" || value::at(v, path).is_none() {
            value::copy(v, old, path);
        }
    }
    value::remove(v, "metadata.selfLink");
}

/// Errors of a change of the metadata.
pub(crate) fn validate_change(v: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for path in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let path = format!("metadata.{path}");
        let (new, before) = (value::at(v, &path), value::at(old, &path));
        if new != before {
            causes.push(invalid(&path, new.unwrap_or(&Value::Null), "field is immutable"));
        }
    }
    if value::at(old, "metadata.deletionTimestamp").is_some() {
        let before = value::list(old, "metadata.finalizers");
        let added: Vec<String> = value::list(v, "metadata.finalizers").iter().filter(|f| !before.contains(f)).map(Value::to_string).collect();
        if !added.is_empty() {
            causes.push(Cause {
                reason: "FieldValueForbidden".into(),
                message: format!(
                    "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
                field: "metadata.finalizers".into(),
            });
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn owners_named_twice_are_told_and_go() {
        let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
        let mut v = json!({"metadata": {"ownerReferences": [owner("a"), owner("b"), owner("a"), owner("a")]}});
        let told = dedup_owners(&mut v, Dedup::AsSent).unwrap();
        assert!(told.starts_with(".metadata.ownerReferences contains duplicate entries; ") && told.ends_with("observed: a, a"), "{told}");
        assert_eq!(v["metadata"]["ownerReferences"], json!([owner("a"), owner("b")]));
        assert_eq!(dedup_owners(&mut v, Dedup::AfterAdmission), None);
        let mut other = owner("a");
        other["controller"] = true.into();
        let mut v = json!({"metadata": {"ownerReferences": [owner("a"), other]}});
        assert_eq!(dedup_owners(&mut v, Dedup::AsSent), None);
    }

    #[test]
    fn some_kinds_tell_their_metadata_more_than_once() {
        let rows = crate::table::Table::builtin();
        let cause = |field: &str, message: &str| Cause { reason: "FieldValueInvalid".into(), message: message.into(), field: field.into() };
        for (group, plural, role, field, times) in [
            ("apiextensions.k8s.io", "customresourcedefinitions", None, "metadata.uid", 2),
            ("apiextensions.k8s.io", "customresourcedefinitions", None, "metadata.labels", 3),
            ("apiregistration.k8s.io", "apiservices", None, "metadata.labels", 4),
            ("apiregistration.k8s.io", "apiservices", Some(Role::Status), "metadata.labels", 3),
        ] {
            let row = rows.get(group, plural).unwrap();
            assert!(row.strategy.metadata_twice);
            let again = told_again(&row, role, &[cause(field, "m")]);
            assert_eq!(1 + again.len(), times, "{plural} {field}");
        }
    }

    #[test]
    fn names_come_before_the_rest() {
        let cause = |field: &str| Cause { field: field.into(), ..Default::default() };
        let mut all = ["metadata.finalizers[0]", "metadata.name", "spec", "metadata.generateName"].map(cause);
        names_first(&mut all);
        assert_eq!(all.each_ref().map(|c| c.field.as_str()), ["metadata.generateName", "metadata.name", "metadata.finalizers[0]", "spec"]);
    }

    #[test]
    fn kinds_of_owners() {
        for (version, kind, want) in [
            ("v1", "Pod", None),
            ("apps/v1", "Deployment", None),
            ("events.k8s.io/v1", "Event", None),
            ("", "Pod", None),
            (
                "v1",
                "Event",
                Some(("o", r#"Invalid value: {"apiVersion":"v1","kind":"Event","name":"x","uid":"u"}: /v1, Kind=Event is disallowed from being an owner"#)),
            ),
            ("a/b/c", "Pod", Some(("o.apiVersion", r#"Invalid value: "a/b/c": must be <group>/<version> or <version>"#))),
            ("apps/", "Pod", Some(("o.apiVersion", r#"Invalid value: "apps/": must be <group>/<version> or <version>"#))),
        ] {
            let owner = json!({"name": "x", "uid": "u", "kind": kind, "apiVersion": version});
            let told = owner_kind(&owner, "o").map(|c| (c.field, c.message));
            assert_eq!(told, want.map(|(f, m)| (f.to_owned(), m.to_owned())), "{version} {kind}");
        }
    }
}
