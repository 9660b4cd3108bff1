//! Where Services are, for webhooks: a ready endpoint, straight from the datastore's memory. Pods are reachable from here.
use skiff_json::Value;
use skiff_store::{ListQuery, Store};
use skiff_webhook::{Endpoint, Resolve};
use std::sync::Arc;

pub struct Backends(pub Arc<dyn Store>);

impl Resolve for Backends {
    fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<Endpoint, String> {
        let service = self
            .0
            .get(&format!("services/{namespace}/{name}"))
            .and_then(|e| skiff_json::from_slice(&e.bytes).ok())
            .ok_or_else(|| format!("service {name:?} not found"))?;
        let prefix = format!("endpointslices.discovery.k8s.io/{namespace}/");
        let slices = self.0.list(&ListQuery { prefix, ..Default::default() }).entries;
        let slices: Vec<Value> =
            slices.iter().filter(|e| e.row.label("kubernetes.io/service-name") == Some(name)).filter_map(|e| skiff_json::from_slice(&e.bytes).ok()).collect();
        endpoint(&service, &slices, port, rand::random::<u32>())
    }
}

/// One of the ready endpoints of the Service's port, by chance.
fn endpoint(service: &Value, slices: &[Value], port: u16, chance: u32) -> Result<Endpoint, String> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP");
    if !matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer") {
        return Err(format!("unsupported service type {kind:?}"));
    }
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let chosen = ports.into_iter().find(|p| p["port"] == port).ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let same = |p: &&Value| p["name"].as_str().unwrap_or_default() == chosen["name"].as_str().unwrap_or_default();
    let mut all = Vec::new();
    for slice in slices {
        let Some(port) = slice["ports"].as_array().into_iter().flatten().find(same).and_then(|p| u16::try_from(p["port"].as_u64()?).ok()) else { continue };
        let ready = slice["endpoints"].as_array().into_iter().flatten().filter(|e| e["conditions"]["ready"] != false);
        all.extend(ready.filter_map(|e| Some(Endpoint { host: e["addresses"][0].as_str()?.to_owned(), port })));
    }
    if all.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(all.swap_remove(chance as usize % all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn endpoints_of_a_port() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 8443, "targetPort": 8444}]}});
        let slice = json!({"ports": [{"name": "", "port": 8444}], "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": false}}, {"addresses": ["10.0.0.2"], "conditions": {"ready": true}}]});
        assert_eq!(endpoint(&service, std::slice::from_ref(&slice), 8443, 7), Ok(Endpoint { host: "10.0.0.2".into(), port: 8444 }));
        assert_eq!(endpoint(&service, &[], 8443, 7), Err("no endpoints available for service \"s\"".into()));
        assert_eq!(endpoint(&service, &[slice], 1, 7), Err("no service port 1 found for service \"s\"".into()));
        let external = json!({"metadata": {"name": "s"}, "spec": {"type": "ExternalName"}});
        assert_eq!(endpoint(&external, &[], 1, 7), Err("unsupported service type \"ExternalName\"".into()));
    }
}
