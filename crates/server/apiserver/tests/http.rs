//! The server over real TLS: what clients send, and what they get.
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use skiff_apiserver::{Config, Handle, Server, Tls, TlsMaterial};
use skiff_audit::{Auditor, Batching, LogOptions, Mode, Policy, Setup};
use skiff_json::{Value, json};
use skiff_meta::Status;
use skiff_policy::{Action, Authenticator, Authorizer, Credentials, Decision};
use skiff_registry::{Options, Registry, RowIndexer, table::Table};
use skiff_request::User;
use std::{sync::Arc, time::SystemTime};

struct Certificates;
#[async_trait::async_trait]
impl Authenticator for Certificates {
    async fn authenticate(&self, c: &Credentials) -> Result<Option<User>, Status> {
        match c.bearer.as_deref() {
            Some("good") => Ok(Some(User::new("token", ["system:masters"]))),
            Some(_) => Err(Status::unauthorized("")),
            None => Ok(c.certificate.as_ref().map(|(name, groups)| User::new(name.clone(), groups.clone()))),
        }
    }
}
struct Masters;
#[async_trait::async_trait]
impl Authorizer for Masters {
    async fn authorize(&self, user: &User, action: &Action) -> Decision {
        let health = matches!(action, Action::Path { path, .. } if path.starts_with("/readyz"));
        if user.in_group(User::MASTERS) || health { Decision::Allow } else { Decision::NoOpinion(String::new()) }
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<Value>, Vec<Value>) {
        Default::default()
    }
}

struct World {
    handle: Handle,
    ca: String,
    client: (String, String),
}

fn certificates() -> (TlsMaterial, String, (String, String)) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let (server_key, client_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&server_key, &issuer).unwrap();
    let mut client = CertificateParams::new(vec![]).unwrap();
    client.distinguished_name.push(DnType::CommonName, "admin");
    client.distinguished_name.push(DnType::OrganizationName, User::MASTERS);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.signed_by(&client_key, &issuer).unwrap();
    let material = TlsMaterial { certificate: server.pem().into(), key: server_key.serialize_pem().into(), client_ca: ca_pem.clone().into() };
    (material, ca_pem, (client.pem(), client_key.serialize_pem()))
}

async fn world() -> World {
    audited(None).await
}

async fn audited(audit: Option<Arc<Auditor>>) -> World {
    made(audit, Arc::new(Masters)).await
}

async fn made(audit: Option<Arc<Auditor>>, authorizer: Arc<dyn Authorizer>) -> World {
    let table = Arc::new(Table::builtin());
    let store = Arc::new(skiff_store::memory::Memory::new(Arc::new(RowIndexer::new(table.clone()))));
    let options = Options {
        authorizer,
        admission: vec![],
        now: Arc::new(SystemTime::now),
        random: Arc::new(rand::random::<u32>),
        tokens: None,
        services: Default::default(),
    };
    let (material, ca, client) = certificates();
    let config = Config {
        address: "127.0.0.1:0".parse().unwrap(),
        tls: Tls::new(&material).unwrap(),
        registry: Registry::new(store, table, options),
        authenticators: vec![Arc::new(Certificates)],
        anonymous: Arc::new(|path| path.starts_with("/readyz").then(|| User::new(User::ANONYMOUS, [User::UNAUTHENTICATED]))),
        impersonation: Arc::new(skiff_auth::Impersonator(Arc::new(Masters))),
        checks: vec![skiff_apiserver::Check::new("ping", || Ok(()))],
        documents: vec![],
        proxy: None,
        kubelets: None,
        audit,
        metrics: vec![],
        flags: [("node-name".to_owned(), "a".to_owned())].into(),
        seats: 100,
    };
    World { handle: Server::start(config).await.unwrap(), ca, client }
}

