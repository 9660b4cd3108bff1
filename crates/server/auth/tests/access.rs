//! Authorisation end to end over a store in memory.
mod world;

use skiff_auth::{Chain, Guard, StoreLookup, bootstrap, forbidden};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionKind, GroupVersionResource, Reason, Status};
use skiff_policy::{Action, Admission, Attributes, Authorizer, Decision};
use skiff_request::{Target, User, Verb};
use std::sync::Arc;
use world::World;

/// `verb resource[.group][/sub] namespace/name`.
fn action(text: &str) -> Action {
    let mut words = text.split(' ');
    let (verb, resource, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or("/"));
    if resource.starts_with('/') {
        return Action::Path { verb: verb.into(), path: resource.into() };
    }
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (namespace, name) = rest.split_once('/').unwrap();
    Action::resource(verb, Target::new(GroupVersionResource::new(group.to_owned(), "v1", resource.to_owned()), namespace, name).sub(sub))
}
async fn allowed(chain: &Chain, user: &User, text: &str) -> bool {
    chain.authorize(user, &action(text)).await == Decision::Allow
}
fn user(name: &str, groups: &[&str]) -> User {
    User::new(name, groups.iter().copied().chain(["system:authenticated"]))
}

#[tokio::test]
async fn rbac_follows_the_store() {
    let world = World::new();
    let chain = Chain::new(world.store.clone());
    let (jane, app) = (user("jane", &["dev"]), user("system:serviceaccount:ns:app", &["system:serviceaccounts", "system:serviceaccounts:ns"]));
    assert!(!allowed(&chain, &jane, "get pods ns/x").await);
    world.bind("rolebindings", "ns", "b", "Role", "reader", json!([{"kind": "Group", "name": "dev"}, {"kind": "ServiceAccount", "name": "app"}])).await;
    let Decision::NoOpinion(why) = chain.authorize(&jane, &action("get pods ns/x")).await else { panic!("allowed") };
    assert_eq!(why, r#"rbac: RBAC: role.rbac.authorization.k8s.io "reader" not found"#);
    world.rbac("roles", "ns", "reader", json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})).await;
    assert!(allowed(&chain, &jane, "get pods ns/x").await && allowed(&chain, &app, "get pods ns/x").await);
    assert_eq!(chain.rbac.explain(&jane, &action("get pods ns/x")).unwrap(), r#"RBAC: allowed by RoleBinding "b/ns" of Role "reader" to Group "dev""#);
    assert!(!allowed(&chain, &jane, "get pods other/x").await && !allowed(&chain, &jane, "list pods ns/").await);
    world.rbac("roles", "ns", "reader", json!({"rules": null})).await;
    assert!(!allowed(&chain, &jane, "get pods ns/x").await);
    world.rbac("clusterroles", "", "all", json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})).await;
    world.bind("clusterrolebindings", "", "c", "ClusterRole", "all", json!([{"kind": "User", "name": "jane"}])).await;
    assert!(allowed(&chain, &jane, "delete nodes /n").await && !allowed(&chain, &app, "delete nodes /n").await);
    world.delete("clusterrolebindings.rbac.authorization.k8s.io", "", "c").await;
    assert!(!allowed(&chain, &jane, "delete nodes /n").await);
    assert!(allowed(&chain, &user("root", &["system:masters"]), "delete nodes /n").await);
}

