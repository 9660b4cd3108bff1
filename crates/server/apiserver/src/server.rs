//! The listener, connections, and the way of one request.
use crate::{
    answer::{self, Rendering, Reply, full},
    compress,
    connect::{Connect, KubeletTls},
    discovery, error, health,
    health::Check,
    identity, inbound,
    metrics::{Gauge, Labels, Metrics},
    negotiate::{self, Form, Shape},
    openapi,
    route::{Route, route},
    table,
    tls::Tls,
    version,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::{body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use serde_json::Value;
use skiff_meta::{Reason, Status};
use skiff_policy::{Action, Authenticator, Decision};
use skiff_registry::{Registry, table::{Computed, Role}};
use skiff_request::{Call, Query, Service, Target, User, Verb};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::{Duration, Instant}};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Debug, Error)]
pub enum StartError {
    #[error("the API server cannot listen on {address}")]
    Listen { address: SocketAddr, #[source] source: std::io::Error },
}

/// What a server is made of.
pub struct Config {
    pub address: SocketAddr,
    pub tls: Tls,
    pub registry: Arc<Registry>,
    /// Asked in order.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Who asks without credentials, by path; None refuses.
    pub anonymous: fn(&str) -> Option<User>,
    pub checks: Vec<Check>,
    /// Further documents by path, such as those of OpenID discovery; authorised as any path.
    pub documents: Vec<Document>,
    /// The way to kubelets; without it logs and streams are unavailable.
    pub kubelets: Option<KubeletTls>,
    /// Requests other than watches and connections that are served at once; more get 429.
    pub max_in_flight: usize,
}

/// A JSON document that is served at a path.
#[derive(Clone)]
pub struct Document {
    pub path: &'static str,
    pub media_type: &'static str,
    pub make: Arc<dyn Fn() -> Value + Send + Sync>,
}

pub struct Server {
    config: Config,
    stop: CancellationToken,
    in_flight: tokio::sync::Semaphore,
    metrics: Metrics,
}

/// A running server.
pub struct Handle {
    pub address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Handle {
    /// Ends watches, refuses new connections, and waits up to `grace` for requests that run.
    pub async fn stop(self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(target: "api", "requests still ran when the server stopped");
        }
    }
}

/// Events past their time are looked for this often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// History is forgotten this often, up to where it was the time before: a token or a watch lives at least so long.
const COMPACT_EVERY: Duration = Duration::from_secs(300);

async fn upkeep(registry: Arc<Registry>, stop: CancellationToken) {
    let (mut expire, mut compact) = (tokio::time::interval(EXPIRE_EVERY), tokio::time::interval(COMPACT_EVERY));
    let mut before = skiff_meta::Revision::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = expire.tick() => {
                registry.expire().await;
            }
            _ = compact.tick() => {
                if before > registry.store().oldest() && let Err(error) = registry.store().compact(before).await {
                    tracing::warn!(target: "api", %error, revision = before.0, "compaction failed");
                }
                before = registry.store().revision();
            }
        }
    }
}

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Server {
    pub async fn start(config: Config) -> Result<Handle, StartError> {
        let address = config.address;
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let in_flight = tokio::sync::Semaphore::new(config.max_in_flight);
        let server = Arc::new(Server { config, stop: stop.clone(), in_flight, metrics: Metrics::default() });
        tasks.spawn(upkeep(server.config.registry.clone(), stop.clone()));
        tasks.spawn(server.accept(listener, tasks.clone()));
        tracing::info!(target: "api", %address, "serving");
        Ok(Handle { address, stop, tasks })
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        tasks.spawn(self.clone().connection(socket, peer));
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: give others time to close.
                        tracing::warn!(target: "api", %error, "accept failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        let _ = socket.set_nodelay(true);
        let acceptor = tokio_rustls::TlsAcceptor::from(self.config.tls.config());
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return tracing::debug!(target: "api", %peer, %error, "TLS handshake failed"),
            Err(_) => return,
        };
        let certificate = tls.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| identity::subject(c));
        let server = self.clone();
        let service = service_fn(move |request| {
            let (server, certificate) = (server.clone(), certificate.clone());
            async move { Ok::<_, Infallible>(server.answer(request, certificate).await) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000).keep_alive_interval(Duration::from_secs(30));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(target: "api", %peer, error, "connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, certificate: Option<(String, Vec<String>)>) -> Response<Reply> {
        let audit = audit_id(&request);
        let mut request = request;
        let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let (begun, running) = (Instant::now(), Gauge::up(&self.metrics.inflight));
        let mut response = match self.serve(&parts, body, upgrade, certificate).await {
            Ok(r) => compress::packed(&parts, r).await,
            Err(s) => error::failure(&s),
        };
        drop(running);
        self.metrics.answered(labels(&parts), response.status().as_u16(), begun.elapsed());
        if parts.method == Method::HEAD && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            *response.body_mut() = full(Bytes::new());
        }
        response.headers_mut().insert("audit-id", audit);
        response
    }

    async fn serve(&self, parts: &Parts, body: Incoming, upgrade: Option<OnUpgrade>, certificate: Option<(String, Vec<String>)>) -> Result<Response<Reply>, Status> {
        let credentials = identity::credentials(certificate, &parts.headers);
        let user = match identity::authenticate(&self.config.authenticators, &credentials).await? {
            Some(user) => user,
            None => (self.config.anonymous)(parts.uri.path()).ok_or_else(|| Status::unauthorized(""))?,
        };
        let user = Arc::new(identity::impersonate(&self.config.registry, user, &parts.headers).await?);
        let query = inbound::query(parts.uri.query());
        match route(parts.uri.path()) {
            Route::Resource { target, rest, .. } if self.connects(&target) => {
                let c = Connect { registry: &self.config.registry, kubelets: self.config.kubelets.as_ref(), parts, target: &target, rest: &rest, query: &query, user: &user };
                c.serve(body, upgrade).await
            }
            Route::Resource { target, watch, .. } => self.resource(parts, body, user, query, target, watch).await,
            other => self.path(parts, &user, &query, other).await,
        }
    }

    fn connects(&self, target: &Target) -> bool {
        let r = &target.resource;
        let row = self.config.registry.table().get(&r.group, &r.resource).filter(|row| row.serves(&r.version));
        row.and_then(|row| row.subresource(&target.subresource).map(|s| s.role == Role::Connect)).unwrap_or(false)
    }

    async fn resource(&self, parts: &Parts, body: Incoming, user: Arc<User>, query: Query, target: Target, watch: bool) -> Result<Response<Reply>, Status> {
        let registry = &self.config.registry;
        let r = &target.resource;
        let row = registry.table().get(&r.group, &r.resource).filter(|row| row.serves(&r.version));
        let collection = target.name.is_empty() || target.resource.resource.is_empty();
        let watching = watch || (query.flag("watch") && parts.method == Method::GET && collection);
        let verb = inbound::verb(&parts.method, &target.name, watching).ok_or_else(|| Status::method_not_allowed(&target.group_resource(), parts.method.as_str()))?;
        let _permit = match verb {
            Verb::Watch => None,
            _ => Some(self.in_flight.try_acquire().map_err(|_| Status::too_many_requests("too many requests, please try again later", 1))?),
        };
        let form = self.form(parts, &query, verb, row.as_deref())?;
        let mut call = Call::new(verb, target);
        call.content_type = inbound::media_type(&parts.headers);
        call.user_agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        if verb.writes() {
            call.body = inbound::body(&parts.headers, body).await?;
        }
        let include = match query.get("includeObject") {
            Some("None") => table::Include::None,
            Some("Object") => table::Include::Object,
            _ => table::Include::Metadata,
        };
        call.query = query;
        let deprecated = row.as_ref().and_then(|r| r.strategy.deprecated);
        let answer = match registry.serve(user, call).await {
            Ok(answer) => answer,
            Err(status) => return Ok(answer::warned(error::failure(&status), deprecated)),
        };
        let columns = row.map(|r| r.columns.clone()).unwrap_or_else(skiff_registry::print::Columns::name_and_age);
        let source = table::Source { columns, now: registry.now(), include };
        let response = answer::respond(answer, &Rendering { form: &form, columns: &source, stop: self.stop.clone() })?;
        Ok(answer::warned(response, deprecated))
    }

    fn form(&self, parts: &Parts, query: &Query, verb: Verb, row: Option<&skiff_registry::table::Resource>) -> Result<Form, Status> {
        let pretty = match query.get("pretty") {
            Some(p) => !matches!(p, "0" | "false"),
            None => browser(parts),
        };
        let protobuf = row.is_some_and(|r| r.shape.table(&r.stored_gvk()).is_some());
        // Reviews are no objects: nothing but themselves can be made of them.
        let shapes = row.is_none_or(|r| matches!(r.computed, None | Some(Computed::ComponentStatus)));
        negotiate::negotiate(accept(parts), pretty && verb != Verb::Watch, protobuf, shapes)
    }

    async fn path(&self, parts: &Parts, user: &User, query: &Query, route: Route) -> Result<Response<Reply>, Status> {
        let path = parts.uri.path();
        let action = Action::Path { verb: parts.method.as_str().to_ascii_lowercase(), path: path.to_owned() };
        match self.config.registry.authorizer().authorize(user, &action).await {
            Decision::Allow => {}
            Decision::Deny(why) | Decision::NoOpinion(why) => return Err(forbidden_path(user, parts, &why)),
        }
        let rows = self.config.registry.table().rows();
        match route {
            Route::Api | Route::Apis => {
                let core = route == Route::Api;
                let form = negotiate::negotiate(accept(parts), false, false, false)?;
                if let Some(v) = form.discovery.as_deref().filter(|v| matches!(*v, "v2" | "v2beta1")) {
                    return Ok(self.tagged(parts, &discovery::aggregated(&rows, core, v), &format!("application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList")));
                }
                let v = if core { discovery::api_versions(&self.config.address.to_string()) } else { discovery::group_list(&rows) };
                self.value(parts, query, &v)
            }
            Route::Group(g) => self.value(parts, query, &discovery::group(&rows, &g).ok_or_else(not_found)?),
            Route::Version(g, v) => self.value(parts, query, &discovery::resource_list(&rows, &g, &v).ok_or_else(not_found)?),
            _ => self.plain(parts, query, path),
        }
    }

    fn plain(&self, parts: &Parts, query: &Query, path: &str) -> Result<Response<Reply>, Status> {
        if let Some(d) = self.config.documents.iter().find(|d| d.path == path) {
            let form = Form { media: Some(d.media_type), ..Form::JSON };
            return Ok(answer::response(200, &form, (d.make)().to_string().into(), &[]));
        }
        let mut steps = path.trim_matches('/').splitn(2, '/');
        let (first, rest) = (steps.next().unwrap_or_default(), steps.next());
        match (first, rest) {
            ("version", None) => Ok(indented(&version::info())),
            ("metrics", None) => {
                let form = Form { media: Some("text/plain; version=0.0.4; charset=utf-8"), ..Form::JSON };
                Ok(answer::response(200, &form, self.metrics.text(self.config.registry.store().revision().0).into(), &[]))
            }
            ("openapi", Some("v2")) => self.openapi_v2(parts),
            ("openapi", Some("v3")) => self.value(parts, query, &openapi::v3_index(&self.config.registry.table().rows())),
            ("openapi", Some(rest)) => self.openapi_v3(parts, query, rest.strip_prefix("v3/").ok_or_else(not_found)?),
            ("healthz" | "livez" | "readyz", one) => Ok(health::answer(first, one, &self.config.checks, query)),
            ("", None) => Ok(indented(&serde_json::json!({"paths": self.paths()}))),
            _ => Err(not_found()),
        }
    }

    fn openapi_v2(&self, parts: &Parts) -> Result<Response<Reply>, Status> {
        let rows = self.config.registry.table().rows();
        let document = openapi::v2_document(&rows);
        if accept(parts).is_some_and(|a| a.contains("application/com.github.proto-openapi.spec.v2@v1.0+protobuf")) {
            return Ok(self.tagged_bytes(parts, skiff_codec::openapi_v2_to_protobuf(&document), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"));
        }
        Ok(self.tagged(parts, &document, "application/json"))
    }

    /// `which` is `api/v1` or `apis/GROUP/VERSION`. With the right hash the answer never changes.
    fn openapi_v3(&self, parts: &Parts, query: &Query, which: &str) -> Result<Response<Reply>, Status> {
        let rows = self.config.registry.table().rows();
        let (group, version) = match which.split('/').collect::<Vec<_>>()[..] {
            ["api", version] => ("", version),
            ["apis", group, version] => (group, version),
            ["version"] => return self.value(parts, query, &openapi::v3_version()),
            _ => return Err(not_found()),
        };
        let document = openapi::v3_document(&rows, group, version).ok_or_else(not_found)?;
        let mut response = self.tagged(parts, &document, "application/json");
        if query.get("hash").is_some() {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Ok(response)
    }

    fn paths(&self) -> Vec<String> {
        let rows = self.config.registry.table().rows();
        let mut all: Vec<String> = vec!["/api".into(), "/api/v1".into(), "/apis".into(), "/apis/".into()];
        for g in rows.groups().iter().filter(|g| !g.is_empty()) {
            all.push(format!("/apis/{g}"));
            all.extend(discovery::versions(&rows, g).iter().map(|v| format!("/apis/{g}/{v}")));
        }
        all.extend(["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
        all.sort();
        all
    }

    fn value(&self, parts: &Parts, query: &Query, v: &Value) -> Result<Response<Reply>, Status> {
        let form = negotiate::negotiate(accept(parts), query.flag("pretty") || browser(parts), false, false)?;
        let body = answer::encode(&Form { shape: Shape::Whole, ..form.clone() }, &skiff_meta::GroupVersionKind::new("", "v1", ""), v.to_string().into())?;
        Ok(answer::response(200, &form, body, &[]))
    }

    /// A document with an ETag: 304 when the client has it.
    fn tagged(&self, parts: &Parts, v: &Value, media: &str) -> Response<Reply> {
        self.tagged_bytes(parts, v.to_string().into_bytes(), media)
    }

    fn tagged_bytes(&self, parts: &Parts, body: Vec<u8>, media: &str) -> Response<Reply> {
        let tag = etag(&body);
        let known = parts.headers.get(header::IF_NONE_MATCH).and_then(|t| t.to_str().ok()).is_some_and(|t| t.split(',').any(|t| t.trim() == tag));
        let mut response = Response::new(full(if known { Vec::new() } else { body }));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        for (name, text) in [(header::CONTENT_TYPE, media), (header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "public"), (header::VARY, "Accept")] {
            if let Ok(v) = HeaderValue::from_str(text) {
                headers.insert(name, v);
            }
        }
        response
    }
}

/// What a request is counted under: never by names, which are many.
fn labels(parts: &Parts) -> Labels {
    let mut l = Labels { verb: parts.method.as_str().to_owned(), ..Default::default() };
    if let Route::Resource { target, .. } = route(parts.uri.path()) {
        l.group = target.resource.group.into_owned();
        l.version = target.resource.version.into_owned();
        l.resource = target.resource.resource.into_owned();
        l.subresource = target.subresource;
        if l.verb == "GET" && target.name.is_empty() {
            l.verb = if inbound::query(parts.uri.query()).flag("watch") { "WATCH" } else { "LIST" }.into();
        }
    }
    l
}

pub(crate) fn etag(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA512, body);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    format!("\"{hex}\"")
}

fn accept(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok())
}

/// People read indented JSON.
fn browser(parts: &Parts) -> bool {
    let agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|b| agent.starts_with(b))
}

fn not_found() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

fn forbidden_path(user: &User, parts: &Parts, why: &str) -> Status {
    let mut text = format!("forbidden: User {:?} cannot {} path {:?}", user.name, parts.method.as_str().to_ascii_lowercase(), parts.uri.path());
    if !why.is_empty() {
        text = format!("{text}: {why}");
    }
    Status { details: Some(Box::default()), ..Status::new(Reason::Forbidden, text) }
}

/// The client's own id, or a new one.
fn audit_id(request: &Request<Incoming>) -> HeaderValue {
    let given = request.headers().get("audit-id").filter(|v| v.len() <= 64).cloned();
    given.unwrap_or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("")))
}

/// Documents that are always laid out for people.
fn indented(v: &Value) -> Response<Reply> {
    let body = serde_json::to_vec_pretty(v).unwrap_or_default();
    answer::response(200, &Form::JSON, body.into(), &[])
}
