//! Writes down when a token that lives in a secret was last used: one patch a secret and day.
use k8s_openapi::api::core::v1::Secret;
use skiff_auth::token::{Issuer, LAST_USED, Use};
use skiff_client::{Client, PatchBody};
use skiff_json::json;
use skiff_meta::Reason;
use std::{collections::HashSet, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// So many uses may wait to be written; others are told of again at their next use.
const WAITING: usize = 1024;

/// Runs until `stop`.
pub async fn record(issuer: Arc<Issuer>, client: Client, stop: CancellationToken) {
    let (tell, mut uses) = mpsc::channel::<Use>(WAITING);
    issuer.on_use(move |u| drop(tell.try_send(u)));
    // The label is seen a moment after it is written: meanwhile the same use comes again.
    let mut written: HashSet<Use> = HashSet::new();
    while let Some(Some(u)) = stop.run_until_cancelled(uses.recv()).await {
        if written.contains(&u) {
            continue;
        }
        written.retain(|w| w.day == u.day);
        let patch = json!({"metadata": {"labels": {LAST_USED: u.day}}});
        match client.patch::<Secret>(&u.namespace, &u.secret, PatchBody::merge(&patch)).await {
            Ok(_) => drop(written.insert(u)),
            Err(e) if e.is(Reason::NotFound) => {}
            Err(e) => tracing::warn!(target: "auth", namespace = u.namespace, secret = u.secret, why = %e, "the last use of a token could not be written down"),
        }
    }
}
