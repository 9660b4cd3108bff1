//! Pods and runtime states for tests.
use crate::observed::Observed;
use k8s_openapi::api::core::v1::Pod;
use skiff_cri::{ContainerId, ContainerMetadata, ContainerState, ContainerStatus, ImageId, PodIps, SandboxId, SandboxState, SandboxStatus};

pub fn pod(spec: &str) -> Pod {
    let text = format!(r#"{{"metadata":{{"name":"p","namespace":"ns","uid":"u1","generation":1}},"spec":{spec}}}"#);
    skiff_json::from_str(&text).unwrap()
}

pub fn sandbox(attempt: u32, state: SandboxState) -> SandboxStatus {
    SandboxStatus {
        id: SandboxId::new(format!("s{attempt}")),
        metadata: skiff_cri::PodMetadata { name: "p".into(), namespace: "ns".into(), uid: "u1".into(), attempt },
        state,
        created_at: i64::from(attempt) + 1,
        ips: PodIps(vec!["10.42.0.5".parse().unwrap()]),
        namespaces: Default::default(),
        labels: Default::default(),
        annotations: Default::default(),
        runtime_handler: String::new(),
        resources: Default::default(),
        netns: None,
    }
}

pub fn container(name: &str, attempt: u32, state: ContainerState, exit_code: i32) -> ContainerStatus {
    ContainerStatus {
        id: ContainerId::new(format!("{name}-{attempt}")),
        sandbox: SandboxId::new("s0"),
        metadata: ContainerMetadata { name: name.into(), attempt },
        state,
        created_at: 10 + i64::from(attempt),
        started_at: 1_000_000_000,
        finished_at: if state == ContainerState::Exited { 2_000_000_000 } else { 0 },
        exit_code,
        reason: (state == ContainerState::Exited).then_some(if exit_code == 0 { skiff_cri::ExitReason::Completed } else { skiff_cri::ExitReason::Error }),
        message: String::new(),
        image: ImageId::new("sha256:1"),
        image_ref: "busybox".into(),
        labels: Default::default(),
        annotations: Default::default(),
        mounts: vec![],
        log_path: Default::default(),
        resources: Default::default(),
        user: None,
        pid: None,
    }
}

/// A pod with one ready sandbox and these containers (`name`, state, exit code).
pub fn observed(containers: &[(&str, ContainerState, i32)]) -> Observed {
    Observed::new(vec![sandbox(0, SandboxState::Ready)], containers.iter().map(|(n, s, e)| container(n, 0, *s, *e)).collect())
}
