//! Requests in the audit trail: where the record of one begins, and what it learns.
use crate::{
    asked::Asked,
    inbound::{self, Peer},
    passage::Passage,
    server::Server,
};
use http::{Response, header, request::Parts};
use skiff_audit::{About, Record};
use skiff_meta::Status;
use skiff_registry::table::Resource;
use skiff_request::{Call, User, Verb};
use std::sync::atomic::Ordering;

impl Server {
    /// Begins the record of a request whose user is known.
    pub(crate) async fn recorded(&self, parts: &Parts, asked: &Asked, user: &User, passage: &mut Passage) -> Result<(), Status> {
        let Some(mut record) = self.record(parts, asked, Some(user)) else { return Ok(()) };
        let received = record.received().await;
        passage.record = Some(record);
        received.map_err(|_| {
            self.metrics.unrecorded.fetch_add(1, Ordering::Relaxed);
            Status::internal("failed to store audit event")
        })
    }

    /// Records a request of somebody who was not recognised.
    pub(crate) async fn unrecognised(&self, parts: &Parts, asked: &Asked, status: &Status) {
        let Some(mut record) = self.record(parts, asked, None) else { return };
        record.message(attempts(parts));
        record.code(status.code);
        record.unrecognised().await;
    }

    fn record(&self, parts: &Parts, asked: &Asked, user: Option<&User>) -> Option<Record> {
        let auditor = self.config.audit.as_ref()?;
        let text = |name: header::HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        auditor.begin(About {
            id: text(header::HeaderName::from_static("audit-id")),
            user,
            verb: asked.word,
            uri: parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
            target: asked.target(),
            sources: inbound::sources(&parts.headers, parts.extensions.get::<Peer>().map(|p| p.0)),
            agent: text(header::USER_AGENT),
            received: self.config.registry.system_time(),
        })
    }
}

/// The body of a call, as JSON, for its record.
pub(crate) fn request(record: &mut Record, call: &Call, row: Option<&Resource>) {
    if call.body.is_empty() || !(record.wants_request() || call.verb == Verb::Create && !record.knows_object()) {
        return;
    }
    if call.content_type.ends_with("json") {
        return record.request(&call.body);
    }
    if call.verb == Verb::Patch {
        // An applied configuration is YAML.
        if let Ok((json, _)) = skiff_codec::yaml_to_json(&call.body) {
            record.request(&json);
        }
        return;
    }
    let kind = row.and_then(|r| r.body_kind(&call.target.resource.version, &call.target.subresource));
    if let (Some(row), Some(kind)) = (row, kind)
        && let Ok(decoded) = row.shape.decode(&kind, &call.content_type, &call.body)
    {
        record.request(decoded.value.to_string().as_bytes());
    }
}

/// What credentials there were, as upstream tells it.
fn attempts(parts: &Parts) -> String {
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let scheme = |s: &str| authorization.get(..s.len()).is_some_and(|a| a.eq_ignore_ascii_case(s));
    let tried: Vec<&str> = [("basic ", "basic"), ("bearer ", "bearer")].into_iter().filter(|(s, _)| scheme(s)).map(|(_, name)| name).collect();
    if tried.is_empty() { "Authentication failed, no credentials provided".into() } else { format!("Authentication failed, attempted: {}", tried.join(", ")) }
}

/// What the record learns of the answer's head.
pub(crate) fn answered<B>(passage: &mut Passage, failed: Option<&Status>, response: &Response<B>) {
    let Some(record) = &mut passage.record else { return };
    if passage.deprecated {
        record.notes().add("k8s.io/deprecated", "true");
    }
    if let Some(status) = failed.or(passage.status.as_ref()) {
        record.status(status);
    }
    record.code(response.status().as_u16());
}
