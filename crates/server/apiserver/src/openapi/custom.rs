//! Definitions that custom resources bring along: the kind and its list.
use super::definition_name;
use skiff_json::{Map, Value, json};
use skiff_registry::table::{Resource, Rows};
use skiff_schema::openapi::{Descriptions, Dialect, definition};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// A type whose descriptions of `apiVersion`, `kind` and `metadata` are those of every other.
const ANY: &str = "io.k8s.api.core.v1.ConfigMap";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// What every object has.
struct Identity {
    api_version: Value,
    kind: Value,
    metadata: Value,
}

impl Identity {
    fn new(v3: bool, descriptions: &Descriptions) -> Self {
        let any = definition(ANY, dialect(v3), "", "v1", descriptions).unwrap_or_default();
        let text = any["properties"]["metadata"]["description"].clone();
        let reference = format!("{}{OBJECT_META}", prefix(v3));
        let metadata = if v3 { json!({"allOf": [{"$ref": reference}], "description": text}) } else { json!({"$ref": reference, "description": text}) };
        Self { api_version: any["properties"]["apiVersion"].clone(), kind: any["properties"]["kind"].clone(), metadata }
    }
    fn put(&self, schema: &mut Value) {
        schema["properties"]["apiVersion"] = self.api_version.clone();
        schema["properties"]["kind"] = self.kind.clone();
        schema["properties"]["metadata"] = self.metadata.clone();
    }
    /// The same for objects inside of objects, which must say what they are.
    fn put_embedded(&self, schema: &mut Value, v3: bool) {
        let Value::Object(m) = schema else { return };
        for key in ["items", "additionalProperties"] {
            if let Some(below) = m.get_mut(key) {
                self.put_embedded(below, v3);
            }
        }
        if let Some(Value::Object(p)) = m.get_mut("properties") {
            p.values_mut().for_each(|v| self.put_embedded(v, v3));
        }
        let set = |k: &str| m.get(k) == Some(&Value::Bool(true));
        if !set("x-kubernetes-embedded-resource") || (!v3 && set("x-kubernetes-preserve-unknown-fields")) {
            return;
        }
        self.put(schema);
        let mut required = schema["required"].as_array().cloned().unwrap_or_default();
        for key in ["kind", "apiVersion"] {
            if !required.iter().any(|r| r == key) {
                required.push(key.into());
            }
        }
        schema["required"] = required.into();
    }
}

fn dialect(v3: bool) -> Dialect {
    if v3 { Dialect::V3 } else { Dialect::V2 }
}
fn prefix(v3: bool) -> &'static str {
    if v3 { "#/components/schemas/" } else { "#/definitions/" }
}

/// The definitions of a group version's custom resources, by name.
pub(super) fn definitions(rows: &Rows, group: &str, version: &str, v3: bool, descriptions: &Descriptions) -> Map {
    let mut out = Map::new();
    let mut identity = None;
    for r in rows.of_version(group, version) {
        let Some(published) = r.shape.published(&r.gvk(version), v3) else { continue };
        let identity = identity.get_or_insert_with(|| Identity::new(v3, descriptions));
        let mut schema = published.schema;
        if !published.open {
            identity.put_embedded(&mut schema, v3);
            identity.put(&mut schema);
        }
        schema["x-kubernetes-group-version-kind"] = json!([{"group": r.group, "kind": r.kind, "version": version}]);
        let name = definition_name(group, version, &r.kind);
        let mut all = list(&r, version, &name, v3, identity);
        if !published.selectable.is_empty() {
            let fields: Value = published.selectable.iter().map(|f| json!({"fieldPath": f})).collect();
            schema["x-kubernetes-selectable-fields"] = fields.clone();
            all["x-kubernetes-selectable-fields"] = fields;
        }
        out.insert(definition_name(group, version, &r.list_kind()), all);
        out.insert(name, schema);
    }
    out
}

/// What the definitions depend on, without what is the same for all.
pub(super) fn facts(rows: &Rows, group: &str, version: &str) -> String {
    let mut facts = String::new();
    for r in rows.of_version(group, version) {
        if let Some(p) = r.shape.published(&r.gvk(version), true) {
            facts += &format!("\n{} {} {:?}", r.list_kind(), p.schema, p.selectable);
        }
    }
    facts
}

fn list(r: &Resource, version: &str, item: &str, v3: bool, identity: &Identity) -> Value {
    let items = json!({"$ref": format!("{}{item}", prefix(v3))});
    let reference = json!({"$ref": format!("{}{LIST_META}", prefix(v3))});
    let types = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
    let metadata = if v3 { json!({"allOf": [reference], "description": types}) } else { json!({"$ref": reference["$ref"], "description": types}) };
    let text = format!("List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", r.plural);
    json!({
        "description": format!("{} is a list of {}", r.list_kind(), r.kind),
        "type": "object",
        "required": ["items"],
        "properties": {"apiVersion": identity.api_version, "items": {"description": text, "type": "array", "items": items}, "kind": identity.kind, "metadata": metadata},
        "x-kubernetes-group-version-kind": [{"group": r.group, "kind": r.list_kind(), "version": version}],
    })
}
