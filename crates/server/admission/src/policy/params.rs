//! The objects that a binding hands to its policy as `params`.
use super::declaration::Reference;
use crate::value;
use bytes::Bytes;
use skiff_json::Value;
use skiff_meta::GroupVersionKind;
use skiff_policy::{Attributes, Served};
use skiff_request::Target;

/// What a policy is evaluated with, once for each: None is no parameters. The error is a fault of the configuration.
pub(super) async fn params(a: &Attributes<'_>, kind: Option<&GroupVersionKind>, reference: Option<&Reference>) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(r)) = (kind, reference) else { return Ok(vec![None]) };
    let served = a.lookup.served(kind).ok_or_else(|| unknown(kind))?;
    let namespace = namespace(a, &served, r)?;
    let found = match &r.selector {
        _ if !r.name.is_empty() => a.lookup.get(&served.storage, namespace, &r.name).into_iter().collect(),
        Some(selector) => {
            let selector = selector.as_ref().map_err(Clone::clone)?;
            let mut all = a.lookup.list(&served.storage, namespace);
            all.retain(|b| selects(selector, b));
            all
        }
        None => return Err("one of name or selector must be provided".into()),
    };
    if found.is_empty() && r.must_exist {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    let mut all = Vec::with_capacity(found.len());
    for b in &found {
        all.push(Some(read(a, kind, &served, b).await?));
    }
    Ok(all)
}

pub(super) fn unknown(kind: &GroupVersionKind) -> String {
    format!("failed to find resource referenced by paramKind: '{kind}'")
}

/// Parameters of a namespace are those of the reference's, or of the request's.
fn namespace<'a>(a: &'a Attributes<'_>, served: &Served, r: &'a Reference) -> Result<&'a str, String> {
    match (served.namespaced, r.namespace.as_str(), crate::webhook::matching::namespace_of(a)) {
        (false, "", _) => Ok(""),
        (false, ..) => Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into()),
        (true, "", "") => Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into()),
        (true, "", own) => Ok(own),
        (true, given, _) => Ok(given),
    }
}

fn selects(selector: &skiff_meta::LabelSelector, object: &Bytes) -> bool {
    let v: Value = skiff_json::from_slice(object).unwrap_or_default();
    let labels = value::map(&v, "metadata.labels");
    selector.matches_with(|k| labels.and_then(|m| m.get(k)).and_then(Value::as_str))
}

async fn read(a: &Attributes<'_>, kind: &GroupVersionKind, served: &Served, object: &Bytes) -> Result<Value, String> {
    let v = skiff_json::from_slice(object).map_err(|e| format!("decode parameters of {kind}: {e}"))?;
    if served.stored == *kind {
        return Ok(v);
    }
    let target = Target::new(served.resource.clone(), "", "");
    a.lookup.convert(&target, v, &served.stored, kind).await.map_err(|s| s.message)
}
