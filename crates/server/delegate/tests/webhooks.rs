//! Webhooks of authorisation and of tokens: what they are asked, what their answers mean, when they are not asked.
mod world;

use parking_lot::Mutex;
use skiff_delegate::{AccessWebhook, AuthorizationConfig, AuthorizerEntry, Connection, TokenWebhook};
use skiff_json::{Value, json};
use skiff_meta::GroupVersionResource;
use skiff_policy::{Action, Authenticator, Authorizer, Credentials, Decision};
use skiff_request::{Target, User};
use std::sync::Arc;
use std::time::Duration;
use world::Server;

type Seen = Arc<Mutex<Vec<Value>>>;

/// Answers with `status` by what the question's user is, and keeps the questions.
async fn server(status: fn(&Value) -> (u16, Value)) -> (Server, Seen) {
    let seen: Seen = Arc::default();
    let kept = seen.clone();
    let server = Server::start(Arc::new(move |_, headers, body| {
        assert_eq!(headers["authorization"], "Bearer shown");
        kept.lock().push(body.clone());
        let (code, status) = status(body);
        let mut answer = body.clone();
        answer["status"] = status;
        (code, answer)
    }))
    .await;
    (server, seen)
}

fn webhook(server: &Server, dir: &std::path::Path, settings: &str) -> AccessWebhook {
    let path = server.kubeconfig(dir);
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- type: Webhook\n  name: hook\n  webhook: {{timeout: 3s, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1, connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}, {settings}}}\n",
        path.display()
    );
    match AuthorizationConfig::parse(&text).unwrap().authorizers.pop() {
        Some(AuthorizerEntry::Webhook(settings)) => AccessWebhook::new(*settings).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn list(fields: &str, labels: &str) -> Action {
    Action::of("list", Target::new(GroupVersionResource::new("apps", "v1", "deployments"), "ns", ""), Some(labels), Some(fields))
}

#[tokio::test]
async fn access_is_asked_and_answers_are_remembered() {
    let (server, seen) = server(|q| match q["spec"]["user"].as_str() {
        Some("jane") => (200, json!({"allowed": true, "reason": "she may"})),
        Some("joe") => (200, json!({"allowed": false, "denied": true, "reason": "he may not"})),
        Some("both") => (200, json!({"allowed": true, "denied": true})),
        Some("broken") => (400, json!({})),
        _ => (200, json!({"allowed": false})),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let hook = webhook(&server, dir.path(), "failurePolicy: Deny");
    let mut jane = User::new("jane", ["dev"]);
    jane.uid = "7".into();
    jane.extra.insert("k".into(), vec!["v".into()]);
    let verdict = hook.verdict(&jane, &list("a=b,c!=d", "x in (y,z),!w")).await;
    assert_eq!((verdict.decision, verdict.reason.as_str()), (Decision::Allow, "she may"));
    let asked = seen.lock()[0].clone();
    assert_eq!(
        asked["spec"],
        json!({"resourceAttributes": {"namespace": "ns", "verb": "list", "group": "apps", "version": "v1", "resource": "deployments",
            "fieldSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "NotIn", "values": ["d"]}]},
            "labelSelector": {"requirements": [{"key": "w", "operator": "DoesNotExist"}, {"key": "x", "operator": "In", "values": ["y", "z"]}]}},
            "user": "jane", "groups": ["dev"], "extra": {"k": ["v"]}, "uid": "7"})
    );
    assert_eq!(asked["apiVersion"], "authorization.k8s.io/v1");
    for _ in 0..3 {
        assert_eq!(hook.authorize(&jane, &list("a=b,c!=d", "x in (y,z),!w")).await, Decision::Allow);
    }
    assert_eq!(seen.lock().len(), 1, "the answer is remembered");
    let ask = async |name: &str| hook.verdict(&User::new(name, [""; 0]), &Action::Path { verb: "get".into(), path: "/x".into() }).await;
    assert_eq!(ask("joe").await.decision, Decision::Deny("he may not".into()));
    assert_eq!(ask("else").await.decision, Decision::NoOpinion(String::new()));
    assert!(ask("both").await.error.contains("both allow and deny"));
    let broken = ask("broken").await;
    assert!(matches!(broken.decision, Decision::Deny(_)) && broken.error.contains("400"), "{broken:?}");
    let open = webhook(&server, dir.path(), "failurePolicy: NoOpinion");
    assert!(matches!(open.authorize(&User::new("broken", [""; 0]), &list("", "")).await, Decision::NoOpinion(_)));
    assert!(hook.untold(&jane).is_some());
}

#[tokio::test]
async fn conditions_say_when_it_is_asked() {
    let (server, seen) = server(|_| (200, json!({"allowed": true}))).await;
    let dir = tempfile::tempdir().unwrap();
    let conditions = "matchConditions: [{expression: 'has(request.resourceAttributes)'}, {expression: 'request.resourceAttributes.namespace == \"ns\"'}, {expression: '!(\"system:nodes\" in request.groups)'}]";
    let hook = webhook(&server, dir.path(), &format!("failurePolicy: Deny, authorizedTTL: 1m, cacheAuthorizedRequests: false, {conditions}"));
    let jane = User::new("jane", ["dev"]);
    assert_eq!(hook.authorize(&jane, &list("", "")).await, Decision::Allow);
    assert_eq!(hook.authorize(&jane, &list("", "")).await, Decision::Allow);
    assert_eq!(seen.lock().len(), 2, "nothing is remembered");
    for (user, action) in [
        (&jane, Action::Path { verb: "get".into(), path: "/".into() }),
        (&jane, Action::resource("list", Target::new(GroupVersionResource::new("", "v1", "pods"), "other", ""))),
        (&User::new("system:node:n", ["system:nodes"]), list("", "")),
    ] {
        assert_eq!(hook.authorize(user, &action).await, Decision::NoOpinion(String::new()));
    }
    assert_eq!(seen.lock().len(), 2);
    let wrong = webhook(&server, dir.path(), "failurePolicy: Deny, matchConditions: [{expression: 'request.resourceAttributes.nothing == \"x\"'}]");
    let verdict = wrong.verdict(&jane, &list("", "")).await;
    assert!(matches!(verdict.decision, Decision::Deny(_)) && verdict.error.contains("resulted in error"), "{verdict:?}");
}

#[tokio::test]
async fn tokens_are_asked_for() {
    let (server, seen) = server(|q| match q["spec"]["token"].as_str() {
        Some("good") => (200, json!({"authenticated": true, "user": {"username": "jane", "uid": "7", "groups": ["dev"], "extra": {"k": ["v"]}}})),
        Some("elsewhere") => (200, json!({"authenticated": true, "audiences": ["other"], "user": {"username": "jane"}})),
        Some("bad") => (200, json!({"authenticated": false, "error": "revoked"})),
        Some("down") => (403, json!({})),
        _ => (200, json!({"authenticated": false})),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let hook = TokenWebhook::new(Connection::of_kubeconfig(&server.kubeconfig(dir.path())).unwrap(), "v1", vec!["me".into()], Duration::from_secs(60));
    let ask = async |token: &str| hook.authenticate(&Credentials { bearer: Some(token.into()), ..Credentials::default() }).await;
    for _ in 0..2 {
        let user = ask("good").await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str(), &user.groups[..], user.extra.len()), ("jane", "7", &["dev".to_owned()][..], 1));
    }
    assert_eq!(seen.lock().len(), 1);
    assert_eq!(seen.lock()[0]["spec"], json!({"token": "good", "audiences": ["me"]}));
    assert!(ask("elsewhere").await.unwrap().is_none() && ask("unknown").await.unwrap().is_none());
    assert!(ask("bad").await.is_err() && ask("down").await.is_err());
    assert!(hook.authenticate(&Credentials::default()).await.unwrap().is_none());
}
