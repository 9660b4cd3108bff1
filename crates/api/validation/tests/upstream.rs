//! The rules against what a real kube-apiserver said.
//!
//! Each line of the files in `tests/upstream` is a case: an object as a client sent it (for an update, the stored one too)
//! and the causes that kube-apiserver 1.37.2 answered with. `SKIFF_VALIDATION_CASES=FILE` takes another file.
use skiff_codec::defaults;
use skiff_json::{Value, json};
use skiff_validation::{metadata, names, validate_create, validate_status_update, validate_update};
use std::{collections::BTreeMap, io::BufRead, path::PathBuf};

const NOW: &str = "2026-01-01T00:00:00Z";
/// The uid that a new object gets; answers have another one.
const UID: &str = "00000000-0000-0000-0000-000000000000";

fn text<'a>(v: &'a Value, pointer: &str) -> &'a str {
    v.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn decoded(case: &Value, key: &str) -> Option<Value> {
    let ty = skiff_schema::by_gvk(text(case, "/group"), text(case, "/version"), text(case, "/kind"))?;
    let mut v = skiff_codec::decode_value(ty, &case[key]).ok()?.object;
    defaults::apply(ty, &mut v, defaults::Context { now: NOW });
    Some(skiff_codec::decode_value(ty, &v).ok()?.object)
}

fn entry<'a>(v: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(v, |v, k| {
        if !v.is_object() {
            *v = json!({});
        }
        v.as_object_mut().map(|m| m.entry(*k).or_insert(Value::Null)).expect("an object")
    })
}

/// What the registry does to a new object before it is checked.
fn prepare_create(case: &Value, v: &mut Value) {
    if case["ns"] == true {
        *entry(v, &["metadata", "namespace"]) = json!("t");
    }
    *entry(v, &["metadata", "uid"]) = json!(UID);
    match text(case, "/kind") {
        "Node" => {}
        _ => drop(v.as_object_mut().map(|m| m.remove("status"))),
    }
    match text(case, "/kind") {
        "Job" if v.pointer("/spec/manualSelector") != Some(&json!(true)) => {
            let name = json!(text(v, "/metadata/name"));
            for (key, value) in [
                ("controller-uid", json!(UID)),
                ("batch.kubernetes.io/controller-uid", json!(UID)),
                ("job-name", name.clone()),
                ("batch.kubernetes.io/job-name", name),
            ] {
                let label = entry(v, &["spec", "template", "metadata", "labels", key]);
                if label.is_null() {
                    *label = value;
                }
            }
            *entry(v, &["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"]) = json!(UID);
        }
        "Service" => allocate(v),
        "PersistentVolumeClaim" => data_source(v),
        // It gets a uid for a name.
        "LimitRange" if text(v, "/metadata/name").is_empty() => *entry(v, &["metadata", "name"]) = json!(UID),
        _ => {}
    }
}

/// Sources that claims may have; the two fields say the same.
fn data_source(v: &mut Value) {
    let Some(spec) = v["spec"].as_object_mut() else { return };
    let given = spec.get("dataSource").cloned().unwrap_or_default();
    let known = [("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")];
    if !given.is_null() && !known.contains(&(text(&given, "/apiGroup"), text(&given, "/kind"))) {
        spec.remove("dataSource");
    } else if !given.is_null() && !spec.contains_key("dataSourceRef") {
        spec.insert("dataSourceRef", given);
    }
}

/// Addresses and ports that an update leaves out stay.
fn keep_addresses(v: &mut Value, old: &Value) {
    if text(v, "/spec/type") == "ExternalName" {
        let spec = entry(v, &["spec"]).as_object_mut().expect("an object");
        for k in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if spec.get(k) == old["spec"].get(k) {
                spec.remove(k);
            }
        }
        return;
    }
    let (spec, before) = (entry(v, &["spec"]), &old["spec"]);
    if text(before, "/type") == "ExternalName" {
        return;
    }
    let (had, list) = (spec["clusterIP"].clone(), spec["clusterIPs"].clone());
    if had.is_null() && list.is_null() {
        spec["clusterIP"] = before["clusterIP"].clone();
        spec["clusterIPs"] = before["clusterIPs"].clone();
    } else if had.is_null() || (had != before["clusterIP"] && list == before["clusterIPs"]) || list.is_null() {
        let one = if had.is_null() { before["clusterIP"].clone() } else { had };
        spec["clusterIPs"] = json!([one]);
        spec["clusterIP"] = one;
    }
    for k in ["ipFamilies", "ipFamilyPolicy"] {
        if spec[k].is_null() {
            spec[k] = before[k].clone();
        }
    }
    if text(spec, "/externalTrafficPolicy") == "Local" && spec["healthCheckNodePort"].is_null() {
        spec["healthCheckNodePort"] = before["healthCheckNodePort"].clone();
    }
    spec.as_object_mut().expect("an object").retain(|_, v| !v.is_null());
}

