//! Drivers of devices as plug-ins: gRPC over sockets in a folder (KEP-4381, `pluginregistration` and `dra/v1`).
use super::wire::{self, Field};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::UnixStream;

/// A plug-in's answer is read up to this.
const LIMIT: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(45);
const KIND: &str = "DRAPlugin";
const SERVICE: &str = "v1.DRAPlugin";

/// A plug-in that said who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    pub driver: String,
    pub endpoint: PathBuf,
}

/// A device that is ready, and how containers get it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ready {
    pub requests: Vec<String>,
    pub pool: String,
    pub device: String,
    pub cdi: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct ClaimRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

async fn call(socket: &Path, method: &str, message: &[u8]) -> Result<Bytes, String> {
    tokio::time::timeout(PATIENCE, unary(socket, method, message)).await.unwrap_or_else(|_| Err(format!("{method}: no answer in {}s", PATIENCE.as_secs())))
}

async fn unary(socket: &Path, method: &str, message: &[u8]) -> Result<Bytes, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{method} at {}: {e}", socket.display());
    let stream = UnixStream::connect(socket).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    let driver = tokio::spawn(connection);
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).map_err(|e| failed(&e))?);
    frame.put_slice(message);
    let request = hyper::Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(frame.freeze()))
        .map_err(|e| failed(&e))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let head = response.headers().clone();
        let body = Limited::new(response.into_body(), LIMIT).collect().await.map_err(|e| failed(&e))?;
        let told = |name: &str| body.trailers().and_then(|t| t.get(name)).or_else(|| head.get(name)).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (status, why) = (told("grpc-status"), told("grpc-message").unwrap_or_default());
        match status.as_deref() {
            Some("0") => {
                let bytes = body.to_bytes();
                // Behind the mark of compression, which was not asked for, and the length.
                Ok(bytes.slice(5.min(bytes.len())..))
            }
            other => Err(failed(&format!("rpc error: code = {}, {}", other.unwrap_or("missing"), why))),
        }
    }
    .await;
    driver.abort();
    answer
}

/// Who listens at a socket of the registration folder; None when it is no driver of devices that speaks this version.
pub async fn identify(socket: &Path) -> Result<Option<Plugin>, String> {
    let answer = call(socket, "pluginregistration.Registration/GetInfo", &[]).await?;
    let Some(plugin) = plugin(socket, &answer)? else { return Ok(None) };
    let mut status = Vec::new();
    wire::flag(&mut status, 1);
    call(socket, "pluginregistration.Registration/NotifyRegistrationStatus", &status).await?;
    Ok(Some(plugin))
}

fn plugin(socket: &Path, answer: &[u8]) -> Result<Option<Plugin>, String> {
    let read = wire::fields(answer).ok_or("the plug-in's answer is no PluginInfo")?;
    let text = |n: u64| read.iter().find(|(k, _)| *k == n).and_then(|(_, f)| f.text()).unwrap_or_default();
    let versions: Vec<String> = read.iter().filter(|(k, _)| *k == 4).filter_map(|(_, f)| f.text()).collect();
    if text(1) != KIND || !versions.iter().any(|v| v == SERVICE) {
        return Ok(None);
    }
    let endpoint = if text(3).is_empty() { socket.to_owned() } else { text(3).into() };
    Ok(Some(Plugin { driver: text(2), endpoint }))
}

fn claims(all: &[ClaimRef]) -> Vec<u8> {
    let mut out = Vec::new();
    for c in all {
        let mut claim = Vec::new();
        for (number, text) in [(1, &c.namespace), (2, &c.uid), (3, &c.name)] {
            wire::part(&mut claim, number, text.as_bytes());
        }
        wire::part(&mut out, 1, &claim);
    }
    out
}

/// Makes the claim's devices ready.
pub async fn prepare(endpoint: &Path, claim: &ClaimRef) -> Result<Vec<Ready>, String> {
    let answer = call(endpoint, "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodePrepareResources", &claims(std::slice::from_ref(claim))).await?;
    let mut all: BTreeMap<String, Result<Vec<Ready>, String>> = prepared(&answer).ok_or("the plug-in's answer is no NodePrepareResourcesResponse")?;
    all.remove(&claim.uid).unwrap_or_else(|| Err("the plug-in's answer doesn't name the claim".into()))
}

pub async fn unprepare(endpoint: &Path, claim: &ClaimRef) -> Result<(), String> {
    let answer = call(endpoint, "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodeUnprepareResources", &claims(std::slice::from_ref(claim))).await?;
    let read = wire::fields(&answer).ok_or("the plug-in's answer is no NodeUnprepareResourcesResponse")?;
    let own = wire::entries(&read, 1).into_iter().find(|(uid, _)| *uid == claim.uid).and_then(|(_, m)| wire::fields(m));
    let error = own.iter().flatten().find(|(n, _)| *n == 1).and_then(|(_, f)| f.text()).unwrap_or_default();
    if error.is_empty() { Ok(()) } else { Err(error) }
}

/// By the claim's uid.
fn prepared(answer: &[u8]) -> Option<BTreeMap<String, Result<Vec<Ready>, String>>> {
    let read = wire::fields(answer)?;
    let one = |message: &[u8]| {
        let all = wire::fields(message)?;
        let error = all.iter().find(|(n, _)| *n == 2).and_then(|(_, f)| f.text()).unwrap_or_default();
        if !error.is_empty() {
            return Some(Err(error));
        }
        Some(Ok(all.iter().filter(|(n, _)| *n == 1).filter_map(|(_, f)| device(*f)).collect()))
    };
    wire::entries(&read, 1).into_iter().map(|(uid, m)| Some((uid, one(m)?))).collect()
}

fn device(f: Field<'_>) -> Option<Ready> {
    let mut out = Ready::default();
    for (number, f) in wire::fields(f.bytes()?)? {
        match number {
            1 => out.requests.extend(f.text()),
            2 => out.pool = f.text()?,
            3 => out.device = f.text()?,
            4 => out.cdi.extend(f.text()),
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let mut info = Vec::new();
        for (n, text) in [(1, "DRAPlugin"), (2, "gpu.example.com"), (3, "/run/gpu.sock"), (4, "v1beta1.DRAPlugin"), (4, "v1.DRAPlugin")] {
            wire::part(&mut info, n, text.as_bytes());
        }
        assert_eq!(plugin(Path::new("/x"), &info).unwrap(), Some(Plugin { driver: "gpu.example.com".into(), endpoint: "/run/gpu.sock".into() }));
        assert_eq!(plugin(Path::new("/x"), &[]).unwrap(), None);
        let (mut d, mut response, mut entry, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (n, text) in [(1, "r"), (2, "pool"), (3, "a"), (4, "gpu.example.com/gpu=a")] {
            wire::part(&mut d, n, text.as_bytes());
        }
        wire::part(&mut response, 1, &d);
        wire::part(&mut entry, 1, b"uid");
        wire::part(&mut entry, 2, &response);
        wire::part(&mut all, 1, &entry);
        let ready = Ready { requests: vec!["r".into()], pool: "pool".into(), device: "a".into(), cdi: vec!["gpu.example.com/gpu=a".into()] };
        assert_eq!(prepared(&all).unwrap(), [("uid".to_owned(), Ok(vec![ready]))].into());
        assert_eq!(prepared(&[1, 2, 3]), None);
    }
}
