//! The one binary. It picks the role and wires the parts; nothing is decided here.

mod cli;
mod config_file;
mod server;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything is set up: a shim is to be small.
    skiff_shim::main_if_shim();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("skiff: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let args = config_file::with_config(std::env::args_os().collect())?;
    match Cli::parse_from(args).command {
        Command::Server(args) => server::run(*args),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "skiff", &mut std::io::stdout());
            Ok(())
        }
        other => anyhow::bail!("{other:?} is not there yet"),
    }
}
