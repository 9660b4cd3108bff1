//! Pods and templates of pods.
//!
//! [`spec`] is the whole of a PodSpec; [`template`] what workloads embed; [`update`] what a pod's change may be.
pub(crate) mod affinity;
mod annotations;
mod container;
mod dns;
mod env;
mod ephemeral;
mod handler;
mod mounts;
mod options;
pub(crate) mod projected;
mod resize;
pub(crate) mod resources;
mod security;
pub(crate) mod sources;
mod spread;
mod status;
pub(crate) mod tolerations;
pub(crate) mod update;
mod volumes;
mod windows;

use crate::{
    field::{Field, range},
    labels, names,
};
pub(crate) use env::quoted;
pub(crate) use ephemeral::update as ephemeral_update;
pub(crate) use handler::port_number_or_name;
pub(crate) use options::Options;
pub(crate) use resize::update as resize;
pub(crate) use status::update as status_update;

/// A new Pod.
pub(crate) fn create(pod: &Field<'_>) {
    let options = Options::of_pod(pod, None);
    whole(pod, &options);
    let (spec, meta) = (pod.at("spec"), pod.at("metadata"));
    if !spec.at("ephemeralContainers").list().is_empty() {
        spec.at("ephemeralContainers").forbidden("cannot be set on create");
    }
    if !spec.at("nodeName").str().is_empty() && !spec.at("schedulingGates").list().is_empty() {
        spec.at("nodeName").forbidden("cannot be set until all schedulingGates have been cleared");
    }
    annotations::agree_with_fields(&meta.at("annotations"), &spec);
}

/// Metadata and spec of a Pod, new or changed.
fn whole(pod: &Field<'_>, options: &Options) {
    let (spec, meta) = (pod.at("spec"), pod.at("metadata"));
    annotations::specific(&meta.at("annotations"), &spec, options);
    self::spec(&spec, Some(&meta), options);
    if spec.at("serviceAccountName").str().is_empty() {
        for v in spec.at("volumes").items() {
            for s in v.at("projected").at("sources").items().filter(|s| s.at("serviceAccountToken").exists()) {
                s.at("serviceAccountToken").forbidden("must not be specified when serviceAccountName is not set");
            }
        }
    }
    if spec.at("terminationGracePeriodSeconds").exists() {
        spec.at("terminationGracePeriodSeconds").non_negative();
    }
    for list in ["containers", "initContainers"] {
        for c in spec.child(list).items() {
            container::trimmed_image(&c);
        }
    }
}

/// A template of pods, in a workload or on its own.
pub(crate) fn template(f: &Field<'_>, options: &Options) {
    let annotations = f.at("annotations").with(f.inside("metadata.annotations").value());
    labels::labels(&f.at("labels").with(f.inside("metadata.labels").value()));
    labels::annotations(&annotations);
    let spec = f.at("spec");
    annotations::specific(&annotations, &spec, options);
    self::spec(&spec, None, options);
    annotations::agree_with_fields(&annotations, &spec);
    if !spec.at("ephemeralContainers").list().is_empty() {
        spec.at("ephemeralContainers").forbidden("ephemeral containers not allowed in pod template");
    }
}

/// All containers of a pod: those of the start, the main ones, those for debugging.
pub(super) fn containers<'a>(spec: &Field<'a>) -> Vec<Field<'a>> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| spec.at(list).items()).collect()
}

