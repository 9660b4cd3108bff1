//! `AuthorizationConfiguration`: parsed, checked, compiled.
use crate::expression::Expression;
use crate::{ConfigError, duration, parse};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a file: who is asked, in this order.
#[derive(Debug)]
pub struct AuthorizationConfig {
    pub authorizers: Vec<AuthorizerEntry>,
}

#[derive(Debug)]
pub enum AuthorizerEntry {
    /// With the name that the file gives it.
    Node(String),
    Rbac(String),
    Webhook(Box<WebhookSettings>),
}

#[derive(Debug)]
pub struct WebhookSettings {
    pub name: String,
    /// How long a yes holds, and a no; zero: they are not remembered.
    pub(crate) authorized: Duration,
    pub(crate) unauthorized: Duration,
    pub(crate) timeout: Duration,
    /// `v1` or `v1beta1` of authorization.k8s.io.
    pub(crate) version: String,
    /// Whether a webhook that cannot be asked denies.
    pub(crate) denies: bool,
    /// None: this server itself.
    pub kubeconfig: Option<PathBuf>,
    pub(crate) conditions: Vec<Expression>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    authorizers: Vec<Entry>,
}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    webhook: Option<Webhook>,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Webhook {
    #[serde(default, rename = "authorizedTTL", deserialize_with = "duration::optional")]
    authorized_ttl: Option<Duration>,
    cache_authorized_requests: Option<bool>,
    #[serde(default, rename = "unauthorizedTTL", deserialize_with = "duration::optional")]
    unauthorized_ttl: Option<Duration>,
    cache_unauthorized_requests: Option<bool>,
    #[serde(default, deserialize_with = "duration::optional")]
    timeout: Option<Duration>,
    #[serde(default)]
    subject_access_review_version: String,
    #[serde(default)]
    match_condition_subject_access_review_version: String,
    #[serde(default)]
    failure_policy: String,
    #[serde(default)]
    connection_info: Info,
    #[serde(default)]
    match_conditions: Vec<Condition>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Info {
    #[serde(rename = "type")]
    kind: String,
    kube_config_file: Option<PathBuf>,
}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(default)]
    expression: String,
}

impl AuthorizationConfig {
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = parse(text, "AuthorizationConfiguration", &["v1", "v1beta1", "v1alpha1"])?;
        let mut wrong = Vec::new();
        if file.authorizers.is_empty() {
            wrong.push("authorizers: Required value: at least one authorization mode must be defined".to_owned());
        }
        let (mut types, mut names) = (HashSet::new(), HashSet::new());
        let mut authorizers = Vec::new();
        for (i, e) in file.authorizers.into_iter().enumerate() {
            let at = format!("authorizers[{i}]");
            if let Some(why) = bad_type(&at, &e.kind, &mut types) {
                wrong.push(why);
                continue;
            }
            wrong.extend(bad_name(&at, &e.name, &mut names));
            authorizers.extend(entry(&at, e, &mut wrong));
        }
        if wrong.is_empty() { Ok(Self { authorizers }) } else { Err(ConfigError::Invalid(wrong)) }
    }
}

fn bad_type(at: &str, kind: &str, seen: &mut HashSet<String>) -> Option<String> {
    match kind {
        "" => Some(format!("{at}.type: Required value")),
        "Webhook" => None,
        "Node" | "RBAC" if seen.insert(kind.to_owned()) => None,
        "Node" | "RBAC" => Some(format!("{at}.type: Duplicate value: {kind:?}")),
        _ => Some(format!("{at}.type: Unsupported value: {kind:?}: supported values: \"Node\", \"RBAC\", \"Webhook\"")),
    }
}

fn bad_name(at: &str, name: &str, seen: &mut HashSet<String>) -> Option<String> {
    if name.is_empty() {
        return Some(format!("{at}.name: Required value"));
    }
    if !seen.insert(name.to_owned()) {
        return Some(format!("{at}.name: Duplicate value: {name:?}"));
    }
    let why = skiff_meta::is_dns1123_subdomain(name).err()?;
    let why: Vec<&str> = why.iter().map(|e| e.0.as_str()).collect();
    Some(format!("{at}.name: Invalid value: {name:?}: authorizer name is invalid: {}", why.join(", ")))
}

