//! exec and attach: joins a client's channels to a process, and tells how it ended.
use crate::negotiate::{Negotiated, Transport};
use crate::wire::{Out, Wires, terminal_size};
use crate::{spdy, websocket};
use bytes::Bytes;
use skiff_cri::{ExecStream, RuntimeError};
use skiff_json::json;
use skiff_meta::Status;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Which streams the client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum CommandError {
    #[error("the client did not open its streams in time")]
    Streams,
    #[error("the client left")]
    Gone,
}

/// How long a client has to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// How long a client that has got everything may take to hang up.
const CLOSING: Duration = Duration::from_secs(10);

/// Serves one command to its end. `open` starts it once the client is ready.
pub async fn serve<IO>(io: IO, n: Negotiated, wanted: Wanted, open: impl Future<Output = Result<ExecStream, RuntimeError>>) -> Result<(), CommandError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let structured = matches!(n.protocol, "v4.channel.k8s.io" | "v5.channel.k8s.io" | "v4.base64.channel.k8s.io");
    let wires = match n.transport {
        Transport::WebSocket => {
            let wires = websocket::command(websocket::accept(io).await, n.protocol, wanted);
            // An empty message says that the connection stands.
            wires.stdout.as_ref().or(wires.stderr.as_ref()).unwrap_or(&wires.error).write(Bytes::new()).await;
            wires
        }
        Transport::Spdy => tokio::time::timeout(OPENING, collect(spdy::serve(io), wanted, n.protocol)).await.map_err(|_| CommandError::Streams)??,
    };
    let (finish, written, gone, error) = (wires.finish.clone(), wires.written.clone(), wires.gone.clone(), wires.error.clone());
    let outcome = match open.await {
        Ok(process) => join(wires, process, wanted).await,
        Err(e) => Outcome::Failed(e),
    };
    if matches!(outcome, Outcome::Gone) {
        return Err(CommandError::Gone);
    }
    if let Some(text) = outcome.message(structured) {
        error.write(text).await;
    }
    error.close().await;
    let _ = finish.send(Out::Finish).await;
    let ended = async {
        tokio::select! {
            () = written.cancelled() => {}
            () = gone.cancelled() => {}
        }
    };
    let _ = tokio::time::timeout(CLOSING, ended).await;
    Ok(())
}

/// Waits for the SPDY streams that were asked for; they come in any order.
async fn collect(mut c: spdy::Spdy, wanted: Wanted, protocol: &str) -> Result<Wires, CommandError> {
    let resizes = wanted.tty && !matches!(protocol, "channel.k8s.io" | "v2.channel.k8s.io");
    let (mut stdin, mut stdout, mut stderr, mut error, mut resize) = (None, None, None, None, None);
    let done = |stdin: bool, stdout: bool, stderr: bool, error: bool, resize: bool| {
        error && stdin == wanted.stdin && stdout == wanted.stdout && stderr == wanted.stderr && resize == resizes
    };
    while !done(stdin.is_some(), stdout.is_some(), stderr.is_some(), error.is_some(), resize.is_some()) {
        let stream = c.streams.recv().await.ok_or(CommandError::Gone)?;
        match stream.header("streamtype").unwrap_or_default() {
            "stdin" if wanted.stdin => stdin = Some(stream.data),
            "stdout" if wanted.stdout => stdout = Some(stream.sink),
            "stderr" if wanted.stderr => stderr = Some(stream.sink),
            "error" => error = Some(stream.sink),
            "resize" if resizes => resize = Some(sizes(stream.data)),
            _ => stream.sink.close().await,
        }
    }
    let error = error.ok_or(CommandError::Streams)?;
    Ok(Wires { stdin, stdout, stderr, error, resize, finish: c.orders, gone: c.gone, written: c.written })
}

/// Sizes come as JSON objects, one after the other, cut anywhere.
fn sizes(mut data: mpsc::Receiver<Bytes>) -> mpsc::Receiver<skiff_cri::TerminalSize> {
    let (to, from) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut buffer = Vec::new();
        while let Some(bytes) = data.recv().await {
            buffer.extend_from_slice(&bytes);
            while let Some(end) = buffer.iter().position(|b| *b == b'}') {
                let one: Vec<u8> = buffer.drain(..=end).collect();
                if let Some(size) = terminal_size(&one) {
                    let _ = to.send(size).await;
                }
            }
            if buffer.len() > 4096 {
                buffer.clear();
            }
        }
    });
    from
}

enum Outcome {
    Exited(i32),
    Failed(RuntimeError),
    Gone,
}

impl Outcome {
    /// What goes onto the error channel: a Status from v4 on, plain text before.
    fn message(&self, structured: bool) -> Option<Vec<u8>> {
        let text = match self {
            Self::Gone => return None,
            Self::Exited(0) if structured => return Some(json!({"metadata": {}, "status": "Success"}).to_string().into_bytes()),
            Self::Exited(0) => return None,
            Self::Exited(code) => format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
            Self::Failed(e) => e.full_message(),
        };
        if !structured {
            return Some(text.into_bytes());
        }
        Some(match self {
            Self::Exited(code) => {
                let causes = json!([{"reason": "ExitCode", "message": code.to_string()}]);
                json!({"metadata": {}, "status": "Failure", "message": text, "reason": "NonZeroExitCode", "details": {"causes": causes}})
                    .to_string()
                    .into_bytes()
            }
            _ => Status::internal(format!("error executing command in container: {text}")).to_json(),
        })
    }
}

/// Copies until the process has ended and its output is through.
async fn join(wires: Wires, process: ExecStream, wanted: Wanted) -> Outcome {
    let ExecStream { stdin, stdout, stderr, resize, exit } = process;
    let input = wires.stdin.zip(stdin).map(|(mut from, mut to)| {
        tokio::spawn(async move {
            while let Some(bytes) = from.recv().await {
                if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                    break;
                }
            }
            let _ = to.shutdown().await;
        })
    });
    let sizes = wires.resize.filter(|_| wanted.tty).map(|mut from| {
        tokio::spawn(async move {
            while let Some(size) = from.recv().await {
                let _ = resize.send(size).await;
            }
        })
    });
    let out = async {
        if let (Some(mut from), Some(to)) = (stdout, wires.stdout) {
            pump(&mut from, &to).await;
        }
    };
    let err = async {
        if let (Some(mut from), Some(to)) = (stderr, wires.stderr) {
            pump(&mut from, &to).await;
        }
    };
    let outcome = tokio::select! {
        (exit, (), ()) = async { tokio::join!(exit, out, err) } => match exit {
            Ok(code) => Outcome::Exited(code),
            Err(e) => Outcome::Failed(e),
        },
        () = wires.gone.cancelled() => Outcome::Gone,
    };
    for task in [input, sizes].into_iter().flatten() {
        task.abort();
    }
    outcome
}

async fn pump<R: AsyncRead + Unpin>(from: &mut R, to: &crate::wire::Sink) {
    let mut buffer = vec![0u8; 32 << 10];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || !to.write(Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default())).await {
            break;
        }
    }
    to.close().await;
}

#[cfg(test)]
#[path = "remotecommand_tests.rs"]
mod tests;
