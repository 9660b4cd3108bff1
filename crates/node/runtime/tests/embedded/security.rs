use std::fs;
use std::path::Path;

use skiff_cri::*;
use skiff_sys::mount;

use crate::bed::{Bed, container, idle};

/// A line of /proc/self/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
}

pub async fn users_and_capabilities_are_as_asked(bed: &Bed) {
    let sandbox = bed.sandbox("users").await;
    let mut config = container("web");
    config.security.user.name = Some("web".into());
    config.security.no_new_privs = true;
    config.working_dir = "/made/on/the/way".into();
    let (code, text) = bed.run(&sandbox, config, "id; echo $HOME; readlink /proc/self/cwd; cat /proc/self/status; echo ok > /dev/stdout").await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("uid=33(web) gid=34(web) groups=34(web),40(logs)"), "{text}");
    assert!(text.contains("/var/www\n/made/on/the/way\n"), "{text}");
    assert_eq!((field(&text, "CapEff"), field(&text, "CapPrm"), field(&text, "CapAmb")), ("0000000000000000", "0000000000000000", "0000000000000000"));
    assert_eq!((field(&text, "CapBnd"), field(&text, "NoNewPrivs"), field(&text, "Seccomp")), ("00000000a80425fb", "1", "2"));

    let mut config = container("few");
    config.security.capabilities = Capabilities { add: vec!["NET_BIND_SERVICE".into(), "SYS_RESOURCE".into()], drop: vec!["ALL".into()] };
    let (_, text) = bed.run(&sandbox, config, "cat /proc/self/status").await;
    // SYS_RESOURCE only where this machine has it to give.
    let resource = skiff_sys::caps::bounding() & skiff_sys::caps::bit("SYS_RESOURCE").expect("known");
    assert_eq!(field(&text, "CapEff"), format!("{:016x}", 0x400 | resource));
    assert_eq!((field(&text, "NoNewPrivs"), field(&text, "Seccomp")), ("0", "2"));
}

pub async fn seccomp_holds_for_exec_too(bed: &Bed) {
    let sandbox = bed.sandbox("seccomp").await;
    let script = "grep -E '^(Seccomp|NoNewPrivs|CapBnd):' /proc/self/status; unshare -U true 2>&1";
    for (name, no_new_privs) in [("loose", false), ("strict", true)] {
        let mut config = idle(name);
        config.security.no_new_privs = no_new_privs;
        let id = bed.create(&sandbox, &config).await;
        let (code, text) = bed.exec(&id, script).await;
        assert_ne!(code, 0, "a new user namespace is refused: {text}");
        assert!(text.contains("Operation not permitted"), "{text}");
        assert_eq!(
            (field(&text, "Seccomp"), field(&text, "NoNewPrivs"), field(&text, "CapBnd")),
            ("2", if no_new_privs { "1" } else { "0" }, "00000000a80425fb")
        );
    }
    let mut config = idle("free");
    config.security.seccomp = Seccomp::Unconfined;
    let id = bed.create(&sandbox, &config).await;
    let (_, text) = bed.exec(&id, script).await;
    assert_eq!(field(&text, "Seccomp"), "0");
}

pub async fn a_localhost_profile_is_obeyed(bed: &Bed) {
    let sandbox = bed.sandbox("profile").await;
    let path = bed.folder.path().join("profile.json");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#;
    fs::write(&path, profile).expect("profile");
    let mut config = container("main");
    config.security.seccomp = Seccomp::Localhost(path);
    let (_, text) = bed.run(&sandbox, config, "mkdir /tmp/x 2>&1").await;
    assert!(text.contains("No space left on device"), "{text}");
    let mut config = container("absent");
    config.security.seccomp = Seccomp::Localhost("/no/such/profile".into());
    assert!(bed.runtime.create_container(&sandbox, &config).await.is_err());
}

