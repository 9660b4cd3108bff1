//! The environment of a container, out of its declarations and what they refer to.
use crate::expand::expand;
use crate::field::{self, FieldError, NodeFacts};
use crate::view;
use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};
use std::collections::BTreeMap;
use thiserror::Error;

/// The text entries of a ConfigMap or a Secret.
pub type Entries = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefKind {
    ConfigMap,
    Secret,
}

impl RefKind {
    pub fn as_str(self) -> &'static str {
        match self {
            RefKind::ConfigMap => "ConfigMap",
            RefKind::Secret => "Secret",
        }
    }
    fn resource(self) -> &'static str {
        match self {
            RefKind::ConfigMap => "configmap",
            RefKind::Secret => "secret",
        }
    }
}

/// ConfigMaps and Secrets of the pod's namespace that were found, by kind and name.
pub type Sources = BTreeMap<(RefKind, String), Entries>;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum EnvError {
    #[error("{} {name:?} not found", .kind.resource())]
    Missing { kind: RefKind, name: String },
    #[error("couldn't find key {key} in {} {namespace}/{name}", .kind.as_str())]
    Key { kind: RefKind, namespace: String, name: String, key: String },
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// What a container's environment refers to, each once.
pub fn references(c: &Container) -> Vec<(RefKind, String)> {
    let mut all = Vec::new();
    for from in c.env_from.iter().flatten() {
        all.extend(from.config_map_ref.as_ref().map(|r| (RefKind::ConfigMap, r.name.clone())));
        all.extend(from.secret_ref.as_ref().map(|r| (RefKind::Secret, r.name.clone())));
    }
    for source in c.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        all.extend(source.config_map_key_ref.as_ref().map(|r| (RefKind::ConfigMap, r.name.clone())));
        all.extend(source.secret_key_ref.as_ref().map(|r| (RefKind::Secret, r.name.clone())));
    }
    all.sort();
    all.dedup();
    all
}

/// Variables in the order of their declaration, then those of `envFrom` and of Services that nothing overrode.
pub fn environment(
    pod: &Pod,
    c: &Container,
    sources: &Sources,
    services: &[(String, String)],
    node: &NodeFacts<'_>,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut known: BTreeMap<String, String> = from_whole(c, sources)?;
    let service: BTreeMap<&str, &str> = services.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut order: Vec<String> = Vec::new();
    for var in c.env.iter().flatten() {
        let value = match (var.value.as_deref().filter(|v| !v.is_empty()), &var.value_from) {
            (Some(text), _) => Some(expand(text, |n| known.get(n).map(String::as_str).or_else(|| service.get(n).copied()))),
            (None, Some(source)) => sourced(pod, c, source, sources, node)?,
            (None, None) => Some(String::new()),
        };
        let Some(value) = value else { continue };
        if !order.contains(&var.name) {
            order.push(var.name.clone());
        }
        known.insert(var.name.clone(), value);
    }
    let mut out: Vec<(String, String)> = order.iter().filter_map(|n| known.remove_entry(n)).collect();
    for (k, v) in services {
        if !known.contains_key(k) && !order.contains(k) {
            out.push((k.clone(), v.clone()));
        }
    }
    out.extend(known);
    Ok(out)
}

fn from_whole(c: &Container, sources: &Sources) -> Result<BTreeMap<String, String>, EnvError> {
    let mut all = BTreeMap::new();
    for from in c.env_from.iter().flatten() {
        let (kind, name, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(r), _) => (RefKind::ConfigMap, &r.name, r.optional),
            (None, Some(r)) => (RefKind::Secret, &r.name, r.optional),
            (None, None) => continue,
        };
        let Some(entries) = lookup(sources, kind, name, optional)? else { continue };
        let prefix = from.prefix.as_deref().unwrap_or_default();
        all.extend(entries.iter().map(|(k, v)| (format!("{prefix}{k}"), v.clone())));
    }
    Ok(all)
}

fn lookup<'a>(sources: &'a Sources, kind: RefKind, name: &str, optional: Option<bool>) -> Result<Option<&'a Entries>, EnvError> {
    match sources.get(&(kind, name.to_owned())) {
        Some(e) => Ok(Some(e)),
        None if optional == Some(true) => Ok(None),
        None => Err(EnvError::Missing { kind, name: name.to_owned() }),
    }
}

/// None: an optional source isn't there, so there is no variable.
fn sourced(pod: &Pod, c: &Container, source: &EnvVarSource, sources: &Sources, node: &NodeFacts<'_>) -> Result<Option<String>, EnvError> {
    if let Some(f) = &source.field_ref {
        return Ok(Some(field::field(pod, &f.field_path, node)?));
    }
    if let Some(r) = &source.resource_field_ref {
        return Ok(Some(field::resource(pod, Some(c), r, node)?));
    }
    let (kind, name, key, optional) = match (&source.config_map_key_ref, &source.secret_key_ref) {
        (Some(r), _) => (RefKind::ConfigMap, &r.name, &r.key, r.optional),
        (None, Some(r)) => (RefKind::Secret, &r.name, &r.key, r.optional),
        (None, None) => return Ok(Some(String::new())),
    };
    let Some(entries) = lookup(sources, kind, name, optional)? else { return Ok(None) };
    match entries.get(key) {
        Some(v) => Ok(Some(v.clone())),
        None if optional == Some(true) => Ok(None),
        None => Err(EnvError::Key { kind, namespace: view::namespace(pod).to_owned(), name: name.clone(), key: key.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;

    fn env_of(container: &str) -> Result<Vec<String>, EnvError> {
        let p = pod(&format!(r#"{{"containers":[{{"name":"a",{container}}}]}}"#));
        let sources = Sources::from([
            ((RefKind::ConfigMap, "cm".into()), Entries::from([("k".into(), "cv".into()), ("l".into(), "lv".into())])),
            ((RefKind::Secret, "s".into()), Entries::from([("k".into(), "sv".into())])),
        ]);
        let services = [("KUBERNETES_SERVICE_HOST".to_owned(), "10.43.0.1".to_owned())];
        let c = &view::containers(&p)[0];
        environment(&p, c, &sources, &services, &NodeFacts::default()).map(|v| v.into_iter().map(|(k, v)| format!("{k}={v}")).collect())
    }

    #[test]
    fn order_expansion_and_sources() {
        let got = env_of(
            r#""envFrom":[{"prefix":"P_","configMapRef":{"name":"cm"}}],
               "env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)-$(P_k)-$(KUBERNETES_SERVICE_HOST)-$(NO)"},
                      {"name":"P_l","value":"mine"},{"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},
                      {"name":"O","valueFrom":{"configMapKeyRef":{"name":"none","key":"k","optional":true}}},
                      {"name":"N","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"E"}]"#,
        );
        let want = ["A=1", "B=1-cv-10.43.0.1-$(NO)", "P_l=mine", "S=sv", "N=p", "E=", "KUBERNETES_SERVICE_HOST=10.43.0.1", "P_k=cv"];
        assert_eq!(got.unwrap(), want);
    }
    #[test]
    fn what_is_missing_is_named() {
        for (container, want) in [
            (r#""envFrom":[{"configMapRef":{"name":"x"}}]"#, "configmap \"x\" not found"),
            (r#""env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"z"}}}]"#, "couldn't find key z in Secret ns/s"),
        ] {
            assert_eq!(env_of(container).unwrap_err().to_string(), want);
        }
        assert_eq!(env_of(r#""envFrom":[{"configMapRef":{"name":"x","optional":true}}]"#).unwrap().len(), 1);
    }
}
