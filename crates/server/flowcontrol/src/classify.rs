//! Which schema, level and flow a request belongs to. Pure.
use crate::config::{Distinguisher, PathRule, ResourceRule, Rule, Schema, Subject};
use skiff_request::{Target, User};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    Resource(&'a Target),
    Path(&'a str),
}

/// A request as declarations see it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub user: &'a User,
    /// Of a resource RBAC's word, of a path the method in lower case.
    pub verb: &'a str,
    pub ask: Ask<'a>,
}

impl Schema {
    pub fn matches(&self, r: &Request<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(r))
    }
    /// What tells flows of this schema apart.
    pub fn distinguisher<'a>(&self, r: &Request<'a>) -> &'a str {
        match (self.by, r.ask) {
            (Distinguisher::User, _) => r.user.name.as_str(),
            (Distinguisher::Namespace, Ask::Resource(t)) => t.namespace.as_str(),
            _ => "",
        }
    }
    /// The flow's number: equal for requests of one flow.
    pub fn flow(&self, r: &Request<'_>) -> u64 {
        hash(&[&self.name, self.distinguisher(r)])
    }
}

/// FNV-1a, mixed once more so that close texts end far apart.
fn hash(parts: &[&str]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for b in parts.iter().flat_map(|p| p.bytes().chain([0])) {
        h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^ (h >> 33)
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|x| x == "*" || x == wanted)
}

impl Rule {
    fn matches(&self, r: &Request<'_>) -> bool {
        let asked = match r.ask {
            Ask::Resource(t) => self.resources.iter().any(|x| x.matches(r.verb, t)),
            Ask::Path(p) => self.paths.iter().any(|x| x.matches(r.verb, p)),
        };
        asked && self.subjects.iter().any(|s| s.matches(r.user))
    }
}

impl Subject {
    fn matches(&self, user: &User) -> bool {
        match self {
            Subject::User(name) => name == "*" || *name == user.name,
            Subject::Group(name) => name == "*" || user.groups.iter().any(|g| g == name),
            Subject::ServiceAccount { namespace, name } => {
                let Some((ns, n)) = user.name.strip_prefix("system:serviceaccount:").and_then(|s| s.split_once(':')) else { return false };
                ns == namespace && (name == "*" || n == name)
            }
        }
    }
}

impl ResourceRule {
    fn matches(&self, verb: &str, t: &Target) -> bool {
        let place = if t.namespace.is_empty() { self.cluster } else { has(&self.namespaces, &t.namespace) };
        place && has(&self.verbs, verb) && has(&self.groups, &t.resource.group) && self.resources.iter().any(|r| names(r, t))
    }
}

fn names(rule: &str, t: &Target) -> bool {
    match rule.split_once('/') {
        _ if rule == "*" => true,
        Some((r, s)) => r == t.resource.resource && s == t.subresource,
        None => t.subresource.is_empty() && rule == t.resource.resource,
    }
}

impl PathRule {
    fn matches(&self, verb: &str, path: &str) -> bool {
        has(&self.verbs, verb) && self.paths.iter().any(|p| p == "*" || p == path || p.strip_suffix('*').is_some_and(|start| path.starts_with(start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Configuration;
    use skiff_json::{Value, json};
    use skiff_meta::GroupVersionResource;

    fn schema(name: &str, precedence: u64, rule: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": "catch-all"}, "distinguisherMethod": {"type": "ByNamespace"}, "rules": [rule]}})
    }

    #[test]
    fn the_first_that_matches_by_precedence_and_name() {
        let accounts = json!({"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "ns", "name": "*"}}], "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods", "nodes/status"], "namespaces": ["*"], "clusterScope": true}]});
        let health = json!({"subjects": [{"kind": "Group", "group": {"name": "*"}}], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/live/*"]}]});
        let c = Configuration::read(&[schema("b", 5, accounts.clone()), schema("a", 5, accounts), schema("health", 9, health)], &[]);
        let account = User::new("system:serviceaccount:ns:x", [User::AUTHENTICATED]);
        let target = |resource: &'static str, namespace: &str, sub: &str| Target::new(GroupVersionResource::new("", "v1", resource), namespace, "").sub(sub);
        let of = |user: &User, verb: &str, ask: Ask<'_>| {
            c.schemas.iter().find(|s| s.matches(&Request { user, verb, ask })).map(|s| s.name.to_string()).unwrap_or_default()
        };
        let cases = [
            (&account, "list", target("pods", "ns", ""), "a"),
            (&account, "get", target("pods", "ns", ""), "catch-all"),
            (&account, "list", target("pods", "ns", "status"), "catch-all"),
            (&account, "list", target("nodes", "", "status"), "a"),
            (&User::new("root", [User::MASTERS, User::AUTHENTICATED]), "list", target("pods", "ns", ""), "exempt"),
        ];
        for (user, verb, t, want) in cases {
            assert_eq!(of(user, verb, Ask::Resource(&t)), want, "{verb} {t:?}");
        }
        for (path, want) in [("/healthz", "health"), ("/live/x", "health"), ("/version", "catch-all")] {
            assert_eq!(of(&account, "get", Ask::Path(path)), want);
        }
        let flows: Vec<u64> =
            ["x", "x", "y"].iter().map(|ns| c.schemas[1].flow(&Request { user: &account, verb: "get", ask: Ask::Resource(&target("pods", ns, "")) })).collect();
        assert!(flows[0] == flows[1] && flows[0] != flows[2]);
    }
}
