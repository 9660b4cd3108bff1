//! Authentication end to end over a store in memory.
mod world;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use skiff_auth::token::{Issuer, Keys};
use skiff_auth::{Certificates, FrontProxy, Rbac, Union, impersonate};
use skiff_json::{Value, json};
use skiff_meta::Reason;
use skiff_policy::{Action, Authenticator, Credentials};
use skiff_request::User;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use world::World;

const ISSUER: &str = "https://kubernetes.default.svc";

fn issuer(world: &World, keys: Keys) -> Arc<Issuer> {
    Arc::new(Issuer::new(keys, ISSUER, vec![], world.store.clone(), world.clock(), Arc::new(|| "an-id".to_owned())))
}
fn keys() -> Keys {
    Keys::new(&Keys::generate().unwrap(), &[]).unwrap()
}
fn bearer(token: &str) -> Credentials {
    Credentials { bearer: Some(token.into()), ..Credentials::default() }
}
fn token(issued: &Value) -> String {
    issued["status"]["token"].as_str().unwrap().to_owned()
}
fn claims(token: &str) -> Value {
    skiff_json::from_slice(&BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
async fn cluster() -> World {
    let world = World::new();
    world.put("serviceaccounts", "default", "app", json!({})).await;
    world.put("nodes", "", "n1", json!({})).await;
    world.put("pods", "default", "web", json!({"spec": {"serviceAccountName": "app", "nodeName": "n1"}})).await;
    world.put("pods", "default", "other", json!({"spec": {"serviceAccountName": "default"}})).await;
    world.put("secrets", "default", "bound", json!({})).await;
    world
}
fn request(spec: Value) -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
}

#[tokio::test]
async fn a_token_has_upstreams_layout_and_tells_who_holds_it() {
    let world = cluster().await;
    let issuer = issuer(&world, keys());
    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web"}});
    let issued = issuer.issue("default", "app", request(spec)).unwrap().request;
    assert_eq!(issued["status"]["expirationTimestamp"], "2026-01-01T01:00:07Z");
    let now = world.now.load(Ordering::Relaxed) as i64;
    let expected = json!({
        "aud": [ISSUER], "exp": now + 31_536_000, "iat": now, "iss": ISSUER, "jti": "an-id",
        "kubernetes.io": {
            "namespace": "default", "node": {"name": "n1", "uid": "uid-n1"}, "pod": {"name": "web", "uid": "uid-web"},
            "serviceaccount": {"name": "app", "uid": "uid-app"}, "warnafter": now + 3607
        },
        "nbf": now, "sub": "system:serviceaccount:default:app"
    });
    assert_eq!(claims(&token(&issued)), expected);
    let user = Union(vec![issuer.clone()]).authenticate(&bearer(&token(&issued))).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:default:app", "uid-app"));
    assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["web"]);
    assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=an-id"]);
    let (reviewed, audiences) = issuer.review(&token(&issued), &[ISSUER.into(), "other".into()]).unwrap();
    assert_eq!((reviewed, audiences), (user, vec![ISSUER.to_owned()]));
    assert!(issuer.review(&token(&issued), &["other".into()]).is_err());
    let jwks = issuer.jwks();
    assert_eq!(jwks["keys"][0]["alg"], "ES256");
    assert_eq!(issuer.discovery("https://x/openid/v1/jwks")["issuer"], ISSUER);
}

#[tokio::test]
async fn requests_out_of_bounds_are_refused_in_upstreams_words() {
    let world = cluster().await;
    let issuer = issuer(&world, keys());
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
    for (spec, reason, text) in [
        (json!({"expirationSeconds": 599}), Reason::Invalid, "may not specify a duration less than 10 minutes"),
        (json!({"expirationSeconds": 1_i64 << 33}), Reason::Invalid, "larger than 2^32 seconds"),
        (bound("Pod", "none", ""), Reason::NotFound, "pods \"none\" not found"),
        (bound("Pod", "other", ""), Reason::BadRequest, "different serviceaccount name"),
        (bound("Pod", "web", "old"), Reason::Conflict, "does not match the UID in record"),
        (bound("ConfigMap", "x", ""), Reason::BadRequest, "cannot bind token to object of type v1, Kind=ConfigMap"),
    ] {
        let status = issuer.issue("default", "app", request(spec.clone())).unwrap_err();
        assert!(status.is(reason) && status.message.contains(text), "{spec}: {status:?}");
    }
    assert!(issuer.issue("default", "nobody", request(json!({}))).unwrap_err().is(Reason::NotFound));
    let mut named = request(json!({}));
    named["metadata"] = json!({"name": "another"});
    assert!(issuer.issue("default", "app", named).unwrap_err().is(Reason::Invalid));
    let plain = issuer.issue("default", "app", request(json!({"audiences": ["vault"]}))).unwrap().request;
    assert_eq!(plain["spec"]["expirationSeconds"], 3600);
    assert!(issuer.authenticate(&bearer(&token(&plain))).await.is_err(), "a token for somebody else does not open the API");
    assert!(issuer.review(&token(&plain), &["vault".into()]).is_ok());
}

