//! OpenAPI documents, made on demand out of the table and the schema's facts: one v3 document a group version, and the
//! whole as v2. Of v3 nothing is kept but what the hashes are made of: a client that has a document does not ask again. The v2
//! document is kept packed.
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition>

mod changes;
mod custom;
mod discovery;
mod kept;
mod operation;
mod parameters;
mod paths;
mod v2;
mod v3;

pub(crate) use changes::{Changes, header_date, of_header};
pub(crate) use kept::Cache;
pub(crate) use v2::document as v2_document;
pub(crate) use v3::{find as v3_find, index as v3_index};

use custom::definitions as custom;
use skiff_json::Value;
use skiff_registry::table::Rows;
use skiff_schema::{
    Type,
    openapi::{Descriptions, Dialect},
};

/// What documents call the API's version.
const RELEASE: &str = "1.37";

/// The definition that bodies of patches refer to; no type reaches it.
fn patch_definition(v3: bool, descriptions: &Descriptions) -> Option<(String, Value)> {
    let name = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
    let dialect = if v3 { Dialect::V3 } else { Dialect::V2 };
    Some((name.to_owned(), skiff_schema::openapi::definition(name, dialect, "", "v1", descriptions)?))
}

/// Kinds that every group's paths speak of.
const SHARED: [&str; 4] = ["APIResourceList", "DeleteOptions", "Status", "WatchEvent"];

/// `io.k8s.api.apps.v1.Deployment`, or for a custom resource its group turned round.
pub(crate) fn definition_name(group: &str, version: &str, kind: &str) -> String {
    match skiff_schema::by_gvk(group, version, kind) {
        Some(ty) => ty.name.to_owned(),
        None => {
            let mut parts: Vec<&str> = group.split('.').collect();
            parts.reverse();
            format!("{}.{version}.{kind}", parts.join("."))
        }
    }
}

/// Built-in types that a group version's documents start from.
fn roots(rows: &Rows, group: &str, version: &str) -> Vec<&'static Type> {
    let mut roots: Vec<&'static Type> =
        SHARED.iter().filter_map(|k| skiff_schema::by_gvk("meta.k8s.io", "v1", k).or_else(|| skiff_schema::by_gvk("", "v1", k))).collect();
    let mut add = |group: &str, version: &str, kind: &str| {
        if let Some(ty) = skiff_schema::by_gvk(group, version, kind) {
            roots.push(ty);
        }
    };
    let mut own = false;
    for r in rows.of_version(group, version) {
        own |= r.shape.published(&r.gvk(version), true).is_some();
        add(group, version, &r.kind);
        add(group, version, &format!("{}List", r.kind));
        for s in &r.subresources {
            let (g, v) = if s.kind.version.is_empty() { (group, version) } else { (&*s.kind.group, &*s.kind.version) };
            add(g, v, &s.kind.kind);
        }
    }
    // Nothing but custom resources may speak of these there.
    if own {
        roots.extend(["ObjectMeta", "ListMeta"].iter().filter_map(|t| skiff_schema::by_name(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{t}"))));
    }
    roots
}
