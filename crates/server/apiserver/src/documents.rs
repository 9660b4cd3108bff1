//! What is served by path and is no resource: discovery, OpenAPI, health, metrics, version, OpenID documents.
use crate::{
    aggregation::{Aggregation, V2Parts},
    answer::{self, Reply, full},
    asked::{Asked, no_such_method},
    discovery, error, health,
    negotiate::{self, Form, Shape},
    openapi,
    passage::Passage,
    route::Route,
    server::{Server, accept, browser},
    version, zpages,
};
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use skiff_json::Value;
use skiff_meta::{Reason, Status, Timestamp};
use skiff_request::{Query, User};
use skiff_telemetry::metrics::Exposition;

impl Server {
    pub(crate) async fn path(&self, parts: &Parts, user: &User, asked: Asked, passage: &Passage) -> Result<Response<Reply>, Status> {
        self.path_allowed(parts, user, passage).await?;
        let (route, query) = (asked.route, &asked.query);
        let path = parts.uri.path();
        let rows = self.config.registry.table().rows();
        let reads = parts.method == Method::GET;
        match route {
            Route::Api | Route::Apis if !reads => Err(no_such_method()),
            Route::Api | Route::Apis => {
                let core = route == Route::Api;
                let form = negotiate::negotiate(accept(parts), false, false, negotiate::Shapes::Nothing)?;
                if let Some(v) = form.discovery.as_deref().filter(|v| *v == "v2") {
                    let mut document = discovery::aggregated(&rows, core, v);
                    self.joined(!core, |a| a.join_discovery(&mut document));
                    return Ok(self.tagged(parts, &document, &format!("application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList")));
                }
                let mut v = if core { discovery::api_versions(&self.config.address.to_string()) } else { discovery::group_list(&rows) };
                self.joined(!core, |a| a.join_groups(&mut v));
                self.value(parts, query, &v)
            }
            Route::Group(g) if !self.has_group(&g) => Ok(error::missing()),
            Route::Group(_) if !reads => Err(no_such_method()),
            Route::Group(g) => {
                let ours = discovery::group(&rows, &g);
                let v = match &self.aggregation {
                    Some(a) => a.join_group(&g, ours),
                    None => ours,
                };
                self.value(parts, query, &v.ok_or_else(not_found)?)
            }
            Route::Version(g, v) => match discovery::resource_list(&rows, &g, &v) {
                Some(_) if !reads && self.built_in(&g) => Err(no_such_method()),
                Some(list) => self.value(parts, query, &list),
                None if self.built_in(&g) => Err(not_found()),
                None => Ok(error::missing()),
            },
            _ => match self.plain(parts, query, path).await {
                Err(s) if s.is(Reason::NotFound) => Ok(error::missing()),
                other => other,
            },
        }
    }

    /// Whether the group is one of Kubernetes' own: what is missing in it is told by a Status.
    pub(crate) fn built_in(&self, group: &str) -> bool {
        group.is_empty() || self.config.registry.table().rows().all().any(|r| r.group == group && r.custom.is_none())
    }

    fn has_group(&self, group: &str) -> bool {
        let rows = self.config.registry.table().rows();
        let ours = discovery::group(&rows, group);
        match &self.aggregation {
            Some(a) => a.join_group(group, ours).is_some(),
            None => ours.is_some(),
        }
    }

    fn joined(&self, wanted: bool, join: impl FnOnce(&Aggregation)) {
        if let Some(a) = self.aggregation.as_ref().filter(|_| wanted) {
            join(a);
        }
    }

