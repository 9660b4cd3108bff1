//! Patches of objects with very many members: what is taken out goes without moving all that stays, each time. (With a move of all
//! for each these tests would not end within any patience.)
use skiff_json::{Map, Value, json};
use skiff_patch::{json_patch, merge_patch, strategic_patch};

const MANY: usize = 300_000;

fn members(value: &Value) -> Map {
    (0..MANY).map(|i| (format!("k{i}"), value.clone())).collect()
}

fn config(data: Map) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data})
}

#[test]
fn merge_and_strategic_patches_take_out_all() {
    let (object, patch) = (config(members(&json!("v"))), json!({"data": members(&Value::Null)}));
    let want = config(Map::new());
    assert!(merge_patch(&object, &patch) == want);
    let ty = skiff_schema::by_gvk("", "v1", "ConfigMap").unwrap();
    assert!(strategic_patch(&object, &patch, ty).unwrap() == want);
}

#[test]
fn a_json_patch_takes_out_as_many_as_it_may() {
    let patch: Vec<Value> = (0..10_000).map(|i| json!({"op": "remove", "path": format!("/data/k{i}")})).collect();
    let got = json_patch(&config(members(&json!("v"))), Value::from(patch).to_string().as_bytes()).unwrap();
    let left = got["data"].as_object().unwrap();
    assert!(left.len() == MANY - 10_000 && !left.contains_key("k9999") && left.contains_key("k10000"));
}
