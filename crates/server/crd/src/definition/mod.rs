//! A definition as the rest of the crate needs it, read out of its JSON.

pub mod check;
mod names;
mod shape;

pub use names::{Claimed, Decided, decide};
pub use shape::install;

use skiff_json::Value;
use skiff_meta::value::{at, flag, int, list, text};

/// Keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
pub const GROUP: &str = "apiextensions.k8s.io";
pub const PLURAL: &str = "customresourcedefinitions";
/// Where definitions are stored.
pub const PREFIX: &str = "customresourcedefinitions.apiextensions.k8s.io/";

/// The names of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub short: Vec<String>,
    pub kind: String,
    pub list_kind: String,
    pub categories: Vec<String>,
}

/// One version of a resource, without its schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub name: String,
    pub served: bool,
    pub storage: bool,
    pub deprecated: bool,
    pub warning: Option<String>,
    pub status: bool,
    pub scale: Option<Scale>,
    pub columns: Vec<Column>,
}

/// JSON paths with their leading dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    pub desired: String,
    pub current: String,
    pub selector: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i32,
    pub path: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub group: String,
    pub namespaced: bool,
    pub names: Names,
    pub accepted: Names,
    pub versions: Vec<Version>,
    pub names_accepted: bool,
    pub established: bool,
    pub terminating: bool,
    pub deleting: bool,
    /// Whether the objects are still to be deleted before the definition goes.
    pub cleanup: bool,
    pub webhook: bool,
}

fn texts(v: &Value, path: &str) -> Vec<String> {
    list(v, path).iter().filter_map(|x| x.as_str().map(str::to_owned)).collect()
}

impl Names {
    pub fn read(v: &Value) -> Names {
        let own = |key| text(v, key).to_owned();
        Names {
            plural: own("plural"),
            singular: own("singular"),
            short: texts(v, "shortNames"),
            kind: own("kind"),
            list_kind: own("listKind"),
            categories: texts(v, "categories"),
        }
    }
    /// As the status of a definition has them.
    pub fn write(&self) -> Value {
        let mut v = skiff_json::json!({"plural": self.plural, "kind": self.kind});
        for (key, one) in [("singular", &self.singular), ("listKind", &self.list_kind)] {
            if !one.is_empty() {
                v[key] = one.as_str().into();
            }
        }
        for (key, many) in [("shortNames", &self.short), ("categories", &self.categories)] {
            if !many.is_empty() {
                v[key] = many.clone().into();
            }
        }
        v
    }
}

/// Whether a condition of a definition is true.
pub fn holds(v: &Value, kind: &str) -> bool {
    list(v, "status.conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

impl Definition {
    pub fn read(v: &Value) -> Definition {
        let null = Value::Null;
        Definition {
            name: text(v, "metadata.name").to_owned(),
            uid: text(v, "metadata.uid").to_owned(),
            generation: int(v, "metadata.generation"),
            group: text(v, "spec.group").to_owned(),
            namespaced: text(v, "spec.scope") == "Namespaced",
            names: Names::read(at(v, "spec.names").unwrap_or(&null)),
            accepted: Names::read(at(v, "status.acceptedNames").unwrap_or(&null)),
            versions: list(v, "spec.versions").iter().map(version).collect(),
            names_accepted: holds(v, "NamesAccepted"),
            established: holds(v, "Established"),
            terminating: holds(v, "Terminating"),
            deleting: at(v, "metadata.deletionTimestamp").is_some(),
            cleanup: list(v, "metadata.finalizers").iter().any(|f| f == CLEANUP),
            webhook: text(v, "spec.conversion.strategy") == "Webhook",
        }
    }
    pub fn stored(&self) -> Option<&Version> {
        self.versions.iter().find(|v| v.storage)
    }
}

fn version(v: &Value) -> Version {
    let scale = at(v, "subresources.scale").map(|s| Scale {
        desired: text(s, "specReplicasPath").to_owned(),
        current: text(s, "statusReplicasPath").to_owned(),
        selector: text(s, "labelSelectorPath").to_owned(),
    });
    Version {
        name: text(v, "name").to_owned(),
        served: flag(v, "served"),
        storage: flag(v, "storage"),
        deprecated: flag(v, "deprecated"),
        warning: at(v, "deprecationWarning").and_then(Value::as_str).map(str::to_owned),
        status: at(v, "subresources.status").is_some(),
        scale,
        columns: list(v, "additionalPrinterColumns").iter().map(column).collect(),
    }
}

fn column(v: &Value) -> Column {
    let own = |key| text(v, key).to_owned();
    let priority = i32::try_from(int(v, "priority")).unwrap_or_default();
    Column { name: own("name"), kind: own("type"), format: own("format"), description: own("description"), priority, path: own("jsonPath") }
}
