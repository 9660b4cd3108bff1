//! A pod's namespaces, made once and pinned by bind mounts, so that no process has to hold them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skiff_sys::{mount, namespace, process, signal};

use crate::error::{At, Error, Result};

/// What the pod has of its own. Files are made in `folder`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSpec {
    pub folder: PathBuf,
    pub own_net: bool,
    pub own_ipc: bool,
    pub own_uts: bool,
    /// One PID namespace for all containers: needs a process that lives as long as the pod.
    pub own_pid: bool,
    pub hostname: String,
    pub sysctls: BTreeMap<String, String>,
}

/// The names of the pins.
pub const NET: &str = "net";
pub const IPC: &str = "ipc";
pub const UTS: &str = "uts";
pub const PID: &str = "pid";
pub const SHM: &str = "shm";

/// Makes and pins the namespaces. Only for a process of one thread. With a shared PID namespace the answer is its first
/// process.
pub fn create(spec: &SandboxSpec) -> Result<Option<(i32, OwnedFd)>> {
    let kinds = [(spec.own_net, namespace::NET), (spec.own_ipc, namespace::IPC), (spec.own_uts, namespace::UTS)];
    let unshared = kinds.iter().filter(|(own, _)| *own).fold(0, |all, (_, kind)| all | kind);
    let (mut ours, theirs) = UnixStream::pair().at(|| "make a channel".into())?;
    let flags = unshared | if spec.own_pid { namespace::PID } else { 0 };
    // SAFETY: the caller has one thread.
    match unsafe { process::clone3(flags) }.at(|| "fork into the pod's namespaces".into())? {
        process::Forked::Child => {
            drop(ours);
            child(spec, theirs)
        }
        process::Forked::Parent { pid, pidfd } => {
            drop(theirs);
            let ready = hear(&mut ours).and_then(|()| pin_all(spec, pid));
            if ready.is_ok() && spec.own_pid {
                let _ = ours.write_all(b"go");
                return Ok(Some((pid, pidfd)));
            }
            drop(ours);
            let _ = process::signal(std::os::fd::AsFd::as_fd(&pidfd), 9);
            let _ = process::wait(pid);
            ready.map(|()| None)
        }
    }
}

fn hear(channel: &mut UnixStream) -> Result<()> {
    let mut text = [0; 512];
    let count = channel.read(&mut text).at(|| "hear from the pod's first process".into())?;
    match text.get(..count) {
        Some(b"ok") => Ok(()),
        Some(message) => Err(Error::Profile(String::from_utf8_lossy(message).into_owned())),
        None => Err(Error::Profile("the pod's first process ended".into())),
    }
}

fn child(spec: &SandboxSpec, mut channel: UnixStream) -> ! {
    let answer = match set_up(spec) {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.full_message(),
    };
    let _ = channel.write_all(answer.as_bytes());
    // Goes on when pinned; without a shared PID namespace it is killed here.
    let _ = channel.read(&mut [0; 2]);
    if !spec.own_pid {
        process::exit_now(0);
    }
    drop(channel);
    hold_pid_namespace()
}

fn set_up(spec: &SandboxSpec) -> Result<()> {
    if spec.own_uts && !spec.hostname.is_empty() {
        namespace::set_hostname(&spec.hostname).at(|| format!("set hostname {:?}", spec.hostname))?;
    }
    if spec.own_net {
        namespace::loopback_up().at(|| "bring loopback up".into())?;
    }
    for (name, value) in &spec.sysctls {
        if name.contains("..") || name.starts_with('/') {
            return Err(Error::Profile(format!("sysctl {name:?} is not a name")));
        }
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&path, value).at(|| format!("set sysctl {name} to {value:?}"))?;
    }
    Ok(())
}

/// The first process of a shared PID namespace: takes in orphans until it is told to end.
fn hold_pid_namespace() -> ! {
    process::set_name(c"pause");
    // Without its supervisor the pod is lost anyway.
    let _ = process::die_with_parent();
    let _ = process::new_session();
    let _ = process::close_all_from(0);
    let _ = std::env::set_current_dir("/");
    signal::reset();
    loop {
        signal::wait_for(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT]);
        while process::reap().is_some() {}
    }
}

fn pin_all(spec: &SandboxSpec, pid: i32) -> Result<()> {
    let pins = [(spec.own_net, NET), (spec.own_ipc, IPC), (spec.own_uts, UTS), (spec.own_pid, PID)];
    for (_, name) in pins.iter().filter(|(own, _)| *own) {
        let path = spec.folder.join(name);
        File::create(&path).and_then(|_| mount::bind(Path::new(&format!("/proc/{pid}/ns/{name}")), &path)).at(|| format!("pin {}", path.display()))?;
    }
    if spec.own_ipc {
        make_shm(&spec.folder.join(SHM))?;
    }
    Ok(())
}

/// The pod's shared memory, bound into each of its containers as /dev/shm.
fn make_shm(path: &Path) -> Result<()> {
    let make = || -> std::io::Result<()> {
        fs::create_dir_all(path)?;
        let options = [("mode", Some("1777")), ("size", Some("65536k"))];
        let tree = mount::new_filesystem("tmpfs", &options, mount::NOSUID | mount::NODEV | mount::NOEXEC)?;
        let target = skiff_sys::path::open_directory(path)?;
        mount::attach(std::os::fd::AsFd::as_fd(&tree), std::os::fd::AsFd::as_fd(&target))
    };
    make().at(|| format!("make {}", path.display()))
}

/// Takes all pins away. What isn't there is no error.
pub fn remove(folder: &Path) -> Result<()> {
    for name in [NET, IPC, UTS, PID, SHM] {
        let path = folder.join(name);
        namespace::unpin(&path).at(|| format!("unpin {}", path.display()))?;
    }
    Ok(())
}
