//! The server, and the way of one request.
use crate::{
    aggregation::Aggregation,
    answer::{self, Rendering, Reply, full},
    aside::{self, Size},
    asked::{self, Asked},
    audited, compress,
    config::Config,
    connect::Connect,
    error,
    flow::{self, Flow},
    health, identity, inbound,
    metrics::{self, Filter, Labels, Metrics},
    negotiate::{self, Form},
    passage::{Held, Passage},
    pieces::{self, Sent, Unfinished},
    route::Route,
    table,
    upkeep::upkeep,
    usage::Measure,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use skiff_aside::Places;
use skiff_meta::{Reason, Status};
use skiff_policy::{Action, Decision};
use skiff_registry::{
    print::Columns,
    table::{Computed, Resource, Role},
};
use skiff_request::{Answer, Call, Query, Service, Target, User, Verb};
use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Debug, Error)]
pub enum StartError {
    #[error("the API server cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

pub struct Server {
    pub(crate) config: Config,
    pub(crate) stop: CancellationToken,
    pub(crate) flow: Arc<Flow>,
    /// Where requests compute that may do so for long.
    pub(crate) places: Places,
    /// What health checks have come to.
    pub(crate) health: health::Results,
    pub(crate) metrics: Metrics,
    pub(crate) aggregation: Option<Arc<Aggregation>>,
    pub(crate) openapi_v2: crate::openapi::Cache<crate::documents::Sources>,
    /// When documents of OpenAPI changed.
    pub(crate) changed: crate::openapi::Changes,
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

/// Runs a loop until `stop`.
async fn stopped(work: impl Future<Output = ()>, stop: CancellationToken) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

impl Server {
    /// Takes the address; who connects waits until [`Server::start_on`] answers.
    pub async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
    }

    /// Listens and serves at once.
    pub async fn start(config: Config) -> Result<Handle, StartError> {
        let listener = Self::listen(config.address).await?;
        Self::start_on(config, listener)
    }

