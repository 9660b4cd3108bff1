//! One event of the audit trail as `audit.k8s.io/v1` writes it. Pure.
use crate::policy::{Level, Stage};
use bytes::Bytes;
use serde::Serialize;
use skiff_json::{RawValue, Value};
use skiff_meta::MicroTime;
use skiff_request::{Target, User};
use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

/// What is known of a request so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub level: Level,
    pub id: String,
    pub uri: String,
    pub verb: String,
    pub user: User,
    pub impersonated: Option<User>,
    pub sources: Vec<IpAddr>,
    pub agent: String,
    pub object: Option<Object>,
    pub status: Option<Status>,
    /// One line of JSON each.
    pub request: Option<Bytes>,
    pub response: Option<Bytes>,
    pub received: Option<SystemTime>,
}

/// The object that a request is about.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Object {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

impl Object {
    pub fn of(t: &Target) -> Self {
        let r = &t.resource;
        Self {
            resource: r.resource.to_string(),
            namespace: t.namespace.clone(),
            name: t.name.clone(),
            api_group: r.group.to_string(),
            api_version: r.version.to_string(),
            subresource: t.subresource.clone(),
            ..Default::default()
        }
    }
    /// Fills in what the path does not say and the object does.
    pub fn learn(&mut self, meta: &Value) {
        for (own, key) in
            [(&mut self.namespace, "namespace"), (&mut self.name, "name"), (&mut self.uid, "uid"), (&mut self.resource_version, "resourceVersion")]
        {
            if let (true, Some(text)) = (own.is_empty(), meta[key].as_str()) {
                *own = text.to_owned();
            }
        }
    }
}

/// How a request was answered.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Status {
    metadata: BTreeMap<(), ()>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    pub code: u16,
}

impl Status {
    /// The bounded parts of an error or of a Status that was answered.
    pub fn of(s: &skiff_meta::Status) -> Self {
        let v: Value = skiff_json::from_slice(&s.to_json()).unwrap_or_default();
        let text = |key: &str| v[key].as_str().unwrap_or_default().to_owned();
        Self {
            metadata: BTreeMap::new(),
            status: text("status"),
            message: text("message"),
            reason: text("reason"),
            details: v.get("details").filter(|d| !d.is_null()).cloned(),
            code: s.code,
        }
    }
    pub fn closed_early() -> Self {
        Self { status: "Success".into(), message: "Connection closed early".into(), code: 200, ..Self::default() }
    }
}

#[derive(Serialize)]
struct UserWire<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> UserWire<'a> {
    fn of(u: &'a User) -> Self {
        Self { username: &u.name, uid: &u.uid, groups: &u.groups, extra: &u.extra }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    level: &'a str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: &'a str,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: UserWire<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<UserWire<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[IpAddr]>::is_empty")]
    source_ips: &'a [IpAddr],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<&'a Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<&'a Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<&'a RawValue>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// What is in front of an event that stands alone.
const HEAD: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#;

impl Event {
    /// The event at a stage, without kind and apiVersion, as it stands in a list. `bodies`: with the objects.
    pub fn json(&self, stage: Stage, at: SystemTime, annotations: &BTreeMap<String, String>, bodies: bool) -> Bytes {
        let raw = |b: &'_ Option<Bytes>| b.as_ref().filter(|_| bodies).and_then(|b| skiff_json::from_slice::<&RawValue>(b).ok().map(ToOwned::to_owned));
        let (request, response) = (raw(&self.request), raw(&self.response));
        let time = |t: SystemTime| MicroTime::from_system(t).to_string();
        let received = self.received.unwrap_or(at);
        let wire = Wire {
            level: self.level.as_str(),
            audit_id: &self.id,
            stage: stage.as_str(),
            request_uri: &self.uri,
            verb: &self.verb,
            user: UserWire::of(&self.user),
            impersonated_user: self.impersonated.as_ref().map(UserWire::of),
            source_ips: &self.sources,
            user_agent: &self.agent,
            object_ref: self.object.as_ref(),
            response_status: self.status.as_ref(),
            request_object: request.as_deref(),
            response_object: response.as_deref(),
            request_received_timestamp: time(received),
            stage_timestamp: time(if stage == Stage::RequestReceived { received } else { at }),
            annotations,
        };
        skiff_json::to_vec(&wire).unwrap_or_default().into()
    }

    /// One line for people, as upstream's `legacy` format has it.
    pub fn line(&self, stage: Stage, at: SystemTime) -> Bytes {
        let list = |all: &[String]| all.iter().map(|g| format!("{g:?}")).collect::<Vec<_>>().join(",");
        let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
        let (as_user, as_groups) =
            self.impersonated.as_ref().map_or_else(|| ("<self>".to_owned(), "<lookup>".to_owned()), |u| (u.name.clone(), list(&u.groups)));
        let namespace = self.object.as_ref().map_or("", |o| &o.namespace);
        let code = self.status.as_ref().map_or_else(|| "<deferred>".to_owned(), |s| s.code.to_string());
        let ip = self.sources.first().map_or_else(|| "<unknown>".to_owned(), ToString::to_string);
        let text = format!(
            "{} AUDIT: id={:?} stage={:?} ip={ip:?} method={:?} user={:?} groups={:?} as={as_user:?} asgroups={as_groups:?} user-agent={:?} namespace={:?} uri={:?} response={code:?}",
            MicroTime::from_system(self.received.unwrap_or(at)),
            self.id,
            stage.as_str(),
            self.verb,
            or(&self.user.name, "<none>"),
            or(&list(&self.user.groups), "<none>"),
            self.agent,
            or(namespace, "<none>"),
            self.uri,
        );
        text.into_bytes().into()
    }
}

/// An event as a line of a log.
pub(crate) fn alone(event: &[u8]) -> Vec<u8> {
    [HEAD, event.get(1..).unwrap_or_default()].concat()
}

/// Events as one `EventList`.
pub(crate) fn list(events: &[Bytes]) -> Vec<u8> {
    let mut out = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_vec();
    for (i, e) in events.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(e);
    }
    out.extend_from_slice(b"]}");
    out
}

