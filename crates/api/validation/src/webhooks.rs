//! Webhooks and policies of admission.
use crate::{
    expressions::{Names, Wanted, compiles},
    field::Field,
    labels, names,
    show::own,
    webhook_client::webhook_client,
};

/// A name of at least three segments.
fn fully_qualified(f: &Field<'_>) {
    if f.str().is_empty() {
        return f.required("");
    }
    let messages = names::dns1123_subdomain(f.str());
    if !messages.is_empty() {
        f.invalid(f.str(), &messages.join(","));
    } else if f.str().split('.').count() < 3 {
        f.invalid(f.str(), "should be a domain with at least three segments separated by dots");
    }
}

pub(crate) fn validating(v: &Field<'_>) {
    hooks(v, false);
}
pub(crate) fn mutating(v: &Field<'_>) {
    hooks(v, true);
}

fn hooks(v: &Field<'_>, mutating: bool) {
    let mut seen = Vec::new();
    for h in v.at("webhooks").items() {
        hook(&h, mutating);
        review_versions(&h.at("admissionReviewVersions"));
        let name = h.at("name");
        if name.str().is_empty() {
            continue;
        }
        if seen.contains(&name.str()) {
            name.duplicate(name.str());
        } else {
            seen.push(name.str());
        }
    }
}

fn hook(h: &Field<'_>, mutating: bool) {
    fully_qualified(&h.at("name"));
    for r in h.at("rules").items() {
        rule(&r);
    }
    h.at("failurePolicy").optional_of(&["Fail", "Ignore"]);
    h.at("matchPolicy").optional_of(&["Equivalent", "Exact"]);
    let (effects, timeout) = (h.at("sideEffects"), h.at("timeoutSeconds"));
    if !effects.exists() {
        effects.required("must specify one of None, NoneOnDryRun");
    }
    effects.optional_of(&["None", "NoneOnDryRun"]);
    if timeout.exists() && !(1..=30).contains(&timeout.int()) {
        timeout.invalid(timeout.int(), "the timeout value must be between 1 and 30 seconds");
    }
    labels::selector(&h.at("namespaceSelector"), false);
    labels::selector(&h.at("objectSelector"), false);
    if mutating {
        h.at("reinvocationPolicy").optional_of(&["IfNeeded", "Never"]);
    }
    webhook_client(&h.at("clientConfig"));
    match_conditions(&h.at("matchConditions"), Names::default());
}

fn review_versions(f: &Field<'_>) {
    if f.list().is_empty() {
        return f.required("must specify one of v1, v1beta1");
    }
    let mut seen = Vec::new();
    for v in f.items() {
        if seen.contains(&v.str()) {
            v.invalid(v.str(), "duplicate version");
            continue;
        }
        seen.push(v.str());
        v.check(names::dns1035_label);
    }
    if !seen.iter().any(|v| matches!(*v, "v1" | "v1beta1")) {
        f.invalid(own(f.value()), "must include at least one of v1, v1beta1");
    }
}

fn alone(f: &Field<'_>, what: &str) {
    if f.len() > 1 && f.strs().contains(&"*") {
        f.invalid(own(f.value()), &format!("if '*' is present, must not specify other {what}"));
    }
}

pub(crate) fn rule(r: &Field<'_>) {
    let operations = r.at("operations");
    if operations.list().is_empty() {
        operations.required("");
    }
    alone(&operations, "operations");
    for o in operations.items() {
        o.if_any_of(&["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
    }
    let (groups, versions) = (r.at("apiGroups"), r.at("apiVersions"));
    if groups.list().is_empty() {
        groups.required("");
    }
    alone(&groups, "API groups");
    if versions.list().is_empty() {
        versions.required("");
    }
    alone(&versions, "API versions");
    for v in versions.items().filter(|v| v.str().is_empty()) {
        v.required("");
    }
    resources(&r.at("resources"));
    r.at("scope").optional_of(&["*", "Cluster", "Namespaced"]);
}

fn resources(f: &Field<'_>) {
    if f.list().is_empty() {
        f.required("");
    }
    let (mut of, mut sub_of) = (Vec::new(), Vec::new());
    let mut bare = false;
    for r in f.items() {
        let text = r.str();
        if text.is_empty() {
            r.required("");
            continue;
        }
        let Some((resource, sub)) = text.split_once('/') else {
            bare = text != "*";
            continue;
        };
        if of.contains(&resource) {
            r.invalid(text, &format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if sub_of.contains(&sub) {
            r.invalid(text, &format!("if '*/{sub}' is present, must not specify {text}"));
        }
        if sub == "*" {
            of.push(resource);
        }
        if resource == "*" {
            sub_of.push(sub);
        }
    }
    let all = f.strs();
    if all.len() > 1 && all.contains(&"*/*") {
        f.invalid(own(f.value()), "if '*/*' is present, must not specify other resources");
    }
    if all.contains(&"*") && bare {
        f.invalid(own(f.value()), "if '*' is present, must not specify other resources without subresources");
    }
}

const MAX_CONDITIONS: usize = 64;

pub(crate) fn match_conditions(f: &Field<'_>, known: Names) {
    if f.len() > MAX_CONDITIONS {
        f.too_many(f.len(), MAX_CONDITIONS);
    }
    let mut seen = Vec::new();
    for c in f.items() {
        let (name, expression) = (c.at("name"), c.at("expression"));
        if expression.str().trim().is_empty() {
            expression.required("");
        } else {
            compiles(&expression, known, Wanted::Bool);
        }
        if name.str().is_empty() {
            name.required("");
            continue;
        }
        name.check(names::qualified_name);
        if seen.contains(&name.str()) {
            name.duplicate(name.str());
        } else {
            seen.push(name.str());
        }
    }
}
