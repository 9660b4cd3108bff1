//! Pulls from the reference registry, run on a loopback port with folders as its storage.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use skiff_cri::{Images, PullAuth};
use skiff_images::digest::Digest;
use skiff_images::limits::Limits;
use skiff_images::manifest::Platform;

use crate::build::{Layer, bench, chain, config, gzip, leftovers, root};

const PROGRAM: &str = "docker-registry";
/// `user:secret`, as htpasswd writes it.
const HTPASSWD: &str = "user:$2y$05$";

struct Registry {
    child: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port()
}

fn start(storage: &Path, htpasswd: Option<&Path>) -> Option<Registry> {
    let address = format!("127.0.0.1:{}", free_port());
    let mut file =
        format!("version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n", storage.display());
    if let Some(htpasswd) = htpasswd {
        file.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", htpasswd.display()));
    }
    let settings = storage.join("settings.yml");
    fs::write(&settings, file).expect("write");
    let spawned = Command::new(PROGRAM).arg("serve").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: {PROGRAM} is not installed");
        return None;
    };
    loop {
        if std::net::TcpStream::connect(&address).is_ok() {
            return Some(Registry { child, address });
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("{PROGRAM} ended with {status}");
        }
        std::thread::yield_now();
    }
}

/// Puts an index with one image into the registry's storage. Returns the compressed top layer's digest.
fn push(storage: &Path, repository: &str, tag: &str, layers: &[Vec<u8>]) -> Digest {
    let base = storage.join("docker/registry/v2");
    let repo = base.join("repositories").join(repository);
    let blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        let data = base.join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
        fs::create_dir_all(&data).expect("mkdir");
        fs::write(data.join("data"), bytes).expect("write");
        digest
    };
    let link = |folder: String, digest: &Digest| {
        let folder = repo.join(folder);
        fs::create_dir_all(&folder).expect("mkdir");
        fs::write(folder.join("link"), digest.to_string()).expect("write");
    };
    let config = config(layers);
    let mut descriptors = Vec::new();
    let mut last = Digest::of(b"");
    for layer in layers {
        let compressed = gzip(layer);
        last = blob(&compressed);
        link(format!("_layers/sha256/{}", last.hex()), &last);
        descriptors.push(skiff_json::json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": last.to_string(), "size": compressed.len()}));
    }
    let config_digest = blob(&config);
    link(format!("_layers/sha256/{}", config_digest.hex()), &config_digest);
    let manifest = skiff_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest.to_string(), "size": config.len()},
        "layers": descriptors})
    .to_string();
    let manifest_digest = blob(manifest.as_bytes());
    let other = Digest::of(b"for another machine").to_string();
    let index = skiff_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": other, "size": 1, "platform": {"os": "linux", "architecture": "s390x"}},
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest_digest.to_string(), "size": manifest.len(),
         "platform": {"os": "linux", "architecture": Platform::host().architecture}}]})
    .to_string();
    let index_digest = blob(index.as_bytes());
    for digest in [&manifest_digest, &index_digest] {
        link(format!("_manifests/revisions/sha256/{}", digest.hex()), digest);
    }
    link(format!("_manifests/tags/{tag}/current"), &index_digest);
    link(format!("_manifests/tags/{tag}/index/sha256/{}", index_digest.hex()), &index_digest);
    last
}

fn layers() -> Vec<Vec<u8>> {
    vec![Layer::new().file("a", "1").tar(), Layer::new().file("b", "2").tar()]
}

