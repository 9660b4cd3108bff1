//! Ingresses, NetworkPolicies and addresses of Services.
use crate::{
    certificates::domain_prefixed_path,
    field::Field,
    ip, labels, names,
    same::same,
    service::{ingress_address, ingress_hostname},
    show::{internal, own},
};
use skiff_json::Value;

pub(crate) fn policy(v: &Field<'_>) {
    policy_spec(v, &[], false);
}

pub(crate) fn policy_update(new: &Field<'_>, old: &Field<'_>) {
    let blocks = |f: &Field<'_>, rules: &'static str, peers: &'static str| -> Vec<String> {
        let all = f.at("spec").at(rules).items().flat_map(|r| r.at(peers).items()).map(|p| p.at("ipBlock"));
        all.flat_map(|b| std::iter::once(b.at("cidr").str()).chain(b.at("except").strs()).map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let existing: Vec<String> = blocks(old, "ingress", "from").into_iter().chain(blocks(old, "egress", "to")).collect();
    let lenient = !crate::field::passes(old.at("spec.podSelector").value(), |s| labels::selector(s, false));
    policy_spec(new, &existing.iter().map(String::as_str).collect::<Vec<_>>(), lenient);
}

fn policy_spec(v: &Field<'_>, existing: &[&str], lenient: bool) {
    let spec = v.at("spec");
    labels::selector(&spec.at("podSelector"), lenient);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for r in spec.at(rules).items() {
            for p in r.at("ports").items() {
                policy_port(&p);
            }
            for p in r.at(peers).items() {
                peer(&p, existing, lenient);
            }
        }
    }
    let types = spec.at("policyTypes");
    if types.len() > 2 {
        types.invalid(own(types.value()), "may not specify more than two policyTypes");
    } else {
        types.items().for_each(|t| t.if_any_of(&["Ingress", "Egress"]));
    }
    // A declared rule: told last.
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        let blocks = spec.at(rules).items().flat_map(|r| r.at(peers).items()).map(|p| p.at("ipBlock"));
        blocks.filter(|b| b.exists() && b.at("cidr").str().is_empty()).for_each(|b| b.at("cidr").required(""));
    }
}

fn policy_port(p: &Field<'_>) {
    p.at("protocol").optional_of(&["TCP", "UDP", "SCTP"]);
    let (port, end) = (p.at("port"), p.at("endPort"));
    match (port.exists(), port.text().is_some()) {
        (true, false) => {
            port.in_range(1, 65535);
            if end.exists() {
                if end.int() < port.int() {
                    end.invalid(end.int(), "must be greater than or equal to `port`");
                }
                end.in_range(1, 65535);
            }
        }
        (true, true) => {
            if end.exists() {
                end.invalid(end.int(), "may not be specified when `port` is non-numeric");
            }
            port.check(names::port_name);
        }
        (false, _) if end.exists() => end.invalid(end.int(), "may not be specified when `port` is not specified"),
        _ => {}
    }
}

