//! PersistentVolumes and claims on them.
use crate::{
    field::Field,
    labels, names,
    pod::{affinity, resources, sources},
    same::{same, unified},
    show::{Json, internal, own},
};
use skiff_json::Value;
use skiff_meta::Quantity;

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn access_modes(f: &Field<'_>) {
    let modes = f.strs();
    for m in &modes {
        if !MODES.contains(m) {
            f.unsupported(*m, &MODES);
        }
    }
    if modes.contains(&"ReadWriteOncePod") && modes.iter().any(|m| *m != "ReadWriteOncePod" && MODES.contains(m)) {
        f.forbidden("may not use ReadWriteOncePod with other access modes");
    }
}

fn class_name(f: &Field<'_>) {
    if !f.str().is_empty() {
        f.check(names::dns1123_subdomain);
    }
}

fn amount(f: &Field<'_>) -> Quantity {
    f.str().parse().unwrap_or_default()
}

pub(crate) fn claim(pvc: &Field<'_>) {
    claim_spec(&pvc.at("spec"), false);
}

/// A PersistentVolumeClaimSpec; `lenient` where the old object breaks rules that came later.
pub(crate) fn claim_spec(f: &Field<'_>, lenient: bool) {
    let (modes, source, reference) = (f.at("accessModes"), f.at("dataSource"), f.at("dataSourceRef"));
    if modes.list().is_empty() {
        modes.required("at least 1 access mode is required");
    }
    labels::selector(&f.at("selector"), lenient && !crate::field::passes(f.at("selector").value(), |s| labels::selector(s, false)));
    access_modes(&modes);
    let storage = f.at("resources").key("storage");
    let asked = storage.with(f.at("resources.requests.storage").value());
    if !asked.exists() {
        asked.required("");
    } else if amount(&asked) <= Quantity::ZERO {
        asked.invalid(&amount(&asked).to_string(), "must be greater than zero");
    } else {
        resources::quantity(&asked, "storage");
    }
    class_name(&f.at("storageClassName"));
    f.at("volumeMode").optional_of(&["Block", "Filesystem"]);
    for s in [&source, &reference].into_iter().filter(|s| s.exists()) {
        data_source(s, lenient);
    }
    let elsewhere = !reference.at("namespace").str().is_empty();
    // Upstream gives its path for the bad value, which prints as nothing.
    let shown = || Json("{}".into());
    if elsewhere && source.exists() {
        f.invalid(shown(), "may not be specified when dataSourceRef.namespace is specified");
    } else if !elsewhere
        && source.exists()
        && reference.exists()
        && ["apiGroup", "kind", "name"].iter().any(|k| source.value().get(k) != reference.value().get(k))
    {
        f.invalid(shown(), "must match dataSourceRef");
    }
    class_name(&f.at("volumeAttributesClassName"));
}

fn data_source(s: &Field<'_>, lenient: bool) {
    for part in ["name", "kind"] {
        if s.at(part).str().is_empty() {
            s.at(part).required("");
        }
    }
    let group = s.at("apiGroup");
    if group.str().is_empty() && !s.at("kind").is("PersistentVolumeClaim") {
        s.invalid(s.at("kind").str(), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
    if !group.str().is_empty() && !lenient {
        group.check(names::dns1123_subdomain);
    }
    if !s.at("namespace").str().is_empty() {
        s.at("namespace").check(names::dns1123_label);
    }
}

fn put(v: &mut Value, key: &str, from: &Value) {
    if let Some(m) = v.as_object_mut() {
        match from.get(key) {
            Some(x) => drop(m.insert(key, x.clone())),
            None => drop(m.shift_remove(key)),
        }
    }
}

pub(crate) fn claim_update(new: &Field<'_>, old: &Field<'_>) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    claim_spec(&spec, before.at("dataSource.apiGroup").exists() || before.at("dataSourceRef.apiGroup").exists());
    let mut munged = spec.value().clone();
    let mut was = before.value().clone();
    if before.at("volumeName").str().is_empty() {
        put(&mut was, "volumeName", spec.value());
    }
    class_upgrade(new, old, &mut munged);
    if new.at("status.phase").is("Bound") {
        put(&mut munged, "volumeAttributesClassName", before.value());
        if let Some(r) = munged.pointer_mut("/resources/requests") {
            put(r, "storage", before.at("resources.requests").value());
        }
    }
    if !same(&munged, &was) {
        const TYPE: &str = "io.k8s.api.core.v1.PersistentVolumeClaimSpec";
        spec.forbidden(&format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
            difference(TYPE, &was, &munged)
        ));
    }
    let (asked, asked_before) = (amount(&spec.at("resources.requests.storage")), amount(&before.at("resources.requests.storage")));
    if asked < asked_before && asked <= amount(&old.at("status.capacity.storage")) {
        spec.at("resources").at("requests").at("storage").forbidden("field can not be less than status.capacity");
    }
    new.at("volumeMode").with(spec.at("volumeMode").value()).immutable(&before.at("volumeMode"));
    let (class, current) = (spec.at("volumeAttributesClassName"), old.at("status.currentVolumeAttributesClassName"));
    if class.text() != before.at("volumeAttributesClassName").text() && current.exists() {
        match class.text() {
            None => class.forbidden("update to nil is forbidden when status.currentVolumeAttributesClassName is not nil"),
            Some("") => class.forbidden("update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil"),
            Some(_) => {}
        }
    }
}

