//! Compared with the documents that upstream publishes in its Go module, where the module cache has them.

use std::path::{Path, PathBuf};

use skiff_json::Value;

use super::*;

fn published() -> Option<PathBuf> {
    let cache = std::env::var_os("GOMODCACHE").map(PathBuf::from).or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join("go/pkg/mod")))?;
    let folder = cache.join("k8s.io/kubernetes@v1.37.2/api/openapi-spec");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is missing", folder.display());
    None
}

/// Takes out what is compared elsewhere or is not made: descriptions and unions, and enumerations, which only a running
/// server publishes.
fn reduced(value: &Value) -> Value {
    match value {
        // A reference is wrapped only to carry a description: WatchEvent has one that the source lacks.
        Value::Object(map) if map.contains_key("allOf") && map.keys().all(|k| k == "allOf" || k == "description") => {
            reduced(map.get("allOf").and_then(|all| all.get(0)).unwrap_or(&Value::Null))
        }
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, value)| *key != "x-kubernetes-unions" && !(*key == "enum" && value.is_array()) && !(*key == "description" && value.is_string()))
                .map(|(key, value)| (key.clone(), reduced(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(reduced).collect()),
        other => other.clone(),
    }
}

fn read(path: &Path) -> Value {
    skiff_json::from_slice(&std::fs::read(path).expect("a document")).expect("JSON")
}

fn compare(name: &str, got: Option<Value>, want: &Value, failures: &mut Vec<String>) {
    match got {
        None => failures.push(format!("{name}: unknown")),
        Some(got) => failures.extend(difference(name, &reduced(&got), &reduced(want))),
    }
}

/// The first place where two values differ.
fn difference(path: &str, got: &Value, want: &Value) -> Option<String> {
    match (got, want) {
        (Value::Object(g), Value::Object(w)) => {
            let keys = g.keys().chain(w.keys().filter(|k| !g.contains_key(k)));
            keys.into_iter().find_map(|key| {
                let nothing = Value::String("<absent>".to_owned());
                let (g, w) = (g.get(key).unwrap_or(&nothing), w.get(key).unwrap_or(&nothing));
                difference(&format!("{path} {key}"), g, w)
            })
        }
        _ if got == want => None,
        _ => Some(format!("{path}: got {got}, want {want}")),
    }
}

#[test]
fn definitions_are_those_of_upstream() {
    let Some(folder) = published() else { return };
    let descriptions = Descriptions::load();
    let mut failures = Vec::new();
    let mut compared = 0;
    for entry in std::fs::read_dir(folder.join("v3")).expect("documents") {
        let path = entry.expect("a document").path();
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let gv = file.trim_end_matches("_openapi.json").trim_start_matches("apis__").trim_start_matches("api__");
        let (group, version) = gv.split_once("__").unwrap_or(("", gv));
        let document = read(&path);
        let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) else { continue };
        for (name, want) in schemas {
            compared += 1;
            let got = definition(name, Dialect::V3, group, version, &descriptions);
            compare(&format!("{file} {name}"), got, want, &mut failures);
        }
    }
    assert!(compared > 500, "only {compared} definitions");
    assert!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn version_2_definitions_are_those_of_upstream() {
    let Some(folder) = published() else { return };
    let descriptions = Descriptions::load();
    let document = read(&folder.join("swagger.json"));
    let mut failures = Vec::new();
    let wanted = document.pointer("/definitions").and_then(Value::as_object).expect("definitions");
    for (name, want) in wanted {
        if name.ends_with("Options") || name.ends_with("WatchEvent") {
            continue;
        }
        let got = definition(name, Dialect::V2, "", "v1", &descriptions);
        compare(name, got, want, &mut failures);
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn descriptions_are_those_of_upstream() {
    let Some(folder) = published() else { return };
    let descriptions = Descriptions::load();
    assert!(descriptions.len() > 3000, "only {} descriptions", descriptions.len());
    let document = read(&folder.join("swagger.json"));
    let wanted = document.pointer("/definitions").and_then(Value::as_object).expect("definitions");
    let (mut same, mut different, mut missing) = (0, Vec::new(), Vec::new());
    for (name, definition) in wanted {
        let Some(properties) = definition.get("properties").and_then(Value::as_object) else { continue };
        for (field, property) in properties {
            let Some(text) = property.get("description").and_then(Value::as_str) else { continue };
            match descriptions.get(name, field) {
                Some(ours) if ours == text => same += 1,
                Some(_) => different.push(format!("{name}.{field}")),
                None => missing.push(format!("{name}.{field}")),
            }
        }
    }
    assert!(different.is_empty(), "{} differ: {:?}", different.len(), different.iter().take(5).collect::<Vec<_>>());
    // The lists are generic in the source: their four fields have no descriptions there.
    missing.retain(|name| !name.contains("List."));
    assert!(missing.len() * 50 < same, "{} missing, {same} same: {missing:?}", missing.len());
}

#[test]
fn a_document_holds_all_that_it_refers_to() {
    let pod = crate::by_gvk("", "v1", "Pod").expect("Pod");
    let descriptions = Descriptions::none();
    for (definitions, prefix) in
        [(definitions_v3(&[pod], "", "v1", &descriptions), "#/components/schemas/"), (definitions_v2(&[pod], &descriptions), "#/definitions/")]
    {
        let text = Value::Object(definitions.clone()).to_string();
        for reference in text.split("\"$ref\":\"").skip(1) {
            let name = reference.split('"').next().and_then(|r| r.strip_prefix(prefix)).expect("a reference");
            assert!(definitions.contains_key(name), "{name}");
        }
        assert!(definitions.len() > 100);
    }
}

/// As a running server publishes them; the module's documents are made without.
#[test]
fn enumerations_say_what_is_possible() {
    let descriptions = Descriptions::load();
    let property = |ty: &str, field: &str| {
        let name = format!("io.k8s.api.core.v1.{ty}");
        definition(&name, Dialect::V3, "", "v1", &descriptions).and_then(|d| d.pointer(&format!("/properties/{field}")).cloned()).unwrap_or_default()
    };
    let restart = property("PodSpec", "restartPolicy");
    assert_eq!(restart["enum"], skiff_json::json!(["Always", "Never", "OnFailure"]));
    assert!(restart["description"].as_str().unwrap_or_default().ends_with("\n\nPossible enum values:\n - `\"Always\"`\n - `\"Never\"`\n - `\"OnFailure\"`"));
    let families = property("ServiceSpec", "ipFamilies");
    assert_eq!((families.get("enum"), &families["items"]["enum"]), (None, &skiff_json::json!(["", "IPv4", "IPv6"])));
    assert!(!families["description"].as_str().unwrap_or_default().contains("Possible"));
    let statuses = property("PersistentVolumeClaimStatus", "allocatedResourceStatuses");
    assert_eq!(statuses["additionalProperties"]["enum"].as_array().map(Vec::len), Some(5));
    assert_eq!(property("PodSpec", "schedulerName").get("enum"), None);
}
