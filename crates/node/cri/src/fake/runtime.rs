use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc};

use super::FakeNetwork;
use super::program::Program;
use super::state::State;
use crate::*;

type ExecHook = dyn Fn(&ContainerStatus, &[String]) -> Option<ExecOutput> + Send + Sync;

/// See the module for what it can be told to do.
pub struct FakeRuntime {
    state: Mutex<State>,
    events: broadcast::Sender<RuntimeEvent>,
    network: Arc<dyn Network>,
    failures: Mutex<Vec<(&'static str, RuntimeError)>>,
    exec_hook: Mutex<Option<Box<ExecHook>>>,
    stats: Mutex<std::collections::BTreeMap<ContainerId, ContainerStats>>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::new(Arc::new(FakeNetwork::default()))
    }
}

impl FakeRuntime {
    pub fn new(network: Arc<dyn Network>) -> Self {
        Self {
            state: Mutex::default(),
            events: broadcast::channel(1024).0,
            network,
            failures: Mutex::default(),
            exec_hook: Mutex::default(),
            stats: Mutex::default(),
        }
    }

    /// Ends a running container, as if its program had.
    pub fn exit(&self, id: &ContainerId, exit_code: i32, reason: ExitReason) -> Result<()> {
        let (ended, sandbox) = {
            let mut state = self.state.lock();
            (state.end(id, exit_code, reason)?, state.container(id)?.status.sandbox.clone())
        };
        if ended {
            self.push(RuntimeEvent::ContainerExited { sandbox, container: id.clone(), exit_code, reason });
        }
        Ok(())
    }

    /// The next call of this method of [`Runtime`] fails so.
    pub fn fail_next(&self, method: &'static str, error: RuntimeError) {
        self.failures.lock().push((method, error));
    }

    /// Answers execs (probes, hooks) in place of the commands of the module's table; None falls back on those.
    pub fn on_exec(&self, hook: impl Fn(&ContainerStatus, &[String]) -> Option<ExecOutput> + Send + Sync + 'static) {
        *self.exec_hook.lock() = Some(Box::new(hook));
    }

    /// What `container_stats` answers from now on.
    pub fn set_stats(&self, stats: ContainerStats) {
        self.stats.lock().insert(stats.id.clone(), stats);
    }

    /// The configuration that a container was created with.
    pub fn config(&self, id: &ContainerId) -> Option<ContainerConfig> {
        self.state.lock().containers.get(id).map(|container| container.config.clone())
    }

    fn push(&self, event: RuntimeEvent) {
        // Without a listener there is nobody to tell.
        let _ = self.events.send(event);
    }

    fn check(&self, method: &'static str) -> Result<()> {
        let mut failures = self.failures.lock();
        match failures.iter().position(|(name, _)| *name == method) {
            Some(at) => Err(failures.remove(at).1),
            None => Ok(()),
        }
    }

    fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let state = self.state.lock();
        state.containers.values().filter(|c| c.status.sandbox == *sandbox).map(|c| c.status.id.clone()).collect()
    }

    fn default_stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        if let Some(stats) = self.stats.lock().get(id) {
            return Ok(stats.clone());
        }
        self.state.lock().container(id)?;
        Ok(ContainerStats {
            id: id.clone(),
            cpu: CpuStats::default(),
            memory: MemoryStats::default(),
            rootfs: FsStats::default(),
            logs: FsStats::default(),
            pids: 1,
        })
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn version(&self) -> Result<Version> {
        Ok(Version { name: "fake".into(), version: "0.0.0".into() })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        self.check("status")?;
        Ok(RuntimeStatus { network_problem: self.network.not_ready_reason().await, ..RuntimeStatus::default() })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        self.check("run_sandbox")?;
        let (id, net) = {
            let mut state = self.state.lock();
            let taken = state.sandboxes.values().any(|other| other.config.metadata == config.metadata);
            if taken {
                return Err(RuntimeError::AlreadyExists { kind: "sandbox", name: config.metadata.name.clone() });
            }
            let id = state.add_sandbox(config);
            let net = state.sandbox(&id)?.net();
            (id, net)
        };
        if !config.namespaces.host_network {
            match self.network.attach(&net).await {
                Ok(ips) => self.state.lock().sandbox(&id)?.status.ips = ips,
                Err(error) => {
                    self.state.lock().sandboxes.remove(&id);
                    return Err(error);
                }
            }
        }
        self.push(RuntimeEvent::SandboxReady { sandbox: id.clone() });
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.check("stop_sandbox")?;
        for container in self.containers_of(id) {
            self.exit(&container, 137, ExitReason::Error)?;
        }
        let (net, changed) = {
            let mut state = self.state.lock();
            let Ok(sandbox) = state.sandbox(id) else { return Ok(()) };
            let changed = sandbox.status.state == SandboxState::Ready;
            sandbox.status.state = SandboxState::NotReady;
            (sandbox.net(), changed)
        };
        self.network.detach(&net).await?;
        if changed {
            self.push(RuntimeEvent::SandboxNotReady { sandbox: id.clone() });
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.check("remove_sandbox")?;
        self.stop_sandbox(id).await?;
        for container in self.containers_of(id) {
            self.remove_container(&container).await?;
        }
        if self.state.lock().sandboxes.remove(id).is_some() {
            self.push(RuntimeEvent::SandboxRemoved { sandbox: id.clone() });
        }
        Ok(())
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus> {
        Ok(self.state.lock().sandbox(id)?.status.clone())
    }

    async fn list_sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStatus>> {
        self.check("list_sandboxes")?;
        Ok(self.state.lock().sandboxes.values().map(|s| &s.status).filter(|s| filter.matches(s)).cloned().collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        self.check("create_container")?;
        let id = self.state.lock().add_container(sandbox, config)?;
        self.push(RuntimeEvent::ContainerCreated { sandbox: sandbox.clone(), container: id.clone() });
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        self.check("start_container")?;
        let (program, sandbox) = {
            let mut state = self.state.lock();
            let now = state.tick();
            let container = state.container(id)?;
            if container.status.state != ContainerState::Created {
                return Err(RuntimeError::Precondition(format!("container {id} has been started before")));
            }
            container.status.state = ContainerState::Running;
            container.status.started_at = now;
            container.status.pid = Some(1000);
            (container.program.clone(), container.status.sandbox.clone())
        };
        match program {
            Program::Missing => {
                self.exit(id, 128, ExitReason::StartError)?;
                return Err(RuntimeError::StartFailed("exec: \"not-there\": executable file not found in $PATH".into()));
            }
            Program::Exit(code) => {
                self.push(RuntimeEvent::ContainerStarted { sandbox, container: id.clone() });
                self.exit(id, code, if code == 0 { ExitReason::Completed } else { ExitReason::Error })?;
            }
            _ => self.push(RuntimeEvent::ContainerStarted { sandbox, container: id.clone() }),
        }
        Ok(())
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.check("stop_container")?;
        let program = match self.state.lock().container(id) {
            Ok(container) => container.program.clone(),
            Err(_) => return Ok(()),
        };
        let killed = program == Program::Stubborn || grace.is_zero();
        if program == Program::Stubborn {
            tokio::time::sleep(grace).await;
        }
        self.exit(id, if killed { 137 } else { 143 }, ExitReason::Error)
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.check("remove_container")?;
        self.stop_container(id, Duration::ZERO).await?;
        let removed = self.state.lock().containers.remove(id);
        if let Some(container) = removed {
            self.push(RuntimeEvent::ContainerRemoved { sandbox: container.status.sandbox, container: id.clone() });
        }
        Ok(())
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        self.check("container_status")?;
        Ok(self.state.lock().container(id)?.status.clone())
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStatus>> {
        self.check("list_containers")?;
        Ok(self.state.lock().containers.values().map(|c| &c.status).filter(|s| filter.matches(s)).cloned().collect())
    }

    async fn update_sandbox_resources(&self, id: &SandboxId, resources: &Resources) -> Result<()> {
        self.check("update_sandbox_resources")?;
        self.state.lock().sandbox(id)?.status.resources.change(resources);
        Ok(())
    }

    async fn update_resources(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        self.check("update_resources")?;
        self.state.lock().container(id)?.status.resources.change(resources);
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, options: &ExecOptions) -> Result<ExecStream> {
        self.check("exec")?;
        let (status, mut ended) = {
            let mut state = self.state.lock();
            let container = state.running(id)?;
            (container.status.clone(), container.exited.subscribe())
        };
        let hooked = self.exec_hook.lock().as_ref().and_then(|hook| hook(&status, &options.argv));
        let program = Program::read(&options.argv);
        if hooked.is_none() && program == Program::Missing {
            return Err(RuntimeError::StartFailed("exec: \"not-there\": executable file not found in $PATH".into()));
        }
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (mut input, mut output) = tokio::io::split(ours);
        let (their_output, their_input) = tokio::io::split(theirs);
        let (resize, mut sizes) = mpsc::channel(4);
        let (done, exit) = tokio::sync::oneshot::channel();
        let mut errors = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let code = match (hooked, program) {
                (Some(answer), _) => {
                    let _ = output.write_all(&answer.stdout).await;
                    let _ = errors.0.write_all(&answer.stderr).await;
                    answer.exit_code
                }
                (None, Program::Exit(code)) => code,
                (None, Program::Echo(text)) => output.write_all(text.as_bytes()).await.map_or(1, |()| 0),
                (None, Program::Cat) => tokio::io::copy(&mut input, &mut output).await.map_or(1, |_| 0),
                (None, _) => {
                    let _ = ended.wait_for(Option::is_some).await;
                    137
                }
            };
            let _ = output.shutdown().await;
            sizes.close();
            let _ = done.send(code);
        });
        Ok(ExecStream {
            stdin: options.stdin.then_some(Box::new(their_input) as _),
            stdout: Some(Box::new(their_output)),
            stderr: (options.stderr && !options.tty).then_some(Box::new(errors.1) as _),
            resize,
            exit: async move { exit.await.map_err(|source| RuntimeError::failed("wait for the exec", source)) }.boxed(),
        })
    }

    async fn exec_sync(&self, id: &ContainerId, argv: &[String], timeout: Duration) -> Result<ExecOutput> {
        self.check("exec_sync")?;
        let options = ExecOptions { argv: argv.to_vec(), stdout: true, stderr: true, ..ExecOptions::default() };
        let stream = self.exec(id, &options).await?;
        let gather = async {
            use tokio::io::AsyncReadExt;
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            drop(stream.stdin);
            if let Some(mut reader) = stream.stdout {
                let _ = reader.read_to_end(&mut stdout).await;
            }
            if let Some(mut reader) = stream.stderr {
                let _ = reader.read_to_end(&mut stderr).await;
            }
            Ok(ExecOutput { exit_code: stream.exit.await?, stdout, stderr })
        };
        if timeout.is_zero() {
            return gather.await;
        }
        match tokio::time::timeout(timeout, gather).await {
            Ok(output) => output,
            Err(_) => Err(RuntimeError::DeadlineExceeded(format!("command {argv:?} timed out"))),
        }
    }

    async fn attach(&self, id: &ContainerId) -> Result<ExecStream> {
        self.check("attach")?;
        let mut ended = self.state.lock().running(id)?.exited.subscribe();
        let (ours, theirs) = tokio::io::duplex(1024);
        let (stdout, stdin) = tokio::io::split(theirs);
        let (resize, mut sizes) = mpsc::channel(4);
        Ok(ExecStream {
            stdin: Some(Box::new(stdin)),
            stdout: Some(Box::new(stdout)),
            stderr: None,
            resize,
            exit: async move {
                let code = ended.wait_for(Option::is_some).await.ok().and_then(|code| *code).unwrap_or(137);
                sizes.close();
                drop(ours);
                Ok(code)
            }
            .boxed(),
        })
    }

    async fn port_forward(&self, id: &SandboxId, _port: u16) -> Result<Box<dyn AsyncDuplex>> {
        self.check("port_forward")?;
        self.state.lock().sandbox(id)?;
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        // An echo server listens on every port.
        tokio::spawn(async move {
            let (mut input, mut output) = tokio::io::split(ours);
            let _ = tokio::io::copy(&mut input, &mut output).await;
        });
        Ok(Box::new(theirs))
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        self.check("reopen_log")?;
        self.state.lock().running(id).map(|_| ())
    }

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        self.check("container_stats")?;
        self.default_stats(id)
    }

    async fn sandbox_stats(&self, id: &SandboxId) -> Result<SandboxStats> {
        self.check("sandbox_stats")?;
        self.state.lock().sandbox(id)?;
        let containers = self.containers_of(id).iter().map(|id| self.default_stats(id)).collect::<Result<Vec<_>>>()?;
        Ok(SandboxStats { id: id.clone(), cpu: CpuStats::default(), memory: MemoryStats::default(), pids: containers.iter().map(|c| c.pids).sum(), containers })
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }
}
