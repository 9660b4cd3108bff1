//! Typed views of bytes.
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Serialize, de::DeserializeOwned};
use skiff_meta::{GroupVersionResource, Status, unmanaged};

/// A kind with a typed view in k8s-openapi.
pub trait Object: Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned + Serialize + Send + Sync + 'static {}
impl<K: Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned + Serialize + Send + Sync + 'static> Object for K {}

/// Kinds that live in namespaces.
pub trait Namespaced: Object + Resource<Scope = NamespaceResourceScope> {}
impl<K: Object + Resource<Scope = NamespaceResourceScope>> Namespaced for K {}

/// The resource that serves `K`.
pub fn resource_of<K: Resource>() -> GroupVersionResource {
    GroupVersionResource::new(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT)
}

/// A typed view of canonical JSON, without the managed fields: they would be most of the work, and what is written without
/// them keeps the stored ones. The error names the kind.
pub fn decode<K: Object>(bytes: &[u8]) -> Result<K, Status> {
    let failed = |e| Status::internal(format!("decode {}: {e}", K::KIND));
    let bytes = &*unmanaged(bytes);
    match skiff_json::from_slice(bytes) {
        Ok(k) => Ok(k),
        // Go writes times that are not set as null where the views want a time.
        Err(first) => {
            let mut v: skiff_json::Value = skiff_json::from_slice(bytes).map_err(failed)?;
            set_times(&mut v);
            view(&v).map_err(|_| failed(first))
        }
    }
}

/// A typed view of a value by way of its bytes: decoding values as well would bring the code of each type's decoder again.
pub fn view<T: DeserializeOwned>(value: &skiff_json::Value) -> skiff_json::Result<T> {
    skiff_json::from_slice(&skiff_json::to_vec(value)?)
}

/// Go's zero time for every time that is null.
fn set_times(v: &mut skiff_json::Value) {
    match v {
        skiff_json::Value::Object(m) => {
            for (k, x) in m.iter_mut() {
                if x.is_null() && k.ends_with("Time") {
                    *x = "0001-01-01T00:00:00Z".into();
                } else {
                    set_times(x);
                }
            }
        }
        skiff_json::Value::Array(a) => a.iter_mut().for_each(set_times),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn times_that_are_not_set_do_not_hide_an_object() {
        let bytes = br#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s","creationTimestamp":null},"status":{"conditions":[{"type":"a","status":"True","reason":"r","message":"","lastTransitionTime":null}]}}"#;
        let s: k8s_openapi::api::core::v1::Service = decode(bytes).unwrap();
        assert_eq!(s.metadata.name.as_deref(), Some("s"));
    }
    #[test]
    fn a_view_has_no_managed_fields() {
        let bytes = br#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s","managedFields":[{"manager":"a","fieldsV1":{"f:spec":{}}}]},"spec":{"type":"ClusterIP"}}"#;
        let s: k8s_openapi::api::core::v1::Service = decode(bytes).unwrap();
        assert_eq!((s.metadata.managed_fields, s.spec.and_then(|s| s.type_).as_deref()), (None, Some("ClusterIP")));
    }
}
