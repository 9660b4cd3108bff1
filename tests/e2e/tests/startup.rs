//! What keeps a server from starting is told at once, by name, with what to do.
use anyhow::ensure;
use skiff_e2e::program::{Ended, ended, places, skiff};
use skiff_e2e::{IMAGE, binary, lacks, serve, with_cluster, with_server};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use xtask::cluster::Cluster;

const SOON: Duration = Duration::from_secs(30);

/// `skiff server` in this folder with these further arguments: its end.
fn server(dir: &Path, extra: &[&str]) -> Ended {
    ended(skiff(&["server"]).args(places(dir)).args(extra), SOON).expect("it ends by itself")
}

/// It failed, and its last words hold all of these.
fn failed(end: &Ended, words: &[&str]) {
    assert!(!end.success, "it went well: {end:?}");
    for word in words {
        assert!(end.text.contains(word), "{word:?} is not in what it said:\n{}", end.text);
    }
    assert!(!end.text.contains("panicked"), "{}", end.text);
}

#[test]
fn mistyped_flags_and_keys_are_told_with_the_nearest_name() {
    let dir = tempfile::tempdir().unwrap();
    failed(&server(dir.path(), &["--https-listen-prot", "7000"]), &["--https-listen-prot", "--https-listen-port"]);
    failed(&ended(&mut skiff(&["sever"]), SOON).unwrap(), &["sever", "server"]);
    failed(&server(dir.path(), &["--node-taint", "a"]), &["--node-taint", "key=value:effect"]);
    failed(&ended(skiff(&["agent", "--server", "foo"]).args(places(dir.path())), SOON).unwrap(), &["foo", "https://host:port"]);
    failed(&server(dir.path(), &["--log-level", "node=debgu"]), &["debgu", "did you mean debug"]);
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    let config = dir.path().join("etc/config.yaml");
    for (text, words) in [
        ("clustr-cidr: 10.0.0.0/16\n", &["config.yaml", "clustr-cidr", "did you mean \"cluster-cidr\"?"][..]),
        ("disable-agent: 7\n", &["config.yaml", "disable-agent", "true or false"]),
        ("- a\n", &["config.yaml", "a map"]),
        ("a: [\n", &["config.yaml", "no YAML"]),
        ("https-listen-port: nine\n", &["https-listen-port", "nine"]),
        (
            "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e]\ng: &g [*f, *f, *f, *f, *f, *f, *f, *f]\nh: &h [*g, *g, *g, *g, *g, *g, *g, *g]\n",
            &["config.yaml"],
        ),
    ] {
        std::fs::write(&config, text).unwrap();
        failed(&server(dir.path(), &[]), words);
    }
    std::fs::remove_file(&config).unwrap();
    failed(&server(dir.path(), &["--config", "/nowhere/config.yaml"]), &["/nowhere/config.yaml"]);
    assert!(!dir.path().join("data").exists(), "nothing was begun");
}

#[test]
fn a_port_in_use_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let kubeconfig = dir.path().join("etc/skiff.yaml");
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    std::fs::write(&kubeconfig, "of the cluster that has the port").unwrap();
    failed(&server(dir.path(), &["--disable-agent", "--https-listen-port", &port]), &[&format!(":{port}"), "in use", "--https-listen-port"]);
    assert_eq!(std::fs::read_to_string(&kubeconfig).unwrap(), "of the cluster that has the port");
}

