//! The `kubernetes` Service, what is behind it, and the ServiceCIDRs of the networks that are configured.
//!
//! Made at the start and looked after every ten seconds, for people delete them. The Service keeps the address that it has:
//! every pod was told of it. Networks that were configured before stay as ServiceCIDRs, for Services have their addresses.
use super::{AGENT, Bootstrap, Facts, server_user};
use futures::future::try_join3;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, Reason, Status};
use skiff_request::{Answer, Call, Service, Target, Verb};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const NET: &str = "networking.k8s.io";
/// Who owns the conditions.
const MANAGER: &str = "kubernetes-service-cidr-controller";
const EVERY: Duration = Duration::from_secs(10);

/// Makes what somebody deleted anew, and mends what names this server's address, until `stop`.
pub async fn keep(service: Arc<dyn Service>, facts: Facts, stop: CancellationToken) {
    let b = Bootstrap { service: &*service, user: server_user() };
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        if let Err(why) = b.tracked((facts.now)()).await {
            tracing::warn!(target: "api", why = why.message, "the beginning of the record of old tokens' uses could not be kept");
        }
        if let Err(why) = b.kept(&facts).await {
            tracing::warn!(target: "api", why = why.message, "the kubernetes Service could not be kept as it should be");
        }
    }
}

fn service(f: &Facts) -> Value {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    json!({
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "clusterIP": f.service_address.to_string(),
            "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": f.port}],
        },
    })
}

fn ports(f: &Facts) -> Value {
    json!([{"name": "https", "port": f.port, "protocol": "TCP"}])
}

fn endpoints(f: &Facts) -> Value {
    let skip = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    json!({
        "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": skip},
        "subsets": [{"addresses": [{"ip": f.address.to_string()}], "ports": ports(f)}],
    })
}

fn slice(f: &Facts) -> Value {
    json!({
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if f.address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [f.address.to_string()], "conditions": {"ready": true}}],
        "ports": ports(f),
    })
}

/// The ServiceCIDR of networks that are not those of the first start. Named by them: the next start finds it.
fn cidr(networks: &[String]) -> Value {
    let name = networks.iter().map(|n| n.replace(['.', '/', ':'], "-")).collect::<Vec<_>>().join("-");
    let name: String = format!("kubernetes-{}", name.trim_matches('-'));
    json!({"kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": networks}})
}

impl Bootstrap<'_> {
    async fn get(&self, group: &'static str, resource: &'static str, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
        let call = Call::new(Verb::Get, Target::new(GroupVersionResource::new(group, "v1", resource), namespace, name));
        match self.service.serve(self.user.clone(), call).await {
            Ok(Answer::Object { bytes, .. }) => skiff_json::from_slice(&bytes).map(Some).map_err(Status::internal),
            Err(s) if !s.is(Reason::NotFound) => Err(s),
            _ => Ok(None),
        }
    }

    /// The default ServiceCIDR is ready when it says what is configured; one network becomes two when that is asked for.
    /// Other networks than at the first start get a ServiceCIDR of their own.
    async fn open_networks(&self, networks: &[String]) -> Result<(), Status> {
        let Some(mut there) = self.get(NET, "servicecidrs", "", "kubernetes").await? else { return Ok(()) };
        let has: Vec<&str> = there["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let more = networks.len() == 2 && has.len() == 1 && has.first() == networks.first().map(String::as_str).as_ref();
        if !more && has != networks.iter().map(String::as_str).collect::<Vec<_>>() {
            tracing::info!(target: "api", configured = ?networks, cidrs = ?has, "the service networks are not those of the first start: they get a ServiceCIDR of their own");
            let own = cidr(networks);
            let name = own["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.create(NET, "v1", "servicecidrs", "", own).await?;
            if let Some(own) = self.get(NET, "servicecidrs", "", &name).await? {
                self.ready(&own, "Kubernetes Service CIDR is ready").await?;
            }
            return self.ready(&there, "Kubernetes default Service CIDR is ready").await;
        }
        if more {
            there["spec"]["cidrs"] = json!(networks);
            let target = Target::new(GroupVersionResource::new(NET, "v1", "servicecidrs"), "", "kubernetes");
            self.call(Verb::Update, target, &there).await?;
        }
        self.ready(&there, "Kubernetes default Service CIDR is ready").await
    }

    async fn ready(&self, cidr: &Value, message: &str) -> Result<(), Status> {
        let ready = cidr["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready");
        if ready || !cidr["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let now = skiff_meta::Timestamp::from_system(std::time::SystemTime::now()).to_string();
        let condition = json!({"type": "Ready", "status": "True", "message": message, "lastTransitionTime": now});
        let name = cidr["metadata"]["name"].as_str().unwrap_or_default();
        let body = json!({"kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": name}, "status": {"conditions": [condition]}});
        let target = Target::new(GroupVersionResource::new(NET, "v1", "servicecidrs"), "", name).sub("status");
        let mut call = Call::new(Verb::Patch, target).body(body.to_string()).query("fieldManager", MANAGER).query("force", "true");
        call.content_type = "application/apply-patch+yaml".into();
        call.user_agent = AGENT.into();
        self.service.serve(self.user.clone(), call).await.map(drop)
    }

    pub(super) async fn network(&self, f: &Facts) -> Result<(), Status> {
        self.create(NET, "v1", "servicecidrs", "", json!({"kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": f.networks}})).await?;
        self.open_networks(&f.networks).await?;
        let mut wanted = service(f);
        if let Some(there) = self.get("", "services", "default", "kubernetes").await? {
            wanted["spec"]["clusterIP"] = there["spec"]["clusterIP"].clone();
        }
        let service = self.put("", "v1", "services", "default", wanted);
        let endpoints = self.put("", "v1", "endpoints", "default", endpoints(f));
        let slice = self.put("discovery.k8s.io", "v1", "endpointslices", "default", slice(f));
        try_join3(service, endpoints, slice).await.map(drop)
    }

    async fn kept(&self, f: &Facts) -> Result<(), Status> {
        if self.get("", "services", "default", "kubernetes").await?.is_none() {
            self.create("", "v1", "namespaces", "", json!({"kind": "Namespace", "metadata": {"name": "default"}})).await?;
            self.create("", "v1", "services", "default", service(f)).await?;
        }
        let says = |there: &Option<Value>, wanted: &Value, part: &str| there.as_ref().is_some_and(|t| t[part] == wanted[part]);
        let (wanted, there) = (endpoints(f), self.get("", "endpoints", "default", "kubernetes").await?);
        if !says(&there, &wanted, "subsets") {
            self.put("", "v1", "endpoints", "default", wanted).await?;
        }
        let (wanted, there) = (slice(f), self.get("discovery.k8s.io", "endpointslices", "default", "kubernetes").await?);
        if !["addressType", "endpoints", "ports"].iter().all(|part| says(&there, &wanted, part)) {
            self.put("discovery.k8s.io", "v1", "endpointslices", "default", wanted).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_name_their_object() {
        for (networks, name) in
            [(vec!["10.96.0.0/16"], "kubernetes-10-96-0-0-16"), (vec!["10.96.0.0/16", "fd00:1::/112"], "kubernetes-10-96-0-0-16-fd00-1---112")]
        {
            let networks: Vec<String> = networks.into_iter().map(str::to_owned).collect();
            assert_eq!(cidr(&networks)["metadata"]["name"], name);
        }
    }
}