    async fn plain(&self, parts: &Parts, query: &Query, path: &str) -> Result<Response<Reply>, Status> {
        if let Some(d) = self.config.documents.iter().find(|d| d.path == path) {
            let form = Form { media: Some(d.media_type), ..Form::JSON };
            return Ok(answer::response(200, &form, (d.make)().to_string().into(), &[]));
        }
        let mut steps = path.trim_matches('/').splitn(2, '/');
        let (first, rest) = (steps.next().unwrap_or_default(), steps.next());
        match (first, rest) {
            ("version", None) => Ok(indented(&version::info())),
            ("metrics", None) => Ok(exposed(parts, &self.exposition())),
            ("metrics", Some("slis")) => {
                let mut out = Exposition::default();
                self.health.write(&mut out);
                crate::metrics::process_start(&mut out);
                Ok(exposed(parts, &out))
            }
            ("debug", Some(what)) => {
                let which = what.strip_prefix("api_priority_and_fairness/").ok_or_else(not_found)?;
                let details = query.get("includeRequestDetails").is_some_and(|d| !d.is_empty());
                Ok(text("text/plain; charset=utf-8", self.flow.dump(which, details).ok_or_else(not_found)?))
            }
            ("openapi", Some("v2")) => self.openapi_v2(parts),
            ("openapi", Some("v3")) => {
                let mut index = openapi::v3_index(&self.config.registry.table().rows(), &self.served());
                self.joined(true, |a| a.join_v3_index(&mut index));
                Ok(self.openapi_v3_index(parts, &index))
            }
            ("openapi", Some(rest)) => self.openapi_v3(parts, query, rest.strip_prefix("v3/").ok_or_else(not_found)?),
            ("healthz" | "livez" | "readyz", one) => Ok(health::answer(first, one, &self.config.checks, query, &self.health).await),
            ("statusz", None) => zpages::answer(parts, &zpages::statusz(&self.paths())),
            ("flagz", None) => zpages::answer(parts, &zpages::flagz(&self.config.flags)),
            ("", None) => Ok(indented(&skiff_json::json!({"paths": self.paths()}))),
            _ => Err(not_found()),
        }
    }

    fn exposition(&self) -> Exposition {
        let mut out = Exposition::default();
        self.metrics.write(&mut out);
        self.config.registry.metrics(&mut out);
        self.flow.metrics(&mut out);
        match &self.config.audit {
            Some(a) => a.metrics(&mut out),
            None => out.single("apiserver_audit_event_total", "counter", "Audit events made", 0),
        }
        self.stored(&mut out);
        if let Some(a) = &self.aggregation {
            a.metrics(&mut out);
        }
        self.config.metrics.iter().for_each(|write| write(&mut out));
        crate::metrics::process(&mut out);
        let version = version::info();
        let of = |key: &str| version[key].as_str().unwrap_or_default().to_owned();
        out.family("kubernetes_build_info", "gauge", "What was built");
        let facts = ["buildDate", "compiler", "gitCommit", "gitTreeState", "gitVersion", "goVersion", "major", "minor", "platform"].map(of);
        let names = ["build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version", "major", "minor", "platform"];
        let labels: Vec<(&str, &str)> = names.into_iter().zip(facts.iter().map(String::as_str)).collect();
        out.sample("kubernetes_build_info", &labels, 1);
        out
    }

    /// How many objects there are of each resource, and their bytes.
    fn stored(&self, out: &mut Exposition) {
        let (table, store) = (self.config.registry.table().rows(), self.config.registry.store());
        let rows: Vec<_> = table.all().filter(|r| r.computed.is_none()).collect();
        let counts: Vec<(usize, u64)> = rows.iter().map(|r| store.count(&format!("{}/", r.storage))).collect();
        for (name, help) in
            [("apiserver_resource_objects", "Objects in the store"), ("apiserver_resource_size_estimate_bytes", "Bytes of objects in the store")]
        {
            out.family(name, "gauge", help);
            for (r, (objects, bytes)) in rows.iter().zip(&counts) {
                let value = if name == "apiserver_resource_objects" { *objects as u64 } else { *bytes };
                out.sample(name, &[("group", &r.group), ("resource", &r.plural)], value);
            }
        }
        // One cache holds all, and it is full from the start.
        for (name, kind, help) in [
            ("apiserver_watch_cache_initializations_total", "counter", "Times that what is present was read anew"),
            ("apiserver_watch_cache_resource_version", "gauge", "The revision that is present"),
        ] {
            out.family(name, kind, help);
            let value = if kind == "counter" { 1 } else { store.revision().0 };
            rows.iter().for_each(|r| out.sample(name, &[("group", &r.group), ("resource", &r.plural)], value));
        }
        if let Some(size) = store.size() {
            out.family("apiserver_storage_size_bytes", "gauge", "Size of the datastore on disk");
            out.sample("apiserver_storage_size_bytes", &[("storage_cluster_id", "etcd-0")], size);
        }
        out.single("skiff_store_revision", "gauge", "The store's revision", store.revision().0);
    }

