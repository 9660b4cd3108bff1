//! Pods and what is in them.

use skiff_json::{Map, Value, json};

use super::fields::FieldsExt;

const GRACE_SECONDS: i64 = 30;
const CONTAINER_LISTS: [&str; 2] = ["containers", "initContainers"];

/// Defaults of a Pod itself; a pod template does not get them.
pub fn pod(map: &mut Map) {
    let spec = map.object_mut("spec");
    let grace = spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace.is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    for list in CONTAINER_LISTS {
        spec.objects_mut(list).into_iter().for_each(requests_from_limits);
    }
    spec.set_nil("enableServiceLinks", true);
    if !spec.is_zero("hostNetwork") {
        for list in CONTAINER_LISTS {
            spec.objects_mut(list).into_iter().for_each(host_ports);
        }
    }
}

fn requests_from_limits(container: &mut Map) {
    let resources = container.object_mut("resources");
    let Some(limits) = resources.object("limits").cloned() else { return };
    let requests = resources.object_mut("requests");
    let before = requests.len();
    for (resource, amount) in limits {
        requests.entry(resource).or_insert(amount);
    }
    if requests.len() > before {
        requests.sort_keys();
    }
}

/// On the host's network every port is a port of the host.
fn host_ports(container: &mut Map) {
    for port in container.objects_mut("ports") {
        if let Some(number) = port.get("containerPort").cloned() {
            port.set_zero("hostPort", number);
        }
    }
}

/// The single address and the list of addresses follow each other; the single one wins.
pub fn status(map: &mut Map) {
    let single = map.text("podIP").to_owned();
    let first = match map.get("podIPs").and_then(Value::as_array).and_then(|ips| ips.first()) {
        Some(Value::Object(first)) => Some(first.text("ip").to_owned()),
        _ => None,
    };
    match (single.is_empty(), first) {
        (true, Some(first)) => map.set_zero("podIP", first),
        (false, first) if first.as_ref() != Some(&single) => {
            map.insert("podIPs".to_owned(), json!([{"ip": single}]));
        }
        _ => {}
    }
}

pub fn spec(map: &mut Map) {
    let account = match map.text("serviceAccountName") {
        "" => map.text("serviceAccount"),
        name => name,
    };
    let account = account.to_owned();
    if account.is_empty() {
        map.shift_remove("serviceAccount");
    } else {
        map.insert("serviceAccountName".to_owned(), json!(account));
        map.insert("serviceAccount".to_owned(), json!(account));
    }
    map.set_zero("dnsPolicy", "ClusterFirst");
    map.set_zero("restartPolicy", "Always");
    map.set_nil("securityContext", json!({}));
    map.set_nil("terminationGracePeriodSeconds", GRACE_SECONDS);
    map.set_zero("schedulerName", "default-scheduler");
}

pub fn volume(map: &mut Map) {
    let has_source = map.iter().any(|(name, value)| name != "name" && !value.is_null());
    if !has_source {
        map.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(Value::Object(image)) = map.get_mut("image") {
        let policy = pull_policy(image.text("reference"));
        image.set_zero("pullPolicy", policy);
    }
}

pub fn container(map: &mut Map) {
    let policy = pull_policy(map.text("image"));
    map.set_zero("imagePullPolicy", policy);
    map.set_zero("terminationMessagePath", "/dev/termination-log");
    map.set_zero("terminationMessagePolicy", "File");
}

/// `Always` for images tagged latest or not at all, else `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    match tag(image) {
        Some("latest") => "Always",
        _ => "IfNotPresent",
    }
}

/// The tag of an image reference, `latest` when it has neither tag nor digest; none when it is no reference.
fn tag(image: &str) -> Option<&str> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let last = name.get(slash..)?;
    let (last, tag) = match last.split_once(':') {
        Some((last, tag)) => (last, Some(tag)),
        None => (last, None),
    };
    let path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let valid = !last.is_empty()
        && last.chars().all(path)
        && last.starts_with(|c: char| c.is_ascii_alphanumeric())
        && tag.is_none_or(|t| !t.is_empty() && t.len() <= 128 && t.chars().all(word));
    match (valid, tag, digest) {
        (false, ..) => None,
        (true, Some(tag), _) => Some(tag),
        (true, None, Some(_)) => Some(""),
        (true, None, None) => Some("latest"),
    }
}

pub fn probe(map: &mut Map) {
    map.set_zero("timeoutSeconds", 1);
    map.set_zero("periodSeconds", 10);
    map.set_zero("successThreshold", 1);
    map.set_zero("failureThreshold", 3);
}

pub fn http_get(map: &mut Map) {
    map.set_zero("path", "/");
    map.set_zero("scheme", "HTTP");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, want) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/team/nginx:v1", "IfNotPresent"),
            ("nginx@sha256:0123", "IfNotPresent"),
            ("", "IfNotPresent"),
            ("Bad Name", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), want, "{image}");
        }
    }
}
