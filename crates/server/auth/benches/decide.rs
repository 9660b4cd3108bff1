//! What one decision costs: RBAC and Node authorisation under the bootstrap policy, recognising a token.
//!
//! `cargo bench -p skiff-auth`. Wall time of one thread.
#[path = "../tests/world/mod.rs"]
mod world;

use skiff_auth::Chain;
use skiff_auth::token::{Issuer, Keys};
use skiff_json::json;
use skiff_meta::GroupVersionResource;
use skiff_policy::{Action, Authorizer, Decision};
use skiff_request::{Target, User};
use std::sync::Arc;
use std::time::Instant;
use world::World;

fn tell(what: &str, n: u32, started: Instant) {
    println!("{what:<44} {:>8.2} us", started.elapsed().as_secs_f64() * 1e6 / f64::from(n));
}

async fn authorise(chain: &Chain, what: &str, user: User, action: Action) {
    assert_eq!(chain.authorize(&user, &action).await, Decision::Allow);
    let started = Instant::now();
    for _ in 0..100_000 {
        std::hint::black_box(chain.authorize(&user, &action).await);
    }
    tell(what, 100_000, started);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let world = World::new();
    world.bootstrap().await;
    world.put("serviceaccounts", "ns", "app", json!({})).await;
    for n in 0..100 {
        let spec = json!({"nodeName": "n1", "serviceAccountName": "app", "volumes": [{"name": "s", "secret": {"secretName": format!("s{n}")}}]});
        world.put("pods", "ns", &format!("p{n}"), json!({"spec": spec})).await;
    }
    let chain = Chain::new(world.store.clone());
    let resource = |group: &'static str, resource: &'static str| GroupVersionResource::new(group, "v1", resource);
    let action = |verb: &str, r, namespace: &str, name: &str| Action::resource(verb, Target::new(r, namespace, name));
    let controller = User::new(
        "system:serviceaccount:kube-system:deployment-controller",
        ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
    );
    authorise(&chain, "RBAC, a controller", controller, action("update", resource("apps", "deployments"), "ns", "x")).await;
    let node = User::new("system:node:n1", ["system:nodes", "system:authenticated"]);
    authorise(&chain, "Node, a pod's secret", node.clone(), action("get", resource("", "secrets"), "ns", "s1")).await;
    authorise(&chain, "Node, its lease", node, action("update", resource("coordination.k8s.io", "leases"), "kube-node-lease", "n1")).await;
    let started = Instant::now();
    for n in 0..200 {
        world.bind("rolebindings", "ns", &format!("b{n}"), "ClusterRole", "view", json!([{"kind": "User", "name": "x"}])).await;
        chain.rbac.held(&User::new("x", ["g"]), "ns");
    }
    tell("RBAC, after a binding changed", 200, started);
    let issuer = Issuer::new(
        Keys::new(&Keys::generate().expect("a key"), &[]).expect("a key"),
        "https://x",
        vec![],
        world.store.clone(),
        world.clock(),
        Arc::new(String::new),
    );
    let started = Instant::now();
    let tokens: Vec<_> =
        (0..500).map(|_| issuer.issue("ns", "app", json!({})).expect("a token").request["status"]["token"].as_str().expect("a token").to_owned()).collect();
    tell("issue a token", 500, started);
    for what in ["recognise a token, the first time", "recognise a token, again"] {
        let started = Instant::now();
        for token in &tokens {
            std::hint::black_box(issuer.recognise(token, &[]).expect("good"));
        }
        tell(what, 500, started);
    }
}
