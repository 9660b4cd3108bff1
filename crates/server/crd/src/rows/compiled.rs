//! A version's schema, ready for use.
use crate::{cel::Rules, jsonpath::JsonPath, schema::Schema};
use skiff_json::Value;
use skiff_meta::value::{at, list, text};
use std::collections::BTreeMap;

pub struct Compiled {
    /// `openAPIV3Schema` as it was given; null when there is none.
    pub raw: Value,
    pub schema: Schema,
    pub rules: Rules,
    /// Whether the status has a subresource of its own.
    pub status: bool,
    pub scale: Option<Scale>,
    /// By the name that field selectors use.
    pub selectable: BTreeMap<String, JsonPath>,
}

/// JSON paths with their leading dot.
#[derive(Clone, Debug)]
pub struct Scale {
    pub desired: String,
    pub current: String,
    pub selector: String,
}

impl Compiled {
    /// Reads a version of the definition in `bytes`; what cannot be read counts as no schema.
    pub fn read(bytes: &[u8], version: &str) -> Self {
        let definition: Value = skiff_json::from_slice(bytes).unwrap_or_default();
        let null = Value::Null;
        let v = list(&definition, "spec.versions").iter().find(|v| text(v, "name") == version).unwrap_or(&null);
        let raw = at(v, "schema.openAPIV3Schema").cloned().unwrap_or_default();
        let selectable = list(v, "selectableFields").iter().filter_map(|f| {
            let path = text(f, "jsonPath");
            Some((path.strip_prefix('.').unwrap_or(path).to_owned(), JsonPath::parse(path).ok()?))
        });
        let scale = at(v, "subresources.scale").map(|s| Scale {
            desired: text(s, "specReplicasPath").to_owned(),
            current: text(s, "statusReplicasPath").to_owned(),
            selector: text(s, "labelSelectorPath").to_owned(),
        });
        let schema = Schema::read(&raw);
        Self { rules: Rules::compile(&schema), schema, status: at(v, "subresources.status").is_some(), scale, selectable: selectable.collect(), raw }
    }
}
