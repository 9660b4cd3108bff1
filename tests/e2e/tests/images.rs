//! Images that mean harm, brought in by `skiff image import`: refused by name, or held inside their own root; whatever they
//! hold, a container of theirs gets no device that it was not given.
use anyhow::{Context, ensure};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use skiff_e2e::program::{Ended, ended, skiff};
use skiff_e2e::with_cluster;
use skiff_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tar::EntryType;
use xtask::cluster::Cluster;

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A tar whose names are written as they are: `tar` itself refuses `..`.
struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
    fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8], device: (u32, u32)) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_device_major(device.0).unwrap();
        header.set_device_minor(device.1).unwrap();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }
    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content, (0, 0))
    }
    fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, to, &[], (0, 0))
    }
    fn hard_link(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Link, name, to, &[], (0, 0))
    }
    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// An OCI layout in a tar; `claimed` is what the manifest says that the layer's digest is.
fn archive(at: &Path, name: &str, layer: &[u8], claimed: Option<String>, diff: Option<String>) -> PathBuf {
    let layer_digest = digest(layer);
    let config = json!({"architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", diff.unwrap_or_else(|| layer_digest.clone()))]}}).to_string();
    let blob = |media: &str, digest: &str, size: usize| json!({"mediaType": format!("application/vnd.oci.image.{media}"), "digest": format!("sha256:{digest}"), "size": size});
    let claimed = claimed.unwrap_or(layer_digest);
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": blob("config.v1+json", &digest(config.as_bytes()), config.len()), "layers": [blob("layer.v1.tar", &claimed, layer.len())]}).to_string();
    let mut entry = blob("manifest.v1+json", &digest(manifest.as_bytes()), manifest.len());
    entry["annotations"] = json!({"io.containerd.image.name": format!("skiff.local/hostile/{name}:1")});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let mut out = Layer::new().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", index.as_bytes());
    for (name, bytes) in [(claimed, layer), (digest(config.as_bytes()), config.as_bytes()), (digest(manifest.as_bytes()), manifest.as_bytes())] {
        out = out.file(&format!("blobs/sha256/{name}"), bytes);
    }
    let path = at.join(format!("{name}.tar"));
    std::fs::write(&path, out.done()).unwrap();
    path
}

fn import(c: &Cluster, archive: &Path) -> anyhow::Result<Ended> {
    let at = |name: &str| c.dir.join(name).into_os_string();
    let mut command = skiff(&["image", "import"]);
    command.arg(archive).arg("--data-dir").arg(at("data")).arg("--run-dir").arg(at("run")).arg("--config-dir").arg(at("etc"));
    ended(&mut command, Duration::from_secs(120))
}

#[test]
fn images_that_mean_harm() {
    with_cluster(16560, |c| {
        let work = tempfile::tempdir()?;
        digests(c, work.path()).context("wrong digests")?;
        escapes(c, work.path()).context("ways out")?;
        bombs(c, work.path()).context("bombs")?;
        devices(c, work.path()).context("device nodes")?;
        let list = ended(skiff(&["image", "list"]).arg("--run-dir").arg(c.dir.join("run")), Duration::from_secs(20))?;
        ensure!(list.success && !list.text.contains("refused"), "an image that was refused is listed:\n{}", list.text);
        ensure!(!std::fs::read_to_string(c.dir.join("log"))?.contains("panicked"), "something panicked");
        ensure!(staged(c)?.is_empty(), "what was refused is still on the disk: {:?}", staged(c)?);
        Ok(())
    });
}

/// What an import that did not end well has left in the store.
fn staged(c: &Cluster) -> anyhow::Result<Vec<PathBuf>> {
    let dir = c.dir.join("data/agent/images-store/tmp");
    Ok(std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()).collect())
}

fn refused(end: &Ended, word: &str) -> anyhow::Result<()> {
    ensure!(!end.success, "it was imported: {}", end.text);
    ensure!(end.text.to_lowercase().contains(word), "{word:?} is not in: {}", end.text);
    Ok(())
}

fn digests(c: &Cluster, work: &Path) -> anyhow::Result<()> {
    let layer = Layer::new().file("a", b"hello").done();
    let wrong = digest(b"something else");
    refused(&import(c, &archive(work, "refused-digest", &layer, Some(wrong.clone()), None))?, "digest")?;
    refused(&import(c, &archive(work, "refused-diff", &layer, None, Some(wrong)))?, "digest")?;
    refused(&import(c, &archive(work, "refused-cut", &layer[..700], None, None))?, "")?;
    std::fs::write(work.join("rubbish.tar"), [0xa5; 20_000])?;
    refused(&import(c, &work.join("rubbish.tar"))?, "rubbish.tar")?;
    refused(&import(c, &work.join("nowhere.tar"))?, "nowhere.tar")
}

