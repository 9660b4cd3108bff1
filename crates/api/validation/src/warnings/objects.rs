//! Kinds other than Pods.
use super::{deprecated_label, pod, term, whole_bytes};
use crate::{field::Field, ip};
use skiff_meta::Quantity;

pub(super) fn other(group: &str, kind: &str, f: &Field<'_>, old: Option<&Field<'_>>) {
    match (group, kind) {
        ("", "Service") => service(f),
        ("", "Endpoints") => endpoints(f),
        ("", "Node") => node(f),
        ("", "PersistentVolume") => volume(f),
        ("", "PersistentVolumeClaim") => claim(f),
        ("", "Secret") => crate::config::warn_of_pair(f),
        ("", "ServiceAccount") => service_account(f, old),
        ("", "ResourceQuota") if old.is_none() => quota(f),
        ("discovery.k8s.io", "EndpointSlice") => slice(f, old.is_none()),
        ("networking.k8s.io", "Ingress") if old.is_none() => ingress(f),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(f),
        ("node.k8s.io", "RuntimeClass") => {
            for why in f.inside("scheduling.nodeSelector").entries().filter_map(|(k, _)| deprecated_label(k)) {
                f.at("scheduling").at("nodeSelector").warn(why);
            }
        }
        ("resource.k8s.io", "ResourceSlice") => {
            let driver = f.at("spec").at("driver");
            if driver.str().to_lowercase() != driver.str() {
                driver.warn(&format!("driver names should be lowercase; {:?} contains uppercase characters", driver.str()));
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            for e in f.at("allowedTopologies").items().flat_map(|t| t.at("matchLabelExpressions").items()) {
                deprecated_label(e.at("key").str()).into_iter().for_each(|why| e.at("key").warn(why));
            }
        }
        ("storage.k8s.io", "CSIStorageCapacity") => capacity(&f.at("nodeTopology")),
        ("storage.k8s.io", "CSIDriver") => driver(f, old),
        _ => {}
    }
}

pub(super) fn status(group: &str, kind: &str, f: &Field<'_>) {
    let status = f.at("status");
    match (group, kind) {
        ("", "Pod") => {
            status.at("podIPs").items().for_each(|i| ip::warn(&i.at("ip")));
            status.at("hostIPs").items().for_each(|i| ip::warn(&i.at("ip")));
        }
        // The path is that of the item, as upstream has it.
        ("", "Service") | ("networking.k8s.io", "Ingress") => {
            status.at("loadBalancer").at("ingress").items().for_each(|i| ip::warn(&i.with(i.inside("ip").value())));
        }
        _ => {}
    }
}

pub(super) fn stateful_set(f: &Field<'_>, changed: bool) {
    let spec = f.at("spec");
    if changed {
        pod::pod(&spec.at("template"), true);
    }
    spec.at("volumeClaimTemplates").items().for_each(|c| claim_spec(&c.with(c.inside("spec").value())));
    if spec.at("revisionHistoryLimit").int() < 0 {
        spec.at("revisionHistoryLimit").warn("a negative value retains all historical revisions; a value >= 0 is recommended");
    }
}

fn service(f: &Field<'_>) {
    let spec = f.at("spec");
    let (external_name, headless) = (spec.at("type").is("ExternalName"), spec.at("type").is("ClusterIP") && spec.at("clusterIP").is("None"));
    let plain = |text: &str| f.warn_whole(text.to_owned());
    if f.inside("metadata.annotations").key("service.kubernetes.io/topology-aware-hints").exists() {
        plain("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead");
    }
    if !spec.at("clusterIP").str().is_empty() && !headless {
        spec.at("clusterIPs").items().for_each(|i| ip::warn(&i));
    }
    let external = !spec.at("externalIPs").is_empty();
    if headless {
        if !spec.at("loadBalancerIP").str().is_empty() {
            plain("spec.loadBalancerIP is ignored for headless services");
        }
        if external {
            plain("spec.externalIPs is ignored for headless services");
        }
        if !spec.at("sessionAffinity").is("None") {
            plain("spec.SessionAffinity is ignored for headless services");
        }
    }
    spec.at("externalIPs").items().for_each(|i| ip::warn(&i));
    if external && !headless && !external_name {
        plain("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    ip::warn(&spec.at("loadBalancerIP"));
    spec.at("loadBalancerSourceRanges").items().for_each(|c| ip::warn_cidr(&c));
    if external && external_name {
        plain("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if !external_name && !spec.at("externalName").str().is_empty() {
        plain("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if spec.at("trafficDistribution").is("PreferClose") {
        spec.at("trafficDistribution").warn("\"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
}

fn endpoints(f: &Field<'_>) {
    if f.inside("metadata.labels").key("endpoints.kubernetes.io/managed-by").is("endpoint-controller") {
        return;
    }
    for s in f.at("subsets").items() {
        s.at("addresses").items().for_each(|a| ip::warn(&a.at("ip")));
        s.at("notReadyAddresses").items().for_each(|a| ip::warn(&a.at("ip")));
    }
}

fn slice(f: &Field<'_>, new: bool) {
    if new && f.at("addressType").is("FQDN") {
        f.at("spec").at("addressType").warn("FQDN endpoints are deprecated");
    }
    let manager = f.inside("metadata.labels").key("endpointslice.kubernetes.io/managed-by").str();
    if !matches!(manager, "endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io") {
        f.at("endpoints").items().for_each(|e| e.at("addresses").items().for_each(|a| ip::warn(&a)));
    }
}

fn node(f: &Field<'_>) {
    let spec = f.at("spec");
    if spec.at("configSource").exists() {
        spec.at("configSource").warn("the feature is removed");
    }
    if !spec.at("externalID").str().is_empty() {
        spec.at("externalID").warn("this field is deprecated, and is unused by Kubernetes");
    }
    spec.at("podCIDRs").items().for_each(|c| ip::warn_cidr(&c));
}

fn volume(f: &Field<'_>) {
    let (annotations, spec) = (f.at("metadata").at("annotations"), f.at("spec"));
    for (key, why) in [
        ("volume.beta.kubernetes.io/storage-class", "deprecated since v1.8; use \"storageClassName\" attribute instead"),
        ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
    ] {
        if annotations.key(key).exists() {
            annotations.key(key).warn(why);
        }
    }
    if spec.at("persistentVolumeReclaimPolicy").is("Recycle") {
        spec.at("persistentVolumeReclaimPolicy")
            .warn("The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
    }
    spec.at("nodeAffinity").at("required").at("nodeSelectorTerms").items().for_each(|t| term(&t, false));
    for (plugin, shown, why) in [
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if spec.at(plugin).exists() {
            spec.at(shown).warn(why);
        }
    }
}

fn claim(f: &Field<'_>) {
    let class = f.at("metadata").at("annotations").key("volume.beta.kubernetes.io/storage-class");
    if class.exists() {
        class.warn("deprecated since v1.8; use \"storageClassName\" attribute instead");
    }
    claim_spec(&f.at("spec"));
}

pub(super) fn claim_spec(spec: &Field<'_>) {
    for list in ["requests", "limits"] {
        whole_bytes(&spec.at("resources").at(list).key("storage"));
    }
}

fn service_account(f: &Field<'_>, old: Option<&Field<'_>>) {
    const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
    let set = |f: &Field<'_>| f.inside("metadata.annotations").key(ENFORCE).exists();
    if set(f) && !old.is_some_and(set) {
        f.at("metadata").at("annotations").key(ENFORCE).warn("deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets");
    }
}

fn quota(f: &Field<'_>) {
    let hard = f.inside("spec.hard");
    let amount = |name: &str| hard.value().get(name)?.as_str()?.parse::<Quantity>().ok();
    for resource in ["cpu", "memory", "storage", "ephemeral-storage"] {
        let long = format!("requests.{resource}");
        let bare = matches!(resource, "cpu" | "memory").then(|| resource.to_owned());
        let request = [Some(long), bare].into_iter().flatten().find_map(|n| Some((amount(&n)?, n)));
        let limit = format!("limits.{resource}");
        if let (Some((r, name)), Some(l)) = (request, amount(&limit))
            && r > l
        {
            f.warn_whole(format!("ResourceQuota {name} ({r}) should be less than {limit} ({l})"));
        }
    }
}

fn ingress(f: &Field<'_>) {
    const CLASS: &str = "kubernetes.io/ingress.class";
    if f.inside("metadata.annotations").key(CLASS).exists() && !f.inside("spec.ingressClassName").exists() {
        f.warn_whole(format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"));
    }
}

fn network_policy(f: &Field<'_>) {
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for block in f.at("spec").at(rules).items().flat_map(|r| r.at(peers).items()).map(|p| p.at("ipBlock")) {
            ip::warn_cidr(&block.at("cidr"));
            block.at("except").items().for_each(|e| ip::warn_cidr(&e));
        }
    }
}

fn capacity(topology: &Field<'_>) {
    term(topology, false);
    for (key, _) in topology.at("matchLabels").entries() {
        deprecated_label(key).into_iter().for_each(|why| topology.at("matchLabels").child(key).warn(why));
    }
}

fn driver(f: &Field<'_>, old: Option<&Field<'_>>) {
    let requests = f.inside("spec.tokenRequests");
    let changed = old.is_none_or(|o| o.inside("spec.tokenRequests").value() != requests.value());
    if changed && !requests.is_empty() && !f.inside("spec.serviceAccountTokenInSecrets").exists() {
        f.warn_whole("spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".into());
    }
}
