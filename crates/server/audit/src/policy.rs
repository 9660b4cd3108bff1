//! What is recorded: rules in order, the first that matches decides. Pure.
use serde::Deserialize;
use skiff_request::{Target, User};
use thiserror::Error;

/// How much is recorded of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    pub const ALL: [Level; 4] = [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];
    pub fn as_str(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

/// When in a request's life an event is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    RequestReceived,
    /// Of watches and connections: the answer has begun.
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

#[derive(Debug, Error, PartialEq)]
pub enum PolicyError {
    #[error("the audit policy is no YAML that can be read: {0}")]
    Unreadable(String),
    #[error("the audit policy is of {0:?}, not of \"audit.k8s.io/v1\" and kind Policy")]
    Kind(String),
    #[error("the audit policy has no rules")]
    Empty,
    #[error("rules[{at}]: {why}")]
    Rule { at: usize, why: &'static str },
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    api_version: String,
    kind: String,
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    level: Option<Level>,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// A request as rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// None: nobody was recognised.
    pub user: Option<&'a User>,
    pub verb: &'a str,
    /// Of what is no resource.
    pub path: &'a str,
    pub target: Option<&'a Target>,
}

/// What a policy says of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub level: Level,
    pub omit: Vec<Stage>,
    pub omit_managed_fields: bool,
}

/// Policies are no larger than this, bytes.
const MAX_SIZE: usize = 1 << 20;

impl Policy {
    /// Reads a policy file, YAML or JSON.
    pub fn read(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_SIZE {
            return Err(PolicyError::Unreadable(format!("it is larger than {MAX_SIZE} bytes")));
        }
        let policy: Self = serde_saphyr::from_str(text).map_err(|e| PolicyError::Unreadable(e.to_string()))?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err(PolicyError::Kind(format!("{} {}", policy.api_version, policy.kind)));
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        for (at, rule) in policy.rules.iter().enumerate() {
            rule.check().map_err(|why| PolicyError::Rule { at, why })?;
        }
        Ok(policy)
    }

    /// What holds when an operator asks for records and gives no policy: everybody's requests, no bodies, nothing of what
    /// components ask all the time.
    pub fn metadata_only() -> Self {
        let of = |level| Rule { level: Some(level), ..Rule::default() };
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let group = |group: &str, resources: &[&str]| GroupResources { group: group.into(), resources: texts(resources), ..Default::default() };
        let probes = Rule { non_resource_urls: texts(&["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*", "/metrics"]), ..of(Level::None) };
        let leases = Rule {
            resources: vec![group("coordination.k8s.io", &["leases"])],
            user_groups: texts(&["system:nodes", "system:masters"]),
            verbs: texts(&["get", "update", "patch"]),
            ..of(Level::None)
        };
        let events = Rule { resources: vec![group("", &["events"]), group("events.k8s.io", &["events"])], ..of(Level::None) };
        Self { rules: vec![probes, leases, events, of(Level::Metadata)], omit_stages: vec![Stage::RequestReceived], ..Self::default() }
    }

    pub(crate) fn of(&self, asked: &Asked<'_>) -> Verdict {
        let found = self.rules.iter().find(|r| r.matches(asked));
        let Some(rule) = found else { return Verdict { level: Level::None, omit: self.omit_stages.clone(), omit_managed_fields: self.omit_managed_fields } };
        Verdict {
            level: rule.level.unwrap_or_default(),
            omit: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn check(&self) -> Result<(), &'static str> {
        let resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        let bad_url = |u: &String| u != "*" && (!u.starts_with('/') || u.trim_end_matches('*').contains('*') || u.matches('*').count() > 1);
        if self.level.is_none() {
            return Err("level: Required value");
        }
        if resources && !self.non_resource_urls.is_empty() {
            return Err("nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs");
        }
        if self.non_resource_urls.iter().any(bad_url) {
            return Err("nonResourceURLs: non-resource URLs are \"*\" or begin with \"/\", with at most one \"*\" at the end");
        }
        if self.resources.iter().any(|r| r.group.contains('/')) {
            return Err("resources: group must be only the API group, not a group version");
        }
        if self.resources.iter().any(|r| !r.resource_names.is_empty() && r.resources.is_empty()) {
            return Err("resources: using resourceNames requires at least one resource");
        }
        Ok(())
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|x| x == wanted);
        let users = self.users.is_empty() || asked.user.is_some_and(|u| has(&self.users, &u.name));
        let groups = self.user_groups.is_empty() || asked.user.is_some_and(|u| u.groups.iter().any(|g| has(&self.user_groups, g)));
        if !users || !groups || !(self.verbs.is_empty() || has(&self.verbs, asked.verb)) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            let Some(t) = asked.target else { return false };
            let namespace = self.namespaces.is_empty() || has(&self.namespaces, &t.namespace);
            return namespace && (self.resources.is_empty() || self.resources.iter().any(|r| r.matches(t)));
        }
        if !self.non_resource_urls.is_empty() {
            let path = |spec: &String| spec == "*" || spec == asked.path || spec.strip_suffix('*').is_some_and(|start| asked.path.starts_with(start));
            return asked.target.is_none() && self.non_resource_urls.iter().any(path);
        }
        true
    }
}

