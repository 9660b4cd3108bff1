//! A pod's volumes and claims of devices: names, and one source each.
use super::{Options, projected, sources};
use crate::{field::Field, names, show::internal};
use std::collections::BTreeMap;

/// Checks the volumes and gives those that have no errors, by name.
pub(super) fn volumes<'a>(list: &Field<'a>, meta: Option<&Field<'a>>, options: &Options) -> BTreeMap<&'a str, Field<'a>> {
    let pod = meta.map(|m| m.at("name").str()).unwrap_or_default();
    let created: Vec<String> =
        list.items().filter(|v| !pod.is_empty() && v.at("ephemeral").exists()).map(|v| format!("{pod}-{}", v.at("name").str())).collect();
    let mut good: BTreeMap<&'a str, Field<'a>> = BTreeMap::new();
    for v in list.items() {
        let mark = v.mark();
        source(&v, pod, options);
        let name = v.at("name");
        if name.str().is_empty() {
            name.required("");
        } else {
            name.check(names::dns1123_label);
        }
        if good.contains_key(name.str()) {
            name.duplicate(name.str());
        }
        if v.clean_since(mark) {
            good.insert(name.str(), v.clone());
        }
        let claim = v.at("persistentVolumeClaim").at("claimName");
        if created.iter().any(|c| claim.text() == Some(c)) {
            claim.invalid(claim.str(), "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    good
}

/// Sources in the order in which upstream looks at them.
const SOURCES: [&str; 31] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
    "-",
];

fn source(v: &Field<'_>, pod: &str, options: &Options) {
    let mut found = false;
    for kind in SOURCES {
        let f = v.at(kind);
        if !f.exists() {
            continue;
        }
        if std::mem::replace(&mut found, true) {
            // Two of upstream's paths are misspelt.
            let shown = match kind {
                "cephfs" => v.under(kind, "cephFS"),
                "downwardAPI" => v.under(kind, "downwarAPI"),
                _ => f.clone(),
            };
            shown.forbidden("may not specify more than 1 volume type");
        } else {
            of_kind(v, kind, pod, options);
        }
        if kind == "iscsi" && f.at("initiatorName").exists() && v.at("name").str().len() + 1 + f.at("targetPortal").str().len() > 64 {
            v.at("name").invalid(
                v.at("name").str(),
                "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
            );
        }
    }
    if !found {
        v.required("must specify a volume type");
    }
}

fn of_kind(v: &Field<'_>, kind: &'static str, pod: &str, options: &Options) {
    let f = v.at(kind);
    match kind {
        "emptyDir" => sources::empty_dir(&f),
        "gcePersistentDisk" => sources::of(&v.under(kind, "persistentDisk"), kind),
        "downwardAPI" => projected::downward(&f),
        "projected" => projected::projected(&f, options),
        "ephemeral" => {
            sources::ephemeral(&f);
            let name = v.at("name");
            if !pod.is_empty() && !name.str().is_empty() {
                let claim = format!("{pod}-{}", name.str());
                for m in names::dns1123_subdomain(&claim) {
                    name.invalid(name.str(), &format!("PVC name {claim:?}: {m}"));
                }
            }
        }
        "image" => {
            if !options.image_without_reference && f.at("reference").str().is_empty() {
                f.at("reference").required("");
            }
            super::container::pull_policy(&f.at("pullPolicy"));
        }
        _ => sources::of(&f, kind),
    }
}

pub(super) fn resource_claims(list: &Field<'_>, meta: Option<&Field<'_>>) {
    let mut seen = Vec::new();
    for c in list.items() {
        if meta.is_some_and(|m| m.at("annotations").key("kubernetes.io/config.mirror").exists()) {
            list.with(list.value()).forbidden("static pods do not support resource claims");
            continue;
        }
        let (name, claim, template) = (c.at("name"), c.at("resourceClaimName"), c.at("resourceClaimTemplateName"));
        if name.str().is_empty() {
            name.required("");
        } else if seen.contains(&name.str()) {
            name.duplicate(name.str());
        } else {
            name.check(names::dns1123_label);
            seen.push(name.str());
        }
        let shown = || internal("io.k8s.api.core.v1.PodResourceClaim", c.value());
        if claim.exists() && template.exists() {
            c.invalid(shown(), "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
        }
        if !claim.exists() && !template.exists() {
            c.invalid(shown(), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        }
        for f in [claim, template].iter().filter(|f| f.exists()) {
            f.check(names::dns1123_subdomain);
        }
    }
}
