//! Whose a new object's fields are, as a kube-apiserver records them.
mod cluster;
use cluster::*;
use skiff_json::{Value, json};

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