    fn openapi_v2(&self, parts: &Parts) -> Result<Response<Reply>, Status> {
        let rows = self.config.registry.table().rows();
        let sources = Sources { rows: rows.version, remotes: self.aggregation.as_ref().map(|a| a.v2_parts()) };
        let Some(protobuf) = negotiate::openapi_protobuf(accept(parts), 2) else {
            let mut refused = Response::new(full(""));
            *refused.status_mut() = StatusCode::NOT_ACCEPTABLE;
            return Ok(refused);
        };
        let make = |of: &Sources| {
            let mut document = openapi::v2_document(&rows);
            if let Some(r) = &of.remotes {
                r.join(&mut document);
            }
            if protobuf { skiff_codec::openapi_v2_to_protobuf(&document) } else { document.to_string().into_bytes() }
        };
        let broken = |e: std::io::Error| Status::new(Reason::InternalError, format!("OpenAPI v2: {e}"));
        let kept = self.openapi_v2.get(protobuf, sources, make).map_err(broken)?;
        let media = if protobuf { "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" } else { "application/json" };
        let since = self.changed.of(media, &kept.etag, self.config.registry.now());
        let known = Self::has_copy_since(parts, &kept.etag, since);
        let finished = |body: bytes::Bytes| {
            let mut response = tagged_response(&kept.etag, known, body, media);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
            stamp(&mut response, since);
            response
        };
        if !known && crate::compress::accepts(parts) {
            let mut response = finished(kept.packed.clone());
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            return Ok(response);
        }
        let body = if known { Vec::new() } else { kept.unpacked().map_err(broken)? };
        Ok(finished(body.into()))
    }

    /// Paths of further documents, without the slash before them.
    fn served(&self) -> Vec<&'static str> {
        self.config.documents.iter().map(|d| d.path.trim_start_matches('/')).collect()
    }

    /// Upstream serves the index as a file without a name: a text, whatever is accepted.
    fn openapi_v3_index(&self, parts: &Parts, index: &Value) -> Response<Reply> {
        let body = index.to_string().into_bytes();
        let since = self.changed.of("v3", &etag(&body), self.config.registry.now());
        let known = Self::has_copy_since(parts, "", since);
        let mut response = Response::new(full(if known { Vec::new() } else { body }));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        for (name, text) in
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::ACCEPT_RANGES, "bytes"), (header::CACHE_CONTROL, "no-cache, private")]
        {
            response.headers_mut().insert(name, HeaderValue::from_static(text));
        }
        stamp(&mut response, since);
        response
    }

    /// `which` is a key of the index. With the right hash the answer never changes; with another the client is sent to
    /// the right one.
    fn openapi_v3(&self, parts: &Parts, query: &Query, which: &str) -> Result<Response<Reply>, Status> {
        let rows = self.config.registry.table().rows();
        let Some(protobuf) = negotiate::openapi_protobuf(accept(parts), 3) else {
            let mut refused = Response::new(full(""));
            *refused.status_mut() = StatusCode::NOT_ACCEPTABLE;
            return Ok(refused);
        };
        let (hash, make) = openapi::v3_find(&rows, &self.served(), which).ok_or_else(not_found)?;
        let asked = query.get("hash").filter(|h| !h.is_empty());
        if asked.is_some_and(|h| h != hash) {
            return Ok(moved(&format!("/openapi/v3/{which}?hash={hash}")));
        }
        let tag = format!("\"{hash}\"");
        let since = self.changed.of(which, &tag, self.config.registry.now());
        let known = Self::has_copy_since(parts, &tag, since);
        let body = match known {
            true => Vec::new(),
            false if protobuf => skiff_codec::openapi_v3_to_protobuf(&make().ok_or_else(not_found)?),
            false => make().ok_or_else(not_found)?.to_string().into_bytes(),
        };
        let media = if protobuf { "application/com.github.proto-openapi.spec.v3.v1.0+protobuf" } else { "application/json" };
        let mut response = tagged_response(&tag, known, body, media);
        let caching = if asked.is_some() { "public, immutable" } else { "no-cache, private" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        stamp(&mut response, since);
        if let Some(v) = asked.and_then(|_| HeaderValue::from_str(&expiry(self.config.registry.now())).ok()) {
            response.headers_mut().insert(header::EXPIRES, v);
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
        all.extend(self.config.documents.iter().map(|d| d.path.to_string()));
        for what in ["/healthz", "/livez", "/readyz"] {
            all.extend(self.config.checks.iter().filter(|c| c.asked_by(what.trim_start_matches('/'))).map(|c| format!("{what}/{}", c.name)));
        }
        all.extend(
            ["/flagz", "/healthz", "/livez", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/readyz", "/statusz", "/version"].map(str::to_owned),
        );
        all.sort();
        all
    }

    fn value(&self, parts: &Parts, query: &Query, v: &Value) -> Result<Response<Reply>, Status> {
        let form = negotiate::negotiate(accept(parts), query.flag("pretty") || browser(parts), false, negotiate::Shapes::Nothing)?;
        let body = answer::encode(&Form { shape: Shape::Whole, ..form.clone() }, &skiff_meta::GroupVersionKind::new("", "v1", ""), v.to_string().into())?;
        Ok(answer::response(200, &form, body, &[]))
    }

    /// A document with an ETag: 304 when the client has it.
    fn tagged(&self, parts: &Parts, v: &Value, media: &str) -> Response<Reply> {
        let body = v.to_string().into_bytes();
        let tag = etag(&body);
        let known = Self::has_copy(parts, &tag);
        tagged_response(&tag, known, if known { Vec::new() } else { body }, media)
    }

    /// Whether the client has the document, by its tag or, when it names none, by the time of its copy.
    fn has_copy_since(parts: &Parts, tag: &str, since: Timestamp) -> bool {
        if parts.headers.contains_key(header::IF_NONE_MATCH) {
            return Self::has_copy(parts, tag);
        }
        let asked = parts.headers.get(header::IF_MODIFIED_SINCE).and_then(|t| openapi::of_header(t.to_str().ok()?));
        asked.is_some_and(|t| since <= t)
    }

    /// Whether the client has the document of this tag.
    fn has_copy(parts: &Parts, tag: &str) -> bool {
        parts.headers.get(header::IF_NONE_MATCH).and_then(|t| t.to_str().ok()).is_some_and(|t| t.split(',').any(|t| t.trim() == tag))
    }
}

fn tagged_response(tag: &str, known: bool, body: impl Into<bytes::Bytes>, media: &str) -> Response<Reply> {
    let mut response = Response::new(full(body));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    for (name, text) in [(header::CONTENT_TYPE, media), (header::ETAG, tag), (header::CACHE_CONTROL, "public"), (header::VARY, "Accept")] {
        if let Ok(v) = HeaderValue::from_str(text) {
            headers.insert(name, v);
        }
    }
    response
}

/// Tells since when a document is as it is; a client that has it is told by the tag, and nothing of the body, as upstream's.
fn stamp(response: &mut Response<Reply>, since: Timestamp) {
    if response.headers().contains_key(header::ETAG) && response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_TYPE);
        return;
    }
    if let Ok(v) = HeaderValue::from_str(&openapi::header_date(since)) {
        response.headers_mut().insert(header::LAST_MODIFIED, v);
    }
}

