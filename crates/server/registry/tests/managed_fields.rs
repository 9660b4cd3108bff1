//! Whose a new object's fields are, as a kube-apiserver records them.
mod cluster;
use cluster::*;
use skiff_json::{Value, json};
use skiff_request::{Call, Verb};

async fn fields(plural: &str, v: Value) -> String {
    let made = Cluster::new().create(plural, v).await.unwrap();
    made["metadata"]["managedFields"][0]["fieldsV1"].to_string()
}

#[tokio::test]
async fn maps_and_lists_that_come_are_fields_themselves() {
    let rc = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "rc", "labels": {"a": "b"}}, "spec": {"replicas": 0, "selector": {"a": "b"},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}]}}}});
    assert_eq!(
        fields("replicationcontrollers", rc).await,
        r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{".":{},"f:metadata":{".":{},"f:labels":{".":{},"f:a":{}}},"f:spec":{".":{},"f:containers":{".":{},"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}}"#
    );
}

#[tokio::test]
async fn a_secret_has_its_data_however_it_was_written() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}});
    assert_eq!(fields("secrets", secret).await, r#"{"f:data":{".":{},"f:k":{}},"f:type":{}}"#);
}

/// Structs that Go always writes are there before the creation.
#[tokio::test]
async fn embedded_structs_do_not_come() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    assert_eq!(
        fields("services", service).await,
        r#"{"f:spec":{"f:internalTrafficPolicy":{},"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}},"f:selector":{},"f:sessionAffinity":{},"f:type":{}}}"#
    );
}

/// What `who` owns after the status was written by `first` and then, with `change`, by another.
async fn owned_after(r: &str, first: Value, change: impl Fn(&mut Value)) -> (Value, Value) {
    let c = Cluster::new();
    let mut bare = first.clone();
    bare.as_object_mut().unwrap().remove("status");
    let mut v = c.create(r, bare).await.unwrap();
    let status = |v: &Value, manager: &str| {
        let name = v["metadata"]["name"].as_str().unwrap().to_owned();
        Call::new(Verb::Update, target(r, &name, "status")).body(v.to_string()).query("fieldManager", manager)
    };
    v["status"] = first["status"].clone();
    let mut v = c.object(status(&v, "first")).await.unwrap();
    change(&mut v["status"]);
    let v = c.object(status(&v, "second")).await.unwrap();
    let of = |manager: &str| {
        v["metadata"]["managedFields"].as_array().unwrap().iter().find(|m| m["manager"] == manager).map_or(Value::Null, |m| m["fieldsV1"]["f:status"].clone())
    };
    (of("first"), of("second"))
}

/// Items of atomic lists are compared as Go compares them, to which an empty list is not none.
#[tokio::test]
async fn what_is_empty_in_an_atomic_list_makes_it_anothers() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "c", "image": "i", "imageID": "x", "ready": true, "restartCount": 0}]}});
    for empty in [("volumeMounts", json!([])), ("allocatedResources", json!({}))] {
        let (first, second) = owned_after("pods", pod.clone(), |s| s["containerStatuses"][0][empty.0] = empty.1.clone()).await;
        assert_eq!((first, second), (json!({"f:phase": {}}), json!({"f:containerStatuses": {}})), "{empty:?}");
    }
    // Elsewhere it is none.
    let (_, second) = owned_after("pods", pod, |s| s["conditions"] = json!([])).await;
    assert_eq!(second, Value::Null);
}
