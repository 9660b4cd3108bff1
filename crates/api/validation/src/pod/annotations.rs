//! Annotations that pods have a meaning for: mirrors, deletion cost, and the old forms of seccomp and AppArmor.
use super::{Options, containers, sources};
use crate::field::Field;

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";

pub(super) fn is_mirror(pod: &Field<'_>) -> bool {
    pod.at("metadata.annotations").key(MIRROR).exists()
}

/// The cost of deleting a pod; 0 where none is given.
pub(super) fn deletion_cost(annotations: &Field<'_>) -> Result<i32, ()> {
    let Some(text) = annotations.key(DELETION_COST).text() else { return Ok(0) };
    let canonical = text == "0" || text.starts_with('-') || text.starts_with(|c: char| ('1'..='9').contains(&c));
    if canonical { text.parse().map_err(|_| ()) } else { Err(()) }
}

pub(super) fn specific(annotations: &Field<'_>, spec: &Field<'_>, options: &Options) {
    let mirror = annotations.key(MIRROR);
    if mirror.exists() && spec.at("nodeName").str().is_empty() {
        mirror.invalid(mirror.str(), "must set spec.nodeName if mirror pod annotation is set");
    }
    let tolerations = annotations.key(TOLERATIONS);
    if !tolerations.str().is_empty()
        && let Err(e) = skiff_json::from_str::<Vec<skiff_json::Value>>(tolerations.str())
    {
        annotations.invalid(TOLERATIONS, &e.to_string());
    }
    if !options.any_deletion_cost && deletion_cost(annotations).is_err() {
        annotations.key(DELETION_COST).invalid(annotations.key(DELETION_COST).str(), "must be a 32bit integer");
    }
    for (k, v) in annotations.entries() {
        if k == SECCOMP_POD || k.starts_with(SECCOMP_CONTAINER) {
            seccomp(&annotations.child(k), v.str());
        }
    }
    for (k, v) in annotations.entries() {
        if let Some(name) = k.strip_prefix(APPARMOR) {
            if !containers(spec).iter().any(|c| c.at("name").is(name)) {
                v.invalid(name, "container not found");
            }
            if !matches!(v.str(), "" | "runtime/default" | "unconfined") && !v.str().starts_with("localhost/") {
                v.invalid(v.str(), &format!("invalid AppArmor profile name: {:?}", v.str()));
            }
        }
    }
}

fn seccomp(f: &Field<'_>, profile: &str) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        p => match p.strip_prefix("localhost/") {
            Some(path) => sources::descending(f, path),
            None => f.invalid(p, "must be a valid seccomp profile"),
        },
    }
}

/// A change of a pod's annotations.
pub(super) fn update(new: &Field<'_>, old: &Field<'_>) {
    for (k, before) in old.entries() {
        let now = new.key(k);
        if now.text() == before.text() {
            continue;
        }
        if k.starts_with(APPARMOR) {
            now.forbidden("may not remove or update AppArmor annotations");
        }
        if k == MIRROR {
            now.forbidden("may not remove or update mirror pod annotation");
        }
    }
    for (k, now) in new.entries().filter(|(k, _)| !old.key(*k).exists()) {
        if k.starts_with(APPARMOR) {
            now.forbidden("may not add AppArmor annotations");
        }
        if k == MIRROR {
            now.forbidden("may not add mirror pod annotation");
        }
    }
}

/// Where the old annotation and the field are both there, they say the same.
pub(super) fn agree_with_fields(annotations: &Field<'_>, spec: &Field<'_>) {
    let pod = spec.at("securityContext.seccompProfile");
    if pod.exists() {
        seccomp_agrees(&annotations.key(SECCOMP_POD), &pod.with(pod.value()), "seccomp");
    }
    for c in containers(spec) {
        let field = c.at("securityContext").at("seccompProfile");
        if field.exists() {
            seccomp_agrees(&annotations.key(format!("{SECCOMP_CONTAINER}{}", c.at("name").str())), &field, "seccomp");
        }
    }
    if spec.at("os.name").is("windows") {
        return;
    }
    for c in containers(spec) {
        let own = c.at("securityContext").at("appArmorProfile");
        let inherited = own.with(spec.at("securityContext.appArmorProfile").value());
        let profile = if own.exists() { own } else { inherited };
        if profile.exists() {
            seccomp_agrees(&annotations.key(format!("{APPARMOR}{}", c.at("name").str())), &profile, "apparmor");
        }
    }
}

fn seccomp_agrees(annotation: &Field<'_>, field: &Field<'_>, what: &str) {
    let Some(said) = annotation.text() else { return };
    let mismatch = |f: Field<'_>, part: &str| f.forbidden(&format!("{what} {part} in annotation and field must match"));
    match field.at("type").str() {
        "Unconfined" if said != "unconfined" => mismatch(field.at("type"), "type"),
        "RuntimeDefault" if said != "runtime/default" && !(what == "seccomp" && said == "docker/default") => mismatch(field.at("type"), "type"),
        "Localhost" => match said.strip_prefix("localhost/") {
            None => mismatch(field.at("type"), "type"),
            Some(path) if field.at("localhostProfile").text() != Some(path) => mismatch(field.at("localhostProfile"), "profile"),
            Some(_) => {}
        },
        _ => {}
    }
}
