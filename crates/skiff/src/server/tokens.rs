//! Tokens by which machines join: bootstrap tokens, kept as upstream keeps them, in secrets of `kube-system`.
use crate::admin::TokenLine;
use crate::server::api::Api;
use crate::server::bootstrap::BOOTSTRAPPERS;
use crate::token::Token;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Secret;
use skiff_client::{Client, DeleteOptions, ListParams};
use skiff_json::{Value, json};
use skiff_meta::{Reason, Timestamp};
use std::path::Path;
use std::time::{Duration, SystemTime};

const NAMESPACE: &str = "kube-system";
const KIND: &str = "bootstrap.kubernetes.io/token";

#[derive(Clone)]
pub struct Tokens {
    client: Client,
    /// Of the authority that signs what this server shows.
    fingerprint: String,
}

impl Tokens {
    pub fn new(api: &Api) -> anyhow::Result<Self> {
        let der = skiff_pki::der_of(api.keys.server_ca.certificate()).context("read the server's certificate authority")?;
        Ok(Self { client: api.master(), fingerprint: skiff_pki::fingerprint(&der) })
    }
    /// The token that always holds, in `<data>/server/node-token`: its secret is there again after each start. Who takes it
    /// away removes the file, too, and gets another one.
    pub async fn keep(&self, data: &Path) -> anyhow::Result<()> {
        let path = data.join("server/node-token");
        let old = if path.exists() { Some(Token::read(&path)?) } else { None };
        let token = match old {
            Some(old) => Token { fingerprint: self.fingerprint.clone(), ..old },
            None => self.fresh(),
        };
        let text = format!("{token}\n");
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            tracing::debug!(target: "skiff", path = %path.display(), "the token for nodes is there");
        } else {
            skiff_pki::write_private(&path, text.as_bytes())?;
        }
        match self.store(&token, None, "joins nodes; kept in server/node-token").await {
            Err(e) if e.downcast_ref::<skiff_meta::Status>().is_some_and(|s| s.is(Reason::AlreadyExists)) => Ok(()),
            other => other,
        }
    }
    /// A new token; `seconds` 0 is for ever.
    pub async fn create(&self, seconds: u64, description: &str) -> anyhow::Result<Token> {
        let token = self.fresh();
        let ends = (seconds > 0).then(|| SystemTime::now() + Duration::from_secs(seconds.min(u64::from(u32::MAX))));
        self.store(&token, ends, description).await?;
        Ok(token)
    }
    pub async fn list(&self) -> anyhow::Result<Vec<TokenLine>> {
        let params = ListParams { fields: format!("type={KIND}"), ..ListParams::default() };
        let secrets: Vec<Secret> = self.client.list(NAMESPACE, &params).await.context("list the tokens")?;
        Ok(secrets.iter().map(line).collect())
    }
    /// By its id, or by the whole token.
    pub async fn delete(&self, id: &str) -> anyhow::Result<()> {
        let id = Token::parse(id).map_or_else(|_| id.split('.').next().unwrap_or_default().to_owned(), |t| t.id);
        let name = format!("bootstrap-token-{id}");
        if self.client.find::<Secret>(NAMESPACE, &name).await.context("look for the token")?.is_none() {
            bail!("there is no token {id:?}");
        }
        self.client.delete::<Secret>(NAMESPACE, &name, &DeleteOptions::default()).await.with_context(|| format!("delete the token {id:?}"))
    }
    fn fresh(&self) -> Token {
        Token::make(self.fingerprint.clone(), |below| (rand::random::<u64>() % below.max(1) as u64) as usize)
    }
    async fn store(&self, token: &Token, ends: Option<SystemTime>, description: &str) -> anyhow::Result<()> {
        let secret: Secret = skiff_client::view(&secret_of(token, ends, description))?;
        self.client.create(&secret).await.map(drop).with_context(|| format!("keep the token {:?}", token.id))
    }
}

fn secret_of(token: &Token, ends: Option<SystemTime>, description: &str) -> Value {
    let mut data = json!({"token-id": token.id, "token-secret": token.secret, "description": description, "usage-bootstrap-authentication": "true", "auth-extra-groups": BOOTSTRAPPERS});
    if let Some(at) = ends {
        data["expiration"] = Timestamp::from_system(at).to_string().into();
    }
    json!({"apiVersion": "v1", "kind": "Secret", "type": KIND, "metadata": {"name": format!("bootstrap-token-{}", token.id), "namespace": NAMESPACE}, "stringData": data})
}

fn line(secret: &Secret) -> TokenLine {
    let text = |key: &str| secret.data.as_ref().and_then(|d| d.get(key)).map(|v| String::from_utf8_lossy(&v.0).into_owned()).unwrap_or_default();
    TokenLine { id: text("token-id"), description: text("description"), expires: text("expiration") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_listed_without_its_secret() {
        let token = Token { fingerprint: String::new(), id: "abcdef".into(), secret: "0123456789abcdef".into() };
        let v = secret_of(&token, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)), "test");
        assert_eq!(v["stringData"]["expiration"], "1970-01-01T00:01:00Z");
        assert!(secret_of(&token, None, "").pointer("/stringData/expiration").is_none());
        let stored: Secret = skiff_json::from_value(json!({"data": {"token-id": "YWJjZGVm", "token-secret": "MDEyMw=="}})).unwrap();
        let listed = line(&stored);
        assert_eq!((listed.id.as_str(), listed.expires.as_str()), ("abcdef", ""));
    }
}
