//! Bootstrap tokens: `<id>.<secret>`, kept in secrets `kube-system/bootstrap-token-<id>`, for machines that join.
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use skiff_meta::{Status, Timestamp};
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use skiff_store::Store;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

const GROUP: &str = "system:bootstrappers";

pub struct BootstrapTokens {
    pub store: Arc<dyn Store>,
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Secret {
    r#type: String,
    data: Option<HashMap<String, String>>,
}

/// Six and sixteen of `[a-z0-9]`.
fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// `system:bootstrappers:` and a name of `[a-z0-9:-]` that ends with none of the signs.
fn is_group(group: &str) -> bool {
    let name = group.strip_prefix("system:bootstrappers:").unwrap_or_default().as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 256 && name.first().is_some_and(plain) && name.last().is_some_and(plain) && name.iter().all(|b| plain(b) || matches!(b, b':' | b'-'))
}

/// The user of a token, when the secret is in order. Pure.
fn check(secret: &Secret, id: &str, given: &str, now: i64) -> Option<User> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| data.get(key).and_then(|v| String::from_utf8(BASE64.decode(v).ok()?).ok()).unwrap_or_default();
    let kept = text("token-secret");
    let same = kept.len() == given.len() && kept.bytes().zip(given.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0;
    let expiration = text("expiration");
    let expired = !expiration.is_empty() && expiration.parse::<Timestamp>().map_or(true, |at| at.0 <= now);
    let groups = text("auth-extra-groups");
    let extra: Vec<&str> = groups.split(',').filter(|g| !g.is_empty()).collect();
    let ordered = secret.r#type == "bootstrap.kubernetes.io/token" && text("token-id") == id && text("usage-bootstrap-authentication") == "true";
    (same && !expired && ordered && extra.iter().all(|g| is_group(g)))
        .then(|| User::new(format!("system:bootstrap:{id}"), std::iter::once(GROUP).chain(extra.iter().copied())))
}

#[async_trait::async_trait]
impl Authenticator for BootstrapTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status> {
        let Some((id, given)) = credentials.bearer.as_deref().and_then(parse) else { return Ok(None) };
        let entry = self.store.get(&format!("secrets/kube-system/bootstrap-token-{id}")).filter(|e| !e.row.deleting);
        let secret = entry.and_then(|e| skiff_json::from_slice::<Secret>(&e.bytes).ok());
        Ok(secret.and_then(|s| check(&s, id, given, Timestamp::from_system((self.now)()).0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_token_counts_while_its_secret_is_in_order() {
        let good = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2026-01-02T03:04:05Z"),
            ("auth-extra-groups", "system:bootstrappers:nodes"),
        ];
        let before = "2026-01-02T03:04:00Z".parse::<Timestamp>().unwrap().0;
        let tried = |changed: (&str, &str), now: i64| {
            let data = good.iter().map(|(k, v)| (k.to_string(), BASE64.encode(if *k == changed.0 { changed.1 } else { v }))).collect();
            let secret = Secret { r#type: "bootstrap.kubernetes.io/token".into(), data: Some(data) };
            let (id, given) = parse("abcdef.0123456789abcdef").unwrap();
            check(&secret, id, given, now)
        };
        let user = tried(("", ""), before).unwrap();
        assert_eq!((user.name.as_str(), user.groups.len()), ("system:bootstrap:abcdef", 2));
        assert!(tried(("", ""), before + 60).is_none(), "expired");
        for (key, value) in [
            ("token-id", "abcdeg"),
            ("token-secret", "0123456789abcdeg"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "?"),
            ("auth-extra-groups", "system:masters"),
        ] {
            assert!(tried((key, value), before).is_none(), "{key}");
        }
        for bad in ["abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde"] {
            assert!(parse(bad).is_none());
        }
    }
}
