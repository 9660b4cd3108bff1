//! A KMS v2 plugin on a unix socket: seals, opens after a restart, changes its key, falls ill.
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use skiff_seal::{Configured, Own, Sealer};
use skiff_store::Sealing;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

/// Wraps by putting its key's name in front.
#[derive(Default)]
struct Plugin {
    key: String,
    health: String,
    asked: Vec<String>,
}

fn field(message: &[u8], wanted: u8) -> Vec<u8> {
    let mut rest = message;
    while let [tag, len, more @ ..] = rest {
        let (value, more) = more.split_at(usize::from(*len));
        if tag >> 3 == wanted {
            return value.to_vec();
        }
        rest = more;
    }
    Vec::new()
}
fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(n, v)| [&[n << 3 | 2, v.len() as u8][..], v].concat()).collect()
}

type Frames = futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;
type Body = StreamBody<Frames>;

async fn answer(plugin: Arc<Mutex<Plugin>>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let ask = &body[5..];
    let mut plugin = plugin.lock();
    plugin.asked.push(method.clone());
    let key = plugin.key.clone();
    let (code, told) = match method.as_str() {
        "Status" => ("0", message(&[(1, b"v2"), (2, plugin.health.as_bytes()), (3, key.as_bytes())])),
        "Encrypt" => ("0", message(&[(1, &[b"wrapped", &field(ask, 1)[..]].concat()), (2, key.as_bytes()), (3, &message(&[(1, b"a.b.c"), (2, b"note")]))])),
        "Decrypt" if field(ask, 3) == b"lost" => ("5", Vec::new()),
        "Decrypt" => ("0", message(&[(1, field(ask, 1).strip_prefix(b"wrapped").unwrap())])),
        _ => ("12", Vec::new()),
    };
    let framed = [&[0][..], &(told.len() as u32).to_be_bytes(), &told].concat();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", "no".parse().unwrap());
    let frames = vec![Ok(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
    Ok(Response::builder().header("content-type", "application/grpc").body(StreamBody::new(futures::stream::iter(frames))).unwrap())
}

fn serve(path: &Path) -> Arc<Mutex<Plugin>> {
    let plugin = Arc::new(Mutex::new(Plugin { key: "k1".into(), health: "ok".into(), asked: Vec::new() }));
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let known = plugin.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let known = known.clone();
            let service = hyper::service::service_fn(move |r| answer(known.clone(), r));
            tokio::spawn(async move { hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await });
        }
    });
    plugin
}

fn sealer(dir: &Path, socket: &Path) -> Sealer {
    let text = format!(
        "{{\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"kind\":\"EncryptionConfiguration\",\"resources\":[{{\"resources\":[\"secrets\"],\"providers\":[{{\"kms\":{{\"apiVersion\":\"v2\",\"name\":\"vault\",\"endpoint\":\"unix://{}\"}}}}]}}]}}",
        socket.display()
    );
    Sealer::new(Own::open(dir.join("seal.key"), true).unwrap(), Some(Configured::parse(&text).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_wraps_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let s = sealer(dir.path(), &socket);
    let configured = s.configured().unwrap();
    assert!(configured.ready().await.unwrap_err().to_string().contains("vault"), "nobody is there");
    assert!(s.seal("secrets/a/b", b"v").is_err());
    let plugin = serve(&socket);
    configured.ready().await.unwrap();
    let sealed = s.seal("secrets/a/b", b"hunter2").unwrap().unwrap();
    assert!(sealed.starts_with(b"k8s:enc:kms:v2:vault:") && s.fresh("secrets/a/b", Some(&sealed)));
    assert_eq!((s.open("secrets/a/b", &sealed).unwrap(), s.label(&sealed)), (b"hunter2".to_vec(), "kms vault".into()));
    assert!(s.open("secrets/a/other", &sealed).is_err(), "moved to another object");

    // After a restart the seed is asked for, once.
    let again = sealer(dir.path(), &socket);
    again.configured().unwrap().ready().await.unwrap();
    for _ in 0..2 {
        assert_eq!(again.open("secrets/a/b", &sealed).unwrap(), b"hunter2");
    }
    assert_eq!(plugin.lock().asked.iter().filter(|a| *a == "Decrypt").count(), 1);

    // A new key of the plugin makes what lies there stale, but it still opens.
    assert!(!configured.refresh().await);
    plugin.lock().key = "k2".into();
    assert!(configured.refresh().await);
    assert!(!s.fresh("secrets/a/b", Some(&sealed)));
    assert_eq!(s.open("secrets/a/b", &sealed).unwrap(), b"hunter2");
    let newer = s.seal("secrets/a/b", b"v").unwrap().unwrap();
    assert!(s.fresh("secrets/a/b", Some(&newer)));

    plugin.lock().health = "locked".into();
    assert!(!configured.refresh().await, "an ill plugin changes nothing");
    plugin.lock().health = "ok".into();
    plugin.lock().key = "lost".into();
    assert!(configured.refresh().await);
    let lost = s.seal("secrets/a/b", b"v").unwrap().unwrap();
    let told = sealer(dir.path(), &socket).open("secrets/a/b", &lost).unwrap_err().to_string();
    assert!(told.contains("kms vault") && told.contains("gRPC status 5"), "{told}");
}