pub async fn kernel_files_are_protected(bed: &Bed) {
    let sandbox = bed.sandbox("files").await;
    let script = "cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/domainname; echo x > /sys/fs/cgroup/memory/x; \
                  mkdir /sys/fs/cgroup/x; touch /x && echo root is writable; touch /tmp/y; grep -c cgroup /proc/mounts; \
                  ls /sys/fs/cgroup/memory/cgroup.procs; wc -l < /sys/fs/cgroup/memory/cgroup.procs";
    let (_, text) = bed.run(&sandbox, container("main"), &format!("({script}) 2>&1")).await;
    assert!(text.starts_with("0\n0\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count() + text.matches("Permission denied").count(), 3, "{text}");
    assert!(text.contains("root is writable"), "{text}");
    let mut config = container("readonly");
    config.security.readonly_rootfs = true;
    let (_, text) = bed.run(&sandbox, config, "touch /x 2>&1; echo y > /dev/shm/y && cat /dev/shm/y").await;
    assert!(text.contains("Read-only file system") && text.ends_with("y\n"), "{text}");
}

pub async fn signals_are_as_a_program_expects(bed: &Bed) {
    let sandbox = bed.sandbox("signals").await;
    // Without a shell: as the first process it would ignore SIGQUIT by itself.
    let mut config = container("main");
    config.command = vec!["cat".into(), "/proc/self/status".into()];
    config.log_path = "main.log".into();
    let id = bed.create(&sandbox, &config).await;
    let text = crate::bed::read_log(&crate::bed::wait(&bed.runtime, &id).await.log_path);
    for name in ["SigIgn", "SigBlk"] {
        assert_eq!(field(&text, name), "0000000000000000", "{name}");
    }
    // yes ends by SIGPIPE and head with 0.
    let (code, text) = bed.run(&sandbox, container("pipe"), "(yes; echo $? > /tmp/code) | head -n 1; sleep 0.1; cat /tmp/code").await;
    assert_eq!((code, text.as_str()), (0, "y\n141\n"));
    let id = bed.create(&sandbox, &idle("idle")).await;
    let (_, text) = bed.exec(&id, "cat /proc/self/status; ls /proc/self/fd | wc -l").await;
    assert_eq!(field(&text, "SigIgn"), "0000000000000000");
    // 0, 1, 2 and the one that ls opens.
    assert!(text.ends_with("\n4\n"), "{text}");
}

pub async fn mounts_propagate_as_asked(bed: &Bed) {
    let source = bed.folder.path().join("shared");
    fs::create_dir_all(&source).expect("source");
    let tree = mount::new_filesystem("tmpfs", &[], 0).expect("tmpfs");
    mount::set_attributes(std::os::fd::AsFd::as_fd(&tree), false, 0, Some(mount::Propagation::Shared)).expect("share");
    let target = skiff_sys::path::open_directory(&source).expect("open");
    mount::attach(std::os::fd::AsFd::as_fd(&tree), std::os::fd::AsFd::as_fd(&target)).expect("mount");
    for folder in ["late", "back", "below"] {
        fs::create_dir_all(source.join(folder)).expect("folder");
    }
    new_tmpfs(&source.join("below"));
    let sandbox = bed.sandbox("mounts").await;
    let mut config = idle("main");
    let with = |target: &str, propagation, readonly, recursive| Mount {
        host_path: source.clone(),
        container_path: target.into(),
        propagation,
        readonly,
        recursive_readonly: recursive,
    };
    config.mounts = vec![
        with("/both", Propagation::Bidirectional, false, false),
        with("/private", Propagation::Private, false, false),
        with("/slave", Propagation::HostToContainer, false, false),
        with("/ro", Propagation::Private, true, false),
        with("/rro", Propagation::Private, true, true),
    ];
    config.security.privileged = true;
    let id = bed.create(&sandbox, &config).await;
    new_tmpfs(&source.join("late"));
    fs::write(source.join("late/file"), "").expect("file");
    let (_, text) = bed.exec(&id, "ls /both/late /private/late /slave/late").await;
    assert_eq!(text, "/both/late:\nfile\n\n/private/late:\n\n/slave/late:\nfile\n");
    let (code, text) = bed.exec(&id, "mount -t tmpfs x /both/back && touch /both/back/inside").await;
    assert_eq!(code, 0, "{text}");
    assert!(source.join("back/inside").exists(), "what is mounted inside a bidirectional mount is seen outside");
    let (_, text) = bed.exec(&id, "touch /ro/x 2>&1; touch /ro/below/x && echo below; touch /rro/below/x 2>&1").await;
    assert_eq!(text.matches("Read-only").count(), 2, "{text}");
    assert!(text.contains("below\n"), "{text}");
    bed.runtime.remove_container(&id).await.expect("remove");
    for path in ["late", "back", "below", ""] {
        mount::detach(source.join(path).as_path()).expect("unmount");
    }
}

fn new_tmpfs(path: &Path) {
    let tree = mount::new_filesystem("tmpfs", &[], 0).expect("tmpfs");
    let target = skiff_sys::path::open_directory(path).expect("open");
    mount::attach(std::os::fd::AsFd::as_fd(&tree), std::os::fd::AsFd::as_fd(&target)).expect("mount");
}

pub async fn names_come_from_the_pod(bed: &Bed) {
    let mut config = bed.sandbox_config("names");
    config.dns = DnsConfig { servers: vec!["10.43.0.10".into()], searches: vec!["a.b".into()], options: vec!["ndots:5".into()] };
    config.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
    let sandbox = bed.sandbox_with(&config).await;
    let (_, text) = bed
        .run(&sandbox, container("main"), "hostname; cat /etc/hostname /etc/resolv.conf /proc/sys/net/ipv4/ip_unprivileged_port_start; echo $HOSTNAME")
        .await;
    assert_eq!(text, "names\nnames\nnameserver 10.43.0.10\nsearch a.b\noptions ndots:5\n0\nnames\n");
    // One network and one shared memory for the whole pod.
    let id = bed.create(&sandbox, &idle("other")).await;
    let inside = bed.exec(&id, "readlink /proc/self/ns/net; echo hi > /dev/shm/note").await.1;
    let (_, same) = bed.run(&sandbox, container("third"), "readlink /proc/self/ns/net; cat /dev/shm/note").await;
    assert_eq!(same, format!("{}hi\n", inside));
}

pub async fn privileged_containers_see_devices(bed: &Bed) {
    let sandbox = bed.sandbox("privileged").await;
    let mut config = container("main");
    config.security.privileged = true;
    let (_, text) = bed.run(&sandbox, config, "test -c /dev/kmsg && echo kmsg; grep Seccomp: /proc/self/status; touch /sys/fs/cgroup/pids/x 2>&1").await;
    assert!(text.starts_with("kmsg\nSeccomp:\t0\n"), "{text}");
    assert!(!text.contains("Read-only"), "{text}");
    let mut config = container("device");
    config.devices.push(Device { host_path: "/dev/kmsg".into(), container_path: "/dev/log/kernel".into(), permissions: "r".into() });
    let (_, text) = bed.run(&sandbox, config, "test -c /dev/log/kernel && echo there; test -c /dev/kmsg || echo only there").await;
    assert_eq!(text, "there\nonly there\n");
}