fn peer(p: &Field<'_>, existing: &[&str], lenient: bool) {
    let (pods, namespaces, block) = (p.at("podSelector"), p.at("namespaceSelector"), p.at("ipBlock"));
    labels::selector(&pods, lenient);
    labels::selector(&namespaces, lenient);
    if block.exists() {
        ip_block(&block, existing);
    }
    match [&pods, &namespaces, &block].into_iter().filter(|f| f.exists()).count() {
        0 => p.required("must specify a peer"),
        2.. if block.exists() => p.forbidden("may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn ip_block(b: &Field<'_>, existing: &[&str]) {
    let cidr = b.at("cidr");
    if cidr.str().is_empty() {
        return;
    }
    ip::legacy_cidr(&cidr, cidr.str(), existing);
    for e in b.at("except").items().take_while(|_| ip::sloppy_cidr(cidr.str()).is_some()) {
        ip::legacy_cidr(&e, e.str(), existing);
        if ip::sloppy_cidr(e.str()).is_some() && !ip::strictly_inside(e.str(), cidr.str()) {
            e.invalid(e.str(), "must be a strict subset of `cidr`");
        }
    }
}

/// What an old Ingress breaks already.
#[derive(Clone, Copy, Default)]
struct Lenient {
    secret_names: bool,
    wildcard_rules: bool,
}

pub(crate) fn ingress(v: &Field<'_>) {
    ingress_spec(v, Lenient::default());
    const CLASS: &str = "kubernetes.io/ingress.class";
    let (annotation, class) = (v.at("metadata.annotations").value().get(CLASS).and_then(Value::as_str), v.at("spec.ingressClassName").text());
    if let (Some(a), Some(c)) = (annotation, class)
        && a != c
    {
        v.at("annotations").child(CLASS).invalid(a, "must match `ingressClassName` when both are specified");
    }
}

pub(crate) fn ingress_update(new: &Field<'_>, old: &Field<'_>) {
    let secret = |t: Field<'_>| !t.at("secretName").str().is_empty() && !names::dns1123_subdomain(t.at("secretName").str()).is_empty();
    let lenient = Lenient {
        secret_names: old.at("spec.tls").items().any(secret),
        wildcard_rules: old.at("spec.rules").items().any(|r| r.at("host").str().contains('*') && !crate::field::passes(r.value(), http)),
    };
    ingress_spec(new, lenient);
}

fn host(f: &Field<'_>) {
    f.check(if f.str().contains('*') { names::wildcard_subdomain } else { names::dns1123_subdomain });
}

fn ingress_spec(v: &Field<'_>, lenient: Lenient) {
    let spec = v.at("spec");
    let (rules, default, class) = (spec.at("rules"), spec.at("defaultBackend"), spec.at("ingressClassName"));
    if rules.list().is_empty() && !default.exists() {
        spec.invalid(own(rules.value()), "either `defaultBackend` or `rules` must be specified");
    }
    if default.exists() {
        backend(&default);
    }
    for r in rules.items() {
        let h = r.at("host");
        if !h.str().is_empty() {
            if ip::sloppy(h.str()).is_some() {
                h.invalid(h.str(), "must be a DNS name, not an IP address");
            }
            host(&h);
        }
        if !h.str().contains('*') || !lenient.wildcard_rules {
            http(&r);
        }
    }
    for t in spec.at("tls").items() {
        for h in t.at("hosts").items() {
            host(&h);
        }
        let secret = t.at("secretName");
        if !lenient.secret_names && !secret.str().is_empty() {
            secret.check(names::dns1123_subdomain);
        }
    }
    if class.exists() {
        class.check(names::dns1123_subdomain);
    }
}

fn http(r: &Field<'_>) {
    let f = r.at("http");
    if !f.exists() {
        return;
    }
    if f.at("paths").list().is_empty() {
        f.at("paths").required("");
    }
    for p in f.at("paths").items() {
        path(&p);
    }
}

fn path(p: &Field<'_>) {
    let (kind, path) = (p.at("pathType"), p.at("path"));
    let Some(k) = kind.text() else { return kind.required("pathType must be specified") };
    let absolute = path.str().starts_with('/');
    match k {
        "Exact" | "Prefix" => {
            if !absolute {
                path.invalid(path.str(), "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|b| path.str().contains(b)) {
                path.invalid(path.str(), &format!("must not contain '{bad}'"));
            }
            for bad in ["/..", "/."].into_iter().filter(|b| path.str().ends_with(b)) {
                path.invalid(path.str(), &format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" => {
            if !absolute && !path.str().is_empty() {
                path.invalid(path.str(), "must be an absolute path");
            }
        }
        k => kind.unsupported(k, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(&p.at("backend"));
}

fn backend(b: &Field<'_>) {
    let (resource, service) = (b.at("resource"), b.at("service"));
    match (resource.exists(), service.exists()) {
        (true, true) => b.invalid("", "cannot set both resource and service backends"),
        (true, false) => reference(&resource),
        (false, true) => {
            let name = service.at("name");
            if name.str().is_empty() {
                name.required("");
            } else {
                name.check(names::dns1123_label);
            }
            let (port, number) = (service.at("port").at("name"), service.at("port").at("number"));
            match (port.str().is_empty(), number.int()) {
                (false, n) if n != 0 => b.invalid("", "cannot set both port name & port number"),
                (false, _) => port.check(names::port_name),
                (true, 0) => b.required("port name or number is required"),
                (true, _) => number.in_range(1, 65535),
            }
        }
        (false, false) => b.invalid("", "resource or service backend is required"),
    }
}

/// A reference to an object of some kind in the same namespace.
fn reference(f: &Field<'_>) {
    if f.at("apiGroup").exists() {
        f.at("apiGroup").check(names::dns1123_subdomain);
    }
    for part in ["kind", "name"] {
        if f.at(part).str().is_empty() {
            f.at(part).required("");
        } else {
            f.at(part).check(names::path_segment);
        }
    }
}

pub(crate) fn ingress_status(new: &Field<'_>, old: &Field<'_>) {
    let existing: Vec<&str> = old.at("status.loadBalancer.ingress").items().map(|i| i.at("ip").str()).collect();
    for i in new.at("status").at("loadBalancer").at("ingress").items() {
        ingress_address(&i, &existing);
        ingress_hostname(&i);
    }
}

const MAX_CONTROLLER: usize = 250;

pub(crate) fn ingress_class(v: &Field<'_>) {
    let (controller, parameters) = (v.at("spec").at("controller"), v.at("spec").at("parameters"));
    if controller.str().len() > MAX_CONTROLLER {
        controller.too_long(MAX_CONTROLLER);
    }
    domain_prefixed_path(&controller);
    if !parameters.exists() {
        return;
    }
    reference(&parameters);
    let (scope, namespace) = (parameters.at("scope"), parameters.at("namespace"));
    match (scope.text(), namespace.exists()) {
        (None, _) => scope.required(""),
        (Some("Namespace"), false) => namespace.required("`parameters.scope` is set to 'Namespace'"),
        (Some("Namespace"), true) => namespace.check(names::dns1123_label),
        (Some("Cluster"), true) => namespace.forbidden("`parameters.scope` is set to 'Cluster'"),
        (Some("Cluster"), false) => {}
        (Some(s), _) => scope.unsupported(s, &["Cluster", "Namespace"]),
    }
}

pub(crate) fn ingress_class_update(new: &Field<'_>, old: &Field<'_>) {
    let controller = new.at("spec").at("controller");
    if controller.str() != old.at("spec.controller").str() {
        controller.invalid(controller.str(), "field is immutable");
    }
    ingress_class(new);
}

/// The name of an IPAddress is the address.
pub fn ip_address_name(name: &str) -> names::Messages {
    let errors = crate::field::Errors::default();
    ip::canonical(&Field::root(&Value::Null, &errors), name);
    errors.into_causes().into_iter().filter_map(|c| c.message.split_once(": ")?.1.split_once(": ").map(|(_, why)| why.to_owned().into())).collect()
}

pub(crate) fn ip_address(v: &Field<'_>) {
    let parent = v.at("spec").at("parentRef");
    if !parent.exists() {
        return parent.required("");
    }
    let (group, namespace) = (parent.at("group"), parent.at("namespace"));
    if !group.str().is_empty() {
        group.check(names::dns1123_subdomain);
    }
    for part in ["resource", "name"] {
        if parent.at(part).str().is_empty() {
            parent.at(part).required("");
        } else {
            parent.at(part).check(names::path_segment);
        }
    }
    if !namespace.str().is_empty() {
        namespace.check(names::path_segment);
    }
}

pub(crate) fn ip_address_update(new: &Field<'_>, old: &Field<'_>) {
    let parent = new.at("spec").at("parentRef");
    if !same(parent.value(), old.at("spec.parentRef").value()) {
        if !parent.exists() {
            parent.required("");
        }
        for part in ["resource", "name"].into_iter().filter(|part| parent.exists() && parent.at(part).str().is_empty()) {
            parent.at(part).required("");
        }
        parent.invalid(&Value::Null, "field is immutable");
    }
}

pub(crate) fn service_cidr(v: &Field<'_>) {
    let cidrs = v.at("spec").at("cidrs");
    let all = cidrs.strs();
    match all.len() {
        0 => return cidrs.required("at least one CIDR required"),
        1 | 2 => {}
        _ => return cidrs.invalid(internal("io.k8s.api.networking.v1.ServiceCIDRSpec", v.at("spec").value()), "may only hold up to 2 values"),
    }
    for c in cidrs.items() {
        ip::canonical_cidr(&c, c.str());
    }
    if all.len() == 2 && all.iter().all(|c| ip::sloppy_cidr(c).is_some()) && !ip::cidrs_dual_stack(&all) {
        cidrs.invalid(own(cidrs.value()), "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    }
}

/// A second network may come; nothing else changes.
pub(crate) fn service_cidr_update(new: &Field<'_>, old: &Field<'_>) {
    let (f, was) = (new.at("spec").at("cidrs"), old.at("spec.cidrs").strs());
    let now = f.strs();
    if now.len() != was.len() && (was.len(), now.len()) != (1, 2) {
        return f.invalid(own(f.value()), "field is immutable");
    }
    for (i, (n, w)) in now.iter().zip(&was).enumerate() {
        if n != w {
            f.index(i).invalid(*n, "field is immutable");
        }
    }
    if now.len() != was.len() {
        service_cidr(new);
    }
}
