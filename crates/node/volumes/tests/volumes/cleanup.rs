use crate::{Node, config_map, pod, root};
use skiff_volumes::{found, orphans, sub_path, tear_down};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn nothing_stays() {
    if !root() {
        return;
    }
    let node = Node::make();
    let host = node.path().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("keep"), b"k").unwrap();
    let p = pod(&format!(
        r#"{{"containers":[{{"name":"m","volumeMounts":[{{"name":"c","mountPath":"/c"}},{{"name":"e","mountPath":"/c/e"}}]}}],"volumes":[{{"name":"e","emptyDir":{{}}}},{{"name":"m","emptyDir":{{"medium":"Memory"}}}},{{"name":"c","configMap":{{"name":"c"}}}},{{"name":"h","hostPath":{{"path":"{}"}}}}]}}"#,
        host.display()
    ));
    let mounted = node.set_up(&p, &config_map(&[("a", "1")])).unwrap();
    assert!(mounted.paths["c"].join("e").is_dir());
    sub_path(&node.pod_dir(), &mounted.paths["h"], "keep", "h/m/0").unwrap();
    sub_path(&node.pod_dir(), &mounted.paths["m"], "new/dir", "m/m/1").unwrap();
    symlink(&host, mounted.paths["e"].join("link")).unwrap();
    symlink(host.join("keep"), mounted.paths["m"].join("link")).unwrap();
    let names: Vec<String> = found(&node.pod_dir()).unwrap().into_iter().map(|f| format!("{}/{} {}", f.plugin, f.name, f.mounted)).collect();
    assert_eq!(names, ["configmap/c false", "empty-dir/e false", "empty-dir/m true"]);
    fs::create_dir(node.pod_dir().join("etc")).unwrap();
    tear_down(&node.pod_dir()).unwrap();
    assert!(node.mounts().is_empty());
    let left: Vec<_> = fs::read_dir(node.pod_dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["etc"]);
    assert_eq!(fs::read(host.join("keep")).unwrap(), b"k");
    tear_down(&node.pod_dir()).unwrap();
    tear_down(&node.path().join("pods/none")).unwrap();
}

#[test]
fn deep_trees_and_odd_names() {
    let node = Node::make();
    let p = pod(r#"{"containers":[],"volumes":[{"name":"e","emptyDir":{}}]}"#);
    let dir = node.set_up(&p, &Default::default()).unwrap().paths["e"].clone();
    // Deeper than one path may be long.
    let mut at = std::fs::File::open(&dir).unwrap();
    for _ in 0..1500 {
        rustix::fs::mkdirat(&at, "nested", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "nested", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap().into();
    }
    drop(at);
    fs::write(dir.join("a b\\040\n\u{fe}"), b"").unwrap();
    tear_down(&node.pod_dir()).unwrap();
    assert_eq!(fs::read_dir(node.pod_dir()).unwrap().count(), 0);
}

#[test]
fn pods_that_nobody_knows() {
    let node = Node::make();
    fs::create_dir_all(node.path().join("pods/u2")).unwrap();
    let known = ["u2".to_owned()].into();
    assert_eq!(orphans(&node.path().join("pods"), &known).unwrap(), ["u1"]);
    assert!(orphans(&node.path().join("none"), &known).unwrap().is_empty());
    assert!(found(&node.pod_dir()).unwrap().is_empty());
}
