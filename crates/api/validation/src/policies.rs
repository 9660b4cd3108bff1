//! Policies of admission and their bindings.
use crate::{
    expressions::{Names, Wanted, compiles_with},
    field::Field,
    labels, names,
    show::own,
    small,
    webhooks::{match_conditions, rule},
};

pub(crate) fn policy(v: &Field<'_>) {
    let spec = v.at("spec");
    common(&spec, false);
    let (validations, annotations) = (spec.at("validations"), spec.at("auditAnnotations"));
    if validations.list().is_empty() && annotations.list().is_empty() {
        validations.required("validations or auditAnnotations must contain at least one item");
        annotations.required("validations or auditAnnotations must contain at least one item");
    }
    let known = names_of(&spec);
    let declared = declared(&spec);
    for x in validations.items() {
        validation(&x, known, &declared);
    }
    let mut seen = Vec::new();
    for a in annotations.items() {
        let key = a.at("key");
        if v.at("metadata.name").str().is_empty() {
            key.invalid(key.str(), "requires metadata.name be non-empty");
        } else {
            key.check_text(&format!("{}/{}", v.at("metadata.name").str(), key.str()), names::qualified_name);
        }
        if a.at("valueExpression").str().trim().is_empty() {
            a.at("valueExpression").required("valueExpression is not specified");
        } else {
            compiles_with(&a.at("valueExpression"), known, &declared, Wanted::TextOrNull);
        }
        if seen.contains(&key.str()) {
            key.duplicate(key.str());
        }
        seen.push(key.str());
    }
}

/// What policies of both kinds have; `changes`: whether they change objects.
fn common(spec: &Field<'_>, changes: bool) {
    spec.at("failurePolicy").one_of(&["Fail", "Ignore"]);
    let param = spec.at("paramKind");
    if param.exists() {
        param_kind(&param);
    }
    let constraints = spec.at("matchConstraints");
    if !constraints.exists() {
        constraints.required("");
    } else {
        match_resources(&constraints);
        if constraints.at("resourceRules").list().is_empty() {
            constraints.at("resourceRules").required("");
        }
        if changes {
            changes_only(&constraints);
        }
    }
    let known = names_of(spec);
    match_conditions(&spec.at("matchConditions"), Names { variables: false, ..known });
    let declared = declared(spec);
    for (i, x) in spec.at("variables").items().enumerate() {
        let (name, expression) = (x.at("name"), x.at("expression"));
        if name.str().trim().is_empty() {
            name.required("name is not specified");
        } else if !names::c_identifier(name.str()).is_empty() {
            name.invalid(name.str(), "must be a valid CEL identifier");
        }
        if expression.str().trim().is_empty() {
            expression.required("expression is not specified");
        } else {
            let before: Vec<&str> =
                spec.at("variables").list().iter().take(i).filter_map(|v| v.get("name")?.as_str()).filter(|n| declared.contains(n)).collect();
            compiles_with(&expression, known, &before, Wanted::Any);
        }
    }
}

/// Names of variables that later expressions may use: those that have an expression, even one that does not compile.
fn declared<'a>(spec: &Field<'a>) -> Vec<&'a str> {
    spec.at("variables").items().filter(|v| !v.at("expression").str().trim().is_empty()).map(|v| v.at("name").str()).filter(|n| !n.is_empty()).collect()
}

/// What the expressions of a policy may name.
fn names_of(spec: &Field<'_>) -> Names {
    Names { params: spec.at("paramKind").exists(), variables: !spec.at("variables").list().is_empty(), no_authorizer: false }
}

fn validation(x: &Field<'_>, known: Names, declared: &[&str]) {
    let (expression, message, with) = (x.at("expression"), x.at("message"), x.at("messageExpression"));
    if expression.str().trim().is_empty() {
        expression.required("expression is not specified");
    } else {
        compiles_with(&expression, known, declared, Wanted::Bool);
    }
    if !with.str().is_empty() && with.str().trim().is_empty() {
        with.invalid(with.str(), "must be non-empty if specified");
    } else if !with.str().is_empty() {
        compiles_with(&with, Names { no_authorizer: true, ..known }, declared, Wanted::Text);
    }
    let trimmed = message.str().trim();
    if !message.str().is_empty() && trimmed.is_empty() {
        message.invalid(message.str(), "must be non-empty if specified");
    } else if trimmed.contains(['\n', '\r']) {
        message.invalid(message.str(), "must not contain line breaks");
    }
    x.at("reason").optional_of(&["Forbidden", "Invalid", "RequestEntityTooLarge"]);
}

fn param_kind(f: &Field<'_>) {
    let (version, kind) = (f.at("apiVersion"), f.at("kind"));
    let joined = |m: names::Messages| m.join(",");
    match version.str().matches('/').count() {
        _ if version.str().is_empty() => version.required(""),
        0 | 1 => {
            let (group, v) = version.str().split_once('/').unwrap_or(("", version.str()));
            let wrong = names::dns1123_subdomain(group);
            if !group.is_empty() && !wrong.is_empty() {
                version.invalid(group, &joined(wrong));
            }
            let wrong = names::dns1035_label(v);
            if v.is_empty() {
                version.invalid(version.str(), "version must be specified");
            } else if !wrong.is_empty() {
                version.invalid(v, &joined(wrong));
            }
        }
        _ => version.invalid(version.str(), &format!("unexpected GroupVersion string: {}", version.str())),
    }
    let wrong = names::dns1035_label(&kind.str().to_lowercase());
    if kind.str().is_empty() {
        kind.required("");
    } else if !wrong.is_empty() {
        kind.invalid(kind.str(), &format!("may have mixed case, but should otherwise match: {}", joined(wrong)));
    }
}