impl GroupResources {
    fn matches(&self, t: &Target) -> bool {
        let (r, sub) = (&*t.resource.resource, t.subresource.as_str());
        if self.group != "*" && *self.group != *t.resource.group {
            return false;
        }
        let named = self.resource_names.is_empty() || self.resource_names.contains(&t.name);
        let resource = |spec: &String| match spec.split_once('/') {
            None => spec == "*" || (sub.is_empty() && spec == r),
            Some(("*", s)) => !sub.is_empty() && s == sub,
            Some((x, "*")) => x == r,
            Some((x, s)) => x == r && s == sub,
        };
        self.resources.is_empty() || (named && self.resources.iter().any(resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_meta::GroupVersionResource;

    const FILE: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: RequestResponse
  resources: [{group: "", resources: ["pods"]}]
  omitManagedFields: true
- level: Metadata
  resources: [{group: "", resources: ["pods/log", "*/status"]}, {group: apps, resources: ["deployments/*"]}]
- level: None
  resources: [{group: "", resources: [configmaps], resourceNames: [controller-leader]}]
- level: Request
  namespaces: [kube-system]
  omitStages: [Panic]
- level: None
  userGroups: ["system:authenticated"]
  nonResourceURLs: ["/api*"]
- level: Metadata
  users: [ann]
  verbs: [get]
- level: Request
  resources: [{group: "*"}]
"#;

    #[test]
    fn the_first_rule_decides() {
        let policy = Policy::read(FILE).unwrap();
        let (ann, bob) = (User::new("ann", [User::AUTHENTICATED]), User::new("bob", [User::AUTHENTICATED]));
        let t = |group: &'static str, resource: &'static str, namespace: &str, name: &str, sub: &str| {
            Some(Target::new(GroupVersionResource::new(group, "v1", resource), namespace, name).sub(sub))
        };
        for (user, verb, path, target, level) in [
            (Some(&ann), "get", "/healthz/etcd", None, Level::None),
            (Some(&ann), "create", "", t("", "pods", "a", "", ""), Level::RequestResponse),
            (Some(&ann), "get", "", t("", "pods", "a", "x", "log"), Level::Metadata),
            (Some(&bob), "get", "", t("", "nodes", "", "x", "status"), Level::Metadata),
            (Some(&bob), "get", "", t("apps", "deployments", "a", "x", "scale"), Level::Metadata),
            (Some(&bob), "update", "", t("", "configmaps", "a", "controller-leader", ""), Level::None),
            (Some(&bob), "update", "", t("", "configmaps", "kube-system", "other", ""), Level::Request),
            (Some(&bob), "get", "/api", None, Level::None),
            (None, "get", "/api", None, Level::None),
            (Some(&ann), "get", "/metrics", None, Level::Metadata),
            (Some(&bob), "get", "/metrics", None, Level::None),
            (Some(&bob), "list", "", t("batch", "jobs", "a", "", ""), Level::Request),
        ] {
            let verdict = policy.of(&Asked { user, verb, path, target: target.as_ref() });
            assert_eq!(verdict.level, level, "{verb} {path} {target:?}");
        }
        let pods = policy.of(&Asked { user: None, verb: "get", path: "", target: t("", "pods", "", "", "").as_ref() });
        assert_eq!((pods.omit_managed_fields, pods.omit), (true, vec![Stage::RequestReceived]));
        let system = policy.of(&Asked { user: None, verb: "get", path: "", target: t("x", "y", "kube-system", "", "").as_ref() });
        assert_eq!(system.omit, [Stage::RequestReceived, Stage::Panic]);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let with = |rule: &str| Policy::read(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {rule}\n")).unwrap_err().to_string();
        assert!(with("level: Everything").contains("no YAML that can be read"));
        assert_eq!(with("users: [a]"), "rules[0]: level: Required value");
        assert!(with("{level: None, namespaces: [a], nonResourceURLs: [/x]}").contains("both regular resources and non-resource"));
        assert!(with("{level: None, nonResourceURLs: ['/x*y']}").contains("at most one"));
        assert!(with("{level: None, resources: [{group: a, resourceNames: [x]}]}").contains("requires at least one resource"));
        assert_eq!(Policy::read("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []").unwrap_err(), PolicyError::Empty);
        assert!(matches!(Policy::read("kind: Pod"), Err(PolicyError::Kind(_))));
    }

    #[test]
    fn without_a_policy_no_body_is_recorded() {
        let policy = Policy::metadata_only();
        let secret = Target::new(GroupVersionResource::new("", "v1", "secrets"), "a", "s");
        let verdict = policy.of(&Asked { user: None, verb: "create", path: "", target: Some(&secret) });
        assert_eq!(verdict.level, Level::Metadata);
        assert!(policy.rules.iter().all(|r| r.level <= Some(Level::Metadata)));
    }
}
