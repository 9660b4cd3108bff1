//! A webhook on loopback: real TLS, its own authority, and whatever answer a test wants.
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring::default_provider, pki_types::PrivateKeyDer};
use skiff_json::{Value, json};
use skiff_webhook::{Endpoint, Resolve};
use std::{convert::Infallible, sync::Arc};
use tokio::net::{TcpListener, TcpStream};

/// What is said to a question.
pub(super) enum Reply {
    Review(Value),
    Raw(u16, Vec<u8>),
    /// Nothing, ever.
    Silence,
}

pub(super) type Say = dyn Fn(&str, &Value) -> Reply + Send + Sync;

pub(super) struct Fake {
    pub port: u16,
    /// Who vouches for it, as a `caBundle`.
    pub ca: String,
    /// Paths with their queries, and questions.
    pub asked: Arc<Mutex<Vec<(String, Value)>>>,
    pub connections: Arc<Mutex<usize>>,
}

impl Fake {
    pub async fn start(say: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let (tls, ca) = identity();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (say, heard, counted): (Arc<Say>, _, _) = (Arc::new(say), asked.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                *counted.lock() += 1;
                tokio::spawn(serve(socket, tls.clone(), say.clone(), heard.clone()));
            }
        });
        Self { port, ca: base64::engine::general_purpose::STANDARD.encode(ca), asked, connections }
    }
    /// Says the same to everybody.
    pub async fn saying(response: Value) -> Self {
        Self::start(move |_, question| review(question, response.clone())).await
    }
    /// The client configuration that leads here.
    pub fn client(&self, path: &str) -> Value {
        json!({"caBundle": self.ca, "service": {"name": "hook", "namespace": "ns", "path": path}})
    }
    pub fn by_url(&self, path: &str) -> Value {
        json!({"caBundle": self.ca, "url": format!("https://127.0.0.1:{}{path}", self.port)})
    }
    pub fn count(&self) -> usize {
        self.asked.lock().len()
    }
}

/// Every service is the fake's.
impl Resolve for Fake {
    fn resolve(&self, _namespace: &str, name: &str, _port: u16) -> Result<Endpoint, String> {
        match name {
            "hook" => Ok(Endpoint { host: "127.0.0.1".into(), port: self.port }),
            other => Err(format!("service {other:?} not found")),
        }
    }
}

/// `response` to the question, in its version and with its uid.
pub(super) fn review(question: &Value, response: Value) -> Reply {
    let mut response = response;
    response["uid"] = question["request"]["uid"].clone();
    if let Some(patch) = response.get("patch").filter(|p| p.is_array()).map(Value::to_string) {
        response["patch"] = base64::engine::general_purpose::STANDARD.encode(patch).into();
        response["patchType"] = "JSONPatch".into();
    }
    Reply::Review(json!({"kind": "AdmissionReview", "apiVersion": question["apiVersion"], "response": response}))
}

fn identity() -> (Arc<ServerConfig>, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["hook.ns.svc".to_owned(), "127.0.0.1".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(own.serialize_der()).unwrap());
    (Arc::new(config.unwrap()), ca)
}

async fn serve(socket: TcpStream, tls: Arc<ServerConfig>, say: Arc<Say>, heard: Arc<Mutex<Vec<(String, Value)>>>) {
    let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(socket).await else { return };
    let answer = service_fn(move |r: Request<Incoming>| {
        let (say, heard) = (say.clone(), heard.clone());
        async move {
            let path = r.uri().to_string();
            let body = r.into_body().collect().await.unwrap().to_bytes();
            let question: Value = skiff_json::from_slice(&body).unwrap();
            heard.lock().push((path.clone(), question.clone()));
            let (code, body) = match say(&path, &question) {
                Reply::Review(v) => (200, v.to_string().into_bytes()),
                Reply::Raw(code, body) => (code, body),
                Reply::Silence => std::future::pending().await,
            };
            Ok::<_, Infallible>(Response::builder().status(code).body(Full::new(Bytes::from(body))).unwrap())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}
