//! End-to-end tests with the real binary and the real kubectl: each starts a cluster in a folder of its own, takes it
//! down, and checks that nothing is left on the machine. They need root, kubectl and busybox-static, and are shown as
//! skipped without.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
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

fn binary() -> PathBuf {
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
    let cluster = Cluster::with_nodes(&dir.path().join("c"), binary(), port, nodes);
    let done = cluster.up(&[archive]).and_then(|_| test(&cluster));
    let log = cluster.log_end();
    let down = cluster.down();
    let left = cluster.leftovers().expect("the machine can be looked at");
    done.unwrap_or_else(|e| panic!("{e:#}\nthe server's log ends with:\n{log}"));
    down.expect("the cluster goes");
    assert!(left.is_empty(), "left on the machine: {left:#?}");
}
