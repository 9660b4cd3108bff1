//! OpenAPI definitions of types, made from the tables when a document is asked for.
//!
//! Paths are not made here: the API server has the table of resources. Nothing is kept: a document is built, served,
//! and cached as bytes by its server.

mod definition;
mod descriptions;
mod special;

use std::collections::BTreeMap;

use skiff_json::{Map, Value};

use crate::lookup::{kinds, types};
use crate::types::{Kind, Ty, Type};

pub use definition::Dialect;
use definition::Writer;
pub use descriptions::Descriptions;
use special::Special;

/// `components.schemas` of an OpenAPI v3 document of a group version: the roots and all that they refer to.
pub fn definitions_v3(roots: &[&'static Type], group: &str, version: &str, descriptions: &Descriptions) -> Map {
    let versions = shared_versions(group, version);
    definitions(roots, &Writer { dialect: Dialect::V3, descriptions, versions })
}

/// `definitions` of the OpenAPI v2 document: the roots and all that they refer to.
pub fn definitions_v2(roots: &[&'static Type], descriptions: &Descriptions) -> Map {
    let mut versions: Vec<(String, String)> = kinds().iter().map(|k| (k.group.to_owned(), k.version.to_owned())).collect();
    versions.retain(|(group, _)| group != "meta.k8s.io");
    versions.sort();
    versions.dedup();
    definitions(roots, &Writer { dialect: Dialect::V2, descriptions, versions })
}

/// One definition, as in the documents.
pub fn definition(name: &str, dialect: Dialect, group: &str, version: &str, descriptions: &Descriptions) -> Option<Value> {
    let versions = shared_versions(group, version);
    let writer = Writer { dialect, descriptions, versions };
    if let Some(ty) = types().iter().find(|ty| ty.name == name) {
        return Some(writer.structure(ty));
    }
    Special::by_name(name).map(|special| writer.special(special))
}

/// Where a document of a group version finds the kinds of every group: in the core group, and in its own.
fn shared_versions(group: &str, version: &str) -> Vec<(String, String)> {
    let mut versions = vec![(String::new(), "v1".to_owned()), (group.to_owned(), version.to_owned())];
    versions.dedup();
    versions
}

fn definitions(roots: &[&'static Type], writer: &Writer<'_>) -> Map {
    let mut reached = Reached::default();
    for root in roots {
        reached.visit(root);
    }
    let mut out = BTreeMap::new();
    for (name, ty) in reached.types {
        out.insert(name, writer.structure(ty));
    }
    for special in reached.special {
        out.insert(special.name(), writer.special(special));
    }
    out.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What the roots refer to.
#[derive(Default)]
struct Reached {
    types: BTreeMap<&'static str, &'static Type>,
    special: Vec<Special>,
}

impl Reached {
    fn visit(&mut self, root: &'static Type) {
        let mut waiting = vec![root];
        while let Some(ty) = waiting.pop() {
            if self.types.insert(ty.name, ty).is_none() {
                for field in ty.fields {
                    self.refer(&field.ty, &mut waiting);
                }
            }
        }
    }

    fn refer(&mut self, ty: &'static Ty, waiting: &mut Vec<&'static Type>) {
        match ty.kind {
            Kind::Ref(inner) => waiting.push(inner),
            Kind::List(item) => self.refer(item, waiting),
            Kind::Map(map) => self.refer(&map.value, waiting),
            kind => {
                let special = Special::of(kind).filter(|special| !self.special.contains(special));
                self.special.extend(special);
            }
        }
    }
}

#[cfg(test)]
mod tests;
