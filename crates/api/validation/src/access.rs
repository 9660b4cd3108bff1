//! RBAC: roles and who has them.
use crate::{
    field::Field,
    labels, names,
    same::same,
    show::{internal, own},
};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn role(v: &Field<'_>) {
    rules(v, true);
}

pub(crate) fn cluster_role(v: &Field<'_>) {
    rules(v, false);
    let aggregation = v.at("aggregationRule");
    if !aggregation.exists() {
        return;
    }
    let selectors = aggregation.at("clusterRoleSelectors");
    if selectors.list().is_empty() {
        selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for s in selectors.items() {
        let mark = s.mark();
        labels::selector(&s, false);
        if !s.clean_since(mark) {
            s.invalid(crate::show::Json("null".into()), "invalid label selector.");
        }
    }
}

/// A declared rule, told after the others.
fn verbs(r: &Field<'_>) {
    if r.at("verbs").list().is_empty() {
        r.at("verbs").required("");
    }
}

fn rules(v: &Field<'_>, namespaced: bool) {
    for r in v.at("rules").items() {
        let urls = r.at("nonResourceURLs");
        if !urls.list().is_empty() {
            if namespaced {
                urls.invalid(own(urls.value()), "namespaced rules cannot apply to non-resource URLs");
            }
            if ["apiGroups", "resources", "resourceNames"].into_iter().any(|p| !r.at(p).list().is_empty()) {
                urls.invalid(own(urls.value()), "rules cannot apply to both regular resources and non-resource URLs");
            }
            verbs(&r);
            continue;
        }
        for (part, why) in
            [("apiGroups", "resource rules must supply at least one api group"), ("resources", "resource rules must supply at least one resource")]
        {
            if r.at(part).list().is_empty() {
                r.at(part).required(why);
            }
        }
        verbs(&r);
    }
}

pub(crate) fn role_binding(v: &Field<'_>) {
    binding(v, true);
}
pub(crate) fn cluster_role_binding(v: &Field<'_>) {
    binding(v, false);
}

fn binding(v: &Field<'_>, namespaced: bool) {
    let role = v.at("roleRef");
    role.at("apiGroup").if_any_of(&[GROUP]);
    role.at("kind").if_any_of(if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] });
    if role.at("name").str().is_empty() {
        role.at("name").required("");
    } else {
        role.at("name").check(names::path_segment);
    }
    for s in v.at("subjects").items() {
        subject(&s, namespaced);
    }
}

fn subject(s: &Field<'_>, namespaced: bool) {
    let (name, group) = (s.at("name"), s.at("apiGroup"));
    match s.at("kind").str() {
        "ServiceAccount" => {
            if !name.str().is_empty() {
                name.check(names::dns1123_subdomain);
            }
            if !group.str().is_empty() {
                group.unsupported(group.str(), &[""]);
            }
            if !namespaced && s.at("namespace").str().is_empty() {
                s.at("namespace").required("");
            }
        }
        "User" | "Group" => group.if_any_of(&[GROUP]),
        k => s.at("kind").unsupported(k, &["ServiceAccount", "User", "Group"]),
    }
    if name.str().is_empty() {
        name.required("");
    }
}

/// A binding stays with its role.
pub(crate) fn role_binding_update(new: &Field<'_>, old: &Field<'_>) {
    binding(new, true);
    same_role(new, old);
}
pub(crate) fn cluster_role_binding_update(new: &Field<'_>, old: &Field<'_>) {
    binding(new, false);
    same_role(new, old);
}

fn same_role(new: &Field<'_>, old: &Field<'_>) {
    let role = new.at("roleRef");
    if !same(role.value(), old.at("roleRef").value()) {
        role.invalid(internal("io.k8s.api.rbac.v1.RoleRef", role.value()), "field is immutable");
    }
}
