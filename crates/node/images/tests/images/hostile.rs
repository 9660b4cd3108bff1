//! Layers that try to get out, or to take everything.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use proptest::prelude::*;
use skiff_images::limits::Limits;
use skiff_images::unpack::unpack;
use tar::EntryType;

use crate::build::{Layer, bench, chain, docker_archive, gzip, leftovers, root};

fn unpacked(layer: Layer, check: impl FnOnce(&Path, &Path, Result<(), String>)) {
    let dir = tempfile::tempdir().expect("tempdir");
    let (layer_dir, outside) = (dir.path().join("layer"), dir.path().join("outside"));
    fs::create_dir(&layer_dir).expect("mkdir");
    fs::create_dir(&outside).expect("mkdir");
    fs::write(outside.join("secret"), "secret").expect("write");
    let bytes = layer.tar();
    let result = unpack(&mut bytes.as_slice(), &layer_dir).map(drop).map_err(|e| chain(&e));
    check(&layer_dir, &outside, result);
    assert_eq!(fs::read_dir(&outside).expect("list").count(), 1, "nothing was made outside");
    assert_eq!(fs::read_to_string(outside.join("secret")).expect("read"), "secret", "nothing was changed outside");
}

#[test]
fn dots_and_absolute_names_stay_inside() {
    if !root() {
        return;
    }
    let layer = Layer::new().file("../../outside/a", "1").file("/abs/b", "2").file("x/../../y/./c", "3");
    unpacked(layer, |layer, _, result| {
        assert_eq!(result, Ok(()));
        for (path, content) in [("outside/a", "1"), ("abs/b", "2"), ("y/c", "3")] {
            assert_eq!(fs::read_to_string(layer.join(path)).expect(path), content);
        }
    });
}

#[test]
fn symlinks_are_followed_inside_only() {
    if !root() {
        return;
    }
    let layer = Layer::new()
        .symlink("up", "../outside")
        .file("up/a", "1")
        .symlink("abs", "/etc-of-layer")
        .file("abs/b", "2")
        .dir("d", 0o755)
        .file("d/first", "3")
        .symlink("d", "../../../outside")
        .file("d/second", "4")
        .symlink("magic", "/proc/self/root")
        .file("magic/c", "5");
    unpacked(layer, |layer, _, result| {
        assert_eq!(result, Ok(()));
        for (path, content) in [("outside/a", "1"), ("etc-of-layer/b", "2"), ("outside/second", "4"), ("proc/self/root/c", "5")] {
            assert_eq!(fs::read_to_string(layer.join(path)).expect(path), content);
        }
        assert!(layer.join("d").is_symlink());
    });
}

#[test]
fn hard_links_reach_nothing_outside() {
    if !root() {
        return;
    }
    for target in ["../outside/secret", "/etc/passwd", "s/secret"] {
        let layer = Layer::new().symlink("s", "../outside").hardlink("stolen", target);
        unpacked(layer, |layer, _, result| {
            let error = result.expect_err(target);
            assert!(error.contains("hard link"), "{error}");
            assert!(!layer.join("stolen").exists());
        });
    }
    unpacked(Layer::new().file("a", "1").hardlink("b", "./a"), |layer, _, result| {
        assert_eq!(result, Ok(()));
        assert_eq!(fs::metadata(layer.join("b")).expect("b").nlink(), 2);
    });
}

#[test]
fn a_symlink_is_replaced_by_a_file_and_not_written_through() {
    if !root() {
        return;
    }
    unpacked(Layer::new().symlink("f", "../outside/secret").file("f", "mine"), |layer, _, result| {
        assert_eq!(result, Ok(()));
        assert!(!layer.join("f").is_symlink());
    });
}

