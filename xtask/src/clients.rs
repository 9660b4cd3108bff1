//! Small programs with other people's clients against a cluster: kube-rs, client-go, the Python client.
//!
//! Each lies in `tests/clients`, is built with its own tools outside of the workspace, makes a namespace of its own and
//! prints `ok`. What lacks its tools or packages is skipped, visibly.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Kubeconfig of the cluster
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Folder for what is built
    #[arg(long, default_value = "target/clients")]
    build: PathBuf,
    /// Only these: rust, go, python
    only: Vec<String>,
}

/// A client: how its packages are fetched, how it is built and run. Each gets the folders of the code and of what is built.
struct Program {
    name: &'static str,
    tool: &'static str,
    packages: fn(&Path, &Path) -> Vec<Command>,
    build: fn(&Path, &Path) -> Option<Command>,
    run: fn(&Path, &Path) -> Command,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "rust",
        tool: "cargo",
        packages: |code, _| vec![with(Command::new("cargo"), &["fetch", "--quiet"], code)],
        build: |code, build| Some(with(Command::new("cargo"), &["build", "--quiet", "--target-dir", &build.to_string_lossy()], code)),
        run: |_, build| Command::new(build.join("debug/clients")),
    },
    Program {
        name: "go",
        tool: "go",
        packages: |code, _| vec![with(Command::new("go"), &["mod", "download"], code)],
        build: |code, build| Some(with(Command::new("go"), &["build", "-o", &build.join("clients").to_string_lossy(), "."], code)),
        run: |_, build| Command::new(build.join("clients")),
    },
    Program {
        name: "python",
        tool: "python3",
        packages: |code, build| {
            vec![
                with(Command::new("python3"), &["-m", "venv", &build.to_string_lossy()], code),
                with(Command::new(build.join("bin/pip")), &["install", "--quiet", "kubernetes"], code),
            ]
        },
        build: |_, _| None,
        run: |code, build| with(Command::new(build.join("bin/python")), &["client.py"], code),
    },
];

fn with(mut command: Command, args: &[&str], code: &Path) -> Command {
    command.args(args).current_dir(code);
    command
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let kubeconfig = args.kubeconfig.canonicalize().with_context(|| format!("find {}", args.kubeconfig.display()))?;
    let mut failed = Vec::new();
    for program in PROGRAMS.iter().filter(|p| args.only.is_empty() || args.only.iter().any(|o| o == p.name)) {
        match one(program, &args.build, &kubeconfig)? {
            Some(true) => println!("{}: ok", program.name),
            Some(false) => failed.push(program.name),
            None => {}
        }
    }
    if !failed.is_empty() {
        bail!("clients failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Whether the program ran to its end; none when it is skipped.
fn one(program: &Program, build: &Path, kubeconfig: &Path) -> anyhow::Result<Option<bool>> {
    if !crate::has(program.tool) {
        println!("{}: skipped, {} is not installed", program.name, program.tool);
        return Ok(None);
    }
    let code = crate::root().join("tests/clients").join(program.name);
    let build = build.join(program.name);
    std::fs::create_dir_all(&build).with_context(|| format!("make {}", build.display()))?;
    let build = build.canonicalize().with_context(|| format!("find {}", build.display()))?;
    let succeeds =
        |command: &mut Command| -> anyhow::Result<bool> { Ok(command.status().with_context(|| format!("start {:?}", command.get_program()))?.success()) };
    for mut command in (program.packages)(&code, &build) {
        if !succeeds(&mut command)? {
            println!("{}: skipped, its packages cannot be had", program.name);
            return Ok(None);
        }
    }
    if let Some(mut command) = (program.build)(&code, &build)
        && !succeeds(&mut command)?
    {
        return Ok(Some(false));
    }
    Ok(Some(succeeds((program.run)(&code, &build).arg(kubeconfig))?))
}
