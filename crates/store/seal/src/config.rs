//! `EncryptionConfiguration`: parsed, checked, made into providers.
//! <https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/>
use crate::kms::Kms;
use crate::local::{Key, Scheme};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use skiff_store::SealError;
use std::sync::Arc;
use std::time::Duration;

/// Longer files are refused, bytes.
const LIMIT: usize = 1 << 20;

/// What is wrong with the file; in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("it is no EncryptionConfiguration: {0}")]
    Shape(String),
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error("the KMS plugin {name:?} cannot be used: {why}")]
    Kms { name: String, why: String },
}

pub(crate) enum Provider {
    Identity,
    Local(Key),
    Kms(Arc<Kms>),
}

/// The settings of a file.
pub struct Configured {
    rules: Vec<Rule>,
}

struct Rule {
    resources: Vec<String>,
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<Entry>,
}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<Given>,
}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    aesgcm: Option<Keys>,
    aescbc: Option<Keys>,
    secretbox: Option<Keys>,
    identity: Option<Nothing>,
    kms: Option<KmsGiven>,
}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: Vec<Named>,
}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KmsGiven {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    #[serde(default)]
    name: String,
    cachesize: Option<i64>,
    #[serde(default)]
    endpoint: String,
    timeout: Option<String>,
}

impl Configured {
    /// Parses and checks; KMS plugins are not asked yet ([`Configured::ready`]).
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > LIMIT {
            return Err(ConfigError::Shape(format!("it is longer than {LIMIT} bytes")));
        }
        let file: File = serde_saphyr::from_str(text).map_err(|e| ConfigError::Shape(e.to_string()))?;
        if !matches!(file.api_version.as_str(), "apiserver.config.k8s.io/v1" | "v1") || file.kind != "EncryptionConfiguration" {
            return Err(ConfigError::Shape(format!("its kind is {} {}", file.api_version, file.kind)));
        }
        let mut wrong = Vec::new();
        if file.resources.is_empty() {
            wrong.push("resources: Required value: at least one resources is required".to_owned());
        }
        let (mut rules, mut names) = (Vec::new(), Vec::new());
        for (i, entry) in file.resources.into_iter().enumerate() {
            let at = format!("resources[{i}]");
            check_resources(&format!("{at}.resources"), &entry.resources, &mut wrong);
            if entry.providers.is_empty() {
                wrong.push(format!("{at}.providers: Required value: at least one {at}.providers is required"));
            }
            let mut providers = Vec::new();
            for (j, given) in entry.providers.into_iter().enumerate() {
                providers.extend(made(&format!("{at}.providers[{j}]"), given, &mut names, &mut wrong));
            }
            rules.push(Rule { resources: entry.resources, providers });
        }
        if wrong.is_empty() { Ok(Self { rules }) } else { Err(ConfigError::Invalid(wrong)) }
    }

    /// Asks every KMS plugin for a key to seal with, which proves that it can be reached.
    pub async fn ready(&self) -> Result<(), ConfigError> {
        for kms in self.plugins() {
            kms.renew().await.map_err(|why| ConfigError::Kms { name: kms.name().to_owned(), why })?;
        }
        Ok(())
    }

    /// Asks every KMS plugin whether it is well and has a new key; true when one has: then values are stale.
    pub async fn refresh(&self) -> bool {
        let mut changed = false;
        for kms in self.plugins() {
            match kms.refresh().await {
                Ok(new) => changed |= new,
                Err(why) => tracing::warn!(target: "store", plugin = kms.name(), why, "a KMS plugin is not well"),
            }
        }
        changed
    }
    pub fn has_plugins(&self) -> bool {
        self.plugins().next().is_some()
    }
    fn plugins(&self) -> impl Iterator<Item = &Arc<Kms>> {
        self.rules.iter().flat_map(|r| &r.providers).filter_map(|p| if let Provider::Kms(k) = p { Some(k) } else { None })
    }

    fn rule(&self, resource: &str) -> Option<&Rule> {
        self.rules.iter().find(|r| r.resources.iter().any(|p| matches(p, resource)))
    }
    /// What seals a resource's values; None when no rule names it.
    pub(crate) fn writer(&self, resource: &str) -> Option<&Provider> {
        self.rule(resource)?.providers.first()
    }
    /// What may have sealed them: those of its rule first, then all others.
    pub(crate) fn readers<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Provider> {
        self.rule(resource).into_iter().chain(&self.rules).flat_map(|r| &r.providers)
    }
    /// For people: what each rule seals with.
    pub fn describe(&self) -> Vec<(Vec<String>, String)> {
        self.rules.iter().map(|r| (r.resources.clone(), r.providers.first().map(Provider::label).unwrap_or_default())).collect()
    }
}