impl World {
    async fn send(&self, with_certificate: bool, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = if with_certificate {
            let chain = vec![CertificateDer::from_pem_slice(self.client.0.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(self.client.1.as_bytes()).unwrap()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        let socket = tokio::net::TcpStream::connect(self.handle.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }
    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (StatusCode, http::HeaderMap, Bytes) {
        let request = headers.iter().fold(Request::builder().method(method).uri(path).header("host", "x"), |r, (k, v)| r.header(*k, *v));
        let response = self.send(true, request.body(Full::new(body.into())).unwrap()).await;
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }
    async fn json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (StatusCode, Value) {
        let (status, _, body) = self.call(method, path, headers, body).await;
        (status, skiff_json::from_slice(&body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&body))))
    }
}

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

fn map(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}}).to_string()
}

#[tokio::test]
async fn who_asks_decides() {
    let w = world().await;
    let get = |path: &str| Request::builder().uri(path).header("host", "x").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(w.send(false, get("/api")).await.status(), 401);
    assert_eq!(w.send(false, get("/readyz")).await.status(), 200);
    assert_eq!(w.send(true, get("/api")).await.status(), 200);
    let with = |token: &str| {
        Request::builder().uri("/api").header("host", "x").header("authorization", format!("Bearer {token}")).body(Full::<Bytes>::default()).unwrap()
    };
    assert_eq!(w.send(false, with("good")).await.status(), 200);
    assert_eq!(w.send(false, with("bad")).await.status(), 401);
    let (code, v) = w.json("GET", MAPS, &[("impersonate-user", "bob")], "").await;
    assert_eq!((code.as_u16(), &v["reason"]), (403, &json!("Forbidden")));
}

