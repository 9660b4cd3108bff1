//! Layers as a container sees them: through a real overlay mount.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use skiff_cri::{ContainerId, Snapshots};
use skiff_images::limits::Limits;

use crate::build::{Bench, Layer, bench, docker_archive, root};

async fn mounted(layers: Vec<Vec<u8>>) -> (Bench, ContainerId, std::path::PathBuf) {
    let bench = bench(Limits::default(), "");
    let images = bench.service.import(&bench.write("a.tar", &docker_archive(&[(&["a"], layers)]))).await.expect("import");
    let container = ContainerId::new("c");
    let rootfs = bench.service.prepare(&images[0].id, &container).await.expect("prepare");
    assert_eq!(bench.service.prepare(&images[0].id, &container).await.expect("again").path, rootfs.path);
    assert_eq!(rootfs.config.entrypoint, ["/bin/app"]);
    (bench, container, rootfs.path)
}

#[tokio::test]
async fn whiteouts_and_opaque_directories_hide_what_is_below() {
    if !root() {
        return;
    }
    let base = Layer::new()
        .dir("tmp", 0o1777)
        .dir("d", 0o755)
        .file("d/gone", "1")
        .file("d/kept", "2")
        .dir("o", 0o755)
        .file("o/old", "3")
        .dir("r", 0o755)
        .file("r/old", "4")
        .tar();
    let top = Layer::new()
        .file("d/.wh.gone", "")
        .dir("o", 0o755)
        .file("o/.wh..wh..opq", "")
        .file("o/new", "5")
        .file(".wh.r", "")
        .dir("r", 0o755)
        .file("r/new", "6")
        .file("tmp/x", "7")
        .tar();
    let (bench, container, path) = mounted(vec![base, top]).await;
    for (file, expected) in
        [("d/gone", None), ("d/kept", Some("2")), ("o/old", None), ("o/new", Some("5")), ("r/old", None), ("r/new", Some("6")), ("tmp/x", Some("7"))]
    {
        assert_eq!(fs::read_to_string(path.join(file)).ok().as_deref(), expected, "{file}");
    }
    // The upper layer only passes through /tmp: its mode is that of the layer below.
    assert_eq!(fs::metadata(path.join("tmp")).expect("tmp").permissions().mode() & 0o7777, 0o1777);
    fs::write(path.join("d/written"), vec![1; 8192]).expect("write");
    assert!(bench.service.usage(&container).await.expect("usage").used >= 8192);
    assert_eq!(bench.service.prepared().await.expect("prepared"), [container.clone()]);
    bench.service.release(&container).await.expect("release");
    bench.service.release(&container).await.expect("twice");
    assert!(!path.exists());
}

#[tokio::test]
async fn many_layers_and_none_can_be_mounted() {
    if !root() {
        return;
    }
    let layers: Vec<_> = (0..150).map(|i| Layer::new().file(&format!("f{i}"), &i.to_string()).tar()).collect();
    let (bench, container, path) = mounted(layers).await;
    assert_eq!(fs::read_to_string(path.join("f0")).expect("lowest"), "0");
    assert_eq!(fs::read_to_string(path.join("f149")).expect("topmost"), "149");
    bench.service.release(&container).await.expect("release");
    let (bench, container, path) = mounted(vec![]).await;
    assert_eq!(fs::read_dir(&path).expect("empty").count(), 0);
    bench.service.release(&container).await.expect("release");
}
