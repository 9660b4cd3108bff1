//! Who waits, who runs, who is turned away; time stands still but for what is waited for.
use super::*;
use skiff_json::{Value, json};
use skiff_meta::GroupVersionResource;
use skiff_request::Target;

fn level(name: &str, shares: u64, lendable: u64, length: u64) -> Value {
    json!({"metadata": {"name": name, "uid": format!("u-{name}")}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": {"queues": 8, "handSize": 2, "queueLengthLimit": length}}}}})
}
fn schema(name: &str, level: &str, user: &str) -> Value {
    json!({"metadata": {"name": name, "uid": format!("u-{name}")}, "spec": {"matchingPrecedence": 100, "priorityLevelConfiguration": {"name": level}, "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": user}}], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}})
}
fn two(seats: u64, length: u64) -> Arc<FlowControl> {
    FlowControl::new(seats, Configuration::read(&[schema("a", "a", "ann"), schema("b", "b", "bob")], &[level("a", 50, 50, length), level("b", 45, 50, length)]))
}
async fn ask(c: &FlowControl, user: User) -> Result<Admitted, Refused> {
    let (user, ask) = (Arc::new(user), Ask::Path("/"));
    let class = c.classify(&Request { user: &user, verb: "get", ask }).unwrap();
    c.admit(&class, &user, "get", ask, "/", Work::of(1)).await
}
fn named(name: &str) -> User {
    User::new(name, [User::AUTHENTICATED])
}
/// Starts requests until nobody gets a seat any more.
fn crowd(c: &Arc<FlowControl>, name: &str, n: usize) -> Vec<tokio::task::JoinHandle<Result<Admitted, Refused>>> {
    (0..n)
        .map(|_| {
            let (c, user) = (c.clone(), named(name));
            tokio::spawn(async move { ask(&c, user).await })
        })
        .collect()
}
fn picture(c: &FlowControl, name: &str) -> (usize, usize, u64) {
    let mut out = (0, 0, 0);
    c.each_level(|s| {
        if &*s.level.name == name {
            let p = s.level.picture();
            out = (p.running, p.waiting, p.limit);
        }
    });
    out
}
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_seat_is_waited_for_and_given_on() {
    let c = two(20, 10);
    let user = Arc::new(named("ann"));
    let class = c.classify(&Request { user: &user, verb: "get", ask: Ask::Path("/") }).unwrap();
    assert_eq!((class.uids(), class.names(), class.widest()), (("u-a", "u-a"), ("a", "a"), 2));
    // Half of what it can lend is lent from the beginning.
    let crowd = crowd(&c, "ann", 12);
    settle().await;
    assert_eq!(picture(&c, "a"), (8, 4, 8));
    // Bob has his own.
    let bob = ask(&c, named("bob")).await;
    assert!(bob.is_ok());
    for held in crowd {
        drop(held.await.unwrap().ok().unwrap());
    }
    assert_eq!(picture(&c, "a"), (0, 0, 8));
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_full_queues_turn_away_but_not_the_exempt() {
    let c = two(2, 2);
    let held = crowd(&c, "ann", 6);
    settle().await;
    assert_eq!(picture(&c, "a"), (1, 4, 1), "a hand of two queues for two each");
    let refused = Refused { why: Why::QueueFull, retry_after: 1 };
    assert_eq!(ask(&c, named("ann")).await.err(), Some(refused));
    assert!(ask(&c, User::new("root", [User::MASTERS])).await.is_ok());
    let mut answers = Vec::new();
    for h in held {
        answers.push(h.await.unwrap().map(std::mem::forget).err().map(|r| r.why));
    }
    answers.sort();
    assert_eq!(answers, [None, Some(Why::QueueFull), Some(Why::TimeOut), Some(Why::TimeOut), Some(Why::TimeOut), Some(Why::TimeOut)]);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_no_trace() {
    let c = two(2, 2);
    let held = ask(&c, named("ann")).await.ok().unwrap();
    let gone = crowd(&c, "ann", 2);
    settle().await;
    assert_eq!(picture(&c, "a"), (1, 2, 1));
    for g in gone {
        g.abort();
        let _ = g.await;
    }
    assert_eq!(picture(&c, "a"), (1, 0, 1));
    drop(held);
    assert!(ask(&c, named("ann")).await.is_ok());
    assert_eq!(picture(&c, "a"), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn idle_seats_are_lent_and_given_back() {
    let c = two(20, 50);
    tokio::spawn(c.clone().run());
    let _held = crowd(&c, "ann", 40);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let (running, _, limit) = picture(&c, "a");
    assert!(limit >= 14 && running as u64 == limit, "{running} of {limit}");
    // Bob comes: his minimum is his, whatever Ann has borrowed.
    let mut bobs = crowd(&c, "bob", 5);
    settle().await;
    assert!(picture(&c, "b").0 >= 4);
    bobs.clear();
}

#[tokio::test(start_paused = true)]
async fn a_level_that_goes_ends_with_its_requests() {
    let c = two(20, 10);
    let held = ask(&c, named("ann")).await.ok().unwrap();
    c.configure(Configuration::read(&[], &[]));
    let names = |c: &FlowControl| {
        let mut out = Vec::new();
        c.each_level(|s| out.push((s.level.name.to_string(), s.quiescing)));
        out
    };
    assert_eq!(names(&c), [("a".to_owned(), true), ("catch-all".to_owned(), false), ("exempt".to_owned(), false)]);
    drop(held);
    c.configure(Configuration::read(&[], &[]));
    assert_eq!(names(&c).len(), 2);
    let nobody = Arc::new(User::default());
    assert_eq!(c.classify(&Request { user: &nobody, verb: "get", ask: Ask::Path("/") }).unwrap().names().0, "catch-all");
}

#[tokio::test(start_paused = true)]
async fn seats_linger_after_writes_that_many_watch() {
    let c = two(20, 10);
    let user = Arc::new(named("ann"));
    let class = c.classify(&Request { user: &user, verb: "get", ask: Ask::Path("/") }).unwrap();
    let work = Work { seats: 1, final_seats: 8, lingers: 1.0 };
    drop(c.admit(&class, &user, "create", Ask::Path("/"), "/", work).await.ok().unwrap());
    let waits = crowd(&c, "ann", 1);
    settle().await;
    assert_eq!(picture(&c, "a"), (0, 1, 8));
    let begun = Instant::now();
    for w in waits {
        assert!(w.await.unwrap().is_ok());
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

/// The cluster as it is from its first start. A controller gone wild has a thousand requests at once, each of which takes
/// 100 ms; the kubelet renews its lease and another controller asks now and then.
#[tokio::test(start_paused = true)]
async fn a_misbehaving_client_does_not_starve_the_kubelet() {
    let declared = |all: &[crate::bootstrap::Declared]| all.iter().map(|d| d.object.clone()).collect::<Vec<_>>();
    let c = FlowControl::new(600, Configuration::read(&declared(crate::bootstrap::schemas()), &declared(crate::bootstrap::levels())));
    tokio::spawn(c.clone().run());
    let request = |c: Arc<FlowControl>, user: Arc<User>, verb: &'static str, target: Target| async move {
        let begun = Instant::now();
        let class = c.classify(&Request { user: &user, verb, ask: Ask::Resource(&target) }).unwrap();
        let admitted = c.admit(&class, &user, verb, Ask::Resource(&target), "/path", Work::of(1)).await?;
        let waited = begun.elapsed();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(admitted);
        Ok::<_, Refused>(waited)
    };
    let account = |name: &str| Arc::new(User::new(format!("system:serviceaccount:shop:{name}"), ["system:serviceaccounts", User::AUTHENTICATED]));
    let pods = Target::new(GroupVersionResource::new("", "v1", "pods"), "shop", "");
    for _ in 0..1000 {
        let (c, user, pods) = (c.clone(), account("wild"), pods.clone());
        tokio::spawn(async move {
            loop {
                if request(c.clone(), user.clone(), "list", pods.clone()).await.is_err() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    let node = Arc::new(User::new("system:node:n", ["system:nodes", User::AUTHENTICATED]));
    let lease = Target::new(GroupVersionResource::new("coordination.k8s.io", "v1", "leases"), "kube-node-lease", "n");
    let (mut renewals, mut calm) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        renewals.push(request(c.clone(), node.clone(), "update", lease.clone()).await);
        calm.push(request(c.clone(), account("calm"), "get", pods.clone()).await);
    }
    assert!(renewals.iter().all(|r| *r == Ok(Duration::ZERO)), "{renewals:?}");
    // In the same level the calm one waits for a free seat at most, never behind the wild one's queue.
    assert!(calm.iter().all(|r| r.is_ok_and(|waited| waited < Duration::from_secs(1))), "{calm:?}");
}

/// What a request pays when there is a free seat; run with `--ignored --nocapture`, it judges nothing.
#[tokio::test]
#[ignore = "prints a figure"]
async fn cost_of_a_request_that_waits_for_nobody() {
    let declared = |all: &[crate::bootstrap::Declared]| all.iter().map(|d| d.object.clone()).collect::<Vec<_>>();
    let c = FlowControl::new(600, Configuration::read(&declared(crate::bootstrap::schemas()), &declared(crate::bootstrap::levels())));
    let pods = Target::new(GroupVersionResource::new("", "v1", "pods"), "shop", "");
    let users = [
        ("masters", User::new("root", [User::MASTERS, User::AUTHENTICATED])),
        ("service account", User::new("system:serviceaccount:shop:x", ["system:serviceaccounts", User::AUTHENTICATED])),
    ];
    for (name, user) in users.map(|(n, u)| (n, Arc::new(u))) {
        const N: u32 = 200_000;
        let begun = std::time::Instant::now();
        for _ in 0..N {
            let ask = Ask::Resource(&pods);
            let class = c.classify(&Request { user: &user, verb: "get", ask }).unwrap();
            drop(c.admit(&class, &user, "get", ask, "/api/v1/namespaces/shop/pods", Work::of(1)).await.ok().unwrap());
        }
        println!("{name}: {:?} a request", begun.elapsed() / N);
    }
}