fn entry(at: &str, e: Entry, wrong: &mut Vec<String>) -> Option<AuthorizerEntry> {
    match (e.kind.as_str(), e.webhook) {
        ("Webhook", Some(w)) => webhook(at, e.name, w, wrong).map(|w| AuthorizerEntry::Webhook(Box::new(w))),
        ("Webhook", None) => {
            wrong.push(format!("{at}.webhook: Required value: required when type=Webhook"));
            None
        }
        (_, Some(_)) => {
            wrong.push(format!("{at}.webhook: Invalid value: \"non-null\": may only be specified when type=Webhook"));
            None
        }
        ("Node", None) => Some(AuthorizerEntry::Node(e.name)),
        _ => Some(AuthorizerEntry::Rbac(e.name)),
    }
}

fn webhook(at: &str, name: String, w: Webhook, wrong: &mut Vec<String>) -> Option<WebhookSettings> {
    let before = wrong.len();
    match w.timeout.unwrap_or_default() {
        Duration::ZERO => wrong.push(format!("{at}.timeout: Required value")),
        t if t > Duration::from_secs(30) => wrong.push(format!("{at}.timeout: Invalid value: \"{}s\": must be > 0s and <= 30s", t.as_secs())),
        _ => {}
    }
    // Upstream's defaults; zero is no value there.
    let ttl = |given: Option<Duration>, default, kept: Option<bool>| {
        if kept == Some(false) { Duration::ZERO } else { given.filter(|d| !d.is_zero()).unwrap_or(Duration::from_secs(default)) }
    };
    let mut one_of = |field: &str, given: &str, all: &[&str]| match given {
        "" => wrong.push(format!("{at}.{field}: Required value")),
        v if all.contains(&v) => {}
        v => wrong
            .push(format!("{at}.{field}: Unsupported value: {v:?}: supported values: {}", all.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(", "))),
    };
    one_of("subjectAccessReviewVersion", &w.subject_access_review_version, &["v1", "v1beta1"]);
    one_of("failurePolicy", &w.failure_policy, &["NoOpinion", "Deny"]);
    one_of("connectionInfo.type", &w.connection_info.kind, &["InClusterConfig", "KubeConfigFile"]);
    match w.match_condition_subject_access_review_version.as_str() {
        "" if !w.match_conditions.is_empty() => {
            wrong.push(format!("{at}.matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified"))
        }
        "" | "v1" => {}
        v => wrong.push(format!("{at}.matchConditionSubjectAccessReviewVersion: Unsupported value: {v:?}: supported values: \"v1\"")),
    }
    connection(at, &w.connection_info, wrong);
    let conditions = conditions(at, w.match_conditions, wrong);
    (wrong.len() == before).then(|| WebhookSettings {
        name,
        authorized: ttl(w.authorized_ttl, 300, w.cache_authorized_requests),
        unauthorized: ttl(w.unauthorized_ttl, 30, w.cache_unauthorized_requests),
        timeout: w.timeout.unwrap_or_default(),
        version: w.subject_access_review_version,
        denies: w.failure_policy == "Deny",
        kubeconfig: w.connection_info.kube_config_file,
        conditions,
    })
}

fn connection(at: &str, info: &Info, wrong: &mut Vec<String>) {
    let field = format!("{at}.connectionInfo.kubeConfigFile");
    match (info.kind.as_str(), &info.kube_config_file) {
        ("InClusterConfig", Some(p)) => wrong.push(format!("{field}: Invalid value: {p:?}: can only be set when type=KubeConfigFile")),
        ("InClusterConfig", None) => {
            wrong.push(format!("{at}.connectionInfo.type: Invalid value: \"InClusterConfig\": this server runs in no pod: use KubeConfigFile"))
        }
        ("KubeConfigFile", None) => wrong.push(format!("{field}: Required value")),
        ("KubeConfigFile", Some(p)) if p.as_os_str().is_empty() => wrong.push(format!("{field}: Required value")),
        ("KubeConfigFile", Some(p)) if !p.is_absolute() => wrong.push(format!("{field}: Invalid value: {p:?}: must be an absolute path")),
        ("KubeConfigFile", Some(p)) => match std::fs::metadata(p) {
            Err(e) => wrong.push(format!("{field}: Invalid value: {p:?}: error loading file: {e}")),
            Ok(m) if !m.is_file() => wrong.push(format!("{field}: Invalid value: {p:?}: must be a regular file")),
            Ok(_) => {}
        },
        _ => {}
    }
}

