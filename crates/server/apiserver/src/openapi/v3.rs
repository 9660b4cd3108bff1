//! OpenAPI v3: an index with hashes, and a document a group version.
use super::{
    custom, discovery,
    operation::{Content, Operation, Path},
    parameters::Parameter,
    paths, roots,
};
use crate::version::GIT_VERSION;
use skiff_json::{Map, Value, json};
use skiff_registry::table::Rows;
use skiff_schema::openapi::{Descriptions, definitions_v3};

/// `{"paths": {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=…"}}}`; `served` are the paths of
/// further documents, without the slash before them.
pub(crate) fn index(rows: &Rows, served: &[&str]) -> Value {
    let mut paths = Map::new();
    let mut add = |key: String, hash: String| paths.insert(key.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{key}?hash={hash}")}));
    for group in rows.groups() {
        for version in crate::discovery::versions(rows, group) {
            let key = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            add(key, hash(rows, group, &version));
        }
    }
    for key in discovery::keys(rows, served) {
        let hash = discovery::hash(&key);
        add(key, hash);
    }
    paths.sort_keys();
    json!({"paths": paths})
}

/// The hash of a document of the index, and how it is made.
pub(crate) fn find<'a>(rows: &'a Rows, served: &[&str], key: &'a str) -> Option<(String, Box<dyn FnOnce() -> Option<Value> + Send + 'a>)> {
    if discovery::keys(rows, served).iter().any(|k| k == key) {
        return Some((discovery::hash(key), Box::new(move || Some(discovery::document(key)))));
    }
    let (group, version) = match key.split('/').collect::<Vec<_>>()[..] {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return None,
    };
    rows.of_group(group).any(|r| r.serves(version)).then(|| {
        let make: Box<dyn FnOnce() -> Option<Value> + Send + 'a> = Box::new(move || document(rows, group, version));
        (hash(rows, group, version), make)
    })
}

pub(super) fn digest(bytes: &[u8]) -> String {
    crate::documents::etag(bytes).trim_matches('"').to_owned()
}

pub(super) fn security() -> Value {
    json!({"BearerToken": {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"}})
}

/// Changes when the document would: built-in documents are fixed by the release, custom ones by their schemas.
fn hash(rows: &Rows, group: &str, version: &str) -> String {
    let mut facts = format!("{GIT_VERSION} {} {group}/{version}", env!("CARGO_PKG_VERSION"));
    for r in rows.of_version(group, version) {
        facts += &format!("\n{} {} {:?} {:?}", r.plural, r.kind, r.verbs, r.namespaced);
    }
    facts += &super::custom::facts(rows, group, version);
    digest(facts.as_bytes())
}

/// None when nothing is served there.
fn document(rows: &Rows, group: &str, version: &str) -> Option<Value> {
    if !rows.of_group(group).any(|r| r.serves(version)) {
        return None;
    }
    let descriptions = Descriptions::load();
    let mut schemas = definitions_v3(&roots(rows, group, version), group, version, &descriptions);
    if rows.of_group(group).any(|r| r.serves(version) && r.allows("patch")) {
        schemas.extend(super::patch_definition(true, &descriptions));
    }
    schemas.extend(custom(rows, group, version, true, &descriptions));
    schemas.sort_keys();
    let mut all = Map::new();
    for p in paths::of_version(rows, group, version) {
        all.insert(p.path.clone(), path(&p));
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": super::RELEASE},
        "paths": all,
        "components": {
            "schemas": schemas,
            "securitySchemes": security(),
        },
    }))
}

fn path(p: &Path) -> Value {
    let mut item = Map::new();
    for op in &p.operations {
        item.insert(op.method.to_owned(), operation(op));
    }
    let mut parameters: Vec<Value> = p
        .steps
        .iter()
        .map(|(name, text)| json!({"name": name, "in": "path", "description": text, "required": true, "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    parameters.extend(p.parameters.iter().map(parameter));
    if !parameters.is_empty() {
        item.insert("parameters", parameters.into());
    }
    item.into()
}

fn parameter((name, kind, text): &Parameter) -> Value {
    json!({"name": name, "in": "query", "description": text, "schema": {"type": kind, "uniqueItems": true}})
}

fn operation(op: &Operation) -> Value {
    let mut v = json!({"tags": [op.tag], "description": op.description, "operationId": op.id});
    if !op.parameters.is_empty() {
        v["parameters"] = op.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = &op.body {
        let content: Map = body.media.iter().map(|m| ((*m).to_owned(), schema(&body.definition))).collect();
        v["requestBody"] = json!({"content": content});
        if body.required {
            v["requestBody"]["required"] = true.into();
        }
    }
    let mut responses = Map::new();
    for code in op.codes {
        responses.insert(code.to_string(), response(op, *code));
    }
    responses.insert("401", json!({"description": "Unauthorized"}));
    v["responses"] = responses.into();
    if !op.action.is_empty() {
        v["x-kubernetes-action"] = op.action.into();
        v["x-kubernetes-group-version-kind"] = json!({"group": op.kind.group, "version": op.kind.version, "kind": op.kind.kind});
    }
    v
}

fn schema(definition: &str) -> Value {
    json!({"schema": {"$ref": format!("#/components/schemas/{definition}")}})
}

fn response(op: &Operation, code: u16) -> Value {
    let text = match code {
        201 => "Created",
        202 => "Accepted",
        _ => "OK",
    };
    let mut content = Map::new();
    match &op.answer {
        Content::Text => {
            content.insert(if op.action == "connect" { "*/*" } else { "text/plain" }, json!({"schema": {"type": "string"}}));
        }
        Content::Definition(name) => {
            let mut media = vec!["application/json"];
            if op.streams {
                media.push("application/json;stream=watch");
            }
            if op.protobuf {
                media.push("application/vnd.kubernetes.protobuf");
                if op.streams {
                    media.push("application/vnd.kubernetes.protobuf;stream=watch");
                }
            }
            media.push("application/yaml");
            for m in media {
                content.insert(m, schema(name));
            }
        }
    }
    json!({"description": text, "content": content})
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_registry::table::Table;
    #[test]
    fn documents_hold_what_clients_look_for() {
        let rows = Table::builtin().rows();
        let apps = document(&rows, "apps", "v1").unwrap();
        let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        let names: Vec<&str> = patch["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
        assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"));
        assert!(apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"].is_object());
        let core = document(&rows, "", "v1").unwrap();
        let exec = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["post"];
        assert_eq!(exec["operationId"], "connectCoreV1PostNamespacedPodExec");
        assert_eq!(index(&rows, &["openid/v1/jwks", ".well-known/openid-configuration"])["paths"].as_object().unwrap().len(), 49);
        assert!(find(&rows, &[], "openid/v1/jwks").is_none() && find(&rows, &[], "apis/apps").is_some() && find(&rows, &[], "apis/apps/v1").is_some());
        assert!(document(&rows, "nope", "v1").is_none());
    }
}
