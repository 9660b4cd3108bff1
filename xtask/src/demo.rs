//! `cargo xtask demo`: a cluster, the workshop's application on it, and the proof that it works.

mod proof;

use crate::cluster::{Cluster, cache};
use crate::image::{Recipe, pack, root_of_packages};
use crate::{build, root, run};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// End the demo's cluster and take away all that it made
    #[arg(long)]
    down: bool,
    /// Folder of the demo's cluster
    #[arg(long, default_value = "/var/tmp/skiff-demo")]
    dir: PathBuf,
    /// Port of the API
    #[arg(long, default_value_t = 6443)]
    port: u16,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("run the demo as root: containers, mounts and networks need it");
    }
    if args.down { down(args) } else { up(args) }
}

fn say(step: &str) {
    println!("▸ {step}");
}

fn up(args: &Args) -> anyhow::Result<()> {
    say("building skiff (the first time takes some minutes)");
    let binary = build::binary(true)?;
    say("making images of nginx and PostgreSQL out of Debian packages");
    let images = [nginx()?, postgres()?];
    say("starting a cluster of one node");
    let cluster = Cluster::of(&args.dir, binary, args.port);
    cluster.up(&images)?;
    say("deploying the application");
    let manifest = root().join("demo/application.yaml");
    cluster.kubectl(&["apply", "-f", &manifest.to_string_lossy()])?;
    secret(&cluster)?;
    for what in ["deployment/web", "statefulset/db"] {
        say(&format!("waiting for {what}"));
        cluster.kubectl(&["-n", "demo", "rollout", "status", what, "--timeout=180s"])?;
    }
    proof::run(&cluster)?;
    println!(
        "\nThe cluster goes on. Try:\n\n  export KUBECONFIG={}\n  kubectl get pods -A\n  kubectl -n demo port-forward service/web 8080:80\n\nand end it with `cargo xtask demo --down`.",
        cluster.kubeconfig().display()
    );
    Ok(())
}

fn down(args: &Args) -> anyhow::Result<()> {
    let Some(cluster) = Cluster::read(&args.dir)? else {
        println!("no demo runs in {}", args.dir.display());
        return Ok(());
    };
    say("ending the cluster");
    cluster.down()?;
    let left: Vec<String> = cluster.leftovers()?.iter().map(ToString::to_string).collect();
    if !left.is_empty() {
        bail!("this is left on the machine:\n{}", left.join("\n"));
    }
    println!("the machine is as it was");
    Ok(())
}

/// A fresh password, made here and never printed; the Secret stays when the demo is started again.
fn secret(cluster: &Cluster) -> anyhow::Result<()> {
    if cluster.kubectl(&["-n", "demo", "get", "secret", "db"]).is_ok() {
        return Ok(());
    }
    use std::io::Read;
    let mut random = [0u8; 18];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random).context("read random bytes")?;
    let password: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let manifest =
        skiff_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "demo"}, "stringData": {"password": password}});
    cluster.kubectl_with(&["apply", "-f", "-"], &manifest.to_string()).map(drop)
}

fn made(name: &str, make: impl FnOnce(&Path, &Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let dir = cache().join("demo");
    let archive = dir.join(format!("{name}.tar"));
    if !archive.exists() {
        let work = dir.join(format!("{name}.root"));
        let _ = std::fs::remove_dir_all(&work);
        std::fs::create_dir_all(&work)?;
        let part = dir.join(format!("{name}.part"));
        make(&work, &part).with_context(|| format!("make the image of {name}"))?;
        std::fs::rename(&part, &archive)?;
        std::fs::remove_dir_all(&work)?;
    }
    Ok(archive)
}

/// A shell for the containers, and users.
fn base(work: &Path) -> anyhow::Result<()> {
    for dir in ["tmp", "etc", "var/run"] {
        std::fs::create_dir_all(work.join(dir))?;
    }
    run(Command::new("chmod").arg("1777").arg(work.join("tmp")))?;
    std::fs::write(
        work.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    )?;
    std::fs::write(work.join("etc/group"), "root:x:0:\nwww-data:x:33:\npostgres:x:999:\nnogroup:x:65534:\n")?;
    Ok(())
}

fn nginx() -> anyhow::Result<PathBuf> {
    made("nginx", |work, archive| {
        root_of_packages(&["nginx-light", "dash"], &cache().join("packages"), work)?;
        base(work)?;
        std::fs::create_dir_all(work.join("var/log/nginx"))?;
        let entrypoint = vec!["/usr/sbin/nginx".to_owned()];
        pack(&Recipe { reference: "skiff.local/demo/nginx:1".into(), root: work.to_owned(), entrypoint, env: path(), user: String::new() }, archive)
    })
}

fn postgres() -> anyhow::Result<PathBuf> {
    made("postgres", |work, archive| {
        root_of_packages(&["postgresql", "dash", "coreutils", "libc-bin"], &cache().join("packages"), work)?;
        base(work)?;
        pack(
            &Recipe {
                reference: "skiff.local/demo/postgres:1".into(),
                root: work.to_owned(),
                entrypoint: vec!["/bin/sh".to_owned()],
                env: path(),
                user: String::new(),
            },
            archive,
        )
    })
}

fn path() -> Vec<String> {
    vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(), "LANG=C.UTF-8".into()]
}

/// Waits for a condition of the demo.
pub(crate) fn until(cluster: &Cluster, what: &str, done: impl FnMut() -> bool) -> anyhow::Result<()> {
    cluster.wait(what, Duration::from_secs(120), done)
}
