//! The embedded runtime with real containers. Needs root and a static busybox; skipped without.
//!
//! The binary re-executes itself as a shim, so it has a `main` of its own. Arguments pick tests by a part of their name.

mod answers;
mod bed;
mod lifecycle;
mod security;
mod streams;

use bed::Bed;

type Test = (&'static str, fn(&Bed) -> futures::future::LocalBoxFuture<'_, ()>);

macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => { &[$((stringify!($name), |bed| Box::pin($module::$name(bed)) as _)),*] };
}

const TESTS: &[Test] = tests![
    answers::a_start_whose_answer_is_lost_is_asked_about,
    answers::names_are_given_once,
    lifecycle::passes_the_contract_suite,
    lifecycle::a_restart_loses_no_exit_and_no_line,
    lifecycle::a_lost_shim_is_noticed,
    lifecycle::lack_of_memory_is_told_from_other_deaths,
    lifecycle::a_shared_pid_namespace_reaps_and_is_shared,
    lifecycle::nothing_is_left_of_a_failed_sandbox,
    lifecycle::limits_reach_the_cgroup,
    streams::output_goes_to_the_log,
    streams::a_terminal_has_the_size_that_was_set,
    streams::attaching_reaches_stdin_and_stdout,
    streams::ports_are_forwarded_into_the_sandbox,
    security::users_and_capabilities_are_as_asked,
    security::seccomp_holds_for_exec_too,
    security::a_localhost_profile_is_obeyed,
    security::kernel_files_are_protected,
    security::signals_are_as_a_program_expects,
    security::mounts_propagate_as_asked,
    security::names_come_from_the_pod,
    security::privileged_containers_see_devices,
];

fn main() {
    skiff_shim::main_if_shim();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if std::env::args().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    if let Some(missing) = bed::missing() {
        eprintln!("skipped: {missing}");
        return;
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    let mut failed = Vec::new();
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()))) {
        let result = std::panic::catch_unwind(|| {
            tokio.block_on(async {
                let bed = Bed::make().await;
                let outcome = std::panic::AssertUnwindSafe(test(&bed));
                let outcome = futures::FutureExt::catch_unwind(outcome).await;
                bed.tear_down().await;
                outcome
            })
        });
        let passed = matches!(result, Ok(Ok(())));
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        eprintln!("failed: {failed:?}");
        std::process::exit(1);
    }
}