#[tokio::test]
async fn objects_come_and_go_in_every_encoding() {
    let w = world().await;
    let (code, v) = w.json("POST", MAPS, &[("content-type", "application/json")], map("x")).await;
    assert_eq!((code.as_u16(), &v["metadata"]["namespace"]), (201, &json!("a")));
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\n";
    let (code, v) = w.json("POST", MAPS, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(code, 201, "{v}");
    let protobuf = ("accept", "application/vnd.kubernetes.protobuf");
    let (_, headers, bytes) = w.call("GET", &format!("{MAPS}/x"), &[protobuf], "").await;
    assert_eq!(headers["content-type"], "application/vnd.kubernetes.protobuf");
    assert!(bytes.starts_with(b"k8s\0"));
    w.call("DELETE", &format!("{MAPS}/x"), &[], "").await;
    let (code, v) = w.json("POST", MAPS, &[("content-type", "application/vnd.kubernetes.protobuf")], bytes).await;
    assert_eq!((code.as_u16(), &v["message"]), (500, &json!("resourceVersion should not be set on objects to be created")));
    let (_, _, text) = w.call("GET", &format!("{MAPS}/yam"), &[("accept", "application/yaml")], "").await;
    assert!(text.starts_with(b"apiVersion: v1\n"), "{text:?}");
    for (path, headers, body, code) in
        [(format!("{MAPS}/nope"), vec![], String::new(), 404), (format!("{MAPS}/yam"), vec![("accept", "text/html")], String::new(), 406)]
    {
        let (got, v) = w.json("GET", &path, &headers, body).await;
        assert_eq!((got.as_u16(), &v["kind"]), (code, &json!("Status")), "{path}");
    }
    // What nobody serves is answered by Go's own handler.
    for path in ["/apis/nope/v1/things", "/nope"] {
        let (got, _, text) = w.call("GET", path, &[], "").await;
        assert_eq!((got.as_u16(), text.as_ref()), (404, &b"404 page not found\n"[..]), "{path}");
    }
    let (code, _) = w.json("POST", MAPS, &[("content-type", "text/plain")], map("z")).await;
    assert_eq!(code, 415);
    let (code, _) = w.json("POST", MAPS, &[("content-type", "application/json")], "[".repeat(20_000)).await;
    assert_eq!(code, 400);
    let (code, _) = w.json("POST", MAPS, &[("content-type", "application/json")], vec![b' '; 4 << 20]).await;
    assert_eq!(code, 413);
}

/// Paths and methods that there are not, and how that is told.
#[tokio::test]
async fn what_is_not_there_is_refused() {
    let w = world().await;
    w.call("POST", MAPS, &[], map("x")).await;
    for (method, path, code) in [
        ("DELETE", "/api/v1/configmaps", 405),
        ("POST", "/api/v1/configmaps", 405),
        ("PUT", "/api/v1/configmaps", 405),
        ("PATCH", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/configmaps/x", 404),
        ("GET", "/api/v1/namespaces//configmaps", 200),
        ("GET", "/api/v1/namespaces/%2e%2e/configmaps", 500),
        ("GET", "/api/v1/namespaces/a/nodes", 404),
        ("GET", "//api/v1", 404),
        ("HEAD", MAPS, 405),
        ("DELETE", "/api/v1", 405),
        ("POST", "/api", 405),
        ("POST", "/apis/apps", 405),
        ("GET", "/api/v1/namespaces/a/configmaps/x", 200),
    ] {
        assert_eq!(w.call(method, path, &[], "").await.0, code, "{method} {path}");
    }
    let missing = format!("{MAPS}/none");
    for (accept, media, start) in [
        ("application/yaml", "application/yaml", &b"apiVersion: v1\n"[..]),
        ("application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf", b"k8s\0"),
        ("text/html", "application/json", b"{\"kind\""),
    ] {
        let (code, headers, body) = w.call("GET", &missing, &[("accept", accept)], "").await;
        let wanted = if accept == "text/html" { 406 } else { 404 };
        assert_eq!((code.as_u16(), headers["content-type"].to_str().unwrap()), (wanted, media), "{accept}");
        assert!(body.starts_with(start), "{accept}: {body:?}");
    }
    assert_eq!(w.call("GET", &format!("{MAPS}?watch=1"), &[("accept", "application/yaml")], "").await.0, 406);
    assert_eq!(w.call("GET", "/openapi/v2", &[("accept", "text/plain")], "").await.0, 406);
    let (code, headers, _) = w.call("GET", "/openapi/v3/apis/apps/v1?hash=0", &[], "").await;
    let to = headers["location"].to_str().unwrap().to_owned();
    assert_eq!(code, 301);
    let (code, headers, _) = w.call("GET", &to, &[], "").await;
    assert_eq!((code.as_u16(), format!("/openapi/v3/apis/apps/v1?hash={}", headers["etag"].to_str().unwrap().trim_matches('"'))), (200, to));
}

#[tokio::test]
async fn tables_and_warnings() {
    let w = world().await;
    w.call("POST", MAPS, &[], map("x")).await;
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let (_, v) = w.json("GET", MAPS, &[table], "").await;
    assert_eq!((&v["kind"], &v["rows"][0]["cells"][0], &v["rows"][0]["cells"][1]), (&json!("Table"), &json!("x"), &json!(1)));
    assert_eq!(v["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let beta = ("accept", "application/json;as=Table;v=v1beta1;g=meta.k8s.io");
    let (_, v) = w.json("GET", MAPS, &[beta], "").await;
    assert_eq!((&v["apiVersion"], &v["rows"][0]["object"]["apiVersion"]), (&json!("meta.k8s.io/v1beta1"), &json!("meta.k8s.io/v1beta1")));
    let (_, v) = w.json("GET", MAPS, &[("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")], "").await;
    assert_eq!((&v["kind"], &v["items"][0]["metadata"]["name"]), (&json!("PartialObjectMetadataList"), &json!("x")));
    let review =
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}})
            .to_string();
    let only_table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    assert_eq!(w.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &[only_table], review).await.0, 406);
    let body = map("y").replace("\"data\"", "\"daata\":1,\"data\"");
    let (code, headers, _) = w.call("POST", MAPS, &[], body).await;
    assert_eq!((code.as_u16(), headers["warning"].to_str().unwrap()), (201, "299 - \"unknown field \\\"daata\\\"\""));
    // That a whole API goes is told first; where there is no route, nothing goes.
    let ends = MAPS.replace("configmaps", "endpoints");
    let odd = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "e"}, "bogus": 1}).to_string();
    let (_, headers, _) = w.call("POST", &ends, &[], odd).await;
    let told: Vec<&str> = headers.get_all("warning").iter().map(|h| h.to_str().unwrap()).collect();
    assert!(told.len() == 2 && told[0].contains("v1 Endpoints is deprecated") && told[1].contains("bogus"), "{told:?}");
    for (method, accept, warned) in [("GET", "application/json;as=Foo", true), ("GET", "text/plain", false), ("PUT", "*/*", false)] {
        let (code, headers, _) = w.call(method, &ends, &[("accept", accept)], "").await;
        assert!(code.is_client_error() && headers.contains_key("warning") == warned, "{method} {accept}: {code}");
    }
}

