//! What is done when the shim's answer to a start gets lost on its way.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use skiff_cri::*;

use crate::bed::{Bed, heedful, idle};

/// The path of a socket in a folder, short enough for an address.
fn short(folder: &fs::File, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()).into()
}

fn pass_on(from: &mut UnixStream, to: &mut UnixStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).ok()?;
    let length = u32::from_be_bytes(frame.clone().try_into().expect("four bytes")) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).ok()?;
    to.write_all(&frame).ok()?;
    Some(frame)
}

/// Between the runtime and the shim: takes the answer to the first start for itself and hangs up.
fn take_the_answer(folder: &Path) {
    let folder = fs::File::open(folder).expect("folder");
    fs::rename(short(&folder, "shim.sock"), short(&folder, "real.sock")).expect("rename");
    let listener = UnixListener::bind(short(&folder, "shim.sock")).expect("listen");
    thread::spawn(move || {
        let mut taken = false;
        for client in listener.incoming() {
            let (mut client, mut shim) = (client.expect("client"), UnixStream::connect(short(&folder, "real.sock")).expect("shim"));
            while let Some(request) = pass_on(&mut client, &mut shim) {
                if !taken && String::from_utf8_lossy(&request).contains("{\"Start\":") {
                    taken = true;
                    let mut answer = [0; 5];
                    shim.read_exact(&mut answer).expect("the shim answers");
                    break;
                }
                if pass_on(&mut shim, &mut client).is_none() {
                    break;
                }
            }
        }
    });
}

pub async fn a_start_whose_answer_is_lost_is_asked_about(bed: &Bed) {
    let sandbox = bed.sandbox("answer").await;
    let id = bed.runtime.create_container(&sandbox, &idle("main")).await.expect("create");
    take_the_answer(&bed.config.run.join("sandboxes").join(sandbox.as_str()));
    bed.runtime.start_container(&id).await.expect("the container is found running");
    let status = bed.runtime.container_status(&id).await.expect("status");
    assert_eq!(status.state, ContainerState::Running);
    assert!(Path::new(&format!("/proc/{}", status.pid.expect("its pid"))).exists());
    heedful(&bed.runtime, &id).await;
    bed.runtime.stop_container(&id, std::time::Duration::from_secs(30)).await.expect("stop");
    assert_eq!(bed.runtime.container_status(&id).await.expect("status").exit_code, 143);
}

pub async fn names_are_given_once(bed: &Bed) {
    let config = bed.sandbox_config("twice");
    let (one, two) = tokio::join!(bed.runtime.run_sandbox(&config), bed.runtime.run_sandbox(&config));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let sandbox = one.or(two).expect("one of them");
    let config = idle("main");
    let (one, two) = tokio::join!(bed.runtime.create_container(&sandbox, &config), bed.runtime.create_container(&sandbox, &config));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert!(matches!(one.and(two), Err(RuntimeError::AlreadyExists { kind: "container", .. })));
}