/// `secrets`, `deployments.apps`, `*.` (the core group), `*.apps`, `*.*`.
fn matches(pattern: &str, resource: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some("*") => true,
        Some(group) => resource.split_once('.').map_or("", |(_, g)| g) == group,
        None => pattern == resource,
    }
}

impl Provider {
    pub fn seal(&self, key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let failed = |why: &str| SealError::Provider { provider: self.label(), why: why.to_owned() };
        let (prefix, text) = match self {
            Provider::Identity => return Ok(None),
            Provider::Local(k) => (k.prefix.as_str(), k.seal(key.as_bytes(), value).map_err(failed)?),
            Provider::Kms(k) => (k.prefix(), k.seal(key.as_bytes(), value).map_err(|why| failed(&why))?),
        };
        Ok(Some([prefix.as_bytes(), &text].concat()))
    }
    /// What is behind its prefix, when it is its.
    pub fn strip<'a>(&self, sealed: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Provider::Identity => None,
            Provider::Local(k) => sealed.strip_prefix(k.prefix.as_bytes()),
            Provider::Kms(k) => sealed.strip_prefix(k.prefix().as_bytes()),
        }
    }
    pub fn open(&self, key: &str, text: &[u8]) -> Result<Vec<u8>, SealError> {
        match self {
            Provider::Identity => Err(SealError::Refused(self.label())),
            Provider::Local(k) => k.open(key.as_bytes(), text).ok_or_else(|| SealError::Refused(self.label())),
            Provider::Kms(k) => k.open(key.as_bytes(), text).map_err(|why| SealError::Provider { provider: self.label(), why }),
        }
    }
    /// Whether what is written now would be sealed with the same key.
    pub fn wrote(&self, text: &[u8]) -> bool {
        if let Provider::Kms(k) = self { k.wrote(text) } else { true }
    }
    fn label(&self) -> String {
        match self {
            Provider::Identity => "identity".into(),
            Provider::Local(k) => format!("{} {}", k.scheme.name(), k.prefix.trim_end_matches(':').rsplit(':').next().unwrap_or_default()),
            Provider::Kms(k) => format!("kms {}", k.name()),
        }
    }
}

/// Upstream's rules and words for the names of resources.
fn check_resources(at: &str, resources: &[String], wrong: &mut Vec<String>) {
    if resources.is_empty() {
        wrong.push(format!("{at}: Required value: at least one {at} is required"));
    }
    let split = |r: &String| r.split_once('.').map_or((r.clone(), String::new()), |(r, g)| (r.to_owned(), g.to_owned()));
    let parts: Vec<(String, String)> = resources.iter().map(split).collect();
    let pairs = || parts.iter().enumerate().flat_map(|(i, a)| parts.iter().enumerate().filter(move |(j, _)| i != *j).map(move |(_, b)| (a, b)));
    if pairs().any(|(a, b)| a == b) {
        wrong.push(format!("{at}: Invalid value: {resources:?}: the same resource cannot be specified multiple times"));
    }
    let all = |p: &(String, String)| p.0 == "*" && p.1 == "*";
    if pairs().any(|(a, b)| a != b && (all(a) || (a.1 == b.1 && (a.0 == "*" || b.0 == "*")))) {
        wrong.push(format!("{at}: Invalid value: {resources:?}: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked"));
    }
    for (i, (name, (resource, group))) in resources.iter().zip(&parts).enumerate() {
        let why = match (resource.as_str(), group.as_str()) {
            _ if name.chars().any(char::is_uppercase) => "resource name should not contain capital letters",
            ("*", "") if name == "*" => "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
            ("apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations", "") => "resources which do not have REST API/s cannot be encrypted",
            (_, "events.k8s.io") => "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
            (_, "extensions") => "'extensions' group has been removed and cannot be used for encryption",
            (r, "*") if r != "*" => "encrypting the same resource across groups is not supported",
            _ => continue,
        };
        wrong.push(format!("{at}[{i}]: Invalid value: {name:?}: {why}"));
    }
}

