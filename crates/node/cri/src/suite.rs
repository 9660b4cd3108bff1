//! The behaviour that every runtime has to show.
//!
//! An implementation writes a [`Harness`] and calls [`run_all`] in a test. Every check panics with what is wrong;
//! checks wait for events, never for time to pass.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStatus, EventStream, ExecOptions, ExitReason, ImageId, PodMetadata, Runtime,
    RuntimeError, RuntimeEvent, SandboxConfig, SandboxFilter, SandboxId, SandboxState,
};

/// What a program of the suite's containers does; the harness knows how to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Ends with this code at once.
    Exit(i32),
    /// Runs until it gets SIGTERM, and ends by it.
    Run,
    /// Runs and ignores SIGTERM.
    Stubborn,
    /// Prints `hello` and a newline on stdout, then ends with 0.
    Echo,
    /// Copies stdin to stdout.
    Cat,
    /// Can't be executed.
    Missing,
}

#[async_trait::async_trait]
pub trait Harness: Sync {
    /// Waits until a program that has been started is ready for signals: a real one needs a moment to install its
    /// handler, and the first process of a PID namespace does not even get signals that it doesn't handle.
    async fn settled(&self, _container: &ContainerStatus, _program: Program) {}

    fn runtime(&self) -> &dyn Runtime;
    /// A command line for this program in `image`.
    fn command(&self, program: Program) -> Vec<String>;
    fn image(&self) -> ImageId;
    /// A sandbox configuration that works here: log directory, cgroup parent.
    fn sandbox(&self, metadata: PodMetadata) -> SandboxConfig;
}

/// All checks, one after the other. Everything made is removed again.
pub async fn run_all(harness: &dyn Harness) {
    sandbox_lifecycle(harness).await;
    container_lifecycle(harness).await;
    exit_codes(harness).await;
    stop_with_grace(harness).await;
    start_failure(harness).await;
    exec_streams(harness).await;
    exec_in_ended_container(harness).await;
    repeated_calls(harness).await;
    remove_sandbox_with_running_containers(harness).await;
}

async fn make_sandbox(h: &dyn Harness, name: &str) -> SandboxId {
    let metadata = PodMetadata { name: name.into(), namespace: "suite".into(), uid: format!("uid-{name}"), attempt: 0 };
    let mut config = h.sandbox(metadata);
    config.labels.insert("suite".into(), name.into());
    h.runtime().run_sandbox(&config).await.unwrap_or_else(|e| panic!("run_sandbox: {}", e.full_message()))
}

async fn make_container(h: &dyn Harness, sandbox: &SandboxId, name: &str, program: Program) -> ContainerId {
    let mut config = ContainerConfig::new(name, h.image());
    config.command = h.command(program);
    h.runtime().create_container(sandbox, &config).await.unwrap_or_else(|e| panic!("create_container: {}", e.full_message()))
}

async fn start(h: &dyn Harness, id: &ContainerId) {
    h.runtime().start_container(id).await.unwrap_or_else(|e| panic!("start_container: {}", e.full_message()));
}

async fn clean(h: &dyn Harness, sandbox: &SandboxId) {
    h.runtime().remove_sandbox(sandbox).await.unwrap_or_else(|e| panic!("remove_sandbox: {}", e.full_message()));
}

