//! Exec, attach and port forwarding.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use skiff_cri::{AsyncDuplex, ContainerId, ContainerState, ExecOptions, ExecOutput, ExecStream, Result, RuntimeError, SandboxId, TerminalSize};
use skiff_oci::Process;
use skiff_shim::protocol::{Answer, Request};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::client::{Shim, unexpected};
use crate::state::EmbeddedRuntime;
use crate::terminal::Terminal;

/// Of each stream, what `exec_sync` keeps.
const MAX_OUTPUT: u64 = 16 << 20;

fn failed(step: &'static str) -> impl FnOnce(std::io::Error) -> RuntimeError {
    move |source| RuntimeError::failed(step, source)
}

/// Our ends and theirs of three streams; those not wanted are /dev/null.
struct Pipes {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    theirs: [OwnedFd; 3],
}

fn pipes(stdin: bool, stdout: bool, stderr: bool) -> std::io::Result<Pipes> {
    let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let out = |wanted: bool| match wanted {
        true => skiff_sys::process::pipe().map(|(read, write)| (Some(read), write)),
        false => null().map(|null| (None, null)),
    };
    let (stdin, their_stdin) = match stdin {
        true => skiff_sys::process::pipe().map(|(read, write)| (Some(write), read))?,
        false => (None, null()?),
    };
    let ((stdout, their_stdout), (stderr, their_stderr)) = (out(stdout)?, out(stderr)?);
    Ok(Pipes { stdin, stdout, stderr, theirs: [their_stdin, their_stdout, their_stderr] })
}

type Input = Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>;
type Output = Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>;

fn input(fd: Option<OwnedFd>) -> std::io::Result<Input> {
    fd.map(|fd| pipe::Sender::from_owned_fd(fd).map(|pipe| Box::new(pipe) as _)).transpose()
}

fn output(fd: Option<OwnedFd>) -> std::io::Result<Output> {
    fd.map(|fd| pipe::Receiver::from_owned_fd(fd).map(|pipe| Box::new(pipe) as _)).transpose()
}

impl EmbeddedRuntime {
    fn running(&self, id: &ContainerId) -> Result<(PathBuf, Process)> {
        let mut tables = self.inner.tables.lock();
        let container = tables.container(id)?;
        match container.state() {
            ContainerState::Running => Ok((self.inner.config.sandbox(&container.record.sandbox), container.record.spec.process.clone())),
            state => Err(RuntimeError::Precondition(format!("container {id} is not running but {state:?}"))),
        }
    }