fn difference(ty: &str, old: &Value, new: &Value) -> String {
    let pretty = |v: &Value| crate::pod::update::pretty_internal(ty, v);
    unified(&pretty(old), &pretty(new))
}

/// The class may move from the old annotation into the field, and be set where there was none.
fn class_upgrade(new: &Field<'_>, old: &Field<'_>, munged: &mut Value) {
    let (class, before) = (new.at("spec.storageClassName").text(), old.at("spec.storageClassName").text());
    let note = |f: &Field<'_>| f.at("metadata.annotations").value().get(BETA_CLASS).and_then(Value::as_str).map(str::to_owned);
    let (noted, noted_before) = (note(new), note(old));
    let moved = before.is_none() && noted_before.is_some() && class == noted_before.as_deref() && (noted.is_none() || noted == noted_before);
    if moved {
        put(munged, "storageClassName", &Value::Null);
        return;
    }
    if noted.as_deref().unwrap_or_default() != noted_before.as_deref().unwrap_or_default() {
        new.at("metadata").at("annotations").child(BETA_CLASS).invalid(noted.as_deref().unwrap_or_default(), "field is immutable");
    }
    if class.is_some() && before.is_none() && (noted_before.is_none() || class == noted_before.as_deref()) {
        put(munged, "storageClassName", old.at("spec").value());
    }
}

pub(crate) fn claim_status(new: &Field<'_>, _old: &Field<'_>) {
    let (spec, status) = (new.under("spec", "Spec"), new.at("status"));
    if spec.at("accessModes").list().is_empty() {
        spec.at("accessModes").required("");
    }
    for (_, q) in status.at("capacity").entries() {
        basic(&q);
    }
    let statuses = status.at("allocatedResourceStatuses");
    const RESIZE: [&str; 5] = ["ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"];
    for (k, v) in statuses.entries() {
        resource_key(&statuses, k);
        if !RESIZE.contains(&v.str()) {
            let mut all = RESIZE;
            all.sort_unstable();
            statuses.unsupported(k, &all);
        }
    }
    let allocated = status.at("allocatedResources");
    for (k, q) in allocated.entries() {
        let mark = allocated.mark();
        resource_key(&allocated, k);
        if allocated.clean_since(mark) {
            basic(&q);
            if q.clean_since(mark) {
                resources::quantity(&q, "storage");
            }
        }
    }
}

fn resource_key(f: &Field<'_>, key: &str) {
    let mark = f.mark();
    f.check_text(key, names::qualified_name);
    if f.clean_since(mark) && resources::native(key) && key != "storage" {
        f.unsupported(key, &["storage"]);
    }
}

fn basic(q: &Field<'_>) {
    if amount(q).value() < 0 {
        q.invalid(amount(q).value(), "must be a valid resource quantity");
    }
}

/// Sources of PersistentVolumes in the order in which upstream looks at them.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

pub(crate) fn volume(pv: &Field<'_>) {
    let f = pv.at("spec");
    volume_spec(&f, pv.at("metadata.name").str(), false);
}

