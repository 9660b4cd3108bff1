//! What daemon and shim say to each other.
//!
//! A frame is a length (u32, big endian) and that many bytes of JSON. The daemon asks, the shim answers in order; on a
//! connection that asked to [`Request::Watch`], exits are pushed in between. File descriptors travel with the first
//! byte of a frame. The first request is `Hello` with the versions that the daemon speaks; the shim picks the highest
//! that both do. A newer daemon drives an older shim: fields and requests are only ever added, and a request that a
//! shim doesn't know is answered with [`ErrorKind::Unsupported`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use skiff_oci::{Process, Spec};

pub const VERSION: u32 = 1;
pub const OLDEST: u32 = 1;

/// A longer frame ends the connection.
pub const MAX_FRAME: usize = 4 << 20;

/// Files in the pod's folder.
pub const SOCKET: &str = "shim.sock";
pub const SPEC: &str = "sandbox-spec.json";
pub const PID_FILE: &str = "shim.pid";
/// File in a container's folder.
pub const EXIT: &str = "exit.json";

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Hello {
        min: u32,
        max: u32,
    },
    Start(Box<StartRequest>),
    /// With stdin, stdout and stderr as descriptors, unless a terminal is asked for. Answered by `Started` (with the
    /// terminal as descriptor) and, when the process has ended, by `ExecExited`.
    Exec {
        container: String,
        process: Box<Process>,
    },
    /// With three descriptors: where input comes from, where output goes to.
    Attach {
        container: String,
    },
    Signal {
        container: String,
        signal: i32,
    },
    /// A process that this connection started by `Exec`.
    SignalExec {
        signal: i32,
    },
    Resize {
        container: String,
        columns: u16,
        rows: u16,
    },
    ReopenLog {
        container: String,
    },
    List,
    Watch,
    /// Drops what the shim knows of a container that has ended.
    Forget {
        container: String,
    },
    /// Kills every container and ends.
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct StartRequest {
    pub container: String,
    pub spec: Spec,
    /// The container's folder, where `exit.json` is written.
    pub folder: PathBuf,
    #[serde(default)]
    pub log: Option<PathBuf>,
    #[serde(default)]
    pub stdin: bool,
    #[serde(default)]
    pub stdin_once: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Hello { version: u32 },
    Done,
    Started { pid: i32 },
    ExecExited { code: i32 },
    Containers(Vec<ContainerInfo>),
    Exited { container: String, exit: Exit },
    Error { kind: ErrorKind, message: String },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ContainerInfo {
    pub container: String,
    pub pid: i32,
    pub exit: Option<Exit>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 128 + n after signal n.
    pub code: i32,
    /// Processes of it were killed for lack of memory.
    #[serde(default)]
    pub oom: bool,
    /// Nanoseconds since 1970.
    pub finished_at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    NotFound,
    /// The program can't be executed.
    Program,
    /// A step of starting it failed.
    Failed,
    Invalid,
    Unsupported,
}

/// A frame, ready to send.
pub fn encode<T: Serialize>(message: &T) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    skiff_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length as usize <= MAX_FRAME);
    let length = length.ok_or_else(|| std::io::Error::other("a frame is longer than 4 MiB"))?;
    for (slot, byte) in frame.iter_mut().zip(length.to_be_bytes()) {
        *slot = byte;
    }
    Ok(frame)
}

/// Takes one frame's content from the front of what has been received, when it is there in full.
pub fn split(received: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    let Some(header) = received.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header) as usize;
    if length > MAX_FRAME {
        return Err(std::io::Error::other("a frame is longer than 4 MiB"));
    }
    if received.len() < 4 + length {
        return Ok(None);
    }
    let rest = received.split_off(4 + length);
    let mut frame = std::mem::replace(received, rest);
    frame.drain(..4);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whatever_the_pieces() {
        let mut wire = encode(&Request::Hello { min: 1, max: 7 }).expect("encode");
        wire.extend(encode(&Request::List).expect("encode"));
        let mut received = Vec::new();
        let mut frames = Vec::new();
        for byte in wire {
            received.push(byte);
            while let Some(frame) = split(&mut received).expect("split") {
                frames.push(skiff_json::from_slice::<Request>(&frame).expect("decode"));
            }
        }
        assert!(matches!(frames.as_slice(), [Request::Hello { min: 1, max: 7 }, Request::List]));
    }

    #[test]
    fn an_endless_frame_is_refused() {
        assert!(split(&mut vec![0xff; 8]).is_err());
    }
}
