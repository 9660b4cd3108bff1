//! Services.
use crate::{
    field::Field,
    ip, labels, names,
    pod::port_number_or_name,
    show::{Json, json, own},
};

pub(crate) fn create(service: &Field<'_>) {
    whole(service, None);
}

fn headless(service: &Field<'_>) -> bool {
    service.at("spec.clusterIPs").strs() == ["None"]
}

fn kind<'a>(service: &Field<'a>) -> &'a str {
    service.at("spec.type").str()
}

fn whole(service: &Field<'_>, old: Option<&Field<'_>>) {
    let spec = service.at("spec");
    topology_annotations(service);
    let ports = spec.at("ports");
    if ports.list().is_empty() && !headless(service) && kind(service) != "ExternalName" {
        ports.required("");
    }
    of_type(service, &spec);
    let (mut seen, many) = (Vec::new(), ports.len() > 1);
    for p in ports.items() {
        port(&p, many, &mut seen);
    }
    labels::labels(&spec.at("selector"));
    affinity(&spec);
    cluster_ips(service, &spec, old);
    let existing = old.map(|o| o.at("spec.externalIPs").strs()).unwrap_or_default();
    for f in spec.at("externalIPs").items() {
        let mark = f.mark();
        ip::legacy(&f, f.str(), &existing);
        if f.clean_since(mark) {
            ip::endpoint(&f, f.str());
        }
    }
    spec.at("type").one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    port_numbers(service, &ports);
    load_balancer(service, &spec, old);
    traffic(service, &spec);
}

fn topology_annotations(service: &Field<'_>) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    let annotations = service.at("metadata").at("annotations");
    let (mode, hints) = (annotations.key("service.kubernetes.io/topology-mode"), annotations.key(HINTS));
    if mode.exists() && hints.exists() && mode.str() != hints.str() {
        mode.invalid(mode.str(), &format!("must match annotations[{HINTS}] when both are specified"));
    }
}

fn of_type(service: &Field<'_>, spec: &Field<'_>) {
    match kind(service) {
        t @ ("LoadBalancer" | "NodePort") if headless(service) => {
            spec.at("clusterIPs").index(0).invalid("None", &format!("may not be set to 'None' for {t} services"))
        }
        "ExternalName" => {
            for f in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"].map(|p| spec.at(p)) {
                if f.exists() {
                    f.forbidden("may not be set for ExternalName services");
                }
            }
            let name = spec.at("externalName");
            match name.str().strip_suffix('.').unwrap_or(name.str()) {
                "" => name.required(""),
                n => name.check_text(n, names::dns1123_subdomain),
            }
        }
        _ => {}
    }
}

pub(crate) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

fn port<'a>(p: &Field<'a>, many: bool, seen: &mut Vec<&'a str>) {
    let name = p.at("name");
    if many && name.str().is_empty() {
        name.required("");
    } else if !name.str().is_empty() {
        name.check(names::dns1123_label);
        if seen.contains(&name.str()) {
            name.duplicate(name.str());
        } else {
            seen.push(name.str());
        }
    }
    p.at("port").in_range(1, 65535);
    p.at("protocol").one_of(&PROTOCOLS);
    port_number_or_name(&p.at("targetPort"));
    if p.at("appProtocol").exists() {
        p.at("appProtocol").check(names::qualified_name);
    }
}

fn affinity(spec: &Field<'_>) {
    let (kind, config) = (spec.at("sessionAffinity"), spec.at("sessionAffinityConfig"));
    kind.one_of(&["ClientIP", "None"]);
    if kind.is("None") && config.exists() {
        config.forbidden("must not be set when session affinity is None");
    }
    if kind.is("ClientIP") {
        let (client, timeout) = (config.at("clientIP"), config.at("clientIP").at("timeoutSeconds"));
        if let Some(f) = [&config, &client, &timeout].into_iter().find(|f| !f.exists()) {
            f.required("when session affinity type is ClientIP");
        } else if !(1..=86400).contains(&timeout.int()) {
            timeout.invalid(timeout.int(), "must be greater than 0 and less than 86400");
        }
    }
}

/// What is wrong with addresses and families by themselves, before the cluster fills in what is left out.
pub fn service_addresses(service: &skiff_json::Value, old: Option<&skiff_json::Value>) -> Vec<skiff_meta::Cause> {
    let errors = crate::field::Errors::default();
    let f = Field::root(service, &errors);
    cluster_ips(&f, &f.at("spec"), old.map(|o| Field::root(o, &errors)).as_ref());
    errors.into_causes()
}