    /// Answers on what [`Server::listen`] took.
    pub fn start_on(config: Config, listener: TcpListener) -> Result<Handle, StartError> {
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.address, source })?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let flow = Arc::new(Flow::new(&config.registry, config.seats));
        tasks.spawn(flow::follow(flow.clone(), config.registry.clone(), stop.clone()));
        tasks.spawn(stopped(flow.control.clone().run(), stop.clone()));
        let aggregation = config.proxy.as_ref().map(|(identity, _)| Aggregation::new(config.registry.clone(), identity.clone()));
        if let Some(kubelets) = &config.kubelets {
            config.registry.serve_usages(Arc::new(Measure::new(config.registry.store().clone(), kubelets.clone())));
        }
        let front_proxies = config.proxy.as_ref().and_then(|(_, ca)| identity::authority_name(ca));
        if let Some(a) = &aggregation {
            tasks.spawn(a.clone().run(stop.clone()));
        }
        let server = Arc::new(Server {
            config,
            stop: stop.clone(),
            flow,
            places: Places::default(),
            health: Default::default(),
            metrics: Metrics::default(),
            aggregation,
            openapi_v2: Default::default(),
            changed: Default::default(),
            front_proxies,
        });
        tasks.spawn(upkeep(server.config.registry.clone(), stop.clone()));
        tasks.spawn(server.accept(listener, tasks.clone()));
        tracing::info!(target: "api", %address, "serving");
        Ok(Handle { address, stop, tasks })
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>, certificate: Option<identity::Peer>) -> Response<Reply> {
        let begun = Instant::now();
        let mut request = request;
        let audit = inbound::audit_id(request.headers_mut());
        let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
        if upgrade.is_some() {
            request.extensions_mut().insert(Held::default());
        }
        let (parts, body) = request.into_parts();
        let asked = Asked::of(&parts);
        let validation = asked.verb.is_some_and(Verb::writes).then(|| asked.query.get("fieldValidation").unwrap_or_default().to_owned());
        let series = self.metrics.series(Labels::of(&parts, &asked, |r, sub| self.serves(r, sub)));
        let (long_running, mut passage) = (asked.long_running, Passage { series: Some(series.clone()), ..Default::default() });
        let (mut response, failed) = match self.serve(&parts, asked, body, upgrade, certificate, &mut passage).await {
            Ok(r) => (compress::packed(&parts, r), None),
            Err(s) => (error::failure(&parts, &s), Some(s)),
        };
        audited::answered(&mut passage, failed.as_ref(), &response);
        let Passage { class, watching, deprecated, record, seat, .. } = passage;
        if let Some(class) = &class {
            flow::tell(response.headers_mut(), class);
        }
        if deprecated {
            self.metrics.deprecated(&series);
        }
        tracing::debug!(target: "api", method = parts.method.as_str(), path = parts.uri.path(), code = response.status().as_u16(), micros = begun.elapsed().as_micros(), "answered");
        if let Some(way) = validation {
            series.validated(&way, begun.elapsed());
        }
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if parts.method == Method::HEAD && !switched {
            *response.body_mut() = full(Bytes::new());
        }
        let code = response.status().as_u16();
        if response.extensions().get::<Unfinished>().is_some() && !response.body().is_end_stream() {
            let sent = Sent { series: series.clone(), begun, code, bytes: 0 };
            response = response.map(|body| pieces::followed(body, sent, seat));
        } else {
            series.answered(code, begun.elapsed(), response.body().size_hint().exact().filter(|_| !switched));
            drop(seat);
        }
        response.headers_mut().insert("audit-id", audit);
        if !long_running {
            if let Some(record) = record {
                record.complete().await;
            }
            return response;
        }
        if let Some(record) = &record {
            record.started().await;
        }
        let last = (watching, series.open(begun), record);
        match parts.extensions.get::<Held>().filter(|_| switched) {
            Some(held) => held.fill(last),
            None => return response.map(|body| answer::holding(body, last)),
        }
        response
    }

    async fn serve(
        &self,
        parts: &Parts,
        asked: Asked,
        body: Incoming,
        upgrade: Option<OnUpgrade>,
        certificate: Option<identity::Peer>,
        passage: &mut Passage,
    ) -> Result<Response<Reply>, Status> {
        let user = match self.recognised(parts, certificate.as_ref()).await {
            Ok(user) => user,
            Err(status) => {
                self.unrecognised(parts, &asked, &status).await;
                return Err(status);
            }
        };
        let begun = Instant::now();
        self.recorded(parts, &asked, &user, passage).await?;
        self.metrics.filters.took(Filter::Audit, begun);
        let begun = Instant::now();
        let user = match identity::impersonates(&parts.headers) {
            true => self.impersonated(parts, &asked, user, passage).await?,
            false => Arc::new(user),
        };
        self.metrics.filters.took(Filter::Impersonation, begun);
        let begun = Instant::now();
        passage.class = self.flow.classify(parts, &asked, &user);
        match self.flow.enter(passage.class.as_ref(), parts, &asked, &user).await {
            Ok(seat) => passage.seat = Some(seat),
            Err(refused) => {
                self.metrics.terminations.fetch_add(1, Ordering::Relaxed);
                return Ok(flow::refusal(&refused));
            }
        };
        self.metrics.filters.took(Filter::Fairness, begun);
        if asked.verb == Some(Verb::Watch) {
            passage.watching = self.flow.watching(&asked);
        }
        if let Some((a, place)) = self.elsewhere(&asked.route, parts.uri.path()) {
            self.allowed_elsewhere(parts, &user, &asked, passage).await?;
            return self.relayed(a.forward(place, parts, &user, body, upgrade).await);
        }
        match &asked.route {
            Route::Resource { target, rest, .. } if self.connects(target) => {
                let notes = passage.notes().map(|n| &**n);
                let c = Connect {
                    registry: &self.config.registry,
                    kubelets: self.config.kubelets.as_ref(),
                    parts,
                    target,
                    rest,
                    query: &asked.query,
                    user: &user,
                    notes,
                };
                self.relayed(c.serve(body, upgrade).await)
            }
            Route::Resource { .. } => self.resource(parts, body, user, asked, passage).await,
            _ => {
                let size = if made(parts.uri.path()) { Size::Document } else { Size::Small };
                aside::run(&self.places, &size, None, self.path(parts, &user, asked, passage)).await
            }
        }
    }

    /// What others stream through this server ends when it stops.
    fn relayed(&self, answer: Result<Response<Reply>, Status>) -> Result<Response<Reply>, Status> {
        answer.map(|r| r.map(|body| answer::until(body, self.stop.clone())))
    }

    /// Who asks.
    async fn recognised(&self, parts: &Parts, certificate: Option<&identity::Peer>) -> Result<User, Status> {
        let credentials = identity::credentials(certificate, self.front_proxies.as_deref(), &parts.headers);
        if let Some(peer) = certificate.filter(|_| credentials.certificate.is_some()) {
            self.metrics.expirations.0.observe((peer.expires - self.config.registry.now().0) as f64);
        }
        let begun = Instant::now();
        let found = identity::authenticate(&self.config.authenticators, &credentials).await;
        let failed = usize::from(!found.as_ref().is_ok_and(Option::is_some));
        self.metrics.filters.took(Filter::Authentication, begun);
        self.metrics.authentications[failed].fetch_add(1, Ordering::Relaxed);
        self.metrics.authentication_times[failed].0.observe(begun.elapsed().as_secs_f64());
        if let Ok(Some(user)) = &found {
            self.metrics.by_user[usize::from(user.name != metrics::COUNTED[0])].fetch_add(1, Ordering::Relaxed);
        }
        match found? {
            Some(user) => Ok(user),
            None => (self.config.anonymous)(parts.uri.path()).ok_or_else(|| Status::unauthorized("")),
        }
    }

    /// Whether a resource, or a subresource of it, is served here or behind this server.
    fn serves(&self, r: &skiff_meta::GroupVersionResource, sub: &str) -> bool {
        let row = self.config.registry.table().at(&r.group, &r.resource, &r.version);
        row.is_some_and(|row| sub.is_empty() || row.subresource(sub).is_some())
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

    /// The user that the request wants to be, if its own may be that.
    async fn impersonated(&self, parts: &Parts, asked: &Asked, user: User, passage: &mut Passage) -> Result<Arc<User>, Status> {
        let headers = identity::texts(&parts.headers);
        let user = Arc::new(self.config.impersonation.act_as(user, &headers, &asked.action(parts)?).await?);
        if let Some(record) = passage.record.as_mut() {
            record.impersonated(&user);
        }
        Ok(user)
    }

    async fn allowed_elsewhere(&self, parts: &Parts, user: &User, asked: &Asked, passage: &Passage) -> Result<(), Status> {
        let Some(target) = asked.target() else { return self.path_allowed(parts, user, passage).await };
        let verb = asked.known_verb()?;
        self.config.registry.authorize_narrowed(user, verb.as_str(), target, &asked.query, passage.notes().map(|n| &**n)).await
    }

    fn connects(&self, target: &Target) -> bool {
        let r = &target.resource;
        let row = self.config.registry.table().at(&r.group, &r.resource, &r.version);
        row.and_then(|row| row.subresource(&target.subresource).map(|s| s.role == Role::Connect)).unwrap_or(false)
    }

    async fn resource(&self, parts: &Parts, body: Incoming, user: Arc<User>, asked: Asked, passage: &mut Passage) -> Result<Response<Reply>, Status> {
        let Asked { route: Route::Resource { target, .. }, query, verb, .. } = asked else { return Err(Status::internal("no resource was asked for")) };
        let registry = &self.config.registry;
        let r = &target.resource;
        let row = registry.table().at(&r.group, &r.resource, &r.version);
        let custom = row.as_ref().is_some_and(|row| row.custom.is_some());
        let refused = || if custom { Status::method_not_allowed(&target.group_resource(), parts.method.as_str()) } else { asked::no_such_method() };
        let verb = verb.ok_or_else(refused)?;
        if parts.method == Method::HEAD && row.is_some() {
            registry.authorize_narrowed(&user, verb.as_str(), &target, &query, passage.notes().map(|n| &**n)).await?;
            return Err(refused());
        }
        // Media types that no route makes are refused before there is one.
        let form = self
            .form(parts, &query, verb, row.as_deref(), target.subresource == "status")
            .map_err(|s| if s.message.starts_with("406: ") { s } else { told(s, deprecation(row.as_deref(), &target).as_deref()) })?;
        let mut call = Call::new(verb, target);
        call.content_type = inbound::media_type(&parts.headers);
        call.user_agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        call.query = query;
        if verb.writes() {
            call.body = inbound::body(body).await?;
        }
        let (size, series) = (self.size(parts, &call), passage.series.clone());
        aside::run(&self.places, &size, series.as_ref().map(|s| &s.past), self.worked(parts, user, call, row, form, passage)).await
    }

    /// What is known of a call before it is worked on.
    fn size(&self, parts: &Parts, call: &Call) -> Size {
        match call.verb {
            Verb::List | Verb::Watch => {
                let (objects, bytes) = self.flow.sizes.of(&call.target);
                Size::List { objects, bytes }
            }
            verb if verb.writes() => Size::Body { bytes: call.body.len(), packed: inbound::packed(&parts.headers) },
            _ => Size::Small,
        }
    }

    /// A call whose body is there, and its answer.
    async fn worked(
        &self,
        parts: &Parts,
        user: Arc<User>,
        mut call: Call,
        row: Option<Arc<Resource>>,
        form: Form,
        passage: &mut Passage,
    ) -> Result<Response<Reply>, Status> {
        let registry = &self.config.registry;
        if call.verb.writes() {
            if inbound::packed(&parts.headers) {
                call.body = inbound::unpack(&call.body)?;
            }
            if let Some(series) = &passage.series {
                series.body(call.body.len());
            }
        }
        if let Some(record) = &mut passage.record {
            call.notes = Some(record.notes().clone());
            audited::request(record, &call, row.as_deref());
        }
        let watched = (call.verb == Verb::Watch && row.is_some()).then(|| self.metrics.watch(&call.target.resource));
        let listed = (call.verb == Verb::List).then(|| call.target.clone());
        let patched = call.verb == Verb::Patch;
        let unserved = row.is_none() && !self.built_in(&call.target.resource.group);
        let warning = deprecation(row.as_deref(), &call.target);
        let include = match call.query.get("includeObject") {
            Some("None") => table::Include::None,
            Some("Object") => table::Include::Object,
            Some(other) if !matches!(other, "" | "Metadata") && form.shape == negotiate::Shape::Table => {
                let why =
                    format!("Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty");
                return Err(told(Status::bad_request(why), warning.as_deref()));
            }
            _ => table::Include::Metadata,
        };
        let inner = row.as_ref().map_or(&[][..], |r| r.strategy.inner_annotations);
        let list_kind = row.as_ref().filter(|r| r.custom.is_some()).map(|r| r.list_kind());
        let scaled = row.as_ref().is_some_and(|r| r.custom.is_none() && r.subresource(&call.target.subresource).is_some_and(|s| s.role == Role::Scale));
        let columns = match row {
            _ if scaled => Columns::scale(),
            Some(r) => r.columns.clone(),
            None => Columns::name_and_age(),
        };
        let source = table::Source { columns, now: registry.now(), include, version: form.meta, inner };
        let mut response = match registry.serve(user, call).await {
            Ok(answer) => {
                if let (Some(target), Answer::List(l)) = (listed, &answer) {
                    self.flow.sizes.note_list(&target, l);
                }
                if let Some(record) = &mut passage.record {
                    record.answer(&answer);
                }
                answer::respond(answer, &Rendering { form: &form, columns: &source, list_kind, stop: self.stop.clone(), watched })
                    .map_err(|s| told(s, warning.as_deref()))?
            }
            // Neither ours nor of a definition: nobody has been asked.
            Err(status) if status.is(Reason::NotFound) && unserved => {
                let response = error::missing();
                passage.status = Some(status);
                return Ok(response);
            }
            Err(status) => {
                let response = error::failure(parts, &status);
                passage.status = Some(status);
                response
            }
        };
        // Where no route is, or none for such a body, nothing is deprecated.
        let nowhere = response.status() == StatusCode::METHOD_NOT_ALLOWED || (patched && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE);
        if let Some(w) = warning.as_ref().filter(|_| !nowhere) {
            passage.deprecated = true;
            answer::warn_first(response.headers_mut(), w);
        }
        Ok(response)
    }

    fn form(&self, parts: &Parts, query: &Query, verb: Verb, row: Option<&Resource>, status: bool) -> Result<Form, Status> {
        let pretty = pretty(parts, query);
        let protobuf = row.is_some_and(|r| r.shape.table(&r.stored_gvk()).is_some());
        let shapes = match row {
            // Reviews are no objects: nothing but themselves can be made of them.
            Some(r) if !matches!(r.computed, None | Some(Computed::ComponentStatus | Computed::Usage)) => negotiate::Shapes::Nothing,
            Some(r) if status && r.strategy.status_without_table => negotiate::Shapes::Metadata,
            _ => negotiate::Shapes::All,
        };
        let mut form = negotiate::negotiate(accept(parts), pretty && verb != Verb::Watch, protobuf, shapes);
        // A list and a watch are one route.
        if let Err(s) = &mut form
            && matches!(verb, Verb::List | Verb::Watch)
        {
            negotiate::name_streams(s);
        }
        if verb == Verb::Watch && form.as_ref().is_ok_and(|f| f.encoding == negotiate::Encoding::Yaml) {
            return Err(negotiate::no_stream());
        }
        form
    }

    pub(crate) async fn path_allowed(&self, parts: &Parts, user: &User, passage: &Passage) -> Result<(), Status> {
        let action = Action::Path { verb: parts.method.as_str().to_ascii_lowercase(), path: parts.uri.path().to_owned() };
        match self.config.registry.decide(user, &action, passage.notes().map(|n| &**n)).await {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => Err(forbidden_path(user, parts, &why)),
        }
    }
}

/// Whether what is at a path is made of everything that is served or counted.
fn made(path: &str) -> bool {
    ["/openapi/", "/metrics", "/debug/"].iter().any(|p| path.starts_with(p))
}

/// What a client is told of a version that goes. A subresource that the kind lacks is nobody's, and not deprecated.
fn deprecation(row: Option<&Resource>, target: &Target) -> Option<Cow<'static, str>> {
    let row = row.filter(|row| target.subresource.is_empty() || row.subresource(&target.subresource).is_some())?;
    row.custom.as_ref().map_or(row.strategy.deprecated.map(Cow::Borrowed), |c| c.warning.clone())
}

fn told(refusal: Status, warning: Option<&str>) -> Status {
    refusal.warned(&warning.iter().map(ToString::to_string).collect::<Vec<_>>())
}

pub(crate) fn accept(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok())
}

/// Whether the answer is laid out for people.
pub(crate) fn pretty(parts: &Parts, query: &Query) -> bool {
    match query.get("pretty") {
        Some(p) => !matches!(p, "0" | "false"),
        None => browser(parts),
    }
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
    Status { details: Some(Box::default()), unauthorized: true, ..Status::new(Reason::Forbidden, text) }
}