/// The providers of one element, one for each key.
fn made(at: &str, given: Given, names: &mut Vec<String>, wrong: &mut Vec<String>) -> Vec<Provider> {
    let found = [given.aesgcm.is_some(), given.aescbc.is_some(), given.secretbox.is_some(), given.identity.is_some(), given.kms.is_some()];
    match found.iter().filter(|f| **f).count() {
        0 => wrong.push(format!("{at}: Invalid value: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity")),
        1 => {}
        _ => wrong.push(format!("{at}: Invalid value: more than one provider specified in a single element, should split into different list elements")),
    }
    let mut out = Vec::new();
    for (scheme, keys) in [(Scheme::AesGcm, given.aesgcm), (Scheme::AesCbc, given.aescbc), (Scheme::Secretbox, given.secretbox)] {
        let Some(Keys { keys }) = keys else { continue };
        let at = format!("{at}.{}.keys", scheme.name());
        if keys.is_empty() {
            wrong.push(format!("{at}: Required value: at least one keys is required"));
        }
        for (i, key) in keys.into_iter().enumerate() {
            out.extend(local(&format!("{at}[{i}]"), scheme, &key, wrong).map(Provider::Local));
        }
    }
    out.extend(given.identity.map(|_| Provider::Identity));
    out.extend(given.kms.and_then(|k| plugin(&format!("{at}.kms"), k, names, wrong)).map(|k| Provider::Kms(Arc::new(k))));
    out
}

/// Secrets are never told.
fn local(at: &str, scheme: Scheme, key: &Named, wrong: &mut Vec<String>) -> Option<Key> {
    let before = wrong.len();
    if key.name.is_empty() {
        wrong.push(format!("{at}.name: Required value: name is a mandatory field for a key"));
    }
    if key.secret.is_empty() {
        wrong.push(format!("{at}.secret: Required value: secret is a mandatory field for a key"));
        return None;
    }
    let Ok(secret) = BASE64.decode(&key.secret) else {
        wrong.push(format!("{at}.secret: Invalid value: \"REDACTED\": secrets must be base64 encoded"));
        return None;
    };
    if !scheme.sizes().contains(&secret.len()) {
        let sizes: Vec<String> = scheme.sizes().iter().map(ToString::to_string).collect();
        wrong.push(format!(
            "{at}.secret: Invalid value: \"REDACTED\": secret is not of the expected length, got {}, expected one of [{}]",
            secret.len(),
            sizes.join(" ")
        ));
    }
    (wrong.len() == before).then(|| Key { scheme, prefix: format!("k8s:enc:{}:v1:{}:", scheme.name(), key.name), secret })
}

fn plugin(at: &str, k: KmsGiven, names: &mut Vec<String>, wrong: &mut Vec<String>) -> Option<Kms> {
    let before = wrong.len();
    match k.api_version.as_deref() {
        Some("v2") => {}
        None | Some("v1") => {
            wrong.push(format!("{at}.apiVersion: Forbidden: KMSv1 is deprecated and will only receive security updates going forward: set apiVersion: v2"))
        }
        Some(v) => {
            wrong.push(format!("{at}.apiVersion: Invalid value: {v:?}: unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported"))
        }
    }
    if k.name.is_empty() {
        wrong.push(format!("{at}.name: Required value: name is a mandatory field for a provider"));
    }
    if k.name.contains(':') {
        wrong.push(format!("{at}.name: Invalid value: {:?}: invalid KMS provider name {}, must not contain ':'", k.name, k.name));
    }
    if names.contains(&k.name) {
        wrong.push(format!("{at}.name: Invalid value: {:?}: duplicate KMS provider name {}, names must be unique", k.name, k.name));
    }
    if let Some(n) = k.cachesize {
        wrong.push(format!("{at}.cachesize: Invalid value: {n}: cachesize is not supported in v2"));
    }
    let timeout = k.timeout.as_deref().map_or(Some(Duration::from_secs(3)), span);
    if timeout.is_none() {
        wrong.push(format!("{at}.timeout: Invalid value: {:?}: timeout should be a positive value", k.timeout.unwrap_or_default()));
    }
    let path = match url::Url::parse(&k.endpoint) {
        _ if k.endpoint.is_empty() => Err(format!("{at}.endpoint: Invalid value: \"\": endpoint is a mandatory field for a kms")),
        Err(e) => Err(format!("{at}.endpoint: Invalid value: {:?}: invalid endpoint for kms provider, error: {e}", k.endpoint)),
        Ok(u) if u.scheme() != "unix" => {
            Err(format!("{at}.endpoint: Invalid value: {:?}: unsupported scheme {:?} for KMS provider, only unix is supported", k.endpoint, u.scheme()))
        }
        Ok(u) => Ok(u.path().to_owned()),
    };
    names.push(k.name.clone());
    match (path, timeout) {
        (Ok(path), Some(timeout)) if wrong.len() == before => Some(Kms::new(k.name, &path, timeout)),
        (path, _) => {
            wrong.extend(path.err());
            None
        }
    }
}