fn escapes(c: &Cluster, work: &Path) -> anyhow::Result<()> {
    let outside = work.join("outside");
    std::fs::create_dir(&outside)?;
    std::fs::write(outside.join("kept"), "kept")?;
    let up = "../".repeat(20);
    let target = outside.to_string_lossy().into_owned();
    let cases = [
        ("dots", Layer::new().file(&format!("{up}{}/written", &target[1..]), b"x")),
        ("absolute", Layer::new().file(&format!("{target}/written"), b"x")),
        ("absolute-link", Layer::new().symlink("out", &target).file("out/written", b"x")),
        ("dots-link", Layer::new().symlink("out", &format!("{up}{}", &target[1..])).file("out/written", b"x")),
        ("link-over-link", Layer::new().symlink("a", "/").symlink("b", &format!("a{target}")).file("b/written", b"x")),
        ("link-as-file", Layer::new().symlink("f", &format!("{target}/kept")).file("f", b"changed")),
        ("hard-link", Layer::new().hard_link("f", &format!("{target}/kept")).file("g", b"x")),
        ("hard-link-dots", Layer::new().hard_link("f", &format!("{up}{}/kept", &target[1..]))),
        ("whiteout", Layer::new().symlink("out", &target).file("out/.wh.kept", b"")),
    ];
    for (name, layer) in cases {
        let end = import(c, &archive(work, name, &layer.done(), None, None)).with_context(|| name.to_owned())?;
        eprintln!("{name}: {}", if end.success { "held inside" } else { end.text.trim() });
        ensure!(!outside.join("written").exists(), "{name} wrote outside");
        ensure!(std::fs::read_to_string(outside.join("kept"))? == "kept", "{name} changed what is outside");
        ensure!(std::fs::metadata(outside.join("kept")).map(|m| std::os::unix::fs::MetadataExt::nlink(&m))? == 1, "{name} linked to what is outside");
    }
    Ok(())
}

fn bombs(c: &Cluster, work: &Path) -> anyhow::Result<()> {
    // 16 GiB of zeros in a file of a layer: some 16 MB packed would take long to make, so one packed MiB is repeated.
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros")?;
    header.set_size(16 << 30);
    header.set_mode(0o644);
    header.set_cksum();
    let member = |bytes: &[u8]| -> anyhow::Result<Vec<u8>> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes)?;
        Ok(packed.finish()?)
    };
    let zeros = member(&vec![0; 32 << 20])?;
    let mut layer = member(header.as_bytes())?;
    for _ in 0..512 {
        layer.extend_from_slice(&zeros);
    }
    refused(&import(c, &archive(work, "refused-bomb", &layer, None, Some(digest(b"never seen"))))?, "expand")?;
    // The same as a whole archive's packing.
    std::fs::write(work.join("bomb.tar.gz"), &layer)?;
    refused(&import(c, &work.join("bomb.tar.gz"))?, "expand")?;
    // An index that is larger than any index is.
    let index = Layer::new().file("oci-layout", b"{}").file("index.json", &vec![b' '; 16 << 20]).done();
    std::fs::write(work.join("index.tar"), index)?;
    refused(&import(c, &work.join("index.tar"))?, "index.json")
}

fn devices(c: &Cluster, work: &Path) -> anyhow::Result<()> {
    let busybox = std::fs::read("/bin/busybox")?;
    let zero = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata("/")?);
    let disk = (rustix::fs::major(zero), rustix::fs::minor(zero));
    let layer = Layer::new()
        .file("bin/busybox", &busybox)
        .symlink("bin/sh", "busybox")
        .symlink("bin/head", "busybox")
        .symlink("bin/mknod", "busybox")
        .entry(EntryType::Char, "memory", "", &[], (1, 1))
        .entry(EntryType::Block, "disk", "", &[], disk)
        .entry(EntryType::Char, "dev/kmsg", "", &[], (1, 11))
        .done();
    let end = import(c, &archive(work, "devices", &layer, None, None))?;
    ensure!(end.success, "an image with device nodes: {}", end.text);
    let script = "for d in /memory /disk /dev/kmsg; do if head -c 1 $d > /dev/null 2> /dev/null; then echo open $d; else echo closed $d; fi; done; mknod /made b 7 0 && head -c 1 /made > /dev/null 2> /dev/null && echo open /made; echo end";
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "devices"}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "skiff.local/hostile/devices:1", "command": ["/bin/sh", "-c", script]}]}});
    c.kubectl_with(&["apply", "-f", "-"], &format!("{pod}"))?;
    c.kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/devices", "--timeout=60s"])?;
    let said = c.kubectl(&["logs", "devices"])?;
    ensure!(said.ends_with("end\n") && !said.contains("open"), "a container reads devices of the machine:\n{said}");
    c.kubectl(&["delete", "pod", "devices", "--now"]).map(drop)
}
