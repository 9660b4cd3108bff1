//! Archives in, records out, and what happens to them.

use std::sync::atomic::Ordering;

use skiff_cri::{ContainerId, Images, Snapshots};
use skiff_images::gc::Policy;
use skiff_images::limits::Limits;

use crate::build::{Layer, bench, docker_archive, gzip, leftovers, root};

fn two_images() -> Vec<u8> {
    let base = Layer::new().dir("etc", 0o755).file("etc/a", "base").tar();
    let top = Layer::new().file("etc/b", "top").tar();
    docker_archive(&[(&["one:1", "quay.io/x/one:2"], vec![base.clone()]), (&["two"], vec![base, top])])
}

#[tokio::test]
async fn one_archive_brings_several_images_that_share_layers() {
    if !root() {
        return;
    }
    let zstd = zstd::encode_all(two_images().as_slice(), 1).expect("zstd");
    for (name, bytes) in [("a.tar", two_images()), ("a.tar.gz", gzip(&two_images())), ("a.tar.zst", zstd)] {
        let bench = bench(Limits::default(), "");
        let images = bench.service.import(&bench.write(name, &bytes)).await.expect(name);
        let tags: Vec<_> = images.iter().map(|image| image.tags.clone()).collect();
        assert_eq!(tags, [vec!["docker.io/library/one:1".to_owned(), "quay.io/x/one:2".to_owned()], vec!["docker.io/library/two:latest".to_owned()]]);
        let status = bench.service.status("two").await.expect("status").expect("there");
        assert_eq!((status.user.as_str(), &status.id), ("1000", &images[1].id));
        assert_eq!(bench.service.status(images[0].id.as_str()).await.expect("status").expect("by id").id, images[0].id);
        assert_eq!(std::fs::read_dir(bench.dir.path().join("images/layers")).expect("layers").count(), 2, "the base is there once");
        assert_eq!(leftovers(bench.dir.path()), 0);
        // A name goes, the image stays; the last name takes it along.
        bench.service.remove("one:1").await.expect("remove");
        assert!(bench.service.status("quay.io/x/one:2").await.expect("status").is_some());
        bench.service.remove("quay.io/x/one:2").await.expect("remove");
        bench.service.remove("never:was").await.expect("nothing to remove");
        assert_eq!(bench.service.list().await.expect("list").len(), 1);
        bench.service.remove(images[1].id.as_str()).await.expect("remove");
        assert_eq!(std::fs::read_dir(bench.dir.path().join("images/layers")).expect("layers").count(), 0);
        assert_eq!(std::fs::read_dir(bench.dir.path().join("images/blobs/sha256")).expect("blobs").count(), 0);
    }
}

#[tokio::test]
async fn a_folder_is_imported_and_damage_is_told_apart() {
    if !root() {
        return;
    }
    let bench = bench(Limits::default(), "");
    let folder = bench.dir.path().join("preload");
    std::fs::create_dir(&folder).expect("mkdir");
    std::fs::write(folder.join("a.tar"), b"not an archive").expect("write");
    std::fs::write(folder.join("b.tar"), two_images()).expect("write");
    std::fs::write(folder.join("notes.txt"), b"").expect("write");
    let results = bench.service.import_folder(&folder).await.expect("folder");
    assert_eq!(results.iter().map(|(_, result)| result.is_ok()).collect::<Vec<_>>(), [false, true]);
    let told = results[0].1.as_ref().expect_err("no archive").to_string();
    assert!(told.contains("a.tar: it is no image archive"), "{told}");
    assert!(bench.service.import_folder(&bench.dir.path().join("none")).await.expect("absent").is_empty());
}

