//! What a container costs: create, start, wait for the exit, remove; and what a shim keeps for itself.
//! Prints figures; asserts nothing.

#[allow(dead_code)]
#[path = "../tests/embedded/bed.rs"]
mod bed;

use std::time::{Duration, Instant};

use skiff_cri::{Runtime, Seccomp};

const ROUNDS: usize = 200;

fn main() {
    skiff_shim::main_if_shim();
    if let Some(missing) = bed::missing() {
        eprintln!("skipped: {missing}");
        return;
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    tokio.block_on(async {
        let bed = bed::Bed::make().await;
        for (name, seccomp) in [("with seccomp", Seccomp::RuntimeDefault), ("without seccomp", Seccomp::Unconfined)] {
            report(name, containers(&bed, seccomp).await);
        }
        report("exec", execs(&bed).await);
        report("sandbox", sandboxes(&bed).await);
        let sandbox = bed.sandbox("memory").await;
        bed.create(&sandbox, &bed::idle("main")).await;
        println!("shim: {} KiB private", private_memory(&bed, sandbox.as_str()));
        bed.tear_down().await;
    });
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!("{name}: p50 {:?}, p99 {:?} of {}", at(50), at(99), times.len());
}

/// The root file system is made outside of what is measured: that is the image store's part.
async fn containers(bed: &bed::Bed, seccomp: Seccomp) -> Vec<Duration> {
    let sandbox = bed.sandbox(&format!("bench-{seccomp:?}").to_lowercase()).await;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let mut config = bed::container(&format!("c{round}"));
        config.command = vec!["/bin/true".into()];
        config.security.seccomp = seccomp.clone();
        let id = bed.runtime.create_container(&sandbox, &config).await.expect("create");
        let begin = Instant::now();
        bed.runtime.start_container(&id).await.expect("start");
        bed::wait(&bed.runtime, &id).await;
        bed.runtime.remove_container(&id).await.expect("remove");
        times.push(begin.elapsed());
    }
    times
}

async fn execs(bed: &bed::Bed) -> Vec<Duration> {
    let sandbox = bed.sandbox("bench-exec").await;
    let id = bed.create(&sandbox, &bed::idle("main")).await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        bed.runtime.exec_sync(&id, &["/bin/true".into()], Duration::ZERO).await.expect("exec");
        times.push(begin.elapsed());
    }
    times
}

async fn sandboxes(bed: &bed::Bed) -> Vec<Duration> {
    let mut times = Vec::new();
    for round in 0..ROUNDS / 4 {
        let begin = Instant::now();
        let id = bed.sandbox(&format!("s{round}")).await;
        times.push(begin.elapsed());
        bed.runtime.remove_sandbox(&id).await.expect("remove");
    }
    times
}

fn private_memory(bed: &bed::Bed, sandbox: &str) -> u64 {
    let pid = std::fs::read_to_string(bed.config.run.join("sandboxes").join(sandbox).join("shim.pid")).expect("pid file");
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.trim())).expect("smaps");
    let value = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    value("Private_Clean:") + value("Private_Dirty:")
}
