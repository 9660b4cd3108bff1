//! The end of a definition: its objects are deleted, and when the last is gone the finalizer goes.
use crate::{
    Definitions,
    definition::{CLEANUP, Definition, PREFIX},
};
use futures::StreamExt;
use skiff_json::Value;
use skiff_meta::{
    GroupVersionResource, Status,
    value::{list, set},
};
use skiff_registry::strategy::definition::set_condition;
use skiff_request::{Call, Target, Verb};
use skiff_store::ListQuery;
use std::{collections::BTreeSet, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a failed deletion rests.
const RETRY: Duration = Duration::from_secs(5);

/// Works until the definition has no finalizer of ours any more, or `stop`.
pub(crate) async fn run(all: &Definitions, name: &str, stop: &CancellationToken) {
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = attempt(all, name) => outcome,
        };
        match outcome {
            Ok(true) => return,
            Ok(false) => continue,
            Err(s) => tracing::warn!(target: "crd", name, error = %s.message, "cannot delete the objects of a definition yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

fn read(all: &Definitions, name: &str) -> Option<(Value, Definition)> {
    let entry = all.registry().store().get(&format!("{PREFIX}/{name}"))?;
    let v: Value = skiff_json::from_slice(&entry.bytes).ok()?;
    let d = Definition::read(&v);
    (d.deleting && d.cleanup).then_some((v, d))
}

/// True when there is nothing left to do.
async fn attempt(all: &Definitions, name: &str) -> Result<bool, Status> {
    let Some((mut v, d)) = read(all, name) else { return Ok(true) };
    let now = || all.registry().now().to_string();
    set_condition(&mut v, "Terminating", true, "InstanceDeletionInProgress", "CustomResource deletion is in progress", &now());
    all.write_status(&v).await?;
    let (reason, message) = if d.established {
        if let Err(s) = delete_all(all, &d).await {
            if let Some((mut v, _)) = read(all, name) {
                set_condition(&mut v, "Terminating", true, "InstanceDeletionFailed", &format!("could not issue all deletes: {}", s.message), &now());
                all.write_status(&v).await?;
            }
            return Err(s);
        }
        ("InstanceDeletionCompleted", "removed all instances")
    } else {
        ("NeverEstablished", "resource was never established")
    };
    let Some((mut v, _)) = read(all, name) else { return Ok(true) };
    set_condition(&mut v, "Terminating", false, reason, message, &now());
    let left: Vec<Value> = list(&v, "metadata.finalizers").iter().filter(|f| *f != CLEANUP).cloned().collect();
    set(&mut v, "metadata.finalizers", left);
    all.write_status(&v).await?;
    Ok(read(all, name).is_none())
}

/// Deletes the objects of every namespace and waits until none is left.
async fn delete_all(all: &Definitions, d: &Definition) -> Result<(), Status> {
    let prefix = format!("{}.{}/", d.accepted.plural, d.group);
    let store = all.registry().store();
    let there = || store.list(&ListQuery { prefix: prefix.clone(), ..Default::default() });
    let page = there();
    let namespaces: BTreeSet<&str> = page.entries.iter().map(|e| e.namespace()).collect();
    let version = d.versions.iter().find(|v| v.served).map(|v| v.name.clone());
    let Some(version) = version.filter(|_| !namespaces.is_empty()) else { return Ok(()) };
    for namespace in namespaces {
        let resource = GroupVersionResource { group: d.group.clone().into(), version: version.clone().into(), resource: d.accepted.plural.clone().into() };
        all.call(Call::new(Verb::DeleteCollection, Target::new(resource, namespace, ""))).await?;
    }
    let failed = |e: skiff_store::StoreError| Status::internal(format!("watch what is left of {}: {e}", d.name));
    let mut changes = store.watch(&prefix, page.revision).map_err(failed)?;
    while !there().entries.is_empty() {
        match changes.next().await {
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(failed(e)),
            None => return Err(Status::internal("the store is closing")),
        }
    }
    Ok(())
}
