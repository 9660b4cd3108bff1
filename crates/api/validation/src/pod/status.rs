//! Writes to `pods/status`.
use super::{annotations, security};
use crate::{field::Field, ip, names, show::internals};

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    annotations::update(&new.at("metadata").at("annotations"), &old.at("metadata").at("annotations"));
    annotations::specific(&new.at("metadata").at("annotations"), &new.at("spec"), &super::Options::of_pod(new, Some(old)));
    let (status, before) = (new.at("status"), old.at("status"));
    conditions(&status.at("conditions"));
    if new.at("spec.nodeName").str() != old.at("spec.nodeName").str() {
        status.at("nodeName").forbidden("may not be changed directly");
    }
    let nominated = status.at("nominatedNodeName");
    if !nominated.str().is_empty() && nominated.str() != before.at("nominatedNodeName").str() {
        nominated.check(names::dns1123_subdomain);
        if !old.at("spec.nodeName").str().is_empty() {
            nominated.forbidden("may not be set on pods that are already bound to a node");
        }
    }
    observed(&status.at("observedGeneration"));
    let qos = status.at("qosClass");
    if qos.str() != before.at("qosClass").str() {
        qos.invalid(qos.str(), "field is immutable");
    }
    transitions(new, old);
    claims(&status.at("resourceClaimStatuses"), &new.at("spec.resourceClaims"));
    extended_claim(&status.at("extendedResourceClaimStatus"), &new.at("spec"));
    addresses(&status, &before, "podIP", "podIPs");
    addresses(&status, &before, "hostIP", "hostIPs");
    containers(&status, &new.at("spec"));
}

fn observed(f: &Field<'_>) {
    if f.int() < 0 {
        f.invalid(f.int(), "must be a non-negative integer");
    }
}

fn conditions(list: &Field<'_>) {
    for c in list.items() {
        observed(&c.at("observedGeneration"));
        if !matches!(c.at("type").str(), "PodScheduled" | "Ready" | "Initialized") {
            c.under("type", "Type").check(names::qualified_name);
        }
    }
}

/// A container that ended and does not start again stays ended.
fn transitions(new: &Field<'_>, old: &Field<'_>) {
    let spec = old.at("spec");
    for (kind, list) in [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers"), ("ephemeralContainerStatuses", "")] {
        if !list.is_empty() && all_could_restart(&spec) {
            continue;
        }
        let now = new.at("status").child(kind);
        for (i, was) in old.at("status").child(kind).items().enumerate() {
            let ended = was.at("state.terminated");
            let name = was.at("name").str();
            let back = now.items().find(|s| s.at("name").is(name) && !s.at("state.terminated").exists());
            if !ended.exists() || back.is_none() {
                continue;
            }
            let container = if list.is_empty() { None } else { spec.child(list).items().find(|c| c.at("name").is(name)) };
            if !container.is_some_and(|c| restarts(&c, &spec, ended.at("exitCode").int())) {
                now.index(i).at("state").forbidden("may not be transitioned to non-terminated state");
            }
        }
    }
}

/// Some rule restarts them all, whatever each one's policy is.
fn all_could_restart(spec: &Field<'_>) -> bool {
    super::containers(spec).iter().any(|c| c.at("restartPolicyRules").items().any(|r| r.at("action").is("RestartAllContainers")))
}

