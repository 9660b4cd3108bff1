use std::fs;

use skiff_cri::suite::{self, Harness, Program};
use skiff_cri::*;

use crate::bed::{Bed, container, idle, read_log, shell, wait};

#[async_trait::async_trait]
impl Harness for Bed {
    async fn settled(&self, container: &ContainerStatus, program: Program) {
        let caught = || {
            let status = fs::read_to_string(format!("/proc/{}/status", container.pid.expect("pid"))).expect("status");
            let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t").map(str::to_owned)).expect("SigCgt");
            u64::from_str_radix(&line, 16).expect("bits") & 1 << (libc::SIGTERM - 1) != 0
        };
        while program == Program::Run && !caught() {
            tokio::task::yield_now().await;
        }
    }

    fn runtime(&self) -> &dyn Runtime {
        &self.runtime
    }

    fn command(&self, program: Program) -> Vec<String> {
        match program {
            Program::Exit(code) => shell(&format!("exit {code}")),
            Program::Run => shell("trap 'exit 143' TERM; while :; do sleep 1000 & wait; done"),
            Program::Stubborn => shell("trap '' TERM; while :; do sleep 1000; done"),
            Program::Echo => vec!["echo".into(), "hello".into()],
            Program::Cat => vec!["cat".into()],
            Program::Missing => vec!["not-there".into()],
        }
    }

    fn image(&self) -> ImageId {
        "sha256:test".into()
    }

    fn sandbox(&self, metadata: PodMetadata) -> SandboxConfig {
        SandboxConfig { metadata: metadata.clone(), ..self.sandbox_config(&metadata.name) }
    }
}

pub async fn passes_the_contract_suite(bed: &Bed) {
    suite::run_all(bed).await;
}

/// Two daemons over one run folder, as after `kill -9`: what happens in between is found.
pub async fn a_restart_loses_no_exit_and_no_line(bed: &Bed) {
    let sandbox = bed.sandbox("restart").await;
    let gate = bed.folder.path().join("gate");
    fs::create_dir_all(&gate).expect("gate");
    let mut config = container("worker");
    config.command = shell("while ! test -e /gate/go; do sleep 0.01; done; seq 1 20000; exit 7");
    config.log_path = "worker.log".into();
    config.mounts.push(Mount { host_path: gate.clone(), container_path: "/gate".into(), ..Mount::default() });
    let worker = bed.create(&sandbox, &config).await;
    let keeper = bed.create(&sandbox, &idle("keeper")).await;
    let pid = bed.runtime.container_status(&keeper).await.expect("status").pid;

    let second = bed.reopen().await;
    let status = second.container_status(&worker).await.expect("found again");
    assert_eq!(status.state, ContainerState::Running);
    fs::write(gate.join("go"), "").expect("go");
    let status = wait(&second, &worker).await;
    assert_eq!((status.exit_code, status.reason), (7, Some(ExitReason::Error)));
    let expected: String = (1..=20000).map(|number| format!("{number}\n")).collect();
    assert_eq!(read_log(&status.log_path), expected);

    // The exit happened while nobody looked: a third daemon reads it from the folder.
    let third = bed.reopen().await;
    let status = third.container_status(&worker).await.expect("found again");
    assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 7));
    assert_eq!(third.container_status(&keeper).await.expect("keeper").pid, pid);
    let answer = third.exec_sync(&keeper, &["echo".into(), "alive".into()], std::time::Duration::ZERO).await.expect("exec");
    assert_eq!(answer.stdout, b"alive\n");
}

pub async fn a_lost_shim_is_noticed(bed: &Bed) {
    let sandbox = bed.sandbox("lost").await;
    let id = bed.create(&sandbox, &idle("main")).await;
    let pid = fs::read_to_string(bed.config.run.join("sandboxes").join(sandbox.as_str()).join("shim.pid")).expect("pid file");
    // SAFETY: the pid of a shim that this test started.
    unsafe { libc::kill(pid.trim().parse().expect("pid"), libc::SIGKILL) };
    let status = wait(&bed.runtime, &id).await;
    assert_eq!((status.exit_code, status.reason), (137, Some(ExitReason::Lost)));
    assert_eq!(bed.runtime.sandbox_status(&sandbox).await.expect("status").state, SandboxState::NotReady);
}