#[tokio::test]
async fn the_bootstrap_policy_gives_what_it_says() {
    let world = World::new();
    world.bootstrap().await;
    assert!(bootstrap::plan(&*world.store).is_empty(), "what was made needs nothing more");
    let chain = Chain::new(world.store.clone());
    let anyone = user("jane", &[]);
    assert!(allowed(&chain, &anyone, "get /api").await && allowed(&chain, &anyone, "create selfsubjectaccessreviews.authorization.k8s.io").await);
    assert!(!allowed(&chain, &anyone, "list pods ns/").await && !allowed(&chain, &anyone, "get /metrics").await);
    let anonymous = User::new("system:anonymous", ["system:unauthenticated"]);
    assert!(allowed(&chain, &anonymous, "get /healthz").await && !allowed(&chain, &anonymous, "get /api").await);
    let scheduler = user("system:kube-scheduler", &[]);
    assert!(allowed(&chain, &scheduler, "create pods/binding ns/x").await && !allowed(&chain, &scheduler, "create pods ns/x").await);
    let controller = user("system:serviceaccount:kube-system:deployment-controller", &[]);
    assert!(allowed(&chain, &controller, "create replicasets.apps ns/x").await);
    let (resources, paths) = chain.rules(&anyone, "ns").await;
    assert!(
        resources.iter().any(|r| r["resources"] == json!(["selfsubjectreviews"]))
            && paths.iter().any(|p| p["nonResourceURLs"].as_array().unwrap().contains(&json!("/api")))
    );
    let action = action("list pods ns/");
    let told = forbidden(&anyone, &action, "");
    assert_eq!(told.message, r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "ns""#);
}

#[tokio::test]
async fn a_node_reaches_what_its_pods_need() {
    let world = World::new();
    let pod = |node: &str| {
        json!({"spec": {"nodeName": node, "serviceAccountName": "app", "volumes": [
            {"name": "s", "secret": {"secretName": "s"}}, {"name": "c", "configMap": {"name": "c"}}, {"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]}})
    };
    world
        .put(
            "persistentvolumes",
            "",
            "pv",
            json!({"spec": {"claimRef": {"namespace": "ns", "name": "claim"}, "csi": {"nodeStageSecretRef": {"namespace": "csi", "name": "key"}}}}),
        )
        .await;
    world.put("pods", "ns", "p", pod("n1")).await;
    let chain = Chain::new(world.store.clone());
    let node = |name: &str| user(&format!("system:node:{name}"), &["system:nodes"]);
    let (n1, n2) = (node("n1"), node("n2"));
    let reached = [
        "get secrets ns/s",
        "watch secrets ns/s",
        "list configmaps ns/c",
        "get persistentvolumeclaims ns/claim",
        "get persistentvolumes /pv",
        "get secrets csi/key",
        "create serviceaccounts/token ns/app",
        "get serviceaccounts ns/app",
        "get pods ns/p",
    ];
    for text in reached {
        assert!(allowed(&chain, &n1, text).await, "{text}");
        assert!(!allowed(&chain, &n2, text).await, "{text} from another node");
    }
    for text in [
        "get secrets ns/other",
        "list secrets ns/",
        "delete secrets ns/s",
        "get secrets other/s",
        "get nodes /n2",
        "list nodes /",
        "delete nodes /n1",
        "update leases.coordination.k8s.io kube-node-lease/n2",
        "update leases.coordination.k8s.io ns/n1",
        "create deployments.apps ns/x",
        "get pods/log ns/p",
        "create pods/binding ns/p",
        "create serviceaccounts/token ns/default",
    ] {
        assert!(!allowed(&chain, &n1, text).await, "{text}");
    }
    for text in [
        "get nodes /n1",
        "create nodes /n1",
        "patch nodes/status /n1",
        "create leases.coordination.k8s.io kube-node-lease/",
        "update leases.coordination.k8s.io kube-node-lease/n1",
        "list services /",
        "patch pods/status ns/p",
        "create events ns/",
        "get csinodes.storage.k8s.io /n1",
        "create certificatesigningrequests.certificates.k8s.io /",
    ] {
        assert!(allowed(&chain, &n1, text).await, "{text}");
    }
    let many = |resource: &'static str, group: &'static str, fields: &str| {
        Action::of("watch", Target::new(GroupVersionResource::new(group, "v1", resource), "", ""), None, Some(fields))
    };
    for (resource, group) in [("pods", ""), ("resourceslices", "resource.k8s.io"), ("podcertificaterequests", "certificates.k8s.io")] {
        assert_eq!(chain.authorize(&n1, &many(resource, group, "spec.nodeName=n1")).await, Decision::Allow, "{resource}");
        for wider in ["spec.nodeName=n2", "spec.nodeName!=n1", "", "metadata.namespace=ns"] {
            assert_ne!(chain.authorize(&n1, &many(resource, group, wider)).await, Decision::Allow, "{resource} {wider}");
        }
    }
    let Decision::NoOpinion(why) = chain.authorize(&n2, &action("get secrets ns/s")).await else { panic!("allowed") };
    assert_eq!(why, "node: no relationship found between node 'n2' and this object");
    world.put("pods", "ns", "q", pod("n2")).await;
    assert!(allowed(&chain, &n2, "get secrets ns/s").await);
    world.delete("pods", "ns", "p").await;
    assert!(!allowed(&chain, &n1, "get secrets ns/s").await && allowed(&chain, &n2, "get secrets csi/key").await);
    world.put("pods", "ns", "m", json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": pod("n1")["spec"]})).await;
    assert!(!allowed(&chain, &n1, "get secrets ns/s").await, "a mirror pod opens nothing");
    let impostor = user("system:node:n2", &[]);
    assert!(!allowed(&chain, &impostor, "get secrets ns/s").await);
}

async fn write(chain: &Arc<Chain>, world: &World, who: &User, target: Target, old: Option<Value>, mut new: Value) -> Result<(), Status> {
    let guard = Guard::new(chain.rbac.clone(), chain.clone());
    let (who, kind) = (Arc::new(who.clone()), GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "Role"));
    let lookup = StoreLookup(world.store.clone());
    let verb = if old.is_some() { Verb::Update } else { Verb::Create };
    let mut attributes = Attributes {
        user: &who,
        verb,
        connect: false,
        reinvocation: Default::default(),
        target: &target,
        kind: &kind,
        old: old.as_ref(),
        object: Some(&mut new),
        options: &Value::Null,
        dry_run: false,
        warnings: vec![],
        audit: Default::default(),
        lookup: &lookup,
    };
    guard.validate(&mut attributes).await
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let world = World::new();
    world.rbac("clusterroles", "", "pods", json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]})).await;
    world
        .rbac(
            "clusterroles",
            "",
            "escalator",
            json!({"rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "clusterroles"], "verbs": ["escalate", "bind"]}]}),
        )
        .await;
    world.bind("rolebindings", "ns", "b", "ClusterRole", "pods", json!([{"kind": "User", "name": "jane"}])).await;
    world.bind("clusterrolebindings", "", "e", "ClusterRole", "escalator", json!([{"kind": "User", "name": "boss"}])).await;
    let chain = Arc::new(Chain::new(world.store.clone()));
    let target =
        |resource: &'static str, namespace: &str| Target::new(GroupVersionResource::new("rbac.authorization.k8s.io", "v1", resource), namespace, "new");
    let role = |verbs: &[&str]| json!({"metadata": {"name": "new"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]});
    let binding = |role: &str| json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "x"}]});
    let (jane, boss, root) = (user("jane", &[]), user("boss", &[]), user("root", &["system:masters"]));
    assert!(write(&chain, &world, &jane, target("roles", "ns"), None, role(&["get"])).await.is_ok());
    let refused = write(&chain, &world, &jane, target("roles", "ns"), None, role(&["get", "delete"])).await.unwrap_err();
    assert_eq!(
        refused.message,
        "roles.rbac.authorization.k8s.io \"new\" is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
    );
    assert!(write(&chain, &world, &jane, target("roles", "other"), None, role(&["get"])).await.is_err(), "held elsewhere");
    assert!(write(&chain, &world, &jane, target("clusterroles", ""), None, role(&["get"])).await.is_err(), "held in one namespace only");
    let changed = |field: &str, value: Value| {
        let mut role = role(&["delete"]);
        role["metadata"][field] = value;
        role
    };
    let old = || Some(role(&["delete"]));
    assert!(write(&chain, &world, &jane, target("roles", "ns"), old(), changed("finalizers", json!(["x"]))).await.is_ok(), "what collection writes");
    let labelled = changed("labels", json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"}));
    assert!(write(&chain, &world, &jane, target("roles", "ns"), old(), labelled).await.is_err(), "a label can aggregate");
    assert!(write(&chain, &world, &boss, target("roles", "ns"), None, role(&["delete"])).await.is_ok());
    assert!(write(&chain, &world, &root, target("clusterroles", ""), None, role(&["*"])).await.is_ok());
    let gathers = json!({"aggregationRule": {"clusterRoleSelectors": []}});
    assert!(
        write(&chain, &world, &jane, target("clusterroles", ""), None, gathers)
            .await
            .unwrap_err()
            .message
            .ends_with("must have cluster-admin privileges to use the aggregationRule")
    );
    assert!(write(&chain, &world, &jane, target("rolebindings", "ns"), None, binding("pods")).await.is_ok());
    assert!(write(&chain, &world, &jane, target("rolebindings", "ns"), None, binding("escalator")).await.unwrap_err().is(Reason::Forbidden));
    assert!(write(&chain, &world, &jane, target("clusterrolebindings", ""), None, binding("pods")).await.unwrap_err().is(Reason::Forbidden));
    assert!(write(&chain, &world, &jane, target("rolebindings", "ns"), None, binding("none")).await.unwrap_err().is(Reason::NotFound));
    assert!(write(&chain, &world, &boss, target("clusterrolebindings", ""), None, binding("escalator")).await.is_ok());
}