#[tokio::test]
async fn documents_are_tagged() {
    let w = world().await;
    let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let (code, headers, _) = w.call("GET", "/apis", &[accept], "").await;
    assert_eq!(code, 200);
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(w.call("GET", "/apis", &[accept, ("if-none-match", &tag)], "").await.0, 304);
    let (_, v) = w.json("GET", "/openapi/v3", &[], "").await;
    let path = v["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let (code, headers, packed) = w.call("GET", &path, &[("accept-encoding", "gzip")], "").await;
    assert_eq!((code.as_u16(), headers["content-encoding"].to_str().unwrap()), (200, "gzip"));
    assert!(packed.starts_with(&[0x1f, 0x8b]));
    assert_eq!(w.call("GET", "/readyz?verbose", &[], "").await.2, "[+]ping ok\nreadyz check passed\n");
    let (_, v) = w.json("GET", "/flagz", &[("accept", "application/json;as=Flagz;g=config.k8s.io;v=v1beta1")], "").await;
    assert_eq!(v, json!({"kind": "Flagz", "apiVersion": "config.k8s.io/v1beta1", "metadata": {"name": "kube-apiserver"}, "flags": {"node-name": "a"}}));
    let (code, headers, text) = w.call("GET", "/statusz", &[], "").await;
    assert_eq!((code.as_u16(), headers["content-type"].to_str().unwrap()), (200, "text/plain; charset=utf-8"));
    assert!(text.starts_with(b"\nkube-apiserver statusz\nWarning: "), "{text:?}");
    let slis = String::from_utf8_lossy(&w.call("GET", "/metrics/slis", &[], "").await.2).into_owned();
    assert!(slis.contains("kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"readyz\"} 1"), "{slis}");
    let metrics = String::from_utf8_lossy(&w.call("GET", "/metrics", &[], "").await.2).into_owned();
    for name in [
        "apiserver_request_total{code=\"200\",component=\"apiserver\"",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"catch-all\"}",
        "apiserver_resource_objects{group=\"apps\",resource=\"deployments\"} 0",
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}

/// A level for bob with one seat and no queues: while his watch begins nothing else of his runs, and answers tell where
/// they belong.
#[tokio::test]
async fn requests_are_classified_and_turned_away() {
    let w = world().await;
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": {"name": "narrow"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 1}}}}});
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "bob"},
        "spec": {"matchingPrecedence": 7, "priorityLevelConfiguration": {"name": "narrow"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "bob"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}]}]}});
    const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let (_, level) = w.json("POST", &format!("{FLOW}/prioritylevelconfigurations"), &[], level.to_string()).await;
    let (_, schema) = w.json("POST", &format!("{FLOW}/flowschemas"), &[], schema.to_string()).await;
    // The server follows the objects; the condition says that it has.
    let path = format!("{FLOW}/flowschemas/bob");
    let mut seen = Value::Null;
    for _ in 0..200 {
        (_, seen) = w.json("GET", &path, &[], "").await;
        if seen["status"]["conditions"][0]["status"] == "False" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!((&seen["status"]["conditions"][0]["type"], &seen["status"]["conditions"][0]["reason"]), (&json!("Dangling"), &json!("Found")));
    // No seats and a queue for one: the first waits, the second is turned away at once.
    let bob = [("impersonate-user", "bob")];
    let (first, second) = (w.call("GET", MAPS, &bob, ""), w.call("GET", MAPS, &bob, ""));
    tokio::pin!(first, second);
    let (code, headers, body) = tokio::select! { a = &mut first => a, b = &mut second => b };
    assert_eq!((code.as_u16(), headers["retry-after"].to_str().unwrap(), &body[..]), (429, "1", &b"Too many requests, please try again later.\n"[..]));
    let uid = |v: &Value| v["metadata"]["uid"].as_str().unwrap().to_owned();
    assert_eq!(headers["x-kubernetes-pf-flowschema-uid"].to_str().unwrap(), uid(&schema));
    assert_eq!(headers["x-kubernetes-pf-prioritylevel-uid"].to_str().unwrap(), uid(&level));
    let (_, _, queues) = w.call("GET", "/debug/api_priority_and_fairness/dump_queues", &[], "").await;
    let queues = String::from_utf8(queues.to_vec()).unwrap();
    let narrow: Vec<&str> = queues.lines().find(|l| l.starts_with("narrow")).unwrap().split(',').map(str::trim).take(4).collect();
    assert_eq!(narrow, ["narrow", "0", "1", "0"]);
    let (_, _, requests) = w.call("GET", "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1", &[], "").await;
    assert!(String::from_utf8_lossy(&requests).contains("configmaps"));
}

