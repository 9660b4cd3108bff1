//! Makes layers and archives in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use skiff_images::digest::Digest;
use skiff_images::limits::Limits;
use skiff_images::manifest::Platform;
use skiff_images::{ImageService, Options};
use tar::{Builder, EntryType, Header};

pub struct Layer(pub Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry whose names are written as they are, however bad.
    pub fn entry(mut self, kind: EntryType, path: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        for (field, text) in [(0, path), (157, link)] {
            header.as_mut_bytes()[field..field + text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        self.0.append(&header, content).expect("append");
        self
    }

    pub fn file(self, path: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", 0o644, content.as_bytes())
    }

    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, "", mode, b"")
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, b"")
    }

    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, 0o644, b"")
    }

    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().expect("finish")
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("write");
    encoder.finish().expect("finish")
}

pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diffs: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let (os, arch) = ("linux", Platform::host().architecture);
    skiff_json::json!({"os": os, "architecture": arch, "rootfs": {"type": "layers", "diff_ids": diffs},
        "config": {"Entrypoint": ["/bin/app"], "Cmd": ["-v"], "Env": ["A=b"], "User": "1000", "WorkingDir": "/srv"}})
    .to_string()
    .into_bytes()
}

/// A `docker save` archive; the index comes last.
pub fn docker_archive(images: &[(&[&str], Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut archive = Layer::new();
    let mut index = Vec::new();
    for (number, (tags, layers)) in images.iter().enumerate() {
        let config = config(layers);
        let name = format!("{}.json", Digest::of(&config).hex());
        archive = archive.entry(EntryType::Regular, &name, "", 0o644, &config);
        let mut paths = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            paths.push(format!("{number}-{i}/layer.tar"));
            archive = archive.entry(EntryType::Regular, &paths[i], "", 0o644, layer);
        }
        index.push(skiff_json::json!({"Config": name, "RepoTags": tags, "Layers": paths}));
    }
    let index = skiff_json::Value::from(index).to_string();
    archive.file("manifest.json", &index).tar()
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub service: ImageService,
    pub now: Arc<AtomicI64>,
}

pub fn bench(limits: Limits, registries: &str) -> Bench {
    let dir = tempfile::tempdir().expect("tempdir");
    std::fs::write(dir.path().join("registries.yaml"), registries).expect("write");
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = now.clone();
    let service = ImageService::open(Options {
        dir: dir.path().join("images"),
        registries: dir.path().join("registries.yaml"),
        limits,
        platform: Platform::host(),
        clock: Arc::new(move || clock.load(Ordering::Relaxed)),
    })
    .expect("open");
    Bench { dir, service, now }
}

impl Bench {
    pub fn write(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        path
    }
}

/// Files that an unfinished operation may have left behind.
pub fn leftovers(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("images/tmp")).expect("tmp").count()
}

pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// The error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
