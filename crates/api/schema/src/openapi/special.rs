//! Named definitions of types that are no structs on the wire.

use skiff_json::{Value, json};

use super::definition::Dialect;
use crate::types::Kind;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Such a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Duration,
    RawExtension,
    FieldsV1,
    Json,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
    Patch,
}

const ALL: [Special; 12] = [
    Special::Quantity,
    Special::IntOrString,
    Special::Time,
    Special::MicroTime,
    Special::Duration,
    Special::RawExtension,
    Special::FieldsV1,
    Special::Json,
    Special::SchemaOrArray,
    Special::SchemaOrBool,
    Special::SchemaOrStrings,
    Special::Patch,
];

impl Special {
    pub fn of(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Quantity => Self::Quantity,
            Kind::IntOrString => Self::IntOrString,
            Kind::Time => Self::Time,
            Kind::MicroTime => Self::MicroTime,
            Kind::Duration => Self::Duration,
            Kind::RawExtension => Self::RawExtension,
            Kind::FieldsV1 => Self::FieldsV1,
            Kind::Json => Self::Json,
            Kind::SchemaOrArray => Self::SchemaOrArray,
            Kind::SchemaOrBool => Self::SchemaOrBool,
            Kind::SchemaOrStrings => Self::SchemaOrStrings,
            _ => return None,
        })
    }

    pub fn by_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|special| special.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity",
            Self::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            Self::Time => "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
            Self::MicroTime => "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
            Self::Duration => "io.k8s.apimachinery.pkg.apis.meta.v1.Duration",
            Self::RawExtension => "io.k8s.apimachinery.pkg.runtime.RawExtension",
            Self::FieldsV1 => "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
            Self::Patch => "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
            Self::Json => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
            Self::SchemaOrArray => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
            Self::SchemaOrBool => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
            Self::SchemaOrStrings => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
        }
    }

    pub fn schema(self, dialect: Dialect) -> Value {
        match (self, dialect) {
            (Self::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            (Self::Quantity, Dialect::V2) => json!({"type": "string"}),
            (Self::IntOrString, Dialect::V3) => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            (Self::IntOrString, Dialect::V2) => json!({"format": "int-or-string", "type": "string"}),
            (Self::Time | Self::MicroTime, _) => json!({"format": "date-time", "type": "string"}),
            (Self::Duration, _) => json!({"type": "string"}),
            (Self::RawExtension | Self::FieldsV1 | Self::Patch, _) => json!({"type": "object"}),
            _ => json!({}),
        }
    }
}

/// Kinds of meta/v1 that every group version speaks, or that are plain `v1`.
pub fn is_meta(package: &str) -> bool {
    package == META
}
