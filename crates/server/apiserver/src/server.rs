//! The listener, connections, and the way of one request.
use crate::{
    aggregation::{Aggregation, ProxyIdentity},
    answer::{self, Rendering, Reply, full},
    compress,
    connect::{Connect, KubeletTls},
    error,
    health::Check,
    identity, inbound,
    metrics::{Gauge, Labels, Metrics},
    negotiate::{self, Form},
    route::{Route, route},
    table,
    tls::Tls,
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
    /// What API servers behind this one (APIService) see of it, and the authority that signed it, PEM: certificates of this
    /// authority speak for others by `X-Remote-*` headers. Without it there is no aggregation.
    pub proxy: Option<(ProxyIdentity, Vec<u8>)>,
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
    pub(crate) config: Config,
    stop: CancellationToken,
    in_flight: tokio::sync::Semaphore,
    pub(crate) metrics: Metrics,
    pub(crate) aggregation: Option<Arc<Aggregation>>,
    /// The name of the front proxies' authority, DER.
    front_proxies: Option<Vec<u8>>,
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
        let aggregation = config.proxy.as_ref().map(|(identity, _)| Aggregation::new(config.registry.clone(), identity.clone()));
        let front_proxies = config.proxy.as_ref().and_then(|(_, ca)| identity::authority_name(ca));
        if let Some(a) = &aggregation {
            tasks.spawn(a.clone().run(stop.clone()));
        }
        let server = Arc::new(Server { config, stop: stop.clone(), in_flight, metrics: Metrics::default(), aggregation, front_proxies });
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
        let certificate = tls.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| identity::peer(c));
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

    async fn answer(&self, request: Request<Incoming>, certificate: Option<identity::Peer>) -> Response<Reply> {
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

    async fn serve(&self, parts: &Parts, body: Incoming, upgrade: Option<OnUpgrade>, certificate: Option<identity::Peer>) -> Result<Response<Reply>, Status> {
        let credentials = identity::credentials(certificate.as_ref(), self.front_proxies.as_deref(), &parts.headers);
        let user = match identity::authenticate(&self.config.authenticators, &credentials).await? {
            Some(user) => user,
            None => (self.config.anonymous)(parts.uri.path()).ok_or_else(|| Status::unauthorized(""))?,
        };
        let user = Arc::new(identity::impersonate(&self.config.registry, user, &parts.headers).await?);
        let query = inbound::query(parts.uri.query());
        let route = route(parts.uri.path());
        if let Some((a, place)) = self.elsewhere(&route, parts.uri.path()) {
            self.allowed_elsewhere(parts, &user, &query, &route).await?;
            return a.forward(place, parts, &user, body, upgrade).await;
        }
        match route {
            Route::Resource { target, rest, .. } if self.connects(&target) => {
                let c = Connect { registry: &self.config.registry, kubelets: self.config.kubelets.as_ref(), parts, target: &target, rest: &rest, query: &query, user: &user };
                c.serve(body, upgrade).await
            }
            Route::Resource { target, watch, .. } => self.resource(parts, body, user, query, target, watch).await,
            other => self.path(parts, &user, &query, other).await,
        }
    }

    /// The group version that another server serves, if the request is for one.
    fn elsewhere(&self, route: &Route, path: &str) -> Option<(&Arc<Aggregation>, (String, String))> {
        let a = self.aggregation.as_ref()?;
        let place = match route {
            Route::Resource { target: t, .. } => (&*t.resource.group, &*t.resource.version),
            Route::Version(g, v) => (g.as_str(), v.as_str()),
            Route::Path => path.strip_prefix("/openapi/v3/apis/")?.split_once('/')?,
            _ => return None,
        };
        a.serves(place.0, place.1).then(|| (a, (place.0.to_owned(), place.1.to_owned())))
    }

    async fn allowed_elsewhere(&self, parts: &Parts, user: &User, query: &Query, route: &Route) -> Result<(), Status> {
        let Route::Resource { target, watch, .. } = route else { return self.path_allowed(parts, user).await };
        let watching = *watch || (query.flag("watch") && parts.method == Method::GET && target.name.is_empty());
        let verb = inbound::verb(&parts.method, &target.name, watching).ok_or_else(|| Status::method_not_allowed(&target.group_resource(), parts.method.as_str()))?;
        self.config.registry.authorize(user, verb.as_str(), target).await
    }

    fn connects(&self, target: &Target) -> bool {
        let r = &target.resource;
        let row = self.config.registry.table().at(&r.group, &r.resource, &r.version);
        row.and_then(|row| row.subresource(&target.subresource).map(|s| s.role == Role::Connect)).unwrap_or(false)
    }

    async fn resource(&self, parts: &Parts, body: Incoming, user: Arc<User>, query: Query, target: Target, watch: bool) -> Result<Response<Reply>, Status> {
        let registry = &self.config.registry;
        let r = &target.resource;
        let row = registry.table().at(&r.group, &r.resource, &r.version);
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
            Some(other) if !matches!(other, "" | "Metadata") && form.shape == negotiate::Shape::Table => {
                return Err(Status::bad_request(format!("Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty")));
            }
            _ => table::Include::Metadata,
        };
        call.query = query;
        let warning = row.as_ref().and_then(|r| r.custom.as_ref().map_or(r.strategy.deprecated.map(std::borrow::Cow::Borrowed), |c| c.warning.clone()));
        let list_kind = row.as_ref().filter(|r| r.custom.is_some()).map(|r| r.list_kind());
        let columns = row.map(|r| r.columns.clone()).unwrap_or_else(skiff_registry::print::Columns::name_and_age);
        let source = table::Source { columns, now: registry.now(), include };
        let mut response = match registry.serve(user, call).await {
            Ok(answer) => answer::respond(answer, &Rendering { form: &form, columns: &source, list_kind, stop: self.stop.clone() })?,
            Err(status) => error::failure(&status),
        };
        if let Some(w) = warning {
            answer::warn(response.headers_mut(), &w);
        }
        Ok(response)
    }

    fn form(&self, parts: &Parts, query: &Query, verb: Verb, row: Option<&skiff_registry::table::Resource>) -> Result<Form, Status> {
        let pretty = match query.get("pretty") {
            Some(p) => !matches!(p, "0" | "false"),
            None => browser(parts),
        };
        let protobuf = row.is_some_and(|r| r.shape.table(&r.stored_gvk()).is_some());
        // Reviews are no objects: nothing but themselves can be made of them.
        let shapes = row.is_none_or(|r| matches!(r.computed, None | Some(Computed::ComponentStatus)));
        let mut form = negotiate::negotiate(accept(parts), pretty && verb != Verb::Watch, protobuf, shapes);
        if let Err(s) = &mut form && verb == Verb::Watch {
            negotiate::name_streams(s);
        }
        form
    }

    pub(crate) async fn path_allowed(&self, parts: &Parts, user: &User) -> Result<(), Status> {
        let action = Action::Path { verb: parts.method.as_str().to_ascii_lowercase(), path: parts.uri.path().to_owned() };
        match self.config.registry.authorizer().authorize(user, &action).await {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => Err(forbidden_path(user, parts, &why)),
        }
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

pub(crate) fn accept(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok())
}

/// People read indented JSON.
pub(crate) fn browser(parts: &Parts) -> bool {
    let agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|b| agent.starts_with(b))
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