const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n  resources: [{group: '', resources: [secrets]}]\n- level: RequestResponse\n  omitManagedFields: true\n";

/// What is recorded of requests: who, what, how it ended; bodies by the policy, never those of secrets.
#[tokio::test]
async fn requests_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = LogOptions {
        path: path.clone(),
        max_age: 0,
        max_backups: 0,
        max_size: 0,
        compress: false,
        legacy: false,
        mode: Mode::Blocking,
        batching: Batching::LOG,
        truncation: None,
    };
    let auditor = Auditor::start(&Setup { policy: Policy::read(POLICY).unwrap(), log: Some(log), webhook: None }, Arc::new(SystemTime::now)).unwrap();
    let w = audited(Some(auditor.clone())).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}}).to_string();
    let (_, headers, _) =
        w.call("POST", "/api/v1/namespaces/a/secrets", &[("audit-id", "mine"), ("x-forwarded-for", "10.9.8.7"), ("user-agent", "test/1")], secret).await;
    assert_eq!(headers["audit-id"], "mine");
    w.call("POST", MAPS, &[("content-type", "application/yaml")], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yam}\n").await;
    w.call("GET", MAPS, &[("impersonate-user", "bob")], "").await;
    w.call("GET", &format!("{MAPS}/none"), &[], "").await;
    let bad = Request::builder().uri("/api").header("host", "x").header("authorization", "Bearer bad").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(w.send(false, bad).await.status(), 401);
    let watch = Request::builder().uri(format!("{MAPS}?watch=true&resourceVersion=0")).header("host", "x").body(Full::<Bytes>::default()).unwrap();
    let mut watch = w.send(true, watch).await.into_body();
    assert!(watch.frame().await.is_some());
    drop(watch);
    w.handle.stop(std::time::Duration::from_secs(5)).await;
    auditor.stop(std::time::Duration::from_secs(5)).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let events: Vec<Value> = text.lines().map(|l| skiff_json::from_str(l).unwrap()).collect();
    let told = |e: &Value| {
        [&e["stage"], &e["verb"], &e["level"], &e["responseStatus"]["code"], &e["annotations"]["authorization.k8s.io/decision"]]
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .join(" ")
    };
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        [
            "ResponseComplete create Metadata 201 allow",
            "ResponseComplete create RequestResponse 201 allow",
            "ResponseComplete list RequestResponse 403 forbid",
            "ResponseComplete get RequestResponse 404 allow",
            "ResponseStarted get RequestResponse 401 null",
            "ResponseStarted watch RequestResponse 200 allow",
            "ResponseComplete watch RequestResponse 200 allow",
        ]
    );
    let (secret, map, bob, unknown) = (&events[0], &events[1], &events[2], &events[4]);
    assert!(!text.contains("hidden") && !text.contains("aGlkZGVu"));
    assert_eq!(
        (&secret["auditID"], &secret["sourceIPs"], &secret["userAgent"], &secret["user"]["username"]),
        (&json!("mine"), &json!(["10.9.8.7", "127.0.0.1"]), &json!("test/1"), &json!("admin"))
    );
    assert_eq!((&secret["objectRef"]["name"], &secret["requestURI"]), (&json!("s"), &json!("/api/v1/namespaces/a/secrets")));
    assert_eq!(
        (&map["requestObject"]["metadata"]["name"], &map["responseObject"]["kind"], map["responseObject"]["metadata"].get("managedFields")),
        (&json!("yam"), &json!("ConfigMap"), None)
    );
    assert_eq!(
        (&bob["impersonatedUser"]["username"], &bob["responseStatus"]["reason"], &bob["responseObject"]["kind"]),
        (&json!("bob"), &json!("Forbidden"), &json!("Status"))
    );
    assert_eq!((&unknown["responseStatus"]["message"], &unknown["user"]), (&json!("Authentication failed, attempted: bearer"), &json!({})));
}

