//! Asking a server whether something is allowed: when its conditions hold, and when the answer is not remembered.
use super::config::WebhookSettings;
use super::review;
use crate::answers::Answers;
use crate::connection::{Connection, ConnectionError, Failed};
use skiff_json::{Value, json};
use skiff_policy::{Action, Authorizer, Decision, Verdict};
use skiff_request::User;
use std::time::Duration;

const REMEMBERED: usize = 8192;
/// Longer questions are not remembered, bytes: what is in them comes from the client.
const LONG: usize = 10_000;
/// How often it is asked, and how long it is waited before the second time.
const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);

pub struct AccessWebhook {
    settings: WebhookSettings,
    connection: Connection,
    answers: Answers<String, Verdict>,
}

impl AccessWebhook {
    /// Reads the kubeconfig that the settings name.
    pub fn new(settings: WebhookSettings) -> Result<Self, ConnectionError> {
        let path = settings.kubeconfig.clone().unwrap_or_default();
        let connection = Connection::of_kubeconfig(&path)?;
        Ok(Self { settings, connection, answers: Answers::new(REMEMBERED) })
    }

    /// Whether it is to be asked. Upstream's rule: one false condition is enough not to ask, even if another fails.
    fn matches(&self, user: &User, action: &Action) -> Result<bool, String> {
        if self.settings.conditions.is_empty() {
            return Ok(true);
        }
        let request = review::request(user, action);
        let mut failed = None;
        for condition in &self.settings.conditions {
            match condition.holds(&request) {
                Ok(false) => return Ok(false),
                Ok(true) => {}
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        failed.map_or(Ok(true), Err)
    }

    async fn decide(&self, user: &User, action: &Action) -> Result<Verdict, String> {
        if !self.matches(user, action)? {
            return Ok(Verdict { decision: Decision::NoOpinion(String::new()), reason: String::new(), error: String::new() });
        }
        let s = &self.settings;
        let spec = review::spec(user, action, s.version == "v1beta1");
        let key = spec.to_string();
        if let Some(known) = self.answers.get(&key) {
            return Ok(known);
        }
        let body = json!({"apiVersion": format!("authorization.k8s.io/{}", s.version), "kind": "SubjectAccessReview", "metadata": {}, "spec": spec, "status": {"allowed": false}});
        let told = self.ask(&body).await.map_err(|e| e.why)?;
        let verdict = review::verdict(&told["status"]);
        if key.len() <= LONG {
            let holds = if verdict.decision == Decision::Allow { s.authorized } else { s.unauthorized };
            self.answers.put(key, verdict.clone(), holds);
        }
        Ok(verdict)
    }

    async fn ask(&self, body: &Value) -> Result<Value, Failed> {
        let mut wait = BACKOFF;
        for _ in 1..TRIES {
            match self.connection.review(body, self.settings.timeout).await {
                Err(e) if e.again => {
                    tracing::warn!(target: "auth", authorizer = self.settings.name, why = e.why, "an authorisation webhook is asked again");
                    tokio::time::sleep(wait).await;
                    wait = wait * 3 / 2;
                }
                told => return told,
            }
        }
        self.connection.review(body, self.settings.timeout).await
    }
}

#[async_trait::async_trait]
impl Authorizer for AccessWebhook {
    async fn authorize(&self, user: &User, action: &Action) -> Decision {
        self.verdict(user, action).await.decision
    }
    async fn verdict(&self, user: &User, action: &Action) -> Verdict {
        self.decide(user, action).await.unwrap_or_else(|error| {
            tracing::warn!(target: "auth", authorizer = self.settings.name, why = error, denies = self.settings.denies, "an authorisation webhook could not be asked");
            let decision = if self.settings.denies { Decision::Deny(String::new()) } else { Decision::NoOpinion(String::new()) };
            Verdict { decision, reason: String::new(), error }
        })
    }
    fn untold(&self, _: &User) -> Option<String> {
        Some("webhook authorizer does not support user rule resolution".into())
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<Value>, Vec<Value>) {
        (Vec::new(), Vec::new())
    }
}
