//! Typed views of bytes.
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Serialize, de::DeserializeOwned};
use skiff_meta::{GroupVersionResource, Status};

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

/// A typed view of canonical JSON; the error names the kind.
pub fn decode<K: Object>(bytes: &[u8]) -> Result<K, Status> {
    serde_json::from_slice(bytes).map_err(|e| Status::internal(format!("decode {}: {e}", K::KIND)))
}