#[tokio::test]
async fn watches_stream_and_end_with_the_server() {
    let w = world().await;
    let request = Request::builder().uri(format!("{MAPS}?watch=true&resourceVersion=0")).header("host", "x").body(Full::<Bytes>::default()).unwrap();
    let mut watch = w.send(true, request).await.into_body();
    w.call("POST", MAPS, &[], map("x")).await;
    let frame = watch.frame().await.unwrap().unwrap().into_data().unwrap();
    let v: Value = skiff_json::from_slice(&frame).unwrap();
    assert_eq!((&v["type"], &v["object"]["metadata"]["name"], frame.last()), (&json!("ADDED"), &json!("x"), Some(&b'\n')));
    let World { handle, .. } = w;
    tokio::join!(handle.stop(std::time::Duration::from_secs(5)), async {
        assert!(watch.frame().await.is_none(), "a clean end");
    });
}

/// Computes, in namespace `slow`, until it is told to go on.
#[derive(Default)]
struct Slow {
    computing: parking_lot::Mutex<usize>,
    free: parking_lot::Mutex<bool>,
    changed: parking_lot::Condvar,
}
impl Slow {
    fn release(&self) {
        *self.free.lock() = true;
        self.changed.notify_all();
    }
}
#[async_trait::async_trait]
impl Authorizer for Slow {
    async fn authorize(&self, _: &User, action: &Action) -> Decision {
        if matches!(action, Action::Resource { target, .. } if target.namespace == "slow") {
            *self.computing.lock() += 1;
            let mut free = self.free.lock();
            while !*free {
                self.changed.wait(&mut free);
            }
        }
        Decision::Allow
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<Value>, Vec<Value>) {
        Default::default()
    }
}

