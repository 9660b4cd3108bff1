//! Informers against an API in memory.
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use skiff_client::{Client, DeleteOptions, PatchBody, Verb, fake::Fake};
use skiff_informer::{ChangeKind, Informers, Selection, Typed};
use skiff_json::json;
use skiff_meta::{LabelSelector, Reason, Status};
use std::sync::Arc;
use tokio::sync::mpsc;

async fn pod(client: &Client, name: &str, app: &str) {
    let p: Pod = skiff_json::from_value(json!({"metadata": {"name": name, "namespace": "n", "labels": {"app": app}, "ownerReferences": [
        {"apiVersion": "v1", "kind": "X", "name": "x", "uid": app, "controller": true}]}}))
    .unwrap();
    client.create(&p).await.unwrap();
}
fn told(pods: &Typed<Pod>) -> mpsc::UnboundedReceiver<(ChangeKind, String)> {
    let (tx, rx) = mpsc::unbounded_channel();
    pods.subscribe(move |c| tx.send((c.kind, c.key().to_owned())).unwrap_or_default());
    rx
}

#[tokio::test]
async fn rows_follow_the_server() {
    let api = Fake::new();
    let client = api.client();
    pod(&client, "a", "web").await;
    let informers = Informers::new(client.clone());
    let pods = informers.of::<Pod>();
    informers.synced().await;
    assert_eq!(pods.len(), 1);
    let mut rx = told(&pods);
    assert_eq!(rx.recv().await.unwrap(), (ChangeKind::Added, "n/a".into()));
    pod(&client, "b", "db").await;
    assert_eq!(rx.recv().await.unwrap(), (ChangeKind::Added, "n/b".into()));
    client.patch::<Pod>("n", "a", PatchBody::merge(&json!({"metadata": {"labels": {"app": "db"}}}))).await.unwrap();
    assert_eq!(rx.recv().await.unwrap(), (ChangeKind::Modified, "n/a".into()));
    assert_eq!(pods.list("n", &LabelSelector::parse("app=db").unwrap()).len(), 2);
    assert_eq!(pods.owned_by(&"db".into()).len(), 1);
    client.delete::<Pod>("n", "a", &DeleteOptions::default()).await.unwrap();
    assert_eq!(rx.recv().await.unwrap(), (ChangeKind::Deleted, "n/a".into()));
    assert!(pods.get("n", "a").is_none());
    assert!(pods.revision().0 > 0);
}

#[tokio::test]
async fn a_selection_is_entered_and_left() {
    let api = Fake::new();
    let client = api.client();
    let informers = Informers::new(client.clone());
    let pods: Typed<Pod> = informers.select(Selection::of(skiff_client::resource_of::<Pod>()).labels("app=web"));
    informers.synced().await;
    let mut rx = told(&pods);
    pod(&client, "a", "web").await;
    assert_eq!(rx.recv().await.unwrap().0, ChangeKind::Added);
    client.patch::<Pod>("n", "a", PatchBody::merge(&json!({"metadata": {"labels": {"app": "db"}}}))).await.unwrap();
    assert_eq!(rx.recv().await.unwrap().0, ChangeKind::Deleted);
}

/// A server that knows no initial events, and then one that has compacted.
#[tokio::test(start_paused = true)]
async fn falls_back_to_lists_and_lists_again_after_410() {
    let api = Fake::new();
    let client = api.client();
    pod(&client, "a", "web").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    api.on_call(move |call| {
        if matches!(call.verb, Verb::List | Verb::Watch) {
            let mut log = log.lock();
            log.push(call.verb);
            if call.query.flag("sendInitialEvents") {
                return Err(Status::new(Reason::Invalid, "sendInitialEvents is forbidden"));
            }
            if log.len() == 3 {
                return Err(Status::expired("too old resource version"));
            }
        }
        Ok(())
    });
    let pods = Informers::new(client.clone());
    let typed = pods.of::<Pod>();
    let mut rx = told(&typed);
    assert_eq!(rx.recv().await.unwrap().0, ChangeKind::Added);
    pod(&client, "b", "web").await;
    assert_eq!(rx.recv().await.unwrap(), (ChangeKind::Added, "n/b".into()));
    assert!(seen.lock().iter().filter(|v| **v == Verb::List).count() >= 1);
}
