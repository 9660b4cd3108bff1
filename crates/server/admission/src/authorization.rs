//! `authorizer` in expressions: questions about what the requesting user may do elsewhere.
//!
//! `authorizer.path(p).check(v)`, `authorizer.group(g).resource(r)[.subresource(s)][.namespace(n)][.name(x)].check(v)`,
//! `authorizer.serviceAccount(ns, name)…`, `authorizer.requestResource…`; a decision has `allowed()`, `reason()`,
//! `errored()` and `error()`.
use futures::FutureExt as _;
use skiff_cel::{EvalError, Opaque, Value};
use skiff_meta::GroupVersionResource;
use skiff_policy::{Action, Attributes, Authorizer, Decision, Selectors};
use skiff_request::{Target, User};
use std::sync::Arc;
use tokio::{runtime::Handle, sync::Semaphore};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Authorizer {
        user: Arc<User>,
    },
    Path {
        user: Arc<User>,
        path: String,
    },
    Group {
        user: Arc<User>,
        group: String,
    },
    Resource {
        user: Arc<User>,
        target: Target,
        labels: String,
        fields: String,
    },
    Decision {
        allowed: bool,
        reason: String,
        error: String,
    },
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
    value(Node::Resource { user: a.user.clone(), target: a.target.clone(), labels: String::new(), fields: String::new() })
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
            Node::Resource { user: user.clone(), target: Target::new(resource, "", ""), labels: String::new(), fields: String::new() }
        }
        (Node::Resource { user, target, labels, fields }, part, [x]) if part != "check" => {
            let (mut target, mut labels, mut fields) = (target.clone(), labels.clone(), fields.clone());
            match part {
                "subresource" => target.subresource = (*x).to_owned(),
                "namespace" => target.namespace = (*x).to_owned(),
                "name" => target.name = (*x).to_owned(),
                "fieldSelector" => fields = (*x).to_owned(),
                "labelSelector" => labels = (*x).to_owned(),
                _ => return Some(Err(EvalError::NoSuchOverload)),
            }
            Node::Resource { user: user.clone(), target, labels, fields }
        }
        (Node::Path { user, path }, "check", [verb]) => return Some(decide(authorizer, user, Action::Path { verb: (*verb).to_owned(), path: path.clone() })),
        // A selector that is wrong narrows nothing: the question is about more, which is stricter.
        (Node::Resource { user, target, labels, fields }, "check", [verb]) => {
            let selectors = Selectors::parse(labels, fields).0;
            return Some(decide(authorizer, user, Action::Resource { verb: (*verb).to_owned(), target: target.clone(), selectors }));
        }
        (Node::Decision { allowed, .. }, "allowed", []) => return Some(Ok(Value::Bool(*allowed))),
        (Node::Decision { reason, .. }, "reason", []) => return Some(Ok(Value::String(Arc::new(reason.clone())))),
        (Node::Decision { error, .. }, "errored", []) => return Some(Ok(Value::Bool(!error.is_empty()))),
        (Node::Decision { error, .. }, "error", []) => return Some(Ok(Value::String(Arc::new(error.clone())))),
        _ => return Some(Err(EvalError::NoSuchOverload)),
    };
    Some(Ok(value(next)))
}

/// Expressions that wait for an answer at once: each has a thread while it does, and threads are what other requests run on.
const WAITING: usize = 24;

/// Those that wait.
static ASKING: Semaphore = Semaphore::const_new(WAITING);

/// The authoriser answers out of memory, unless a webhook must be asked: then this thread waits, and the runtime puts another
/// in its place. Past a number of those nobody is allowed, and the decision tells the error, as that of an authoriser that
/// failed does: an expression that failed would leave a policy that ignores failures out.
fn decide(authorizer: &dyn Authorizer, user: &User, action: Action) -> Result<Value, EvalError> {
    let mut asked = authorizer.verdict(user, &action);
    let verdict = match (&mut asked).now_or_never() {
        Some(verdict) => verdict,
        None if !skiff_aside::can_wait() => return Ok(unanswered("the authorizer did not answer at once")),
        None => {
            let Ok(_asking) = ASKING.try_acquire() else { return Ok(unanswered("too many questions wait for the authorizer")) };
            skiff_aside::wait(&Handle::current(), asked)
        }
    };
    Ok(value(Node::Decision { allowed: verdict.decision == Decision::Allow, reason: verdict.reason, error: verdict.error }))
}

fn unanswered(error: &str) -> Value {
    value(Node::Decision { allowed: false, reason: String::new(), error: error.to_owned() })
}

fn service_account(namespace: &str, name: &str) -> User {
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}"), User::AUTHENTICATED.to_owned()];
    User::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
}
