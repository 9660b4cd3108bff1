//! What a new process does between the fork and the container's program. Runs in the child; whatever fails is sent to
//! the parent by `launch`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use skiff_sys::{caps, fdpass, mount, namespace, path, process, signal, terminal};

use crate::cgroup::Cgroup;
use crate::error::{At, Error, Result};
use crate::{Process, Spec, rootfs, seccomp};

/// The child's side of the channel to the parent, and the files that become 0, 1 and 2.
pub(crate) struct Child {
    pub channel: OwnedFd,
    /// None with a terminal: it is opened inside.
    pub stdio: Option<[OwnedFd; 3]>,
}

/// Becomes the first process of a container. Returns only with an error.
pub(crate) fn become_container(spec: &Spec, cgroup: &Cgroup, child: Child) -> Result<()> {
    begin(&spec.process, cgroup)?;
    let joins = [(&spec.namespaces.net, namespace::NET), (&spec.namespaces.ipc, namespace::IPC), (&spec.namespaces.uts, namespace::UTS)];
    for (path, kind) in joins {
        if let Some(path) = path {
            namespace::join_path(path, kind).at(|| format!("join namespace {}", path.display()))?;
        }
    }
    if cgroup.is_v2() {
        namespace::unshare(namespace::CGROUP).at(|| "make a cgroup namespace".into())?;
    }
    rootfs::enter(spec, cgroup)?;
    finish(&spec.process, child, true)
}

/// Becomes a further process of a running container. Returns only with an error.
pub(crate) fn become_exec(program: &Process, cgroup: &Cgroup, container: &OwnedFd, child: Child) -> Result<()> {
    process::set_undumpable().at(|| "protect the process".into())?;
    begin(program, cgroup)?;
    let mut kinds = namespace::MNT | namespace::NET | namespace::IPC | namespace::UTS;
    if cgroup.is_v2() {
        kinds |= namespace::CGROUP;
    }
    namespace::join(container.as_fd(), kinds).at(|| "join the container's namespaces".into())?;
    finish(program, child, false)
}

fn begin(program: &Process, cgroup: &Cgroup) -> Result<()> {
    process::new_session().at(|| "start a session".into())?;
    cgroup.join()?;
    set_oom_score(program.oom_score_adj)
}

/// Sets how eagerly the kernel kills this process. Going below the present value needs CAP_SYS_RESOURCE; without it the
/// value stays as near as it may.
fn set_oom_score(wanted: i32) -> Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    match fs::write(FILE, wanted.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result.at(|| format!("set {FILE} to {wanted}")),
    }
}

fn finish(program: &Process, child: Child, first: bool) -> Result<()> {
    stdio(program, child.stdio, &child.channel, first)?;
    process::close_on_exec_from(3).at(|| "close files".into())?;
    process::set_umask(0o022);
    // Before privileges go: the folder need not be open to the user.
    let cwd = if program.cwd.is_empty() { "/" } else { &program.cwd };
    let entered = std::env::set_current_dir(cwd);
    let filters = seccomp::build(&program.seccomp, program.capabilities)?;
    let capabilities = program.capabilities & caps::bounding();
    caps::limit_bounding(capabilities).at(|| "limit capabilities".into())?;
    if !program.no_new_privs {
        install(&filters)?;
    }
    drop_privileges(program, capabilities)?;
    if entered.is_err() {
        std::env::set_current_dir(cwd).at(|| format!("enter working directory {cwd:?}"))?;
    }
    let path = find_program(program)?;
    signal::reset();
    if program.no_new_privs {
        process::set_no_new_privs().at(|| "set no_new_privs".into())?;
        install(&filters)?;
    }
    let error = process::execute(&path, &program.args, &program.env);
    Err(Error::Program(format!("exec {}: {}", path.display(), describe(&error))))
}

fn install(filters: &[seccomp::Filter]) -> Result<()> {
    for filter in filters {
        skiff_sys::seccomp::install(filter.instructions()).at(|| "install the seccomp filter".into())?;
    }
    Ok(())
}

fn drop_privileges(program: &Process, capabilities: u64) -> Result<()> {
    caps::keep_over_setuid(true).at(|| "keep capabilities".into())?;
    process::become_user(program.uid, program.gid, &program.groups).at(|| format!("become user {} in group {}", program.uid, program.gid))?;
    caps::keep_over_setuid(false).at(|| "keep capabilities".into())?;
    caps::clear_ambient().at(|| "clear ambient capabilities".into())?;
    caps::set(capabilities).at(|| "set capabilities".into())
}

fn stdio(program: &Process, given: Option<[OwnedFd; 3]>, channel: &OwnedFd, first: bool) -> Result<()> {
    let files = match given {
        Some(files) if !program.tty => files,
        _ => open_terminal(program, channel, first)?,
    };
    for (number, file) in files.iter().enumerate() {
        // /dev/stdout can then be opened again by the user. /dev/null and the like stay as they are.
        if is_pipe_or_terminal(file) {
            let _ = process::change_owner(file.as_fd(), program.uid, if program.tty { u32::MAX } else { program.gid });
        }
        process::place(file.as_fd(), number as i32).at(|| format!("open file {number}"))?;
    }
    Ok(())
}

fn is_pipe_or_terminal(file: &OwnedFd) -> bool {
    use std::io::IsTerminal;
    use std::os::unix::fs::FileTypeExt;
    let kind = file.try_clone().map(fs::File::from).and_then(|file| file.metadata()).map(|data| data.file_type());
    file.is_terminal() || kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
}

/// Opens a terminal of the container's own devpts and hands its other end to the parent.
fn open_terminal(_program: &Process, channel: &OwnedFd, first: bool) -> Result<[OwnedFd; 3]> {
    let open = || -> io::Result<[OwnedFd; 3]> {
        let (master, slave, number) = terminal::open(Path::new("/dev/pts/ptmx"))?;
        fdpass::send(channel.as_fd(), b"T", &[master.as_fd()])?;
        terminal::control(slave.as_fd())?;
        if first {
            let root = path::open_directory(Path::new("/"))?;
            let console = path::make_file_in_root(root.as_fd(), Path::new("dev/console"))?;
            let tree = mount::clone_tree(None, Path::new(&format!("/dev/pts/{number}")), false)?;
            mount::attach(tree.as_fd(), console.as_fd())?;
        }
        Ok([slave.try_clone()?, slave.try_clone()?, slave])
    };
    open().at(|| "open a terminal".into())
}

/// Looks a program up as a shell would, in the container's own PATH.
fn find_program(program: &Process) -> Result<PathBuf> {
    let Some(name) = program.args.first() else {
        return Err(Error::Program("no command specified".into()));
    };
    if name.contains('/') {
        return match fs::metadata(name) {
            Ok(data) if data.is_dir() => Err(Error::Program(format!("exec: {name:?}: is a directory"))),
            Ok(data) if data.permissions().mode() & 0o111 == 0 => Err(Error::Program(format!("exec: {name:?}: permission denied"))),
            Ok(_) => Ok(PathBuf::from(name)),
            Err(error) => Err(Error::Program(format!("exec: {name:?}: stat {name}: {}", describe(&error)))),
        };
    }
    let path = program.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let candidates = path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Path::new(folder).join(name));
    let executable = |path: &PathBuf| fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    let mut candidates = candidates.filter(executable);
    candidates.next().ok_or_else(|| Error::Program(format!("exec: {name:?}: executable file not found in $PATH")))
}

/// The kernel's words without Rust's "(os error 2)", as users know them.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