/// More large requests than there are workers compute, and small ones are answered before any of them ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_computes_for_long_keeps_nobody_waiting() {
    let slow = Arc::new(Slow::default());
    let w = Arc::new(made(None, slow.clone()).await);
    // Without its own place for such requests the server would hang, and with it this test.
    let (late, end) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), slow.clone());
    let (over, waiting) = std::sync::mpsc::channel::<()>();
    let told = late.clone();
    let watch = std::thread::spawn(move || {
        if waiting.recv_timeout(std::time::Duration::from_secs(60)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            told.store(true, std::sync::atomic::Ordering::SeqCst);
            end.release();
        }
    });
    let places = std::thread::available_parallelism().unwrap().get();
    let heavy: Vec<_> = (0..places + 3)
        .map(|i| {
            let (w, body) = (
                w.clone(),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{i}")}, "data": {"k": "v".repeat(100_000)}}).to_string(),
            );
            tokio::spawn(async move { w.call("POST", "/api/v1/namespaces/slow/configmaps", &[], body).await.0 })
        })
        .collect();
    while *slow.computing.lock() < places {
        tokio::task::yield_now().await;
    }
    for (path, code) in [("/readyz", 200), ("/api/v1/namespaces/a/configmaps", 200), ("/api/v1/namespaces/a/configmaps/x", 404)] {
        assert_eq!(w.call("GET", path, &[], "").await.0, code, "{path}");
    }
    assert_eq!(w.call("POST", MAPS, &[], map("x")).await.0, 201);
    assert!(heavy.iter().all(|h| !h.is_finished()));
    assert!(*slow.computing.lock() <= places, "no more compute at once than there are cores");
    assert!(!late.load(std::sync::atomic::Ordering::SeqCst), "nothing was answered while large requests computed");
    slow.release();
    for h in heavy {
        assert_eq!(h.await.unwrap(), 201);
    }
    drop(over);
    watch.join().unwrap();
}

/// Refusals of the authoriser alone say that their type is not to be guessed; documents say since when they are so.
#[tokio::test]
async fn headers_of_refusals_and_documents() {
    let w = world().await;
    for (method, path, code, nosniff) in [("GET", MAPS, 403, true), ("DELETE", "/metrics", 403, true), ("GET", "/apis/nope/v1/x", 403, true)] {
        let (status, headers, _) = w.call(method, path, &[("impersonate-user", "bob")], "").await;
        assert_eq!((status.as_u16(), headers.contains_key("x-content-type-options")), (code, nosniff), "{path}");
    }
    let (status, headers, _) = w.call("GET", &format!("{MAPS}/none"), &[], "").await;
    assert_eq!((status.as_u16(), headers.contains_key("x-content-type-options")), (404, false));
    for path in ["/openapi/v2", "/openapi/v3/apis/apps/v1", "/openapi/v3"] {
        let (status, headers, body) = w.call("GET", path, &[], "").await;
        assert_eq!((status.as_u16(), &headers["cache-control"], body.is_empty()), (200, &http::HeaderValue::from_static("no-cache, private"), false), "{path}");
        let since = headers["last-modified"].to_str().unwrap().to_owned();
        if path == "/openapi/v3" {
            let (status, headers, body) = w.call("GET", path, &[("accept", "application/yaml")], "").await;
            assert_eq!((status.as_u16(), &headers["content-type"], body[0]), (200, &http::HeaderValue::from_static("text/plain; charset=utf-8"), b'{'));
            assert_eq!(w.call("GET", path, &[("if-modified-since", &since)], "").await.0, 304);
            continue;
        }
        let tag = headers["etag"].to_str().unwrap().to_owned();
        for (name, value, code) in
            [("if-modified-since", since.as_str(), 304), ("if-modified-since", "Thu, 01 Jan 1970 00:00:10 GMT", 200), ("if-none-match", tag.as_str(), 304)]
        {
            let (status, headers, body) = w.call("GET", path, &[(name, value)], "").await;
            assert_eq!((status.as_u16(), body.is_empty(), headers.contains_key("last-modified")), (code, code == 304, code == 200), "{path} {name}");
        }
        let (status, ..) = w.call("GET", path, &[("if-none-match", "\"other\""), ("if-modified-since", &since)], "").await;
        assert_eq!(status, 200, "a tag is asked for before a time");
    }
}