pub async fn lack_of_memory_is_told_from_other_deaths(bed: &Bed) {
    let sandbox = bed.sandbox("oom").await;
    let mut config = container("hungry");
    config.resources.memory_limit = 16 << 20;
    config.command = vec!["dd".into(), "if=/dev/zero".into(), "of=/dev/null".into(), "bs=256M".into(), "count=1".into()];
    let id = bed.create(&sandbox, &config).await;
    let status = wait(&bed.runtime, &id).await;
    assert_eq!((status.exit_code, status.reason), (137, Some(ExitReason::OomKilled)));
}

pub async fn a_shared_pid_namespace_reaps_and_is_shared(bed: &Bed) {
    let mut config = bed.sandbox_config("shared");
    config.namespaces.pid = PidMode::Pod;
    let sandbox = bed.sandbox_with(&config).await;
    let first = bed.create(&sandbox, &idle("first")).await;
    let second = bed.create(&sandbox, &idle("second")).await;
    let (_, seen) = bed.exec(&second, "ps").await;
    // Each has its shell; one that is just forking its sleep shows twice.
    assert!(seen.matches("trap 'exit 143'").count() >= 2, "{seen}");
    assert!(seen.contains(" 1 ") && seen.contains("pause"), "{seen}");
    // An orphan's end is seen to by the namespace's first process.
    let (_, zombies) = bed.exec(&second, "(sleep 0.05 &) ; sleep 0.3; ps | grep -c '\\[sleep\\]'").await;
    assert_eq!(zombies.trim(), "0");
    bed.runtime.stop_container(&first, std::time::Duration::from_secs(30)).await.expect("stop");
    assert_eq!(bed.runtime.container_status(&first).await.expect("status").exit_code, 143);
    let mut debug = idle("debug");
    debug.pid = Some(PidMode::Target(second.clone()));
    let debug = bed.create(&sandbox, &debug).await;
    assert!(bed.exec(&debug, "ps").await.1.contains("pause"));
}

pub async fn nothing_is_left_of_a_failed_sandbox(bed: &Bed) {
    let mut config = bed.sandbox_config("broken");
    config.sysctls.insert("net.no.such.thing".into(), "1".into());
    let error = bed.runtime.run_sandbox(&config).await.expect_err("an unknown sysctl");
    assert!(error.full_message().contains("net.no.such.thing"), "{}", error.full_message());
    assert_eq!(fs::read_dir(bed.config.run.join("sandboxes")).expect("list").count(), 0);
}

pub async fn limits_reach_the_cgroup(bed: &Bed) {
    let sandbox = bed.sandbox("limits").await;
    let mut config = idle("main");
    config.resources = Resources { cpu_shares: 512, cpu_quota: 50_000, cpu_period: 100_000, memory_limit: 64 << 20, pids_limit: 100, ..Resources::default() };
    let id = bed.create(&sandbox, &config).await;
    let stats = bed.runtime.container_stats(&id).await.expect("stats");
    assert_eq!(stats.memory.limit, 64 << 20);
    assert!(stats.pids >= 1 && stats.memory.usage > 0);
    bed.runtime.update_resources(&id, &Resources { memory_limit: 128 << 20, ..Resources::default() }).await.expect("update");
    assert_eq!(bed.runtime.container_stats(&id).await.expect("stats").memory.limit, 128 << 20);
    let pod = |bytes| Resources { memory_limit: bytes, ..Resources::default() };
    bed.runtime.update_sandbox_resources(&sandbox, &pod(256 << 20)).await.expect("update the pod");
    assert_eq!(bed.runtime.sandbox_stats(&sandbox).await.expect("stats").memory.limit, 256 << 20);
    bed.runtime.update_sandbox_resources(&sandbox, &pod(-1)).await.expect("lift");
    assert_eq!(bed.runtime.sandbox_status(&sandbox).await.expect("status").resources.memory_limit, -1);
    let (_, adj) = bed.exec(&id, "cat /proc/self/oom_score_adj").await;
    assert!(adj.trim().parse::<i32>().is_ok());
}
