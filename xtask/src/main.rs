//! Development tasks: `cargo xtask <task>`. Each task is a module of its own; this file only names them.

use clap::{Parser, Subcommand};
use xtask::{bench, build, clients, cluster, codegen, compare, demo, differ, fuzz, test, tidy};

#[derive(Parser)]
#[command(name = "xtask", about = "Development tasks of Skiff")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the static binary and print where it is
    Build(build::Args),
    /// Start a cluster and the workshop's application on it, and prove that it works
    Demo(demo::Args),
    /// Run every test
    Test(test::Args),
    /// Check the layers, the dependencies and the texts
    Tidy(tidy::Args),
    /// Start or end a cluster of the release build
    Cluster {
        #[command(subcommand)]
        command: cluster::Command,
    },
    /// Run kubectl command lines against upstream and Skiff, and show where the outputs differ
    Compare(compare::Args),
    /// Send the same requests to an upstream API server and to Skiff, and show where the answers differ
    Differ(differ::Args),
    /// Run small programs with kube-rs, client-go and the Python client against a cluster
    Clients(clients::Args),
    /// Measure the budgets
    Bench(bench::Args),
    /// Run the fuzz targets on stable Rust
    Fuzz(fuzz::Args),
    /// Regenerate the schema facts out of the upstream Go modules
    Codegen(codegen::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Build(args) => build::task(&args),
        Task::Demo(args) => demo::task(&args),
        Task::Test(args) => test::task(&args),
        Task::Tidy(args) => tidy::task(&args),
        Task::Cluster { command } => cluster::task(command),
        Task::Compare(args) => compare::task(&args),
        Task::Differ(args) => differ::task(&args),
        Task::Clients(args) => clients::task(&args),
        Task::Bench(args) => bench::task(&args),
        Task::Fuzz(args) => fuzz::task(&args),
        Task::Codegen(args) => codegen::run(&args),
    }
}
