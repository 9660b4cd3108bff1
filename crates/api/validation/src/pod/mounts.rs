//! Where a container sees volumes: as directories and as block devices.
use super::sources::{descending, no_backsteps};
use crate::field::{Field, passes};
use std::collections::{BTreeMap, HashSet};

type Volumes<'a> = BTreeMap<&'a str, Field<'a>>;

/// Name to path; the last of a name counts.
fn paths<'a>(list: &Field<'a>, path: &'static str) -> BTreeMap<&'a str, &'a str> {
    list.items().map(|m| (m.at("name").str(), m.at(path).str())).collect()
}

pub(super) fn mounts(c: &Field<'_>, volumes: &Volumes<'_>) {
    let list = c.at("volumeMounts");
    let devices = paths(&c.at("volumeDevices"), "devicePath");
    let privileged = c.at("securityContext.privileged").flag();
    let mut taken = HashSet::new();
    for m in list.items() {
        let (name, path) = (m.at("name"), m.at("mountPath"));
        if name.str().is_empty() {
            name.required("");
        }
        if !volumes.contains_key(name.str()) {
            name.not_found(name.str());
        }
        if path.str().is_empty() {
            path.required("");
        }
        if !taken.insert(path.str()) {
            path.invalid(path.str(), "must be unique");
        }
        if devices.contains_key(name.str()) {
            name.invalid(name.str(), "must not already exist in volumeDevices");
        }
        if devices.values().any(|d| *d == path.str()) {
            path.invalid(path.str(), "must not already exist as a path in volumeDevices");
        }
        sub_paths(&list, &m);
        propagation(&list, &m, privileged);
        recursive_read_only(&list, &m);
    }
}

/// Upstream tells of these under the list, not under the mount.
fn sub_paths(list: &Field<'_>, m: &Field<'_>) {
    let (plain, expression) = (m.at("subPath"), m.at("subPathExpr"));
    if !plain.str().is_empty() {
        descending(&list.at("subPath"), plain.str());
    }
    if !expression.str().is_empty() {
        if !plain.str().is_empty() {
            expression.invalid(expression.str(), "subPathExpr and subPath are mutually exclusive");
        }
        descending(&list.at("subPathExpr"), expression.str());
    }
}

fn propagation(list: &Field<'_>, m: &Field<'_>, privileged: bool) {
    let f = list.at("mountPropagation").with(m.at("mountPropagation").value());
    f.optional_of(&["Bidirectional", "HostToContainer", "None"]);
    if f.is("Bidirectional") && !privileged {
        f.forbidden("Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(list: &Field<'_>, m: &Field<'_>) {
    let f = list.at("recursiveReadOnly").with(m.at("recursiveReadOnly").value());
    match f.text() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !m.at("readOnly").flag() {
                f.forbidden("may only be specified when readOnly is true");
            }
            if !matches!(m.at("mountPropagation").text(), None | Some("None")) {
                f.forbidden("may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(_) => f.if_any_of(&["Disabled", "Enabled", "IfPossible"]),
    }
}

pub(super) fn devices(c: &Field<'_>, volumes: &Volumes<'_>) {
    let mounts = paths(&c.at("volumeMounts"), "mountPath");
    let (mut names, mut taken) = (HashSet::new(), HashSet::new());
    for d in c.at("volumeDevices").items() {
        let (name, path) = (d.at("name"), d.at("devicePath"));
        if name.str().is_empty() {
            name.required("");
        }
        if names.contains(name.str()) {
            name.invalid(name.str(), "must be unique");
        }
        match volumes.get(name.str()) {
            None => name.not_found(name.str()),
            Some(v) if !v.at("persistentVolumeClaim").exists() && !v.at("ephemeral").exists() => {
                name.invalid(name.str(), "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
            }
            Some(_) => {}
        }
        if path.str().is_empty() {
            path.required("");
        }
        if taken.contains(path.str()) {
            path.invalid(path.str(), "must be unique");
        }
        if !passes(path.value(), |f| no_backsteps(f, f.str())) {
            path.invalid(path.str(), "can not contain backsteps ('..')");
        } else {
            taken.insert(path.str());
        }
        if mounts.contains_key(name.str()) {
            name.invalid(name.str(), "must not already exist in volumeMounts");
        }
        if mounts.values().any(|m| *m == path.str()) {
            path.invalid(path.str(), "must not already exist as a path in volumeMounts");
        }
        if !name.str().is_empty() {
            names.insert(name.str());
        }
    }
}
