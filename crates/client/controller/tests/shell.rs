//! Recorder, leases, status changes and expectations against an API in memory.
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Event, Pod},
};
use skiff_client::{Client, DeleteOptions, ListParams, PatchBody, fake::Fake};
use skiff_controller::{EventType, Expectations, HeldClock, Recorder, Regarding, change_status, lease::Heartbeat};
use skiff_informer::Informers;
use skiff_json::json;
use skiff_meta::{Reason, Status};
use std::sync::Arc;

async fn pod(client: &Client, name: &str) -> Pod {
    let p: Pod = skiff_json::from_value(json!({"metadata": {"name": name, "namespace": "n"}})).unwrap();
    client.create(&p).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn events_are_written_and_counted() {
    let api = Fake::new();
    let client = api.client();
    let p = pod(&client, "a").await;
    let recorder = Recorder::new(client.clone(), "tester", "", Arc::new(HeldClock::at(5)));
    for _ in 0..3 {
        recorder.normal(&Regarding::of(&p), "Made", "made it");
    }
    let events = loop {
        let events: Vec<Event> = client.list("n", &ListParams::default()).await.unwrap();
        if events.first().is_some_and(|e| e.count == Some(3)) {
            break events;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].involved_object.uid, p.metadata.uid);
    assert_eq!(events[0].source.as_ref().unwrap().component.as_deref(), Some("tester"));
}

#[tokio::test(start_paused = true)]
async fn deeds_are_events_of_their_own_group() {
    let api = Fake::new();
    let client = api.client();
    let p = pod(&client, "a").await;
    let recorder = Recorder::new(client.clone(), "tester", "host", Arc::new(HeldClock::at(5)));
    for _ in 0..3 {
        recorder.deed(&Regarding::of(&p), None, EventType::Normal, "Made", "Making", "made it");
    }
    let event = loop {
        let events: Vec<k8s_openapi::api::events::v1::Event> = client.list("n", &ListParams::default()).await.unwrap();
        if let Some(e) = events.into_iter().find(|e| e.series.is_some()) {
            break e;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((event.series.unwrap().count, event.reporting_instance.as_deref(), event.action.as_deref()), (2, Some("tester-host"), Some("Making")));
    assert_eq!((event.deprecated_source, event.regarding.unwrap().uid), (None, p.metadata.uid));
}

#[tokio::test]
async fn a_lease_is_made_and_renewed() {
    let client = Fake::new().client();
    let clock = Arc::new(HeldClock::at(100));
    let beat = Heartbeat {
        client: client.clone(),
        clock: clock.clone(),
        namespace: "kube-node-lease".into(),
        name: "n1".into(),
        holder: "n1".into(),
        duration_seconds: 40,
        owner: None,
    };
    beat.beat().await.unwrap();
    clock.set(110);
    beat.beat().await.unwrap();
    let lease: Lease = client.get("kube-node-lease", "n1").await.unwrap();
    let spec = lease.spec.unwrap();
    assert_eq!(spec.renew_time.as_ref().unwrap().0.as_second(), 110);
    assert_eq!(spec.acquire_time, None, "who only lives acquires nothing");
}

#[tokio::test]
async fn a_status_is_written_again_after_a_conflict() {
    let api = Fake::new();
    let client = api.client();
    pod(&client, "a").await;
    let mut left = 2;
    api.on_call(move |c| match c.verb {
        skiff_client::Verb::Update if left > 0 => {
            left -= 1;
            Err(Status::new(Reason::Conflict, "again"))
        }
        _ => Ok(()),
    });
    let done = change_status::<Pod>(&client, "n", "a", |p| {
        p.status.get_or_insert_default().phase = Some("Running".into());
        true
    });
    assert_eq!(done.await.unwrap().unwrap().status.unwrap().phase.as_deref(), Some("Running"));
    assert!(change_status::<Pod>(&client, "n", "none", |_| true).await.unwrap().is_none());
}

#[tokio::test]
async fn expectations_hold_until_the_informer_shows_the_writes() {
    let api = Fake::new();
    let client = api.client();
    let informers = Informers::new(client.clone());
    let pods = informers.of::<Pod>();
    informers.synced().await;
    let expect = Expectations::new();
    let made = pod(&client, "a").await;
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    pods.subscribe(move |_| tx.send(()).unwrap_or_default());
    expect.wrote("rs", &made.metadata.resource_version.clone().unwrap());
    if pods.is_empty() {
        assert!(!expect.met("rs", &pods));
    }
    rx.recv().await.unwrap();
    assert!(expect.met("rs", &pods));
    expect.deleted("rs", "n/a", &made.metadata.uid.as_deref().unwrap().into());
    assert!(!expect.met("rs", &pods));
    client.patch::<Pod>("n", "a", PatchBody::merge(&json!({"metadata": {"labels": {"x": "y"}}}))).await.unwrap();
    rx.recv().await.unwrap();
    assert!(!expect.met("rs", &pods));
    client.delete::<Pod>("n", "a", &DeleteOptions::default()).await.unwrap();
    rx.recv().await.unwrap();
    assert!(expect.met("rs", &pods));
}
