//! Namespaces, Nodes, Bindings, PodTemplates and other things of the core group that are small.
use crate::{
    field::Field,
    ip, names,
    pod::{self, Options, resources, tolerations},
    show::{internal, own},
};

/// A finalizer that has no domain is one of Kubernetes' own.
pub(crate) fn kube_finalizer(f: &Field<'_>, name: &str) {
    if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
        f.invalid(name, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

pub(crate) fn namespace(v: &Field<'_>) {
    let f = v.at("spec").at("finalizers");
    for name in f.strs() {
        f.check_text(name, names::qualified_name);
        kube_finalizer(&f, name);
    }
}

pub(crate) fn namespace_finalize(new: &Field<'_>, _old: &Field<'_>) {
    for f in new.at("spec").at("finalizers").items() {
        f.check(names::qualified_name);
        kube_finalizer(&f, f.str());
    }
}

pub(crate) fn namespace_status(new: &Field<'_>, _old: &Field<'_>) {
    let phase = new.at("status").under("phase", "Phase");
    let (wanted, when) = if new.at("metadata.deletionTimestamp").exists() { ("Terminating", "is not empty") } else { ("Active", "is empty") };
    if !phase.is(wanted) {
        phase.invalid(phase.str(), &format!("may only be '{wanted}' if `deletionTimestamp` {when}"));
    }
}

pub(crate) fn pod_template(v: &Field<'_>) {
    pod::template(&v.at("template"), &Options::default());
}

pub(crate) fn pod_template_update(new: &Field<'_>, old: &Field<'_>) {
    pod::template(&new.at("template"), &Options::of_template(Some(&old.at("template"))));
}

pub(crate) fn binding(v: &Field<'_>) {
    let (kind, name) = (v.at("target").at("kind"), v.at("target").at("name"));
    if !matches!(kind.str(), "" | "Node") {
        kind.unsupported(kind.str(), &["Node", "<empty>"]);
    }
    if name.str().is_empty() {
        name.required("");
    } else if matches!(kind.str(), "" | "Node") {
        name.check(names::dns1123_subdomain);
    }
}

pub(crate) fn node(v: &Field<'_>) {
    node_parts(v);
    let swap = v.at("metadata").under("-", "nodeSwapStatus").at("capacity");
    let capacity = swap.with(v.at("status.nodeInfo.swap.capacity").value());
    if capacity.exists() {
        capacity.positive();
    }
    let cidrs = v.at("spec").at("podCIDRs");
    let all = pod_cidrs(v);
    for (i, c) in all.iter().enumerate() {
        ip::legacy_cidr(&cidrs.index(i), c, &[]);
    }
    if let Some((i, bad)) = all.iter().enumerate().find(|(_, c)| all.len() > 1 && ip::sloppy_cidr(c).is_none()) {
        cidrs.internal(&format!("invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{i}]: <nil> (invalid CIDR address: {bad})"));
    }
    if all.len() > 1 && (!ip::cidrs_dual_stack(&all) || all.len() > 2) {
        cidrs.invalid(own(cidrs.value()), "may specify no more than one CIDR for each IP family");
    }
}

/// The networks of a node's pods; the single one decides where the list does not begin with it.
fn pod_cidrs<'a>(v: &Field<'a>) -> Vec<&'a str> {
    let (one, all) = (v.at("spec.podCIDR").str(), v.at("spec.podCIDRs").strs());
    if !one.is_empty() && all.first() != Some(&one) { vec![one] } else { all }
}

fn node_parts(v: &Field<'_>) {
    // Upstream tells of taints under the metadata.
    tolerations::taints(&v.at("metadata").at("taints").with(v.at("spec.taints").value()));
    for side in ["capacity", "allocatable"] {
        let map = v.at("status").at(side);
        for (name, q) in map.entries() {
            resources::quantity(&map.child(name).with(q.value()), name);
        }
    }
    declared_features(&v.at("status").at("declaredFeatures"));
}

fn declared_features(list: &Field<'_>) {
    let all = list.strs();
    for (i, name) in all.iter().enumerate() {
        let segment = |s: &str, first: fn(&u8) -> bool| s.as_bytes().first().is_some_and(first) && s.bytes().all(|b| b.is_ascii_alphanumeric());
        let mut segments = name.split('/');
        let fits = segments.next().is_some_and(|s| segment(s, u8::is_ascii_uppercase)) && segments.all(|s| segment(s, u8::is_ascii_alphabetic));
        if name.len() > 253 {
            list.index(i).invalid(*name, &format!("invalid feature name {name:?}: must be no more than 253 characters"));
        } else if !fits {
            list.index(i).invalid(
                *name,
                &format!("invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"),
            );
        }
        match all.get(i + 1) {
            Some(next) if next == name => list.index(i + 1).duplicate(*next),
            Some(next) if next < name => list.index(i + 1).invalid(*next, "list must be sorted alphabetically"),
            _ => {}
        }
    }
}

pub(crate) fn node_update(new: &Field<'_>, old: &Field<'_>) {
    node(new);
    let mut seen = Vec::new();
    for a in new.at("status").at("addresses").items() {
        let id = (a.at("type").str(), a.at("address").str());
        if seen.contains(&id) {
            a.duplicate(internal("io.k8s.api.core.v1.NodeAddress", a.value()));
        }
        seen.push(id);
    }
    let (cidrs, before) = (new.at("spec").at("podCIDRs"), pod_cidrs(old));
    if !before.is_empty() && pod_cidrs(new) != before {
        cidrs.forbidden("node updates may not change podCIDR except from \"\" to valid");
    }
    let (provider, was) = (new.at("spec").at("providerID"), old.at("spec.providerID").str());
    if !was.is_empty() && !provider.is(was) {
        let why = if provider.str().is_empty() { "field cannot be cleared once set" } else { "field cannot be modified once set" };
        provider.invalid(&skiff_json::Value::Null, why);
    }
    let external = new.at("spec").at("externalID");
    if external.str() != old.at("spec.externalID").str() {
        external.forbidden("may not be updated");
    }
}
