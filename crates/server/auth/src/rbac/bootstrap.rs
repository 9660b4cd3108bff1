//! The default roles and bindings, and the plan that brings a store to them.
//!
//! The table `bootstrap.policy` holds upstream's facts in a small language of its own. As upstream does: what is missing
//! is made, missing rules and subjects are added, what an operator added stays, and an object annotated
//! `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone.
use super::index::{BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, ROLES};
use super::{Rule, uncovered};
use skiff_json::{Map, Value, json};
use skiff_meta::GroupVersionResource;
use skiff_request::Target;
use skiff_store::Store;

const TABLE: &str = include_str!("bootstrap.policy");
const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// One write of the plan, for a client in `system:masters`.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create {
        target: Target,
        object: Value,
    },
    /// Carries the resourceVersion that it was planned for.
    Update {
        target: Target,
        object: Value,
    },
    /// A binding to another role: what a binding grants cannot be changed, so it is made anew.
    Replace {
        target: Target,
        object: Value,
    },
}

/// Every default object, in the order in which they must be made. The namespaces kube-system and kube-public are the
/// caller's.
pub fn objects() -> Vec<(Target, Value)> {
    let mut objects: Vec<(Target, Value)> = Vec::new();
    for line in TABLE.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(rule) = line.strip_prefix("  ") {
            if let Some(rules) = objects.last_mut().and_then(|(_, role)| role.get_mut("rules")) {
                match rules.as_array_mut() {
                    Some(rules) => rules.push(rule_of(rule)),
                    None => *rules = json!([rule_of(rule)]),
                }
            }
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        objects.push(match words.as_slice() {
            ["clusterrole", name, marks @ ..] => role("ClusterRole", "", name, marks),
            ["role", namespace, name, marks @ ..] => role("Role", namespace, name, marks),
            ["clusterbind", name, role, subjects @ ..] => binding("ClusterRoleBinding", "", name, ("ClusterRole", role), subjects),
            ["bind", namespace, name, role, subjects @ ..] => binding("RoleBinding", namespace, name, ("Role", role), subjects),
            _ => continue,
        });
    }
    objects
}

/// The rules of a default cluster role.
pub fn cluster_role(name: &str) -> Vec<Rule> {
    let found = objects().into_iter().find(|(t, _)| t.resource.resource == "clusterroles" && t.name == name);
    found.and_then(|(_, role)| skiff_json::from_value(role["rules"].clone()).ok()).unwrap_or_default()
}

fn words(list: &str) -> Vec<&str> {
    list.split(',').map(|w| if w == "core" { "" } else { w }).collect()
}

fn rule_of(line: &str) -> Value {
    match line.split(' ').collect::<Vec<_>>().as_slice() {
        [verbs, "url", paths] => json!({"nonResourceURLs": words(paths), "verbs": words(verbs)}),
        [verbs, groups, resources] => json!({"apiGroups": words(groups), "resources": words(resources), "verbs": words(verbs)}),
        [verbs, groups, resources, names] => {
            json!({"apiGroups": words(groups), "resourceNames": words(names), "resources": words(resources), "verbs": words(verbs)})
        }
        _ => Value::Null,
    }
}

fn object(kind: &str, namespace: &str, name: &str, labels: Map) -> (Target, Value) {
    let mut labels = labels;
    labels.insert("kubernetes.io/bootstrapping", "rbac-defaults".into());
    let mut metadata = json!({"name": name, "annotations": {AUTOUPDATE: "true"}, "labels": labels});
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    let resource = GroupVersionResource::new(GROUP, "v1", format!("{}s", kind.to_lowercase()));
    (Target::new(resource, namespace, name), json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata}))
}

fn role(kind: &str, namespace: &str, name: &str, marks: &[&str]) -> (Target, Value) {
    let label = |mark: &str| (format!("{AGGREGATE}{mark}"), Value::from("true"));
    let labels = marks.iter().filter_map(|m| m.strip_prefix('+')).map(label).collect();
    let (target, mut role) = object(kind, namespace, name, labels);
    role["rules"] = Value::Null;
    if let Some(gathers) = marks.iter().find_map(|m| m.strip_prefix('=')) {
        let (key, value) = label(gathers);
        role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {key: value}}]});
    }
    (target, role)
}

fn binding(kind: &str, namespace: &str, name: &str, (role_kind, role): (&str, &str), subjects: &[&str]) -> (Target, Value) {
    let (target, mut binding) = object(kind, namespace, name, Map::new());
    binding["roleRef"] = json!({"apiGroup": GROUP, "kind": role_kind, "name": role});
    let subjects: Vec<Value> = subjects
        .iter()
        .filter_map(|s| {
            Some(match s.split_once(':')? {
                ("u", user) => json!({"apiGroup": GROUP, "kind": "User", "name": user}),
                ("g", group) => json!({"apiGroup": GROUP, "kind": "Group", "name": group}),
                (_, account) => {
                    let (namespace, name) = account.split_once('/')?;
                    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
                }
            })
        })
        .collect();
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    (target, binding)
}