/// An object as one line of JSON, if that is what it is; without managed fields where they are not wanted.
pub(crate) fn body(json: &[u8], omit_managed_fields: bool) -> Option<(Bytes, Value)> {
    let mut v: Value = skiff_json::from_slice(json).ok()?;
    if omit_managed_fields {
        let strip = |v: &mut Value| drop(v["metadata"].as_object_mut().map(|m| m.remove("managedFields")));
        if v.get("metadata").is_some() {
            strip(&mut v);
        }
        v.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().filter(|i| i.get("metadata").is_some()).for_each(strip);
    }
    Some((v.to_string().into(), v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    use skiff_meta::GroupVersionResource;
    use std::time::Duration;

    fn event() -> Event {
        let mut object = Object::of(&Target::new(GroupVersionResource::new("apps", "v1", "deployments"), "a", ""));
        object.learn(&json!({"name": "x", "namespace": "other", "uid": "u"}));
        Event {
            level: Level::Request,
            id: "i".into(),
            uri: "/apis/apps/v1/namespaces/a/deployments".into(),
            verb: "create".into(),
            user: User::new("ann", ["dev"]),
            impersonated: Some(User::new("bob", ["ops"])),
            sources: vec!["10.0.0.1".parse().unwrap()],
            agent: "kubectl".into(),
            object: Some(object),
            status: Some(Status { code: 201, ..Status::default() }),
            request: Some(Bytes::from_static(br#"{"a":1}"#)),
            response: None,
            received: Some(SystemTime::UNIX_EPOCH + Duration::from_micros(1_000_001)),
        }
    }

    #[test]
    fn as_upstream_writes_it() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(2);
        let notes = BTreeMap::from([("authorization.k8s.io/decision".to_owned(), "allow".to_owned())]);
        let line = alone(&event().json(Stage::ResponseComplete, at, &notes, true));
        assert_eq!(
            String::from_utf8(line).unwrap(),
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"i","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/a/deployments","verb":"create","user":{"username":"ann","groups":["dev"]},"impersonatedUser":{"username":"bob","groups":["ops"]},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl","objectRef":{"resource":"deployments","namespace":"a","name":"x","uid":"u","apiGroup":"apps","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},"requestObject":{"a":1},"requestReceivedTimestamp":"1970-01-01T00:00:01.000001Z","stageTimestamp":"1970-01-01T00:00:02.000000Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#
        );
        let bare: Value = skiff_json::from_slice(&event().json(Stage::RequestReceived, at, &BTreeMap::new(), false)).unwrap();
        assert_eq!((bare.get("requestObject"), bare.get("annotations"), &bare["stageTimestamp"]), (None, None, &json!("1970-01-01T00:00:01.000001Z")));
        let text = String::from_utf8(event().line(Stage::ResponseComplete, at).to_vec()).unwrap();
        assert!(
            text.starts_with("1970-01-01T00:00:01.000001Z AUDIT: id=\"i\" stage=\"ResponseComplete\" ip=\"10.0.0.1\" method=\"create\" user=\"ann\""),
            "{text}"
        );
        assert!(text.ends_with("response=\"201\""));
    }

    #[test]
    fn bodies_are_one_line_and_lists_are_lists() {
        let (bytes, _) =
            body(b"{\n \"metadata\": {\"managedFields\": [1], \"name\": \"x\"}, \"items\": [{\"metadata\": {\"managedFields\": []}}]}", true).unwrap();
        assert_eq!(bytes, r#"{"metadata":{"name":"x"},"items":[{"metadata":{}}]}"#);
        assert!(body(b"{", false).is_none());
        let v: Value = skiff_json::from_slice(&list(&[Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{}")])).unwrap();
        assert_eq!((&v["kind"], &v["items"]), (&json!("EventList"), &json!([{"a": 1}, {}])));
    }
}
