//! The node agent against a runtime, images and an API in memory. Time is tokio's, paused: nothing really waits.
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_client::{Client, DeleteOptions};
use skiff_controller::Clock;
use skiff_cri::fake::{FakeImages, FakeNetwork, FakeRuntime};
use skiff_cri::{ContainerFilter, ContainerState, ContainerStatus, ExitReason, Runtime, SandboxFilter};
use skiff_kubelet::{Access, Config, Gate, Handle, Kubelet, NoVolumes, Parts, Peer};
use skiff_meta::{MicroTime, Status};
use std::sync::Arc;
use std::time::Duration;

/// Tokio's time, from 1970 on, as the runtime in memory counts.
struct TestClock(tokio::time::Instant);
impl Clock for TestClock {
    fn now(&self) -> MicroTime {
        MicroTime(i64::try_from(self.0.elapsed().as_micros()).unwrap())
    }
}

struct Open;
#[async_trait::async_trait]
impl Gate for Open {
    async fn allow(&self, _: &Peer, _: &Access) -> Result<(), Status> {
        Ok(())
    }
}

struct World {
    api: skiff_client::fake::Fake,
    client: Client,
    runtime: Arc<FakeRuntime>,
    network: Arc<FakeNetwork>,
    images: Arc<FakeImages>,
    clock: Arc<TestClock>,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (api, network) = (skiff_client::fake::Fake::new(), Arc::new(FakeNetwork::default()));
        Self {
            client: api.client(),
            api,
            runtime: Arc::new(FakeRuntime::new(network.clone())),
            network,
            images: Arc::new(FakeImages::default()),
            clock: Arc::new(TestClock(tokio::time::Instant::now())),
            dir: tempfile::tempdir().unwrap(),
        }
    }
    async fn start(&self) -> Handle {
        let mut config = Config::new("n1", vec!["192.0.2.1".parse().unwrap()], self.dir.path().join("root"));
        config.log_dir = self.dir.path().join("logs");
        config.container_log_links = None;
        config.listen = None;
        let parts = Parts {
            client: self.client.clone(),
            runtime: self.runtime.clone(),
            images: self.images.clone(),
            volumes: Arc::new(NoVolumes),
            clock: self.clock.clone(),
            gate: Arc::new(Open),
        };
        Kubelet::start(config, parts).await.unwrap()
    }
    async fn create(&self, spec: &str) -> Pod {
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p","namespace":"ns"}},"spec":{{"nodeName":"n1","restartPolicy":"Always",{spec}}}}}"#
        );
        self.client.create(&skiff_json::from_str::<Pod>(&text).unwrap()).await.unwrap()
    }
    async fn pod(&self) -> Option<Pod> {
        self.client.find("ns", "p").await.unwrap()
    }
    async fn until(&self, what: &str, done: impl Fn(&Pod) -> bool) -> Pod {
        for _ in 0..200_000 {
            if let Some(p) = self.pod().await.filter(&done) {
                return p;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {what}: {:?}", self.pod().await.map(|p| p.status));
    }
    async fn until_gone(&self) {
        for _ in 0..20_000 {
            if self.pod().await.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never gone: {:?}", self.pod().await);
    }
    async fn containers(&self) -> Vec<ContainerStatus> {
        self.runtime.list_containers(&ContainerFilter::default()).await.unwrap()
    }
    async fn running(&self, name: &str) -> Option<ContainerStatus> {
        self.containers().await.into_iter().find(|c| c.metadata.name == name && c.state == ContainerState::Running)
    }
}

/// What the node says of its readiness.
async fn ready(w: &World) -> Option<String> {
    let node = w.client.find::<Node>("", "n1").await.unwrap()?;
    node.status?.conditions?.into_iter().find(|c| c.type_ == "Ready").map(|c| c.status)
}

/// Pods need not learn of the moment in which a node's network is set up anew; of a network that stays away they do.
#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_says_nothing_of_a_moment() {
    let w = World::new();
    let seconds = |n| tokio::time::sleep(Duration::from_secs(n));
    let first = w.start().await;
    seconds(5).await;
    assert_eq!(ready(&w).await.as_deref(), Some("True"));
    first.stop();
    w.network.set_problem(Some("coming"));
    let second = w.start().await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(ready(&w).await.as_deref(), Some("True"));
    }
    w.network.set_problem(None);
    seconds(30).await;
    assert_eq!(ready(&w).await.as_deref(), Some("True"));
    second.stop();
    w.network.set_problem(Some("gone"));
    let _third = w.start().await;
    seconds(60).await;
    assert_eq!(ready(&w).await.as_deref(), Some("False"));
}

fn phase(p: &Pod) -> &str {
    p.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}
