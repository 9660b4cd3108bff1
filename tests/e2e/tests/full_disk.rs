//! A disk without room under the whole server: writes fail and say why, reads go on, and room brings writes back.
use anyhow::{Context, ensure};
use rustix::mount::{MountFlags, UnmountFlags};
use skiff_e2e::{serve, with_server};
use skiff_json::{Value, json};
use std::path::{Path, PathBuf};
use xtask::http::Client;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A tmpfs that goes with the value.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &std::ffi::CStr) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at)?;
        rustix::mount::mount("skiff-full", at, "tmpfs", MountFlags::empty(), size).context("mount a small disk")?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn object(name: &str, size: usize) -> Vec<u8> {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x".repeat(size)}}).to_string().into_bytes()
}

#[test]
fn a_full_disk_under_the_server() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: this test mounts a small disk, and needs root for that");
        return;
    }
    with_server(16530, |c| {
        let data = c.dir.join("data");
        let _disk = Disk::mount(&data, c"size=40m,mode=0700")?;
        serve(c)?;
        let ballast = data.join("ballast");
        std::fs::write(&ballast, vec![0; 24 << 20])?;
        let client = Client::of(&c.kubeconfig())?;
        let mut connection = client.connect()?;
        let json = ["content-type: application/json"];
        let mut kept = Vec::new();
        let refused = loop {
            let name = format!("kept-{}", kept.len());
            let answer = connection.request("POST", MAPS, &json, &object(&name, 50_000))?;
            match answer.status {
                201 => kept.push(name),
                _ => break answer,
            }
            ensure!(kept.len() < 2000, "the disk never fills");
        };
        let status: Value = skiff_json::from_slice(&refused.body)?;
        ensure!(refused.status == 500 && status["message"].as_str().is_some_and(|m| m.contains("disk is full")), "the error does not say why: {status}");
        ensure!(kept.len() > 10, "only {} writes", kept.len());
        for _ in 0..5 {
            ensure!(connection.request("POST", MAPS, &json, &object("lost", 100_000))?.status == 500, "a write without room");
            ensure!(connection.get(&format!("{MAPS}/lost"))?.status == 404, "a refused write is seen");
            ensure!(connection.get(&format!("{MAPS}/{}", kept[0]))?.status == 200, "reads do not go on");
        }
        let all = |what: &str| -> anyhow::Result<()> {
            let mut connection = client.connect()?;
            for name in &kept {
                ensure!(connection.get(&format!("{MAPS}/{name}"))?.status == 200, "{name} is lost {what}");
            }
            ensure!(connection.get(&format!("{MAPS}/lost"))?.status == 404, "a refused write came back {what}");
            Ok(())
        };
        all("while the disk is full")?;
        // Killed without room, it comes back without room, for reading at least.
        c.end_server(true)?;
        serve(c).context("start on a full disk")?;
        all("after a kill on a full disk")?;
        std::fs::remove_file(&ballast)?;
        ensure!(client.connect()?.request("POST", MAPS, &json, &object("after", 50_000))?.status == 201, "room does not bring writes back");
        c.end_server(false)?;
        serve(c)?;
        all("after a restart")?;
        ensure!(client.connect()?.get(&format!("{MAPS}/after"))?.status == 200, "the write after is lost");
        c.end_server(false)
    });
}
