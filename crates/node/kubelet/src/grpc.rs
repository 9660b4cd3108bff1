//! The one gRPC call that probes need: `grpc.health.v1.Health/Check`, over HTTP/2 without TLS.
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>
use crate::check::Outcome;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::net::TcpStream;

pub async fn health(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    let at = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match tokio::time::timeout(timeout, check(host, port, &at, service)).await {
        Ok(Ok(1)) => Outcome::Success,
        Ok(Ok(status)) => Outcome::Failure(format!("service unhealthy (responded with {:?})", name_of(status))),
        Ok(Err(e)) => Outcome::Failure(e),
        Err(_) => Outcome::Failure(format!("timeout: failed to connect service {at:?} within {}s: context deadline exceeded", timeout.as_secs())),
    }
}

fn name_of(status: u64) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

async fn check(host: &str, port: u16, at: &str, service: &str) -> Result<u64, String> {
    let stream = TcpStream::connect((host, port)).await.map_err(|e| format!("error: dial tcp {at}: {e}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|e| format!("error: {e}"))?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::post(format!("http://{at}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.37")
        .body(Full::new(frame(service)))
        .map_err(|e| e.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| format!("error: {e}"))?;
        let status = response.headers().get("grpc-status").cloned();
        let body = Limited::new(response.into_body(), 64 << 10).collect().await.map_err(|e| format!("error: {e}"))?;
        let status = status.or_else(|| body.trailers().and_then(|t| t.get("grpc-status").cloned()));
        match status.as_ref().and_then(|s| s.to_str().ok()) {
            Some("0") => serving_status(&body.to_bytes()).ok_or_else(|| "error: the answer is no HealthCheckResponse".to_owned()),
            Some("12") => Err("error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned()),
            Some("5") => Err(format!("error: health rpc probe failed: unknown service {service}")),
            other => Err(format!("error: health rpc probe failed: grpc status {}", other.unwrap_or("missing"))),
        }
    }
    .await;
    driver.abort();
    answer
}

/// A HealthCheckRequest with its gRPC prefix.
fn frame(service: &str) -> Bytes {
    let name = &service.as_bytes()[..service.len().min(127)];
    let mut message = BytesMut::new();
    if !name.is_empty() {
        message.put_u8(0x0a);
        message.put_u8(name.len() as u8);
        message.put_slice(name);
    }
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(&message);
    out.freeze()
}

/// Field 1 of a HealthCheckResponse; absent is 0.
fn serving_status(body: &[u8]) -> Option<u64> {
    let message = body.get(5..)?;
    match message {
        [] => Some(0),
        [0x08, value, ..] if *value < 0x80 => Some(u64::from(*value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn messages() {
        assert_eq!(&frame("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&frame("a")[..], [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(&[0]), None);
    }
}
