//! ServiceAccount: every pod runs as an account that exists, with its token mounted and its pull secrets.
//!
//! Which secrets an account may mount is enforced where its annotation asks for that. Tokens themselves are made by
//! the TokenRequest subresource and asked for by the kubelet.

mod secrets;
mod token_volume;

pub(crate) use secrets::any as refers_to_secrets;

use crate::{
    default_class::annotation,
    request::{Operation, about, creates, forbidden, operation, stored},
    value,
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};
use std::{sync::Arc, time::Duration};

const DEFAULT: &str = "default";
const MIRROR: &str = "kubernetes.io/config.mirror";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// The default account is made by a controller soon after its namespace, so a pod waits for it this long.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(150);

pub struct ServiceAccount {
    /// Names the token volume.
    pub random: Arc<dyn Fn() -> u32 + Send + Sync>,
}

#[async_trait]
impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !creates(a, "", "pods") {
            return Ok(());
        }
        let Some(pod) = a.object.as_deref_mut() else { return Ok(()) };
        if annotation(pod, MIRROR).is_some() {
            return mirror(a);
        }
        if value::text(pod, "spec.serviceAccountName").is_empty() {
            value::set(pod, "spec.serviceAccountName", DEFAULT);
            value::set(pod, "spec.serviceAccount", DEFAULT);
        }
        let account = account(a).await?;
        let Some(pod) = a.object.as_deref_mut() else { return Ok(()) };
        if automounts(&account, pod) {
            token_volume::mount(pod, &*self.random);
        }
        let pull = value::list(&account, "imagePullSecrets");
        if value::list(pod, "spec.imagePullSecrets").is_empty() && !pull.is_empty() {
            value::set(pod, "spec.imagePullSecrets", pull.to_vec());
        }
        Ok(())
    }

    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !about(a, "", "pods") {
            return Ok(());
        }
        let debug = operation(a) == Operation::Update && a.target.subresource == "ephemeralcontainers";
        let Some(pod) = a.object.as_deref().filter(|_| debug || creates(a, "", "pods")) else { return Ok(()) };
        if !debug && annotation(pod, MIRROR).is_some() {
            return mirror(a);
        }
        if value::text(pod, "spec.serviceAccountName").is_empty() {
            return Err(forbidden(a, format!("no service account specified for pod {}/{}", a.target.namespace, value::text(pod, "metadata.name"))));
        }
        let account = account(a).await?;
        if !matches!(annotation(&account, ENFORCE), Some("1" | "t" | "T" | "true" | "TRUE" | "True")) {
            return Ok(());
        }
        let Some(pod) = a.object.as_deref() else { return Ok(()) };
        let refusal = if debug { secrets::of_debugging(&account, pod) } else { secrets::of_pod(&account, pod) };
        refusal.map_or(Ok(()), |why| Err(forbidden(a, why)))
    }
}

/// Static pods are shown by the kubelet as they are, so they may use nothing that the server would have to grant.
fn mirror(a: &Attributes<'_>) -> Result<(), Status> {
    let Some(pod) = a.object.as_deref() else { return Ok(()) };
    let why = if !value::text(pod, "spec.serviceAccountName").is_empty() {
        "a mirror pod may not reference service accounts"
    } else if secrets::any(pod) {
        "a mirror pod may not reference secrets"
    } else if value::list(pod, "spec.volumes").iter().flat_map(|v| value::list(v, "projected.sources")).any(|s| value::at(s, "serviceAccountToken").is_some()) {
        "a mirror pod may not use ServiceAccountToken volume projections"
    } else {
        return Ok(());
    };
    Err(forbidden(a, why))
}

async fn account(a: &Attributes<'_>) -> Result<Value, Status> {
    let namespace = a.target.namespace.as_str();
    let name = a.object.as_deref().map(|p| value::text(p, "spec.serviceAccountName")).unwrap_or_default();
    let attempts = if name == DEFAULT { ATTEMPTS } else { 1 };
    for attempt in 0..attempts {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(found) = stored(a, "serviceaccounts", namespace, name) {
            return Ok(found);
        }
    }
    Err(forbidden(a, format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found")))
}

/// The pod's word counts before the account's.
fn automounts(account: &Value, pod: &Value) -> bool {
    let says = |v, path| value::at(v, path).and_then(Value::as_bool);
    says(pod, "spec.automountServiceAccountToken").or_else(|| says(account, "automountServiceAccountToken")).unwrap_or(true)
}