fn match_resources(f: &Field<'_>) {
    f.at("matchPolicy").one_of(&["Equivalent", "Exact"]);
    for selector in ["namespaceSelector", "objectSelector"] {
        if !f.at(selector).exists() {
            f.at(selector).required("");
        }
        labels::selector(&f.at(selector), false);
    }
    for r in f.at("resourceRules").items().chain(f.at("excludeResourceRules").items()) {
        let mut seen = Vec::new();
        for n in r.at("resourceNames").items() {
            n.check(names::path_segment);
            if seen.contains(&n.str()) {
                n.duplicate(n.str());
            }
            seen.push(n.str());
        }
        rule(&r);
    }
}

/// What the controller that checks types found, and conditions.
pub(crate) fn policy_status(new: &Field<'_>, _old: &Field<'_>) {
    let status = new.at("status");
    for w in status.at("typeChecking").at("expressionWarnings").items() {
        for part in ["warning", "fieldRef"] {
            if w.at(part).str().trim().is_empty() {
                w.at(part).required("");
            }
        }
    }
    small::conditions(&status.at("conditions"));
}

pub(crate) fn mutating_policy(v: &Field<'_>) {
    let spec = v.at("spec");
    common(&spec, true);
    let (mutations, reinvocation) = (spec.at("mutations"), spec.at("reinvocationPolicy"));
    if mutations.list().is_empty() {
        mutations.required("mutations must contain at least one item");
    }
    for m in mutations.items() {
        mutation(&m, names_of(&spec), &declared(&spec));
    }
    if reinvocation.str().is_empty() {
        reinvocation.required("");
    } else {
        reinvocation.optional_of(&["IfNeeded", "Never"]);
    }
}

/// What has an object on its way in can be changed; a deletion has none.
fn changes_only(resources: &Field<'_>) {
    const ALL: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
    for rule in resources.at("resourceRules").items() {
        for o in rule.at("operations").items().filter(|o| !ALL.contains(&o.str())) {
            resources.at("resourceRules").at("operations").unsupported(o.str(), &ALL);
        }
    }
}

fn mutation(m: &Field<'_>, known: Names, declared: &[&str]) {
    let (patch, apply) = (m.at("jsonPatch"), m.at("applyConfiguration"));
    let (given, other, shown) = match m.at("patchType").str() {
        "" => return m.at("patchType").required(""),
        "JSONPatch" => (patch, apply, "{applyConfiguration}"),
        "ApplyConfiguration" => (apply, patch, "{jsonPatch}"),
        _ => return m.at("patchType").optional_of(&["ApplyConfiguration", "JSONPatch"]),
    };
    let kind = m.at("patchType");
    if !given.exists() {
        given.required(&format!("must be specified when patchType is {}", kind.str()));
    } else if given.at("expression").str().trim().is_empty() {
        given.at("expression").required("");
    } else {
        let wanted = if kind.is("JSONPatch") { Wanted::Patches } else { Wanted::Configuration };
        compiles_with(&given.at("expression"), known, declared, wanted);
    }
    if other.exists() {
        other.invalid(shown, &format!("must not be specified when patchType is {}", kind.str()));
    }
}

/// What bindings of both kinds have.
fn bound(spec: &Field<'_>) {
    let (name, param) = (spec.at("policyName"), spec.at("paramRef"));
    if name.str().is_empty() {
        name.required("");
    } else {
        name.check(names::dns1123_subdomain);
    }
    if param.exists() {
        param_ref(&param);
    }
    if spec.at("matchResources").exists() {
        match_resources(&spec.at("matchResources"));
    }
}

pub(crate) fn mutating_policy_binding(v: &Field<'_>) {
    bound(&v.at("spec"));
    changes_only(&v.at("spec").at("matchResources"));
}

pub(crate) fn policy_binding(v: &Field<'_>) {
    let spec = v.at("spec");
    bound(&spec);
    let actions = spec.at("validationActions");
    let mut seen = Vec::new();
    for a in actions.items() {
        a.if_any_of(&["Audit", "Deny", "Warn"]);
        if seen.contains(&a.str()) {
            a.duplicate(a.str());
        }
        seen.push(a.str());
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        actions.invalid(
            own(actions.value()),
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        );
    }
    if seen.is_empty() {
        actions.required("");
    }
}

fn param_ref(f: &Field<'_>) {
    let (name, selector) = (f.at("name"), f.at("selector"));
    match (name.str().is_empty(), selector.exists()) {
        (true, false) => f.required("one of name or selector must be specified"),
        (false, true) => {
            name.forbidden("name and selector are mutually exclusive");
        }
        _ => {}
    }
    if !name.str().is_empty() {
        name.check(names::path_segment);
    }
    labels::selector(&selector, false);
    if !name.str().is_empty() && selector.exists() {
        selector.forbidden("name and selector are mutually exclusive");
    }
    let action = f.at("parameterNotFoundAction");
    if !action.exists() {
        action.required("");
    }
    action.optional_of(&["Deny", "Allow"]);
}
