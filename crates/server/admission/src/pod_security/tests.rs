use super::{
    PodSecurity,
    level::{Level, Standard},
    standard,
    subject::Subject,
};
use crate::testing::{Request, World, text};
use skiff_json::{Value, json};

fn found(level: Level, version: Option<u32>, spec: Value) -> String {
    standard::detail(&standard::findings(Standard { level, version }, Subject(&json!({"spec": spec}))))
}

fn good() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
}

#[test]
fn baseline() {
    let c = |context: Value| json!({"containers": [{"name": "a", "securityContext": context}]});
    let cases = [
        (json!({"containers": [{"name": "a"}]}), ""),
        (json!({"hostNetwork": true, "hostPID": true}), "host namespaces (hostNetwork=true, hostPID=true)"),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath volumes (volume \"v\")"),
        (json!({"containers": [{"name": "a", "ports": [{"hostPort": 80}, {"hostPort": 443}]}]}), "hostPort (container \"a\" uses hostPorts 443, 80)"),
        (c(json!({"privileged": true})), "privileged (container \"a\" must not set securityContext.privileged=true)"),
        (
            c(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"a\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            c(json!({"seLinuxOptions": {"type": "x", "user": "u"}})),
            "seLinuxOptions (container \"a\" set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set)",
        ),
        (
            c(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            c(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (c(json!({"procMount": "Unmasked"})), "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")"),
        (json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}, {"name": "kernel.x"}]}}), "forbidden sysctls (kernel.x)"),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]}),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")",
        ),
        (c(json!({"windowsOptions": {"hostProcess": true}})), "hostProcess (container \"a\" must not set securityContext.windowsOptions.hostProcess=true)"),
    ];
    for (spec, want) in cases {
        assert_eq!(found(Level::Baseline, None, spec), want);
    }
    let probe = json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]});
    assert_eq!(found(Level::Baseline, Some(33), probe), "");
    assert_eq!(
        found(Level::Baseline, Some(31), json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}})),
        "forbidden sysctls (net.ipv4.tcp_rmem)"
    );
}

#[test]
fn restricted() {
    assert_eq!(found(Level::Restricted, None, json!({"containers": [{"name": "a", "securityContext": good()}]})), "");
    assert_eq!(
        found(Level::Restricted, None, json!({"containers": [{"name": "a"}, {"name": "b", "securityContext": good()}]})),
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    let spec = json!({"securityContext": {"runAsUser": 0}, "volumes": [{"name": "v", "hostPath": {}}, {"name": "n", "nfs": {}}], "containers": [{"name": "a", "securityContext": good()}]});
    assert_eq!(
        found(Level::Restricted, None, spec),
        "restricted volume types (volumes \"v\", \"n\" use restricted volume types \"hostPath\", \"nfs\"), runAsUser=0 (pod must not set runAsUser=0)"
    );
}

#[tokio::test]
async fn namespaces_choose() {
    let labels = |l: Value| json!({"kind": "Namespace", "metadata": {"name": "a", "labels": l}});
    let w = World::of(&[(
        "namespaces",
        labels(
            json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted", "pod-security.kubernetes.io/audit": "restricted"}),
        ),
    )]);
    let pod = |spec: Value| json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "a"}, "spec": spec});
    let refusal = Request::create("pods", pod(json!({"hostIPC": true}))).admit(&PodSecurity::default(), &w).await;
    assert_eq!(text(refusal), "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostIPC=true)");
    let (_, warnings) = Request::create("pods", pod(json!({"containers": [{"name": "c"}]}))).admit(&PodSecurity::default(), &w).await.unwrap();
    assert!(warnings[0].starts_with("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"));
    let seen = Request::create("pods", pod(json!({"containers": [{"name": "c"}]}))).admitted(&PodSecurity::default(), &w).await.unwrap().audit;
    assert_eq!(seen["pod-security.kubernetes.io/enforce-policy"], "baseline:latest");
    assert!(seen["pod-security.kubernetes.io/audit-violations"].starts_with("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation"));
    let deployment = json!({"metadata": {"name": "d", "namespace": "a"}, "spec": {"template": {"spec": {"hostIPC": true}}}});
    let (_, warnings) = Request::create("deployments.apps", deployment).admit(&PodSecurity::default(), &w).await.unwrap();
    assert_eq!(warnings, ["would violate PodSecurity \"restricted:latest\": host namespaces (hostIPC=true)"]);
    // Nothing of the spec changed.
    let (old, mut new) = (pod(json!({"hostIPC": true})), pod(json!({"hostIPC": true})));
    new["metadata"]["labels"] = json!({"x": "y"});
    assert_eq!(text(Request::update("pods", old, new).admit(&PodSecurity::default(), &w).await), "ok");

    let bad = Request::create("namespaces", labels(json!({"pod-security.kubernetes.io/enforce": "x"}))).admit(&PodSecurity::default(), &w).await;
    assert_eq!(
        text(bad),
        "Namespace \"a\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one of privileged, baseline, restricted"
    );
    w.put("pods", &pod(json!({"hostPID": true})));
    let stricter = Request::update("namespaces", labels(json!({})), labels(json!({"pod-security.kubernetes.io/enforce": "baseline"})));
    let (_, warnings) = stricter.admit(&PodSecurity::default(), &w).await.unwrap();
    assert_eq!(warnings, ["existing pods in namespace \"a\" violate the new PodSecurity enforce level \"baseline:latest\"", "p: host namespaces"]);
}

#[test]
fn what_was_looked_at_is_counted() {
    use super::evaluations::{Evaluations, Mode, Request};
    let (counts, mut out) = (Evaluations::default(), skiff_telemetry::metrics::Exposition::default());
    let of = |level, version| Standard { level, version };
    let pod = Request { creates: true, pod: true, subresource: "" };
    for (denied, mode, standard, request) in [
        (false, Mode::Enforce, of(Level::Privileged, Some(20)), pod),
        (false, Mode::Enforce, of(Level::Privileged, None), pod),
        (true, Mode::Warn, of(Level::Baseline, Some(99)), Request { pod: false, ..pod }),
        (true, Mode::Audit, of(Level::Restricted, Some(30)), Request { creates: false, subresource: "resize", ..pod }),
    ] {
        counts.count(denied, mode, standard, request);
    }
    counts.write(&mut out);
    let text = out.text();
    for line in [
        r#"{decision="allow",mode="enforce",policy_level="privileged",policy_version="latest",request_operation="create",resource="pod",subresource=""} 2"#,
        r#"{decision="deny",mode="warn",policy_level="baseline",policy_version="future",request_operation="create",resource="controller",subresource=""} 1"#,
        r#"{decision="deny",mode="audit",policy_level="restricted",policy_version="v1.30",request_operation="update",resource="pod",subresource="resize"} 1"#,
    ] {
        assert!(text.contains(&format!("pod_security_evaluations_total{line}")), "{line} is not in\n{text}");
    }
}
