use skiff_cri::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::bed::{Bed, container, idle, shell, wait};

pub async fn output_goes_to_the_log(bed: &Bed) {
    let sandbox = bed.sandbox("log").await;
    let mut config = container("main");
    config.command = shell("echo out; echo err >&2; echo -n unfinished");
    config.log_path = "main/0.log".into();
    let id = bed.create(&sandbox, &config).await;
    let path = wait(&bed.runtime, &id).await.log_path;
    let text = std::fs::read_to_string(path).expect("log");
    for end in [" stdout F out\n", " stderr F err\n", " stdout P unfinished\n"] {
        assert!(text.contains(end), "{text}");
    }

    // Rotation: the runtime goes on in a new file, and no line is lost or doubled.
    let gate = bed.folder.path().join("gate");
    std::fs::create_dir_all(&gate).expect("gate");
    let mut config = container("rotated");
    config.command = shell("echo before; while ! test -e /gate/go; do sleep 0.01; done; echo after; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    config.log_path = "rotated.log".into();
    config.stdin = false;
    config.mounts.push(Mount { host_path: gate.clone(), container_path: "/gate".into(), ..Mount::default() });
    let id = bed.create(&sandbox, &config).await;
    let path = bed.runtime.container_status(&id).await.expect("status").log_path;
    until(|| std::fs::read_to_string(&path).is_ok_and(|text| text.contains("before"))).await;
    std::fs::rename(&path, path.with_extension("log.1")).expect("rename");
    bed.runtime.reopen_log(&id).await.expect("reopen");
    std::fs::write(gate.join("go"), "").expect("go");
    until(|| std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with("F after\n"))).await;
}

/// Looks again and again; only a broken test runs into the limit.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

pub async fn a_terminal_has_the_size_that_was_set(bed: &Bed) {
    let sandbox = bed.sandbox("tty").await;
    let id = bed.create(&sandbox, &idle("main")).await;
    let options = ExecOptions {
        argv: shell("read x; stty size; tty=$(readlink /proc/self/fd/0); echo at $tty; exit 5"),
        tty: true,
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let mut stream = bed.runtime.exec(&id, &options).await.expect("exec");
    assert!(stream.stderr.is_none());
    stream.resize.send(TerminalSize { columns: 132, rows: 43 }).await.expect("resize");
    // The resize is taken by another task: the terminal is only read from when it has happened.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let mut stdin = stream.stdin.take().expect("stdin");
    stdin.write_all(b"go\n").await.expect("write");
    let mut text = String::new();
    stream.stdout.take().expect("stdout").read_to_string(&mut text).await.expect("read");
    assert!(text.contains("43 132") && text.contains("at /dev/pts/"), "{text:?}");
    assert_eq!(stream.exit.await.expect("exit"), 5);

    let mut config = container("terminal");
    config.tty = true;
    config.log_path = "terminal.log".into();
    let (code, text) = bed.run(&sandbox, config, "test -c /dev/console && test -t 0 && test -t 1 && echo fine").await;
    assert_eq!((code, text.trim()), (0, "fine"));
}

pub async fn attaching_reaches_stdin_and_stdout(bed: &Bed) {
    let sandbox = bed.sandbox("attach").await;
    let mut config = container("main");
    config.command = vec!["cat".into()];
    config.stdin = true;
    config.stdin_once = true;
    config.log_path = "main.log".into();
    let id = bed.create(&sandbox, &config).await;
    let mut stream = bed.runtime.attach(&id).await.expect("attach");
    let mut stdin = stream.stdin.take().expect("stdin");
    stdin.write_all(b"one\ntwo\n").await.expect("write");
    let mut lines = BufReader::new(stream.stdout.take().expect("stdout")).lines();
    assert_eq!(lines.next_line().await.expect("read").as_deref(), Some("one"));
    assert_eq!(lines.next_line().await.expect("read").as_deref(), Some("two"));
    // With stdin_once the program gets the end of its input, ends, and so do we.
    drop(stdin);
    assert_eq!(lines.next_line().await.expect("read"), None);
    assert_eq!(stream.exit.await.expect("exit"), 0);
    assert_eq!(crate::bed::read_log(&wait(&bed.runtime, &id).await.log_path), "one\ntwo\n");
}

pub async fn ports_are_forwarded_into_the_sandbox(bed: &Bed) {
    let sandbox = bed.sandbox("ports").await;
    let mut config = container("server");
    config.command = shell("nc -l -p 8080 -e /bin/cat");
    let id = bed.create(&sandbox, &config).await;
    let mut tries = 0;
    let mut stream = loop {
        match bed.runtime.port_forward(&sandbox, 8080).await {
            Ok(stream) => break stream,
            Err(error) if tries > 500 => panic!("{}", error.full_message()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    stream.write_all(b"ping").await.expect("write");
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.expect("read");
    assert_eq!(&echo, b"ping");
    drop(stream);
    wait(&bed.runtime, &id).await;
    assert!(bed.runtime.port_forward(&sandbox, 8081).await.is_err());
}