#[test]
fn the_node_agents_port_in_use_is_told() {
    if let Some(what) = lacks() {
        println!("skipped: this test needs {what}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let apart = ["--network-prefix", "s4086", "--cgroup-root", "/s4086", "--cluster-cidr", "10.86.0.0/16", "--service-cidr", "10.87.0.0/16"];
    let end = server(dir.path(), &[&["--https-listen-port", "16518", "--kubelet-port", &port][..], &apart].concat());
    failed(&end, &[&format!(":{port}"), "in use", "--kubelet-port"]);
    let stop = ended(skiff(&["stop", "--all"]).args(places(dir.path())), SOON).unwrap();
    assert!(stop.success, "{stop:?}");
}

#[test]
fn one_server_a_state_folder() {
    with_server(16510, |c| {
        let pid = serve(c)?;
        let second = server(&c.dir, &["--disable-agent", "--https-listen-port", "16511"]);
        failed(&second, &["another skiff", &pid.to_string(), "--data-dir"]);
        ensure!(c.port_answers(), "the first one is disturbed");
        Ok(())
    });
}

/// `skiff` with these words, on the run folder of this cluster and folders beside its own.
fn astray(c: &Cluster, words: &[&str]) -> Ended {
    let mut command = skiff(words);
    command.args(places(&c.dir.join("astray"))).arg("--run-dir").arg(c.dir.join("run"));
    ended(&mut command, SOON).expect("it ends by itself")
}

#[test]
fn one_server_a_run_folder() {
    with_server(16519, |c| {
        let pid = serve(c)?;
        let record = || std::fs::read(c.dir.join("run/server.json"));
        // It is written a moment after the port answers.
        c.wait("the server's record", Duration::from_secs(60), || record().is_ok())?;
        let before = record()?;
        failed(&astray(c, &["server", "--disable-agent", "--https-listen-port", "16522"]), &["another skiff", &pid.to_string(), "--run-dir"]);
        failed(&astray(c, &["stop", "--all"]), &["stop the server first", &pid.to_string()]);
        ensure!(record()? == before, "the record was changed");
        ensure!(c.port_answers(), "the first one is disturbed");
        Ok(())
    });
}

#[test]
fn containers_belong_to_the_server_that_started_them() {
    with_cluster(16524, |c| {
        c.kubectl(&["run", "a", "--image", IMAGE, "--restart=Never", "--command", "--", "sleep", "3600"])?;
        c.kubectl(&["wait", "--for=condition=Ready", "pod/a", "--timeout=60s"])?;
        failed(&astray(c, &["stop", "--all"]), &["stop the server first"]);
        c.end_server(false)?;
        let sandboxes = || std::fs::read_dir(c.dir.join("run/containers/sandboxes")).map(Iterator::count);
        let before = sandboxes()?;
        ensure!(before > 0, "no container is left running");
        let data = format!("--data-dir {}", c.dir.join("data").display());
        for extra in
            [&["server", "--disable-agent", "--https-listen-port", "16526"][..], &["server", "--https-listen-port", "16526", "--kubelet-port", "16527"]]
        {
            failed(&astray(c, extra), &[&data, "skiff stop --all", "--run-dir"]);
        }
        ensure!(sandboxes()? == before, "another server ended containers");
        // Whatever state folder is named: the containers and mounts of the record go.
        let stop = astray(c, &["stop", "--all"]);
        ensure!(stop.success && stop.text.contains(&c.dir.join("data").display().to_string()), "{stop:?}");
        ensure!(!c.dir.join("run").exists(), "the run folder is left");
        Ok(())
    });
}

#[test]
fn who_only_looks_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["image", "list"][..], &["image", "rm", "a"]] {
        failed(&ended(skiff(words).args(places(dir.path())), SOON).unwrap(), &["no image store", "--run-dir"]);
    }
    let stop = ended(skiff(&["stop", "--all"]).args(places(dir.path())), SOON).unwrap();
    assert!(stop.success && stop.text.contains("nothing of Skiff is here"), "{stop:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_node_needs_root() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: this test gives root up, and needs it for that");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // Where others may not go, the binary is not seen either.
    let copy = dir.path().join("skiff");
    std::fs::copy(binary(), &copy).unwrap();
    let as_nobody = |extra: &[&str]| ended(Command::new(&copy).arg("server").args(places(dir.path())).args(extra).uid(65534).gid(65534), SOON).unwrap();
    failed(&as_nobody(&["--https-listen-port", "16512", "--kubelet-port", "16513"]), &["root", "--disable-agent"]);
    let check = ended(Command::new(&copy).arg("check").uid(65534).gid(65534), SOON).unwrap();
    failed(&check, &["run as root", "MISSING"]);
}

#[test]
fn a_missing_kernel_feature_is_named() {
    if !rustix::process::geteuid().is_root() || !xtask::has("unshare") || !xtask::has("setpriv") {
        println!("skipped: this test needs root, unshare and setpriv");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let without = dir.path().join("filesystems");
    let all = std::fs::read_to_string("/proc/filesystems").unwrap();
    std::fs::write(&without, all.lines().filter(|l| !l.ends_with("overlay")).map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    // In mounts of its own, the list of file systems is another one; without the right to mount, trying doesn't show it wrong.
    let run = |args: &[String]| {
        let script = format!("mount --bind {} /proc/filesystems && exec setpriv --bounding-set=-sys_admin \"$0\" \"$@\"", without.display());
        ended(Command::new("unshare").args(["--mount", "sh", "-c", &script]).arg(binary()).args(args), SOON).unwrap()
    };
    let mut args = vec![
        "server".to_owned(),
        "--https-listen-port=16514".into(),
        "--kubelet-port=16515".into(),
        "--network-prefix=s4082".into(),
        "--cgroup-root=/s4082".into(),
    ];
    args.extend(places(dir.path()));
    failed(&run(&args), &["overlay", "modprobe overlay"]);
    failed(&run(&["check".into()]), &["overlay file system", "MISSING", "modprobe overlay"]);
    assert!(!dir.path().join("data/server").exists(), "nothing was begun");
}

#[test]
fn the_state_of_a_newer_version_is_left_alone() {
    with_server(16516, |c| {
        serve(c)?;
        c.end_server(false)?;
        let db = c.dir.join("data/server/db/state.db");
        let mut bytes = std::fs::read(&db)?;
        bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
        std::fs::write(&db, &bytes)?;
        let end = server(&c.dir, &["--disable-agent", "--https-listen-port", "16516"]);
        failed(&end, &["newer", "99", "state.db"]);
        ensure!(std::fs::read(&db)? == bytes, "the file was changed");
        Ok(())
    });
}
