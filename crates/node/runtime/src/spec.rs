//! A container's configuration into what the kernel is told. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use skiff_cri::{ContainerConfig, ImageConfig, PidMode, Propagation, Resources, Result, RuntimeError, SandboxConfig, Seccomp, Security};
use skiff_oci as oci;
use skiff_sys::caps;

use crate::user::Identity;

const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that a spec is made of.
pub(crate) struct Inputs<'a> {
    pub sandbox: &'a SandboxConfig,
    pub sandbox_folder: &'a Path,
    pub container: &'a ContainerConfig,
    pub image: &'a ImageConfig,
    pub rootfs: &'a Path,
    pub identity: &'a Identity,
    pub cgroup: &'a str,
    /// Files such as resolv.conf that the runtime provides where the kubelet doesn't.
    pub provided: &'a [(PathBuf, PathBuf)],
    /// The text of a localhost seccomp profile.
    pub profile: Option<String>,
    /// Of the container whose PID namespace is joined.
    pub target_pid: Option<u32>,
    pub hostname: &'a str,
}

pub(crate) fn build(inputs: &Inputs<'_>) -> Result<oci::Spec> {
    let (config, security) = (inputs.container, &inputs.container.security);
    let privileged = security.privileged;
    let paths = |own: &Option<Vec<String>>, usual: &[&str]| match own {
        _ if privileged => Vec::new(),
        Some(own) => own.clone(),
        None => usual.iter().map(|path| path.to_string()).collect(),
    };
    Ok(oci::Spec {
        rootfs: inputs.rootfs.to_owned(),
        readonly_rootfs: security.readonly_rootfs,
        process: process(inputs)?,
        mounts: mounts(inputs)?,
        devices: config.devices.iter().map(device).collect(),
        all_devices: privileged,
        sys_writable: privileged,
        masked_paths: paths(&security.masked_paths, &MASKED_PATHS),
        readonly_paths: paths(&security.readonly_paths, &READONLY_PATHS),
        namespaces: namespaces(inputs)?,
        shm: if inputs.sandbox.namespaces.host_ipc { "/dev/shm".into() } else { inputs.sandbox_folder.join(oci::sandbox::SHM) },
        cgroup: inputs.cgroup.to_owned(),
        resources: resources(&config.resources),
    })
}

fn process(inputs: &Inputs<'_>) -> Result<oci::Process> {
    let security = &inputs.container.security;
    Ok(oci::Process {
        args: arguments(inputs.container, inputs.image)?,
        env: environment(inputs),
        cwd: [&inputs.container.working_dir, &inputs.image.working_dir].into_iter().find(|cwd| !cwd.is_empty()).cloned().unwrap_or_else(|| "/".into()),
        uid: inputs.identity.uid,
        gid: inputs.identity.gid,
        groups: inputs.identity.groups.clone(),
        capabilities: capabilities(security)?,
        no_new_privs: security.no_new_privs,
        seccomp: match (&security.seccomp, &inputs.profile) {
            _ if security.privileged => oci::Seccomp::Unconfined,
            (Seccomp::Unconfined, _) => oci::Seccomp::Unconfined,
            (Seccomp::RuntimeDefault, _) => oci::Seccomp::Default,
            (Seccomp::Localhost(_), Some(text)) => oci::Seccomp::Profile(text.clone()),
            (Seccomp::Localhost(path), None) => return Err(RuntimeError::Invalid(format!("seccomp profile {} was not read", path.display()))),
        },
        tty: inputs.container.tty,
        oom_score_adj: inputs.container.resources.oom_score_adj.clamp(-1000, 1000),
    })
}

/// Kubernetes' table: a command replaces the image's entrypoint *and* its command, arguments only the latter.
fn arguments(config: &ContainerConfig, image: &ImageConfig) -> Result<Vec<String>> {
    let (mut argv, rest) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (config.command.clone(), &config.args),
        (true, false) => (image.entrypoint.clone(), &config.args),
        (true, true) => (image.entrypoint.clone(), &image.cmd),
    };
    argv.extend(rest.iter().cloned());
    if argv.is_empty() {
        return Err(RuntimeError::Invalid("no command specified".into()));
    }
    Ok(argv)
}

fn environment(inputs: &Inputs<'_>) -> Vec<String> {
    let mut env: Vec<String> = Vec::new();
    let mut set = |entry: String| {
        let name = entry.split('=').next().unwrap_or_default().to_owned() + "=";
        match env.iter_mut().find(|known| known.starts_with(&name)) {
            Some(known) => *known = entry,
            None => env.push(entry),
        }
    };
    set(DEFAULT_PATH.into());
    set(format!("HOSTNAME={}", inputs.hostname));
    if inputs.container.tty {
        set("TERM=xterm".into());
    }
    set(format!("HOME={}", inputs.identity.home));
    inputs.image.env.iter().for_each(|entry| set(entry.clone()));
    inputs.container.env.iter().for_each(|(name, value)| set(format!("{name}={value}")));
    env
}

