//! The metadata of every object, new or changed.
use crate::{
    cluster::kube_finalizer,
    field::{Errors, Field},
    labels, names,
    show::{Json, own, quote},
};
use skiff_json::Value;
use skiff_meta::Cause;

/// What names of a kind may be.
pub type NameRule = fn(&str) -> names::Messages;

/// Errors in the metadata of an object that is to be. `prefix`: what `generateName` may be; as the name without the end of
/// what ends in a hyphen.
pub fn create(object: &Value, namespaced: bool, rule: NameRule) -> Vec<Cause> {
    let errors = Errors::default();
    let meta = Field::root(object, &errors).at("metadata");
    let (base, name) = (meta.at("generateName"), meta.at("name"));
    if !base.str().is_empty() {
        for m in rule(&names::masked(base.str())) {
            base.invalid(base.str(), &m);
        }
    }
    if name.str().is_empty() {
        name.required("name or generateName is required");
    } else {
        name.check(rule);
    }
    namespace(&meta, namespaced);
    if meta.at("generation").int() < 0 {
        meta.at("generation").non_negative();
    }
    common(&meta);
    finalizers(&meta.at("finalizers"));
    errors.into_causes()
}

fn namespace(meta: &Field<'_>, namespaced: bool) {
    let f = meta.at("namespace");
    match (namespaced, f.str().is_empty()) {
        (true, true) => f.required(""),
        (true, false) => f.check(names::dns1123_label),
        (false, false) => f.forbidden("not allowed on this type"),
        (false, true) => {}
    }
}

fn common(meta: &Field<'_>) {
    labels::labels(&meta.at("labels"));
    labels::annotations(&meta.at("annotations"));
    owners(&meta.at("ownerReferences"));
    managed_fields(&meta.at("managedFields"));
}

fn finalizers(list: &Field<'_>) {
    let all = list.strs();
    for name in &all {
        list.check_text(name, names::qualified_name);
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        list.invalid(own(list.value()), "finalizer orphan and foregroundDeletion cannot be both set");
    }
    kube_finalizers(list);
}

fn kube_finalizers(list: &Field<'_>) {
    for f in list.items() {
        kube_finalizer(&f, f.str());
    }
}

fn owners(list: &Field<'_>) {
    let mut controller: Option<String> = None;
    for o in list.items() {
        let version = o.at("apiVersion");
        let parts = version.str().split('/').count();
        let invalid = parts > 2 || version.str().ends_with('/') || (parts == 2 && version.str().starts_with('/'));
        if !version.str().is_empty() && invalid {
            version.invalid(version.str(), "must be <group>/<version> or <version>");
        }
        for part in ["apiVersion", "kind", "name", "uid"] {
            if o.at(part).str().is_empty() {
                o.at(part).required("must not be empty");
            }
        }
        if version.is("v1") && o.at("kind").is("Event") {
            o.invalid(own(o.value()), "/v1, Kind=Event is disallowed from being an owner");
        }
        if o.at("controller").flag() {
            let id = format!("{}/{}", o.at("kind").str(), o.at("name").str());
            match &controller {
                Some(first) => list.invalid(
                    own(list.value()),
                    &format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {id}"),
                ),
                None => controller = Some(id),
            }
        }
    }
}

const MAX_MANAGER: usize = 128;
const MAX_SUBRESOURCE: usize = 256;

fn managed_fields(list: &Field<'_>) {
    for e in list.items() {
        let (operation, kind, manager) = (e.at("operation"), e.at("fieldsType"), e.at("manager"));
        if operation.str().is_empty() {
            operation.required("must not be empty");
        } else {
            operation.if_any_of(&["Apply", "Update"]);
        }
        if !kind.str().is_empty() && !kind.is("FieldsV1") {
            kind.invalid(kind.str(), "must be `FieldsV1`");
        }
        if manager.str().len() > MAX_MANAGER {
            manager.too_long(MAX_MANAGER);
        }
        for (i, c) in manager.str().char_indices().filter(|(_, c)| c.is_control()) {
            manager.invalid(manager.str(), &format!("invalid character U+{:04X} (at position {i})", c as u32));
        }
        if e.at("subresource").str().len() > MAX_SUBRESOURCE {
            e.at("subresource").too_long(MAX_SUBRESOURCE);
        }
    }
}

/// Errors in the labels and annotations alone.
pub fn tags(object: &Value) -> Vec<Cause> {
    let errors = Errors::default();
    let meta = Field::root(object, &errors).at("metadata");
    labels::labels(&meta.at("labels"));
    labels::annotations(&meta.at("annotations"));
    errors.into_causes()
}

/// What of the metadata may not change.
const FIXED: [&str; 6] = ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Errors in a change of the metadata.
pub fn update(new: &Value, old: &Value) -> Vec<Cause> {
    let errors = Errors::default();
    let meta = Field::root(new, &errors).at("metadata");
    let before = Field::root(old, &errors).at("metadata");
    let finalizers = meta.at("finalizers");
    common(&meta);
    self::finalizers(&finalizers);
    if before.at("deletionTimestamp").exists() {
        let had = before.at("finalizers").strs();
        let mut added: Vec<String> = finalizers.strs().into_iter().filter(|f| !had.contains(f)).map(quote).collect();
        added.sort_unstable();
        added.dedup();
        if !added.is_empty() {
            finalizers
                .forbidden(&format!("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}", added.join(", ")));
        }
    }
    let generation = meta.at("generation");
    if generation.int() < before.at("generation").int() {
        generation.invalid(generation.int(), "must not be decremented");
    }
    for part in FIXED {
        let (now, was) = (meta.at(part), before.at(part));
        if now.value() != was.value() {
            // An absent text is an empty one; an absent time or count is none.
            let shown = if matches!(part, "name" | "namespace" | "uid") { Json(quote(now.str())) } else { own(now.value()) };
            now.invalid(shown, "field is immutable");
        }
    }
    errors.into_causes()
}
