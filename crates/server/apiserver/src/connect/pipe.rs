//! Carrying a request to a backend, and the bytes behind it both ways.
use super::backend::Backend;
use crate::{
    answer::{Reply, full, relayed},
    inbound::Peer,
    passage::Held,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Either, Empty};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use skiff_meta::{Reason, Status};

/// Headers that belong to one connection, and those that tell who the client is.
const DROPPED: [&str; 9] =
    ["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "authorization"];
/// An error text of a backend is read up to this.
const ERROR_LIMIT: usize = 2048;

pub(super) fn empty() -> Response<Reply> {
    let mut r = Response::new(full(Bytes::new()));
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    r
}

fn headers(from: &HeaderMap, upgrading: bool) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in from {
        let kept = upgrading && matches!(name.as_str(), "connection" | "upgrade");
        let ours = name.as_str().starts_with("impersonate-") || crate::aggregation::reserved(name);
        if (kept || !DROPPED.contains(&name.as_str())) && !ours {
            out.append(name.clone(), value.clone());
        }
    }
    // A token that came as a sub-protocol is the API server's alone.
    if let Some(protocols) = from.get("sec-websocket-protocol").and_then(|p| p.to_str().ok()) {
        let rest: Vec<&str> = protocols.split(',').map(str::trim).filter(|p| !p.starts_with("base64url.bearer.authorization.k8s.io.")).collect();
        out.remove("sec-websocket-protocol");
        if let (false, Ok(v)) = (rest.is_empty(), HeaderValue::from_str(&rest.join(", "))) {
            out.insert(HeaderName::from_static("sec-websocket-protocol"), v);
        }
    }
    out
}

/// The client's address joins those of the proxies before.
fn forwarded_for(headers: &mut HeaderMap, parts: &Parts) {
    let Some(Peer(ip)) = parts.extensions.get::<Peer>() else { return };
    let before = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
    let chain: Vec<String> = before.map(str::to_owned).chain([ip.to_string()]).collect();
    if let Ok(v) = HeaderValue::from_str(&chain.join(", ")) {
        headers.insert("x-forwarded-for", v);
    }
}

fn unreachable_because(e: &dyn std::fmt::Display) -> Status {
    Status::new(Reason::ServiceUnavailable, format!("error trying to reach service: {e}"))
}

type Sender<B> = hyper::client::conn::http1::SendRequest<B>;

async fn connect<B>(backend: &Backend) -> Result<Sender<B>, Status>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = backend.dial().await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| unreachable_because(&e))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(target: "api", %error, "connection to a backend ended");
        }
    });
    Ok(sender)
}

/// Sends the request on with `extra` headers and gives the answer; a switch of protocols is followed by piping.
pub(crate) async fn forward(
    parts: &Parts,
    extra: &HeaderMap,
    backend: &Backend,
    path: &str,
    body: Incoming,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<Reply>, Status> {
    let mut sender = connect(backend).await?;
    let mut request = Request::builder().method(parts.method.clone()).uri(path);
    if let Some(h) = request.headers_mut() {
        *h = headers(&parts.headers, upgrade.is_some());
        h.extend(extra.clone());
        forwarded_for(h, parts);
        h.insert(header::HOST, HeaderValue::from_str(&backend.authority()).map_err(|e| unreachable_because(&e))?);
    }
    let body = if upgrade.is_some() { Either::Left(Empty::<Bytes>::new()) } else { Either::Right(body) };
    let request = request.body(body).map_err(|e| unreachable_because(&e))?;
    let mut response = sender.send_request(request).await.map_err(|e| unreachable_because(&e))?;
    let Some(client) = upgrade.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) else {
        let (mut parts, body) = response.into_parts();
        for name in DROPPED {
            parts.headers.remove(name);
        }
        return Ok(Response::from_parts(parts, relayed(body)));
    };
    let server = hyper::upgrade::on(&mut response);
    let held = parts.extensions.get::<Held>().cloned();
    tokio::spawn(async move {
        pipe(client, server).await;
        drop(held);
    });
    let (parts, _) = response.into_parts();
    Ok(Response::from_parts(parts, full(Bytes::new())))
}

/// A document of a backend is read up to this.
const DOCUMENT_LIMIT: usize = 16 * 1024 * 1024;

/// A JSON document of a backend, asked for under the server's own name. Errors: why there is none.
pub(crate) async fn fetch(backend: &Backend, path: &str) -> Result<skiff_json::Value, String> {
    skiff_json::from_slice(&document(backend, path, "application/json").await?).map_err(|e| e.to_string())
}

/// The same of a text.
pub(crate) async fn text(backend: &Backend, path: &str) -> Result<String, String> {
    String::from_utf8(document(backend, path, "text/plain").await?.to_vec()).map_err(|e| e.to_string())
}

async fn document(backend: &Backend, path: &str, media: &'static str) -> Result<Bytes, String> {
    let mut sender = connect(backend).await.map_err(|s| s.message)?;
    let request = Request::get(path)
        .header(header::HOST, backend.authority())
        .header(header::ACCEPT, media)
        .header("x-remote-user", "system:kube-aggregator")
        .header("x-remote-group", "system:masters")
        .body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|e| e.to_string())?).await.map_err(|e| e.to_string())?;
    if !response.status().is_success() {
        return Err(format!("bad status from {path}: {}", response.status().as_u16()));
    }
    let body = http_body_util::Limited::new(response.into_body(), DOCUMENT_LIMIT).collect().await.map_err(|e| e.to_string())?;
    Ok(body.to_bytes())
}

async fn pipe(client: OnUpgrade, server: OnUpgrade) {
    let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    if let Err(error) = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, 16 * 1024, 16 * 1024).await {
        tracing::debug!(target: "api", %error, "a piped connection ended");
    }
}

/// A kubelet's refusal becomes a Status, its text kept.
pub(super) async fn checked(response: Response<Reply>) -> Result<Response<Reply>, Status> {
    if response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let code = response.status().as_u16();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
        if text.len() > ERROR_LIMIT {
            text.truncate(ERROR_LIMIT);
            break;
        }
    }
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(match code {
        400 => Status::bad_request(text),
        404 => Status::new(Reason::NotFound, if text.is_empty() { "the server could not find the requested resource".into() } else { text }),
        code => Status { code, ..Status::new(Reason::InternalError, format!("Internal error occurred: {text}")) },
    })
}