pub(crate) fn capabilities(security: &Security) -> Result<u64> {
    if security.privileged {
        return Ok(caps::all());
    }
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let (add, drop) = (&security.capabilities.add, &security.capabilities.drop);
    let mut set = DEFAULT_CAPABILITIES.iter().filter_map(|name| caps::bit(name)).fold(0, |all, bit| all | bit);
    if add.iter().any(is_all) {
        set = caps::all();
    }
    if drop.iter().any(is_all) {
        set = 0;
    }
    let bit = |name: &String| caps::bit(name).ok_or_else(|| RuntimeError::Invalid(format!("unknown capability {name:?}")));
    for name in add.iter().filter(|name| !is_all(name)) {
        set |= bit(name)?;
    }
    for name in drop.iter().filter(|name| !is_all(name)) {
        set &= !bit(name)?;
    }
    Ok(set)
}

/// Shallow targets first, so that deeper ones land on top; otherwise in the given order.
fn mounts(inputs: &Inputs<'_>) -> Result<Vec<oci::Mount>> {
    let config = inputs.container;
    let own: BTreeSet<&Path> = config.mounts.iter().map(|mount| mount.container_path.as_path()).collect();
    let provided = inputs.provided.iter().filter(|(_, target)| !own.contains(target.as_path()));
    let mut mounts: Vec<oci::Mount> = provided
        .map(|(source, target)| oci::Mount {
            source: source.clone(),
            target: target.clone(),
            readonly: config.security.readonly_rootfs,
            ..oci::Mount::default()
        })
        .collect();
    for mount in &config.mounts {
        if !mount.container_path.is_absolute() {
            return Err(RuntimeError::Invalid(format!("mount path {} is not absolute", mount.container_path.display())));
        }
        mounts.push(oci::Mount {
            source: mount.host_path.clone(),
            target: mount.container_path.clone(),
            readonly: mount.readonly,
            recursive_readonly: mount.recursive_readonly,
            propagation: match mount.propagation {
                Propagation::Private => oci::Propagation::Private,
                Propagation::HostToContainer => oci::Propagation::HostToContainer,
                Propagation::Bidirectional => oci::Propagation::Bidirectional,
            },
        });
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

fn device(device: &skiff_cri::Device) -> oci::Device {
    let permissions = if device.permissions.is_empty() { "rwm".into() } else { device.permissions.clone() };
    oci::Device { source: device.host_path.clone(), target: device.container_path.clone(), permissions }
}

fn namespaces(inputs: &Inputs<'_>) -> Result<oci::Namespaces> {
    let pod = &inputs.sandbox.namespaces;
    if pod.user.is_some() {
        return Err(RuntimeError::Unsupported("user namespaces are not supported by this runtime yet".into()));
    }
    let pin = |own: bool, name: &str| own.then(|| inputs.sandbox_folder.join(name));
    let pid = match inputs.container.pid.as_ref().unwrap_or(&pod.pid) {
        PidMode::Container => oci::PidNamespace::New,
        PidMode::Pod => oci::PidNamespace::Join(inputs.sandbox_folder.join(oci::sandbox::PID)),
        PidMode::Host => oci::PidNamespace::Host,
        PidMode::Target(id) => match inputs.target_pid {
            Some(pid) => oci::PidNamespace::Join(format!("/proc/{pid}/ns/pid").into()),
            None => return Err(RuntimeError::Precondition(format!("target container {id} is not running"))),
        },
    };
    Ok(oci::Namespaces {
        net: pin(!pod.host_network, oci::sandbox::NET),
        ipc: pin(!pod.host_ipc, oci::sandbox::IPC),
        uts: pin(!pod.host_network, oci::sandbox::UTS),
        pid,
    })
}

pub(crate) fn resources(wanted: &Resources) -> oci::Resources {
    oci::Resources {
        cpu_shares: wanted.cpu_shares,
        cpu_quota: wanted.cpu_quota,
        cpu_period: wanted.cpu_period,
        memory_limit: wanted.memory_limit,
        pids_limit: wanted.pids_limit,
        cpuset_cpus: wanted.cpuset_cpus.clone(),
        cpuset_mems: wanted.cpuset_mems.clone(),
        hugepages: wanted.hugepages.iter().map(|limit| (limit.page_size.clone(), limit.limit)).collect(),
        unified: wanted.unified.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_cri::Capabilities;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn commands_follow_kubernetes_table() {
        let image = ImageConfig { entrypoint: words("entry"), cmd: words("cmd x"), ..ImageConfig::default() };
        for (command, args, result) in [("", "", "entry cmd x"), ("", "a b", "entry a b"), ("c", "", "c"), ("c d", "a", "c d a")] {
            let mut config = ContainerConfig::new("x", "i".into());
            (config.command, config.args) = (words(command), words(args));
            assert_eq!(arguments(&config, &image).expect("arguments"), words(result));
        }
        assert!(arguments(&ContainerConfig::new("x", "i".into()), &ImageConfig::default()).is_err());
    }

    #[test]
    fn capabilities_are_added_and_dropped_by_name() {
        let check =
            |add: &str, drop: &str| capabilities(&Security { capabilities: Capabilities { add: words(add), drop: words(drop) }, ..Security::default() });
        let bit = |name| caps::bit(name).expect("known");
        assert_eq!(check("", "").expect("default").count_ones(), 14);
        assert_eq!(check("NET_ADMIN", "ALL").expect("one"), bit("NET_ADMIN"));
        assert_eq!(check("all", "cap_chown").expect("all but one"), caps::all() & !bit("CHOWN"));
        assert!(check("FLY", "").is_err());
    }
}