/// Waits for the exit of a container. The long limit only ends a test that hangs.
async fn exit_of(events: &mut EventStream, id: &ContainerId) -> (i32, ExitReason) {
    let wait = async {
        loop {
            match events.recv().await {
                Ok(RuntimeEvent::ContainerExited { container, exit_code, reason, .. }) if container == *id => return (exit_code, reason),
                Ok(_) => {}
                Err(error) => panic!("no exit event of {id}: {error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("no exit event of {id}"))
}

async fn sandbox_lifecycle(h: &dyn Harness) {
    let id = make_sandbox(h, "lifecycle").await;
    let status = h.runtime().sandbox_status(&id).await.expect("status of a new sandbox");
    assert_eq!(status.state, SandboxState::Ready);
    assert_eq!(status.metadata.name, "lifecycle");
    let mut filter = SandboxFilter::default();
    filter.labels.insert("suite".into(), "lifecycle".into());
    assert_eq!(h.runtime().list_sandboxes(&filter).await.expect("list").len(), 1);
    filter.labels.insert("suite".into(), "other".into());
    assert!(h.runtime().list_sandboxes(&filter).await.expect("list").is_empty());
    h.runtime().stop_sandbox(&id).await.expect("stop");
    let stopped = h.runtime().sandbox_status(&id).await.expect("status of a stopped sandbox");
    assert_eq!(stopped.state, SandboxState::NotReady);
    clean(h, &id).await;
    let gone = h.runtime().sandbox_status(&id).await;
    assert!(matches!(gone, Err(RuntimeError::NotFound { .. })), "a removed sandbox is not found");
}

async fn container_lifecycle(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "container").await;
    let id = make_container(h, &sandbox, "main", Program::Run).await;
    let created = h.runtime().container_status(&id).await.expect("status");
    assert_eq!(created.state, ContainerState::Created);
    assert_eq!(created.sandbox, sandbox);
    assert!(created.created_at > 0);
    start(h, &id).await;
    let running = h.runtime().container_status(&id).await.expect("status");
    assert_eq!(running.state, ContainerState::Running);
    assert!(running.started_at >= running.created_at);
    assert!(running.pid.is_some());
    let filter = ContainerFilter { sandbox: Some(sandbox.clone()), state: Some(ContainerState::Running), ..ContainerFilter::default() };
    assert_eq!(h.runtime().list_containers(&filter).await.expect("list").len(), 1);
    let twice = h.runtime().start_container(&id).await;
    assert!(matches!(twice, Err(RuntimeError::Precondition(_))), "a container starts once");
    let mut config = ContainerConfig::new("main", h.image());
    config.command = h.command(Program::Run);
    let same = h.runtime().create_container(&sandbox, &config).await;
    assert!(matches!(same, Err(RuntimeError::AlreadyExists { .. })), "name and attempt are unique in a sandbox");
    let stats = h.runtime().container_stats(&id).await.expect("stats");
    assert_eq!(stats.id, id);
    h.runtime().remove_container(&id).await.expect("remove a running container");
    assert!(h.runtime().container_status(&id).await.is_err_and(|e| e.is_not_found()));
    clean(h, &sandbox).await;
}

async fn exit_codes(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "exits").await;
    for (code, reason) in [(0, ExitReason::Completed), (3, ExitReason::Error)] {
        let mut events = h.runtime().events();
        let id = make_container(h, &sandbox, &format!("exit{code}"), Program::Exit(code)).await;
        start(h, &id).await;
        assert_eq!(exit_of(&mut events, &id).await, (code, reason));
        let status = h.runtime().container_status(&id).await.expect("status");
        assert_eq!((status.state, status.exit_code, status.reason), (ContainerState::Exited, code, Some(reason)));
        assert!(status.finished_at >= status.started_at);
    }
    clean(h, &sandbox).await;
}

async fn stop_with_grace(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "stops").await;
    for (program, grace, code) in
        [(Program::Run, Duration::from_secs(60), 143), (Program::Stubborn, Duration::from_millis(50), 137), (Program::Run, Duration::ZERO, 137)]
    {
        let id = make_container(h, &sandbox, &format!("{program:?}-{}", grace.as_millis()), program).await;
        start(h, &id).await;
        h.settled(&h.runtime().container_status(&id).await.expect("status"), program).await;
        h.runtime().stop_container(&id, grace).await.expect("stop");
        let status = h.runtime().container_status(&id).await.expect("status");
        assert_eq!((status.state, status.exit_code), (ContainerState::Exited, code), "{program:?} stopped with {grace:?}");
    }
    clean(h, &sandbox).await;
}

async fn start_failure(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "missing").await;
    let id = make_container(h, &sandbox, "main", Program::Missing).await;
    match h.runtime().start_container(&id).await {
        Err(RuntimeError::StartFailed(message)) => assert!(message.contains("not found") || message.contains("no such file"), "{message}"),
        other => panic!("starting a program that isn't there answered {other:?}"),
    }
    let status = h.runtime().container_status(&id).await.expect("status");
    assert_eq!((status.state, status.exit_code, status.reason), (ContainerState::Exited, 128, Some(ExitReason::StartError)));
    clean(h, &sandbox).await;
}

