//! A driver over a real socket.
use super::*;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use skiff_cri::ImageId;

/// What the driver was asked, by the last step of the path.
type Asked = Arc<Mutex<Vec<String>>>;

fn info(endpoint: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, text) in [(1, "DRAPlugin"), (2, "gpu.example.com"), (3, endpoint), (4, "v1.DRAPlugin")] {
        wire::part(&mut out, n, text.as_bytes());
    }
    out
}

/// One device for whichever claim it is.
fn prepared(request: &[u8], device: bool) -> Vec<u8> {
    let all = wire::fields(request).unwrap();
    let claim = wire::fields(all[0].1.bytes().unwrap()).unwrap();
    let uid = claim.iter().find(|(n, _)| *n == 2).and_then(|(_, f)| f.text()).unwrap();
    let (mut d, mut response, mut entry, mut out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (n, text) in [(1, "r"), (2, "pool"), (3, "a"), (4, "gpu.example.com/gpu=a")] {
        wire::part(&mut d, n, text.as_bytes());
    }
    if device {
        wire::part(&mut response, 1, &d);
    }
    wire::part(&mut entry, 1, uid.as_bytes());
    wire::part(&mut entry, 2, &response);
    wire::part(&mut out, 1, &entry);
    out
}

fn driver(socket: &std::path::Path, asked: Asked) {
    let (listener, endpoint) = (tokio::net::UnixListener::bind(socket).unwrap(), socket.display().to_string());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (asked, endpoint) = (asked.clone(), endpoint.clone());
            let serve = move |request: hyper::Request<Incoming>| {
                let (asked, endpoint) = (asked.clone(), endpoint.clone());
                async move {
                    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let message = match method.as_str() {
                        "GetInfo" => info(&endpoint),
                        "NodePrepareResources" => prepared(&body[5..], true),
                        "NodeUnprepareResources" => prepared(&body[5..], false),
                        _ => Vec::new(),
                    };
                    asked.lock().push(method);
                    let mut frame = BytesMut::new();
                    frame.put_u8(0);
                    frame.put_u32(message.len() as u32);
                    frame.put_slice(&message);
                    let trailers = http::HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))]);
                    let frames = [Frame::data(frame.freeze()), Frame::trailers(trailers)].map(Ok::<Frame<Bytes>, std::convert::Infallible>);
                    Ok::<_, std::convert::Infallible>(
                        hyper::Response::builder().header("content-type", "application/grpc").body(StreamBody::new(futures::stream::iter(frames))).unwrap(),
                    )
                }
            };
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), hyper::service::service_fn(serve)),
            );
        }
    });
}

fn pod(uid: &str) -> Pod {
    let v = skiff_json::json!({"metadata": {"name": uid, "namespace": "ns", "uid": uid}, "spec": {"resourceClaims": [{"name": "g", "resourceClaimName": "c"}],
        "containers": [{"name": "c", "resources": {"claims": [{"name": "g", "request": "r"}]}}, {"name": "other"}]}});
    skiff_json::from_value(v).unwrap()
}

#[tokio::test]
async fn devices_are_made_ready_given_and_taken_back() {
    let (dir, asked, api) = (tempfile::tempdir().unwrap(), Asked::default(), skiff_client::fake::Fake::new());
    std::fs::create_dir_all(dir.path().join("plugins_registry")).unwrap();
    std::fs::write(dir.path().join("gpu.json"), r#"{"kind":"gpu.example.com/gpu","devices":[{"name":"a","containerEdits":{"env":["GPU=a"]}}]}"#).unwrap();
    let open = || Devices { specifications: vec![dir.path().to_owned()], ..Devices::open(dir.path()) };
    let (devices, client) = (open(), api.client());
    let consumer = |uid: &str| skiff_json::json!({"resource": "pods", "name": uid, "uid": uid});
    let claim = skiff_json::json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "c", "namespace": "ns"}, "spec": {},
        "status": {"reservedFor": [consumer("p"), consumer("q")], "allocation": {"devices": {"results": [{"request": "r", "driver": "gpu.example.com", "pool": "pool", "device": "a"}]}}}});
    client.create(&skiff_json::from_value::<ResourceClaim>(claim).unwrap()).await.unwrap();
    let why = devices.prepare(&client, &pod("p")).await.unwrap_err();
    assert_eq!(why, "claim ns/c: DRA driver gpu.example.com is not registered");
    driver(&dir.path().join("plugins_registry/gpu.sock"), asked.clone());
    assert!(devices.prepare(&client, &pod("stranger")).await.unwrap_err().contains("not reserved for the pod"));
    for p in ["p", "q", "p"] {
        devices.prepare(&client, &pod(p)).await.unwrap();
    }
    assert_eq!(*asked.lock(), ["GetInfo", "NotifyRegistrationStatus", "NodePrepareResources"]);
    // Another agent over the same folder, as after a restart.
    let devices = open();
    let env = |c: usize| {
        let (p, mut config) = (pod("p"), ContainerConfig::new("c", ImageId::new("i")));
        devices.give(&p, &p.spec.as_ref().unwrap().containers[c], &mut config).unwrap();
        config.env
    };
    assert_eq!((env(0), env(1)), (vec![("GPU".to_owned(), "a".to_owned())], Vec::new()));
    asked.lock().clear();
    devices.release("p").await.unwrap();
    assert!(asked.lock().is_empty());
    devices.release("q").await.unwrap();
    assert_eq!(asked.lock().last().map(String::as_str), Some("NodeUnprepareResources"));
    assert!(devices.held.lock().is_empty() && devices.users().is_empty());
}
