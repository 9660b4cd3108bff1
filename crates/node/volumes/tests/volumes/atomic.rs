use crate::{Node, config_map, mode, pod};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

const VOLUME: &str = r#"{"containers":[{"name":"m"}],"volumes":[{"name":"v","configMap":{"name":"c"}}]}"#;

fn listing(dir: &std::path::Path) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn updates_only_what_changed() {
    let node = Node::make();
    let dir = node.volume("configmap", "v");
    assert_eq!(node.set_up(&pod(VOLUME), &config_map(&[("a", "1"), ("b", "2")])).unwrap().changed, ["v"]);
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
    assert_eq!(fs::read_link(dir.join("a")).unwrap().to_str(), Some("..data/a"));
    assert_eq!(mode(&dir.join("a")), 0o644);
    let version = fs::read_link(dir.join("..data")).unwrap();
    // The same again touches nothing.
    assert!(node.set_up(&pod(VOLUME), &config_map(&[("a", "1"), ("b", "2")])).unwrap().changed.is_empty());
    assert_eq!(fs::read_link(dir.join("..data")).unwrap(), version);
    // A visible link that went missing comes back without a new version.
    fs::remove_file(dir.join("b")).unwrap();
    assert!(node.set_up(&pod(VOLUME), &config_map(&[("a", "1"), ("b", "2")])).unwrap().changed.is_empty());
    assert_eq!(fs::read_to_string(dir.join("b")).unwrap(), "2");
    // What an end in the middle left doesn't stop the next version.
    fs::create_dir(dir.join("..2000_01_01_00_00_00.0")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("..data_tmp")).unwrap();
    assert_eq!(node.set_up(&pod(VOLUME), &config_map(&[("a", "x"), ("c", "3")])).unwrap().changed, ["v"]);
    assert_eq!(listing(&dir), [fs::read_link(dir.join("..data")).unwrap().to_str().unwrap(), "..data", "a", "c"]);
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "x");
}

#[test]
fn a_vanished_source_keeps_a_running_pods_files() {
    let node = Node::make();
    node.set_up(&pod(VOLUME), &config_map(&[("a", "1")])).unwrap();
    let mounted = node.set_up(&pod(VOLUME), &Default::default()).unwrap();
    assert_eq!(mounted.warnings[0].to_string(), r#"MountVolume.SetUp failed for volume "v" : configmap "c" not found"#);
    assert_eq!(mounted.paths["v"], node.volume("configmap", "v"));
    assert_eq!(fs::read_to_string(node.volume("configmap", "v").join("a")).unwrap(), "1");
    // The first time it is an error.
    assert!(Node::make().set_up(&pod(VOLUME), &Default::default()).is_err());
}

#[test]
fn a_reader_sees_one_version_whole() {
    let node = Node::make();
    let dir = node.volume("configmap", "v");
    let version = |n: usize| (n.to_string(), "x".repeat(n % 7) + &n.to_string());
    let write = |n| {
        let (a, b) = version(n);
        node.set_up(&pod(VOLUME), &config_map(&[("a", &a), ("b", &b)])).unwrap();
    };
    write(0);
    let (done, seen) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) || seen.load(Ordering::Relaxed) == 0 {
                // The link is always there; through one version's folder both files are of that version, or gone with it.
                let current = dir.join(fs::read_link(dir.join("..data")).unwrap());
                let (Ok(a), Ok(b)) = (fs::read_to_string(current.join("a")), fs::read_to_string(current.join("b"))) else { continue };
                assert_eq!(version(a.parse().unwrap()).1, b);
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
        (1..200).for_each(write);
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn folders_in_paths() {
    let node = Node::make();
    let p = |items: &str| pod(&format!(r#"{{"containers":[],"volumes":[{{"name":"v","configMap":{{"name":"c","items":[{items}]}}}}]}}"#));
    let dir = node.volume("configmap", "v");
    let sources = config_map(&[("a", "1")]);
    node.set_up(&p(r#"{"key":"a","path":"x/y/z"},{"key":"a","path":"x/w"}"#), &sources).unwrap();
    assert_eq!(fs::read_to_string(dir.join("x/y/z")).unwrap(), "1");
    node.set_up(&p(r#"{"key":"a","path":"x"}"#), &sources).unwrap();
    assert_eq!(fs::read_to_string(dir.join("x")).unwrap(), "1");
}
