//! Making a token out of a TokenRequest.
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>
use super::{Claims, Issuer, Kubernetes, Reference};
use serde::Deserialize;
use skiff_json::{Value, json};
use skiff_meta::{Cause, GroupResource, Head, Status, Timestamp};

/// A request for so long (an hour and seven seconds) is a projected volume's …
const WARN_ONLY: i64 = 3607;
/// … and its token lives a year, so that a client that never reads it again is warned of before it is refused.
const EXTENDED: i64 = 365 * 24 * 3600;
const DEFAULT: i64 = 3600;
const MIN: i64 = 600;
const MAX: i64 = 1 << 32;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    audiences: Option<Vec<String>>,
    expiration_seconds: Option<i64>,
    bound_object_ref: Option<BoundRef>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BoundRef {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
}

/// A TokenRequest with its status.
#[derive(Debug)]
pub struct Issued {
    pub request: Value,
    /// The id of the token, for the audit log.
    pub id: String,
}

impl Issuer {
    /// Answers a TokenRequest for the account `namespace`/`name`. The caller has authorised it.
    pub fn issue(&self, namespace: &str, name: &str, mut request: Value) -> Result<Issued, Status> {
        let accounts = GroupResource::new("", "serviceaccounts");
        let account = self.store.get(&format!("serviceaccounts/{namespace}/{name}")).ok_or_else(|| Status::not_found(&accounts, name))?;
        let uid = account.row.uid.to_string();
        let now = self.seconds();
        complete_metadata(&mut request, namespace, name, &uid, now)?;
        let spec = Spec::deserialize(request.get("spec").unwrap_or(&Value::Null)).or_else(|e| match request.get("spec") {
            None | Some(Value::Null) => Ok(Spec::default()),
            Some(_) => Err(Status::bad_request(format!("spec: {e}"))),
        })?;
        let audiences = spec.audiences.filter(|a| !a.is_empty()).unwrap_or_else(|| self.audiences.clone());
        let asked = spec.expiration_seconds.unwrap_or(DEFAULT);
        check_lifetime(asked)?;
        let reference = |name: &str, uid: &str| Reference { name: name.into(), uid: uid.into() };
        let mut kubernetes = Kubernetes { namespace: namespace.into(), serviceaccount: reference(name, &uid), ..Kubernetes::default() };
        if let Some(bound) = &spec.bound_object_ref {
            self.bind(bound, &mut kubernetes)?;
        }
        let for_us = audiences.iter().all(|a| self.audiences.contains(a));
        let extended = asked == WARN_ONLY && kubernetes.pod.is_some() && for_us;
        kubernetes.warnafter = extended.then_some(now + asked);
        let claims = Claims {
            aud: audiences.clone(),
            exp: Some(now + if extended { EXTENDED } else { asked }),
            iat: Some(now),
            iss: self.name.clone(),
            jti: (self.unique)(),
            sub: format!("system:serviceaccount:{namespace}:{name}"),
            nbf: Some(now),
            kubernetes,
        };
        let token = self.keys.sign(&json!(claims)).map_err(|e| Status::internal(format!("failed to generate token: {e}")))?;
        request["spec"]["audiences"] = json!(audiences);
        request["spec"]["expirationSeconds"] = asked.into();
        if request["spec"].get("boundObjectRef").is_none() {
            request["spec"]["boundObjectRef"] = Value::Null;
        }
        request["status"] = json!({"token": token, "expirationTimestamp": Timestamp(now + asked).to_string()});
        Ok(Issued { request, id: claims.jti })
    }

    /// Binds the token to a pod of the account (with its node), a secret or a node.
    fn bind(&self, bound: &BoundRef, claims: &mut Kubernetes) -> Result<(), Status> {
        let (resource, namespace) = match (bound.api_version.as_str(), bound.kind.as_str()) {
            ("v1", "Pod") => ("pods", claims.namespace.as_str()),
            ("v1", "Secret") => ("secrets", claims.namespace.as_str()),
            ("v1", "Node") => ("nodes", ""),
            (version, kind) => return Err(Status::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}"))),
        };
        let found = self.store.get(&format!("{resource}/{namespace}/{}", bound.name));
        let entry = found.ok_or_else(|| Status::not_found(&GroupResource::new("", resource), &bound.name))?;
        let uid = entry.row.uid.as_str();
        if !bound.uid.is_empty() && bound.uid != uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                bound.uid
            );
            return Err(Status::conflict(&GroupResource::new("", bound.kind.clone()), &bound.name, &why));
        }
        let reference = Some(Reference { name: bound.name.clone(), uid: uid.to_owned() });
        match resource {
            "secrets" => claims.secret = reference,
            "nodes" => claims.node = reference,
            _ => {
                let pod: PodWire = skiff_json::from_slice(&entry.bytes).map_err(|e| Status::internal(format!("pod {:?}: {e}", bound.name)))?;
                if pod.spec.service_account_name != claims.serviceaccount.name {
                    let why =
                        format!("cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.", claims.serviceaccount.name);
                    return Err(Status::bad_request(why));
                }
                claims.pod = reference;
                let node = Some(pod.spec.node_name).filter(|n| !n.is_empty());
                let uid = |name: &str| self.store.get(&format!("nodes//{name}")).map_or_else(String::new, |n| n.row.uid.to_string());
                claims.node = node.map(|name| Reference { uid: uid(&name), name });
            }
        }
        Ok(())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodWire {
    spec: PodSpec,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    service_account_name: String,
    node_name: String,
}

fn invalid(name: &str, field: &str, value: Value, why: &str) -> Status {
    let cause = Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {value}: {why}"), field: field.into() };
    Status::invalid("authentication.k8s.io", "TokenRequest", name, vec![cause])
}

fn check_lifetime(seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..MIN => "may not specify a duration less than 10 minutes",
        MIN..=MAX => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(invalid("", "spec.expirationSeconds", seconds.into(), why))
}

/// Name, namespace and uid of the account stand in the request's metadata, and may not contradict it.
fn complete_metadata(request: &mut Value, namespace: &str, name: &str, uid: &str, now: i64) -> Result<(), Status> {
    let head = Head::of(request.to_string().as_bytes()).map_err(|e| Status::bad_request(format!("metadata: {e}")))?;
    for (field, given, wanted) in [("name", &head.name, name), ("namespace", &head.namespace, namespace)] {
        if !given.is_empty() && given != wanted {
            let why = format!("must match the service account {field} if specified");
            return Err(invalid(name, &format!("metadata.{field}"), given.as_str().into(), &why));
        }
    }
    if !head.uid.is_empty() && head.uid != uid {
        let why = format!("the UID in the token request ({}) does not match the UID of the service account ({uid})", head.uid);
        return Err(Status::conflict(&GroupResource::new("authentication.k8s.io", "TokenRequest"), name, &why));
    }
    if !request["metadata"].is_object() {
        request["metadata"] = json!({});
    }
    for (field, value) in [("name", name), ("namespace", namespace), ("uid", uid)] {
        request["metadata"][field] = value.into();
    }
    request["metadata"]["creationTimestamp"] = Timestamp(now).to_string().into();
    if !request["spec"].is_object() {
        request["spec"] = json!({});
    }
    Ok(())
}
