//! `metav1.Status`: the one error a client sees, with upstream's reasons and codes.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::GroupResource;

/// Why a request failed; the words are upstream's `metav1.StatusReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum Reason {
    #[default]
    #[serde(rename = "")]
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    #[serde(rename = "StorageReadError")]
    StoreReadError,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
}

impl Reason {
    pub fn code(self) -> u16 {
        match self {
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::NotFound => 404,
            Reason::MethodNotAllowed => 405,
            Reason::NotAcceptable => 406,
            Reason::AlreadyExists | Reason::Conflict => 409,
            Reason::Gone | Reason::Expired => 410,
            Reason::RequestEntityTooLarge => 413,
            Reason::UnsupportedMediaType => 415,
            Reason::Invalid => 422,
            Reason::TooManyRequests => 429,
            Reason::BadRequest => 400,
            Reason::ServiceUnavailable => 503,
            Reason::Timeout | Reason::ServerTimeout => 504,
            Reason::Unknown | Reason::InternalError | Reason::StoreReadError => 500,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusDetails {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}
fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// A failure (or, for some deletes, a success) as the API tells it. Built by the constructors, which know the texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub success: bool,
    pub message: String,
    pub reason: Reason,
    pub code: u16,
    pub details: Option<Box<StatusDetails>>,
    /// `metadata.continue` of an expired list: the fresh, inconsistent token.
    pub continue_token: Option<String>,
    /// A reason of somebody else's making, where `reason` knows none: a webhook's.
    pub foreign_reason: Option<Box<str>>,
    /// What the client is told beside the failure, in headers: it came up before the request failed.
    pub warnings: Vec<String>,
    /// The authoriser's refusal: upstream tells browsers not to guess what its answer is.
    pub unauthorized: bool,
}

impl Status {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            success: false,
            message: message.into(),
            reason,
            code: reason.code(),
            details: None,
            continue_token: None,
            foreign_reason: None,
            warnings: Vec::new(),
            unauthorized: false,
        }
    }
    /// With what was to be told before it failed, in front.
    pub fn warned(mut self, warnings: &[String]) -> Self {
        self.warnings.splice(0..0, warnings.iter().cloned());
        self
    }
    fn about(reason: Reason, r: &GroupResource, name: &str, message: String) -> Self {
        let details = StatusDetails { name: name.into(), group: r.group.to_string(), kind: r.resource.to_string(), ..Default::default() };
        Self { details: Some(Box::new(details)), ..Self::new(reason, message) }
    }
    /// What DELETE answers when the object is gone: a success that carries the uid.
    pub fn deleted(r: &GroupResource, name: &str, uid: &str) -> Self {
        let details = StatusDetails { name: name.into(), group: r.group.to_string(), kind: r.resource.to_string(), uid: uid.into(), ..Default::default() };
        Self {
            success: true,
            message: String::new(),
            reason: Reason::Unknown,
            code: 200,
            details: Some(Box::new(details)),
            continue_token: None,
            foreign_reason: None,
            warnings: Vec::new(),
            unauthorized: false,
        }
    }
    pub fn not_found(r: &GroupResource, name: &str) -> Self {
        Self::about(Reason::NotFound, r, name, format!("{r} {name:?} not found"))
    }
    pub fn already_exists(r: &GroupResource, name: &str) -> Self {
        Self::about(Reason::AlreadyExists, r, name, format!("{r} {name:?} already exists"))
    }
    /// `why` is what upstream puts behind the colon.
    pub fn conflict(r: &GroupResource, name: &str, why: &str) -> Self {
        Self::about(Reason::Conflict, r, name, format!("Operation cannot be fulfilled on {r} {name:?}: {why}"))
    }
    pub fn forbidden(r: &GroupResource, name: &str, why: &str) -> Self {
        let message = match (r.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (_, true) => format!("{r} is forbidden: {why}"),
            _ => format!("{r} {name:?} is forbidden: {why}"),
        };
        Self::about(Reason::Forbidden, r, name, message)
    }
    pub fn unauthorized(message: &str) -> Self {
        Self::new(Reason::Unauthorized, if message.is_empty() { "Unauthorized" } else { message })
    }
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }
    pub fn internal(message: impl fmt::Display) -> Self {
        let mut s = Self::new(Reason::InternalError, format!("Internal error occurred: {message}"));
        s.details = Some(Box::new(StatusDetails { causes: vec![Cause { message: message.to_string(), ..Default::default() }], ..Default::default() }));
        s
    }
    /// 422 of `kind` (with its group) with one cause for each field error.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let mut list: Vec<String> = causes.iter().map(|c| if c.field.is_empty() { c.message.clone() } else { format!("{}: {}", c.field, c.message) }).collect();
        // A cause may be told more than once, the text tells it once.
        let mut seen = std::collections::HashSet::with_capacity(list.len());
        list.retain(|text| seen.insert(text.clone()));
        let what = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let body = match list.len() {
            1 => list[0].clone(),
            _ => format!("[{}]", list.join(", ")),
        };
        let details = StatusDetails { name: name.into(), group: group.into(), kind: kind.into(), causes, ..Default::default() };
        Self { details: Some(Box::new(details)), ..Self::new(Reason::Invalid, format!("{what} {name:?} is invalid: {body}")) }
    }
    pub fn method_not_allowed(r: &GroupResource, verb: &str) -> Self {
        Self::about(Reason::MethodNotAllowed, r, "", format!("{verb} is not supported on resources of kind {:?}", r.to_string()))
    }
    /// What upstream's HTTP layer says by itself, before a handler is asked: empty details, and its own text.
    pub fn generic(reason: Reason, message: impl Into<String>) -> Self {
        Self { details: Some(Box::default()), ..Self::new(reason, message) }
    }
    /// An error without a reason, as upstream answers where nobody thought of a better one.
    pub fn plain(code: u16, message: impl Into<String>) -> Self {
        Self { code, ..Self::new(Reason::Unknown, message) }
    }
    /// 410: the revision asked for is compacted.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i32) -> Self {
        let details = StatusDetails { retry_after_seconds, ..Default::default() };
        Self { details: Some(Box::new(details)), ..Self::new(Reason::TooManyRequests, message) }
    }
    /// 504: the client asks for a revision that is not there yet.
    pub fn revision_too_large(asked: u64, current: u64) -> Self {
        let cause = Cause { reason: "ResourceVersionTooLarge".into(), message: "Too large resource version".into(), field: String::new() };
        let details = StatusDetails { causes: vec![cause], retry_after_seconds: 1, ..Default::default() };
        Self { details: Some(Box::new(details)), ..Self::new(Reason::Timeout, format!("Timeout: Too large resource version: {asked}, current: {current}")) }
    }
    pub fn is(&self, reason: Reason) -> bool {
        !self.success && self.reason == reason
    }
    /// Canonical JSON, `apiVersion` and `kind` behind as Go orders them.
    pub fn to_json(&self) -> Vec<u8> {
        let mut meta = skiff_json::Map::new();
        if let Some(t) = &self.continue_token {
            meta.insert("continue", t.clone().into());
        }
        let mut v = skiff_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": meta, "status": if self.success { "Success" } else { "Failure" }});
        if !self.message.is_empty() {
            v["message"] = self.message.clone().into();
        }
        if self.reason != Reason::Unknown {
            v["reason"] = skiff_json::to_value(self.reason).unwrap_or_default();
        } else if let Some(foreign) = &self.foreign_reason {
            v["reason"] = (**foreign).into();
        }
        if let Some(d) = &self.details {
            v["details"] = skiff_json::to_value(d).unwrap_or_default();
        }
        if !(self.success && self.code == 200) {
            v["code"] = self.code.into();
        }
        v.to_string().into_bytes()
    }
    /// Reads a Status body; anything else becomes one with the HTTP code and the text.
    pub fn from_json(code: u16, body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Wire {
            kind: String,
            status: String,
            message: String,
            reason: skiff_json::Value,
            details: Option<StatusDetails>,
            code: u16,
            metadata: Option<skiff_json::Value>,
        }
        match skiff_json::from_slice::<Wire>(body) {
            Ok(w) if w.kind == "Status" => Self {
                foreign_reason: w.reason.as_str().filter(|r| skiff_json::from_value::<Reason>(w.reason.clone()).is_err() && !r.is_empty()).map(Into::into),
                success: w.status == "Success",
                message: w.message,
                reason: skiff_json::from_value(w.reason).unwrap_or_default(),
                code: if w.code == 0 { code } else { w.code },
                details: w.details.map(Box::new),
                continue_token: w.metadata.and_then(|m| m.get("continue").and_then(|c| c.as_str().map(str::to_owned))),
                warnings: Vec::new(),
                unauthorized: false,
            },
            _ => Self { code, ..Self::new(Reason::Unknown, String::from_utf8_lossy(&body[..body.len().min(2048)])) },
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", if self.message.is_empty() { "no message" } else { &self.message })
    }
}
impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn texts_are_upstreams() {
        let pods = GroupResource::new("", "pods");
        assert_eq!(Status::not_found(&pods, "a").message, "pods \"a\" not found");
        let s = Status::invalid(
            "apps",
            "Deployment",
            "x",
            vec![Cause { reason: "FieldValueRequired".into(), message: "Required value".into(), field: "spec.selector".into() }],
        );
        assert_eq!(s.message, "Deployment.apps \"x\" is invalid: spec.selector: Required value");
        assert_eq!(Status::from_json(422, &s.to_json()), s);
        let foreign = Status { foreign_reason: Some("Teapot".into()), ..Status::plain(418, "short and stout") };
        assert_eq!(Status::from_json(418, &foreign.to_json()), foreign);
    }
}
