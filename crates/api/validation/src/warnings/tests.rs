use super::warnings;
use skiff_json::{Value, json};

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p", "generation": 1}, "spec": spec})
}

#[test]
fn pods_are_told_what_does_not_do_what_it_seems_to() {
    let two = |a: Value, b: Value| json!({"containers": [{"name": "a", "ports": [a]}, {"name": "b", "ports": [b]}]});
    for (spec, want) in [
        (
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
        ),
        (
            json!({"containers": [{"name": "c", "env": [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}]}]}),
            "spec.containers[0].env[1]: hides previous definition of \"X\", which may be dropped when using apply",
        ),
        (
            json!({"containers": [{"name": "c", "resources": {"limits": {"memory": "1500m"}}}]}),
            "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
        ),
        (
            two(json!({"containerPort": 80, "protocol": "TCP"}), json!({"containerPort": 80, "protocol": "TCP"})),
            "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
        ),
        (
            two(json!({"containerPort": 80, "hostPort": 1}), json!({"containerPort": 80})),
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
        ),
        (
            two(json!({"containerPort": 80, "name": "w"}), json!({"containerPort": 81, "name": "w"})),
            "spec.containers[1].ports[0]: duplicate port name \"w\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
        ),
        (json!({"imagePullSecrets": [{}]}), "spec.imagePullSecrets[0].name: invalid empty name \"\""),
        (
            json!({"terminationGracePeriodSeconds": -1}),
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ),
        (json!({"volumes": [{"name": "v", "gitRepo": {}}]}), "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"),
        (
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"path": "a"}, {"path": "a/b/"}]}}]}),
            "volume \"v\" (Secret \"s\"): overlapping paths: \"a/b\" with \"a\"",
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "c", "items": [{"path": "t"}]}}]}}]}),
            "volume \"v\" (Projected): overlapping paths: \"t\" (ConfigMap \"c\") with \"t\" (ServiceAccountToken)",
        ),
        (
            json!({"hostAliases": [{"ip": "2001:DB8::1"}]}),
            "spec.hostAliases[0].ip: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
        ),
        (
            json!({"topologySpreadConstraints": [{"topologyKey": "zone"}]}),
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        ),
    ] {
        assert_eq!(warnings("", "Pod", "", &pod(spec.clone()), None), [want], "{spec}");
        assert!(warnings("", "Pod", "", &pod(spec), Some(&pod(json!({})))).is_empty(), "a change of a Pod says nothing");
    }
    let fine = json!({"containers": [{"name": "c", "env": [{"name": "X", "value": "1"}, {"name": "X", "value": "$(X)2"}]}]});
    assert!(warnings("", "Pod", "", &pod(fine), None).is_empty());
}

#[test]
fn templates_are_told_when_they_change() {
    let deployment =
        |generation: u32| json!({"metadata": {"name": "a.b", "generation": generation}, "spec": {"template": {"spec": {"terminationGracePeriodSeconds": -1}}}});
    let told = warnings("apps", "Deployment", "", &deployment(1), None);
    assert!(
        told[0].starts_with("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: ["),
        "{told:?}"
    );
    assert!(told[1].starts_with("spec.template.spec.terminationGracePeriodSeconds: "));
    assert_eq!(warnings("apps", "Deployment", "", &deployment(2), Some(&deployment(1))).len(), 1);
    assert!(warnings("apps", "Deployment", "", &deployment(1), Some(&deployment(1))).is_empty());
}

#[test]
fn other_kinds_have_theirs() {
    for (group, kind, v, want) in [
        (
            "",
            "Service",
            json!({"spec": {"type": "ClusterIP", "externalIPs": ["1.2.3.4"]}}),
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        ),
        (
            "",
            "Service",
            json!({"spec": {"type": "ClusterIP", "trafficDistribution": "PreferClose"}}),
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ),
        (
            "networking.k8s.io",
            "Ingress",
            json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}}),
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "10.1.2.3/8"}}]}]}}),
            "spec.ingress[0].from[0].ipBlock.cidr: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.1.2.3/32\"?)",
        ),
        (
            "",
            "PersistentVolume",
            json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle"}}),
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
        ),
        ("", "ResourceQuota", json!({"spec": {"hard": {"cpu": "4", "limits.cpu": "2"}}}), "ResourceQuota cpu (4) should be less than limits.cpu (2)"),
    ] {
        assert_eq!(warnings(group, kind, "", &v, None), [want]);
    }
}