/// A PersistentVolumeSpec; `inline` within a VolumeAttachment.
pub(crate) fn volume_spec(f: &Field<'_>, name: &str, inline: bool) {
    let capacity = f.at("capacity");
    if inline {
        for part in ["claimRef", "capacity"].into_iter().filter(|p| f.at(p).exists()) {
            f.at(part).forbidden("may not be specified in the context of inline volumes");
        }
        if !f.at("csi").exists() {
            f.at("csi").required("has to be specified in the context of inline volumes");
        }
    }
    if f.at("accessModes").list().is_empty() {
        f.at("accessModes").required("");
    }
    access_modes(&f.at("accessModes"));
    if !inline {
        if capacity.is_empty() {
            capacity.required("");
        }
        if !capacity.key("storage").exists() || capacity.len() > 1 {
            capacity.unsupported(own(capacity.value()), &["storage"]);
        }
        for (_, q) in capacity.entries() {
            basic(&q);
            if amount(&q) <= Quantity::ZERO {
                q.invalid(&amount(&q).to_string(), "must be greater than zero");
            }
        }
    }
    let policy = f.at("persistentVolumeReclaimPolicy");
    if inline && !matches!(policy.str(), "" | "Retain") {
        policy.forbidden("may only be Retain in the context of inline volumes");
    } else if !inline && !policy.str().is_empty() {
        policy.if_any_of(&["Delete", "Recycle", "Retain"]);
    }
    let affinity = f.at("nodeAffinity");
    if affinity.exists() && inline {
        affinity.forbidden("may not be specified in the context of inline volumes");
    } else if affinity.exists() {
        if affinity.at("required").exists() {
            affinity::node_selector(&affinity.at("required"), false);
        } else {
            affinity.at("required").required("must specify required node constraints");
        }
    }
    volume_source(f, name);
    classes(f, inline);
}

fn classes(f: &Field<'_>, inline: bool) {
    let (policy, class, mode, attributes) =
        (f.at("persistentVolumeReclaimPolicy"), f.at("storageClassName"), f.at("volumeMode"), f.at("volumeAttributesClassName"));
    let path = f.at("hostPath.path");
    if f.at("hostPath").exists()
        && !path.str().is_empty()
        && path.str().split('/').all(|p| matches!(p, "" | "."))
        && path.str().starts_with('/')
        && policy.is("Recycle")
    {
        policy.forbidden("may not be 'recycle' for a hostPath mount of '/'");
    }
    if !class.str().is_empty() && inline {
        class.forbidden("may not be specified in the context of inline volumes");
    } else {
        class_name(&class);
    }
    if inline && !matches!(mode.text(), None | Some("Filesystem")) {
        mode.forbidden("may not specify volumeMode other than Filesystem in the context of inline volumes");
    } else if !inline {
        mode.optional_of(&["Block", "Filesystem"]);
    }
    if let Some(text) = attributes.text() {
        if text.is_empty() {
            attributes.required("an empty string is disallowed");
        } else {
            attributes.check(names::dns1123_subdomain);
        }
        if !f.at("csi").exists() {
            f.at("csi").required("has to be specified when using volumeAttributesClassName");
        }
    }
}

