//! Tokens of a small issuer: keys that change, claims that map, what is refused.
mod world;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use skiff_delegate::{AuthenticationConfig, Issuers, OidcFlags};
use skiff_json::{Value, json};
use skiff_request::User;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use world::Server;

const NOW: u64 = 1_700_000_000;

struct Issuer {
    server: Server,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Signer {
    kid: String,
    key: EcdsaKeyPair,
}

impl Signer {
    fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self { kid: kid.into(), key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap() }
    }
    fn jwk(&self) -> Value {
        let point = &self.key.public_key().as_ref()[1..];
        json!({"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.kid, "x": BASE64URL.encode(&point[..32]), "y": BASE64URL.encode(&point[32..])})
    }
    fn token(&self, claims: &Value) -> String {
        let part = |v: &Value| BASE64URL.encode(v.to_string());
        let text = format!("{}.{}", part(&json!({"alg": "ES256", "kid": self.kid})), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64URL.encode(signature.as_ref()))
    }
}

impl Issuer {
    async fn start() -> Self {
        let (keys, asked, url) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(String::new())));
        let (k, a, u) = (keys.clone(), asked.clone(), url.clone());
        let server = Server::start(Arc::new(move |path, _, _| {
            a.lock().push(path.to_owned());
            let url = u.lock().clone();
            match path {
                "/.well-known/openid-configuration" => (200, json!({"issuer": url, "jwks_uri": format!("{url}/keys")})),
                "/elsewhere" => (200, json!({"issuer": "https://other.example", "jwks_uri": format!("{url}/keys")})),
                "/keys" => (200, json!({"keys": k.lock().clone()})),
                _ => (404, json!({})),
            }
        }))
        .await;
        *url.lock() = server.url.clone();
        Self { server, keys, asked }
    }
    fn claims(&self) -> Value {
        json!({"iss": self.server.url, "sub": "jane", "aud": "kubernetes", "exp": NOW + 60, "iat": NOW, "groups": ["dev"], "jti": "1"})
    }
    /// Issuers by the file with this in place of the mappings.
    fn issuers(&self, rest: &str) -> Issuers {
        let ca = self.server.ca.replace('\n', "\\n");
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- {{issuer: {{url: '{}', audiences: [kubernetes, other], audienceMatchPolicy: MatchAny, certificateAuthority: \"{ca}\"}}, {rest}}}\n",
            self.server.url
        );
        let issuers = issuers(Duration::ZERO);
        issuers.configure(AuthenticationConfig::parse(&text, &[]).unwrap().jwt).unwrap();
        issuers
    }
}

fn issuers(patience: Duration) -> Issuers {
    Issuers::new(Arc::new(|| UNIX_EPOCH + Duration::from_secs(NOW)), patience)
}
fn with(mut claims: Value, key: &str, v: Value) -> Value {
    claims[key] = v;
    claims
}
async fn told(issuers: &Issuers, token: &str) -> String {
    issuers.recognise(token).await.expect_err("it is refused").to_string()
}

const SIMPLE: &str = "claimMappings: {username: {claim: sub, prefix: 'oidc:'}, groups: {claim: groups, prefix: 'g:'}}";

#[tokio::test]
async fn keys_are_found_kept_and_found_again_when_they_change() {
    let issuer = Issuer::start().await;
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    issuer.keys.lock().extend([json!({"kty": "OKP", "crv": "Ed25519"}), one.jwk()]);
    let issuers = issuer.issuers(SIMPLE);
    let user = issuers.recognise(&one.token(&issuer.claims())).await.unwrap().unwrap();
    let extra = [("authentication.kubernetes.io/credential-id".to_owned(), vec!["JTI=1".to_owned()])].into();
    assert_eq!(user, User { name: "oidc:jane".into(), groups: vec!["g:dev".into()], uid: String::new(), extra });
    issuers.recognise(&one.token(&issuer.claims())).await.unwrap().unwrap();
    assert_eq!(*issuer.asked.lock(), ["/.well-known/openid-configuration", "/keys"], "asked once");
    *issuer.keys.lock() = vec![two.jwk()];
    issuers.recognise(&two.token(&issuer.claims())).await.unwrap().unwrap();
    assert!(told(&issuers, &one.token(&issuer.claims())).await.contains("failed to verify signature"));
    let mut forged = two.token(&issuer.claims());
    forged.replace_range(forged.rfind('.').unwrap() + 1.., &BASE64URL.encode([1; 64]));
    assert!(told(&issuers, &forged).await.contains("failed to verify signature"));
    assert!(issuers.recognise("no.token.at-all").await.unwrap().is_none());
    assert!(issuers.recognise(&two.token(&with(issuer.claims(), "iss", json!("https://stranger")))).await.unwrap().is_none());
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let issuer = Issuer::start().await;
    let key = Signer::new("k");
    issuer.keys.lock().push(key.jwk());
    let plain = issuer.issuers(SIMPLE);
    for (claim, v, why) in [
        ("exp", json!(NOW - 1), "token is expired"),
        ("nbf", json!(NOW + 3600), "before the nbf"),
        ("aud", json!(["someone"]), "expected audience in"),
        ("sub", json!(3), "parse username claims"),
        ("groups", json!({"a": 1}), "parse groups claim"),
    ] {
        let got = told(&plain, &key.token(&with(issuer.claims(), claim, v))).await;
        assert!(got.contains(why), "{claim}: {got}");
    }
    let none = format!("{}.{}.", BASE64URL.encode(r#"{"alg":"none"}"#), BASE64URL.encode(issuer.claims().to_string()));
    assert!(told(&plain, &none).await.contains("unsupported algorithm"));
    let mail = issuer.issuers("claimMappings: {username: {claim: email, prefix: ''}}");
    let claims = with(with(issuer.claims(), "email", json!("a@b")), "email_verified", json!(false));
    assert!(told(&mail, &key.token(&claims)).await.contains("email not verified"));
    // Discovery of another issuer, and one that cannot be reached.
    let ca = issuer.server.ca.replace('\n', "\\n");
    for (place, why) in
        [(format!("{}/elsewhere", issuer.server.url), "issuer did not match"), ("https://127.0.0.1:1/x".to_owned(), "authenticator not initialized")]
    {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- {{issuer: {{url: '{}', discoveryURL: '{place}', audiences: [kubernetes], certificateAuthority: \"{ca}\"}}, {SIMPLE}}}\n",
            issuer.server.url
        );
        let other = issuers(Duration::from_secs(60));
        other.configure(AuthenticationConfig::parse(&text, &[]).unwrap().jwt).unwrap();
        let token = key.token(&issuer.claims());
        assert!(told(&other, &token).await.contains(why), "{place}");
        let before = issuer.asked.lock().len();
        assert!(told(&other, &token).await.contains(why), "remembered");
        assert_eq!(issuer.asked.lock().len(), before, "not asked again at once");
    }
}

#[tokio::test]
async fn claims_map_and_are_checked_by_expressions() {
    let issuer = Issuer::start().await;
    let key = Signer::new("k");
    issuer.keys.lock().push(key.jwk());
    let rules = "claimMappings: {username: {expression: '\"ext:\" + claims.sub'}, groups: {expression: 'claims.roles.split(\",\")'}, uid: {claim: id}, extra: [{key: 'example.com/tenant', valueExpression: claims.tenant}]}, \
        claimValidationRules: [{claim: hd, requiredValue: corp}, {expression: 'claims.exp - claims.iat <= 3600', message: too long}], \
        userValidationRules: [{expression: '!user.username.startsWith(\"system:\")', message: reserved}, {expression: 'user.groups.all(g, g != \"admin\")', message: no admins}]";
    let issuers = issuer.issuers(rules);
    let mut claims = issuer.claims();
    for (k, v) in [("roles", json!("a,b")), ("id", json!("7")), ("tenant", json!(["t1"])), ("hd", json!("corp"))] {
        claims[k] = v;
    }
    let user = issuers.recognise(&key.token(&claims)).await.unwrap().unwrap();
    assert_eq!(
        (user.name.as_str(), user.groups, user.uid.as_str(), &user.extra["example.com/tenant"]),
        ("ext:jane", vec!["a".to_owned(), "b".into()], "7", &vec!["t1".to_owned()])
    );
    for (claim, v, why) in [
        ("hd", json!("home"), "required claim hd value does not match. Got = home, want = corp"),
        ("iat", json!(NOW - 9000), "validation expression 'claims.exp - claims.iat <= 3600' failed: too long"),
        ("roles", json!("admin"), "failed: no admins"),
        ("tenant", json!(3), "must return a string or a list of strings"),
        ("sub", json!(3), "username claim expression"),
    ] {
        let got = told(&issuers, &key.token(&with(claims.clone(), claim, v))).await;
        assert!(got.contains(why), "{claim}: {got}");
    }
    // Another configuration takes hold at once.
    let flags = OidcFlags {
        issuer: issuer.server.url.clone(),
        client_id: "kubernetes".into(),
        ca: Some(issuer.server.ca.clone()),
        algorithms: vec!["ES256".into()],
        ..OidcFlags::default()
    };
    issuers.configure(vec![flags.authenticator(&[]).unwrap()]).unwrap();
    assert_eq!(issuers.recognise(&key.token(&claims)).await.unwrap().unwrap().name, format!("{}#jane", issuer.server.url));
    issuers.configure(Vec::new()).unwrap();
    assert!(issuers.recognise(&key.token(&claims)).await.unwrap().is_none());
}