fn conditions(at: &str, given: Vec<Condition>, wrong: &mut Vec<String>) -> Vec<Expression> {
    if given.len() > 64 {
        wrong.push(format!("{at}.matchConditions: Too many: {}: must have at most 64 items", given.len()));
        return Vec::new();
    }
    let mut out: Vec<Expression> = Vec::new();
    for (i, c) in given.into_iter().enumerate() {
        let at = format!("{at}.matchConditions[{i}].expression");
        if c.expression.trim().is_empty() {
            wrong.push(format!("{at}: Required value"));
        } else if out.iter().any(|e| e.source == c.expression) {
            wrong.push(format!("{at}: Duplicate value: {:?}", c.expression));
        } else {
            match Expression::compile(&c.expression, "request") {
                Ok(e) => out.push(e),
                Err(why) => wrong.push(format!("{at}: Invalid value: {:?}: {why}", c.expression)),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(authorizers: &str) -> String {
        let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: {authorizers}\n");
        AuthorizationConfig::parse(&text).err().map(|e| e.to_string()).unwrap_or_default()
    }
    fn hook(part: &str) -> String {
        let file = std::env::current_exe().unwrap();
        let whole = "timeout: 3s, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1, failurePolicy: Deny";
        let kept: Vec<&str> = whole.split(", ").filter(|p| !part.starts_with(p.split(':').next().unwrap())).collect();
        let info = if part.contains("connectionInfo") {
            String::new()
        } else {
            format!(", connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}", file.display())
        };
        told(&format!("[{{type: Webhook, name: a, webhook: {{{}, {part}{info}}}}}]", kept.join(", ")))
    }

    #[test]
    fn bad_files_are_refused_with_upstreams_words() {
        for (authorizers, why) in [
            ("[{type: Node, name: node}, {type: RBAC, name: rbac}]", ""),
            ("[]", "at least one authorization mode must be defined"),
            ("[{name: a}]", "authorizers[0].type: Required value"),
            ("[{type: RBAC, name: a}, {type: RBAC, name: b}]", "authorizers[1].type: Duplicate value: \"RBAC\""),
            ("[{type: AlwaysAllow, name: a}]", "Unsupported value: \"AlwaysAllow\""),
            ("[{type: RBAC, name: A}]", "authorizer name is invalid"),
            ("[{type: Node, name: a}, {type: RBAC, name: a}]", "authorizers[1].name: Duplicate value"),
            ("[{type: Webhook, name: a}]", "required when type=Webhook"),
            ("[{type: RBAC, name: a, webhook: {}}]", "may only be specified when type=Webhook"),
        ] {
            let got = told(authorizers);
            assert!(if why.is_empty() { got.is_empty() } else { got.contains(why) }, "{authorizers}: {got}");
        }
        for (part, why) in [
            ("authorizedTTL: 1m", ""),
            ("timeout: 31s", "must be > 0s and <= 30s"),
            ("timeout: soon", "invalid duration"),
            ("failurePolicy: Open", "supported values: \"NoOpinion\", \"Deny\""),
            ("connectionInfo: {type: KubeConfigFile, kubeConfigFile: rel}", "must be an absolute path"),
            ("connectionInfo: {type: KubeConfigFile, kubeConfigFile: /nowhere/x}", "error loading file"),
            ("connectionInfo: {type: InClusterConfig}", "use KubeConfigFile"),
            ("matchConditions: [{expression: 'request.user =='}]", "compilation failed"),
            ("matchConditions: [{expression: 'object.x'}]", "undeclared reference to 'object'"),
            ("matchConditions: [{expression: ' '}]", "expression: Required value"),
            ("matchConditions: [{expression: 'true'}, {expression: 'true'}]", "Duplicate value: \"true\""),
            ("matchConditionSubjectAccessReviewVersion: v2", "supported values: \"v1\""),
        ] {
            let got = hook(part);
            assert!(if why.is_empty() { got.is_empty() } else { got.contains(why) }, "{part}: {got}");
        }
    }
}
