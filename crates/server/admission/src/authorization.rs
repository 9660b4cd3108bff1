//! `authorizer` in expressions: questions about what the requesting user may do elsewhere.
//!
//! `authorizer.path(p).check(v)`, `authorizer.group(g).resource(r)[.subresource(s)][.namespace(n)][.name(x)].check(v)`,
//! `authorizer.serviceAccount(ns, name)…`, `authorizer.requestResource…`; a decision has `allowed()`, `reason()`,
//! `errored()` and `error()`.
use futures::FutureExt as _;
use skiff_cel::{EvalError, Opaque, Value};
use skiff_meta::GroupVersionResource;
use skiff_policy::{Action, Attributes, Authorizer, Decision};
use skiff_request::{Target, User};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Authorizer { user: Arc<User> },
    Path { user: Arc<User>, path: String },
    Group { user: Arc<User>, group: String },
    Resource { user: Arc<User>, target: Target },
    Decision { allowed: bool, reason: String },
    /// The declared variables of a policy.
    Variables,
}

impl Opaque for Node {
    fn runtime_type_name(&self) -> &str {
        match self {
            Node::Authorizer { .. } => "kubernetes.authorization.Authorizer",
            Node::Path { .. } => "kubernetes.authorization.PathCheck",
            Node::Group { .. } => "kubernetes.authorization.GroupCheck",
            Node::Resource { .. } => "kubernetes.authorization.ResourceCheck",
            Node::Decision { .. } => "kubernetes.authorization.Decision",
            Node::Variables => "kubernetes.variables",
        }
    }
}

fn value(n: Node) -> Value {
    Value::Opaque(Arc::new(n))
}
fn node(v: &Value) -> Option<&Node> {
    match v {
        Value::Opaque(o) => o.downcast_ref::<Node>(),
        _ => None,
    }
}

pub(crate) fn authorizer(a: &Attributes<'_>) -> Value {
    value(Node::Authorizer { user: a.user.clone() })
}
pub(crate) fn request_resource(a: &Attributes<'_>) -> Value {
    value(Node::Resource { user: a.user.clone(), target: a.target.clone() })
}
pub(crate) fn variables() -> Value {
    value(Node::Variables)
}
pub(crate) fn is_variables(v: &Value) -> bool {
    matches!(node(v), Some(Node::Variables))
}

/// `authorizer.requestResource`.
pub(crate) fn member(a: &Attributes<'_>, of: &Value, field: &str) -> Option<Result<Value, EvalError>> {
    let known = matches!(node(of)?, Node::Authorizer { .. }) && field == "requestResource";
    Some(if known { Ok(request_resource(a)) } else { Err(EvalError::NoSuchKey(field.to_owned())) })
}

pub(crate) fn call(authorizer: &dyn Authorizer, target: &Value, name: &str, args: &[Value]) -> Option<Result<Value, EvalError>> {
    let node = node(target)?;
    let texts: Option<Vec<&str>> = args.iter().map(|v| if let Value::String(s) = v { Some(s.as_str()) } else { None }).collect();
    let Some(texts) = texts else { return Some(Err(EvalError::NoSuchOverload)) };
    let next = match (node, name, &texts[..]) {
        (Node::Authorizer { user }, "path", [p]) if !p.is_empty() => Node::Path { user: user.clone(), path: (*p).to_owned() },
        (Node::Authorizer { user }, "group", [g]) => Node::Group { user: user.clone(), group: (*g).to_owned() },
        (Node::Authorizer { .. }, "serviceAccount", [ns, n]) => Node::Authorizer { user: Arc::new(service_account(ns, n)) },
        (Node::Group { user, group }, "resource", [r]) if !r.is_empty() => {
            let resource = GroupVersionResource::new(group.clone(), "*", (*r).to_owned());
            Node::Resource { user: user.clone(), target: Target::new(resource, "", "") }
        }
        (Node::Resource { user, target }, part, [x]) if part != "check" => {
            let mut target = target.clone();
            match part {
                "subresource" => target.subresource = (*x).to_owned(),
                "namespace" => target.namespace = (*x).to_owned(),
                "name" => target.name = (*x).to_owned(),
                // Selectors narrow what is asked; without them the question is about everything, which is stricter.
                "fieldSelector" | "labelSelector" => {}
                _ => return Some(Err(EvalError::NoSuchOverload)),
            }
            Node::Resource { user: user.clone(), target }
        }
        (Node::Path { user, path }, "check", [verb]) => return Some(decide(authorizer, user, Action::Path { verb: (*verb).to_owned(), path: path.clone() })),
        (Node::Resource { user, target }, "check", [verb]) => return Some(decide(authorizer, user, Action::Resource { verb: (*verb).to_owned(), target: target.clone() })),
        (Node::Decision { allowed, .. }, "allowed", []) => return Some(Ok(Value::Bool(*allowed))),
        (Node::Decision { reason, .. }, "reason", []) => return Some(Ok(Value::String(Arc::new(reason.clone())))),
        (Node::Decision { .. }, "errored", []) => return Some(Ok(Value::Bool(false))),
        (Node::Decision { .. }, "error", []) => return Some(Ok(Value::String(Arc::default()))),
        _ => return Some(Err(EvalError::NoSuchOverload)),
    };
    Some(Ok(value(next)))
}

/// The authoriser answers out of memory; one that would have to wait cannot be asked here.
fn decide(authorizer: &dyn Authorizer, user: &User, action: Action) -> Result<Value, EvalError> {
    let decision = authorizer.authorize(user, &action).now_or_never().ok_or_else(|| EvalError::Other("the authorizer did not answer at once".into()))?;
    Ok(value(match decision {
        Decision::Allow => Node::Decision { allowed: true, reason: String::new() },
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Node::Decision { allowed: false, reason },
    }))
}

fn service_account(namespace: &str, name: &str) -> User {
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}"), User::AUTHENTICATED.to_owned()];
    User::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
}