    /// Starts a process; the second answer kills it when used.
    pub(crate) async fn start_exec(&self, id: &ContainerId, options: &ExecOptions) -> Result<(ExecStream, oneshot::Sender<()>)> {
        let (folder, first) = self.running(id)?;
        if options.argv.is_empty() {
            return Err(RuntimeError::Invalid("no command specified".into()));
        }
        let mut process = Process { args: options.argv.clone(), tty: options.tty, ..first };
        if options.tty && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
            process.env.push("TERM=xterm".into());
        }
        let mut shim = Shim::connect(&folder).await?;
        let request = Request::Exec { container: id.to_string(), process: Box::new(process) };
        let (resize, sizes) = mpsc::channel(4);
        let (kill, killed) = oneshot::channel();
        let (stdin, stdout, stderr) = if options.tty {
            started(shim.request(&request, &[]).await?)?;
            let master = shim.take_fd().ok_or_else(|| RuntimeError::failed("open a terminal", "the shim sent none"))?;
            let terminal = Terminal::new(master).map_err(failed("open a terminal"))?;
            tokio::spawn(follow_sizes(terminal.clone(), sizes));
            let stdin: Input = options.stdin.then(|| Box::new(terminal.clone()) as _);
            (stdin, Some(Box::new(terminal) as _), None)
        } else {
            let pipes = pipes(options.stdin, options.stdout, options.stderr).map_err(failed("make pipes"))?;
            let fds = pipes.theirs.each_ref().map(|fd| fd.as_fd());
            started(shim.request(&request, &fds).await?)?;
            drop(pipes.theirs);
            let wrap = || Ok((input(pipes.stdin)?, output(pipes.stdout)?, output(pipes.stderr)?));
            wrap().map_err(failed("open pipes"))?
        };
        let exit = wait_for_exit(shim, killed);
        Ok((ExecStream { stdin, stdout, stderr, resize, exit }, kill))
    }

    pub(crate) async fn run_exec(&self, id: &ContainerId, argv: &[String], timeout: Duration) -> Result<ExecOutput> {
        let options = ExecOptions { argv: argv.to_vec(), stdout: true, stderr: true, ..ExecOptions::default() };
        let (stream, kill) = self.start_exec(id, &options).await?;
        let (stdout, stderr) = (gather(stream.stdout), gather(stream.stderr));
        let finish = async {
            let exit_code = stream.exit.await?;
            // Something in the background may keep the streams open: a moment for what is in them.
            let rest = |output| async { tokio::time::timeout(Duration::from_millis(500), output).await };
            let (stdout, stderr) = tokio::join!(rest(stdout), rest(stderr));
            let text = |result: std::result::Result<std::result::Result<Vec<u8>, _>, _>| match result {
                Ok(Ok(bytes)) => bytes,
                _ => Vec::new(),
            };
            Ok(ExecOutput { exit_code, stdout: text(stdout), stderr: text(stderr) })
        };
        if timeout.is_zero() {
            return finish.await;
        }
        match tokio::time::timeout(timeout, finish).await {
            Ok(output) => output,
            Err(_) => {
                let _ = kill.send(());
                Err(RuntimeError::DeadlineExceeded(format!("command {argv:?} timed out after {timeout:?}")))
            }
        }
    }

    pub(crate) async fn join_streams(&self, id: &ContainerId) -> Result<ExecStream> {
        let (folder, process) = self.running(id)?;
        let mut ended = self.inner.tables.lock().container(id)?.ended.subscribe();
        let pipes = pipes(true, true, !process.tty).map_err(failed("make pipes"))?;
        let mut shim = Shim::connect(&folder).await?;
        let fds = pipes.theirs.each_ref().map(|fd| fd.as_fd());
        shim.done(&Request::Attach { container: id.to_string() }, &fds).await?;
        drop(pipes.theirs);
        let (resize, mut sizes) = mpsc::channel::<TerminalSize>(4);
        let container = id.to_string();
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                let request = Request::Resize { container: container.clone(), columns: size.columns, rows: size.rows };
                if shim.done(&request, &[]).await.is_err() {
                    return;
                }
            }
        });
        let (runtime, id) = (self.clone(), id.clone());
        let exit = async move {
            let _ = ended.wait_for(|ended| *ended).await;
            let mut tables = runtime.inner.tables.lock();
            Ok(tables.container(&id)?.record.ended.as_ref().map_or(137, |ended| ended.code))
        };
        let wrap = || Ok((input(pipes.stdin)?, output(pipes.stdout)?, output(pipes.stderr)?));
        let (stdin, stdout, stderr) = wrap().map_err(failed("open pipes"))?;
        Ok(ExecStream { stdin, stdout, stderr, resize, exit: exit.boxed() })
    }

    pub(crate) async fn forward(&self, id: &SandboxId, port: u16) -> Result<Box<dyn AsyncDuplex>> {
        let netns = {
            let mut tables = self.inner.tables.lock();
            let record = &tables.sandbox(id)?.record;
            if !record.ready {
                return Err(RuntimeError::Precondition(format!("sandbox {id} is not ready")));
            }
            record.status(&self.inner.config.sandbox(id)).netns
        };
        let (done, connected) = oneshot::channel();
        // A thread of its own: it changes its network namespace and then ends.
        std::thread::spawn(move || {
            let connect = || {
                if let Some(path) = netns {
                    skiff_sys::namespace::join_path(&path, skiff_sys::namespace::NET)?;
                }
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).or_else(|error| TcpStream::connect((Ipv6Addr::LOCALHOST, port)).map_err(|_| error))
            };
            let _ = done.send(connect());
        });
        let stream = connected.await.map_err(|error| RuntimeError::failed("connect into the pod", error))?;
        let stream = stream.and_then(|stream| {
            stream.set_nonblocking(true)?;
            tokio::net::TcpStream::from_std(stream)
        });
        let stream = stream.map_err(|source| RuntimeError::failed(format!("connect to port {port} inside sandbox {id}"), source))?;
        Ok(Box::new(stream))
    }
}

fn started(answer: Answer) -> Result<()> {
    match answer {
        Answer::Started { .. } => Ok(()),
        other => Err(unexpected(&other)),
    }
}

async fn follow_sizes(terminal: Terminal, mut sizes: mpsc::Receiver<TerminalSize>) {
    while let Some(size) = sizes.recv().await {
        let _ = terminal.resize(size.columns, size.rows);
    }
}

fn gather(stream: Output) -> tokio::task::JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            let mut limited = stream.take(MAX_OUTPUT);
            let _ = limited.read_to_end(&mut bytes).await;
            let _ = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
        }
        bytes
    })
}

/// Listens for the exit whether or not anyone awaits it.
fn wait_for_exit(mut shim: Shim, killed: oneshot::Receiver<()>) -> futures::future::BoxFuture<'static, Result<i32>> {
    let task = tokio::spawn(async move {
        let mut killed = killed.fuse();
        loop {
            tokio::select! {
                answer = shim.next() => match answer? {
                    Answer::ExecExited { code } => return Ok(code),
                    _ => continue,
                },
                kill = &mut killed => {
                    if kill.is_ok() {
                        match shim.request(&Request::SignalExec { signal: libc::SIGKILL }, &[]).await? {
                            Answer::ExecExited { code } => return Ok(code),
                            _ => continue,
                        }
                    }
                }
            }
        }
    });
    async move { task.await.unwrap_or_else(|error| Err(RuntimeError::failed("wait for the exec", error))) }.boxed()
}
