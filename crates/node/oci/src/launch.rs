//! Forking into containers: the parent's side. Only for a process of one thread.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use skiff_sys::{fdpass, namespace, process};

use crate::cgroup::Cgroup;
use crate::error::{At, Error, Result};
use crate::init::{self, Child};
use crate::{PidNamespace, Process, Spec, devices};

/// A process that has been started.
pub struct Started {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// The other end of its terminal, when it has one.
    pub terminal: Option<OwnedFd>,
}

/// Makes a container and executes its program. `stdio` is used without a terminal only. Returns when the program runs;
/// on failure nothing of it is left, the cgroup included.
pub fn create(spec: &Spec, stdio: Option<[OwnedFd; 3]>) -> Result<Started> {
    let cgroup = Cgroup::open(&spec.cgroup)?;
    let made = prepare_cgroup(spec, &cgroup).and_then(|()| {
        let mut namespaces = namespace::MNT;
        let join = match &spec.namespaces.pid {
            PidNamespace::New => {
                namespaces |= namespace::PID;
                None
            }
            PidNamespace::Host => None,
            PidNamespace::Join(path) => Some(File::open(path).at(|| format!("open PID namespace {}", path.display()))?.into()),
        };
        start(namespaces, join.as_ref(), stdio, |child| init::become_container(spec, &cgroup, child))
    });
    if made.is_err() {
        let _ = cgroup.remove(std::time::Duration::from_secs(2));
    }
    made
}

/// Runs a further program in a container. `container` is a pidfd of its first process.
pub fn exec(program: &Process, cgroup: &str, container: &OwnedFd, stdio: Option<[OwnedFd; 3]>) -> Result<Started> {
    let cgroup = Cgroup::open(cgroup)?;
    start(0, Some(container), stdio, |child| init::become_exec(program, &cgroup, container, child))
}

fn prepare_cgroup(spec: &Spec, cgroup: &Cgroup) -> Result<()> {
    cgroup.create()?;
    cgroup.apply(&spec.resources)?;
    if spec.all_devices { Ok(()) } else { cgroup.allow_devices(&devices::rules(&spec.devices)) }
}

/// Forks, in another PID namespace when `join` names one, and waits until the child has executed its program.
fn start(namespaces: libc::c_int, join: Option<&OwnedFd>, stdio: Option<[OwnedFd; 3]>, child: impl FnOnce(Child) -> Result<()>) -> Result<Started> {
    let (ours, theirs) = UnixStream::pair().at(|| "make a channel".into())?;
    let home = match join {
        Some(target) => {
            let home = File::open("/proc/self/ns/pid").at(|| "open our PID namespace".into())?;
            namespace::join(target.as_fd(), namespace::PID).at(|| "join PID namespace".into())?;
            Some(home)
        }
        None => None,
    };
    // SAFETY: the contract of this module: the process has one thread.
    let forked = unsafe { process::clone3(namespaces) };
    if let Ok(process::Forked::Child) = forked {
        drop(ours);
        let channel = OwnedFd::from(theirs);
        let failure = channel.try_clone().at(|| "make a channel".into()).and_then(|copy| child(Child { channel: copy, stdio }));
        report(&channel, failure.err());
        process::exit_now(127);
    }
    if let Some(home) = home {
        namespace::join(home.as_fd(), namespace::PID).at(|| "return to our PID namespace".into())?;
    }
    let process::Forked::Parent { pid, pidfd } = forked.at(|| "fork".into())? else { unreachable!("the child has ended above") };
    drop(theirs);
    drop(stdio);
    let (terminal, failure) = listen(&ours)?;
    match failure {
        None => Ok(Started { pid, pidfd, terminal }),
        Some(error) => {
            let _ = process::signal(pidfd.as_fd(), 9);
            let _ = process::wait(pid);
            Err(error)
        }
    }
}

fn report(channel: &OwnedFd, failure: Option<Error>) {
    let text = match failure {
        Some(Error::Program(text)) => format!("P{text}"),
        Some(other) => format!("E{}", other.full_message()),
        None => "Ethe program was not executed".into(),
    };
    let _ = fdpass::send(channel.as_fd(), text.as_bytes(), &[]);
}

/// Reads until the child has executed its program (the end of the stream) or has told why it couldn't.
fn listen(channel: &UnixStream) -> Result<(Option<OwnedFd>, Option<Error>)> {
    let mut fds = Vec::new();
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = fdpass::receive(channel.as_fd(), &mut buffer, &mut fds).at(|| "hear from the new process".into())?;
        if count == 0 {
            break;
        }
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let text = text.strip_prefix('T').unwrap_or(&text);
    let failure = match text.split_at_checked(1) {
        None => None,
        Some(("P", message)) => Some(Error::Program(message.to_owned())),
        Some((_, message)) => Some(Error::Step { step: message.to_owned(), source: std::io::Error::other("container start failed") }),
    };
    Ok((fds.pop(), failure))
}