fn restarts(p: &Pod) -> i32 {
    p.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).map(|c| c.restart_count).sum()
}
fn waits_for(p: &Pod, reason: &str) -> bool {
    let statuses = p.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    statuses.filter_map(|c| c.state.as_ref()?.waiting.as_ref()?.reason.clone()).any(|r| r == reason)
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_restarts_and_goes() {
    let w = World::new();
    let _kubelet = w.start().await;
    w.create(r#""terminationGracePeriodSeconds":5,"containers":[{"name":"a","image":"busybox:1"}]"#).await;
    let p = w.until("Running", |p| phase(p) == "Running").await;
    let s = p.status.as_ref().unwrap();
    assert!(s.pod_ip.is_some() && s.host_ip.as_deref() == Some("192.0.2.1"));
    let first = w.running("a").await.unwrap();
    w.runtime.exit(&first.id, 1, ExitReason::Error).unwrap();
    w.until("restarted", |p| restarts(p) == 1 && phase(p) == "Running").await;
    let second = w.running("a").await.unwrap();
    w.runtime.exit(&second.id, 1, ExitReason::Error).unwrap();
    w.until("backing off", |p| waits_for(p, "CrashLoopBackOff")).await;
    w.until("restarted again", |p| restarts(p) == 2).await;
    w.client.delete::<Pod>("ns", "p", &DeleteOptions::default()).await.unwrap();
    w.until_gone().await;
    for _ in 0..1000 {
        if w.runtime.list_sandboxes(&SandboxFilter::default()).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the sandbox stayed");
}

#[tokio::test(start_paused = true)]
async fn init_containers_come_first_and_a_job_pod_succeeds() {
    let w = World::new();
    let _kubelet = w.start().await;
    w.create(r#""initContainers":[{"name":"i","image":"x:1","command":["exit","0"]}],"containers":[{"name":"a","image":"x:1"}]"#).await;
    let pod = w.until("Running", |p| phase(p) == "Running").await;
    assert!(pod.status.unwrap().init_container_statuses.unwrap()[0].ready);
    w.client.delete::<Pod>("ns", "p", &DeleteOptions::default().grace(1)).await.unwrap();
    w.until_gone().await;
    let text = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"ns"},"spec":{"nodeName":"n1","restartPolicy":"Never","containers":[{"name":"a","image":"x:1","command":["exit","0"]}]}}"#;
    w.client.create(&skiff_json::from_str::<Pod>(text).unwrap()).await.unwrap();
    w.until("Succeeded", |p| phase(p) == "Succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_touches_no_container() {
    let w = World::new();
    let kubelet = w.start().await;
    w.create(r#""containers":[{"name":"a","image":"busybox:1"}]"#).await;
    w.until("Running", |p| phase(p) == "Running").await;
    let before = w.containers().await;
    kubelet.stop();
    let again = w.start().await;
    for _ in 0..500 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(again.pods(), 1);
    let after = w.containers().await;
    assert_eq!((before.len(), before[0].id.clone(), after[0].state), (after.len(), after[0].id.clone(), ContainerState::Running));
    assert_eq!(phase(&w.pod().await.unwrap()), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_fails_backs_off_and_heals() {
    let w = World::new();
    w.images.fail_pull("bad:1", "no such image");
    let _kubelet = w.start().await;
    w.create(r#""containers":[{"name":"a","image":"bad:1"}]"#).await;
    w.until("failing", |p| waits_for(p, "ErrImagePull")).await;
    w.until("backing off", |p| waits_for(p, "ImagePullBackOff")).await;
    w.images.heal_pull("bad:1");
    w.until("Running", |p| phase(p) == "Running").await;
}

#[tokio::test(start_paused = true)]
async fn a_force_deleted_pod_is_ended_too_and_a_rejected_one_fails() {
    let w = World::new();
    let _kubelet = w.start().await;
    w.create(r#""containers":[{"name":"a","image":"x:1","command":["stubborn"]}]"#).await;
    w.until("Running", |p| phase(p) == "Running").await;
    w.client.delete::<Pod>("ns", "p", &DeleteOptions::default().grace(0)).await.unwrap();
    w.until_gone().await;
    for _ in 0..1000 {
        if w.running("a").await.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(w.running("a").await.is_none());
    w.create(r#""nodeSelector":{"no":"way"},"containers":[{"name":"a","image":"x:1"}]"#).await;
    let p = w.until("Failed", |p| phase(p) == "Failed").await;
    assert_eq!(p.status.unwrap().reason.as_deref(), Some("NodeAffinity"));
}

#[tokio::test(start_paused = true)]
async fn the_node_registers_is_ready_and_renews_its_lease() {
    let w = World::new();
    let _kubelet = w.start().await;
    for _ in 0..10_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Some(node) = w.client.find::<Node>("", "n1").await.unwrap() else { continue };
        let ready = node.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True");
        let lease = w.client.find::<Lease>("kube-node-lease", "n1").await.unwrap();
        if ready && lease.is_some() {
            assert_eq!(node.metadata.labels.unwrap()["kubernetes.io/hostname"], "n1");
            let writes = w.api.writes().len();
            tokio::time::sleep(Duration::from_secs(100)).await;
            let more = w.api.writes().len() - writes;
            assert!((8..=16).contains(&more), "only the lease is renewed while nothing changes: {more}");
            return;
        }
    }
    panic!("never ready");
}

#[tokio::test(start_paused = true)]
async fn probes_restart_and_make_ready_and_hooks_run() {
    use skiff_cri::ExecOutput;
    let w = World::new();
    let alive = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let hooks = Arc::new(parking_lot::Mutex::new(Vec::<String>::new()));
    let (says, seen) = (alive.clone(), hooks.clone());
    w.runtime.on_exec(move |_, argv| {
        seen.lock().push(argv.join(" "));
        let ok = argv[0] != "live" || says.load(std::sync::atomic::Ordering::SeqCst);
        Some(ExecOutput { exit_code: i32::from(!ok), stdout: vec![], stderr: vec![] })
    });
    let _kubelet = w.start().await;
    w.create(
        r#""terminationGracePeriodSeconds":3,"containers":[{"name":"a","image":"x:1",
            "livenessProbe":{"exec":{"command":["live"]},"periodSeconds":1,"failureThreshold":2},
            "readinessProbe":{"exec":{"command":["ready"]},"periodSeconds":1},
            "lifecycle":{"postStart":{"exec":{"command":["begin"]}},"preStop":{"exec":{"command":["end"]}}}}]"#,
    )
    .await;
    let ready = |p: &Pod| p.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).any(|c| c.ready);
    w.until("ready", ready).await;
    alive.store(false, std::sync::atomic::Ordering::SeqCst);
    w.until("restarted", |p| restarts(p) == 1).await;
    alive.store(true, std::sync::atomic::Ordering::SeqCst);
    w.until("ready again", ready).await;
    w.client.delete::<Pod>("ns", "p", &DeleteOptions::default()).await.unwrap();
    w.until_gone().await;
    let calls = hooks.lock().clone();
    let count = |word: &str| calls.iter().filter(|c| *c == word).count();
    assert_eq!((count("begin"), count("end")), (2, 2), "both hooks ran for both containers");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_vanished_while_nobody_watched_is_cleaned_up() {
    let w = World::new();
    let kubelet = w.start().await;
    w.create(r#""containers":[{"name":"a","image":"x:1"}]"#).await;
    w.until("Running", |p| phase(p) == "Running").await;
    kubelet.stop();
    w.client.delete::<Pod>("ns", "p", &DeleteOptions::default().grace(0)).await.unwrap();
    let _again = w.start().await;
    for _ in 0..1000 {
        if w.runtime.list_sandboxes(&SandboxFilter::default()).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the orphan stayed");
}

fn with_cpu(mut p: Pod, cpu: &str) -> Pod {
    let resources = skiff_json::json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
    for c in p.spec.iter_mut().flat_map(|s| &mut s.containers) {
        c.resources = Some(skiff_json::from_value(resources.clone()).unwrap());
    }
    p.metadata.generation = p.metadata.generation.map(|g| g + 1);
    p
}
fn has_condition(p: &Pod, kind: &str, reason: &str) -> bool {
    p.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == kind && (reason.is_empty() || c.reason.as_deref() == Some(reason)))
}
fn actual_cpu(p: &Pod) -> String {
    let status = p.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).next();
    let limits = status.and_then(|s| s.resources.as_ref()?.limits.clone()).unwrap_or_default();
    limits.get("cpu").map(|q| q.0.clone()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_resize_changes_the_groups_and_one_that_never_fits_changes_nothing() {
    let w = World::new();
    let kubelet = w.start().await;
    w.create(r#""containers":[{"name":"a","image":"x:1","resources":{"requests":{"cpu":"100m"},"limits":{"cpu":"100m"}}}]"#).await;
    let p = w.until("Running", |p| phase(p) == "Running").await;
    let first = w.running("a").await.unwrap();
    assert_eq!((first.resources.cpu_quota, actual_cpu(&p).as_str()), (10_000, "100m"));
    w.client.update(&with_cpu(p, "200m")).await.unwrap();
    let p = w.until("resized", |p| actual_cpu(p) == "200m" && !has_condition(p, "PodResizeInProgress", "")).await;
    let now = w.running("a").await.unwrap();
    assert_eq!((now.id == first.id, now.resources.cpu_quota), (true, 20_000));
    let sandbox = w.runtime.list_sandboxes(&SandboxFilter::default()).await.unwrap().remove(0);
    assert_eq!(sandbox.resources.cpu_quota, 20_000);
    w.client.update(&with_cpu(p, "100000")).await.unwrap();
    w.until("refused", |p| has_condition(p, "PodResizePending", "Infeasible")).await;
    kubelet.stop();
    let _kubelet = w.start().await;
    let p = w.until("refused by the next agent, too", |p| has_condition(p, "PodResizePending", "Infeasible") && phase(p) == "Running").await;
    assert_eq!((actual_cpu(&p).as_str(), w.running("a").await.unwrap().resources.cpu_quota), ("200m", 20_000));
}
