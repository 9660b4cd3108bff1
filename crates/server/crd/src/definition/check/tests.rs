use super::*;
use skiff_json::json;

fn definition(change: impl FnOnce(&mut Value)) -> Value {
    let mut v = json!({
        "metadata": {"name": "things.g.io"},
        "spec": {"group": "g.io", "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "conversion": {"strategy": "None"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": {"type": "string"}}}}}}}]},
        "status": {"storedVersions": ["v1"]}});
    change(&mut v);
    v
}
fn told(change: impl FnOnce(&mut Value)) -> Vec<String> {
    check(&definition(change), None).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
}
fn x(v: &mut Value) -> &mut Value {
    &mut v["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"]
}

#[test]
fn a_sound_definition_has_no_errors() {
    assert_eq!(told(|_| {}), Vec::<String>::new());
}

#[test]
fn names_and_versions() {
    assert_eq!(told(|v| v["metadata"]["name"] = "x.g.io".into()), ["metadata.name: Invalid value: \"x.g.io\": must be spec.names.plural+\".\"+spec.group"]);
    assert_eq!(
        told(|v| v["spec"]["names"]["listKind"] = "Thing".into()),
        ["spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same"]
    );
    assert_eq!(told(|v| v["spec"]["versions"][0]["schema"] = Value::Null), ["spec.versions[0].schema.openAPIV3Schema: Required value"]);
    let two = told(|v| {
        let mut second = v["spec"]["versions"][0].clone();
        second["name"] = "v2".into();
        v["spec"]["versions"].as_array_mut().unwrap().push(second);
    });
    assert!(two[0].ends_with("must have exactly one version marked as storage version"), "{two:?}");
    assert_eq!(told(|v| v["status"]["storedVersions"] = json!(["v1", "v0"])).len(), 1);
}

#[test]
fn schemas() {
    let at = "spec.validation.openAPIV3Schema.properties[spec].properties[x]";
    for (schema, want) in [
        (json!({}), "type: Required value: must not be empty for specified object fields"),
        (json!({"type": "array"}), "items: Required value: must be specified"),
        (json!({"type": "string", "pattern": "("}), "pattern: Invalid value: \"(\": must be a valid regular expression, but isn't:"),
        (json!({"type": "integer", "default": "a"}), "default: Invalid value: \"string\": "),
        (json!({"type": "string", "anyOf": [{"type": "string"}]}), "anyOf[0].type: Forbidden: must be empty to be structural"),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "heap"}),
            "x-kubernetes-list-type: Unsupported value: \"heap\": supported values: \"atomic\", \"set\", \"map\"",
        ),
        (
            json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}}),
            "uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
            "items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
    ] {
        let found = told(|v| *x(v) = schema.clone());
        assert!(found.len() == 1 && found[0].starts_with(&format!("{at}.{want}")), "{schema}: {found:?}");
    }
}

#[test]
fn names_that_are_generated_and_empty_ones() {
    let must = "must be spec.names.plural+\".\"+spec.group";
    let generated = told(|v| v["metadata"] = json!({"generateName": "b-", "name": "b-x"}));
    assert_eq!(generated, [format!("metadata.generateName: Invalid value: \"b-\": {must}"), format!("metadata.name: Invalid value: \"b-x\": {must}")]);
    for key in ["shortNames", "categories"] {
        let found = told(|v| v["spec"]["names"][key] = json!([""]));
        assert!(found.len() == 1 && found[0].starts_with(&format!("spec.names.{key}[0]: Invalid value: \"\": a DNS-1035 label")), "{found:?}");
    }
}

#[test]
fn odd_schemas() {
    let at = "spec.validation.openAPIV3Schema.properties[spec].properties[x]";
    let found = told(|v| *x(v) = json!({"type": "odd", "default": 3}));
    assert_eq!(found[0], format!("{at}.default: Invalid value: \"integer\":  in body must be of type odd: \"integer\""));
    let found = told(|v| *x(v) = json!({"type": "array", "items": [], "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}));
    assert_eq!(
        found,
        [
            format!("{at}.items: Required value: must be specified"),
            format!("{at}.items: Invalid value: {{\"Schema\":null,\"JSONSchemas\":[]}}: must only have a single schema if x-kubernetes-list-type is map")
        ]
    );
    let found = told(|v| *x(v) = json!({"type": "array", "items": 7, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}));
    assert_eq!(
        found,
        [
            format!("{at}.items: Required value: must be specified"),
            format!("{at}.items: Invalid value: {{\"Schema\":null,\"JSONSchemas\":null}}: must only have a single schema if x-kubernetes-list-type is map")
        ]
    );
    let found = told(|v| {
        v["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.x"}]);
        let mut second = v["spec"]["versions"][0].clone();
        (second["name"], second["storage"], second["selectableFields"]) = ("v2".into(), false.into(), Value::Null);
        v["spec"]["versions"][0]["schema"] = Value::Null;
        v["spec"]["versions"].as_array_mut().unwrap().push(second);
    });
    assert_eq!(
        found.last().unwrap(),
        "spec.versions[0].selectableFields: Invalid value: \"\": may only be set when `version.schema.openAPIV3Schema` is not included"
    );
}

#[test]
fn subresources_columns_and_fields() {
    let version = |v: &mut Value, key: &str, value: Value| v["spec"]["versions"][0][key] = value;
    assert_eq!(
        told(|v| version(v, "subresources", json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}}))),
        ["spec.subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec"]
    );
    assert_eq!(
        told(|v| version(v, "additionalPrinterColumns", json!([{"name": "A", "type": "text", "jsonPath": "spec.a"}]))),
        [
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec.a\": must be a simple json path starting with .",
        ]
    );
    assert_eq!(
        told(|v| version(v, "selectableFields", json!([{"jsonPath": ".spec.x"}, {"jsonPath": ".spec"}, {"jsonPath": ".spec.y"}]))),
        [
            "spec.selectableFields[1].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            "spec.selectableFields[2].jsonPath: Invalid value: \".spec.y\": is an invalid path: does not refer to a valid field",
        ]
    );
}

#[test]
fn conversion_and_approval() {
    assert_eq!(
        told(|v| v["spec"]["conversion"] = json!({"strategy": "Webhook"})),
        [
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value"
        ]
    );
    let protected = told(|v| {
        v["spec"]["group"] = "a.k8s.io".into();
        v["metadata"]["name"] = "things.a.k8s.io".into();
    });
    assert_eq!(protected.len(), 1);
    assert!(protected[0].starts_with("metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation"));
}

#[test]
fn what_is_established_keeps_its_kind_and_scope() {
    let old = definition(|v| v["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]));
    let mut new = old.clone();
    new["spec"]["scope"] = "Cluster".into();
    let found = check(&new, Some(&old));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, "spec.scope");
    assert!(found[0].message.ends_with("field is immutable"));
}
