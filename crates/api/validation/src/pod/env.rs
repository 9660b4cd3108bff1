//! The environment of a container.
use super::containers;
use crate::{field::Field, names};
use skiff_meta::Quantity;
use skiff_meta::go::quote;

pub(super) fn vars(list: &Field<'_>) {
    for v in list.items() {
        let name = v.at("name");
        if name.str().is_empty() {
            name.required("");
        } else {
            name.check(names::env_var);
        }
        value_from(&v);
    }
}

fn value_from(v: &Field<'_>) {
    let from = v.at("valueFrom");
    if !from.exists() {
        return;
    }
    let mut sources = 0;
    let mut source = |name: &'static str, check: fn(&Field<'_>)| {
        if from.at(name).exists() {
            sources += 1;
            check(&from.at(name));
        }
    };
    source("fieldRef", |f| field_ref(f, &ENV_FIELDS));
    source("resourceFieldRef", |f| resource_ref(f, false));
    source("configMapKeyRef", key_ref);
    source("secretKeyRef", key_ref);
    source("fileKeyRef", file_ref);
    if sources == 0 {
        from.invalid("", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    } else if !v.at("value").str().is_empty() {
        from.invalid("", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        from.invalid("", "may not have more than one field specified at a time");
    }
}

fn key_ref(f: &Field<'_>) {
    f.at("name").check(names::dns1123_subdomain);
    if f.at("key").str().is_empty() {
        f.at("key").required("");
    } else {
        f.at("key").check(names::config_key);
    }
}

fn file_ref(f: &Field<'_>) {
    let (key, volume, path) = (f.at("key"), f.at("volumeName"), f.at("path"));
    let filled = |f: &Field<'_>, check: &dyn Fn(&Field<'_>)| if f.str().is_empty() { f.required("") } else { check(f) };
    filled(&key, &|f| f.check(names::env_var));
    filled(&volume, &|f| f.check(names::dns1123_label));
    filled(&path, &|f| super::sources::no_backsteps(f, f.str()));
}

/// Volumes that variables are read from are empty directories of this pod.
pub(super) fn file_volumes(spec: &Field<'_>) {
    for v in containers(spec).iter().flat_map(|c| c.at("env").items()) {
        let f = v.at("valueFrom").at("fileKeyRef");
        if !f.exists() {
            continue;
        }
        let name = f.at("volumeName");
        match spec.at("volumes").items().filter(|v| v.at("name").is(name.str())).last() {
            None => name.not_found(name.str()),
            Some(v) if !v.at("emptyDir").exists() => name.invalid(name.str(), "referenced volume must be of type emptyDir"),
            Some(_) => {}
        }
    }
}

pub(super) fn sources(list: &Field<'_>) {
    for s in list.items() {
        if !s.at("prefix").str().is_empty() {
            s.at("prefix").check(names::env_var);
        }
        let given: Vec<Field<'_>> = ["configMapRef", "secretRef"].into_iter().map(|r| s.at(r)).filter(Field::exists).collect();
        for r in &given {
            let name = r.at("name");
            if name.str().is_empty() {
                name.required("");
            } else {
                for m in names::dns1123_subdomain(&names::masked(name.str())) {
                    name.invalid(name.str(), &m);
                }
            }
        }
        match given.len() {
            0 => list.invalid("", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => list.invalid("", "may not have more than one field specified at a time"),
        }
    }
}

pub(super) const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
pub(super) const VOLUME_FIELDS: [&str; 5] = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// What field labels of pods can be converted at all.
const POD_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// `metadata.labels['key']` into the path and the key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (path, key) = path.strip_suffix("']")?.split_once("['")?;
    (!path.is_empty()).then_some((path, key))
}

/// A reference to a field of the pod: one of `fields`, or one label or annotation.
pub(super) fn field_ref(f: &Field<'_>, fields: &[&str]) {
    let (version, path) = (f.at("apiVersion"), f.at("fieldPath"));
    if version.str().is_empty() {
        return version.required("");
    }
    if path.str().is_empty() {
        return path.required("");
    }
    let part = subscript(path.str());
    let failure = match part {
        _ if !version.is("v1") => Some(format!("unsupported pod version: {}", version.str())),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {}", path.str())),
        None if POD_FIELDS.contains(&path.str()) || path.is("spec.host") => None,
        None => Some(format!("field label not supported: {}", path.str())),
    };
    if let Some(why) = failure {
        return path.invalid(path.str(), &format!("error converting fieldPath: {why}"));
    }
    match part {
        Some(("metadata.annotations", key)) => f.check_text(&key.to_lowercase(), names::qualified_name),
        Some((_, key)) => f.check_text(key, names::qualified_name),
        None => {
            let inner = if path.is("spec.host") { "spec.nodeName" } else { path.str() };
            if !fields.contains(&inner) {
                path.unsupported(inner, fields);
            }
        }
    }
}

const RESOURCES: [&str; 6] = ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];
const DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A reference to an amount of a container; in a volume the container is named.
pub(super) fn resource_ref(f: &Field<'_>, in_volume: bool) {
    let (container, resource) = (f.at("containerName"), f.at("resource"));
    let huge = resource.str().starts_with("requests.hugepages-") || resource.str().starts_with("limits.hugepages-");
    if in_volume && container.str().is_empty() {
        container.required("");
    } else if resource.str().is_empty() {
        resource.required("");
    } else if !RESOURCES.contains(&resource.str()) && !huge {
        resource.unsupported(resource.str(), &RESOURCES);
    }
    let divisor = f.at("divisor");
    let Ok(amount) = divisor.str().parse::<Quantity>() else { return };
    if amount.is_zero() {
        return;
    }
    let text = amount.to_string();
    let (fits, what) = match resource.str() {
        "limits.cpu" | "requests.cpu" => {
            return if text != "1m" && text != "1" {
                divisor.invalid(resource.str(), "only divisor's values 1m and 1 are supported with the cpu resource")
            };
        }
        "limits.memory" | "requests.memory" => (DIVISORS.contains(&text.as_str()), "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (DIVISORS.contains(&text.as_str()), "local ephemeral storage"),
        _ if huge => (DIVISORS.contains(&text.as_str()), "hugepages"),
        _ => return,
    };
    if !fits {
        divisor.invalid(resource.str(), &format!("only divisor's values {} are supported with the {what} resource", DIVISORS.join(", ")));
    }
}

/// For messages: a quoted list.
pub(crate) fn quoted(list: &[&str]) -> String {
    list.iter().map(|s| quote(s)).collect::<Vec<_>>().join(" ")
}
