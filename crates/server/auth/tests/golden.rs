//! The bootstrap policy against upstream's own golden files, out of the Go module cache.
use skiff_auth::bootstrap;
use skiff_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn testdata() -> Option<PathBuf> {
    let cache = std::env::var_os("GOMODCACHE").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join("go/pkg/mod")))?;
    let dir = cache.join("k8s.io/kubernetes@v1.37.2/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata");
    dir.is_dir().then_some(dir)
}

fn key(object: &Value) -> String {
    let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

#[test]
fn bootstrap_policy_is_upstreams() {
    let Some(dir) = testdata() else {
        eprintln!("skipped: upstream's sources are not in the Go module cache");
        return;
    };
    let mut upstream = BTreeMap::new();
    for name in ["cluster-roles", "controller-roles", "cluster-role-bindings", "controller-role-bindings", "namespace-roles", "namespace-role-bindings"] {
        let text = std::fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap();
        let list: Value = serde_saphyr::from_str(&text).unwrap();
        for mut item in list["items"].as_array().unwrap().iter().cloned() {
            item["metadata"].as_object_mut().unwrap().remove("creationTimestamp");
            upstream.insert(key(&item), item);
        }
    }
    let ours: BTreeMap<_, _> = bootstrap::objects().into_iter().map(|(_, object)| (key(&object), object)).collect();
    let (missing, extra): (Vec<_>, Vec<_>) =
        (upstream.keys().filter(|k| !ours.contains_key(*k)).collect(), ours.keys().filter(|k| !upstream.contains_key(*k)).collect());
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
    for (key, wanted) in &upstream {
        assert_eq!(ours[key], *wanted, "{key}");
    }
}
