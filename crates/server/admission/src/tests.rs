//! Requests against a fake world, the answers as upstream gives them.
use crate::{
    testing::{Request, World, text},
    *,
};
use skiff_json::{Value, json};

fn world() -> World {
    World::of(&[
        ("namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}})),
        ("namespaces", json!({"metadata": {"name": "gone"}, "status": {"phase": "Terminating"}})),
        ("serviceaccounts", json!({"metadata": {"name": "default", "namespace": "a"}, "imagePullSecrets": [{"name": "pull"}]})),
        ("serviceaccounts", json!({"metadata": {"name": "quiet", "namespace": "a"}, "automountServiceAccountToken": false})),
        (
            "serviceaccounts",
            json!({"metadata": {"name": "strict", "namespace": "a", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}, "secrets": [{"name": "mine"}]}),
        ),
        ("priorityclasses.scheduling.k8s.io", json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"})),
        ("priorityclasses.scheduling.k8s.io", json!({"metadata": {"name": "usual"}, "value": 7, "globalDefault": true})),
        (
            "storageclasses.storage.k8s.io",
            json!({"metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
        ),
        (
            "storageclasses.storage.k8s.io",
            json!({"metadata": {"name": "new", "creationTimestamp": "2026-02-01T00:00:00Z", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "allowVolumeExpansion": true}),
        ),
        (
            "runtimeclasses.node.k8s.io",
            json!({"metadata": {"name": "box"}, "overhead": {"podFixed": {"cpu": "100m"}}, "scheduling": {"nodeSelector": {"box": "yes"}}}),
        ),
        ("nodes", json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z", "other": "x"}}})),
    ])
}

fn pod(spec: Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "a"}, "spec": spec})
}

fn account() -> ServiceAccount {
    ServiceAccount { random: Arc::new(|| 0) }
}

#[tokio::test]
async fn namespaces() {
    let w = world();
    let in_namespace = |n: &str| json!({"metadata": {"name": "p", "namespace": n}});
    let cases = [
        (Request::create("configmaps", in_namespace("a")), "ok"),
        (Request::create("configmaps", in_namespace("nowhere")), "namespaces \"nowhere\" not found"),
        (
            Request::create("deployments.apps", in_namespace("gone")),
            "deployments.apps \"p\" is forbidden: unable to create new content in namespace gone because it is being terminated",
        ),
        (Request::update("configmaps", in_namespace("gone"), in_namespace("gone")), "ok"),
        (
            Request::delete("namespaces", json!({"metadata": {"name": "kube-system"}})),
            "namespaces \"kube-system\" is forbidden: this namespace may not be deleted",
        ),
        (Request::delete("namespaces", json!({"metadata": {"name": "a"}})), "ok"),
    ];
    for (r, want) in cases {
        assert_eq!(text(r.admit(&NamespaceLifecycle, &w).await), want);
    }
    let refusal = Request::create("pods", in_namespace("gone")).admit(&NamespaceLifecycle, &w).await.unwrap_err();
    assert_eq!((refusal.code, refusal.details.unwrap().causes[0].reason.as_str()), (403, "NamespaceTerminating"));
}

#[tokio::test]
async fn accounts_and_their_tokens() {
    let w = world();
    let (v, _) = Request::create("pods", pod(json!({"containers": [{"name": "c"}]}))).admit(&account(), &w).await.unwrap();
    assert_eq!(v["spec"]["serviceAccountName"], "default");
    assert_eq!(v["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    let volume = &v["spec"]["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"));
    assert_eq!(volume["projected"]["sources"][0], json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}));
    assert_eq!(v["spec"]["containers"][0]["volumeMounts"][0]["name"], volume["name"]);

    let quiet = pod(json!({"serviceAccountName": "quiet", "containers": [{"name": "c"}]}));
    let (v, _) = Request::create("pods", quiet).admit(&account(), &w).await.unwrap();
    assert_eq!(v["spec"].get("volumes"), None);

    let secret = |name: &str| json!({"serviceAccountName": "strict", "automountServiceAccountToken": false, "containers": [{"name": "c"}], "volumes": [{"name": "v", "secret": {"secretName": name}}]});
    assert_eq!(text(Request::create("pods", pod(secret("mine"))).admit(&account(), &w).await), "ok");
    assert_eq!(
        text(Request::create("pods", pod(secret("yours"))).admit(&account(), &w).await),
        "pods \"p\" is forbidden: volume with secret.secretName=\"yours\" is not allowed because service account strict does not reference that secret"
    );
    assert_eq!(
        text(Request::create("pods", pod(json!({"serviceAccountName": "nobody"}))).admit(&account(), &w).await),
        "pods \"p\" is forbidden: error looking up service account a/nobody: serviceaccount \"nobody\" not found"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_default_account() {
    let w = Arc::new(World::default());
    let later = w.clone();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        later.put("serviceaccounts", &json!({"metadata": {"name": "default", "namespace": "a"}}));
    });
    assert_eq!(text(Request::create("pods", pod(json!({}))).admit(&account(), &w).await), "ok");
}

#[tokio::test]
async fn priorities() {
    let w = world();
    let cases = [
        (json!({}), json!(["usual", 7, null])),
        (json!({"priorityClassName": "high"}), json!(["high", 1000, "Never"])),
        (json!({"priorityClassName": "system-node-critical"}), json!(["system-node-critical", 2_000_001_000, "PreemptLowerPriority"])),
    ];
    for (spec, want) in cases {
        let (v, _) = Request::create("pods", pod(spec)).admit(&Priority, &w).await.unwrap();
        let s = &v["spec"];
        assert_eq!(json!([s["priorityClassName"], s["priority"], s["preemptionPolicy"]]), want);
    }
    assert_eq!(
        text(Request::create("pods", pod(json!({"priorityClassName": "x"}))).admit(&Priority, &w).await),
        "pods \"p\" is forbidden: no PriorityClass with name x was found"
    );
    let wrong = Request::create("pods", pod(json!({"priority": 5}))).admit(&Priority, &w).await;
    assert!(text(wrong).contains("the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 7"));
    let second = json!({"metadata": {"name": "b"}, "value": 1, "globalDefault": true});
    assert_eq!(
        text(Request::create("priorityclasses.scheduling.k8s.io", second).admit(&Priority, &w).await),
        "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"
    );
}

#[tokio::test]
async fn what_is_filled_in() {
    let w = world();
    let (v, _) = Request::create("pods", pod(json!({"tolerations": [{"key": "node.kubernetes.io/unreachable"}]})))
        .admit(&DefaultTolerationSeconds::default(), &w)
        .await
        .unwrap();
    let keys: Vec<&str> = v["spec"]["tolerations"].as_array().unwrap().iter().filter_map(|t| t["key"].as_str()).collect();
    assert_eq!(keys, ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"]);

    let (v, _) = Request::create("nodes", json!({"metadata": {"name": "n"}, "spec": {}})).admit(&TaintNodesByCondition, &w).await.unwrap();
    assert_eq!(v["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));

    let claim = json!({"metadata": {"name": "c", "namespace": "a"}, "spec": {}});
    let (v, _) = Request::create("persistentvolumeclaims", claim.clone()).admit(&DefaultStorageClass, &w).await.unwrap();
    assert_eq!(v["spec"]["storageClassName"], "new");
    let (v, _) = Request::create("persistentvolumeclaims", json!({"metadata": {"name": "c"}, "spec": {"storageClassName": ""}}))
        .admit(&DefaultStorageClass, &w)
        .await
        .unwrap();
    assert_eq!(v["spec"]["storageClassName"], "");
    let (v, _) = Request::create("persistentvolumeclaims", claim).admit(&StorageObjectInUseProtection, &w).await.unwrap();
    assert_eq!(v["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));

    let (v, _) = Request::create("pods", pod(json!({"nodeName": "n"}))).admit(&PodTopologyLabels, &w).await.unwrap();
    assert_eq!(v["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "z"}));

    let (v, _) = Request::create("pods", pod(json!({"runtimeClassName": "box"}))).admit(&RuntimeClass, &w).await.unwrap();
    assert_eq!((&v["spec"]["overhead"], &v["spec"]["nodeSelector"]), (&json!({"cpu": "100m"}), &json!({"box": "yes"})));
    assert_eq!(
        text(Request::create("pods", pod(json!({"runtimeClassName": "x"}))).admit(&RuntimeClass, &w).await),
        "pods \"p\" is forbidden: pod rejected: RuntimeClass \"x\" not found"
    );
    assert!(
        text(Request::create("pods", pod(json!({"overhead": {"cpu": "1"}}))).admit(&RuntimeClass, &w).await).contains("without corresponding RuntimeClass")
    );
}

#[tokio::test]
async fn claims_grow_where_their_class_lets_them() {
    let w = world();
    let claim = |class: &str, size: &str, phase: &str| json!({"metadata": {"name": "c", "namespace": "a"}, "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}, "status": {"phase": phase}});
    for (class, phase, want) in [
        ("new", "Bound", "ok"),
        (
            "old",
            "Bound",
            "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ),
        ("new", "Pending", "persistentvolumeclaims \"c\" is forbidden: Only bound persistent volume claims can be expanded"),
    ] {
        let r = Request::update("persistentvolumeclaims", claim(class, "1Gi", phase), claim(class, "2Gi", phase));
        assert_eq!(text(r.admit(&PersistentVolumeClaimResize, &w).await), want);
    }
}

/// Allows the verbs of its list.
struct Allows(&'static [&'static str]);

#[async_trait::async_trait]
impl skiff_policy::Authorizer for Allows {
    async fn authorize(&self, _: &skiff_request::User, action: &skiff_policy::Action) -> skiff_policy::Decision {
        match action {
            skiff_policy::Action::Resource { verb, target, .. } if self.0.contains(&format!("{verb} {}", target.name).as_str()) => {
                skiff_policy::Decision::Allow
            }
            _ => skiff_policy::Decision::NoOpinion(String::new()),
        }
    }
    async fn rules(&self, _: &skiff_request::User, _: &str) -> (Vec<Value>, Vec<Value>) {
        Default::default()
    }
}

#[tokio::test]
async fn nodes_keep_to_themselves() {
    let plugin = NodeRestriction { authorizer: Arc::new(Allows(&[])) };
    let node = || skiff_request::User::new("system:node:n", ["system:nodes"]);
    let w = World::of(&[
        ("nodes", json!({"metadata": {"name": "n", "uid": "un"}})),
        (
            "pods",
            json!({"metadata": {"name": "here", "namespace": "a", "uid": "u"}, "spec": {"nodeName": "n", "volumes": [{"projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}}]}}]}}),
        ),
        ("pods", json!({"metadata": {"name": "there", "namespace": "a", "uid": "v"}, "spec": {"nodeName": "m"}})),
    ]);
    let named = |name: &str, more: Value| {
        let mut v = json!({"metadata": {"name": name}});
        v.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        v
    };
    let on = |node: &str| json!({"metadata": {"name": "p", "namespace": "a"}, "spec": {"nodeName": node}});
    let labelled = |l: Value| json!({"metadata": {"name": "n", "labels": l}});
    let mirror = |uid: &str| json!({"metadata": {"name": "p", "namespace": "a", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid, "controller": true}]}, "spec": {"nodeName": "n"}});
    let token = |pod: &str, uid: &str, audience: &str| json!({"metadata": {"name": "default", "namespace": "a"}, "spec": {"audiences": [audience], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}});
    let lease = |namespace: &str, name: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    let cases = [
        (Request::update("nodes", named("m", json!({})), named("m", json!({}))), "nodes \"m\" is forbidden: node \"n\" is not allowed to modify node \"m\""),
        (Request::create("nodes", labelled(json!({"kubernetes.io/os": "linux", "app": "x"}))), "ok"),
        (
            Request::create("nodes", labelled(json!({"node-role.kubernetes.io/x": ""}))),
            "nodes \"n\" is forbidden: node \"n\" is not allowed to set the following labels: node-role.kubernetes.io/x",
        ),
        (
            Request::update("nodes", named("n", json!({"spec": {"taints": [{"key": "k"}]}})), named("n", json!({}))),
            "nodes \"n\" is forbidden: node \"n\" is not allowed to modify taints",
        ),
        (Request::update("pods", on("n"), on("n")).sub("status"), "ok"),
        (
            Request::update("pods", on("m"), on("m")).sub("status"),
            "pods \"p\" is forbidden: node \"n\" can only update pod status for pods with spec.nodeName set to itself",
        ),
        (Request::delete("pods", on("m")), "pods \"p\" is forbidden: node \"n\" can only delete pods with spec.nodeName set to itself"),
        (Request::delete("pods", on("n")), "ok"),
        (
            Request::create("pods", on("n")),
            "pods \"p\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n\" can only create mirror pods",
        ),
        (Request::create("pods", mirror("un")), "ok"),
        (Request::create("pods", mirror("ux")), "pods \"p\" is forbidden: node n UID mismatch: expected ux got un"),
        (Request::create("leases.coordination.k8s.io", lease("kube-node-lease", "n")), "ok"),
        (
            Request::create("leases.coordination.k8s.io", lease("kube-node-lease", "m")),
            "leases.coordination.k8s.io \"m\" is forbidden: can only access node lease with the same name as the requesting node",
        ),
        (Request::create("serviceaccounts", token("here", "u", "vault")).sub("token"), "ok"),
        (
            Request::create("serviceaccounts", token("here", "u", "other")).sub("token"),
            "serviceaccounts \"default\" is forbidden: system:node:n is not authorized to request tokens for audience \"other\"",
        ),
        (
            Request::create("serviceaccounts", token("there", "v", "vault")).sub("token"),
            "serviceaccounts \"default\" is forbidden: node requested token bound to a pod scheduled on a different node",
        ),
    ];
    for (r, want) in cases {
        assert_eq!(text(r.by(node()).admit(&plugin, &w).await), want);
    }
    assert_eq!(text(Request::create("pods", on("n")).admit(&plugin, &w).await), "ok");
}

#[tokio::test]
async fn certificates() {
    use base64::Engine;
    let request = |signer: &str, cn: &str, organisation: &str| {
        let mut p = rcgen::CertificateParams::default();
        p.distinguished_name = rcgen::DistinguishedName::new();
        p.distinguished_name.push(rcgen::DnType::CommonName, cn);
        p.distinguished_name.push(rcgen::DnType::OrganizationName, organisation);
        let pem = p.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        json!({"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": base64::engine::general_purpose::STANDARD.encode(pem)}})
    };
    const R: &str = "certificatesigningrequests.certificates.k8s.io";
    let w = World::default();
    let client = "kubernetes.io/kube-apiserver-client";
    assert_eq!(text(Request::create(R, request(client, "x", "y")).admit(&CertificateSubjectRestriction, &w).await), "ok");
    assert!(
        text(Request::create(R, request(client, "x", "system:masters")).admit(&CertificateSubjectRestriction, &w).await)
            .ends_with("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")
    );
    let approve = |signer: &str| Request::update(R, request(signer, "x", "y"), request(signer, "x", "y")).sub("approval");
    let plugin = CertificateApproval { authorizer: Arc::new(Allows(&["approve example.com/*"])) };
    assert_eq!(text(approve("example.com/a").admit(&plugin, &w).await), "ok");
    assert!(
        text(approve(client).admit(&plugin, &w).await)
            .ends_with("user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"")
    );

    let node = || skiff_request::User::new("system:node:n", ["system:nodes"]);
    let plugin = NodeRestriction { authorizer: Arc::new(Allows(&[])) };
    let serving = |cn: &str| Request::create(R, request("kubernetes.io/kubelet-serving", cn, "system:nodes")).by(node());
    assert_eq!(text(serving("system:node:n").admit(&plugin, &w).await), "ok");
    assert!(text(serving("system:node:m").admit(&plugin, &w).await).ends_with("can only create a node CSR with CN=system:node:n"));
}

#[tokio::test]
async fn kubelets_ask_for_certificates_of_their_pods() {
    let volume = json!([{"projected": {"sources": [{"podCertificate": {"signerName": "example.com/s"}}]}}]);
    let w = World::of(&[
        ("nodes", json!({"metadata": {"name": "n", "uid": "un"}})),
        ("serviceaccounts", json!({"metadata": {"name": "app", "namespace": "a", "uid": "us"}})),
        (
            "pods",
            json!({"metadata": {"name": "here", "namespace": "a", "uid": "up"}, "spec": {"nodeName": "n", "serviceAccountName": "app", "volumes": volume}}),
        ),
        ("pods", json!({"metadata": {"name": "there", "namespace": "a", "uid": "up"}, "spec": {"nodeName": "m", "serviceAccountName": "app"}})),
    ]);
    let plugin = |allowed| NodeRestriction { authorizer: Arc::new(Allows(allowed)) };
    let ask = |changed: &[(&str, &str)]| {
        let mut spec = json!({"signerName": "example.com/s", "podName": "here", "podUID": "up", "serviceAccountName": "app", "serviceAccountUID": "us", "nodeName": "n", "nodeUID": "un"});
        changed.iter().for_each(|(k, v)| spec[*k] = json!(v));
        Request::create("podcertificaterequests.certificates.k8s.io", json!({"metadata": {"name": "r", "namespace": "a"}, "spec": spec}))
            .by(skiff_request::User::new("system:node:n", ["system:nodes"]))
    };
    for (changed, why) in [
        (&[][..], "ok"),
        (&[("nodeName", "m")], "is not the requesting node"),
        (&[("nodeUID", "x")], "inconsistent with the running node"),
        (&[("podName", "gone")], "pods \"gone\" not found"),
        (&[("podName", "there")], "is not running on node"),
        (&[("podUID", "x")], "differs from running pod"),
        (&[("serviceAccountName", "other")], "that differs from running pod"),
        (&[("serviceAccountUID", "x")], "differs from the running service account"),
        (&[("signerName", "example.com/t")], "does not mount a podCertificate projected volume for signer"),
    ] {
        let got = text(ask(changed).admit(&plugin(&[]), &w).await);
        assert!(got.contains(why), "{changed:?}: {got}");
    }
    let free = plugin(&["request-serviceaccounts-podcertificate-signer app"]);
    assert_eq!(text(ask(&[("signerName", "example.com/t")]).admit(&free, &w).await), "ok");
}

#[tokio::test]
async fn a_resize_fits_the_node() {
    let w = World::of(&[("nodes", json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1", "memory": "1Gi"}}}))]);
    let pod = |cpu: &str| json!({"metadata": {"name": "p", "namespace": "a"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
    let resize = |cpu: &str| Request::update("pods", pod("100m"), pod(cpu)).sub("resize");
    assert_eq!(text(resize("1").admit(&PodResizeValidator, &w).await), "ok");
    let refused = resize("1100m").admit(&PodResizeValidator, &w).await.unwrap_err();
    assert_eq!((refused.code, refused.details.unwrap().causes[0].reason.as_str()), (403, "NodeCapacity"));
    assert_eq!(refused.message, "pods \"p\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 1100, allocatable: 1000");
}