/// A PodSpec. `meta` is the pod's metadata; templates have none.
pub(crate) fn spec(spec: &Field<'_>, meta: Option<&Field<'_>>, options: &Options) {
    let grace = spec.at("terminationGracePeriodSeconds");
    if !grace.exists() {
        grace.required("");
    }
    let volumes = volumes::volumes(&spec.at("volumes"), meta, options);
    volumes::resource_claims(&spec.at("resourceClaims"), meta);
    let inside = container::Inside::of(spec, volumes, options);
    container::main(&spec.at("containers"), &inside);
    container::init(&spec.at("initContainers"), &spec.at("containers"), &inside);
    ephemeral::containers(spec, &inside);
    resources::of_pod(spec, options);
    host_ports(spec, options);
    spec.at("restartPolicy").one_of(&["Always", "OnFailure", "Never"]);
    spec.at("dnsPolicy").one_of(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    labels::labels(&spec.at("nodeSelector"));
    security::of_pod(spec, options);
    if spec.at("shareProcessNamespace").flag() && spec.at("hostPID").flag() {
        spec.at("shareProcessNamespace").invalid(true, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    affinity::affinity(&spec.at("affinity"), options);
    dns::config(&spec.at("dnsConfig"), spec.at("dnsPolicy").str());
    for gate in spec.at("readinessGates").items() {
        gate.at("conditionType").check(names::qualified_name);
    }
    scheduling_gates(&spec.at("schedulingGates"));
    spread::constraints(&spec.at("topologySpreadConstraints"), options);
    windows::host_process(spec);
    host_users(spec, options);
    hostname(spec);
    identities(spec);
    placement(spec, options);
    if spec.at("overhead").exists() {
        resources::overhead(&spec.at("overhead"), options);
    }
    windows::os(spec);
    scheduling_group(spec);
    env::file_volumes(spec);
}

fn scheduling_group(spec: &Field<'_>) {
    let group = spec.at("schedulingGroup");
    if group.exists() {
        let name = group.at("podGroupName");
        match name.text() {
            None => name.invalid(name.value(), "must specify one of: `podGroupName`"),
            Some(_) => name.check(names::dns1123_subdomain),
        }
    }
}

/// On the host's network a container's port is the host's.
fn host_ports(spec: &Field<'_>, options: &Options) {
    if !spec.at("hostNetwork").flag() {
        return;
    }
    for port in spec.at("containers").items().flat_map(|c| c.at("ports").items()) {
        let (host, own) = (port.at("hostPort"), port.at("containerPort").int());
        if (options.is_pod || host.int() != 0) && host.int() != own {
            host.invalid(host.int(), "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

fn scheduling_gates(gates: &Field<'_>) {
    let mut seen = Vec::new();
    for gate in gates.items() {
        let name = gate.at("name").str();
        gate.check_text(name, names::qualified_name);
        if seen.contains(&name) {
            gate.duplicate(name);
        }
        seen.push(name);
    }
}

fn host_users(spec: &Field<'_>, options: &Options) {
    if spec.at("hostUsers").switch() != Some(false) {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.at(field).flag() {
            spec.under(field, shown).forbidden("when `hostUsers` is false");
        }
    }
    if !options.user_namespaces_with_devices {
        for c in containers(spec).iter().filter(|c| !c.at("volumeDevices").list().is_empty()) {
            c.at("volumeDevices").forbidden("when `hostUsers` is false");
        }
    }
}

fn hostname(spec: &Field<'_>) {
    let f = spec.at("hostnameOverride");
    let Some(name) = f.text() else { return };
    if spec.at("setHostnameAsFQDN").flag() {
        f.forbidden("may not be specified when setHostnameAsFQDN is true");
    }
    if spec.at("hostNetwork").flag() {
        f.forbidden("may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        f.too_long(64);
    }
    f.check(names::dns1123_subdomain);
}

fn filled(f: &Field<'_>, check: fn(&str) -> names::Messages) {
    if !f.str().is_empty() {
        f.check(check);
    }
}

/// The names by which a pod is known and knows others.
fn identities(spec: &Field<'_>) {
    let account = spec.at("serviceAccountName");
    filled(&account, names::dns1123_subdomain);
    let deprecated = spec.under("serviceAccount", "deprecatedServiceAccount");
    if deprecated.str() != account.str() {
        deprecated.invalid(deprecated.str(), &format!("must be the same as serviceAccountName: {:?}", account.str()));
    }
    filled(&spec.at("nodeName"), names::dns1123_subdomain);
    let deadline = spec.at("activeDeadlineSeconds");
    if deadline.exists() && !(1..=i64::from(i32::MAX)).contains(&deadline.int()) {
        deadline.invalid(deadline.int(), &range(1, i32::MAX.into()));
    }
    filled(&spec.at("hostname"), names::dns1123_label);
    filled(&spec.at("subdomain"), names::dns1123_label);
}

fn placement(spec: &Field<'_>, options: &Options) {
    tolerations::tolerations(&spec.at("tolerations"), options);
    dns::host_aliases(&spec.at("hostAliases"));
    filled(&spec.at("priorityClassName"), names::dns1123_subdomain);
    let runtime = spec.at("runtimeClassName");
    if runtime.exists() {
        runtime.check(names::dns1123_subdomain);
    }
    let preemption = spec.at("preemptionPolicy");
    if preemption.exists() {
        preemption.one_of(&["PreemptLowerPriority", "Never"]);
    }
}