#[test]
fn kinds_modes_and_times_are_kept() {
    if !root() {
        return;
    }
    let mut layer = Layer::new().dir("d", 0o1777).entry(EntryType::Regular, "d/su", "", 0o4755, b"x").entry(EntryType::Fifo, "fifo", "", 0o600, b"").entry(
        EntryType::Char,
        "null",
        "",
        0o666,
        b"",
    );
    let value = b"a\nb\0c";
    let record = |key: &str, value: &[u8]| {
        let body = [b" ".as_slice(), key.as_bytes(), b"=", value, b"\n"].concat();
        let length = (1..).find(|n: &usize| n.to_string().len() + body.len() == *n).expect("length");
        [length.to_string().into_bytes(), body].concat()
    };
    let long = "long/".repeat(60);
    let records = [
        record("SCHILY.xattr.user.bin", value),
        record("SCHILY.xattr.trusted.overlay.redirect", b"/"),
        record("path", format!("{long}f").as_bytes()),
        record("mtime", b"12.5"),
    ]
    .concat();
    layer = layer.entry(EntryType::XHeader, "pax", "", 0o644, &records).file("short", "content");
    unpacked(layer, |layer, _, result| {
        assert_eq!(result, Ok(()));
        let mode = |path: &str| fs::metadata(layer.join(path)).expect(path).permissions().mode() & 0o7777;
        assert_eq!((mode("d"), mode("d/su")), (0o1777, 0o4755));
        assert_eq!(fs::metadata(layer.join("d")).expect("d").mtime(), 1_000_000_000);
        assert!(fs::metadata(layer.join("fifo")).expect("fifo").file_type().is_fifo());
        assert!(fs::metadata(layer.join("null")).expect("null").file_type().is_char_device());
        let file = layer.join(format!("{long}f"));
        let metadata = fs::metadata(&file).expect("long name");
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (12, 500_000_000));
        let mut buffer = [0; 64];
        if let Ok(n) = rustix::fs::getxattr(&file, "user.bin", &mut buffer) {
            assert_eq!(&buffer[..n], value);
        }
        assert!(rustix::fs::getxattr(&file, "trusted.overlay.redirect", &mut buffer).is_err());
    });
}

#[tokio::test]
async fn a_bomb_and_a_wrong_digest_leave_nothing_behind() {
    if !root() {
        return;
    }
    let zeros = |n: usize| Layer::new().entry(EntryType::Regular, "zeros", "", 0o644, &vec![0; n]).tar();
    let ratio = Limits { ratio_free: 64 << 10, ratio: 20, ..Limits::default() };
    let absolute = Limits { layer: 1 << 20, ..Limits::default() };
    for (limits, size, expected) in [(ratio, 512 << 10, "more than 20 times"), (absolute, 2 << 20, "larger than the limit of 1048576")] {
        let bench = bench(limits, "");
        let layer = zeros(size);
        let archive = docker_archive(&[(&["bomb:1"], vec![layer.clone()])]);
        let archive = replace(&archive, &layer, &gzip(&layer));
        let path = bench.write("bomb.tar", &archive);
        let error = chain(&bench.service.import(&path).await.expect_err("bomb"));
        assert!(error.contains(expected), "{error}");
        assert_eq!(leftovers(bench.dir.path()), 0);
    }
    let bench = bench(Limits::default(), "");
    let layer = Layer::new().file("a", "aaaa").tar();
    let archive = docker_archive(&[(&["bad:1"], vec![layer])]);
    let at = archive.windows(4).position(|w| w == b"aaaa").expect("content");
    let mut damaged = archive.clone();
    damaged[at] = b'b';
    let error = chain(&bench.service.import(&bench.write("bad.tar", &damaged)).await.expect_err("damaged"));
    assert!(error.contains("has the digest sha256:"), "{error}");
    assert_eq!(leftovers(bench.dir.path()), 0);
}

/// The archive with one layer exchanged for its compressed form.
fn replace(archive: &[u8], layer: &[u8], with: &[u8]) -> Vec<u8> {
    let mut rebuilt = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(archive).entries().expect("entries") {
        let mut entry = entry.expect("entry");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("read");
        let content = if content == layer { with } else { content.as_slice() };
        let mut header = entry.header().clone();
        header.set_size(content.len() as u64);
        header.set_cksum();
        rebuilt.append(&header, content).expect("append");
    }
    rebuilt.into_inner().expect("finish")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let dir = tempfile::tempdir().expect("tempdir");
        let _ = unpack(&mut bytes.as_slice(), dir.path());
    }

    #[test]
    fn damaged_headers_never_panic(edits in prop::collection::vec((0usize..3072, any::<u8>()), 1..8)) {
        let mut bytes = Layer::new().dir("d", 0o755).file("d/f", "content").symlink("s", "d").hardlink("h", "d/f").tar();
        for (at, value) in edits {
            bytes[at] = value;
        }
        // With the checksums made right again, so that the fields are looked at.
        for block in bytes.chunks_exact_mut(512) {
            if block.starts_with(b"d") || block.starts_with(b"s") || block.starts_with(b"h") {
                let mut header = tar::Header::new_old();
                header.as_mut_bytes().copy_from_slice(block);
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let dir = tempfile::tempdir().expect("tempdir");
        let _ = unpack(&mut bytes.as_slice(), dir.path());
    }
}
