//! One container and its streams.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use skiff_oci::cgroup::Cgroup;
use skiff_oci::{PidNamespace, launch};
use skiff_sys::process;

use crate::attachment::Attachment;
use crate::log::{Lines, Log, now};
use crate::protocol::{EXIT, Exit, StartRequest};

/// One way out of the container.
pub(crate) struct Source {
    pub file: File,
    lines: Lines,
    is_stderr: bool,
}

/// The way in.
pub(crate) struct Input {
    pub file: File,
    waiting: Vec<u8>,
    /// Closes when nothing waits any more.
    ending: bool,
}

pub(crate) struct Container {
    pub id: String,
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub cgroup: String,
    folder: std::path::PathBuf,
    own_pid_namespace: bool,
    stdin_once: bool,
    pub log: Option<Log>,
    pub sources: Vec<Source>,
    pub input: Option<Input>,
    pub terminal: Option<OwnedFd>,
    pub attachments: Vec<Attachment>,
    pub exit: Option<Exit>,
    /// Otherwise the disk refused `exit.json`; it is tried again.
    exit_written: bool,
}

impl Container {
    pub(crate) fn start(request: StartRequest) -> Result<Self, skiff_oci::Error> {
        let step = |what: &str, source| skiff_oci::Error::Step { step: what.to_owned(), source };
        let log = request.log.map(Log::open).transpose().map_err(|source| step("open the log file", source))?;
        let tty = request.spec.process.tty;
        let (stdio, ours) = if tty { (None, Vec::new()) } else { pipes(request.stdin).map_err(|source| step("make pipes", source))? };
        let started = launch::create(&request.spec, stdio)?;
        let mut container = Self {
            id: request.container,
            pid: started.pid,
            pidfd: started.pidfd,
            cgroup: request.spec.cgroup,
            folder: request.folder,
            own_pid_namespace: request.spec.namespaces.pid == PidNamespace::New,
            stdin_once: request.stdin_once,
            log,
            sources: Vec::new(),
            input: None,
            terminal: None,
            attachments: Vec::new(),
            exit: None,
            exit_written: true,
        };
        container.connect(ours, started.terminal, request.stdin).map_err(|source| step("connect the container's streams", source))?;
        Ok(container)
    }

    fn connect(&mut self, ours: Vec<OwnedFd>, terminal: Option<OwnedFd>, stdin: bool) -> std::io::Result<()> {
        for fd in ours.iter().chain(&terminal) {
            process::set_nonblocking(fd.as_fd())?;
        }
        if let Some(master) = terminal {
            self.sources.push(Source { file: File::from(master.try_clone()?), lines: Lines::new("stdout"), is_stderr: false });
            if stdin {
                self.input = Some(Input { file: File::from(master.try_clone()?), waiting: Vec::new(), ending: false });
            }
            self.terminal = Some(master);
            return Ok(());
        }
        let mut ours = ours.into_iter();
        for (stream, is_stderr) in [("stdout", false), ("stderr", true)] {
            if let Some(fd) = ours.next() {
                self.sources.push(Source { file: File::from(fd), lines: Lines::new(stream), is_stderr });
            }
        }
        self.input = ours.next().map(|fd| Input { file: File::from(fd), waiting: Vec::new(), ending: false });
        Ok(())
    }

    /// Whether output may be read now: not while a client is behind.
    pub(crate) fn may_read(&self) -> bool {
        !self.attachments.iter().any(|client| client.stdout.is_full() || client.stderr.is_full())
    }

