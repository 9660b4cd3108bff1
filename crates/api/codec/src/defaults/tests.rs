//! Objects before and after, as upstream's server answers them.

use skiff_json::{Value, json};
use skiff_schema::by_gvk;

use super::{Context, apply};
use crate::api::{decode_value, encode_json};

/// Decodes, defaults, and gives the canonical object.
fn defaulted(group: &str, kind: &str, object: Value) -> Value {
    let version = if kind == "HorizontalPodAutoscaler" { "v2" } else { "v1" };
    let ty = by_gvk(group, version, kind).expect("a known kind");
    let mut object = decode_value(ty, &object).expect("a valid object").object;
    apply(ty, &mut object, Context { now: "2024-05-01T10:00:00Z" });
    let again = object.clone();
    apply(ty, &mut object, Context { now: "2024-05-01T10:00:00Z" });
    assert_eq!(object, again, "defaulting twice changes nothing");
    skiff_json::from_slice(&encode_json(ty, &object)).expect("canonical bytes")
}

#[test]
fn a_small_pod() {
    let pod = json!({"spec": {
        "serviceAccount": "robot",
        "volumes": [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}}],
        "containers": [{
            "name": "a", "image": "nginx:1.27",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "resources": {"limits": {"cpu": "0.1234567", "memory": "1Gi"}, "requests": {"memory": "512Mi"}},
            "livenessProbe": {"httpGet": {"port": 80}},
        }],
    }});
    assert_eq!(
        defaulted("", "Pod", pod),
        json!({"metadata": {}, "spec": {
            "volumes": [
                {"name": "e", "emptyDir": {}},
                {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
            ],
            "containers": [{
                "name": "a", "image": "nginx:1.27",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                "resources": {"limits": {"cpu": "124m", "memory": "1Gi"}, "requests": {"cpu": "124m", "memory": "512Mi"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "robot", "serviceAccount": "robot",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
        }, "status": {}})
    );
}

#[test]
fn host_network_ports_and_negative_grace() {
    let pod = json!({"spec": {"hostNetwork": true, "terminationGracePeriodSeconds": -5,
        "containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}]}});
    let pod = defaulted("", "Pod", pod);
    assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], json!(80));
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], json!(1));
}

#[test]
fn templates_get_less_than_pods() {
    let object = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {
        "containers": [{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1"}}}]}}}});
    let deployment = defaulted("apps", "Deployment", object);
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], json!(1));
    assert_eq!(spec["strategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}));
    assert_eq!(spec["revisionHistoryLimit"], json!(10));
    assert_eq!(spec["progressDeadlineSeconds"], json!(600));
    let template = &spec["template"]["spec"];
    assert_eq!(template["enableServiceLinks"], Value::Null);
    assert_eq!(template["containers"][0]["resources"], json!({"limits": {"cpu": "1"}}));
    assert_eq!(template["restartPolicy"], json!("Always"));
}

#[test]
fn services() {
    let service = defaulted("", "Service", json!({"spec": {"ports": [{"port": 80}]}}));
    assert_eq!(
        service["spec"],
        json!({"ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}], "type": "ClusterIP",
            "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})
    );
    let service = defaulted("", "Service", json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}}));
    assert_eq!(service["spec"]["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
    assert_eq!(service["spec"]["externalTrafficPolicy"], json!("Cluster"));
    assert_eq!(service["spec"]["allocateLoadBalancerNodePorts"], json!(true));
}

#[test]
fn single_fields() {
    for (group, kind, object, pointer, want) in [
        ("", "Secret", json!({}), "/type", json!("Opaque")),
        ("", "Namespace", json!({"metadata": {"name": "n"}}), "/metadata/labels", json!({"kubernetes.io/metadata.name": "n"})),
        ("", "Namespace", json!({"metadata": {"name": "n"}}), "/status/phase", json!("Active")),
        ("", "PersistentVolumeClaim", json!({}), "/spec/volumeMode", json!("Filesystem")),
        ("", "PersistentVolumeClaim", json!({}), "/status/phase", json!("Pending")),
        ("", "PersistentVolume", json!({}), "/spec/persistentVolumeReclaimPolicy", json!("Retain")),
        ("", "Node", json!({"status": {"capacity": {"cpu": "2"}}}), "/status/allocatable", json!({"cpu": "2"})),
        ("", "ReplicationController", json!({}), "/spec/replicas", json!(1)),
        ("", "LimitRange", json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}), "/spec/limits/0/defaultRequest", json!({"cpu": "1"})),
        ("apps", "StatefulSet", json!({}), "/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}})),
        ("apps", "StatefulSet", json!({"spec": {"volumeClaimTemplates": [{}]}}), "/spec/volumeClaimTemplates/0/status/phase", json!("Pending")),
        ("apps", "DaemonSet", json!({}), "/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})),
        ("batch", "Job", json!({}), "/spec/completions", json!(1)),
        ("batch", "Job", json!({"spec": {"parallelism": 3}}), "/spec/completions", Value::Null),
        ("batch", "Job", json!({"spec": {"backoffLimitPerIndex": 1}}), "/spec/backoffLimit", json!(2147483647)),
        ("batch", "CronJob", json!({}), "/spec/successfulJobsHistoryLimit", json!(3)),
        ("batch", "CronJob", json!({}), "/spec/jobTemplate/spec/template/spec/dnsPolicy", json!("ClusterFirst")),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            json!({"spec": {"behavior": {"scaleDown": {}}}}),
            "/spec/behavior/scaleUp/stabilizationWindowSeconds",
            json!(0),
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            json!({"spec": {"behavior": {"scaleDown": {"policies": []}}}}),
            "/spec/behavior/scaleDown/policies",
            Value::Null,
        ),
        ("networking.k8s.io", "NetworkPolicy", json!({"spec": {"egress": [{}]}}), "/spec/policyTypes", json!(["Ingress", "Egress"])),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            json!({"subjects": [{"kind": "User", "name": "u"}]}),
            "/subjects/0/apiGroup",
            json!("rbac.authorization.k8s.io"),
        ),
        ("storage.k8s.io", "StorageClass", json!({}), "/reclaimPolicy", json!("Delete")),
        ("scheduling.k8s.io", "PriorityClass", json!({}), "/preemptionPolicy", json!("PreemptLowerPriority")),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration",
            json!({"webhooks": [{"name": "w", "rules": [{}]}]}),
            "/webhooks/0/rules/0/scope",
            json!("*"),
        ),
        ("apiextensions.k8s.io", "CustomResourceDefinition", json!({"spec": {"names": {"kind": "Foo"}}}), "/spec/names/listKind", json!("FooList")),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema", json!({}), "/spec/matchingPrecedence", json!(1000)),
        ("authentication.k8s.io", "TokenRequest", json!({}), "/spec/expirationSeconds", json!(3600)),
        ("discovery.k8s.io", "EndpointSlice", json!({"ports": [{}]}), "/ports/0/name", json!("")),
    ] {
        let object = defaulted(group, kind, object);
        assert_eq!(object.pointer(pointer).cloned().unwrap_or(Value::Null), want, "{kind} {pointer} in {object}");
    }
}
