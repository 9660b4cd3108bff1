//! End-to-end tests with the real binary and the real kubectl: each starts a cluster in a folder of its own, takes it
//! down, and checks that nothing is left on the machine. They need root, kubectl and busybox-static, and are shown as
//! skipped without. Starting costs seconds, so a file is a topic with one cluster, or with servers that run no node.

pub mod program;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use xtask::cluster::Cluster;

/// What the machine lacks, if anything.
pub fn lacks() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root");
    }
    if !xtask::has("kubectl") {
        return Some("kubectl");
    }
    if !Path::new("/bin/busybox").exists() {
        return Some("busybox-static");
    }
    None
}

/// The binary under test.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| xtask::build::binary(false).expect("skiff builds")).clone()
}

pub const IMAGE: &str = "skiff.local/test/busybox:1";

/// Runs `test` on a fresh cluster whose node holds [`IMAGE`]; the cluster goes whatever happens.
pub fn with_cluster(port: u16, test: impl FnOnce(&Cluster) -> anyhow::Result<()>) {
    with_nodes(port, 1, test);
}

/// The same with several nodes, each of which holds the image.
pub fn with_nodes(port: u16, nodes: u8, test: impl FnOnce(&Cluster) -> anyhow::Result<()>) {
    if let Some(what) = lacks() {
        println!("skipped: this test needs {what}");
        return;
    }
    let dir = tempfile::Builder::new().prefix("skiff-e2e-").tempdir().expect("a temporary folder");
    let archive = dir.path().join("busybox.tar");
    xtask::image::busybox(IMAGE, dir.path(), &archive).expect("an image of busybox");
    let cluster = Cluster::with_nodes(&dir.path().join("c"), binary(), port, nodes).owned(dir.path());
    let done = cluster.up(&[archive]).and_then(|_| test(&cluster));
    end(&cluster, done);
}

/// Runs `test` with a server that runs no node, which the test starts with [`serve`] itself. Needs nothing of the machine.
pub fn with_server(port: u16, test: impl FnOnce(&Cluster) -> anyhow::Result<()>) {
    let dir = tempfile::Builder::new().prefix("skiff-e2e-").tempdir().expect("a temporary folder");
    let cluster = Cluster::of(&dir.path().join("c"), binary(), port).owned(dir.path());
    std::fs::create_dir_all(&cluster.dir).expect("the cluster's folder");
    let done = test(&cluster);
    end(&cluster, done);
}

/// Starts the server without a node, or with what is left of its state, and waits until it is ready; gives its process id.
pub fn serve(cluster: &Cluster) -> anyhow::Result<i32> {
    let pid = cluster.start(&["--disable-agent"])?;
    cluster.wait_every("the API", Duration::from_secs(60), Duration::from_millis(10), || cluster.port_answers())?;
    Ok(pid)
}

fn end(cluster: &Cluster, done: anyhow::Result<()>) {
    let log = cluster.log_end();
    let down = cluster.down();
    let left = cluster.leftovers().expect("the machine can be looked at");
    done.unwrap_or_else(|e| panic!("{e:#}\nthe server's log ends with:\n{log}"));
    down.expect("the cluster goes");
    assert!(left.is_empty(), "left on the machine: {left:#?}");
}
