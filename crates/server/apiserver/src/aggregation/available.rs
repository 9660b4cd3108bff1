//! Whether a remote API server can be asked: its Service, its endpoints, its own discovery.
//! <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/api-service-v1/>
use super::remote::Remote;
use skiff_json::{Value, json};

/// The `Available` condition in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub available: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Finding {
    fn no(reason: &'static str, message: String) -> Self {
        Self { available: false, reason, message }
    }
    pub fn passed() -> Self {
        Self { available: true, reason: "Passed", message: "all checks passed".into() }
    }
    pub fn undiscovered(url: &str, why: &str) -> Self {
        Self::no("FailedDiscoveryCheck", format!("failing or missing response from {url}: {why}"))
    }
}

/// Where the remote's requests go: address and port of a ready endpoint of its Service's port; or why nowhere.
/// `chance` picks one of several.
pub(crate) fn endpoint(remote: &Remote, service: Option<&Value>, slices: &[Value], chance: u32) -> Result<(String, u16), Finding> {
    let (name, ns, port) = (&remote.service, &remote.namespace, remote.port);
    let Some(service) = service else {
        return Err(Finding::no("ServiceNotFound", format!("service/{name} in {ns:?} is not present")));
    };
    if service["spec"]["type"] == "ExternalName" {
        let host = service["spec"]["externalName"].as_str().unwrap_or_default();
        return Ok((host.to_owned(), port));
    }
    let Some(chosen) = service["spec"]["ports"].as_array().into_iter().flatten().find(|p| p["port"] == port) else {
        return Err(Finding::no("ServicePortError", format!("service/{name} in {ns:?} is not listening on port {port}")));
    };
    if slices.is_empty() {
        return Err(Finding::no("EndpointsNotFound", format!("cannot find endpointslices for service/{name} in {ns:?}")));
    }
    let port_name = chosen["name"].as_str().unwrap_or_default();
    let mut all: Vec<(String, u16)> = Vec::new();
    for slice in slices {
        let same = |p: &&Value| p["name"].as_str().unwrap_or_default() == port_name;
        let Some(port) = slice["ports"].as_array().into_iter().flatten().find(same).and_then(|p| u16::try_from(p["port"].as_u64()?).ok()) else { continue };
        let ready = slice["endpoints"].as_array().into_iter().flatten().filter(|e| e["conditions"]["ready"] != false);
        all.extend(ready.filter_map(|e| Some((e["addresses"][0].as_str()?.to_owned(), port))));
    }
    if all.is_empty() {
        return Err(Finding::no("MissingEndpoints", format!("endpointslices for service/{name} in {ns:?} have no addresses with port name {port_name:?}")));
    }
    Ok(all.swap_remove(chance as usize % all.len()))
}

/// The object's conditions with this finding; None when it says so already.
pub(crate) fn conditions(object: &Value, finding: &Finding, now: &str) -> Option<Value> {
    let status = if finding.available { "True" } else { "False" };
    let mut all: Vec<Value> = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let before = all.iter().position(|c| c["type"] == "Available");
    let since = match before.and_then(|i| all.get(i)) {
        Some(c) if c["status"] == status && c["reason"] == finding.reason && c["message"] == finding.message.as_str() => return None,
        Some(c) if c["status"] == status => c["lastTransitionTime"].clone(),
        _ => json!(now),
    };
    let condition = json!({"type": "Available", "status": status, "reason": finding.reason, "message": finding.message, "lastTransitionTime": since});
    match before.and_then(|i| all.get_mut(i)) {
        Some(slot) => *slot = condition,
        None => all.push(condition),
    }
    Some(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn findings() {
        let far =
            json!({"metadata": {"name": "v1.x.io"}, "spec": {"group": "x.io", "version": "v1", "service": {"namespace": "ns", "name": "api", "port": 7443}}});
        let r = Remote::of(&far).unwrap();
        let reason = |service: Option<&Value>, slices: &[Value]| endpoint(&r, service, slices, 3).map_err(|f| f.reason);
        let service = json!({"spec": {"ports": [{"port": 7443, "name": "https"}]}});
        let other = json!({"spec": {"ports": [{"port": 443}]}});
        let slice =
            |ready: bool| json!({"ports": [{"name": "https", "port": 8443}], "endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": ready}}]});
        assert_eq!(reason(None, &[]), Err("ServiceNotFound"));
        assert_eq!(reason(Some(&other), &[]), Err("ServicePortError"));
        assert_eq!(reason(Some(&service), &[]), Err("EndpointsNotFound"));
        assert_eq!(reason(Some(&service), &[slice(false)]), Err("MissingEndpoints"));
        assert_eq!(reason(Some(&service), &[slice(true)]), Ok(("10.0.0.9".into(), 8443)));
    }
    #[test]
    fn a_condition_changes_once() {
        let first = conditions(&json!({}), &Finding::passed(), "T1").unwrap();
        assert_eq!(first[0]["lastTransitionTime"], "T1");
        let object = json!({"status": {"conditions": first}});
        assert_eq!(conditions(&object, &Finding::passed(), "T2"), None);
        let second = conditions(&object, &Finding::undiscovered("u", "w"), "T2").unwrap();
        assert_eq!((&second[0]["status"], &second[0]["lastTransitionTime"]), (&json!("False"), &json!("T2")));
    }
}
