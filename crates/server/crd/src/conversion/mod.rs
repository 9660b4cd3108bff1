//! Conversion of custom objects between versions by a webhook.
//!
//! [`review`] is the question and what is made of the answer: an object keeps its identity and all of its metadata but
//! labels and annotations, whatever the webhook says. Here it is only sent.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion>

mod review;

use skiff_json::Value;
use skiff_meta::{
    GroupVersion, Reason, Status,
    value::{list, text},
};
use skiff_registry::table::Converter;
use skiff_webhook::{Client, Place, Request, refused};
use std::{sync::Arc, time::Duration};

/// How long upstream waits for any conversion.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer: a page of large objects.
const ANSWER_LIMIT: usize = 64 << 20;
/// Objects of one question.
const AT_ONCE: usize = 500;

/// The webhook of one definition.
pub struct Webhook {
    place: Place,
    /// Versions of reviews that it speaks, the preferred one first.
    versions: Vec<String>,
    client: Arc<Client>,
}

impl Webhook {
    pub fn of(definition: &Value, client: Arc<Client>) -> Self {
        let versions = list(definition, "spec.conversion.webhook.conversionReviewVersions");
        Self {
            place: Place::read(&definition["spec"]["conversion"]["webhook"]["clientConfig"]),
            versions: versions.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
            client,
        }
    }

    async fn ask(&self, objects: &[Value], to: &GroupVersion) -> Result<Vec<Value>, String> {
        let version = review::version(&self.versions)?;
        let (uid, wanted) = (uuid::Uuid::new_v4().to_string(), to.to_string());
        let about = objects.first().map(|o| format!("conversion webhook for {}, Kind={}", text(o, "apiVersion"), text(o, "kind"))).unwrap_or_default();
        let failed = |why: String| format!("{about} failed: {why}");
        let body = review::question(objects, &wanted, version, &uid).to_string().into();
        let request = Request { agent: "kube-apiserver", body, timeout: TIMEOUT, limit: ANSWER_LIMIT, place: &self.place };
        let (status, body) = self.client.post(&request).await.map_err(failed)?;
        if !status.is_success() {
            return Err(failed(refused(status, &body)));
        }
        let answer = skiff_json::from_slice(&body).map_err(|e| failed(format!("couldn't get version/kind; json parse error: {e}")))?;
        let converted = review::answer(answer, version, &uid).map_err(failed)?;
        review::settle(objects, converted, &wanted).map_err(|why| format!("{about} returned {why}"))
    }
}

#[async_trait::async_trait]
impl Converter for Webhook {
    async fn convert(&self, objects: Vec<Value>, to: &GroupVersion) -> Result<Vec<Value>, Status> {
        let mut all = Vec::with_capacity(objects.len());
        for some in objects.chunks(AT_ONCE) {
            all.extend(self.ask(some, to).await.map_err(|why| {
                tracing::warn!(target: "crd", error = %why, "a conversion failed");
                Status::new(Reason::Unknown, why)
            })?);
        }
        Ok(all)
    }
}
