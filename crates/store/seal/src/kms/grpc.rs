//! Unary gRPC calls over a unix socket: HTTP/2 with a five-byte frame around the message.
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};

/// A plugin's answers are no longer, bytes.
const LIMIT: usize = 64 << 10;

pub(super) struct Link {
    path: String,
    timeout: Duration,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
    /// Where the connection lives; calls may come from other threads.
    runtime: Option<Handle>,
    /// Threads that may wait for an answer at once: a plug-in that hangs has no more of them.
    waiting: Semaphore,
}

/// How many those are.
const WAITING: usize = 128;

impl Link {
    /// `path` is that of the socket; `/@name` is one of the abstract ones.
    pub fn new(path: &str, timeout: Duration) -> Self {
        Self { path: path.to_owned(), timeout, sender: Mutex::new(None), runtime: Handle::try_current().ok(), waiting: Semaphore::new(WAITING) }
    }

    /// Waits for `future` on a thread that is no worker of the runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let runtime = self.runtime.as_ref().ok_or("there is no runtime to reach it from")?;
        let _waiting = self.waiting.try_acquire().map_err(|_| format!("{WAITING} others wait for {} already", self.path))?;
        skiff_aside::wait(runtime, future)
    }

    /// The message of the answer.
    pub async fn call(&self, method: &str, message: Vec<u8>) -> Result<Vec<u8>, String> {
        let answered = tokio::time::timeout(self.timeout, self.ask(method, message)).await;
        answered.unwrap_or_else(|_| Err(format!("{} did not answer within {:?}", self.path, self.timeout)))
    }

    async fn ask(&self, method: &str, message: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut framed = Vec::with_capacity(message.len() + 5);
        framed.push(0);
        framed.extend_from_slice(&u32::try_from(message.len()).map_err(|_| "the question is too long")?.to_be_bytes());
        framed.extend(message);
        let request = Request::post(format!("http://localhost{method}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(framed)))
            .map_err(|e| e.to_string())?;
        let response = self.connected().await?.send_request(request).await.map_err(|e| format!("ask {}: {e}", self.path))?;
        let head = response.headers().clone();
        let body = Limited::new(response.into_body(), LIMIT).collect().await.map_err(|e| format!("read the answer of {}: {e}", self.path))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let told = |name: &str| trailers.get(name).or(head.get(name)).and_then(|v| v.to_str().ok()).map(str::to_owned);
        match told("grpc-status").as_deref() {
            Some("0") => {}
            Some(code) => return Err(format!("it answered with the gRPC status {code}: {}", told("grpc-message").unwrap_or_default())),
            None => return Err("its answer has no gRPC status".into()),
        }
        let bytes = body.to_bytes();
        let (frame, message) = bytes.split_at_checked(5).ok_or("its answer has no message")?;
        let whole = matches!(frame, [0, size @ ..] if size.try_into().is_ok_and(|s| u32::from_be_bytes(s) as usize == message.len()));
        if whole { Ok(message.to_vec()) } else { Err("its answer is compressed or cut off".into()) }
    }

    /// The connection, made anew when the last one ended.
    async fn connected(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let mut sender = self.sender.lock().await;
        if let Some(open) = sender.as_ref().filter(|s| !s.is_closed()) {
            return Ok(open.clone());
        }
        let stream = self.connect().await.map_err(|e| format!("connect to {}: {e}", self.path))?;
        let (fresh, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|e| format!("connect to {}: {e}", self.path))?;
        tokio::spawn(connection);
        *sender = Some(fresh.clone());
        Ok(fresh)
    }

    async fn connect(&self) -> std::io::Result<UnixStream> {
        let Some(name) = self.path.strip_prefix("/@") else { return UnixStream::connect(&self.path).await };
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}
