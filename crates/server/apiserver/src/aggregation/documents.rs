//! Discovery and OpenAPI of remote API servers, joined with our own documents.
use super::remote::Place;
use skiff_json::{Map, Value, json};

/// What a remote said of itself when it was last asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Its version's entry of aggregated discovery.
    pub version: Value,
    /// Its hash in the index of OpenAPI v3; empty when it publishes none.
    pub hash: String,
    /// Its part of OpenAPI v2 as JSON: `paths` and `definitions`.
    pub v2: Vec<u8>,
}

/// An `APIResourceList` as a version of aggregated discovery.
pub(crate) fn version_of(list: &Value, place: &Place) -> Value {
    let (group, version) = (place.0.as_str(), place.1.as_str());
    let own = |v: &Value, field: &str, default: &str| v[field].as_str().filter(|s| !s.is_empty()).unwrap_or(default).to_owned();
    let kind = |r: &Value| json!({"group": own(r, "group", group), "version": own(r, "version", version), "kind": r["kind"]});
    let mut resources: Vec<Value> = Vec::new();
    let (mains, subs): (Vec<&Value>, Vec<&Value>) =
        list["resources"].as_array().into_iter().flatten().partition(|r| !r["name"].as_str().unwrap_or_default().contains('/'));
    for r in mains {
        let mut v = json!({
            "resource": r["name"],
            "responseKind": kind(r),
            "scope": if r["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": r["singularName"],
            "verbs": r["verbs"],
        });
        for key in ["shortNames", "categories"] {
            if r[key].as_array().is_some_and(|a| !a.is_empty()) {
                v[key] = r[key].clone();
            }
        }
        let prefix = format!("{}/", r["name"].as_str().unwrap_or_default());
        let of = |s: &&&Value| s["name"].as_str().unwrap_or_default().starts_with(&prefix);
        let sub = |s: &&Value| json!({"subresource": s["name"].as_str().unwrap_or_default()[prefix.len()..], "responseKind": kind(s), "verbs": s["verbs"]});
        let own: Vec<Value> = subs.iter().filter(of).map(sub).collect();
        if !own.is_empty() {
            v["subresources"] = own.into();
        }
        resources.push(v);
    }
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

/// Adds remote versions to an `APIGroupDiscoveryList`; a remote takes the place of a local version of the same name.
pub(crate) fn join_discovery(ours: &mut Value, remotes: &[(Place, Value)]) {
    let Some(items) = ours["items"].as_array_mut() else { return };
    for ((group, version), entry) in remotes {
        match items.iter_mut().find(|i| i["metadata"]["name"] == group.as_str()) {
            Some(item) => {
                let Some(versions) = item["versions"].as_array_mut() else { continue };
                match versions.iter_mut().find(|v| v["version"] == version.as_str()) {
                    Some(slot) => *slot = entry.clone(),
                    None => versions.push(entry.clone()),
                }
            }
            None => items.push(json!({"metadata": {"name": group}, "versions": [entry]})),
        }
    }
}

/// Adds remote versions to the `APIGroup`s of a group list.
pub(crate) fn join_groups(groups: &mut Vec<Value>, places: &[Place]) {
    for (group, version) in places {
        let entry = json!({"groupVersion": format!("{group}/{version}"), "version": version});
        match groups.iter_mut().find(|g| g["name"] == group.as_str()) {
            Some(g) => {
                let Some(versions) = g["versions"].as_array_mut() else { continue };
                if !versions.contains(&entry) {
                    versions.push(entry);
                }
            }
            None => groups.push(json!({"name": group, "versions": [entry], "preferredVersion": entry})),
        }
    }
}

/// The part of a remote's OpenAPI v2 document that is its own: paths under `root`, and all definitions.
pub(crate) fn own_v2(document: &Value, root: &str) -> Value {
    let group = root.rsplit_once('/').map_or(root, |(g, _)| g);
    let ours = |p: &str| p == root || p.starts_with(&format!("{root}/")) || p == format!("{group}/");
    let paths: Map = document["paths"].as_object().into_iter().flatten().filter(|(p, _)| ours(p)).map(|(p, v)| (p.clone(), v.clone())).collect();
    json!({"paths": paths, "definitions": document["definitions"]})
}

/// Adds a remote's part to our OpenAPI v2 document; what both define stays ours.
pub(crate) fn join_v2(ours: &mut Value, part: &Value) {
    for section in ["paths", "definitions"] {
        let (Some(to), Some(from)) = (ours[section].as_object_mut(), part[section].as_object()) else { continue };
        for (key, v) in from {
            to.entry(key.clone()).or_insert_with(|| v.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_list_becomes_a_version() {
        let list = json!({"resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get"], "shortNames": ["fl"]},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["update"]}]});
        let v = version_of(&list, &("w.io".into(), "v1".into()));
        assert_eq!(v["resources"][0]["responseKind"], json!({"group": "w.io", "version": "v1", "kind": "Flunder"}));
        assert_eq!(v["resources"][0]["subresources"][0]["subresource"], "status");
        let mut ours = json!({"items": [{"metadata": {"name": "apps"}, "versions": []}]});
        join_discovery(&mut ours, &[(("w.io".into(), "v1".into()), v)]);
        assert_eq!(ours["items"][1]["versions"][0]["version"], "v1");
        let mut groups = vec![json!({"name": "apps", "versions": []})];
        join_groups(&mut groups, &[("w.io".into(), "v1".into()), ("w.io".into(), "v2".into())]);
        assert_eq!(groups[1]["versions"].as_array().unwrap().len(), 2);
    }
    #[test]
    fn documents_join() {
        let remote = json!({"paths": {"/apis/w.io/v1/": {}, "/apis/w.io/v1/flunders": {"get": {}}, "/version": {}}, "definitions": {"io.w.Flunder": {}, "io.Shared": {"type": "string"}}});
        let mut ours = json!({"paths": {}, "definitions": {"io.Shared": {"type": "object"}}});
        join_v2(&mut ours, &own_v2(&remote, "/apis/w.io/v1"));
        assert_eq!(ours["paths"].as_object().unwrap().len(), 2);
        assert_eq!(ours["definitions"]["io.Shared"]["type"], "object");
    }
}