/// When a document that never changes is to be asked for again: in a year.
fn expiry(now: Timestamp) -> String {
    const YEAR: i64 = 365 * 24 * 3600;
    jiff::Timestamp::from_second(now.0 + YEAR).map(|t| t.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()).unwrap_or_default()
}

/// Where the document of another hash is now.
fn moved(to: &str) -> Response<Reply> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(v) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, v);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// What the v2 document is made of.
#[derive(PartialEq)]
pub(crate) struct Sources {
    rows: u64,
    remotes: Option<V2Parts>,
}

pub(crate) fn etag(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA512, body);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    format!("\"{hex}\"")
}

fn not_found() -> Status {
    Status::generic(Reason::NotFound, "the server could not find the requested resource")
}

/// In the form that Prometheus asks for: protobuf, which alone has native histograms, or text.
fn exposed(parts: &Parts, e: &Exposition) -> Response<Reply> {
    let protobuf =
        accept(parts).is_some_and(|a| a.split(',').any(|m| m.trim().starts_with("application/vnd.google.protobuf") && m.contains("encoding=delimited")));
    if !protobuf {
        return text("text/plain; version=0.0.4; charset=utf-8", e.text());
    }
    let form = Form { media: Some("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"), ..Form::JSON };
    answer::response(200, &form, e.protobuf().into(), &[])
}

fn text(media: &'static str, body: String) -> Response<Reply> {
    answer::response(200, &Form { media: Some(media), ..Form::JSON }, body.into(), &[])
}

/// Documents that are always laid out for people.
fn indented(v: &Value) -> Response<Reply> {
    let body = skiff_json::to_vec_pretty(v).unwrap_or_default();
    answer::response(200, &Form::JSON, body.into(), &[])
}
