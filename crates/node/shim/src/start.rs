//! From a command line to a process on its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use skiff_oci::sandbox::{self, SandboxSpec};
use skiff_sys::{process, signal};

use crate::protocol::{PID_FILE, SOCKET, SPEC};
use crate::server::Server;

/// The first argument that makes the binary a shim; the second is the pod's folder.
pub const ARGUMENT: &str = "shim";

/// Takes over when the command line says so, and then never returns. Call it first in `main`, before any thread.
pub fn main_if_shim() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ARGUMENT) {
        return;
    }
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: {ARGUMENT} FOLDER (started by the daemon, not by people)");
        std::process::exit(2);
    };
    match detach(&folder) {
        Ok(()) => std::process::exit(0),
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(1);
        }
    }
}

/// Forks: the parent waits until the child serves, and ends, so that the daemon has no child to look after.
fn detach(folder: &Path) -> Result<(), String> {
    let (mut ours, theirs) = UnixStream::pair().map_err(|error| format!("make a channel: {error}"))?;
    // SAFETY: called first in main: there is one thread.
    match unsafe { process::clone3(0) }.map_err(|error| format!("fork: {error}"))? {
        process::Forked::Child => {
            drop(ours);
            let code = match prepare(folder) {
                Ok(server) => {
                    let _ = (&theirs).write_all(b"ok");
                    drop(theirs);
                    server.run();
                    0
                }
                Err(message) => {
                    let _ = (&theirs).write_all(message.as_bytes());
                    1
                }
            };
            process::exit_now(code)
        }
        process::Forked::Parent { .. } => {
            drop(theirs);
            let mut text = String::new();
            ours.read_to_string(&mut text).map_err(|error| format!("hear from the shim: {error}"))?;
            match text.as_str() {
                "ok" => Ok(()),
                "" => Err("the shim ended before it served".into()),
                _ => Err(text),
            }
        }
    }
}

fn prepare(folder: &Path) -> Result<Server, String> {
    let step = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    process::set_name(c"skiff-shim");
    process::new_session().map_err(step("start a session"))?;
    process::become_subreaper().map_err(step("become subreaper"))?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(step("open /dev/null"))?;
    for number in 0..3 {
        process::place(null.as_fd(), number).map_err(step("leave the terminal"))?;
    }
    // The last to be killed for lack of memory, as far as the machine lets us.
    let _ = fs::write("/proc/self/oom_score_adj", "-998");
    let signals = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE];
    let signals = signal::as_file(&signals).map_err(step("listen to signals"))?;
    let text = fs::read(folder.join(SPEC)).map_err(step("read the sandbox spec"))?;
    let spec: SandboxSpec = skiff_json::from_slice(&text).map_err(|error| format!("read the sandbox spec: {error}"))?;
    let pause = sandbox::create(&spec).map_err(|error| error.full_message())?;
    let pause = pause.map(|(_, pidfd)| pidfd);
    // Should this fail, the pause process ends with us.
    let listener = listen(folder).map_err(step("listen"))?;
    fs::write(folder.join(PID_FILE), std::process::id().to_string()).map_err(step("write the pid file"))?;
    Server::new(listener, signals, pause).map_err(step("serve"))
}

/// Socket addresses are short: bind by a relative name.
fn listen(folder: &Path) -> std::io::Result<UnixListener> {
    std::env::set_current_dir(folder)?;
    let listener = UnixListener::bind(SOCKET);
    std::env::set_current_dir("/")?;
    listener
}
