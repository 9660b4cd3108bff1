//! A policy rule, and what it matches and covers. Pure.
//! <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/>
use serde::{Deserialize, Deserializer, Serialize};
use skiff_policy::Action;
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// `null` is the empty list, as in Go.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

fn has(set: &[String], element: &str) -> bool {
    set.iter().any(|s| s == element)
}
fn star_or(set: &[String], element: &str) -> bool {
    set.iter().any(|s| s == "*" || s == element)
}
fn path_covers(owner: &str, path: &str) -> bool {
    owner == path || owner.strip_suffix('*').is_some_and(|start| path.starts_with(start.trim_end_matches('*')))
}

impl Rule {
    pub fn allows(&self, action: &Action) -> bool {
        match action {
            Action::Resource { verb, target, .. } => {
                star_or(&self.verbs, verb)
                    && star_or(&self.api_groups, &target.resource.group)
                    && self.names_resource(&target.resource.resource, &target.subresource)
                    && (self.resource_names.is_empty() || has(&self.resource_names, &target.name))
            }
            Action::Path { verb, path } => star_or(&self.verbs, verb) && self.non_resource_urls.iter().any(|u| path_covers(u, path)),
        }
    }
    /// Subresources are named `resource/sub` or `*/sub`; a plain name does not stand for them.
    fn names_resource(&self, resource: &str, sub: &str) -> bool {
        self.resources.iter().any(|r| match r.as_str() {
            "*" => true,
            r if sub.is_empty() => r == resource,
            r => r.split_once('/').is_some_and(|(of, s)| s == sub && (of == "*" || of == resource)),
        })
    }
    /// Whether this rule allows all that `part` does; `part` has at most one of everything ([`Rule::parts`]).
    fn covers(&self, part: &Rule) -> bool {
        let all = |set: &[String], of: &[String]| has(set, "*") || of.iter().all(|e| has(set, e));
        let resource = |r: &String| has(&self.resources, r) || r.split_once('/').is_some_and(|(_, sub)| has(&self.resources, &format!("*/{sub}")));
        let names = match part.resource_names.is_empty() {
            true => self.resource_names.is_empty(),
            false => self.resource_names.is_empty() || part.resource_names.iter().all(|n| has(&self.resource_names, n)),
        };
        all(&self.verbs, &part.verbs)
            && all(&self.api_groups, &part.api_groups)
            && (has(&self.resources, "*") || part.resources.iter().all(resource))
            && names
            && part.non_resource_urls.iter().all(|p| self.non_resource_urls.iter().any(|u| path_covers(u, p)))
    }
    /// The same in rules of one verb, one resource, one name each.
    fn parts(&self) -> Vec<Rule> {
        let one = |s: &String| vec![s.clone()];
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let part = Rule { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Rule::default() };
                    match self.resource_names.is_empty() {
                        true => parts.push(part),
                        false => parts.extend(self.resource_names.iter().map(|n| Rule { resource_names: one(n), ..part.clone() })),
                    }
                }
            }
            parts.extend(self.non_resource_urls.iter().map(|u| Rule { verbs: one(verb), non_resource_urls: one(u), ..Rule::default() }));
        }
        parts
    }
}

/// What of `wanted` the `held` rules do not allow, in small rules; verbs of the same thing are gathered.
pub fn uncovered(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for part in wanted.iter().flat_map(Rule::parts).filter(|part| !held.iter().any(|h| h.covers(part))) {
        let same = |m: &&mut Rule| Rule { verbs: Vec::new(), ..(*m).clone() } == Rule { verbs: Vec::new(), ..part.clone() };
        match missing.iter_mut().find(same) {
            Some(m) if !m.verbs.contains(&part.verbs[0]) => m.verbs.extend(part.verbs),
            Some(_) => {}
            None => missing.push(part),
        }
    }
    missing
}

impl fmt::Display for Rule {
    /// As upstream tells it: `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let told: Vec<String> = parts.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        write!(f, "{{{}}}", told.join(", "))
    }
}

/// A list of strings as Go's `%q` prints it.
pub(crate) fn quoted(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_meta::GroupVersionResource;
    use skiff_request::Target;

    fn rule(verbs: &str, groups: &str, resources: &str, names: &str) -> Rule {
        let list = |s: &str| s.split(',').filter(|s| !s.is_empty()).map(|s| if s == "core" { String::new() } else { s.to_owned() }).collect();
        Rule { verbs: list(verbs), api_groups: list(groups), resources: list(resources), resource_names: list(names), ..Rule::default() }
    }
    fn urls(verbs: &str, urls: &str) -> Rule {
        Rule { verbs: vec![verbs.into()], non_resource_urls: urls.split(',').map(Into::into).collect(), ..Rule::default() }
    }
    fn action(verb: &str, group: &'static str, resource: &str, name: &str) -> Action {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let target = Target::new(GroupVersionResource::new(group, "v1", resource.to_owned()), "ns", name).sub(sub);
        Action::resource(verb, target)
    }

    #[test]
    fn rules_match_as_upstreams_do() {
        for (rule, action, allowed) in [
            (rule("get", "core", "pods", ""), action("get", "", "pods", "x"), true),
            (rule("get", "core", "pods", ""), action("list", "", "pods", ""), false),
            (rule("get", "core", "pods", ""), action("get", "", "pods/log", "x"), false),
            (rule("get", "core", "pods", ""), action("get", "apps", "pods", "x"), false),
            (rule("*", "*", "*", ""), action("get", "apps", "deployments/scale", "x"), true),
            (rule("get", "*", "*/scale", ""), action("get", "apps", "deployments/scale", "x"), true),
            (rule("get", "*", "*/scale", ""), action("get", "apps", "deployments", "x"), false),
            (rule("get", "core", "pods/log", ""), action("get", "", "pods/log", "x"), true),
            (rule("get", "core", "configmaps", "a,b"), action("get", "", "configmaps", "b"), true),
            (rule("get", "core", "configmaps", "a,b"), action("get", "", "configmaps", "c"), false),
            (rule("create", "core", "configmaps", "a"), action("create", "", "configmaps", ""), false),
        ] {
            assert_eq!(rule.allows(&action), allowed, "{rule} {action:?}");
        }
        for (paths, path, allowed) in [("/healthz", "/healthz", true), ("/healthz", "/healthz/x", false), ("/api/*", "/api/v1", true), ("*", "/x", true)] {
            assert_eq!(urls("get", paths).allows(&Action::Path { verb: "get".into(), path: path.into() }), allowed, "{paths} {path}");
        }
    }

    #[test]
    fn what_is_not_held_is_told() {
        let held = [rule("get,list", "core", "pods,*/scale", ""), rule("*", "apps", "*", ""), urls("get", "/api/*")];
        assert!(uncovered(&held, &[rule("get", "core", "pods,deployments/scale", "x"), rule("get", "apps", "any/sub", ""), urls("get", "/api/v1")]).is_empty());
        let missing = uncovered(&held, &[rule("get,delete,patch", "core", "pods", "")]);
        assert_eq!(missing.iter().map(ToString::to_string).collect::<Vec<_>>(), [r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete" "patch"]}"#]);
        assert_eq!(uncovered(&[rule("get", "core", "pods", "a")], &[rule("get", "core", "pods", "")]).len(), 1, "all names are more than one");
        assert_eq!(uncovered(&held, &[urls("get", "*")]).len(), 1);
        assert_eq!(uncovered(&[], &[rule("*", "*", "*", "")]).len(), 1);
    }
}
