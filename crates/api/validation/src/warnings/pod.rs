//! Pods and the templates of Pods.
use super::{deprecated_label, objects, paths, ports, term, whole_bytes};
use crate::{field::Field, ip};
use std::collections::HashSet;

/// Annotations that do nothing any more.
const ANNOTATIONS: [(&str, &str); 3] = [
    ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

/// Volume plug-ins that are gone, or going.
const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// `f` is a Pod, or what a template makes Pods of.
pub(super) fn pod(f: &Field<'_>, template: bool) {
    let (spec, annotations) = (f.at("spec"), f.at("metadata").at("annotations"));
    scheduling(&spec);
    for (key, why) in ANNOTATIONS {
        if annotations.key(key).exists() {
            annotations.key(key).warn(why);
        }
    }
    volumes(&spec);
    duplicates(&spec.at("hostAliases"), "ip");
    duplicates(&spec.at("imagePullSecrets"), "name");
    for s in spec.at("imagePullSecrets").items().filter(|s| s.at("name").str().is_empty()) {
        s.at("name").warn("invalid empty name \"\"");
    }
    for resource in ["memory", "ephemeral-storage"] {
        whole_bytes(&spec.at("overhead").key(resource));
    }
    let seccomp = annotations.key("seccomp.security.alpha.kubernetes.io/pod");
    if seccomp.exists() && !spec.inside("securityContext.seccompProfile").exists() {
        seccomp.warn("non-functional in v1.27+; use the \"seccompProfile\" field instead");
    }
    for c in containers(&spec) {
        container(&c, &annotations, &spec, template);
    }
    ports::warn(&containers(&spec));
    if spec.at("terminationGracePeriodSeconds").int() < 0 {
        spec.at("terminationGracePeriodSeconds").warn("must be >= 0; negative values are invalid and will be treated as 1");
    }
    affinity(&spec);
    spec.at("dnsConfig").at("nameservers").items().for_each(|n| ip::warn(&n));
    spec.at("hostAliases").items().for_each(|h| ip::warn(&h.at("ip")));
}

/// In upstream's order of visits.
fn containers<'a>(spec: &Field<'a>) -> Vec<Field<'a>> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| spec.at(list).items()).collect()
}

fn scheduling(spec: &Field<'_>) {
    for (key, entry) in spec.at("nodeSelector").entries() {
        if let Some(why) = deprecated_label(key) {
            entry.warn(why);
        }
    }
    let node = spec.at("affinity").at("nodeAffinity");
    for t in node.at("requiredDuringSchedulingIgnoredDuringExecution").at("nodeSelectorTerms").items() {
        term(&t, false);
    }
    for t in node.at("preferredDuringSchedulingIgnoredDuringExecution").items() {
        term(&t.at("preference"), true);
    }
    for t in spec.at("topologySpreadConstraints").items() {
        let key = t.at("topologyKey");
        if let Some(why) = deprecated_label(key.str()) {
            key.warn(&format!("{} is {why}", key.str()));
        }
        selects(&t.at("labelSelector"));
    }
}

fn affinity(spec: &Field<'_>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let a = spec.at("affinity").at(kind);
        a.at("requiredDuringSchedulingIgnoredDuringExecution").items().for_each(|t| selects(&t.at("labelSelector")));
        a.at("preferredDuringSchedulingIgnoredDuringExecution").items().for_each(|t| selects(&t.at("podAffinityTerm").at("labelSelector")));
    }
}

fn selects(selector: &Field<'_>) {
    if !selector.exists() {
        selector.warn("a null labelSelector results in matching no pod");
    }
}

fn volumes(spec: &Field<'_>) {
    for v in spec.at("volumes").items() {
        for (plugin, why) in VOLUMES {
            if v.at(plugin).exists() {
                v.at(if plugin == "storageos" { "storageOS" } else { plugin }).warn(why);
            }
        }
        objects::claim_spec(&v.at("ephemeral").at("volumeClaimTemplate").at("spec"));
    }
    paths::warn(&spec.at("volumes"));
}

fn duplicates(list: &Field<'_>, member: &'static str) {
    let mut seen = HashSet::new();
    for m in list.items().map(|i| i.at(member)).filter(|m| !seen.insert(m.str())).collect::<Vec<_>>() {
        m.warn(&format!("duplicate {member} {:?}", m.str()));
    }
}

fn container(c: &Field<'_>, annotations: &Field<'_>, spec: &Field<'_>, template: bool) {
    let name = c.at("name");
    let seccomp = annotations.key(format!("container.seccomp.security.alpha.kubernetes.io/{}", name.str()));
    if seccomp.exists() && !c.inside("securityContext.seccompProfile").exists() {
        seccomp.warn("non-functional in v1.27+; use the \"seccompProfile\" field instead");
    }
    let app_armor = annotations.key(format!("container.apparmor.security.beta.kubernetes.io/{}", name.str()));
    if template
        && app_armor.exists()
        && !c.inside("securityContext.appArmorProfile").exists()
        && !same_profile(app_armor.str(), &spec.inside("securityContext.appArmorProfile"))
    {
        app_armor.warn("deprecated since v1.30; use the \"appArmorProfile\" field instead");
    }
    for resource in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            whole_bytes(&c.at("resources").at(list).key(resource));
        }
    }
    hidden(&c.at("env"));
}

/// Whether an annotation says of a container what the Pod's field says of all.
fn same_profile(annotation: &str, profile: &Field<'_>) -> bool {
    match (annotation, profile.inside("type").str()) {
        ("unconfined", "Unconfined") | ("runtime/default", "RuntimeDefault") => true,
        (a, "Localhost") => a.strip_prefix("localhost/").is_some_and(|p| profile.inside("localhostProfile").is(p)),
        _ => false,
    }
}

/// A later definition that does not build on the earlier one hides it.
fn hidden(env: &Field<'_>) {
    let mut seen = HashSet::new();
    for e in env.items().collect::<Vec<_>>() {
        let name = e.inside("name").str();
        if seen.insert(name) {
            continue;
        }
        let (reference, value) = (format!("$({name})"), e.inside("value").str());
        if e.inside("valueFrom").exists() || value == reference || !value.contains(&reference) {
            e.warn(&format!("hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}
