//! Which requests a webhook or a policy is asked about, and as which resource.
//!
//! Rules name operations, groups, versions, resources and scope; selectors look at the labels of the namespace and of the
//! object, before and after. With `matchPolicy: Equivalent` a rule about one version of a resource also means the others.
use crate::{
    request::{about, operation, stored},
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupVersionKind, GroupVersionResource, LabelSelector, Status};
use skiff_policy::Attributes;

/// Rules and selectors of one webhook or policy.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    equivalent: bool,
    namespaces: Selector,
    objects: Selector,
}

#[derive(Clone, Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    names: Vec<String>,
}

/// A selector that could not be read matches nothing, with the reason.
type Selector = Result<LabelSelector, String>;

/// As what a request is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub resource: GroupVersionResource,
    pub kind: GroupVersionKind,
    /// What the request itself was about.
    pub request_kind: GroupVersionKind,
}

impl Rules {
    /// `v` has the selectors and `excludeResourceRules`.
    pub fn read(v: &Value, rules: &[Value], match_policy: &str) -> Self {
        let selector = |path| LabelSelector::from_json(value::at(v, path)).map_err(|e| e.to_string());
        Self {
            rules: rules.iter().map(Rule::read).collect(),
            excluded: value::list(v, "excludeResourceRules").iter().map(Rule::read).collect(),
            equivalent: match_policy != "Exact",
            // No selector at all selects everything here.
            namespaces: value::at(v, "namespaceSelector").map_or_else(|| Ok(LabelSelector::everything()), |_| selector("namespaceSelector")),
            objects: value::at(v, "objectSelector").map_or_else(|| Ok(LabelSelector::everything()), |_| selector("objectSelector")),
        }
    }
    /// What a binding without rules of its own matches: everything.
    pub fn without_rules(mut self) -> Self {
        if self.rules.is_empty() {
            let any = || vec!["*".to_owned()];
            self.rules = vec![Rule {
                operations: any(),
                groups: any(),
                versions: any(),
                resources: vec!["*/*".into(), "*".into()],
                scope: String::new(),
                names: Vec::new(),
            }];
        }
        self
    }
}

impl Rule {
    fn read(v: &Value) -> Self {
        let texts = |path| value::list(v, path).iter().filter_map(|x| x.as_str().map(str::to_owned)).collect();
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: value::text(v, "scope").to_owned(),
            names: texts("resourceNames"),
        }
    }
    fn matches(&self, a: &Attributes<'_>, resource: &GroupVersionResource) -> bool {
        let has = |items: &[String], wanted: &str| items.iter().any(|i| i == "*" || i == wanted);
        self.in_scope(a)
            && has(&self.operations, operation(a).as_str())
            && has(&self.groups, &resource.group)
            && has(&self.versions, &resource.version)
            && self.resources.iter().any(|r| names_resource(r, &resource.resource, &a.target.subresource))
            && (self.names.is_empty() || self.names.contains(&a.target.name))
    }
    fn in_scope(&self, a: &Attributes<'_>) -> bool {
        let cluster = is_namespace(a) || a.target.namespace.is_empty();
        match self.scope.as_str() {
            "" | "*" => true,
            "Namespaced" => !cluster,
            "Cluster" => cluster,
            _ => false,
        }
    }
}

fn names_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    let (r, s) = rule.split_once('/').unwrap_or((rule, ""));
    (r == "*" || r == resource) && (s == "*" || s == subresource)
}

pub(crate) fn is_namespace(a: &Attributes<'_>) -> bool {
    a.target.resource.group.is_empty() && a.target.resource.resource == "namespaces"
}

/// The namespace of a request; a namespace is in itself.
pub(crate) fn namespace_of<'b>(a: &'b Attributes<'_>) -> &'b str {
    if is_namespace(a) { &a.target.name } else { &a.target.namespace }
}

/// What webhooks are never asked about: questions to the server, and declarations of admission, so that a bad one can
/// always be taken away.
pub(crate) fn exempt(a: &Attributes<'_>) -> bool {
    exempt_of_policies(a) || about(a, DECLARED, "mutatingwebhookconfigurations") || about(a, DECLARED, "validatingwebhookconfigurations")
}

/// What policies have no say in: the same, but for declarations of webhooks.
pub(crate) fn exempt_of_policies(a: &Attributes<'_>) -> bool {
    let r = &a.target.resource;
    let question = matches!(&*r.group, "authentication.k8s.io" | "authorization.k8s.io") && r.resource.ends_with("reviews");
    question || r.group == DECLARED && (r.resource.ends_with("policies") || r.resource.ends_with("policybindings"))
}

const DECLARED: &str = "admissionregistration.k8s.io";

/// As what the request is shown, if it is.
pub(crate) fn invocation(a: &Attributes<'_>, rules: &Rules) -> Result<Option<Invocation>, Status> {
    let namespaces = in_namespaces(a, &rules.namespaces);
    if matches!(namespaces, Ok(false)) {
        return Ok(None);
    }
    let objects = has_labels(a, &rules.objects);
    if matches!(objects, Ok(false)) {
        return Ok(None);
    }
    if by_rules(a, &rules.excluded, rules.equivalent).is_some() {
        return Ok(None);
    }
    let Some(found) = by_rules(a, &rules.rules, rules.equivalent) else { return Ok(None) };
    namespaces?;
    objects?;
    Ok(Some(found))
}

fn by_rules(a: &Attributes<'_>, rules: &[Rule], equivalent: bool) -> Option<Invocation> {
    if rules.is_empty() {
        return None;
    }
    let own = &a.target.resource;
    let request_kind = || a.lookup.kind(a.target).unwrap_or_else(|| a.kind.clone());
    if rules.iter().any(|r| r.matches(a, own)) {
        let kind = request_kind();
        return Some(Invocation { resource: own.clone(), request_kind: kind.clone(), kind });
    }
    if !equivalent {
        return None;
    }
    let others = a.lookup.equivalents(a.target);
    let of_rule = |rule: &Rule| others.iter().find(|(resource, _)| resource != own && rule.matches(a, resource));
    let (resource, kind) = rules.iter().find_map(of_rule)?;
    Some(Invocation { resource: resource.clone(), kind: kind.clone(), request_kind: request_kind() })
}

fn in_namespaces(a: &Attributes<'_>, selector: &Selector) -> Result<bool, Status> {
    let name = namespace_of(a);
    if name.is_empty() && !is_namespace(a) {
        return Ok(true);
    }
    let selector = selector.as_ref().map_err(Status::internal)?;
    if selector.is_everything() {
        return Ok(true);
    }
    let given = a.object.as_deref().filter(|_| is_namespace(a) && a.target.subresource.is_empty());
    if let Some(v) = given {
        return Ok(selects(selector, v));
    }
    let namespace = stored(a, "namespaces", "", name).ok_or_else(|| Status::not_found(&skiff_meta::GroupResource::new("", "namespaces"), name))?;
    Ok(selects(selector, &namespace))
}

fn has_labels(a: &Attributes<'_>, selector: &Selector) -> Result<bool, Status> {
    let selector = selector.as_ref().map_err(Status::internal)?;
    Ok(selector.is_everything() || [a.object.as_deref(), a.old].into_iter().flatten().any(|v| has_metadata(a) && selects(selector, v)))
}

/// Options of connections have no labels.
fn has_metadata(a: &Attributes<'_>) -> bool {
    !a.connect
}

fn selects(selector: &LabelSelector, v: &Value) -> bool {
    let labels = value::map(v, "metadata.labels");
    selector.matches_with(|k| labels.and_then(|m| m.get(k)).and_then(Value::as_str))
}
