//! What single kinds do differently from others.
mod cluster;
use cluster::*;
use skiff_json::json;

const DEFINITIONS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn definitions_count_what_goes_and_are_marked_in_two_steps() {
    let c = Cluster::new();
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}, "subresources": {"status": {}}});
    let v = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.e.com", "finalizers": ["e.com/hold"]},
        "spec": {"group": "e.com", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"}, "versions": [version]}});
    let mut v = c.create(DEFINITIONS, v).await.unwrap();
    v["spec"]["versions"][0]["subresources"] = json!({});
    let v = c.update(DEFINITIONS, "", &v).await.unwrap();
    assert_eq!(v["metadata"]["generation"], 2, "an empty object said something");

    let marked = c.delete(DEFINITIONS, "as.e.com", json!({})).await.unwrap();
    assert!(marked["metadata"]["deletionTimestamp"].is_string() && marked["metadata"]["deletionGracePeriodSeconds"].is_null(), "{marked}");
    let again = c.delete(DEFINITIONS, "as.e.com", json!({})).await.unwrap();
    assert_eq!(again["metadata"]["deletionGracePeriodSeconds"], 0);
    let rv = again["metadata"]["resourceVersion"].clone();
    assert_eq!(c.delete(DEFINITIONS, "as.e.com", json!({})).await.unwrap()["metadata"]["resourceVersion"], rv);
}

#[tokio::test]
async fn metadata_of_definitions_is_told_again() {
    let c = Cluster::new();
    let v = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.e.com"}, "spec": {"group": "e.com", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"}, "versions": []}});
    let mut v = c.create(DEFINITIONS, v).await.unwrap();
    v["metadata"]["labels"] = json!({"a b": "c"});
    let refused = c.update(DEFINITIONS, "", &v).await.unwrap_err();
    assert_eq!(refused.details.unwrap().causes.len(), 3);
    assert_eq!(refused.message.matches("metadata.labels").count(), 1, "{}", refused.message);
}

#[tokio::test]
async fn names() {
    let c = Cluster::new();
    let address = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"generateName": "10.1.2.3"}, "spec": {"parentRef": {"resource": "a", "name": "b"}}});
    assert_eq!(c.create("networking.k8s.io/v1/ipaddresses", address).await.unwrap()["metadata"]["name"], "10.1.2.3");
    let class = |metadata| json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": metadata, "spec": {}});
    let refused = c.create("resource.k8s.io/v1/deviceclasses", class(json!({"name": "n".repeat(254), "generateName": "N"}))).await.unwrap_err();
    assert!(refused.message.ends_with("must be no more than 253 bytes") && !refused.message.contains("generateName"), "{}", refused.message);
}

#[tokio::test]
async fn requests_of_pods_certificates_are_not_selected_by_namespace() {
    let refused = Cluster::new().list("certificates.k8s.io/v1/podcertificaterequests", &[("fieldSelector", "metadata.namespace=a")]).await;
    assert_eq!(refused.err().map(|s| s.message), Some("field label not supported: metadata.namespace".to_owned()));
}

#[tokio::test]
async fn what_is_served_here_is_available_at_once() {
    let c = Cluster::new();
    let service = |name: &str, spec| json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec});
    let here = service("v1.e.com", json!({"group": "e.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}));
    let here = c.create("apiregistration.k8s.io/v1/apiservices", here).await.unwrap();
    let condition = &here["status"]["conditions"][0];
    assert!(
        condition["reason"] == "Local" && condition["lastTransitionTime"].is_string() && here["metadata"]["managedFields"].as_array().unwrap().len() == 1,
        "{here}"
    );
    let there = service(
        "v2.e.com",
        json!({"group": "e.com", "version": "v2", "groupPriorityMinimum": 1, "versionPriority": 1, "service": {"namespace": "a", "name": "b"}}),
    );
    assert_eq!(c.create("apiregistration.k8s.io/v1/apiservices", there).await.unwrap()["status"], json!({}));
}

#[tokio::test]
async fn names_of_jobs_and_device_classes_stand_where_their_rules_are() {
    let c = Cluster::new();
    let told = |refused: skiff_meta::Status| refused.details.unwrap().causes.into_iter().map(|c| c.field).collect::<Vec<_>>();
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "A_", "labels": {"a": "b"}}, "spec": {"completionMode": "Indexed", "completions": 2, "template": {"spec": pod}}});
    let fields = told(c.create("batch/v1/jobs", job).await.unwrap_err());
    assert_eq!(
        (fields.first().unwrap().as_str(), fields.last().unwrap().as_str(), fields.iter().any(|f| f == "spec.template.labels")),
        ("metadata.name", "metadata.name", true),
        "{fields:?}"
    );
    let class = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "A_"}, "spec": {"selectors": [{"cel": {"expression": "nothing"}}], "extendedResourceName": "a"}});
    let fields = told(c.create("resource.k8s.io/v1/deviceclasses", class).await.unwrap_err());
    assert_eq!(fields, ["spec.selectors[0].cel.expression", "metadata.name", "spec.extendedResourceName"]);
}