#[tokio::test]
async fn forged_expired_and_orphaned_tokens_are_unauthorized() {
    let world = cluster().await;
    let private = Keys::generate().unwrap();
    let first = Keys::new(&private, &[]).unwrap();
    let public = first.public_pem();
    let issuer_of = |keys| issuer(&world, keys);
    let ours = issuer_of(first);
    let union = Union(vec![ours.clone()]);
    let refused = async |token: &str| union.authenticate(&bearer(token)).await.is_err_and(|s| s.is(Reason::Unauthorized) && s.message == "Unauthorized");
    let bind = |kind: &str, name: &str| request(json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}}));
    let good = token(&ours.issue("default", "app", bind("Pod", "web")).unwrap().request);
    assert!(!refused(&good).await);
    // Forged: another key, other claims, no signature, no algorithm.
    let theirs = token(&issuer_of(keys()).issue("default", "app", request(json!({}))).unwrap().request);
    assert!(refused(&theirs).await);
    let parts: Vec<&str> = good.split('.').collect();
    let mut changed = claims(&good);
    changed["sub"] = "system:serviceaccount:kube-system:admin".into();
    let changed = BASE64URL.encode(changed.to_string());
    let none = BASE64URL.encode(r#"{"alg":"none"}"#);
    for bad in [
        format!("{}.{changed}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        "a.b.c".into(),
        "nonsense".into(),
        "x".repeat(100_000),
    ] {
        assert!(refused(&bad).await, "{bad}");
    }
    // Rotated: the old key is still trusted, and named by its id.
    let rotated = issuer_of(Keys::new(&Keys::generate().unwrap(), &[&public]).unwrap());
    assert!(rotated.review(&good, &[]).is_ok());
    assert_eq!(rotated.jwks()["keys"].as_array().unwrap().len(), 2);
    // Orphaned.
    let by_secret = token(&ours.issue("default", "app", bind("Secret", "bound")).unwrap().request);
    let by_node = token(&ours.issue("default", "app", bind("Node", "n1")).unwrap().request);
    world.delete("nodes", "", "n1").await;
    assert!(refused(&by_node).await && !refused(&good).await, "a pod's token does not hang on its node");
    world.delete("secrets", "default", "bound").await;
    assert!(refused(&by_secret).await);
    world.put("pods", "default", "web", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})).await;
    assert!(!refused(&good).await, "within the leeway");
    world.now.fetch_add(120, Ordering::Relaxed);
    assert!(refused(&good).await, "a pod that lingers");
    world.put("pods", "default", "web", json!({"metadata": {"uid": "another"}})).await;
    assert!(refused(&good).await, "a pod of the same name");
    let plain = token(&ours.issue("default", "app", request(json!({"expirationSeconds": 600}))).unwrap().request);
    assert!(!refused(&plain).await);
    world.now.fetch_add(600 + 61, Ordering::Relaxed);
    assert!(refused(&plain).await, "expired");
    let plain = token(&ours.issue("default", "app", request(json!({}))).unwrap().request);
    world.put("serviceaccounts", "default", "app", json!({"metadata": {"uid": "another"}})).await;
    assert!(refused(&plain).await, "an account of the same name");
    world.delete("serviceaccounts", "default", "app").await;
    assert!(refused(&plain).await, "a deleted account");
}

