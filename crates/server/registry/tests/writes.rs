//! The write path, from a call to what is stored.
mod cluster;
use cluster::*;
use skiff_json::{Value, json};
use skiff_request::{Call, Verb};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";

#[tokio::test]
async fn a_created_object_has_what_the_server_decides() {
    let c = Cluster::new();
    let v = c.create("pods", pod("p")).await.unwrap();
    assert_eq!(v["metadata"]["namespace"], "a");
    assert_eq!((&v["status"]["phase"], &v["status"]["qosClass"]), (&json!("Pending"), &json!("BestEffort")));
    assert_eq!((&v["spec"]["restartPolicy"], &v["metadata"]["generation"]), (&json!("Always"), &json!(1)));
    assert!(v["metadata"]["uid"].as_str().unwrap().len() == 36 && v["metadata"]["creationTimestamp"].is_string());
    assert_eq!(c.get("pods", "p").await.unwrap(), v);
}

#[tokio::test]
async fn creations_are_refused_in_upstreams_words() {
    let c = Cluster::new();
    c.create("configmaps", config_map("taken", json!({}))).await.unwrap();
    let other_namespace = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "b"}});
    for (v, code, text) in [
        (config_map("taken", json!({})), 409, "configmaps \"taken\" already exists"),
        (config_map("Bad_", json!({})), 422, "ConfigMap \"Bad_\" is invalid: metadata.name: Invalid value: \"Bad_\": a lowercase RFC 1123 subdomain"),
        (config_map("x", json!({"k": "-"})), 422, "metadata.labels: Invalid value: \"-\""),
        (other_namespace, 400, "the namespace of the provided object does not match the namespace sent on the request"),
        (json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}), 422, "name or generateName is required"),
        (pod("x"), 400, "Pod in version \"v1\" cannot be handled as a ConfigMap"),
    ] {
        let s = c.create("configmaps", v.clone()).await.unwrap_err();
        assert!(s.code == code && s.message.contains(text), "{v}: {} {}", s.code, s.message);
    }
    let service = |name: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let s = c.create("services", service("Bad")).await.unwrap_err();
    assert!(s.message.contains("metadata.name: Invalid value: \"Bad\": a lowercase RFC 1123 label must"), "{}", s.message);
    c.create("services", service("1-begins-with-a-digit")).await.unwrap();
    let s = c.call_as("nobody", Call::new(Verb::List, target("pods", "", ""))).await.err().unwrap();
    assert_eq!(s.message, "pods is forbidden: User \"nobody\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\"");
}

#[tokio::test]
async fn generated_names_get_out_of_each_others_way() {
    let c = Cluster::new();
    let v = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}});
    let (a, b) = (c.create("configmaps", v.clone()).await.unwrap(), c.create("configmaps", v).await.unwrap());
    let name = |v: &Value| v["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&a).starts_with("x-") && name(&a).len() == 7 && name(&a) != name(&b));
}

#[tokio::test]
async fn unknown_fields_are_refused_or_told() {
    let c = Cluster::new();
    let mut v = config_map("x", json!({}));
    v["foo"] = 1.into();
    let strict = Call::new(Verb::Create, target("configmaps", "", "")).body(v.to_string()).query("fieldValidation", "Strict");
    let s = c.call(strict).await.err().unwrap();
    assert_eq!(s.message, "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\"");
    let warn = Call::new(Verb::Create, target("configmaps", "", "")).body(v.to_string());
    let Ok(skiff_request::Answer::Object { warnings, code: 201, .. }) = c.call(warn).await else { panic!() };
    assert_eq!(warnings, ["unknown field \"foo\""]);
    assert!(c.get("configmaps", "x").await.unwrap().get("foo").is_none());
}

