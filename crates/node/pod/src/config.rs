//! What the runtime is asked for, out of the pod's object.
use crate::{cgroup, expand::expand, names, security, view};
use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};
use skiff_cri::{
    ContainerConfig, ContainerId, ContainerMetadata, Device, DnsConfig, HostPort, Image, Mount, Namespaces, PidMode, PodMetadata, Propagation, Protocol,
    SandboxConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What the node knows when it makes a sandbox.
pub struct SandboxInputs<'a> {
    pub attempt: u32,
    pub hostname: String,
    pub dns: DnsConfig,
    pub log_root: &'a Path,
    pub cgroup_root: &'a str,
    pub pids_limit: i64,
    pub runtime_handler: String,
}

pub fn sandbox_config(pod: &Pod, i: SandboxInputs<'_>) -> SandboxConfig {
    let spec = view::spec(pod);
    let host_network = view::host_network(pod);
    let every = || view::init_containers(pod).iter().chain(view::containers(pod));
    SandboxConfig {
        metadata: PodMetadata { name: view::name(pod).into(), namespace: view::namespace(pod).into(), uid: view::uid(pod).into(), attempt: i.attempt },
        hostname: if host_network { String::new() } else { i.hostname },
        dns: i.dns,
        log_directory: names::log_directory(i.log_root, pod),
        labels: names::pod_labels(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        namespaces: Namespaces { host_network, host_ipc: spec.host_ipc == Some(true), pid: pid_mode(pod), user: None },
        sysctls: spec
            .security_context
            .as_ref()
            .and_then(|s| s.sysctls.as_ref())
            .into_iter()
            .flatten()
            .map(|s| (s.name.replace('/', "."), s.value.clone()))
            .collect(),
        host_ports: every().flat_map(|c| c.ports.iter().flatten()).filter_map(host_port).collect(),
        cgroup_parent: cgroup::parent(pod, i.cgroup_root),
        resources: cgroup::pod(pod, i.pids_limit),
        privileged: every().any(|c| c.security_context.as_ref().is_some_and(|s| s.privileged == Some(true))),
        runtime_handler: i.runtime_handler,
    }
}

fn pid_mode(pod: &Pod) -> PidMode {
    let spec = view::spec(pod);
    if spec.host_pid == Some(true) {
        PidMode::Host
    } else if spec.share_process_namespace == Some(true) {
        PidMode::Pod
    } else {
        PidMode::Container
    }
}

fn host_port(p: &ContainerPort) -> Option<HostPort> {
    let number = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
    Some(HostPort {
        protocol: match p.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        container_port: number(p.container_port)?,
        host_port: number(p.host_port?)?,
        host_ip: p.host_ip.as_deref().and_then(|ip| ip.parse().ok()).filter(|ip: &std::net::IpAddr| !ip.is_unspecified()),
    })
}

/// What the node knows when it makes a container.
pub struct ContainerInputs<'a> {
    pub attempt: u32,
    pub image: &'a Image,
    pub env: Vec<(String, String)>,
    /// Where each of the pod's volumes is on the node.
    pub volumes: &'a BTreeMap<String, PathBuf>,
    /// Volumes that nobody may write to, whatever the mount says.
    pub read_only: &'a BTreeSet<String>,
    /// Block devices by volume, for `volumeDevices`.
    pub devices: &'a BTreeMap<String, PathBuf>,
    /// Mounts that the node adds: hosts file, resolver, termination message.
    pub extra_mounts: Vec<Mount>,
    pub node_memory: i64,
    pub seccomp_root: &'a Path,
    /// The container that an ephemeral one joins.
    pub target: Option<ContainerId>,
    /// A mount's path below its volume, made safe (and made at all) by the node; by index of the volume mount.
    pub sub_paths: BTreeMap<usize, PathBuf>,
}

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error(transparent)]
    Security(#[from] security::SecurityError),
    #[error("cannot find volume {volume:?} to mount into container {container:?}")]
    Volume { volume: String, container: String },
}

pub fn container_config(pod: &Pod, c: &Container, i: ContainerInputs<'_>) -> Result<ContainerConfig, ConfigError> {
    let security = security::security(pod, c, &i.image.user, i.seccomp_root)?;
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        let lookup = |n: &str| i.env.iter().rev().find(|(k, _)| k == n).map(|(_, v)| v.as_str());
        list.iter().flatten().map(|s| expand(s, lookup)).collect()
    };
    let mut mounts = volume_mounts(c, &i)?;
    let taken: BTreeSet<PathBuf> = mounts.iter().map(|m| m.container_path.clone()).collect();
    mounts.extend(i.extra_mounts.iter().filter(|m| !taken.contains(&m.container_path)).cloned());
    Ok(ContainerConfig {
        metadata: ContainerMetadata { name: c.name.clone(), attempt: i.attempt },
        image: i.image.id.clone(),
        image_ref: c.image.clone().unwrap_or_default(),
        command: expanded(&c.command),
        args: expanded(&c.args),
        working_dir: c.working_dir.clone().unwrap_or_default(),
        mounts,
        devices: volume_devices(c, &i)?,
        labels: names::container_labels(pod, &c.name),
        annotations: names::container_annotations(pod, c, i.attempt),
        log_path: names::log_path(&c.name, i.attempt),
        tty: c.tty == Some(true),
        stdin: c.stdin == Some(true),
        stdin_once: c.stdin_once == Some(true),
        pid: i.target.map(PidMode::Target),
        security,
        resources: cgroup::container(pod, c, i.node_memory),
        stop_signal: c.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()),
        env: i.env,
    })
}