fn volume_source(f: &Field<'_>, name: &str) {
    let mut found = false;
    for kind in SOURCES {
        let s = f.at(kind);
        if !s.exists() {
            continue;
        }
        if std::mem::replace(&mut found, true) && kind != "flexVolume" {
            let shown = if kind == "cephfs" { f.under(kind, "cephFS") } else { s };
            shown.forbidden("may not specify more than 1 volume type");
            continue;
        }
        match kind {
            "gcePersistentDisk" => sources::of(&f.under(kind, "persistentDisk"), kind),
            "iscsi" => {
                let portal = s.at("targetPortal").str();
                if s.at("initiatorName").exists() && name.len() + 1 + portal.len() > 64 {
                    s.at("targetportal")
                        .invalid(portal, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.");
                }
                sources::iscsi(&s, "must be valid format");
                if s.at("secretRef").exists() && s.at("secretRef").at("name").str().is_empty() {
                    s.at("secretRef.name").required("");
                }
            }
            "glusterfs" => glusterfs(&s),
            "csi" => csi(&s),
            "local" => {
                let path = s.at("path");
                if path.str().is_empty() {
                    path.required("");
                } else {
                    sources::no_backsteps(&path, path.str());
                }
                if !f.at("nodeAffinity").exists() {
                    f.at("nodeAffinity").required("Local volume requires node affinity");
                }
            }
            "azureFile" => {
                sources::of(&s, kind);
                if s.at("secretNamespace").text() == Some("") {
                    s.at("secretNamespace").required("");
                }
            }
            "cinder" | "storageos" => {
                sources::of(&s, kind);
                if s.at("secretRef").exists() && s.at("secretRef").at("namespace").str().is_empty() {
                    s.at("secretRef").at("namespace").required("");
                }
            }
            _ => sources::of(&s, kind),
        }
    }
    if !found {
        f.required("must specify a volume type");
    }
}

fn glusterfs(s: &Field<'_>) {
    sources::of(s, "glusterfs");
    let namespace = s.at("endpointsNamespace");
    match namespace.text() {
        None => {}
        Some("") => namespace.invalid("", "if the endpointnamespace is set, it must be a valid namespace name"),
        Some(_) => namespace.check(names::dns1123_label),
    }
}

fn csi(s: &Field<'_>) {
    sources::driver(&s.at("driver"));
    if s.at("volumeHandle").str().is_empty() {
        s.at("volumeHandle").required("");
    }
    for secret in ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
        .into_iter()
        .map(|r| s.at(r))
        .filter(|r| r.exists())
    {
        for (part, check) in [("name", names::dns1123_subdomain as fn(&str) -> names::Messages), ("namespace", names::dns1123_label)] {
            if secret.at(part).str().is_empty() {
                secret.at(part).required("");
            } else {
                secret.at(part).check(check);
            }
        }
    }
}

pub(crate) fn volume_update(new: &Field<'_>, old: &Field<'_>) {
    volume(new);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    let source = |f: &Field<'_>| -> skiff_json::Map {
        f.value().as_object().into_iter().flatten().filter(|(k, _)| SOURCES.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let (mut now, was) = (Value::Object(source(&spec)), Value::Object(source(&before)));
    if was.get("csi").is_some_and(|c| c.get("controllerExpandSecretRef").is_none())
        && let Some(c) = now.get_mut("csi").and_then(Value::as_object_mut)
    {
        c.shift_remove("controllerExpandSecretRef");
    }
    if !same(&now, &was) {
        let difference = difference("io.k8s.api.core.v1.PersistentVolumeSource", &was, &now);
        new.at("spec").at("persistentvolumesource").forbidden(&format!("spec.persistentvolumesource is immutable after creation\n{difference}"));
    }
    new.at("volumeMode").with(spec.at("volumeMode").value()).immutable(&before.at("volumeMode"));
    let affinity = new.at("nodeAffinity").with(spec.at("nodeAffinity").value());
    if before.at("nodeAffinity").exists() && !same(affinity.value(), &relabelled(before.at("nodeAffinity").value(), affinity.value())) {
        affinity.invalid(
            if affinity.exists() { internal("io.k8s.api.core.v1.VolumeNodeAffinity", affinity.value()) } else { own(affinity.value()) },
            "field is immutable, except for updating from beta label to GA",
        );
    }
    let class = spec.at("volumeAttributesClassName");
    if !class.exists() && before.at("volumeAttributesClassName").exists() {
        class.forbidden("update from non-nil value to nil is forbidden");
    }
}

/// Labels of nodes that got new names, which an affinity may follow.
const RENAMED: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// Upstream takes an empty new name for any old one.
fn renamed(old: &str, new: &str) -> bool {
    RENAMED.iter().find(|(o, _)| *o == old).map_or("", |(_, n)| n) == new
}

/// The old affinity with the names of labels that the new one has in their places.
fn relabelled(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(o), Value::Object(n)) => {
            let member = |k: &str, v: &Value| match (n.get(k), v) {
                (Some(n), Value::String(o)) if k == "key" && renamed(o, n.as_str().unwrap_or_default()) => n.clone(),
                (Some(n), v) => relabelled(v, n),
                (None, v) => v.clone(),
            };
            Value::Object(o.iter().map(|(k, v)| (k.clone(), member(k, v))).collect())
        }
        (Value::Array(o), Value::Array(n)) => {
            Value::Array(o.iter().enumerate().map(|(i, v)| n.get(i).map_or_else(|| v.clone(), |n| relabelled(v, n))).collect())
        }
        _ => old.clone(),
    }
}
