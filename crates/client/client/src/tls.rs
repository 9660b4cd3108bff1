//! The API server over HTTPS.
//!
//! [`Https`] is a [`Transport`]: calls become requests, answers and watches are read back into the same bytes that the
//! in-process transport hands out. One HTTP/2 connection carries everything and is made anew when it breaks; a server that
//! speaks only HTTP/1.1 gets a connection a request. What is no call (logs, discovery, exec) goes through
//! [`Https::request`] and [`Https::dial`].

mod authority;
mod connect;
mod frames;
mod read;
mod url;

pub use authority::authority_of;
pub use connect::{Endpoint, Identity, TlsStream, TokenSource, check_url};

use crate::{Answer, Call, Transport, Verb};
use bytes::Bytes;
use connect::Connector;
use http_body_util::Full;
use hyper::{Method, Request, Response, body::Incoming, client::conn::http2::SendRequest, header};
use parking_lot::Mutex;
use skiff_meta::{Reason, Status};
use std::time::Duration;
use thiserror::Error;

/// How long a request that is no watch may take to be answered.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
pub enum HttpsError {
    #[error("{0:?} is not the URL of a server (https://host:port)")]
    Url(String),
    #[error("read the {what}")]
    Pem {
        what: &'static str,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("there is no {0} in it")]
    Empty(&'static str),
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("no answer from {address} within {seconds} s")]
    Silent { address: String, seconds: u64 },
    #[error("speak HTTP with {address}")]
    Http {
        address: String,
        #[source]
        source: hyper::Error,
    },
    #[error("make a request")]
    Request(#[source] hyper::http::Error),
}

impl From<HttpsError> for Status {
    /// With the whole chain: a client sees only this.
    fn from(e: HttpsError) -> Self {
        let mut text = e.to_string();
        let mut cause = std::error::Error::source(&e);
        while let Some(c) = cause {
            text += &format!(": {c}");
            cause = c.source();
        }
        Status::new(Reason::ServiceUnavailable, text)
    }
}

/// One server, asked under one identity.
pub struct Https {
    endpoint: Mutex<Endpoint>,
    connector: Connector,
    shared: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Https {
    pub fn new(endpoint: Endpoint) -> Result<Self, HttpsError> {
        Ok(Self { connector: Connector::new(&endpoint)?, endpoint: Mutex::new(endpoint), shared: Mutex::new(None) })
    }
    /// Asks under a renewed certificate from now on. What is under way, watches too, ends on its old connection.
    pub fn renew(&self, identity: Identity) -> Result<(), HttpsError> {
        let mut endpoint = self.endpoint.lock();
        let renewed = Endpoint { identity: Some(identity), ..endpoint.clone() };
        self.connector.reload(&renewed)?;
        *endpoint = renewed;
        *self.shared.lock() = None;
        Ok(())
    }
    /// Sends a request whose URI is a path; host and credentials are added.
    pub async fn request(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpsError> {
        if let Some(token) = self.connector.token() {
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        let shared = self.shared.lock().clone().filter(|s| s.is_ready());
        let sender = match shared {
            Some(sender) => Some(sender),
            None => self.fresh().await?,
        };
        match sender {
            Some(mut sender) => {
                *request.uri_mut() = self.connector.absolute(request.uri()).map_err(HttpsError::Request)?;
                sender.send_request(request).await.map_err(|e| self.connector.broken(e))
            }
            None => self.connector.once(request).await,
        }
    }
    /// A new HTTP/2 connection, kept for the next requests; None when the server speaks only HTTP/1.1.
    async fn fresh(&self) -> Result<Option<SendRequest<Full<Bytes>>>, HttpsError> {
        let sender = self.connector.http2().await?;
        *self.shared.lock() = sender.clone();
        Ok(sender)
    }
    /// A TLS connection that speaks HTTP/1.1, for upgrades (exec, attach, port-forward).
    pub async fn dial(&self) -> Result<TlsStream, HttpsError> {
        self.connector.dial(false).await
    }
    /// The value of an Authorization header, when the endpoint has a token.
    pub fn authorization(&self) -> Option<header::HeaderValue> {
        self.connector.token()
    }
    /// `host:port`.
    pub fn authority(&self) -> &str {
        self.connector.authority()
    }
}

#[async_trait::async_trait]
impl Transport for Https {
    async fn call(&self, call: Call) -> Result<Answer, Status> {
        let verb = call.verb;
        let request = request_of(call)?;
        let answer = tokio::time::timeout(PATIENCE, self.request(request)).await;
        let silent = || HttpsError::Silent { address: self.authority().into(), seconds: PATIENCE.as_secs() };
        let response = answer.map_err(|_| silent())??;
        read::answer(verb, response).await
    }
}

fn request_of(call: Call) -> Result<Request<Full<Bytes>>, Status> {
    let method = match call.verb {
        Verb::Get | Verb::List | Verb::Watch => Method::GET,
        Verb::Create => Method::POST,
        Verb::Update => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Delete | Verb::DeleteCollection => Method::DELETE,
    };
    let query = if call.verb == Verb::Watch { call.query.with("watch", "true") } else { call.query };
    let mut builder = Request::builder().method(method).uri(url::path_and_query(&call.target.path(), &query.0)).header(header::ACCEPT, "application/json");
    if !call.user_agent.is_empty() {
        builder = builder.header(header::USER_AGENT, call.user_agent);
    }
    if !call.body.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, call.content_type);
    }
    builder.body(Full::new(call.body)).map_err(|e| Status::from(HttpsError::Request(e)))
}