/// What is to be written so that the store has the defaults. Empty when it has.
pub fn plan(store: &dyn Store) -> Vec<Step> {
    let present = |target: &Target| {
        let prefix = match target.resource.resource.as_ref() {
            "clusterroles" => CLUSTER_ROLES,
            "roles" => ROLES,
            "clusterrolebindings" => CLUSTER_BINDINGS,
            _ => BINDINGS,
        };
        let entry = store.get(&format!("{prefix}{}/{}", target.namespace, target.name))?;
        skiff_json::from_slice::<Value>(&entry.bytes).ok()
    };
    objects().into_iter().filter_map(|(target, wanted)| reconcile(present(&target), target, wanted)).collect()
}

/// The step of one object. Pure.
fn reconcile(present: Option<Value>, target: Target, wanted: Value) -> Option<Step> {
    let Some(present) = present else { return Some(Step::Create { target, object: wanted }) };
    if present["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return None;
    }
    let mut object = present.clone();
    for map in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][map].as_object().into_iter().flatten() {
            if object["metadata"][map].get(key).is_none() {
                object["metadata"][map][key] = value.clone();
            }
        }
    }
    if wanted.get("roleRef").is_some() {
        if present["roleRef"] != wanted["roleRef"] {
            return Some(Step::Replace { target, object: wanted });
        }
        for subject in wanted["subjects"].as_array().into_iter().flatten() {
            append(&mut object, "subjects", subject, |has| ["kind", "name", "namespace"].iter().all(|f| has[f] == subject[f]));
        }
    } else if let Some(gathers) = wanted.get("aggregationRule") {
        for selector in gathers["clusterRoleSelectors"].as_array().into_iter().flatten() {
            if !object["aggregationRule"].is_object() {
                object["aggregationRule"] = json!({});
            }
            append(&mut object["aggregationRule"], "clusterRoleSelectors", selector, |has| has == selector);
        }
    } else {
        let rules = |v: &Value| skiff_json::from_value::<Option<Vec<Rule>>>(v["rules"].clone()).ok().flatten().unwrap_or_default();
        for rule in uncovered(&rules(&present), &rules(&wanted)) {
            append(&mut object, "rules", &json!(rule), |_| false);
        }
    }
    (object != present).then_some(Step::Update { target, object })
}

/// Adds `element` to the list `field`, unless one is there that `same` holds for.
fn append(object: &mut Value, field: &str, element: &Value, same: impl Fn(&Value) -> bool) {
    match object.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) if list.iter().any(same) => {}
        Some(list) => list.push(element.clone()),
        None => object[field] = json!([element]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_store::{memory::Memory, suite};

    #[test]
    fn the_table_is_whole() {
        let objects = objects();
        assert_eq!(objects.len(), 73 + 7 + 54 + 7);
        assert!(objects.iter().flat_map(|(_, o)| o["rules"].as_array().into_iter().flatten()).all(|r| !r.is_null()));
        assert!(cluster_role("system:node").len() > 20);
        assert_eq!(plan(&Memory::new(suite::indexer())).len(), objects.len());
    }

    #[test]
    fn what_an_operator_did_stays() {
        let (target, wanted) = objects().into_iter().find(|(t, _)| t.name == "system:node-proxier" && t.resource.resource == "clusterroles").unwrap();
        let step = |present: &Value| reconcile(Some(present.clone()), target.clone(), wanted.clone());
        assert_eq!(step(&wanted), None);
        let mut present = wanted.clone();
        let removed = present["rules"].as_array_mut().unwrap().remove(0);
        present["rules"].as_array_mut().unwrap().push(json!({"apiGroups": ["mine"], "resources": ["x"], "verbs": ["get"]}));
        let Some(Step::Update { object, .. }) = step(&present) else { panic!("a rule is missing") };
        let rules = object["rules"].as_array().unwrap();
        assert!(rules.iter().any(|r| r["apiGroups"] == json!(["mine"])));
        assert!(uncovered(&skiff_json::from_value::<Vec<Rule>>(object["rules"].clone()).unwrap(), &[skiff_json::from_value(removed).unwrap()]).is_empty());
        present["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(step(&present), None);

        let (target, wanted) = objects().into_iter().find(|(t, _)| t.name == "cluster-admin" && t.resource.resource == "clusterrolebindings").unwrap();
        let mut present = wanted.clone();
        present["subjects"] = json!([{"kind": "User", "name": "me"}]);
        let Some(Step::Update { object, .. }) = reconcile(Some(present.clone()), target.clone(), wanted.clone()) else { panic!("a subject is missing") };
        assert_eq!(object["subjects"].as_array().unwrap().len(), 2);
        present["roleRef"]["name"] = "view".into();
        assert!(matches!(reconcile(Some(present), target, wanted), Some(Step::Replace { .. })));
    }
}
