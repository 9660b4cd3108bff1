use crate::{Node, config_map, mode, pod, root};
use skiff_volumes::sub_path;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

const KEY: &str = "v/m/0";

#[test]
fn folders_files_and_links_inside() {
    if !root() {
        return;
    }
    let node = Node::make();
    let volume = node.path().join("volume");
    fs::create_dir_all(volume.join("a/b")).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o2770)).unwrap();
    fs::write(volume.join("a/b/file"), b"content").unwrap();
    symlink("a/b", volume.join("relative")).unwrap();
    symlink(volume.join("a"), volume.join("absolute")).unwrap();
    let bound = |sub: &str, n: u32| sub_path(&node.pod_dir(), &volume, sub, &format!("v/m/{n}")).unwrap();
    assert_eq!(bound("a", 0), node.pod_dir().join("volume-subpaths/v/m/0"));
    assert_eq!(fs::read(bound("a", 0).join("b/file")).unwrap(), b"content");
    assert_eq!(fs::read(bound("a/b/file", 1)).unwrap(), b"content");
    assert_eq!(fs::read(bound("relative/file", 2)).unwrap(), b"content");
    assert_eq!(fs::read(bound("absolute/b/file", 3)).unwrap(), b"content");
    // Missing folders get the volume's own mode, the mask notwithstanding.
    bound("a/new/deep", 4);
    assert_eq!(mode(&volume.join("a/new")), 0o2770);
    assert_eq!(mode(&volume.join("a/new/deep")), 0o2770);
    bound("relative/made", 5);
    assert!(volume.join("a/b/made").is_dir());
    assert_eq!(node.mounts().len(), 6);
}

#[test]
fn nothing_leads_out() {
    if !root() {
        return;
    }
    let node = Node::make();
    let volume = node.path().join("volume");
    let outside = node.path().join("outside");
    fs::create_dir_all(&volume).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), b"").unwrap();
    symlink(&outside, volume.join("out")).unwrap();
    symlink("../outside", volume.join("up")).unwrap();
    symlink(outside.join("nothing"), volume.join("dangling")).unwrap();
    symlink("/proc/self/root", volume.join("magic")).unwrap();
    symlink("loop", volume.join("loop")).unwrap();
    // A volume whose name begins like another's is not inside that one.
    fs::create_dir_all(node.path().join("volume2")).unwrap();
    symlink("../volume2", volume.join("sibling")).unwrap();
    for bad in ["out", "out/secret", "out/new", "up", "up/x/y", "dangling", "dangling/x", "magic/etc", "loop", "sibling", "..", "a/../..", "/etc"] {
        let e = sub_path(&node.pod_dir(), &volume, bad, KEY).unwrap_err().to_string();
        assert!(!e.contains("outside/"), "{bad}: {e}");
    }
    assert!(node.mounts().is_empty());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    for key in ["", "v", "v/m", "v/m/0/1", "../m/0", "/v/m/0"] {
        assert!(sub_path(&node.pod_dir(), &volume, "x", key).is_err(), "{key}");
    }
}

#[test]
fn a_link_that_flips_never_leads_out() {
    if !root() {
        return;
    }
    let node = Node::make();
    let volume = node.path().join("volume");
    let outside = node.path().join("outside");
    fs::create_dir_all(volume.join("real")).unwrap();
    fs::write(volume.join("real/mark"), b"inside").unwrap();
    fs::create_dir_all(&outside).unwrap();
    symlink("real", volume.join("x")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for target in ["real", "../outside"] {
                    let _ = fs::remove_file(volume.join("tmp"));
                    symlink(target, volume.join("tmp")).unwrap();
                    fs::rename(volume.join("tmp"), volume.join("x")).unwrap();
                }
            }
        });
        for _ in 0..500 {
            if let Ok(path) = sub_path(&node.pod_dir(), &volume, "x/sub", KEY) {
                let (here, real) = (fs::metadata(path).unwrap(), fs::metadata(volume.join("real/sub")).unwrap());
                assert_eq!(std::os::unix::fs::MetadataExt::ino(&here), std::os::unix::fs::MetadataExt::ino(&real));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_restarted_container_gets_the_new_file() {
    if !root() {
        return;
    }
    let node = Node::make();
    let p = pod(r#"{"containers":[],"volumes":[{"name":"v","configMap":{"name":"c"}}]}"#);
    let volume = node.set_up(&p, &config_map(&[("a", "old")])).unwrap().paths["v"].clone();
    let path = sub_path(&node.pod_dir(), &volume, "a", KEY).unwrap();
    node.set_up(&p, &config_map(&[("a", "new")])).unwrap();
    // As upstream: a running container keeps the file it has.
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(sub_path(&node.pod_dir(), &volume, "a", KEY).unwrap(), path);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(node.mounts().len(), 1);
}
