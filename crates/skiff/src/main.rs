//! The one binary. It picks the role and wires the parts; nothing is decided here.

mod admin;
mod agent;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod check;
mod cli;
mod config_file;
mod encryption_command;
mod facts;
mod flags;
mod image;
mod k3s_flags;
mod lock;
mod memory;
mod node;
mod process;
mod server;
mod stop;
mod token;
mod token_command;

use anyhow::Context;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything is set up: a shim is to be small.
    skiff_shim::main_if_shim();
    quiet_pipes();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("skiff: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Output into a pipe that is closed (`| head`) ends the program in silence, as with other tools; who serves keeps Rust's way.
fn quiet_pipes() {
    let serves = std::env::args().nth(1).is_some_and(|a| matches!(a.as_str(), "server" | "agent"));
    if !serves {
        // SAFETY: the default action, before any thread is there.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
}

/// Ends the process with a usage message when the command line is not understood.
fn parse(args: Vec<std::ffi::OsString>) -> Cli {
    Cli::try_parse_from(args).unwrap_or_else(|e| {
        let flag = match (e.kind(), e.get(ContextKind::InvalidArg)) {
            (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => flag.clone(),
            _ => e.exit(),
        };
        let Some(means) = k3s_flags::meaning(&flag) else { e.exit() };
        eprintln!("error: {flag} is a flag of k3s that Skiff does not have: {means}");
        std::process::exit(2)
    })
}

fn run() -> anyhow::Result<()> {
    let args = config_file::with_config(std::env::args_os().collect())?;
    let shown = args.clone();
    match parse(args).command {
        Command::Server(args) => server::run(*args, flags::of(&shown)),
        Command::Agent(args) => agent::run(*args),
        Command::Token { command } => token_command::run(command),
        Command::SecretsEncrypt { command } => encryption_command::run(command),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "skiff", &mut std::io::stdout());
            Ok(())
        }
        Command::Check { output, agent, places } => check::run(output, agent, &places),
        Command::Stop { all, places } => stop::run(all, &places),
        Command::Image { command } => image::run(command),
        Command::Kubeconfig { places } => {
            let path = admin::read_traces(&places.run_dir)?.map_or_else(|| places.config_dir.join("skiff.yaml"), |t| t.kubeconfig);
            print!("{}", std::fs::read_to_string(&path).with_context(|| format!("read {} (has the server started?)", path.display()))?);
            Ok(())
        }
        Command::LogLevel { levels, places } => admin::ask(&places.run_dir, &admin::Ask::LogLevel(levels)).map(drop),
    }
}
