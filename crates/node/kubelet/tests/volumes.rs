//! Volumes of a pod that the node agent runs: a ConfigMap that changes, the downward API, an emptyDir.
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use skiff_client::DeleteOptions;
use skiff_controller::SystemClock;
use skiff_cri::fake::{FakeImages, FakeNetwork, FakeRuntime};
use skiff_cri::{ContainerFilter, ContainerId, Runtime, Snapshots};
use skiff_kubelet::{Access, Config, Gate, ImageMounts, Kubelet, NodeVolumes, Parts, Peer};
use skiff_meta::{Quantity, Status};
use std::sync::Arc;

struct Open;
#[async_trait::async_trait]
impl Gate for Open {
    async fn allow(&self, _: &Peer, _: &Access) -> Result<(), Status> {
        Ok(())
    }
}

fn config_map(value: &str) -> ConfigMap {
    skiff_json::from_str(&format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"cm","namespace":"ns"}},"data":{{"k":"{value}"}}}}"#)).unwrap()
}

#[tokio::test]
async fn a_config_map_shows_up_and_changes() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: volumes need root");
        return;
    }
    let api = skiff_client::fake::Fake::new();
    let client = api.client();
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new("n1", vec!["192.0.2.1".parse().unwrap()], dir.path().join("root"));
    config.log_dir = dir.path().join("logs");
    config.container_log_links = None;
    config.listen = None;
    let runtime = Arc::new(FakeRuntime::new(Arc::new(FakeNetwork::default())));
    let clock = Arc::new(SystemClock);
    let images = Arc::new(FakeImages::default());
    let mounts = ImageMounts { images: images.clone(), snapshots: images.clone() };
    let volumes = NodeVolumes::new(client.clone(), clock.clone(), config.node_ips.clone(), (Quantity::units(2), Quantity::bytes(1 << 30)), mounts);
    let parts = Parts { client: client.clone(), runtime: runtime.clone(), images: images.clone(), volumes: Arc::new(volumes), clock, gate: Arc::new(Open) };
    let kubelet = Kubelet::start(config, parts).await.unwrap();
    let text = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"ns"},"spec":{"nodeName":"n1","restartPolicy":"Always",
        "volumes":[{"name":"c","configMap":{"name":"cm"}},{"name":"d","downwardAPI":{"items":[{"path":"name","fieldRef":{"fieldPath":"metadata.name"}}]}},{"name":"e","emptyDir":{}},{"name":"i","image":{"reference":"artifact:1"}}],
        "containers":[{"name":"a","image":"x:1","volumeMounts":[{"name":"c","mountPath":"/c"},{"name":"d","mountPath":"/d"},{"name":"e","mountPath":"/e"},{"name":"i","mountPath":"/i"}]}]}}"#;
    client.create(&skiff_json::from_str::<Pod>(text).unwrap()).await.unwrap();
    client.create(&config_map("one")).await.unwrap();
    let mounts = loop {
        tokio::task::yield_now().await;
        let all = runtime.list_containers(&ContainerFilter::default()).await.unwrap();
        if let Some(c) = all.into_iter().next() {
            break c.mounts;
        }
    };
    let at = |inside: &str| mounts.iter().find(|m| m.container_path.to_str() == Some(inside)).unwrap().host_path.clone();
    assert_eq!(std::fs::read_to_string(at("/c").join("k")).unwrap(), "one");
    assert_eq!(std::fs::read_to_string(at("/d").join("name")).unwrap(), "p");
    assert!(at("/e").is_dir());
    client.update(&config_map("two")).await.unwrap();
    while std::fs::read_to_string(at("/c").join("k")).unwrap_or_default() != "two" {
        tokio::task::yield_now().await;
    }
    let pod: Pod = client.find("ns", "p").await.unwrap().unwrap();
    let image = ContainerId::new(format!("volume-{}-i", pod.metadata.uid.unwrap()));
    assert_eq!(at("/i"), std::path::Path::new("/fake/snapshots").join(image.as_str()));
    client.delete::<Pod>("ns", "p", &DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() }).await.unwrap();
    while !images.prepared().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    kubelet.stop();
}
