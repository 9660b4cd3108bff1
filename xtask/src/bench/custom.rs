//! Objects of a custom resource with many fields and rules.

use super::api::{MANY, NAMESPACE};
use super::load::Load;
use super::subject::Subject;
use super::table::Figure;
use skiff_json::{Map, Value, json};
use std::time::Duration;

const GROUP: &str = "bench.skiff.local";
const FIELDS: usize = 50;
const OBJECTS: usize = 5000;

fn definition() -> Value {
    let fields: Map =
        (0..FIELDS).map(|i| (format!("field{i}"), if i < 40 { json!({"type": "string", "maxLength": 64}) } else { json!({"type": "integer"}) })).collect();
    let rules = json!([
        {"rule": "self.field40 < self.field41", "message": "40 is below 41"},
        {"rule": "self.field0.startsWith('v')", "message": "0 begins with v"},
        {"rule": "self.field1.matches('^v[a-z ]+[0-9]+$')", "message": "1 has a shape"},
        {"rule": "size(self.field2) <= 20 && self.field42 in [42, 43]", "message": "2 is short"},
        {"rule": "has(self.field3) ? self.field3 != self.field4 : true", "message": "3 is not 4"},
    ]);
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields, "x-kubernetes-validations": rules}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("things.{GROUP}")}, "spec": {
        "group": GROUP, "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
    }})
}

fn object(i: usize) -> Vec<u8> {
    let spec: Map = (0..FIELDS).map(|f| (format!("field{f}"), if f < 40 { json!(format!("value {f}")) } else { json!(f) })).collect();
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Thing", "metadata": {"name": format!("thing-{i}")}, "spec": spec}).to_string().into_bytes()
}

pub fn creates(of: &Subject) -> anyhow::Result<Vec<Figure>> {
    let mut connection = of.client.connect()?;
    connection.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition().to_string().as_bytes())?;
    let path = format!("/apis/{GROUP}/v1/namespaces/{NAMESPACE}/things");
    // Also where the definition is established, a server may take a moment to serve it.
    super::until("the custom resource", Duration::from_secs(30), || {
        Ok(connection.request("POST", &format!("{path}?dryRun=All"), &["content-type: application/json"], &object(0))?.status == 201)
    })?;
    let made = Load::run(of, MANY, OBJECTS / of.fewer, |c, i| c.create(&path, &object(i)).map(drop))?;
    Ok(vec![made.cpu_figure("create of a custom object, 50 fields, five CEL rules, 64 clients", 0.6)])
}
