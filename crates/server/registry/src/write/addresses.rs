//! IPAddress objects: one for each address that a Service holds, so that people can see who has it.
use super::{decode::Incoming, options::{FieldValidation, WriteOptions}, services::addresses};
use crate::{
    registry::{Context, Registry},
    value,
};
use serde_json::{Value, json};
use skiff_meta::GroupVersionResource;
use skiff_request::{Call, Target, User, Verb};
use std::{net::IpAddr, sync::Arc};

const GROUP: &str = "networking.k8s.io";

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
                self.create_value(&ctx, &options, Incoming { value: object(address, service), warnings: Vec::new(), tracked: false }).await
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
            "labels": {"ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"},
        },
        "spec": {"parentRef": {
            "resource": "services",
            "namespace": value::text(service, "metadata.namespace"),
            "name": value::text(service, "metadata.name"),
        }},
    })
}
