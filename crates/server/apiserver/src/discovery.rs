//! Discovery: which groups, versions and resources there are, aggregated and in the old form, out of the table.
use skiff_json::{Map, Value, json};
use skiff_meta::version_priority;
use skiff_registry::table::{Resource, Rows, Subresource};

fn kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

/// Of custom resources with their group version, which built-in ones leave to where they stand.
fn response(r: &Resource, version: &str) -> Value {
    if r.custom.is_some() { kind(&r.group, version, &r.kind) } else { kind("", "", &r.kind) }
}

fn subresource(r: &Resource, s: &Subresource, version: &str) -> Value {
    if s.kind.version.is_empty() {
        let own = if r.custom.is_some() { response(r, version) } else { kind("", "", &s.kind.kind) };
        return json!({"subresource": s.name, "responseKind": own, "verbs": s.verbs});
    }
    json!({"subresource": s.name, "responseKind": kind(&s.kind.group, &s.kind.version, &s.kind.kind), "verbs": s.verbs})
}

fn resource(r: &Resource, version: &str) -> Value {
    let mut v = json!({
        "resource": r.plural,
        "responseKind": response(r, version),
        "scope": if r.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": r.singular,
        "verbs": r.listed_verbs(),
    });
    if !r.short.is_empty() {
        v["shortNames"] = json!(r.short);
    }
    if !r.categories.is_empty() {
        v["categories"] = json!(r.categories);
    }
    if !r.subresources.is_empty() {
        v["subresources"] = r.subresources.iter().map(|s| subresource(r, s, version)).collect();
    }
    v
}

/// Versions of a group, the preferred one first.
pub(crate) fn versions(rows: &Rows, group: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for r in rows.of_group(group) {
        for v in &r.versions {
            if !all.iter().any(|a| a == v) {
                all.push(v.to_string());
            }
        }
    }
    all.sort_by(|a, b| version_priority(b).cmp(&version_priority(a)).then_with(|| a.cmp(b)));
    all
}

/// `APIGroupDiscoveryList` of `/api` (the core group alone) or `/apis` (all others).
pub(crate) fn aggregated(rows: &Rows, core: bool, version: &str) -> Value {
    let groups = rows.groups().iter().filter(|g| g.is_empty() == core);
    let items: Vec<Value> = groups
        .map(|g| {
            let versions: Vec<Value> = versions(rows, g)
                .iter()
                .map(|v| {
                    let resources: Vec<Value> = rows.of_version(g, v).map(|r| resource(&r, v)).collect();
                    json!({"version": v, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let meta = if g.is_empty() { json!({}) } else { json!({"name": g}) };
            json!({"metadata": meta, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items})
}

fn group_version(group: &str, version: &str) -> Value {
    json!({"groupVersion": format!("{group}/{version}"), "version": version})
}

fn group_body(rows: &Rows, group: &str) -> Value {
    let versions: Vec<Value> = versions(rows, group).iter().map(|v| group_version(group, v)).collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

pub(crate) fn api_versions(address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

pub(crate) fn group_list(rows: &Rows) -> Value {
    let groups: Vec<Value> = rows.groups().iter().filter(|g| !g.is_empty()).map(|g| group_body(rows, g)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// None when there is no such group.
pub(crate) fn group(rows: &Rows, group: &str) -> Option<Value> {
    rows.of_group(group).next()?;
    let mut v = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(to), Value::Object(from)) = (v.as_object_mut(), group_body(rows, group)) {
        to.extend(from);
    }
    Some(v)
}

/// `APIResourceList` of a version; None when nothing is served there.
pub(crate) fn resource_list(rows: &Rows, group: &str, version: &str) -> Option<Value> {
    let mut resources: Vec<Value> = Vec::new();
    for r in rows.of_version(group, version) {
        resources.push(flat(&r, None));
        resources.extend(r.subresources.iter().map(|s| flat(&r, Some(s))));
    }
    if resources.is_empty() {
        return None;
    }
    let gv = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    // The first of all groups is older than the type's version.
    let mut list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": resources});
    if let Some(map) = list.as_object_mut().filter(|_| group.is_empty()) {
        map.shift_remove("apiVersion");
    }
    Some(list)
}

fn flat(r: &Resource, sub: Option<&Subresource>) -> Value {
    let mut v = Map::new();
    let name = sub.map_or_else(|| r.plural.to_string(), |s| format!("{}/{}", r.plural, s.name));
    v.insert("name", name.into());
    v.insert("singularName", if sub.is_some() { "" } else { &*r.singular }.into());
    v.insert("namespaced", r.namespaced.into());
    let kind = sub.map_or(&r.kind, |s| &s.kind.kind);
    if let Some(s) = sub.filter(|s| !s.kind.version.is_empty()) {
        v.insert("group", s.kind.group.as_ref().into());
        v.insert("version", s.kind.version.as_ref().into());
    }
    v.insert("kind", kind.as_ref().into());
    v.insert("verbs", json!(sub.map_or(r.listed_verbs(), |s| s.verbs)));
    if sub.is_none() {
        if !r.short.is_empty() {
            v.insert("shortNames", json!(r.short));
        }
        if !r.categories.is_empty() {
            v.insert("categories", json!(r.categories));
        }
        if r.computed.is_none() {
            v.insert("storageVersionHash", storage_hash(r).into());
        }
    }
    v.into()
}

/// The first eight bytes of a digest of the stored version, as upstream's clients compare it.
fn storage_hash(r: &Resource) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = format!("{}/{}/{}", r.stored.group, r.stored.version, r.kind);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    STANDARD.encode(&digest.as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_registry::table::Table;
    #[test]
    fn discovery_has_what_upstream_has() {
        let rows = Table::builtin().rows();
        let v = aggregated(&rows, false, "v2");
        assert_eq!(v["items"][0]["metadata"]["name"], "apiregistration.k8s.io");
        let hpa = v["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "autoscaling").unwrap();
        assert_eq!((&hpa["versions"][0]["version"], &hpa["versions"][1]["version"]), (&json!("v2"), &json!("v1")));
        let core = aggregated(&rows, true, "v2");
        let resources = core["items"][0]["versions"][0]["resources"].as_array().unwrap();
        for (name, sub, kind) in [
            ("pods", "status", "Pod"),
            ("pods", "log", "Pod"),
            ("pods", "exec", "PodExecOptions"),
            ("pods", "attach", "PodAttachOptions"),
            ("pods", "portforward", "PodPortForwardOptions"),
            ("pods", "proxy", "PodProxyOptions"),
            ("pods", "binding", "Binding"),
            ("nodes", "proxy", "NodeProxyOptions"),
            ("services", "proxy", "ServiceProxyOptions"),
        ] {
            let of = resources.iter().find(|r| r["resource"] == name).unwrap()["subresources"].as_array().unwrap();
            let found = of.iter().find(|s| s["subresource"] == sub).unwrap();
            assert_eq!(found["responseKind"], json!({"group": "", "version": "", "kind": kind}), "{name}/{sub}");
        }
        let list = resource_list(&rows, "", "v1").unwrap();
        let eviction = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == "pods/eviction").unwrap();
        assert_eq!((&eviction["group"], &eviction["kind"]), (&json!("policy"), &json!("Eviction")));
        assert!(version_priority("v1") > version_priority("v2beta1") && version_priority("v1beta2") > version_priority("v1beta1"));
    }
}