/// How long a plugin may take; none where it is no positive time.
fn span(text: &str) -> Option<Duration> {
    let nanos = u64::try_from(skiff_meta::go::parse_duration(text).ok()?).ok()?;
    Some(Duration::from_nanos(nanos)).filter(|d| !d.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(resources: &str, providers: &str) -> String {
        let text =
            format!("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: {resources}\n  providers: {providers}\n");
        Configured::parse(&text).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn bad_files_are_refused_with_upstreams_words() {
        let good = "[{identity: {}}]";
        for (resources, providers, told) in [
            ("[secrets]", good, ""),
            ("['*.*']", "[{secretbox: {keys: [{name: a, secret: aGk=}]}}]", "secret is not of the expected length, got 2, expected one of [32]"),
            ("[secrets]", "[{aescbc: {keys: [{name: a, secret: '!'}]}}]", "secrets must be base64 encoded"),
            ("[secrets]", "[{aescbc: {keys: []}}]", "at least one keys is required"),
            ("[secrets]", "[{}]", "does not contain any of the expected providers"),
            ("[secrets]", "[{identity: {}, aescbc: {keys: [{name: a, secret: AAECAwQFBgcICQoLDA0ODw==}]}}]", "more than one provider"),
            ("[]", good, "at least one resources[0].resources is required"),
            ("[secrets, '*.']", good, "using overlapping resources"),
            ("[secrets, secrets]", good, "specified multiple times"),
            ("['*']", good, "use '*.' to encrypt"),
            ("[Secrets]", good, "capital letters"),
            ("[events.events.k8s.io]", good, "Use 'events' instead"),
            ("['pods.*']", good, "across groups"),
            ("[secrets]", "[{kms: {apiVersion: v2, name: 'a:b', endpoint: 'http://x'}}]", "must not contain ':'"),
            ("[secrets]", "[{kms: {apiVersion: v2, name: a, endpoint: 'http://x'}}]", "unsupported scheme \"http\""),
            ("[secrets]", "[{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x', timeout: 0s}}]", "timeout should be a positive value"),
            ("[secrets]", "[{kms: {name: a, endpoint: 'unix:///x'}}]", "KMSv1"),
            ("[secrets]", "[{other: {}}]", "unknown field"),
        ] {
            let got = wrong(resources, providers);
            assert!(if told.is_empty() { got.is_empty() } else { got.contains(told) }, "{resources} {providers}: {got}");
        }
        assert!(Configured::parse("kind: X\napiVersion: v1\n").is_err() && Configured::parse("[").is_err());
    }

    #[test]
    fn patterns_and_spans() {
        for (pattern, resource, hit) in [
            ("secrets", "secrets", true),
            ("secrets", "secrets.x", false),
            ("*.", "pods", true),
            ("*.", "a.b", false),
            ("*.b.c", "a.b.c", true),
            ("*.*", "pods", true),
        ] {
            assert_eq!(matches(pattern, resource), hit, "{pattern} {resource}");
        }
        assert_eq!((span("1m30s"), span("500ms"), span("3"), span("")), (Some(Duration::from_secs(90)), Some(Duration::from_millis(500)), None, None));
    }
}