async fn exec_streams(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "exec").await;
    let id = make_container(h, &sandbox, "main", Program::Run).await;
    start(h, &id).await;
    let runtime = h.runtime();
    let answer = runtime.exec_sync(&id, &h.command(Program::Echo), Duration::from_secs(60)).await.expect("exec_sync");
    assert_eq!((answer.exit_code, answer.stdout.as_slice()), (0, b"hello\n".as_slice()));
    let answer = runtime.exec_sync(&id, &h.command(Program::Exit(7)), Duration::ZERO).await.expect("exec_sync");
    assert_eq!(answer.exit_code, 7);
    let late = runtime.exec_sync(&id, &h.command(Program::Run), Duration::from_millis(50)).await;
    assert!(matches!(late, Err(RuntimeError::DeadlineExceeded(_))), "a limit that passed: {late:?}");
    let missing = runtime.exec_sync(&id, &h.command(Program::Missing), Duration::ZERO).await;
    assert!(matches!(missing, Err(RuntimeError::StartFailed(_))), "a program that isn't there: {missing:?}");

    let options = ExecOptions { argv: h.command(Program::Cat), stdin: true, stdout: true, ..ExecOptions::default() };
    let mut stream = runtime.exec(&id, &options).await.expect("exec");
    let mut stdin = stream.stdin.take().expect("stdin was asked for");
    stdin.write_all(b"to and fro").await.expect("write");
    stdin.shutdown().await.expect("close stdin");
    drop(stdin);
    let mut output = String::new();
    stream.stdout.take().expect("stdout").read_to_string(&mut output).await.expect("read");
    assert_eq!(output, "to and fro");
    assert_eq!(stream.exit.await.expect("exit code"), 0);
    clean(h, &sandbox).await;
}

async fn exec_in_ended_container(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "ended").await;
    let mut events = h.runtime().events();
    let id = make_container(h, &sandbox, "main", Program::Exit(0)).await;
    start(h, &id).await;
    exit_of(&mut events, &id).await;
    let answer = h.runtime().exec_sync(&id, &h.command(Program::Echo), Duration::ZERO).await;
    assert!(matches!(answer, Err(RuntimeError::Precondition(_))), "{answer:?}");
    clean(h, &sandbox).await;
}

async fn repeated_calls(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "twice").await;
    let id = make_container(h, &sandbox, "main", Program::Run).await;
    start(h, &id).await;
    for _ in 0..2 {
        h.runtime().stop_container(&id, Duration::ZERO).await.expect("stop");
    }
    for _ in 0..2 {
        h.runtime().remove_container(&id).await.expect("remove");
    }
    for _ in 0..2 {
        h.runtime().stop_sandbox(&sandbox).await.expect("stop sandbox");
    }
    for _ in 0..2 {
        h.runtime().remove_sandbox(&sandbox).await.expect("remove sandbox");
    }
}

async fn remove_sandbox_with_running_containers(h: &dyn Harness) {
    let sandbox = make_sandbox(h, "busy").await;
    let mut events = h.runtime().events();
    let id = make_container(h, &sandbox, "main", Program::Run).await;
    start(h, &id).await;
    h.runtime().stop_sandbox(&sandbox).await.expect("stop sandbox");
    assert_eq!(exit_of(&mut events, &id).await.0, 137);
    let refused = h.runtime().create_container(&sandbox, &ContainerConfig::new("late", h.image())).await;
    assert!(matches!(refused, Err(RuntimeError::Precondition(_))), "a stopped sandbox takes no container");
    clean(h, &sandbox).await;
    assert!(h.runtime().container_status(&id).await.is_err_and(|e| e.is_not_found()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeRuntime;

    struct Fake(FakeRuntime);

    #[async_trait::async_trait]
    impl Harness for Fake {
        fn runtime(&self) -> &dyn Runtime {
            &self.0
        }

        fn command(&self, program: Program) -> Vec<String> {
            let words: &[&str] = match program {
                Program::Exit(code) => return vec!["exit".into(), code.to_string()],
                Program::Run => &["run"],
                Program::Stubborn => &["stubborn"],
                Program::Echo => &["echo", "hello"],
                Program::Cat => &["cat"],
                Program::Missing => &["not-there"],
            };
            words.iter().map(|word| word.to_string()).collect()
        }

        fn image(&self) -> ImageId {
            "sha256:fake".into()
        }

        fn sandbox(&self, metadata: PodMetadata) -> SandboxConfig {
            SandboxConfig { metadata, ..SandboxConfig::default() }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_fake_passes() {
        run_all(&Fake(FakeRuntime::default())).await;
    }
}
