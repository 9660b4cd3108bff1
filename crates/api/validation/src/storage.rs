//! StorageClasses and what CSI drivers say of themselves.
use crate::{
    field::{Field, range},
    labels, names,
    pod::sources::driver,
    same::same,
    show::{internal, own},
    volume,
};
use skiff_json::Value;
use skiff_meta::Quantity;

const MAX_PARAMETERS: usize = 512;
const MAX_SIZE: usize = 256 * 1024;

fn fixed(new: &Field<'_>, old: &Field<'_>, parts: &[&'static str]) {
    for part in parts {
        let f = new.at(part);
        if !same(f.value(), old.at(part).value()) {
            f.invalid(&Value::Null, "field is immutable");
        }
    }
}

fn provisioner(f: &Field<'_>) {
    if f.str().is_empty() {
        f.required("");
    } else {
        f.check_text(&f.str().to_lowercase(), names::qualified_name);
    }
}

fn parameters(f: &Field<'_>, needed: bool) {
    if f.len() > MAX_PARAMETERS {
        return f.too_long(MAX_PARAMETERS);
    }
    for _ in f.entries().filter(|(k, _)| k.is_empty()) {
        f.invalid("", "field can not be empty.");
    }
    if f.entries().map(|(k, v)| k.len() + v.str().len()).sum::<usize>() > MAX_SIZE {
        f.too_long(MAX_SIZE);
    }
    if needed && f.is_empty() {
        f.required("must contain at least one key/value pair");
    }
}

pub(crate) fn class(v: &Field<'_>) {
    provisioner(&v.at("provisioner"));
    parameters(&v.at("parameters"), false);
    if !v.at("reclaimPolicy").str().is_empty() {
        v.at("reclaimPolicy").if_any_of(&["Delete", "Retain"]);
    }
    let mode = v.at("volumeBindingMode");
    if !mode.exists() {
        mode.required("");
    }
    mode.optional_of(&["Immediate", "WaitForFirstConsumer"]);
    topologies(&v.at("allowedTopologies"));
}

fn topologies(list: &Field<'_>) {
    let mut seen: Vec<Vec<(&str, Vec<&str>)>> = Vec::new();
    for t in list.items() {
        let mut expressions = std::collections::BTreeMap::new();
        for e in t.at("matchLabelExpressions").items() {
            let (key, values) = (e.at("key"), e.at("values"));
            if values.list().is_empty() {
                values.required("");
            }
            let mut set = Vec::new();
            for v in values.items() {
                if set.contains(&v.str()) {
                    v.duplicate(v.str());
                }
                set.push(v.str());
            }
            key.check(names::qualified_name);
            set.sort_unstable();
            set.dedup();
            if expressions.insert(key.str(), set).is_some() {
                key.duplicate(key.str());
            }
        }
        let expressions: Vec<_> = expressions.into_iter().collect();
        // Upstream starts with as many empty terms as there are terms.
        if expressions.is_empty() || seen.contains(&expressions) {
            t.at("matchLabelExpressions").duplicate("");
        }
        seen.push(expressions);
    }
}

pub(crate) fn class_update(new: &Field<'_>, old: &Field<'_>) {
    class(new);
    fixed(new, old, &["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"]);
}

pub(crate) fn attachment(v: &Field<'_>) {
    attachment_but_attacher(v);
    // A declared rule of new objects: told last.
    attacher(&v.at("spec").at("attacher"));
}

fn attachment_but_attacher(v: &Field<'_>) {
    let spec = v.at("spec");
    let (inline, name) = (spec.at("source").at("inlineVolumeSpec"), spec.at("source").at("persistentVolumeName"));
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.exists(), name.text()) {
        (false, None) => spec.at("source").required(ONE),
        (true, Some(_)) => spec.at("source").forbidden(ONE),
        (false, Some("")) => name.required("must specify non empty persistentVolumeName"),
        (true, None) => volume::volume_spec(&inline, "", true),
        (false, Some(_)) => {}
    }
    spec.at("nodeName").check(names::dns1123_subdomain);
    attachment_status(v, v);
    if name.exists() {
        spec.under("source.persistentVolumeName", "source.persistentVolumeName").check(names::dns1123_subdomain);
    }
}

fn attacher(f: &Field<'_>) {
    if f.str().is_empty() {
        return f.required("");
    }
    f.check(names::long_name_caseless);
    if f.str().chars().count() > 63 {
        f.too_long_characters(63);
    }
}

pub(crate) fn attachment_status(v: &Field<'_>, _old: &Field<'_>) {
    let status = v.at("status");
    let metadata = status.at("attachmentMetadata");
    if metadata.entries().map(|(k, v)| k.len() + v.str().len()).sum::<usize>() > MAX_SIZE {
        metadata.too_long(MAX_SIZE);
    }
    for e in [status.at("attachError"), status.at("detachError")] {
        if e.at("message").str().len() > 1024 {
            e.at("message").too_long(1024);
        }
        if e.at("errorCode").int() < 0 {
            e.at("errorCode").invalid(e.at("errorCode").int(), &range(0, i32::MAX.into()));
        }
    }
}

pub(crate) fn attachment_update(new: &Field<'_>, old: &Field<'_>) {
    // What is fixed is told first and alone.
    if !same(new.at("spec").value(), old.at("spec").value()) {
        attacher(&new.at("spec").at("attacher"));
        attachment_but_attacher(new);
    } else {
        attachment_status(new, old);
    }
    fixed(new, old, &["spec"]);
}

