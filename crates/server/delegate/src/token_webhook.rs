//! Bearer tokens that another server knows: asked by TokenReview, answers remembered.
use crate::answers::Answers;
use crate::connection::Connection;
use ring::digest::{SHA256, digest};
use skiff_auth::Refusal;
use skiff_json::{Value, json};
use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use std::collections::BTreeMap;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
const REMEMBERED: usize = 4096;

pub struct TokenWebhook {
    connection: Connection,
    /// `v1` or `v1beta1` of authentication.k8s.io.
    version: &'static str,
    /// The audiences of this server.
    audiences: Vec<String>,
    holds: Duration,
    answers: Answers<[u8; 32], Result<Option<User>, Refusal>>,
}

impl TokenWebhook {
    pub fn new(connection: Connection, version: &'static str, audiences: Vec<String>, holds: Duration) -> Self {
        Self { connection, version, audiences, holds, answers: Answers::new(REMEMBERED) }
    }

    async fn ask(&self, token: &str) -> Result<Result<Option<User>, Refusal>, Refusal> {
        let body = json!({"apiVersion": format!("authentication.k8s.io/{}", self.version), "kind": "TokenReview", "metadata": {}, "spec": {"token": token, "audiences": self.audiences}, "status": {"user": {}}});
        let review = self.connection.review(&body, TIMEOUT).await.map_err(|e| Refusal(e.why))?;
        let status = &review["status"];
        if status["authenticated"] != true {
            let error = status["error"].as_str().unwrap_or_default();
            return Ok(if error.is_empty() { Ok(None) } else { Err(Refusal(error.to_owned())) });
        }
        let given = texts(&status["audiences"]);
        if !given.is_empty() && !self.audiences.iter().any(|a| given.contains(a)) {
            return Ok(Ok(None));
        }
        Ok(Ok(Some(user(&status["user"]))))
    }
}

fn texts(v: &Value) -> Vec<String> {
    v.as_array().into_iter().flatten().filter_map(|x| x.as_str().map(str::to_owned)).collect()
}

fn user(v: &Value) -> User {
    let text = |k: &str| v[k].as_str().unwrap_or_default().to_owned();
    let extra: BTreeMap<_, _> = v["extra"].as_object().into_iter().flatten().map(|(k, x)| (k.to_string(), texts(x))).collect();
    User { name: text("username"), uid: text("uid"), groups: texts(&v["groups"]), extra }
}

#[async_trait::async_trait]
impl Authenticator for TokenWebhook {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(known) = self.answers.get(&key) {
            return Ok(known?);
        }
        let told = self.ask(token).await?;
        self.answers.put(key, told.clone(), self.holds);
        Ok(told?)
    }
}
