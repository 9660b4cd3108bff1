//! FlowSchemas and PriorityLevelConfigurations, read. What must always be there is there, whatever is stored.
use crate::bootstrap;
use skiff_json::Value;
use std::sync::Arc;

/// All that is declared.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// In the order in which they are tried.
    pub(crate) schemas: Vec<Schema>,
    pub(crate) levels: Vec<Level>,
}

#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub name: Arc<str>,
    pub uid: Arc<str>,
    precedence: i64,
    pub level: Arc<str>,
    pub by: Distinguisher,
    pub rules: Vec<Rule>,
}

/// What makes a flow within a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub subjects: Vec<Subject>,
    pub resources: Vec<ResourceRule>,
    pub paths: Vec<PathRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

#[derive(Clone, Debug)]
pub(crate) struct ResourceRule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub cluster: bool,
    pub namespaces: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct PathRule {
    pub verbs: Vec<String>,
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Level {
    pub name: Arc<str>,
    pub uid: Arc<str>,
    pub shares: u64,
    pub lendable_percent: u64,
    /// None: without a bound of its own.
    pub borrowing_percent: Option<u64>,
    pub response: Response,
}

/// What becomes of a request that finds no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// It runs nonetheless.
    Exempt,
    /// It is turned away.
    Reject,
    Queue(Queuing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queuing {
    pub queues: usize,
    pub hand: usize,
    pub length: usize,
}

/// As many queues as one level may have.
const MOST_QUEUES: u64 = 10_000;

impl Configuration {
    pub fn read(schemas: &[Value], levels: &[Value]) -> Self {
        let mut out = Self { schemas: schemas.iter().map(schema).collect(), levels: levels.iter().map(level).collect() };
        for l in bootstrap::levels().iter().filter(|o| o.mandatory).map(|o| level(&o.object)) {
            if !out.levels.iter().any(|x| x.name == l.name) {
                out.levels.push(l);
            }
        }
        for s in bootstrap::schemas().iter().filter(|o| o.mandatory).map(|o| schema(&o.object)) {
            if !out.schemas.iter().any(|x| x.name == s.name) {
                out.schemas.push(s);
            }
        }
        // A schema without its level catches nothing.
        let Self { schemas, levels } = &mut out;
        schemas.retain(|s| levels.iter().any(|l| l.name == s.level));
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        out
    }
}

fn text(v: &Value, pointer: &str) -> String {
    v.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
fn texts(v: &Value, key: &str) -> Vec<String> {
    list(v, key).filter_map(|x| x.as_str().map(str::to_owned)).collect()
}
fn list<'a>(v: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    v.get(key).and_then(Value::as_array).into_iter().flatten()
}
fn number(v: &Value, pointer: &str) -> Option<u64> {
    // As the API has them: 32 bits.
    v.pointer(pointer).and_then(Value::as_u64).map(|n| n.min(i32::MAX as u64))
}

fn schema(v: &Value) -> Schema {
    let spec = v.get("spec").unwrap_or(&Value::Null);
    Schema {
        name: text(v, "/metadata/name").into(),
        uid: text(v, "/metadata/uid").into(),
        precedence: spec.get("matchingPrecedence").and_then(Value::as_i64).unwrap_or(1000),
        level: text(spec, "/priorityLevelConfiguration/name").into(),
        by: match text(spec, "/distinguisherMethod/type").as_str() {
            "ByUser" => Distinguisher::User,
            "ByNamespace" => Distinguisher::Namespace,
            _ => Distinguisher::Nothing,
        },
        rules: list(spec, "rules").map(rule).collect(),
    }
}

fn rule(v: &Value) -> Rule {
    let resource = |r: &Value| ResourceRule {
        verbs: texts(r, "verbs"),
        groups: texts(r, "apiGroups"),
        resources: texts(r, "resources"),
        cluster: r.get("clusterScope").and_then(Value::as_bool).unwrap_or_default(),
        namespaces: texts(r, "namespaces"),
    };
    Rule {
        subjects: list(v, "subjects").filter_map(subject).collect(),
        resources: list(v, "resourceRules").map(resource).collect(),
        paths: list(v, "nonResourceRules").map(|r| PathRule { verbs: texts(r, "verbs"), paths: texts(r, "nonResourceURLs") }).collect(),
    }
}

fn subject(v: &Value) -> Option<Subject> {
    match text(v, "/kind").as_str() {
        "User" => Some(Subject::User(text(v, "/user/name"))),
        "Group" => Some(Subject::Group(text(v, "/group/name"))),
        "ServiceAccount" => Some(Subject::ServiceAccount { namespace: text(v, "/serviceAccount/namespace"), name: text(v, "/serviceAccount/name") }),
        _ => None,
    }
}

fn level(v: &Value) -> Level {
    let spec = v.get("spec").unwrap_or(&Value::Null);
    let exempt = text(spec, "/type") == "Exempt";
    let of = |exempted: &str, limited: &str| number(spec, if exempt { exempted } else { limited });
    let response = match text(spec, "/limited/limitResponse/type").as_str() {
        _ if exempt => Response::Exempt,
        "Queue" => {
            let at = |key: &str, default: u64| number(spec, &format!("/limited/limitResponse/queuing/{key}")).unwrap_or(default);
            let queues = at("queues", 64).clamp(1, MOST_QUEUES);
            Response::Queue(Queuing {
                queues: queues as usize,
                hand: at("handSize", 8).clamp(1, queues) as usize,
                length: at("queueLengthLimit", 50).max(1) as usize,
            })
        }
        _ => Response::Reject,
    };
    Level {
        name: text(v, "/metadata/name").into(),
        uid: text(v, "/metadata/uid").into(),
        shares: of("/exempt/nominalConcurrencyShares", "/limited/nominalConcurrencyShares").unwrap_or(if exempt { 0 } else { 30 }),
        lendable_percent: of("/exempt/lendablePercent", "/limited/lendablePercent").unwrap_or(0).min(100),
        borrowing_percent: number(spec, "/limited/borrowingLimitPercent"),
        response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn what_must_be_there_is_there() {
        let dangling = json!({"metadata": {"name": "d"}, "spec": {"priorityLevelConfiguration": {"name": "nowhere"}}});
        let c = Configuration::read(&[dangling], &[]);
        assert_eq!(c.schemas.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["exempt", "catch-all"]);
        let levels: Vec<_> = c.levels.iter().map(|l| (&*l.name, l.response, l.shares)).collect();
        assert_eq!(levels, [("exempt", Response::Exempt, 0), ("catch-all", Response::Reject, 5)]);
    }
}
