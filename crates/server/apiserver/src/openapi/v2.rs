//! OpenAPI v2 (swagger): everything in one document.
use super::{
    custom,
    operation::{Content, Operation, Path},
    parameters::Parameter,
    paths, roots,
};
use skiff_json::{Map, Value, json};
use skiff_registry::table::Rows;
use skiff_schema::openapi::{Descriptions, definitions_v2};

pub(crate) fn document(rows: &Rows) -> Value {
    let (mut all, mut own) = (Map::new(), Map::new());
    let (mut types, descriptions) = (Vec::new(), Descriptions::load());
    for group in rows.groups() {
        for version in crate::discovery::versions(rows, group) {
            types.extend(roots(rows, group, &version));
            own.extend(custom(rows, group, &version, false, &descriptions));
            for p in paths::of_version(rows, group, &version) {
                all.insert(p.path.clone(), path(&p));
            }
        }
    }
    let mut definitions = definitions_v2(&types, &descriptions);
    definitions.extend(super::patch_definition(false, &descriptions));
    definitions.extend(own);
    definitions.sort_keys();
    all.sort_keys();
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": super::RELEASE},
        "paths": all,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {"description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    })
}

fn path(p: &Path) -> Value {
    let mut item = Map::new();
    for op in &p.operations {
        item.insert(op.method.to_owned(), operation(op));
    }
    let mut parameters: Vec<Value> = p
        .steps
        .iter()
        .map(|(name, text)| json!({"uniqueItems": true, "type": "string", "description": text, "name": name, "in": "path", "required": true}))
        .collect();
    parameters.extend(p.parameters.iter().map(parameter));
    if !parameters.is_empty() {
        item.insert("parameters", parameters.into());
    }
    item.into()
}

fn parameter((name, kind, text): &Parameter) -> Value {
    json!({"uniqueItems": true, "type": kind, "description": text, "name": name, "in": "query"})
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/definitions/{definition}")})
}

fn operation(op: &Operation) -> Value {
    let consumes: Vec<&str> = op.body.as_ref().map_or_else(|| vec!["*/*"], |b| b.media.to_vec());
    let mut produces = match op.answer {
        Content::Text if op.action == "connect" => vec!["*/*"],
        Content::Text => vec!["text/plain", "application/json", "application/yaml"],
        Content::Definition(_) if op.protobuf => vec!["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"],
        Content::Definition(_) => vec!["application/json", "application/yaml"],
    };
    if op.streams {
        produces.push("application/json;stream=watch");
        if op.protobuf {
            produces.push("application/vnd.kubernetes.protobuf;stream=watch");
        }
    }
    let mut v =
        json!({"description": op.description, "consumes": consumes, "produces": produces, "schemes": ["https"], "tags": [op.tag], "operationId": op.id});
    let mut parameters: Vec<Value> = Vec::new();
    if let Some(body) = &op.body {
        let mut p = json!({"name": "body", "in": "body", "schema": reference(&body.definition)});
        if body.required {
            p["required"] = true.into();
        }
        parameters.push(p);
    }
    parameters.extend(op.parameters.iter().map(parameter));
    if !parameters.is_empty() {
        v["parameters"] = parameters.into();
    }
    let schema = match &op.answer {
        Content::Text => json!({"type": "string"}),
        Content::Definition(name) => reference(name),
    };
    let mut responses = Map::new();
    for code in op.codes {
        let text = match code {
            201 => "Created",
            202 => "Accepted",
            _ => "OK",
        };
        responses.insert(code.to_string(), json!({"description": text, "schema": schema}));
    }
    responses.insert("401", json!({"description": "Unauthorized"}));
    v["responses"] = responses.into();
    if !op.action.is_empty() {
        v["x-kubernetes-action"] = op.action.into();
        v["x-kubernetes-group-version-kind"] = json!({"group": op.kind.group, "kind": op.kind.kind, "version": op.kind.version});
    }
    v
}