pub(crate) fn csi_node(v: &Field<'_>) {
    let mut seen = Vec::new();
    for d in v.at("spec").at("drivers").items() {
        let (name, id, count) = (d.at("name"), d.at("nodeID"), d.at("allocatable").at("count"));
        driver(&name);
        if id.str().is_empty() {
            id.required("");
        } else if id.str().len() > 256 {
            id.invalid(id.str(), "must be 256 characters or less");
        }
        count.non_negative();
        if seen.contains(&name.str()) {
            name.duplicate(name.str());
        }
        seen.push(name.str());
        let mut keys = Vec::new();
        for key in d.at("topologyKeys").strs() {
            if key.is_empty() {
                d.required("");
            }
            if keys.contains(&key) {
                d.duplicate(key);
            }
            keys.push(key);
            d.check_text(key, names::qualified_name);
        }
    }
}

pub(crate) fn csi_node_update(new: &Field<'_>, old: &Field<'_>) {
    csi_node(new);
    let bare = |v: &Value| {
        let mut v = v.clone();
        if let Some(m) = v.as_object_mut() {
            m.shift_remove("allocatable");
        }
        v
    };
    let drivers = new.at("spec").at("drivers");
    for o in old.at("spec.drivers").items() {
        for n in drivers.items().filter(|n| n.at("name").is(o.at("name").str())) {
            let now = bare(n.value());
            if !same(&now, &bare(o.value())) {
                drivers.invalid(internal("io.k8s.api.storage.v1.CSINodeDriver", &now), "field is immutable");
            }
        }
    }
}

pub(crate) fn csi_driver(v: &Field<'_>) {
    let spec = v.at("spec");
    for (part, shown) in
        [("attachRequired", "attachedRequired"), ("podInfoOnMount", "podInfoOnMount"), ("storageCapacity", "storageCapacity"), ("seLinuxMount", "seLinuxMount")]
    {
        if !spec.at(part).exists() {
            spec.under(part, shown).required("");
        }
    }
    spec.at("fsGroupPolicy").optional_of(&["File", "None", "ReadWriteOnceWithFSType"]);
    let tokens = spec.at("tokenRequests");
    let mut seen = Vec::new();
    for t in tokens.items() {
        let (audience, expiration) = (t.at("audience"), t.at("expirationSeconds"));
        if seen.contains(&audience.str()) {
            audience.duplicate(audience.str());
            continue;
        }
        seen.push(audience.str());
        match expiration.number() {
            Some(n) if n < 600 => expiration.invalid(n, "may not specify a duration less than 10 minutes"),
            Some(n) if n > 1 << 32 => expiration.invalid(n, "may not specify a duration larger than 2^32 seconds"),
            _ => {}
        }
    }
    let modes = spec.at("volumeLifecycleModes");
    for m in modes.strs().into_iter().filter(|m| !matches!(*m, "Persistent" | "Ephemeral")) {
        modes.unsupported(m, &["Persistent", "Ephemeral"]);
    }
    let period = spec.at("nodeAllocatableUpdatePeriodSeconds");
    if period.exists() && period.int() < 10 {
        period.invalid(period.int(), "must be greater than or equal to 10 seconds");
    }
    let in_secrets = spec.at("serviceAccountTokenInSecrets");
    if in_secrets.exists() && tokens.list().is_empty() {
        in_secrets.invalid(in_secrets.flag(), "serviceAccountTokenInSecrets is set but no tokenRequests are specified");
    }
    if !spec.at("preventPodSchedulingIfMissing").exists() {
        spec.at("preventPodSchedulingIfMissing").required("");
    }
}

pub(crate) fn csi_driver_update(new: &Field<'_>, old: &Field<'_>) {
    csi_driver(new);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    spec.under("attachRequired", "attachedRequired").immutable(&before.at("attachRequired"));
    spec.at("volumeLifecycleModes").immutable(&before.at("volumeLifecycleModes"));
}

pub(crate) fn capacity(v: &Field<'_>) {
    labels::selector(&v.at("nodeTopology"), false);
    v.at("storageClassName").check(names::dns1123_subdomain);
    let q = v.at("capacity");
    if q.str().parse::<Quantity>().is_ok_and(|q| q < Quantity::ZERO) {
        q.invalid(q.str(), "must be greater than or equal to 0");
    }
}

pub(crate) fn capacity_update(new: &Field<'_>, old: &Field<'_>) {
    capacity(new);
    let topology = new.at("nodeTopology");
    if !same(topology.value(), old.at("nodeTopology").value()) {
        let shown = if topology.exists() { internal("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector", topology.value()) } else { own(topology.value()) };
        topology.invalid(shown, "field is immutable");
    }
    let class = new.at("storageClassName");
    if class.str() != old.at("storageClassName").str() {
        class.invalid(class.str(), "field is immutable");
    }
}

pub(crate) fn attributes_class(v: &Field<'_>) {
    provisioner(&v.at("driverName"));
    parameters(&v.at("parameters"), true);
}

pub(crate) fn attributes_class_update(new: &Field<'_>, old: &Field<'_>) {
    for part in ["driverName", "parameters"] {
        if !same(new.at(part).value(), old.at(part).value()) {
            new.at(part).forbidden(&format!("updates to {part} are forbidden."));
        }
    }
    attributes_class(new);
}

/// The name of a driver, of volumes or of devices: a domain in any case, short enough for a file's name.
pub(crate) fn driver_name(f: &Field<'_>) {
    let name = f.str();
    if name.is_empty() {
        return f.required("");
    }
    if name.len() > 63 {
        f.too_long(63);
    }
    for message in crate::names::dns1123_subdomain(&name.to_lowercase()) {
        f.invalid(name, &message);
    }
}