#[tokio::test]
async fn who_asks_for_an_image_of_the_folder_waits_for_it() {
    if !root() {
        return;
    }
    let bench = bench(Limits::default(), "");
    let folder = bench.dir.path().join("preload");
    std::fs::create_dir(&folder).expect("mkdir");
    std::fs::write(folder.join("a.tar"), two_images()).expect("write");
    std::fs::write(folder.join("b.tar.gz"), gzip(b"not an archive")).expect("write");
    let importing = bench.service.import_folder(&folder);
    let asking = async { (bench.service.status("two").await.expect("status"), bench.service.status("three").await.expect("status")) };
    let (imported, (there, unknown)) = tokio::join!(importing, asking);
    assert_eq!(imported.expect("folder").iter().map(|(_, result)| result.is_ok()).collect::<Vec<_>>(), [true, false]);
    assert!(there.is_some() && unknown.is_none());
    // Nothing new within a day: the records stay as they are on the disk.
    let records = bench.dir.path().join("images/images.json");
    let before = std::fs::metadata(&records).expect("records").modified().expect("time");
    bench.now.store(20_000, Ordering::Relaxed);
    bench.service.import_folder(&folder).await.expect("folder");
    assert_eq!(std::fs::metadata(&records).expect("records").modified().expect("time"), before);
}

#[tokio::test]
async fn unused_images_are_collected_but_not_those_that_are_used_or_could_not_be_had_again() {
    if !root() {
        return;
    }
    let bench = bench(Limits::default(), "");
    let images = bench.service.import(&bench.write("a.tar", &two_images())).await.expect("import");
    let container = ContainerId::new("c1");
    let rootfs = bench.service.prepare(&images[1].id, &container).await.expect("prepare");
    assert_eq!(bench.service.users("two").await.expect("users"), std::slice::from_ref(&container));
    assert!(bench.service.users("one:1").await.expect("users").is_empty(), "unused, and it has another name");
    bench.now.store(100_000, Ordering::Relaxed);
    let always = Policy { maximum_age: 1, ..Policy::default() };
    let (removed, _) = bench.service.collect(always).await.expect("collect");
    assert!(removed.is_empty(), "what came by an archive stays: {removed:?}");
    let newer = docker_archive(&[(&["one:1", "quay.io/x/one:2"], vec![Layer::new().file("etc/c", "newer").tar()])]);
    bench.service.import(&bench.write("b.tar", &newer)).await.expect("import");
    let (removed, _) = bench.service.collect(always).await.expect("collect");
    assert_eq!(removed, [images[0].id.clone()], "the one that lost its names to a newer one");
    bench.service.remove("one:1").await.expect("remove");
    bench.service.remove("quay.io/x/one:2").await.expect("remove");
    // By name it may be removed; the container keeps its layers.
    bench.service.remove("two").await.expect("remove");
    assert_eq!(std::fs::read_to_string(rootfs.path.join("etc/a")).expect("read"), "base");
    assert_eq!(std::fs::read_dir(bench.dir.path().join("images/layers")).expect("layers").count(), 2);
    bench.service.release(&container).await.expect("release");
    bench.service.collect(always).await.expect("collect");
    assert_eq!(std::fs::read_dir(bench.dir.path().join("images/layers")).expect("layers").count(), 0);
}

/// The time of the last use decides who goes first, after a restart too; a container a minute is no reason to write.
#[tokio::test]
async fn the_last_use_reaches_the_disk_once_a_day() {
    if !root() {
        return;
    }
    let bench = bench(Limits::default(), "");
    let images = bench.service.import(&bench.write("a.tar", &two_images())).await.expect("import");
    let used = || {
        let records = std::fs::read(bench.dir.path().join("images/images.json")).expect("records");
        let records: skiff_json::Value = skiff_json::from_slice(&records).expect("JSON");
        records.as_array().into_iter().flatten().find(|r| r["id"] == images[0].id.as_str()).and_then(|r| r["last_used"].as_i64())
    };
    for (container, at, want) in [("c1", 1_000 + 3_600, 1_000), ("c2", 1_000 + 86_400, 87_400), ("c3", 1_000 + 90_000, 87_400)] {
        bench.now.store(at, Ordering::Relaxed);
        let container = ContainerId::new(container);
        bench.service.prepare(&images[0].id, &container).await.expect("prepare");
        bench.service.release(&container).await.expect("release");
        assert_eq!(used(), Some(want), "{container}");
    }
}
