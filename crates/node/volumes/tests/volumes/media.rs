use crate::{Node, config_map, mode, pod, root};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

#[test]
fn host_path_types() {
    let node = Node::make();
    let base = node.path().join("host");
    fs::create_dir(&base).unwrap();
    fs::create_dir(base.join("dir")).unwrap();
    fs::write(base.join("file"), b"").unwrap();
    symlink("dir", base.join("link")).unwrap();
    let _socket = UnixListener::bind(base.join("socket")).unwrap();
    let b = base.display();
    let check = |path: String, kind: &str| {
        let p = pod(&format!(r#"{{"containers":[],"volumes":[{{"name":"v","hostPath":{{"path":"{path}","type":"{kind}"}}}}]}}"#));
        node.set_up(&p, &Default::default()).map(drop).map_err(|e| e[0].to_string())
    };
    for (path, kind, wrong) in [
        ("dir", "", None),
        ("nope", "", None),
        ("dir", "Directory", None),
        ("link", "Directory", None),
        ("file", "Directory", Some("hostPath type check failed: {} is not a directory, it's a File")),
        ("none", "Directory", Some("hostPath type check failed, {} is not a directory, unable to determine its type: path \"{}\" does not exist")),
        ("new/deep", "DirectoryOrCreate", None),
        ("file", "DirectoryOrCreate", Some("hostPath type check failed: {} is not a directory, it's a File")),
        ("file", "File", None),
        ("dir", "File", Some("hostPath type check failed: {} is not a file, it's a Directory")),
        ("newfile", "FileOrCreate", None),
        ("socket", "Socket", None),
        ("file", "Socket", Some("hostPath type check failed: {} is not a socket file, it's a File")),
        ("file", "CharDevice", Some("hostPath type check failed: {} is not a character device, it's a File")),
        ("file", "BlockDevice", Some("hostPath type check failed: {} is not a block device, it's a File")),
    ] {
        let full = format!("{b}/{path}");
        let want = wrong.map_or(Ok(()), |w| Err(format!("MountVolume.SetUp failed for volume \"v\" : {}", w.replace("{}", &full))));
        assert_eq!(check(full, kind), want, "{path} {kind}");
    }
    assert_eq!(check("/dev/null".into(), "CharDevice"), Ok(()));
    assert!(base.join("new/deep").is_dir() && base.join("newfile").is_file() && !base.join("nope").exists());
}

#[test]
fn empty_dirs() {
    let node = Node::make();
    let p = pod(r#"{"containers":[],"volumes":[{"name":"d","emptyDir":{"sizeLimit":"1Ki"}}]}"#);
    node.set_up(&p, &Default::default()).unwrap();
    let dir = node.volume("empty-dir", "d");
    assert_eq!(mode(&dir), 0o777);
    assert!(node.pod_dir().join("plugins/kubernetes.io~empty-dir/d/ready").is_file());
    // A user's own mode stays at the next sync.
    fs::write(dir.join("data"), vec![1; 8192]).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(node.set_up(&p, &Default::default()).unwrap().changed.is_empty());
    assert_eq!(mode(&dir), 0o700);
    let usage = skiff_volumes::empty_dir_usage(&p, &node.pod_dir()).unwrap();
    assert!(usage[0].used >= 8192 && usage[0].inodes_used == 2, "{usage:?}");
    assert_eq!(usage[0].excess("1Ki").unwrap(), "Usage of EmptyDir volume \"d\" exceeds the limit \"1Ki\". ");
}

#[test]
fn memory_is_limited_and_mounted_once() {
    if !root() {
        return;
    }
    let node = Node::make();
    let p = pod(
        r#"{"containers":[],"volumes":[{"name":"m","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}},{"name":"s","secret":{"secretName":"s","defaultMode":384}}]}"#,
    );
    let mut sources = skiff_volumes::Sources::default();
    sources.secrets.insert("s".into(), skiff_json::from_str(r#"{"data":{"k":"c2VjcmV0"}}"#).unwrap());
    node.set_up(&p, &sources).unwrap();
    node.set_up(&p, &sources).unwrap();
    let (memory, secret) = (node.volume("empty-dir", "m"), node.volume("secret", "s"));
    let mut mounts = node.mounts();
    mounts.sort();
    assert_eq!(mounts, [memory.to_str().unwrap(), secret.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(secret.join("k")).unwrap(), "secret");
    assert_eq!(mode(&secret.join("k")), 0o600);
    assert!(fs::write(memory.join("big"), vec![0; 2 << 20]).is_err());
    let usage = skiff_volumes::empty_dir_usage(&p, &node.pod_dir()).unwrap();
    assert!(usage[0].used > 0 && usage[0].limit == Some(1 << 20) && !usage[0].on_disk);
}

#[test]
fn the_pods_group() {
    if !root() {
        return;
    }
    let node = Node::make();
    let p = pod(
        r#"{"containers":[],"securityContext":{"fsGroup":4242},"volumes":[{"name":"v","configMap":{"name":"c","defaultMode":384}},{"name":"e","emptyDir":{}}]}"#,
    );
    node.set_up(&p, &config_map(&[("a", "1")])).unwrap();
    let file = fs::metadata(node.volume("configmap", "v").join("a")).unwrap();
    assert_eq!((file.gid(), file.mode() & 0o7777), (4242, 0o640));
    let dir = fs::metadata(node.volume("empty-dir", "e")).unwrap();
    assert_eq!((dir.gid(), dir.mode() & 0o7777), (4242, 0o2777));
}

#[test]
fn local_volumes() {
    if !root() {
        return;
    }
    let node = Node::make();
    let disk = node.path().join("disk");
    fs::create_dir(&disk).unwrap();
    fs::write(disk.join("f"), b"x").unwrap();
    fs::set_permissions(disk.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
    let outside = node.path().join("outside");
    fs::write(&outside, b"o").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&outside, disk.join("link")).unwrap();
    let sources = |extra: &str| {
        let mut s = skiff_volumes::Sources::default();
        s.claims.insert("c".into(), skiff_json::from_str(r#"{"metadata":{"uid":"c1"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}}"#).unwrap());
        let pv = format!(r#"{{"metadata":{{"name":"pv"}},"spec":{{"claimRef":{{"uid":"c1"}},"local":{{"path":"{}"}}{extra}}}}}"#, disk.display());
        s.volumes.insert("pv".into(), skiff_json::from_str(&pv).unwrap());
        s
    };
    let p = pod(r#"{"containers":[],"securityContext":{"fsGroup":77},"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]}"#);
    let mounted = node.set_up(&p, &sources("")).unwrap();
    assert_eq!(mounted.paths["v"], node.volume("local-volume", "pv"));
    let f = fs::metadata(disk.join("f")).unwrap();
    assert_eq!((f.gid(), f.mode() & 0o777), (77, 0o660));
    // A link out of the volume isn't followed.
    assert_eq!((fs::metadata(&outside).unwrap().gid(), mode(&outside)), (0, 0o600));
    assert_eq!(node.mounts().len(), 1);
    node.set_up(&p, &sources("")).unwrap();
    assert_eq!(node.mounts().len(), 1);
    skiff_volumes::tear_down(&node.pod_dir()).unwrap();
    assert!(node.mounts().is_empty());
    assert_eq!(fs::read(disk.join("f")).unwrap(), b"x");

    let read_only = pod(r#"{"containers":[],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c","readOnly":true}}]}"#);
    let mounted = node.set_up(&read_only, &sources("")).unwrap();
    assert!(mounted.read_only.contains("v"));
    assert!(fs::write(mounted.paths["v"].join("new"), b"").is_err());
    assert!(fs::write(disk.join("new"), b"").is_ok());

    let wrong = node.set_up(&p, &sources(r#","volumeMode":"Block""#)).unwrap_err();
    assert!(wrong[0].to_string().contains("is not a block device"), "{wrong:?}");
}

#[test]
fn the_root_speaks_for_the_whole_volume() {
    if !root() {
        return;
    }
    let node = Node::make();
    let disk = node.path().join("disk");
    fs::create_dir(&disk).unwrap();
    fs::write(disk.join("f"), b"x").unwrap();
    fs::set_permissions(disk.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&disk, None, Some(77)).unwrap();
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o2775)).unwrap();
    let mut sources = skiff_volumes::Sources::default();
    sources.claims.insert("c".into(), skiff_json::from_str(r#"{"metadata":{"uid":"c1"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}}"#).unwrap());
    let pv = format!(r#"{{"metadata":{{"name":"pv"}},"spec":{{"claimRef":{{"uid":"c1"}},"local":{{"path":"{}"}}}}}}"#, disk.display());
    sources.volumes.insert("pv".into(), skiff_json::from_str(&pv).unwrap());
    let p = pod(
        r#"{"containers":[],"securityContext":{"fsGroup":77,"fsGroupChangePolicy":"OnRootMismatch"},"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]}"#,
    );
    node.set_up(&p, &sources).unwrap();
    assert_eq!(mode(&disk.join("f")), 0o600);
}