#[tokio::test]
async fn a_token_of_a_secret_counts_while_the_secret_holds_it() {
    let world = cluster().await;
    let issuer = issuer(&world, keys());
    let made = issuer.for_secret("default", "app", "uid-app", "kept").unwrap();
    let holds =
        |token: &str| json!({"type": "kubernetes.io/service-account-token", "data": {"token": base64::engine::general_purpose::STANDARD.encode(token)}});
    assert!(issuer.authenticate(&bearer(&made)).await.is_err(), "no secret yet");
    world.put("secrets", "default", "kept", holds(&made)).await;
    let user = issuer.authenticate(&bearer(&made)).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:default:app", "uid-app"));
    world.put("secrets", "default", "kept", holds("another")).await;
    assert!(issuer.authenticate(&bearer(&made)).await.is_err());
    world.put("secrets", "default", "kept", holds(&made)).await;
    world.delete("serviceaccounts", "default", "app").await;
    assert!(issuer.authenticate(&bearer(&made)).await.is_err());
}

#[tokio::test]
async fn certificates_and_proxies() {
    let union = Union(vec![Arc::new(FrontProxy { allowed: vec!["front-proxy-client".into()] }), Arc::new(Certificates)]);
    let headers = |list: &[(&str, &str)]| list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>();
    let named = Credentials { certificate: Some(("jane".into(), vec!["dev".into()])), ..Credentials::default() };
    let user = union.authenticate(&named).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.groups), ("jane", vec!["dev".to_owned(), "system:authenticated".into()]));
    let remote = [("x-remote-user", "joe"), ("x-remote-group", "a"), ("x-remote-group", "b"), ("x-remote-extra-Scopes%2Fx", "v")];
    let spoofed = Credentials { headers: headers(&remote), ..named.clone() };
    assert_eq!(union.authenticate(&spoofed).await.unwrap().unwrap().name, "jane", "headers alone mean nothing");
    let with = |proxy| Credentials { headers: headers(&[&[(FrontProxy::VERIFIED, proxy)], &remote[..]].concat()), ..Credentials::default() };
    let user = union.authenticate(&with("front-proxy-client")).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), &user.groups[..2], &user.extra["scopes/x"]), ("joe", &["a".to_owned(), "b".into()][..], &vec!["v".to_owned()]));
    assert!(union.authenticate(&with("other")).await.unwrap().is_none());
    assert!(union.authenticate(&Credentials::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn acting_as_another_needs_each_part_allowed() {
    let world = World::new();
    world
        .rbac(
            "clusterroles",
            "",
            "act",
            json!({"rules": [
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["jane"]},
        {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"], "resourceNames": ["dev"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes"], "verbs": ["impersonate"], "resourceNames": ["view"]}]}),
        )
        .await;
    world.bind("clusterrolebindings", "", "act", "ClusterRole", "act", json!([{"kind": "User", "name": "boss"}])).await;
    let rbac = Rbac::new(world.store.clone());
    let act = async |list: &[(&str, &str)]| {
        let headers: Vec<_> = list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let action = Action::Path { verb: "get".into(), path: "/version".into() };
        impersonate(User::new("boss", ["x"]), &headers, &action, &rbac).await
    };
    assert_eq!(act(&[]).await.unwrap().name, "boss");
    let jane = act(&[("impersonate-user", "jane"), ("impersonate-group", "dev"), ("impersonate-extra-scopes", "view")]).await.unwrap();
    assert_eq!(
        (jane.name.as_str(), jane.groups, &jane.extra["scopes"]),
        ("jane", vec!["dev".to_owned(), "system:authenticated".into()], &vec!["view".to_owned()])
    );
    let account = act(&[("impersonate-user", "system:serviceaccount:ns:app")]).await.unwrap();
    assert_eq!(account.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
    let refused = act(&[("impersonate-user", "joe")]).await.unwrap_err();
    assert_eq!(refused.message, r#"forbidden: User "boss" cannot impersonate-on:user-info:get path "/version""#);
    for list in [
        &[("impersonate-user", "jane"), ("impersonate-group", "system:masters")][..],
        &[("impersonate-user", "jane"), ("impersonate-extra-scopes", "admin")],
        &[("impersonate-user", "jane"), ("impersonate-uid", "1")],
    ] {
        assert!(act(list).await.unwrap_err().is(Reason::Forbidden), "{list:?}");
    }
    assert!(act(&[("impersonate-group", "dev")]).await.unwrap_err().is(Reason::BadRequest));
}
