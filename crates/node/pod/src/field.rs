//! The downward API: fields of the pod and resources of its containers as text.
//! <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>
use crate::view;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use skiff_meta::Quantity;
use std::net::IpAddr;
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum FieldError {
    #[error("unsupported fieldPath: {0}")]
    Path(String),
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("container {0} not found")]
    Container(String),
}

/// What the node adds to the pod's own fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeFacts<'a> {
    pub pod_ips: &'a [IpAddr],
    pub node_ips: &'a [IpAddr],
    /// Stand in for limits that aren't set: millicores and bytes.
    pub allocatable_cpu: Quantity,
    pub allocatable_memory: Quantity,
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}
fn first(ips: &[IpAddr]) -> String {
    ips.first().map(IpAddr::to_string).unwrap_or_default()
}

/// The value of a `fieldRef`.
pub fn field(pod: &Pod, path: &str, node: &NodeFacts<'_>) -> Result<String, FieldError> {
    let spec = view::spec(pod);
    let m = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.annotations" => &m.annotations,
            "metadata.labels" => &m.labels,
            _ => return Err(FieldError::Path(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => view::name(pod).to_owned(),
        "metadata.namespace" => view::namespace(pod).to_owned(),
        "metadata.uid" => view::uid(pod).to_owned(),
        "metadata.labels" => lines(m.labels.as_ref()),
        "metadata.annotations" => lines(m.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(node.node_ips),
        "status.hostIPs" => joined(node.node_ips),
        "status.podIP" => first(node.pod_ips),
        "status.podIPs" => joined(node.pod_ips),
        _ => return Err(FieldError::Path(path.to_owned())),
    })
}

/// `metadata.labels['a/b']` in two.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as a file of the downward API: `key="value"` lines in order, quoted as Go's %q does.
fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quoted(v))).collect::<Vec<_>>().join("\n")
}

fn quoted(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            '\r' => out += "\\r",
            c if c.is_control() => out += &format!("\\x{:02x}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a `resourceFieldRef`; `own` is the container it stands in.
pub fn resource(pod: &Pod, own: Option<&Container>, r: &ResourceFieldSelector, node: &NodeFacts<'_>) -> Result<String, FieldError> {
    let other = match r.container_name.as_deref().filter(|n| !n.is_empty()) {
        Some(name) => Some(view::find_container(pod, name).ok_or_else(|| FieldError::Container(name.to_owned()))?.1),
        None => None,
    };
    let c = other.as_ref().or(own).ok_or_else(|| FieldError::Container(String::new()))?;
    let unknown = || FieldError::Resource(r.resource.clone());
    let (side, name) = r.resource.split_once('.').ok_or_else(unknown)?;
    let set = match side {
        "limits" => view::limit(c, name).filter(|q| !q.is_zero()).or(match name {
            "cpu" => Some(node.allocatable_cpu),
            "memory" => Some(node.allocatable_memory),
            _ => None,
        }),
        "requests" => view::request(c, name),
        _ => return Err(unknown()),
    };
    let value = set.unwrap_or_default();
    let divisor = r.divisor.as_ref().and_then(|d| d.0.parse::<Quantity>().ok()).filter(|d| !d.is_zero()).unwrap_or(Quantity::units(1));
    match name {
        "cpu" => Ok(rounded_up(value.milli_value(), divisor.milli_value())),
        "memory" | "ephemeral-storage" => Ok(rounded_up(value.value(), divisor.value())),
        n if n.starts_with("hugepages-") => Ok(rounded_up(value.value(), divisor.value())),
        _ => Err(unknown()),
    }
}

fn rounded_up(value: i64, divisor: i64) -> String {
    let d = divisor.max(1);
    (value / d + i64::from(value % d > 0)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;

    #[test]
    fn fields_and_resources() {
        let mut p = pod(
            r#"{"nodeName":"n1","serviceAccountName":"sa","containers":[{"name":"a","resources":{"requests":{"cpu":"250m"},"limits":{"memory":"64Mi"}}}]}"#,
        );
        p.metadata.labels = Some([("a".to_owned(), "x\"y".to_owned()), ("b".to_owned(), "2".to_owned())].into());
        let ips = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let node = NodeFacts { pod_ips: &ips, node_ips: &ips[..1], allocatable_cpu: Quantity::units(4), allocatable_memory: Quantity::bytes(8) };
        for (path, want) in [
            ("metadata.name", "p"),
            ("metadata.labels['b']", "2"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "a=\"x\\\"y\"\nb=\"2\""),
            ("spec.nodeName", "n1"),
            ("status.podIPs", "10.0.0.1,fd00::1"),
            ("status.hostIP", "10.0.0.1"),
        ] {
            assert_eq!(field(&p, path, &node).unwrap(), want, "{path}");
        }
        assert!(field(&p, "spec.volumes", &node).is_err());
        for (res, divisor, want) in [
            ("requests.cpu", None, "1"),
            ("requests.cpu", Some("1m"), "250"),
            ("limits.memory", Some("1Mi"), "64"),
            ("limits.cpu", None, "4"),
            ("requests.memory", None, "0"),
        ] {
            let r = ResourceFieldSelector {
                resource: res.into(),
                divisor: divisor.map(|d| k8s_openapi::apimachinery::pkg::api::resource::Quantity(d.to_owned())),
                container_name: None,
            };
            assert_eq!(resource(&p, view::containers(&p).first(), &r, &node).unwrap(), want, "{res}");
        }
    }
}
