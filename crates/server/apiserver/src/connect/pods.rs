//! Logs and streams of pods: which container, and the kubelet's path and words for it.
use super::{Connect, backend::Backend, log_options};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use skiff_json::Value;
use skiff_meta::Status;

fn encoded(pairs: &[(String, String)]) -> String {
    let one = |(k, v): &(String, String)| format!("{k}={}", utf8_percent_encode(v, NON_ALPHANUMERIC));
    pairs.iter().map(one).collect::<Vec<_>>().join("&")
}

fn names<'a>(pod: &'a Value, key: &str) -> Vec<&'a str> {
    pod["spec"][key].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect()
}

/// The container that is asked for, or the only one.
fn container(c: &Connect<'_>, pod: &Value) -> Result<String, Status> {
    let all = names(pod, "containers");
    let (init, ephemeral) = (names(pod, "initContainers"), names(pod, "ephemeralContainers"));
    let pod_name = &c.target.name;
    match c.query.get("container").unwrap_or_default() {
        "" if all.len() == 1 => Ok(all[0].to_owned()),
        "" => {
            let mut text = format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", all.join(" "));
            if !init.is_empty() {
                text += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            if !ephemeral.is_empty() {
                text += &format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" "));
            }
            Err(Status::bad_request(text))
        }
        name if all.iter().chain(&init).chain(&ephemeral).any(|n| *n == name) => Ok(name.to_owned()),
        name => Err(Status::bad_request(format!("container {name} is not valid for pod {pod_name}"))),
    }
}

fn pod_of(c: &Connect<'_>) -> Result<(Value, String), Status> {
    let pod = c.object("pods", &c.target.namespace, &c.target.name)?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    Ok((pod, node))
}

const LOG_OPTIONS: [&str; 8] = ["follow", "previous", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "timestamps", "stream"];

/// None: the pod has no node yet, and so no logs.
pub(super) fn log(c: &Connect<'_>) -> Result<Option<(Backend, String)>, Status> {
    log_options::check(c.query, &c.target.name)?;
    let (pod, node) = pod_of(c)?;
    let container = container(c, &pod)?;
    if node.is_empty() {
        return Ok(None);
    }
    let query: Vec<(String, String)> = c.query.0.iter().filter(|(k, _)| LOG_OPTIONS.contains(&k.as_str())).cloned().collect();
    let path = format!("/containerLogs/{}/{}/{container}?{}", c.target.namespace, c.target.name, encoded(&query));
    Ok(Some((c.kubelet(&node)?, path)))
}

fn node_of(c: &Connect<'_>, node: &str) -> Result<Backend, Status> {
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", c.target.name)));
    }
    c.kubelet(node)
}

/// `kind` is `exec` or `attach`.
pub(super) fn streams(c: &Connect<'_>, kind: &str) -> Result<(Backend, String), Status> {
    let (pod, node) = pod_of(c)?;
    let container = container(c, &pod)?;
    let mut query: Vec<(String, String)> = Vec::new();
    for (ours, kubelets) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if c.query.flag(ours) {
            query.push((kubelets.into(), "1".into()));
        }
    }
    if query.is_empty() {
        return Err(Status::bad_request("you must specify at least one of stdin, stdout, stderr"));
    }
    query.extend(c.query.all("command").map(|v| ("command".to_owned(), v.to_owned())));
    let path = format!("/{kind}/{}/{}/{container}?{}", c.target.namespace, c.target.name, encoded(&query));
    Ok((node_of(c, &node)?, path))
}

/// PodExecOptions and PodAttachOptions, as admission sees them.
pub(super) fn stream_options(c: &Connect<'_>) -> Value {
    let mut v = skiff_json::json!({});
    for flag in ["stdin", "stdout", "stderr", "tty"] {
        if c.query.flag(flag) {
            v[flag] = true.into();
        }
    }
    if let Some(name) = c.query.get("container").filter(|n| !n.is_empty()) {
        v["container"] = name.into();
    }
    let command: Vec<&str> = c.query.all("command").collect();
    if !command.is_empty() {
        v["command"] = command.into();
    }
    v
}

/// PodPortForwardOptions.
pub(super) fn port_options(c: &Connect<'_>) -> Value {
    let ports: Vec<u16> = c.query.all("ports").flat_map(|p| p.split(',')).filter_map(|p| p.parse().ok()).collect();
    skiff_json::json!({"ports": ports})
}

pub(super) fn port_forward(c: &Connect<'_>) -> Result<(Backend, String), Status> {
    let (_, node) = pod_of(c)?;
    let ports: Vec<(String, String)> = c.query.all("ports").flat_map(|p| p.split(',')).map(|p| ("port".to_owned(), p.to_owned())).collect();
    let path = format!("/portForward/{}/{}?{}", c.target.namespace, c.target.name, encoded(&ports));
    Ok((node_of(c, &node)?, path))
}
