//! The record of one request: begun when its user is known, told what happens, sent at each stage.
use crate::{
    auditor::Auditor,
    event::{Event, Object, Status, body},
    policy::{Asked, Level, Stage, Verdict},
};
use serde::Deserialize;
use skiff_json::Value;
use skiff_request::{Notes, Target, User};
use std::{net::IpAddr, sync::Arc, time::SystemTime};

/// What a request is, as its first line, its headers and its connection tell.
#[derive(Clone, Debug)]
pub struct About<'a> {
    pub id: &'a str,
    /// None: nobody was recognised.
    pub user: Option<&'a User>,
    pub verb: &'a str,
    /// Path and query.
    pub uri: String,
    pub target: Option<&'a Target>,
    pub sources: Vec<IpAddr>,
    pub agent: &'a str,
    pub received: SystemTime,
}

/// An outlet that is strict does not have the event of a request, which must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected;

/// As much of an object as names it.
#[derive(Deserialize)]
struct Named {
    metadata: Option<Value>,
}

/// The longest user agent that is recorded whole, bytes.
const AGENT: usize = 1024;

pub struct Record {
    auditor: Arc<Auditor>,
    event: Event,
    notes: Arc<Notes>,
    verdict: Verdict,
    done: bool,
}

impl Auditor {
    /// None when nothing is to be recorded of the request.
    pub fn begin(self: &Arc<Self>, about: About<'_>) -> Option<Record> {
        let path = about.uri.split('?').next().unwrap_or_default();
        let verdict = self.policy.of(&Asked { user: about.user, verb: about.verb, path, target: about.target });
        self.judged(verdict.level);
        if verdict.level == Level::None {
            return None;
        }
        let event = Event {
            level: verdict.level,
            id: about.id.to_owned(),
            verb: about.verb.to_owned(),
            user: about.user.cloned().unwrap_or_default(),
            sources: about.sources,
            agent: shortened(about.agent),
            object: about.target.map(Object::of),
            received: Some(about.received),
            uri: about.uri,
            ..Event::default()
        };
        Some(Record { auditor: self.clone(), event, notes: Arc::default(), verdict, done: false })
    }
}

fn shortened(agent: &str) -> String {
    if agent.len() <= AGENT {
        return agent.to_owned();
    }
    let end = (0..=AGENT).rev().find(|i| agent.is_char_boundary(*i)).unwrap_or_default();
    format!("{}...TRUNCATED", &agent[..end])
}

impl Record {
    /// Where annotations are gathered.
    pub fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }
    /// Whether the request's body is recorded.
    pub fn wants_request(&self) -> bool {
        self.verdict.level >= Level::Request
    }
    /// Whether the answer's is.
    pub fn wants_response(&self) -> bool {
        self.verdict.level >= Level::RequestResponse
    }

    /// The request is here. Err: it must not go on.
    pub async fn received(&mut self) -> Result<(), Rejected> {
        if self.send(Stage::RequestReceived).await {
            return Ok(());
        }
        self.auditor.reject();
        Err(Rejected)
    }
    /// It goes on as somebody else.
    pub fn impersonated(&mut self, user: &User) {
        self.event.impersonated = Some(user.clone());
    }
    /// Whether the path says which object it is about.
    pub fn knows_object(&self) -> bool {
        self.event.object.as_ref().is_none_or(|o| !o.name.is_empty())
    }
    /// The object that was sent, or the patch, as JSON; whatever is none is left out.
    pub fn request(&mut self, json: &[u8]) {
        if self.wants_request() {
            let Some((bytes, v)) = body(json, self.verdict.omit_managed_fields) else { return };
            self.event.request = Some(bytes);
            self.learn(&v["metadata"]);
        } else if let Ok(Named { metadata: Some(m) }) = skiff_json::from_slice(json) {
            self.learn(&m);
        }
    }
    fn learn(&mut self, metadata: &Value) {
        if let Some(o) = &mut self.event.object {
            o.learn(metadata);
        }
    }
    /// The object that was answered, as JSON.
    pub fn response(&mut self, json: &[u8]) {
        if self.wants_response()
            && let Some((bytes, _)) = body(json, self.verdict.omit_managed_fields)
        {
            self.event.response = Some(bytes);
        }
    }
    /// The Status that was answered, of an error or of a deletion.
    pub fn status(&mut self, s: &skiff_meta::Status) {
        self.event.status = Some(Status::of(s));
        self.response(&s.to_json());
    }
    /// The answer's code, as clients see it.
    pub fn code(&mut self, code: u16) {
        self.event.status.get_or_insert_default().code = code;
    }
    /// What the refusal of somebody unknown says of what was tried.
    pub fn message(&mut self, text: String) {
        self.event.status.get_or_insert_default().message = text;
    }

    /// A long answer begins.
    pub async fn started(&self) {
        self.send(Stage::ResponseStarted).await;
    }
    /// It never began: nobody knows who asks.
    pub async fn unrecognised(mut self) {
        self.done = true;
        self.send(Stage::ResponseStarted).await;
    }
    /// All is done.
    pub async fn complete(mut self) {
        self.done = true;
        self.send(Stage::ResponseComplete).await;
    }

    async fn send(&self, stage: Stage) -> bool {
        self.omits(stage) || self.auditor.send(&self.event, stage, &self.notes.all()).await
    }
    fn omits(&self, stage: Stage) -> bool {
        self.verdict.omit.contains(&stage)
    }
    fn send_now(&self, stage: Stage) {
        if !self.omits(stage) {
            self.auditor.send_now(&self.event, stage, &self.notes.all());
        }
    }
}