fn restarts(c: &Field<'_>, spec: &Field<'_>, code: i64) -> bool {
    for r in c.at("restartPolicyRules").items().map(|r| r.at("exitCodes")) {
        let listed = r.at("values").items().any(|v| v.int() == code);
        if r.exists() && listed == r.at("operator").is("In") {
            return true;
        }
    }
    let policy = c.at("restartPolicy").text().unwrap_or_else(|| spec.at("restartPolicy").str());
    match policy {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn claims(list: &Field<'_>, of_pod: &Field<'_>) {
    let mut seen = Vec::new();
    for c in list.items() {
        let (name, claim) = (c.at("name"), c.at("resourceClaimName"));
        if !of_pod.items().any(|p| p.at("name").is(name.str())) {
            name.invalid(name.str(), "must match the name of an entry in `spec.resourceClaims`");
        }
        if seen.contains(&name.str()) {
            name.duplicate(name.str());
        } else {
            seen.push(name.str());
        }
        if claim.exists() {
            claim.check(names::dns1123_subdomain);
        }
    }
}

/// The claim that was made for resources of devices' own names.
fn extended_claim(f: &Field<'_>, spec: &Field<'_>) {
    if !f.exists() {
        return;
    }
    let (mappings, claim) = (f.at("requestMappings"), f.at("resourceClaimName"));
    if mappings.list().is_empty() {
        mappings.required("at least one request mapping is required");
    }
    let mut seen = Vec::new();
    for m in mappings.items() {
        let (container, resource, request) = (m.at("containerName"), m.at("resourceName"), m.at("requestName"));
        // Where two share a name, the one that runs in the end counts.
        match super::containers(spec).into_iter().rfind(|c| c.at("name").is(container.str())) {
            None => container.invalid(container.str(), "must match the name of an entry in spec.initContainers.name or spec.containers.name"),
            Some(c) if !c.at("resources.requests").key(resource.str()).exists() => {
                resource.invalid(
                    resource.str(),
                    "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests",
                );
            }
            Some(_) => {}
        }
        f.at("requestName").check_text(request.str(), names::dns1123_label);
        let id = [container.str(), resource.str(), request.str()];
        if seen.contains(&id) {
            [container, resource, request].iter().for_each(|p| p.duplicate(p.str()));
        }
        seen.push(id);
    }
    if claim.str().is_empty() {
        claim.required("");
    } else {
        claim.check(names::dns1123_subdomain);
    }
}

/// The single address is the first of the list, and the list has one of each family.
fn addresses(status: &Field<'_>, before: &Field<'_>, one: &'static str, many: &'static str) {
    let (single, list) = (status.at(one), status.at(many));
    let ips: Vec<&str> = list.items().map(|a| a.at("ip").str()).collect();
    let old: Vec<&str> = before.at(many).items().map(|a| a.at("ip").str()).collect();
    let shown = || internals(if one == "podIP" { "io.k8s.api.core.v1.PodIP" } else { "io.k8s.api.core.v1.HostIP" }, list.value());
    let host = one == "hostIP";
    if host && ips.is_empty() {
        return;
    }
    let unequal = || list.index(0).at("ip").invalid(ips.first().copied().unwrap_or_default(), &format!("must be equal to `{one}`"));
    if host && ips.first() != Some(&single.str()) {
        unequal();
    }
    for (i, text) in ips.iter().enumerate() {
        ip::legacy(&list.index(i), text, &old);
    }
    if let Some((i, bad)) = ips.iter().enumerate().find(|(_, t)| ips.len() > 1 && ip::sloppy(t).is_none()) {
        list.internal(&format!("failed to check for dual stack with error:invalid IP[{i}]: {bad}"));
    }
    if ips.len() > 1 && (!ip::dual_stack(&ips) || ips.len() > 2) {
        list.invalid(shown(), "may specify no more than one IP for each IP family");
    }
    if !host && single.str().is_empty() != ips.is_empty() {
        list.invalid(shown(), "podIP and podIPs must either both be set or both be unset");
    } else if !host && !ips.is_empty() && ips.first() != Some(&single.str()) {
        unequal();
    }
}

fn containers(status: &Field<'_>, spec: &Field<'_>) {
    let windows = spec.at("os.name").is("windows");
    for kind in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        for c in status.at(kind).items() {
            let user = c.at("user").at("linux");
            match (user.exists(), windows) {
                (true, true) => user.forbidden("cannot be set for a windows pod"),
                (true, false) => security::status_user(&user),
                _ => {}
            }
            let allocated = c.at("allocatedResourcesStatus");
            if kind == "ephemeralContainerStatuses" && !allocated.list().is_empty() {
                allocated.forbidden("must not be specified in container status");
            } else {
                allocated_resources(&c, spec);
            }
        }
    }
}

fn allocated_resources(c: &Field<'_>, spec: &Field<'_>) {
    let container = super::containers(spec).into_iter().find(|x| x.at("name").is(c.at("name").str()));
    for r in c.at("allocatedResourcesStatus").items() {
        let name = r.at("name");
        if let Some(container) = &container {
            let claims = container.at("resources.claims").items().map(|c| match c.at("request").str() {
                "" => format!("claim:{}", c.at("name").str()),
                request => format!("claim:{}/{request}", c.at("name").str()),
            });
            if name.str().starts_with("claim:") {
                if !claims.into_iter().any(|c| c == name.str()) {
                    name.invalid(name.str(), "must match one of the container's resource claims as 'claim:<claimName>/<requestName>' when container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty");
                }
            } else if !container.at("resources.requests").key(name.str()).exists() {
                name.invalid(name.str(), "must match one of the container's resource requests");
            }
        }
        let mut seen = Vec::new();
        for h in r.at("resources").items() {
            h.at("health").if_any_of(&["Healthy", "Unhealthy", "Unknown"]);
            let id = h.at("resourceID");
            if seen.contains(&id.str()) {
                id.duplicate(id.str());
            }
            seen.push(id.str());
        }
    }
}
