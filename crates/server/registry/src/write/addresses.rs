//! IPAddress objects: one for each address that a Service holds, so that people can see who has it, and nobody else
//! gets it. What a crash left undone is mended by [`Registry::repair_addresses`].
use super::{
    decode::Incoming,
    options::{FieldValidation, WriteOptions},
    services::addresses,
};
use crate::{
    registry::{Context, Registry},
    value,
};
use skiff_json::{Value, json};
use skiff_meta::GroupVersionResource;
use skiff_request::{Call, Target, User, Verb};
use skiff_store::{Entry, ListQuery};
use std::collections::BTreeMap;
use std::{net::IpAddr, sync::Arc};

const GROUP: &str = "networking.k8s.io";
const MANAGER: &str = "ipallocator.k8s.io";

impl Registry {
    /// Makes and takes away what a change of a Service asks for. Best effort: the Service is what counts.
    pub(crate) async fn record_addresses(&self, ctx: &Context<'_>, old: Option<&Value>, new: Option<&Value>) {
        if !ctx.row.strategy.allocates {
            return;
        }
        let (before, after) = (old.map(addresses).unwrap_or_default(), new.map(addresses).unwrap_or_default());
        let service = new.or(old).cloned().unwrap_or_default();
        for a in after.iter().filter(|a| !before.contains(a)) {
            Box::pin(self.record(Verb::Create, a, &service)).await;
        }
        for a in before.iter().filter(|a| !after.contains(a)) {
            Box::pin(self.record(Verb::Delete, a, &service)).await;
        }
    }

    /// Makes the records that Services lack and takes away those of Services that are gone; answers how many of both.
    pub async fn repair_addresses(&self) -> (usize, usize) {
        let list = |prefix: &str| self.store.list(&ListQuery { prefix: prefix.into(), ..Default::default() }).entries;
        // Records first: one that is made meanwhile is not taken for an orphan.
        let (records, services) = (list("ipaddresses.networking.k8s.io/"), list("services/"));
        let (missing, orphans) = repairs(&read(&records), &read(&services));
        for (address, owner) in &orphans {
            Box::pin(self.record(Verb::Delete, address, owner)).await;
        }
        for (address, service) in &missing {
            Box::pin(self.record(Verb::Create, address, service)).await;
        }
        (missing.len(), orphans.len())
    }

    async fn record(&self, verb: Verb, address: &IpAddr, service: &Value) {
        let Some(row) = self.table.get(GROUP, "ipaddresses") else { return };
        let name = address.to_string();
        let target = Target::new(GroupVersionResource::new(GROUP, "v1", "ipaddresses"), "", if verb == Verb::Delete { name.as_str() } else { "" });
        let call = Call { user_agent: "kube-apiserver".into(), ..Call::new(verb, target) };
        let user = Arc::new(User::new("system:apiserver", [User::MASTERS]));
        let ctx = Context { user: &user, call: &call, row: &row };
        let done = match verb {
            Verb::Delete => self.delete(&ctx).await,
            _ => {
                let options = WriteOptions { dry_run: false, manager: "kube-apiserver".into(), validation: FieldValidation::Ignore, force: false };
                self.create_value(
                    &ctx,
                    &options,
                    Incoming { value: object(address, service), warnings: Vec::new(), tracked: false, before: None, hollow: false },
                )
                .await
            }
        };
        if let Err(error) = done {
            tracing::debug!(target: "api", %error, address = name, "the record of a service address was not written");
        }
    }
}

fn object(address: &IpAddr, service: &Value) -> Value {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": address.to_string(),
            "labels": {"ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": MANAGER},
        },
        "spec": {"parentRef": {
            "resource": "services",
            "namespace": value::text(service, "metadata.namespace"),
            "name": value::text(service, "metadata.name"),
        }},
    })
}

fn read(entries: &[Entry]) -> Vec<Value> {
    entries.iter().filter_map(|e| skiff_json::from_slice(&e.bytes).ok()).collect()
}

/// Services' addresses without a record of theirs, and records without a Service, each with its object.
fn repairs(records: &[Value], services: &[Value]) -> (Vec<(IpAddr, Value)>, Vec<(IpAddr, Value)>) {
    let mut held: BTreeMap<IpAddr, &Value> = BTreeMap::new();
    for s in services {
        held.extend(addresses(s).into_iter().map(|a| (a, s)));
    }
    let mut orphans = Vec::new();
    for r in records {
        let ours = r.pointer("/metadata/labels/ipaddress.kubernetes.io~1managed-by").is_some_and(|m| m == MANAGER);
        let Ok(address) = value::text(r, "metadata.name").parse::<IpAddr>() else { continue };
        match held.get(&address) {
            Some(s) if value::at(&object(&address, s), "spec") == value::at(r, "spec") => drop(held.remove(&address)),
            // Somebody's own record of the same address is left alone.
            Some(_) if !ours => drop(held.remove(&address)),
            None if !ours => {}
            _ => orphans.push((address, r.clone())),
        }
    }
    (held.into_iter().map(|(a, s)| (a, s.clone())).collect(), orphans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_left_over() {
        let service = |name: &str, ip: &str| json!({"metadata": {"namespace": "n", "name": name}, "spec": {"clusterIPs": [ip]}});
        let address = |ip: &str, of: &str| object(&ip.parse().unwrap(), &service(of, ip));
        let mut foreign = address("10.0.0.9", "gone");
        foreign["metadata"]["labels"] = json!({});
        let records = [address("10.0.0.1", "a"), address("10.0.0.2", "gone"), address("10.0.0.3", "other"), foreign];
        let services = [service("a", "10.0.0.1"), service("c", "10.0.0.3"), service("d", "10.0.0.4"), service("headless", "None")];
        let (missing, orphans) = repairs(&records, &services);
        let show = |all: Vec<(IpAddr, Value)>| all.into_iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>();
        assert_eq!(show(missing), ["10.0.0.3", "10.0.0.4"]);
        assert_eq!(show(orphans), ["10.0.0.2", "10.0.0.3"]);
    }
}