impl Drop for Record {
    /// The work on the request ended without an answer: its client went away, a stream is over, or the server panicked.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if std::thread::panicking() {
            let why = skiff_meta::Status::new(skiff_meta::Reason::InternalError, "APIServer panic'd");
            self.event.status = Some(Status::of(&why));
            return self.send_now(Stage::Panic);
        }
        if self.event.status.is_none() {
            self.event.status = Some(Status::closed_early());
        }
        self.send_now(Stage::ResponseComplete);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Policy,
        batch::Batching,
        outlet::{Form, Mode, Outlet, OutletError, Sink},
    };
    use bytes::Bytes;
    use parking_lot::Mutex;
    use skiff_json::json;
    use skiff_meta::{GroupVersionResource, Reason};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Value>>>, bool);
    #[async_trait::async_trait]
    impl Sink for Kept {
        async fn take(&mut self, events: &[Bytes]) -> Result<(), OutletError> {
            if self.1 {
                return Err(OutletError::Ended);
            }
            self.0.lock().extend(events.iter().map(|e| skiff_json::from_slice::<Value>(e).unwrap()));
            Ok(())
        }
    }

    fn auditor(level: &str, more: &str, kept: &Kept) -> Arc<Auditor> {
        let policy = Policy::read(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{more}\nrules: [{{level: {level}}}]")).unwrap();
        let (outlet, worker) = Outlet::start("log", Mode::BlockingStrict, Form::Json, Batching::LOG, None, kept.clone());
        Arc::new(Auditor::of(policy, vec![outlet], vec![worker], Arc::new(|| SystemTime::UNIX_EPOCH)))
    }

    fn begin(a: &Arc<Auditor>) -> Option<Record> {
        let (user, target) = (User::new("ann", ["dev"]), Target::new(GroupVersionResource::new("", "v1", "secrets"), "a", ""));
        let about = About {
            id: "i",
            user: Some(&user),
            verb: "create",
            uri: "/api/v1/namespaces/a/secrets?x=y".into(),
            target: Some(&target),
            sources: vec![],
            agent: "test",
            received: SystemTime::UNIX_EPOCH,
        };
        a.begin(about)
    }

    const SECRET: &[u8] = br#"{"metadata":{"name":"s","managedFields":[{}]},"data":{"k":"aGlkZGVu"}}"#;

    async fn written(level: &str, more: &str) -> Vec<Value> {
        let kept = Kept::default();
        let a = auditor(level, more, &kept);
        let mut r = begin(&a).unwrap();
        r.received().await.unwrap();
        r.notes().add("authorization.k8s.io/decision", "allow");
        r.notes().add("authorization.k8s.io/decision", "forbid");
        r.request(SECRET);
        r.response(SECRET);
        r.code(201);
        r.complete().await;
        kept.0.lock().clone()
    }

    #[tokio::test]
    async fn levels_say_what_is_recorded() {
        let events = written("Metadata", "").await;
        assert_eq!(events.iter().map(|e| e["stage"].as_str().unwrap()).collect::<Vec<_>>(), ["RequestReceived", "ResponseComplete"]);
        assert_eq!(
            (&events[1]["objectRef"]["name"], &events[1]["responseStatus"]["code"], &events[1]["annotations"]),
            (&json!("s"), &json!(201), &json!({"authorization.k8s.io/decision": "allow"}))
        );
        assert!(!format!("{events:?}").contains("aGlkZGVu"));
        let events = written("Request", "omitStages: [RequestReceived]").await;
        assert_eq!((events.len(), events[0]["requestObject"]["metadata"].get("managedFields").is_some(), events[0].get("responseObject")), (1, true, None));
        let events = written("RequestResponse", "omitManagedFields: true").await;
        assert_eq!((&events[1]["responseObject"]["metadata"], &events[1]["responseObject"]["data"]["k"]), (&json!({"name": "s"}), &json!("aGlkZGVu")));
    }

    #[tokio::test]
    async fn nothing_at_level_none_and_errors_by_their_status() {
        let kept = Kept::default();
        assert!(begin(&auditor("None", "", &kept)).is_none());
        let a = auditor("Metadata", "", &kept);
        let mut r = begin(&a).unwrap();
        r.status(&skiff_meta::Status::new(Reason::Forbidden, "no"));
        r.complete().await;
        let e = kept.0.lock().pop().unwrap();
        assert_eq!(
            (&e["responseStatus"]["reason"], &e["responseStatus"]["code"], &e["responseStatus"]["message"], e.get("responseObject")),
            (&json!("Forbidden"), &json!(403), &json!("no"), None)
        );
    }

    #[tokio::test]
    async fn who_goes_away_is_recorded() {
        let kept = Kept::default();
        let a = auditor("Metadata", "", &kept);
        drop(begin(&a).unwrap());
        a.stop(std::time::Duration::from_secs(5)).await;
        let e = kept.0.lock().pop().unwrap();
        assert_eq!((&e["stage"], &e["responseStatus"]["message"]), (&json!("ResponseComplete"), &json!("Connection closed early")));
    }

    #[tokio::test]
    async fn strict_outlets_refuse_what_they_do_not_have() {
        let a = auditor("Metadata", "", &Kept(Arc::default(), true));
        let mut r = begin(&a).unwrap();
        assert_eq!(r.received().await, Err(Rejected));
        let mut out = skiff_telemetry::metrics::Exposition::default();
        a.metrics(&mut out);
        let text = out.text();
        for line in [
            "apiserver_audit_event_total 1",
            "apiserver_audit_requests_rejected_total 1",
            "apiserver_audit_error_total{plugin=\"log\"} 1",
            "apiserver_audit_level_total{level=\"Metadata\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