    /// Copies what one source has to the log and to clients; false at its end.
    pub(crate) fn copy_from(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        let Some(source) = self.sources.get_mut(index) else { return false };
        match source.file.read(buffer) {
            Ok(count) if count > 0 => {
                let data = buffer.get(..count).unwrap_or_default();
                if let Some(log) = &mut self.log {
                    source.lines.feed(data, log);
                }
                for client in &mut self.attachments {
                    if source.is_stderr { client.stderr.send(data) } else { client.stdout.send(data) }
                }
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => true,
            // The end; a terminal answers EIO.
            _ => {
                let mut source = self.sources.remove(index);
                if let Some(log) = &mut self.log {
                    source.lines.finish(log);
                }
                false
            }
        }
    }

    /// Reads what a client typed.
    pub(crate) fn copy_input(&mut self, client: usize, buffer: &mut [u8]) {
        let Some(count) = self.attachments.get_mut(client).and_then(|client| client.read(buffer)) else { return };
        let Some(input) = &mut self.input else { return };
        input.waiting.extend_from_slice(buffer.get(..count).unwrap_or_default());
        input.ending |= count == 0 && self.stdin_once && self.terminal.is_none();
        self.flush_input();
    }

    pub(crate) fn flush_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        while !input.waiting.is_empty() {
            match input.file.write(&input.waiting) {
                Ok(count) => {
                    input.waiting.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.input = None,
            }
        }
        if input.ending {
            self.input = None;
        }
    }

    pub(crate) fn input_is_waiting(&self) -> bool {
        self.input.as_ref().is_some_and(|input| !input.waiting.is_empty())
    }

    /// The first process has ended: takes the rest of the output, then writes down how it ended.
    pub(crate) fn finish(&mut self, code: i32, buffer: &mut [u8]) -> Exit {
        let cgroup = Cgroup::open(&self.cgroup).ok();
        if let Some(cgroup) = cgroup.as_ref().filter(|_| !self.own_pid_namespace) {
            cgroup.kill();
        }
        self.drain(buffer);
        let oom = cgroup.is_some_and(|cgroup| cgroup.oom_kills() > 0);
        let exit = Exit { code, oom, finished_at: now() };
        self.exit = Some(exit);
        self.exit_written = false;
        self.write_exit();
        self.input = None;
        self.terminal = None;
        self.log = None;
        exit
    }

    /// Whether how it ended is still to be written down.
    pub(crate) fn is_unwritten(&self) -> bool {
        !self.exit_written
    }

    /// Writes down how it ended, unless that is done. Nobody can be told of a failure here: daemons that are there ask
    /// us, and the file is tried again until it is there for those to come.
    pub(crate) fn write_exit(&mut self) {
        if let Some(exit) = self.exit.filter(|_| !self.exit_written) {
            self.exit_written = write_exit(&self.folder, &exit).is_ok() || !self.folder.exists();
        }
    }

    fn drain(&mut self, buffer: &mut [u8]) {
        while !self.sources.is_empty() {
            for index in (0..self.sources.len()).rev() {
                while self.sources.get(index).is_some_and(|source| is_readable(&source.file)) && self.copy_from(index, buffer) {}
            }
            // Whoever holds the other end now is not of this container.
            for mut source in self.sources.drain(..) {
                if let Some(log) = &mut self.log {
                    source.lines.finish(log);
                }
            }
        }
    }

    /// Lets clients go that have left or, after the end, have got everything.
    pub(crate) fn tidy(&mut self) {
        let ended = self.exit.is_some();
        self.attachments.retain(|client| !client.is_gone() && !(ended && client.is_flushed()));
    }
}

fn is_readable(file: &File) -> bool {
    let mut poll = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(file), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure that outlives the call.
    unsafe { libc::poll(&mut poll, 1, 0) > 0 }
}

/// The container's three ends, and ours: stdout, stderr and, when asked for, stdin.
type Pipes = (Option<[OwnedFd; 3]>, Vec<OwnedFd>);

fn pipes(stdin: bool) -> std::io::Result<Pipes> {
    let (stdout, their_stdout) = process::pipe()?;
    let (stderr, their_stderr) = process::pipe()?;
    let mut ours = vec![stdout, stderr];
    let their_stdin = if stdin {
        let (their_stdin, stdin) = process::pipe()?;
        ours.push(stdin);
        their_stdin
    } else {
        File::open("/dev/null")?.into()
    };
    Ok((Some([their_stdin, their_stdout, their_stderr]), ours))
}

fn write_exit(folder: &Path, exit: &Exit) -> std::io::Result<()> {
    let temporary = folder.join(".exit.tmp");
    fs::write(&temporary, skiff_json::to_vec(exit)?)?;
    fs::rename(&temporary, folder.join(EXIT))
}
