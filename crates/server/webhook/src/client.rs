//! Sending a question and reading the answer.
//!
//! Connections are kept by the address that a service name came to, not by the name: a pod that was replaced is never
//! asked over its predecessor's connection.
use crate::{
    place::{At, Place, Resolve},
    trust,
};
use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// An error's text is shown up to this.
const ERROR_LIMIT: usize = 2048;
/// Idle connections kept to one webhook, and webhooks whose connections are kept.
const IDLE: usize = 4;
const KEPT: usize = 64;

type Sender = SendRequest<Full<Bytes>>;

/// What is sent, and how long and how much is waited for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub agent: &'static str,
    pub body: Bytes,
    pub timeout: Duration,
    /// Bytes of an answer.
    pub limit: usize,
    pub place: &'a Place,
}

/// What connections are kept by: the address, the name in the certificate, and who vouches for it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Peer {
    host: String,
    port: u16,
    name: String,
    ca: Arc<[u8]>,
}

/// An address to ask, and how it is written.
struct Goal {
    peer: Peer,
    authority: String,
    path: String,
}

pub struct Client {
    resolve: Arc<dyn Resolve>,
    idle: Mutex<HashMap<Peer, Vec<Sender>>>,
}

impl Client {
    pub fn new(resolve: Arc<dyn Resolve>) -> Self {
        Self { resolve, idle: Mutex::default() }
    }

    /// Posts and gives the answer, whatever its code; the error is what Go's client says, with the address.
    pub async fn post(&self, request: &Request<'_>) -> Result<(StatusCode, Bytes), String> {
        let query = format!("timeout={}s", request.timeout.as_secs());
        let url = request.place.shown(&query)?;
        let failed = |why: String| format!("Post {url:?}: {why}");
        let asked = tokio::time::timeout(request.timeout, self.send(request, &query)).await;
        asked.map_err(|_| failed("context deadline exceeded".into()))?.map_err(failed)
    }

    async fn send(&self, r: &Request<'_>, query: &str) -> Result<(StatusCode, Bytes), String> {
        let goal = self.goal(r.place)?;
        let request = || {
            http::Request::post(format!("{}{}{query}", goal.path, if goal.path.contains('?') { '&' } else { '?' }))
                .header(header::HOST, &goal.authority)
                .header(header::USER_AGENT, r.agent)
                .header(header::ACCEPT, "application/json, */*")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(r.body.clone()))
                .map_err(|e| e.to_string())
        };
        // A kept connection may have been closed meanwhile: what it never sent is sent on a new one.
        while let Some(mut sender) = self.kept(&goal.peer) {
            match sender.ready().await {
                Err(_) => continue,
                Ok(()) => match sender.send_request(request()?).await {
                    Ok(response) => return self.read(&goal.peer, sender, response, r.limit).await,
                    Err(e) if e.is_canceled() || e.is_incomplete_message() => continue,
                    Err(e) => return Err(e.to_string()),
                },
            }
        }
        let mut sender = connect(&goal.peer).await?;
        let response = sender.send_request(request()?).await.map_err(|e| e.to_string())?;
        self.read(&goal.peer, sender, response, r.limit).await
    }

    async fn read(&self, peer: &Peer, sender: Sender, response: http::Response<Incoming>, limit: usize) -> Result<(StatusCode, Bytes), String> {
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body =
            body.map_err(|e| if e.is::<http_body_util::LengthLimitError>() { format!("webhook response exceeds {limit} bytes") } else { e.to_string() })?;
        self.keep(peer, sender);
        Ok((status, body.to_bytes()))
    }

    fn kept(&self, peer: &Peer) -> Option<Sender> {
        self.idle.lock().get_mut(peer)?.pop()
    }

    fn keep(&self, peer: &Peer, sender: Sender) {
        let mut idle = self.idle.lock();
        if idle.len() >= KEPT && !idle.contains_key(peer) {
            idle.clear();
        }
        let mine = idle.entry(peer.clone()).or_default();
        mine.retain(|s| !s.is_closed());
        if mine.len() < IDLE && !sender.is_closed() {
            mine.push(sender);
        }
    }

    fn goal(&self, place: &Place) -> Result<Goal, String> {
        let ca = place.ca.clone();
        match &place.at {
            At::Nowhere => Err("webhook configuration must have either service or URL".into()),
            At::Service { namespace, name, port, path } => {
                let at = self.resolve.resolve(namespace, name, *port)?;
                let server = format!("{name}.{namespace}.svc");
                Ok(Goal { authority: format!("{server}:{port}"), peer: Peer { host: at.host, port: at.port, name: server, ca }, path: path.clone() })
            }
            At::Url(url) => {
                let url = url::Url::parse(url).map_err(|e| format!("Unparsable URL: {e}"))?;
                let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let port = url.port_or_known_default().unwrap_or(443);
                Ok(Goal { authority: url.authority().to_owned(), path: url.path().to_owned(), peer: Peer { name: host.clone(), host, port, ca } })
            }
        }
    }
}

async fn connect(peer: &Peer) -> Result<Sender, String> {
    let address = if peer.host.contains(':') { format!("[{}]:{}", peer.host, peer.port) } else { format!("{}:{}", peer.host, peer.port) };
    let socket = TcpStream::connect((peer.host.as_str(), peer.port)).await.map_err(|e| format!("dial tcp {address}: {}", unreachable(&e)))?;
    let _ = socket.set_nodelay(true);
    let config: Arc<ClientConfig> = trust::config(&peer.ca)?;
    let name = ServerName::try_from(peer.name.clone()).map_err(|e| e.to_string())?;
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.map_err(|e| trust::failure(&e, &peer.name))?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(target: "webhook", %error, "connection to a webhook ended");
        }
    });
    Ok(sender)
}

/// Why a host cannot be reached, as Go says it.
fn unreachable(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        _ => e.to_string(),
    }
}

/// What Go's client makes of an answer that is no success.
pub fn refused(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..ERROR_LIMIT).unwrap_or(body)).trim().to_owned();
    match status.as_u16() {
        404 => "the server could not find the requested resource".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 => "unknown".into(),
        413 => "request is too large".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        500.. => format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        _ => "the server rejected our request for an unknown reason".into(),
    }
}