#[tokio::test]
async fn a_tag_a_digest_and_a_mirror_are_pulled() {
    if !root() {
        return;
    }
    let storage = tempfile::tempdir().expect("tempdir");
    push(storage.path(), "team/app", "v1", &layers());
    push(storage.path(), "cache/nginx", "latest", &layers());
    let Some(registry) = start(storage.path(), None) else { return };
    let address = &registry.address;
    let bench = bench(Limits::default(), "");
    let plain = bench.service.pull(&format!("{address}/team/app:v1"), &[], None).await.expect_err("https by default");
    assert!(plain.full_message().contains("https://"), "{}", plain.full_message());
    // The file changes while the store is open.
    let yaml = format!(
        "mirrors:\n  '{address}': {{endpoint: ['http://{address}']}}\n  docker.io:\n    endpoint: ['http://{address}']\n    rewrite: {{'^library/(.*)': 'cache/$1'}}\n"
    );
    fs::write(bench.dir.path().join("registries.yaml"), yaml).expect("write");
    let (progress, seen) = tokio::sync::watch::channel(Default::default());
    let image = bench.service.pull(&format!("{address}/team/app:v1"), &[], Some(progress)).await.expect("pull");
    assert_eq!(image.tags, [format!("{address}/team/app:v1")]);
    assert_eq!(Some(seen.borrow().done), seen.borrow().total);
    let by_digest = bench.service.pull(&image.digests[0], &[], None).await.expect("by digest");
    assert_eq!(by_digest.id, image.id);
    let mirrored = bench.service.pull("nginx", &[], None).await.expect("through the mirror");
    assert!(mirrored.tags.contains(&"docker.io/library/nginx:latest".to_owned()));
    let missing = bench.service.pull(&format!("{address}/team/none:v1"), &[], None).await.expect_err("missing");
    assert!(missing.full_message().contains("404"), "{}", missing.full_message());
    assert_eq!(leftovers(bench.dir.path()), 0);
}

#[tokio::test]
async fn a_blob_with_other_bytes_is_refused() {
    if !root() {
        return;
    }
    let storage = tempfile::tempdir().expect("tempdir");
    let top = push(storage.path(), "team/app", "v1", &layers());
    let other = gzip(&Layer::new().file("b", "3").tar());
    fs::write(storage.path().join("docker/registry/v2/blobs/sha256").join(&top.hex()[..2]).join(top.hex()).join("data"), other).expect("write");
    let Some(registry) = start(storage.path(), None) else { return };
    let address = &registry.address;
    let bench = bench(Limits::default(), &format!("mirrors: {{'{address}': {{endpoint: ['http://{address}']}}}}"));
    let error = bench.service.pull(&format!("{address}/team/app:v1"), &[], None).await.expect_err("wrong digest");
    assert!(chain(&error).contains(&format!("expected {top}")), "{}", chain(&error));
    // Another layer may still be on its way out of its temporary folder when the pull has answered.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while leftovers(bench.dir.path()) != 0 && std::time::Instant::now() < until {
        tokio::task::yield_now().await;
    }
    assert_eq!(leftovers(bench.dir.path()), 0);
    assert!(bench.service.list().await.expect("list").is_empty());
}

#[tokio::test]
async fn basic_credentials_are_asked_for_and_used() {
    if !root() {
        return;
    }
    let storage = tempfile::tempdir().expect("tempdir");
    push(storage.path(), "team/app", "v1", &layers());
    let Some(hash) = bcrypt("secret") else {
        eprintln!("skipped: no program to make a bcrypt hash");
        return;
    };
    let htpasswd = storage.path().join("htpasswd");
    fs::write(&htpasswd, format!("user:{hash}\n")).expect("write");
    let Some(registry) = start(storage.path(), Some(&htpasswd)) else { return };
    let address = &registry.address;
    let bench = bench(Limits::default(), &format!("mirrors: {{'{address}': {{endpoint: ['http://{address}']}}}}"));
    let reference = format!("{address}/team/app:v1");
    let refused = bench.service.pull(&reference, &[], None).await.expect_err("no credentials");
    assert!(matches!(refused, skiff_cri::RuntimeError::Unauthorized(_)), "{refused:?}");
    let basic = |password: &str| PullAuth::Basic { username: "user".into(), password: password.into() };
    assert!(bench.service.pull(&reference, &[basic("wrong")], None).await.is_err());
    bench.service.pull(&reference, &[basic("wrong"), basic("secret")], None).await.expect("the second credentials fit");
    bench.service.remove(&reference).await.expect("remove");
    let yaml =
        format!("mirrors: {{'{address}': {{endpoint: ['http://{address}']}}}}\nconfigs: {{'{address}': {{auth: {{username: user, password: secret}}}}}}");
    fs::write(bench.dir.path().join("registries.yaml"), yaml).expect("write");
    bench.service.pull(&reference, &[], None).await.expect("credentials of registries.yaml");
}

/// A bcrypt hash by the C library's crypt(3), through perl or python; not every machine's crypt knows bcrypt.
fn bcrypt(password: &str) -> Option<String> {
    let salt = format!("{}abcdefghijklmnopqrstuu", HTPASSWD.trim_start_matches("user:"));
    let output = Command::new("perl").args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, &salt]).output().ok()?;
    let hash = String::from_utf8(output.stdout).ok()?;
    hash.starts_with("$2").then_some(hash)
}
