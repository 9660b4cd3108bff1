//! The ways into the tables.

use crate::tables::{BY_KIND, BY_NAME};
use crate::types::Type;

/// Kinds that every group version speaks: watch events and the options of requests.
const IN_EVERY_GROUP: &[&str] = &["CreateOptions", "DeleteOptions", "GetOptions", "ListOptions", "PatchOptions", "UpdateOptions", "WatchEvent"];

/// Kinds of meta/v1 that are spoken as plain `v1`.
const UNVERSIONED: &[&str] = &["APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// Every type, ordered by OpenAPI name.
pub fn types() -> &'static [&'static Type] {
    &BY_NAME
}

/// Every type that has `apiVersion` and `kind`, ordered by group, version and kind.
pub fn kinds() -> &'static [&'static Type] {
    &BY_KIND
}

/// The type with this OpenAPI name.
pub fn by_name(name: &str) -> Option<&'static Type> {
    let at = BY_NAME.binary_search_by(|ty| ty.name.cmp(name)).ok()?;
    BY_NAME.get(at).copied()
}

/// The type of a kind. The kinds that every group version speaks are found under each of them.
pub fn by_gvk(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
    let wanted = (group, version, kind);
    let found = BY_KIND.binary_search_by(|ty| (ty.group, ty.version, ty.short_name()).cmp(&wanted));
    if let Some(ty) = found.ok().and_then(|at| BY_KIND.get(at)) {
        return Some(ty);
    }
    let plain = group.is_empty() && version == "v1" && UNVERSIONED.contains(&kind);
    let table = group == "meta.k8s.io" && version == "v1beta1";
    if plain || table || IN_EVERY_GROUP.contains(&kind) {
        return by_name(&format!("{META}{kind}"));
    }
    None
}

/// Whether a kind is one that every group version speaks, such as `DeleteOptions`.
pub fn is_meta_kind(kind: &str) -> bool {
    IN_EVERY_GROUP.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Kind, ListType};

    #[test]
    fn every_index_is_sorted_and_finds_itself() {
        for ty in types() {
            assert_eq!(by_name(ty.name).map(|t| t.name), Some(ty.name));
            for (index, field) in ty.fields.iter().enumerate() {
                assert_eq!(ty.field_index(field.name), Some(index), "{}.{}", ty.name, field.name);
            }
        }
        for ty in kinds() {
            let found = by_gvk(ty.group, ty.version, ty.short_name());
            assert_eq!(found.map(|t| t.name), Some(ty.name));
        }
    }

    #[test]
    fn embedded_structs_are_flat_and_keep_their_tag() {
        let volume = by_name("io.k8s.api.core.v1.Volume").expect("Volume");
        let field = volume.field("emptyDir").expect("emptyDir");
        assert_eq!((field.via, field.tag), ([2, 0], 2));
        assert_eq!(volume.fields.first().map(|f| f.name), Some("name"));
    }

    /// Heads and tables stop reading metadata there (`skiff_meta::Head`, the API server's `sparse`).
    #[test]
    fn managed_fields_come_last_in_metadata() {
        let meta = types().iter().find(|t| t.short_name() == "ObjectMeta").expect("ObjectMeta");
        assert_eq!(meta.fields.last().map(|f| f.name), Some("managedFields"));
    }

    #[test]
    fn facts_of_container_ports() {
        let container = by_name("io.k8s.api.core.v1.Container").expect("Container");
        let ports = container.field("ports").expect("ports");
        assert_eq!(ports.list, ListType::Map);
        assert_eq!(ports.keys(), ["containerPort", "protocol"]);
        assert_eq!(ports.merge_key(), "containerPort");
        let Kind::List(item) = ports.ty.kind else { panic!("ports is not a list") };
        let port = item.struct_type().expect("ContainerPort");
        assert_eq!(port.field("protocol").and_then(|f| f.default()), Some("\"TCP\""));
    }

    #[test]
    fn meta_kinds_are_spoken_everywhere() {
        for (group, version, kind) in [
            ("apps", "v1", "DeleteOptions"),
            ("", "v1", "Status"),
            ("example.com", "v1", "WatchEvent"),
            ("meta.k8s.io", "v1", "Table"),
            ("autoscaling", "v1", "Scale"),
            ("policy", "v1", "Eviction"),
            ("authentication.k8s.io", "v1", "TokenRequest"),
            ("", "v1", "Binding"),
        ] {
            assert!(by_gvk(group, version, kind).is_some(), "{group}/{version} {kind}");
        }
        assert!(by_gvk("example.com", "v1", "Pod").is_none());
    }
}
