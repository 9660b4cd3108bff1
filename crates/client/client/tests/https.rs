//! The TLS transport against a server on loopback, which answers out of an API in memory.
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use k8s_openapi::api::core::v1::ConfigMap;
use skiff_client::{
    Answer, Call, Client, DeleteOptions, ListParams, Target, Transport, Verb, WatchKind,
    fake::Fake,
    tls::{Endpoint, Https, HttpsError, Identity, authority_of},
};
use skiff_json::json;
use skiff_meta::{GroupVersionResource, Reason};
use std::{convert::Infallible, sync::Arc};
use tokio::net::TcpListener;

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn full(code: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    Response::builder().status(code).body(Full::new(bytes.into()).boxed_unsync()).unwrap()
}

/// Turns the few requests of the test back into calls.
async fn serve(api: Fake, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.headers().get("authorization").is_none_or(|v| v != "Bearer secret") {
        return Ok(full(401, skiff_meta::Status::unauthorized("").to_json()));
    }
    let parts: Vec<String> = request.uri().path().split('/').map(str::to_owned).collect();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let name = parts.get(6).cloned().unwrap_or_default();
    let target = Target::new(GroupVersionResource::new("", "v1", "configmaps"), "n", name.clone());
    let watch = query.contains("watch=true");
    let verb = match (request.method().as_str(), name.is_empty()) {
        ("GET", true) if watch => Verb::Watch,
        ("GET", true) => Verb::List,
        ("GET", false) => Verb::Get,
        ("POST", _) => Verb::Create,
        ("PUT", _) => Verb::Update,
        _ => Verb::Delete,
    };
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    Ok(match api.call(Call::new(verb, target).body(body)).await {
        Err(s) => full(s.code, s.to_json()),
        Ok(Answer::Object { code, bytes, .. }) => full(code, bytes),
        Ok(Answer::List(l)) => {
            let items: Vec<skiff_json::Value> = l.items.iter().map(|b| skiff_json::from_slice(b).unwrap()).collect();
            full(200, json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": l.revision.to_string()}, "items": items}).to_string())
        }
        Ok(Answer::Watch { events, .. }) => {
            let frames = events.map(|e| {
                let text = format!("{{\"type\":\"{}\",\"object\":{}}}\n", e.kind.as_str(), String::from_utf8_lossy(&e.object));
                Ok::<_, Infallible>(Frame::data(Bytes::from(text)))
            });
            Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
        }
        Ok(Answer::Status(s, _)) => full(200, s.to_json()),
    })
}

async fn server(alpn: &[&[u8]]) -> Endpoint {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone(), ca_cert.der().clone()], rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|a| a.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let api = Fake::new();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, api) = (acceptor.clone(), api.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                let service = service_fn(move |r| serve(api.clone(), r));
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Endpoint {
        server: format!("https://127.0.0.1:{port}"),
        authorities: ca_cert.pem().into_bytes(),
        server_name: Some("localhost".into()),
        identity: None,
        token: Some(Arc::new(|| Some("secret".into()))),
    }
}

fn map(name: &str) -> ConfigMap {
    skiff_json::from_value(json!({"metadata": {"name": name, "namespace": "n"}, "data": {"a": "b"}})).unwrap()
}

async fn round_trip(endpoint: Endpoint) {
    let client = Client::new(Arc::new(Https::new(endpoint).unwrap()), "test");
    client.create(&map("a")).await.unwrap();
    let e = client.create(&map("a")).await.unwrap_err();
    assert!(e.is(Reason::AlreadyExists) && e.code == 409, "{e:?}");
    let list: Vec<ConfigMap> = client.list("n", &ListParams::default()).await.unwrap();
    assert_eq!(list.len(), 1);
    let resource = GroupVersionResource::new("", "v1", "configmaps");
    let mut events = client.watch_bytes(resource, "n", &ListParams::default()).await.unwrap();
    assert_eq!(events.next().await.unwrap().kind, WatchKind::Added);
    client.create(&map("b")).await.unwrap();
    let e = events.next().await.unwrap();
    assert_eq!((e.kind, e.revision.0 > 0), (WatchKind::Added, true));
    client.delete::<ConfigMap>("n", "b", &DeleteOptions::default()).await.unwrap();
    assert_eq!(events.next().await.unwrap().kind, WatchKind::Deleted);
    assert!(client.find::<ConfigMap>("n", "b").await.unwrap().is_none());
}

#[tokio::test]
async fn calls_and_watches_over_http2() {
    round_trip(server(&[b"h2", b"http/1.1"]).await).await;
}

#[tokio::test]
async fn calls_and_watches_over_http1() {
    round_trip(server(&[b"http/1.1"]).await).await;
}

#[tokio::test]
async fn strangers_are_not_trusted() {
    let (one, other) = (server(&[b"h2"]).await, server(&[b"h2"]).await);
    let crossed = Endpoint { authorities: other.authorities.clone(), ..one.clone() };
    let client = Client::new(Arc::new(Https::new(crossed).unwrap()), "test");
    let e = client.find::<ConfigMap>("n", "a").await.unwrap_err();
    assert!(e.is(Reason::ServiceUnavailable) && e.message.contains("certificate"), "{e}");
    let anonymous = Client::new(Arc::new(Https::new(Endpoint { token: None, ..one.clone() }).unwrap()), "test");
    assert!(anonymous.find::<ConfigMap>("n", "a").await.unwrap_err().is(Reason::Unauthorized));
    for broken in [
        Endpoint { server: "http://x".into(), ..one.clone() },
        Endpoint { server: "nonsense".into(), ..one.clone() },
        Endpoint { authorities: b"x".to_vec(), ..one.clone() },
        Endpoint { identity: Some(Identity { certificate: vec![], key: vec![] }), ..one.clone() },
    ] {
        assert!(Https::new(broken).is_err());
    }
}

#[tokio::test]
async fn an_authority_is_found_by_what_is_known_of_it() {
    let endpoint = server(&[b"h2"]).await;
    let url = endpoint.server.replace("127.0.0.1", "localhost");
    let pem = rustls::pki_types::pem::PemObject::from_pem_slice(&endpoint.authorities).map(|c: rustls::pki_types::CertificateDer<'static>| c.to_vec()).unwrap();
    let wanted = pem.clone();
    let found = authority_of(&url, move |der| der == wanted).await.unwrap();
    assert_eq!(found, pem);
    for (url, known) in [(url.as_str(), false), (endpoint.server.as_str(), true)] {
        // A stranger, or the right authority for another name.
        let e = authority_of(url, move |_| known).await.unwrap_err();
        assert!(matches!(&e, HttpsError::Connect { source, .. } if source.kind() == std::io::ErrorKind::InvalidData), "{e:?}");
    }
}