fn cluster_ips(service: &Field<'_>, spec: &Field<'_>, old: Option<&Field<'_>>) {
    if kind(service) == "ExternalName" {
        return;
    }
    let (one, many, families, policy) = (spec.at("clusterIP"), spec.at("clusterIPs"), spec.at("ipFamilies"), spec.at("ipFamilyPolicy"));
    let ips = many.strs();
    match (one.str(), ips.first()) {
        ("", None) => {}
        ("", Some(_)) => many.invalid(own(many.value()), "must be empty when `clusterIP` is not specified"),
        (_, None) => many.required(""),
        (one, Some(first)) if *first != one => many.invalid(own(many.value()), "first value must match `clusterIP`"),
        _ => {}
    }
    let mut seen = Vec::new();
    for f in families.items() {
        f.if_any_of(&["IPv4", "IPv6"]);
        if seen.contains(&f.str()) {
            f.duplicate(f.str());
        }
        seen.push(f.str());
    }
    policy.optional_of(&["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let existing = old.map(|o| o.at("spec.clusterIPs").strs()).unwrap_or_default();
    let mark = many.mark();
    for (i, text) in ips.iter().enumerate() {
        if i == 0 && *text == "None" {
            if ips.len() > 1 {
                many.invalid(own(many.value()), "'None' must be the first and only value");
            }
        } else {
            ip::legacy(&many.index(i), text, &existing);
        }
    }
    let broken = !many.clean_since(mark);
    if ips.len() > 2 {
        many.invalid(own(many.value()), "may only hold up to 2 values");
    }
    if broken {
        return;
    }
    if ips.len() > 1 && !ip::dual_stack(&ips) {
        many.invalid(own(many.value()), "may specify no more than one IP for each IP family");
    }
    if !headless(service) {
        for (i, (text, family)) in ips.iter().zip(families.strs()).enumerate() {
            if (family == "IPv4" && ip::is_v6(text)) || (family == "IPv6" && !ip::is_v6(text)) {
                many.index(i).invalid(*text, &format!("expected an {family} value as indicated by `ipFamilies[{i}]`"));
            }
        }
    }
}

fn port_numbers(service: &Field<'_>, ports: &Field<'_>) {
    if kind(service) == "ClusterIP" {
        for n in ports.items().map(|p| p.at("nodePort")).filter(|n| n.int() != 0) {
            n.forbidden("may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut taken = Vec::new();
    for p in ports.items().filter(|p| p.at("nodePort").int() != 0) {
        let id = (p.at("protocol").str(), p.at("nodePort").int());
        if taken.contains(&id) {
            p.at("nodePort").duplicate(id.1);
        }
        taken.push(id);
    }
    let mut taken = Vec::new();
    for p in ports.items() {
        let id = (p.at("protocol").str(), p.at("port").int());
        if taken.contains(&id) {
            p.duplicate(Json(format!(r#"{{"Name":"","Protocol":{},"AppProtocol":null,"Port":{},"TargetPort":0,"NodePort":0}}"#, json(&id.0.into()), id.1)));
        }
        taken.push(id);
    }
}

fn load_balancer(service: &Field<'_>, spec: &Field<'_>, old: Option<&Field<'_>>) {
    const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let balances = kind(service) == "LoadBalancer";
    let ranges = spec.under("loadBalancerSourceRanges", "LoadBalancerSourceRanges");
    let annotation = service.at("metadata").at("annotations").key(RANGES);
    if !ranges.list().is_empty() {
        if !balances {
            ranges.forbidden("may only be used when `type` is 'LoadBalancer'");
        }
        let existing: Vec<&str> = old.map(|o| o.at("spec.loadBalancerSourceRanges").strs()).unwrap_or_default().into_iter().map(str::trim).collect();
        for r in ranges.items() {
            ip::legacy_cidr(&r, r.str().trim(), &existing);
        }
    } else if annotation.exists() {
        if !balances {
            annotation.forbidden("may only be used when `type` is 'LoadBalancer'");
        }
        let changed = old.is_none_or(|o| o.at("metadata.annotations").key(RANGES).text() != annotation.text());
        if changed && !annotation.str().trim().is_empty() {
            for r in annotation.str().trim().split(',') {
                ip::legacy_cidr(&annotation, r.trim(), &[]);
            }
        }
    }
    let allocate = spec.at("allocateLoadBalancerNodePorts");
    if allocate.exists() && !balances {
        allocate.forbidden("may only be used when `type` is 'LoadBalancer'");
    }
    if balances && !allocate.exists() {
        service.at("allocateLoadBalancerNodePorts").required("");
    }
    load_balancer_class(service);
}

fn load_balancer_class(service: &Field<'_>) {
    let class = service.at("spec").at("loadBalancerClass");
    match kind(service) {
        _ if !class.exists() => {}
        "LoadBalancer" => class.check(names::qualified_name),
        _ => class.forbidden("may only be used when `type` is 'LoadBalancer'"),
    }
}

/// Whether traffic from outside may come in.
fn accessible(service: &Field<'_>) -> bool {
    matches!(kind(service), "LoadBalancer" | "NodePort") || (kind(service) == "ClusterIP" && !service.at("spec.externalIPs").list().is_empty())
}
fn needs_health_check(service: &Field<'_>) -> bool {
    kind(service) == "LoadBalancer" && service.at("spec.externalTrafficPolicy").is("Local")
}

fn traffic(service: &Field<'_>, spec: &Field<'_>) {
    let (external, internal, health, distribution) =
        (spec.at("externalTrafficPolicy"), spec.at("internalTrafficPolicy"), spec.at("healthCheckNodePort"), spec.at("trafficDistribution"));
    if accessible(service) {
        external.one_of(&["Cluster", "Local"]);
    } else if !external.str().is_empty() {
        external.invalid(external.str(), "may only be set for externally-accessible services");
    }
    match (needs_health_check(service), health.int()) {
        (false, 0) => {}
        (false, n) => health.invalid(n, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"),
        (true, 0) => health.required(""),
        (true, _) => health.in_range(1, 65535),
    }
    if !internal.exists() && matches!(kind(service), "NodePort" | "LoadBalancer" | "ClusterIP") {
        internal.required("");
    }
    internal.optional_of(&["Cluster", "Local"]);
    distribution.optional_of(&["PreferClose", "PreferSameZone", "PreferSameNode"]);
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    addresses_change(new, old);
    families_change(new, old);
    if kind(old) == "LoadBalancer" && kind(new) == "LoadBalancer" {
        let class = new.at("spec").at("loadBalancerClass");
        if class.text() != old.at("spec.loadBalancerClass").text() {
            class.invalid(class.value(), "may not change once set");
        }
    }
    load_balancer_class(new);
    let health = new.at("spec").at("healthCheckNodePort");
    if needs_health_check(old) && needs_health_check(new) && health.int() != old.at("spec.healthCheckNodePort").int() {
        health.forbidden("field is immutable");
    }
    whole(new, Some(old));
}

fn is_external(new: &Field<'_>, old: &Field<'_>) -> bool {
    kind(new) == "ExternalName" || kind(old) == "ExternalName"
}

/// The first address stays; the second may come and go.
fn addresses_change(new: &Field<'_>, old: &Field<'_>) {
    let f = new.at("spec").at("clusterIPs");
    let (now, was) = (f.strs(), old.at("spec.clusterIPs").strs());
    if is_external(new, old) || (headless(new) && headless(old)) {
        return;
    }
    let invalid = |i: usize, why: &str| f.index(i).invalid(own(f.value()), why);
    if now.len() == was.len() {
        for i in (0..now.len()).filter(|i| now[*i] != was[*i]) {
            invalid(i, "may not change once set");
        }
        return;
    }
    if now.is_empty() {
        invalid(0, "primary clusterIP can not be unset");
    } else if !was.is_empty() && now[0] != was[0] {
        invalid(0, "may not change once set");
    }
    if was.len() > now.len() && now.len() == 1 {
        single_stack(new, "clusterIP");
    }
}

fn single_stack(new: &Field<'_>, what: &str) {
    let policy = new.at("spec").at("ipFamilyPolicy");
    if !policy.is("SingleStack") {
        policy.invalid(policy.value(), &format!("must be set to 'SingleStack' when releasing the secondary {what}"));
    }
}

fn families_change(new: &Field<'_>, old: &Field<'_>) {
    if is_external(new, old) || headless(new) || headless(old) {
        return;
    }
    let f = new.at("spec").at("ipFamilies");
    let (now, was, ips) = (f.strs(), old.at("spec.ipFamilies").strs(), new.at("spec.clusterIPs"));
    let first = f.index(0);
    if now.len() == was.len() {
        if now != was {
            first.invalid(own(f.value()), "may not change once set");
        }
        return;
    }
    if was.len() > now.len() && ips.list().is_empty() {
        first.invalid(own(f.value()), "primary ipFamily can not be unset");
    }
    if let (Some(n), Some(w)) = (now.first(), was.first())
        && n != w
    {
        first.invalid(own(ips.value()), "may not change once set");
    }
    if was.len() > now.len() && now.len() == 1 {
        single_stack(new, "ipFamily");
    }
}

pub(crate) fn status_update(new: &Field<'_>, old: &Field<'_>) {
    let list = new.at("status").at("loadBalancer").at("ingress");
    if kind(new) != "LoadBalancer" && !list.list().is_empty() {
        return list.forbidden("may only be used when `spec.type` is 'LoadBalancer'");
    }
    let existing: Vec<&str> = old.at("status.loadBalancer.ingress").items().map(|i| i.at("ip").str()).collect();
    for i in list.items() {
        let (address, mode) = (i.at("ip"), i.at("ipMode"));
        ingress_address(&i, &existing);
        match (mode.exists(), address.str().is_empty()) {
            (false, false) => mode.required("must be specified when `ip` is set"),
            (true, true) => mode.forbidden("may not be specified when `ip` is not set"),
            _ => mode.optional_of(&["Proxy", "VIP"]),
        }
        ingress_hostname(&i);
    }
}

/// The address of a load balancer in a status.
pub(crate) fn ingress_address(i: &Field<'_>, existing: &[&str]) {
    let address = i.at("ip");
    if !address.str().is_empty() {
        ip::legacy(&address, address.str(), existing);
    }
}

pub(crate) fn ingress_hostname(i: &Field<'_>) {
    let host = i.at("hostname");
    if !host.str().is_empty() {
        host.check(names::dns1123_subdomain);
        if ip::sloppy(host.str()).is_some() {
            host.invalid(host.str(), "must be a DNS name, not an IP address");
        }
    }
}