#[tokio::test]
async fn updates_compare_and_swap() {
    let c = Cluster::new();
    let first = c.create("configmaps", config_map("x", json!({}))).await.unwrap();
    let same = c.update("configmaps", "", &first).await.unwrap();
    assert_eq!(same["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"], "no change, no revision");
    let mut second = first.clone();
    second["data"]["k"] = "w".into();
    let second = c.update("configmaps", "", &second).await.unwrap();
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let s = c.update("configmaps", "", &first).await.unwrap_err();
    assert_eq!(
        (s.code, s.message.as_str()),
        (409, "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your changes to the latest version and try again")
    );
    let mut other = second.clone();
    other["metadata"]["uid"] = "other".into();
    assert_eq!(c.update("configmaps", "", &other).await.unwrap_err().code, 409);
    let missing = config_map("nope", json!({}));
    assert_eq!(c.update("configmaps", "", &missing).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let c = Cluster::new();
    let mut v = c.create("apps/v1/deployments", deployment("d")).await.unwrap();
    v["spec"]["replicas"] = 7.into();
    v["status"]["replicas"] = 3.into();
    let v = c.update("apps/v1/deployments", "status", &v).await.unwrap();
    assert_eq!((&v["spec"]["replicas"], &v["status"]["replicas"], &v["metadata"]["generation"]), (&json!(2), &json!(3), &json!(1)));
    let mut v = v.clone();
    v["spec"]["replicas"] = 7.into();
    v["status"]["replicas"] = 9.into();
    let v = c.update("apps/v1/deployments", "", &v).await.unwrap();
    assert_eq!((&v["spec"]["replicas"], &v["status"]["replicas"], &v["metadata"]["generation"]), (&json!(7), &json!(3), &json!(2)));
}

#[tokio::test]
async fn patches_of_three_kinds() {
    let c = Cluster::new();
    c.create("apps/v1/deployments", deployment("d")).await.unwrap();
    let image = |v: &Value| v["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    let by_name = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}});
    let v = c.patch("apps/v1/deployments", "d", STRATEGIC, by_name).await.unwrap();
    assert_eq!(image(&v), "j");
    assert_eq!(v["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"], 80, "the rest of the container stays");
    let v = c.patch("apps/v1/deployments", "d", MERGE, json!({"metadata": {"labels": {"l": "1"}}})).await.unwrap();
    assert_eq!(v["metadata"]["labels"]["l"], "1");
    let ops = json!([{"op": "test", "path": "/metadata/finalizers", "value": null}, {"op": "replace", "path": "/spec/replicas", "value": 5}]);
    let v = c.patch("apps/v1/deployments", "d", JSON, ops).await.unwrap();
    assert_eq!(v["spec"]["replicas"], 5);
    let s = c.patch("apps/v1/deployments", "d", "text/plain", json!({})).await.unwrap_err();
    assert_eq!(s.code, 415);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}});
    assert_eq!(c.patch("apps/v1/deployments", "d", MERGE, stale).await.unwrap_err().code, 409);
}