fn volume_mounts(c: &Container, i: &ContainerInputs<'_>) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for (n, m) in c.volume_mounts.iter().flatten().enumerate() {
        let Some(volume) = i.volumes.get(&m.name) else {
            return Err(ConfigError::Volume { volume: m.name.clone(), container: c.name.clone() });
        };
        let container_path = if m.mount_path.starts_with('/') { PathBuf::from(&m.mount_path) } else { Path::new("/").join(&m.mount_path) };
        let readonly = m.read_only == Some(true) || i.read_only.contains(&m.name);
        mounts.push(Mount {
            host_path: i.sub_paths.get(&n).unwrap_or(volume).clone(),
            container_path,
            readonly,
            recursive_readonly: readonly && matches!(m.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")),
            propagation: match m.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    Ok(mounts)
}

fn volume_devices(c: &Container, i: &ContainerInputs<'_>) -> Result<Vec<Device>, ConfigError> {
    let one = |d: &k8s_openapi::api::core::v1::VolumeDevice| {
        let host = i.devices.get(&d.name).ok_or_else(|| ConfigError::Volume { volume: d.name.clone(), container: c.name.clone() })?;
        let permissions = if i.read_only.contains(&d.name) { "r" } else { "rwm" };
        Ok(Device { host_path: host.clone(), container_path: PathBuf::from(&d.device_path), permissions: permissions.to_owned() })
    };
    c.volume_devices.iter().flatten().map(one).collect()
}

/// A volume mount's path below its volume, expanded; None when it wants the whole volume.
pub fn sub_path(m: &k8s_openapi::api::core::v1::VolumeMount, env: &[(String, String)]) -> Option<String> {
    if let Some(e) = m.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
        return Some(expand(e, |n| env.iter().rev().find(|(k, _)| k == n).map(|(_, v)| v.as_str())));
    }
    m.sub_path.clone().filter(|p| !p.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;
    use skiff_cri::ImageId;

    #[test]
    fn a_container_as_the_runtime_sees_it() {
        let p = pod(
            r#"{"containers":[{"name":"a","image":"x","command":["sh","-c","echo $(A)"],"volumeMounts":[{"name":"v","mountPath":"/etc/hosts","readOnly":true}]}]}"#,
        );
        let image = Image { id: ImageId::new("sha256:1"), tags: vec![], digests: vec![], size: 1, user: String::new(), pinned: false };
        let hosts = Mount { host_path: "/h".into(), container_path: "/etc/hosts".into(), ..Mount::default() };
        let volumes = BTreeMap::from([("v".to_owned(), PathBuf::from("/vols/v"))]);
        let (nothing, no_devices) = (BTreeSet::new(), BTreeMap::new());
        let inputs = |volumes| ContainerInputs {
            attempt: 2,
            image: &image,
            env: vec![("A".into(), "1".into())],
            volumes,
            read_only: &nothing,
            devices: &no_devices,
            extra_mounts: vec![hosts.clone()],
            node_memory: 1 << 30,
            seccomp_root: Path::new("/s"),
            target: None,
            sub_paths: BTreeMap::new(),
        };
        let c = container_config(&p, &view::containers(&p)[0], inputs(&volumes)).unwrap();
        assert_eq!(c.command, ["sh", "-c", "echo 1"]);
        assert_eq!(c.mounts.len(), 1, "the user's own mount wins over the node's");
        assert_eq!(c.log_path, Path::new("a/2.log"));
        let none = BTreeMap::new();
        assert!(container_config(&p, &view::containers(&p)[0], inputs(&none)).unwrap_err().to_string().contains("volume \"v\""));
    }

    #[test]
    fn a_sandbox() {
        let p = pod(
            r#"{"shareProcessNamespace":true,"securityContext":{"sysctls":[{"name":"net/core/somaxconn","value":"1"}]},"containers":[{"name":"a","ports":[{"containerPort":80,"hostPort":8080},{"containerPort":81}]}]}"#,
        );
        let s = sandbox_config(
            &p,
            SandboxInputs {
                attempt: 0,
                hostname: "p".into(),
                dns: DnsConfig::default(),
                log_root: Path::new("/var/log/pods"),
                cgroup_root: "/kubepods",
                pids_limit: -1,
                runtime_handler: String::new(),
            },
        );
        assert_eq!((s.host_ports.len(), s.namespaces.pid.clone()), (1, PidMode::Pod));
        assert_eq!(s.log_directory, Path::new("/var/log/pods/ns_p_u1"));
        assert_eq!(s.sysctls["net.core.somaxconn"], "1");
    }
}
