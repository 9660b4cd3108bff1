//! What is wrong with a definition, in upstream's words.
//!
//! Upstream checks an internal form, in which what all versions share stands at the top of the spec: the paths in errors
//! are of that form (`spec.validation.openAPIV3Schema`, `spec.conversion.webhookClientConfig`).

mod conversion;
mod defaults;
mod openapi;
mod print;
mod selectable;
mod structural;
mod versions;

pub use openapi::unknown_formats;

use skiff_json::Value;
use skiff_meta::Cause;
use skiff_validation::{Errors, Field, Json, names, shown};

type List<'a> = &'a [Value];

/// Errors of a new definition, or of a change of one (`old`).
pub fn check(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let errors = Errors::default();
    let root = Field::root(new, &errors);
    if old.is_none() {
        name(&root);
    }
    let spec = root.at("spec");
    group(&spec);
    versions::check(&spec, old.map(|o| &o["spec"]));
    required_names(&spec.at("names"));
    names(&spec.at("names"));
    conversion::check(&spec, old);
    if let Some(old) = old {
        immutable(&spec, old);
    }
    status(&root);
    approval(&root, old);
    preserve_unknown(&spec, old);
    errors.into_causes()
}

/// Errors of a change of a definition's status.
pub fn check_status(new: &Value) -> Vec<Cause> {
    let errors = Errors::default();
    names(&Field::root(new, &errors).at("status").at("acceptedNames"));
    errors.into_causes()
}

fn name(root: &Field<'_>) {
    let (name, spec) = (root.at("metadata").at("name"), root.at("spec"));
    let wanted = format!("{}.{}", spec.at("names").at("plural").str(), spec.at("group").str());
    for given in [root.at("metadata").at("generateName"), name] {
        if !given.str().is_empty() && given.str() != wanted {
            given.invalid(given.str(), "must be spec.names.plural+\".\"+spec.group");
        }
    }
}

fn joined(found: &names::Messages) -> String {
    found.join(",")
}

fn group(spec: &Field<'_>) {
    let (group, scope) = (spec.at("group"), spec.at("scope"));
    let found = names::dns1123_subdomain(group.str());
    if group.str().is_empty() {
        group.required("");
    } else if !found.is_empty() {
        group.invalid(group.str(), &joined(&found));
    } else if !group.str().contains('.') {
        group.invalid(group.str(), "should be a domain with at least one dot");
    }
    scope.one_of(&["Cluster", "Namespaced"]);
}

fn required_names(all: &Field<'_>) {
    for key in ["plural", "singular", "kind", "listKind"] {
        if all.at(key).str().is_empty() {
            all.at(key).required("");
        }
    }
}

/// Names of a spec or of a status; absent ones are fine here.
fn names(all: &Field<'_>) {
    let label = |f: &Field<'_>, mixed: bool| {
        let text = if mixed { f.str().to_lowercase() } else { f.str().to_owned() };
        let found = names::dns1035_label(&text);
        if !found.is_empty() {
            let prefix = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            f.invalid(f.str(), &format!("{prefix}{}", joined(&found)));
        }
    };
    for (key, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        if !all.at(key).str().is_empty() {
            label(&all.at(key), mixed);
        }
    }
    all.at("shortNames").items().for_each(|f| label(&f, false));
    let (kind, list) = (all.at("kind"), all.at("listKind"));
    if !kind.str().is_empty() && kind.str() == list.str() {
        list.invalid(list.str(), "kind and listKind may not be the same");
    }
    all.at("categories").items().for_each(|f| label(&f, false));
}

fn immutable(spec: &Field<'_>, old: &Value) {
    let old_errors = Errors::default();
    let before = Field::root(old, &old_errors).at("spec");
    if super::holds(old, "Established") {
        spec.at("scope").immutable(&before.at("scope"));
        spec.at("names").at("kind").immutable(&before.at("names").at("kind"));
    }
    spec.at("group").immutable(&before.at("group"));
    spec.at("names").at("plural").immutable(&before.at("names").at("plural"));
}

fn status(root: &Field<'_>) {
    let status = root.at("status");
    names(&status.at("acceptedNames"));
    let stored = status.at("storedVersions");
    let versions: List<'_> = root.at("spec").at("versions").list();
    let all = Json(shown(stored.value()));
    if stored.list().is_empty() {
        return stored.invalid(all, "must have at least one stored version");
    }
    for v in versions.iter().filter(|v| v["storage"] == true && !stored.list().contains(&v["name"])) {
        let name = v["name"].as_str().unwrap_or_default();
        stored.invalid(Json(shown(stored.value())), &format!("must have the storage version {name}"));
    }
    for f in stored.items().filter(|f| !versions.iter().any(|v| v["name"] == *f.value())) {
        let v = f.str();
        f.invalid(v, &format!("missing from spec.versions; {v} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {v} and removes {v} from status.storedVersions"));
    }
}

const APPROVED: &str = "api-approved.kubernetes.io";
const PULL: &str = "https://github.com/kubernetes/enhancements/pull/1111";

#[derive(PartialEq, Eq)]
enum Approval {
    Given,
    Bypassed,
    Missing,
    Invalid,
}

fn approval_of(v: &Value) -> Approval {
    let text = v["metadata"]["annotations"][APPROVED].as_str().unwrap_or_default();
    let url = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/'));
    match text {
        "" => Approval::Missing,
        t if t.starts_with("unapproved") => Approval::Bypassed,
        _ if url => Approval::Given,
        _ => Approval::Invalid,
    }
}

/// Groups of the community need its approval.
fn approval(root: &Field<'_>, old: Option<&Value>) {
    let group = root.at("spec").at("group").str();
    let community = ["k8s.io", "kubernetes.io"].iter().any(|d| group == *d || group.strip_suffix(d).is_some_and(|g| g.ends_with('.')));
    let now = approval_of(root.value());
    if !community || old.is_some_and(|o| approval_of(o) == now) {
        return;
    }
    let f = root.at("metadata").at("annotations").key(APPROVED);
    match now {
        Approval::Missing => f.required(&format!("protected groups must have approval annotation {APPROVED:?}, see {PULL}")),
        Approval::Invalid => f.invalid(
            f.str(),
            &format!("protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see {PULL}"),
        ),
        Approval::Given | Approval::Bypassed => {}
    }
}

fn preserve_unknown(spec: &Field<'_>, old: Option<&Value>) {
    let f = spec.at("preserveUnknownFields");
    if f.flag() && old.is_none_or(|o| o["spec"]["preserveUnknownFields"] != true) {
        f.invalid(true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
    }
}

#[cfg(test)]
mod tests;