#[tokio::test]
async fn applies_own_fields_and_conflict() {
    let c = Cluster::new();
    let config = |v: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": v}});
    let mut of_another = config("1");
    of_another["metadata"]["uid"] = "11".into();
    let s = c.apply("configmaps", "x", "alice", of_another).await.unwrap_err();
    assert!(s.code == 409 && s.message.ends_with("uid mismatch: the provided object specified uid 11, and no existing object was found"), "{}", s.message);
    let first = c.apply("configmaps", "x", "alice", config("1")).await.unwrap();
    assert_eq!(first["metadata"]["managedFields"][0]["manager"], "alice");
    let again = c.apply("configmaps", "x", "alice", config("1")).await.unwrap();
    assert_eq!(again["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let s = c.apply("configmaps", "x", "bob", config("2")).await.unwrap_err();
    assert_eq!((s.code, s.details.unwrap().causes[0].field.as_str()), (409, ".data.k"));
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    let v = c.apply("configmaps", "x", "alice", nothing).await.unwrap();
    assert!(v.get("data").is_none_or(|d| d.get("k").is_none()), "a withdrawn field goes: {v}");
}

#[tokio::test]
async fn deletions() {
    let c = Cluster::new();
    let v = c.create("configmaps", config_map("x", json!({}))).await.unwrap();
    let s = c.delete("configmaps", "x", json!({"preconditions": {"uid": "other"}})).await.unwrap_err();
    assert_eq!(s.code, 409);
    let gone = c.delete("configmaps", "x", json!({})).await.unwrap();
    assert_eq!((&gone["kind"], &gone["details"]["uid"]), (&json!("Status"), &v["metadata"]["uid"]));
    assert_eq!(c.get("configmaps", "x").await.unwrap_err().code, 404);

    let mut held = config_map("y", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    c.create("configmaps", held).await.unwrap();
    let mut v = c.delete("configmaps", "y", json!({"propagationPolicy": "Foreground"})).await.unwrap();
    assert_eq!(v["metadata"]["finalizers"], json!(["example.com/hold", "foregroundDeletion"]));
    assert!(v["metadata"]["deletionTimestamp"].is_string());
    v["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/new"]);
    let s = c.update("configmaps", "", &v).await.unwrap_err();
    assert!(s.message.contains("no new finalizers can be added if the object is being deleted"), "{}", s.message);
    v["metadata"]["finalizers"] = json!([]);
    c.update("configmaps", "", &v).await.unwrap();
    assert_eq!(c.get("configmaps", "y").await.unwrap_err().code, 404, "it goes with the last finalizer");
}

#[tokio::test]
async fn pods_with_a_node_get_their_grace() {
    let c = Cluster::new();
    c.create("pods", pod("waiting")).await.unwrap();
    assert_eq!(c.delete("pods", "waiting", json!({})).await.unwrap()["kind"], "Pod");
    assert_eq!(c.get("pods", "waiting").await.unwrap_err().code, 404);

    c.create("pods", pod("bound")).await.unwrap();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n"}});
    let bind = || Call::new(Verb::Create, target("pods", "bound", "binding")).body(binding.to_string());
    c.call(bind()).await.unwrap();
    let again = c.call(bind()).await.err().unwrap();
    assert!(again.code == 409 && again.message.contains("is already assigned to node \"n\""), "{}", again.message);
    let v = c.get("pods", "bound").await.unwrap();
    assert_eq!((&v["spec"]["nodeName"], &v["status"]["conditions"][0]["type"]), (&json!("n"), &json!("PodScheduled")));
    let v = c.delete("pods", "bound", json!({})).await.unwrap();
    assert_eq!(v["metadata"]["deletionGracePeriodSeconds"], 30);
    let rv = v["metadata"]["resourceVersion"].clone();
    let v = c.delete("pods", "bound", json!({})).await.unwrap();
    assert_eq!(v["metadata"]["resourceVersion"], rv, "a second deletion changes nothing");
    c.delete("pods", "bound", json!({"gracePeriodSeconds": 0})).await.unwrap();
    assert_eq!(c.get("pods", "bound").await.unwrap_err().code, 404);
}

#[tokio::test]
async fn namespaces_go_when_they_are_finalized() {
    let c = Cluster::new();
    let v = c.create("namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})).await.unwrap();
    assert_eq!(v["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    let mut v = c.delete("namespaces", "n", json!({})).await.unwrap();
    assert_eq!(v["status"]["phase"], "Terminating");
    v["spec"]["finalizers"] = json!([]);
    c.update("namespaces", "finalize", &v).await.unwrap();
    assert_eq!(c.get("namespaces", "n").await.unwrap_err().code, 404);
}

#[tokio::test]
async fn services_get_addresses_and_give_them_back() {
    let c = Cluster::new();
    let svc = |name: &str, kind: &str, ip: &str| {
        let mut v = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
        if !ip.is_empty() {
            v["spec"]["clusterIP"] = ip.into();
        }
        v
    };
    let v = c.create("services", svc("web", "NodePort", "")).await.unwrap();
    let ip = v["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert_eq!(v["spec"]["clusterIPs"], json!([ip]));
    let port = v["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30000..=32767).contains(&port));
    let s = c.create("services", svc("other", "ClusterIP", &ip)).await.unwrap_err();
    assert!(s.code == 422 && s.message.contains("provided IP is already allocated"), "{}", s.message);
    c.delete("services", "web", json!({})).await.unwrap();
    c.create("services", svc("other", "ClusterIP", &ip)).await.unwrap();
    let v = c.create("services", svc("headless", "ClusterIP", "None")).await.unwrap();
    assert_eq!(v["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test]
async fn services_keep_what_they_were_given() {
    let c = Cluster::new();
    let mut sent = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let made = c.create("services", sent.clone()).await.unwrap();
    assert_eq!(c.update("services", "", &sent).await.unwrap()["spec"], made["spec"], "the same sent again changes nothing");
    // What is wrong with addresses is told before anything is taken; a dry run takes nothing.
    sent["metadata"]["name"] = json!("other");
    sent["spec"]["clusterIP"] = json!("x");
    let s = c.create("services", sent.clone()).await.unwrap_err();
    assert!(s.message.ends_with("spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"), "{}", s.message);
    sent["spec"]["clusterIP"] = made["spec"]["clusterIP"].clone();
    let dry = |v: &Value| Call::new(Verb::Create, target("services", "", "")).query("dryRun", "All").body(v.to_string());
    let v = c.object(dry(&sent)).await.unwrap();
    assert_eq!((&v["spec"]["clusterIP"], &v["spec"]["ports"][0]["nodePort"]), (&made["spec"]["clusterIP"], &json!(32769)));
    sent["metadata"].as_object_mut().unwrap().remove("name");
    sent["spec"].as_object_mut().unwrap().remove("clusterIP");
    let s = c.create("services", sent.clone()).await.unwrap_err();
    assert!(
        s.message.contains("failed to allocate IP: IPAddress.networking.k8s.io") && s.message.ends_with("spec.parentRef.name: Required value"),
        "{}",
        s.message
    );
    // Who needs no address any more gives it back.
    let mut away = made.clone();
    away["spec"]["type"] = json!("ExternalName");
    away["spec"]["externalName"] = json!("example.com");
    let v = c.update("services", "", &away).await.unwrap();
    assert!(v["spec"].get("clusterIP").is_none() && v["spec"]["ports"][0].get("nodePort").is_none(), "{v}");
}

#[tokio::test]
async fn metadata_of_core_events_is_looked_at_last() {
    let c = Cluster::new();
    let event = |about: &str| json!({"apiVersion": "v1", "kind": "Event", "metadata": {}, "involvedObject": {"namespace": about}});
    for (about, why) in [
        ("elsewhere", "Event \"\" is invalid: involvedObject.namespace: Invalid value: \"elsewhere\": does not match event.namespace"),
        ("a", "Event \"\" is invalid: metadata.name: Required value: name or generateName is required"),
    ] {
        assert_eq!(c.create("events", event(about)).await.unwrap_err().message, why);
    }
}

#[tokio::test]
async fn workloads_are_scaled() {
    let c = Cluster::new();
    c.create("apps/v1/deployments", deployment("d")).await.unwrap();
    let mut scale = c.object(Call::new(Verb::Get, target("apps/v1/deployments", "d", "scale"))).await.unwrap();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("app=x")));
    scale["spec"]["replicas"] = 0.into();
    let v = c.update("apps/v1/deployments", "scale", &scale).await.unwrap();
    assert!(v["spec"].get("replicas").is_none(), "zero is left out");
    assert_eq!(c.get("apps/v1/deployments", "d").await.unwrap()["spec"]["replicas"], 0);
}

#[tokio::test]
async fn evictions_ask_the_budget() {
    let c = Cluster::new();
    let mut v = pod("p");
    v["metadata"]["labels"] = json!({"app": "x"});
    c.create("pods", v).await.unwrap();
    let mut v = c.get("pods", "p").await.unwrap();
    v["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    c.update("pods", "status", &v).await.unwrap();
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    let mut b = c.create("policy/v1/poddisruptionbudgets", budget).await.unwrap();
    b["status"] = json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1});
    let mut b = c.update("policy/v1/poddisruptionbudgets", "status", &b).await.unwrap();
    let evict = || {
        Call::new(Verb::Create, target("pods", "p", "eviction"))
            .body(json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}).to_string())
    };
    let s = c.call(evict()).await.err().unwrap();
    assert_eq!((s.code, s.message.as_str()), (429, "Cannot evict pod as it would violate the pod's disruption budget."));
    b["status"]["disruptionsAllowed"] = 1.into();
    c.update("policy/v1/poddisruptionbudgets", "status", &b).await.unwrap();
    c.call(evict()).await.unwrap();
    assert_eq!(c.get("pods", "p").await.unwrap_err().code, 404);
    assert_eq!(c.get("policy/v1/poddisruptionbudgets", "b").await.unwrap()["status"]["disruptionsAllowed"].as_i64().unwrap_or(0), 0);
}

#[tokio::test]
async fn dry_runs_leave_nothing() {
    let c = Cluster::new();
    let call = Call::new(Verb::Create, target("configmaps", "", "")).body(config_map("x", json!({})).to_string()).query("dryRun", "All");
    let v = c.object(call).await.unwrap();
    assert!(v["metadata"]["uid"].is_string() && v["metadata"].get("resourceVersion").is_none());
    assert_eq!(c.get("configmaps", "x").await.unwrap_err().code, 404);
}