/// Addresses as the server hands them out.
fn allocate(v: &mut Value) {
    let spec = entry(v, &["spec"]);
    let kind = text(spec, "/type").to_owned();
    if kind == "ExternalName" {
        return;
    }
    if spec["clusterIP"].is_null() && spec["clusterIPs"].is_null() {
        spec["clusterIP"] = json!("10.96.0.9");
    }
    if spec["clusterIPs"].is_null() {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    if spec["ipFamilies"].is_null() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = json!("SingleStack");
    }
    if kind == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local" && spec["healthCheckNodePort"].is_null() {
        spec["healthCheckNodePort"] = json!(31000);
    }
}

/// What the registry keeps of the old object.
fn prepare_update(case: &Value, v: &mut Value, old: &Value) {
    for key in ["uid", "creationTimestamp", "resourceVersion", "namespace", "generation", "name"] {
        if v["metadata"][key].is_null() || key == "generation" {
            *entry(v, &["metadata", key]) = old["metadata"][key].clone();
        }
    }
    if case["op"] == "status" {
        let keys: Vec<String> = old.as_object().expect("an object").keys().filter(|k| *k != "status" && *k != "metadata").map(ToString::to_string).collect();
        for k in keys {
            v[&k] = old[&k].clone();
        }
        if text(v, "/status/qosClass").is_empty() && text(case, "/kind") == "Pod" {
            *entry(v, &["status", "qosClass"]) = old["status"]["qosClass"].clone();
        }
    } else if !old["status"].is_null() && text(case, "/kind") != "Node" {
        v["status"] = old["status"].clone();
    }
    match text(case, "/kind") {
        "Service" if case["op"] == "update" => keep_addresses(v, old),
        "PersistentVolumeClaim" if case["op"] == "update" && v["spec"].is_object() => {
            for (empty, from) in [("dataSourceRef", "dataSource"), ("dataSource", "dataSourceRef")] {
                if v["spec"][empty].is_null() {
                    v["spec"][empty] = v["spec"][from].clone();
                }
            }
        }
        "Pod" if v["spec"]["resources"].is_null() => *entry(v, &["spec", "resources"]) = old["spec"]["resources"].clone(),
        _ => {}
    }
    if let Some(m) = v["spec"].as_object_mut() {
        m.retain(|_, v| !v.is_null());
    }
    if let Some(m) = v.as_object_mut() {
        m.retain(|_, v| !v.is_null());
    }
    if let Some(m) = v["metadata"].as_object_mut() {
        m.retain(|_, v| !v.is_null());
    }
}

fn rule(group: &str, kind: &str) -> metadata::NameRule {
    match (group, kind) {
        ("", "ReplicationController") => names::long_name,
        ("rbac.authorization.k8s.io", _) => names::path_segment,
        ("", "Service" | "Namespace") | ("apps", "StatefulSet") => names::dns1123_label,
        _ => names::dns1123_subdomain,
    }
}

/// Answers that other parts of the server give, and what only Go's types tell apart.
fn beyond(case: &Value, theirs: &Answer) -> bool {
    const ALLOCATOR: [&str; 4] = ["failed to allocate", "already allocated", "not configured on this cluster", "configured on this cluster"];
    let hollow = |v: &Value| v.as_object().is_some_and(|m| m.is_empty()) || v.as_array().is_some_and(|a| a.is_empty());
    fn any(v: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
        test(v) || v.as_object().into_iter().flatten().any(|(_, v)| any(v, test)) || v.as_array().into_iter().flatten().any(|v| any(v, test))
    }
    let kind = text(case, "/kind");
    theirs.iter().any(|a| ALLOCATOR.iter().any(|t| a.2.contains(t)))
        // What is no address is refused where addresses are handed out, before anything else.
        || (kind == "Service" && text(case, "/at").contains("clusterIP"))
        || (kind == "ReplicationController" && text(case, "/at").starts_with("metadata/generateName"))
        || (kind == "Pod" && text(case, "/at").contains("hugepages") && case["op"] == "create")
        || (kind == "PersistentVolumeClaim" && case["op"] == "update" && any(&case["new"]["spec"]["resources"], &hollow))
}

type Answer = Vec<(String, String, String)>;

fn ours(case: &Value) -> Option<Answer> {
    let (group, kind) = (text(case, "/group"), text(case, "/kind"));
    let mut new = decoded(case, "new")?;
    let causes = if case["op"] == "create" {
        prepare_create(case, &mut new);
        let mut all = metadata::create(&new, case["ns"] == true, rule(group, kind));
        all.extend(validate_create(group, kind, &new));
        all
    } else {
        let old = decoded(case, "old")?;
        prepare_update(case, &mut new, &old);
        let mut all = metadata::update(&new, &old);
        if case["op"] == "status" {
            all.extend(validate_status_update(group, kind, &new, &old));
        } else {
            all.extend(validate_update(group, kind, &new, &old));
        }
        all
    };
    Some(causes.into_iter().map(|c| (c.reason, c.field, c.message)).collect())
}

fn theirs(case: &Value) -> Answer {
    let part = |c: &Value, i: usize| c[i].as_str().unwrap_or_default().to_owned();
    case["causes"].as_array().into_iter().flatten().map(|c| (part(c, 0), part(c, 1), part(c, 2))).collect()
}

/// Sorted, since Go walks maps in any order; each once; uids of the recording are no part of the answer.
fn normal(mut answer: Answer) -> Answer {
    for a in &mut answer {
        // What changed is shown as a difference of upstream's inner types: its first line is the answer.
        if let Some(i) = a.2.find('\n') {
            a.2.truncate(i);
        }
        // What is empty and what is absent is the same in canonical JSON.
        a.2 = a.2.replace(" {}:", " null:").replace(" []:", " null:").replace(":[]", ":null");
    }
    answer.sort();
    answer.dedup();
    answer
}

fn files() -> Vec<PathBuf> {
    if let Some(f) = std::env::var_os("SKIFF_VALIDATION_CASES") {
        return vec![f.into()];
    }
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/upstream");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort();
    files
}

#[test]
fn says_what_upstream_says() {
    let verbose = std::env::var_os("SKIFF_VALIDATION_ALL").is_some();
    let (mut total, mut wrong, mut shown) = (0, 0, BTreeMap::<String, usize>::new());
    for file in files() {
        let reader = std::io::BufReader::new(std::fs::File::open(&file).expect("the cases can be read"));
        for line in reader.lines() {
            let case: Value = skiff_json::from_str(&line.expect("a line")).expect("a case is JSON");
            let Some(ours) = ours(&case) else { continue };
            total += 1;
            let (ours, theirs) = (normal(ours), normal(theirs(&case)));
            if ours == theirs || beyond(&case, &theirs) {
                continue;
            }
            wrong += 1;
            let kind = format!("{}/{} {}", text(&case, "/group"), text(&case, "/kind"), text(&case, "/op"));
            let n = shown.entry(kind.clone()).or_default();
            *n += 1;
            if *n <= 12 || verbose {
                println!("{kind} [{}] {}", text(&case, "/tag"), text(&case, "/at"));
                for a in theirs.iter().filter(|a| !ours.contains(a)) {
                    println!("  missing {} {}: {}", a.0, a.1, a.2);
                }
                for a in ours.iter().filter(|a| !theirs.contains(a)) {
                    println!("  extra   {} {}: {}", a.0, a.1, a.2);
                }
            }
        }
    }
    println!("{wrong} of {total} cases differ: {shown:?}");
    assert!(total > 0, "no case was read");
    assert_eq!(wrong, 0);
}
