//! Objects against the rules of their schema.
use super::{types::declared, values::value};
use crate::{
    schema::{Rule, Schema, Type, field_path, same},
    value::{Before, place},
};
use skiff_cel::{Budget, EvalError, Program, Value as Cel, Variables, optional_of};
use skiff_json::Value;
use skiff_meta::Cause;
use skiff_validation::shown;
use std::collections::HashMap;

/// A message of an expression is at most so long.
const LONGEST: usize = 5 * 1024;

/// The rules of a schema, compiled once.
#[derive(Debug, Default)]
pub struct Rules {
    programs: HashMap<String, Result<Program, String>>,
}

/// Whether errors found before keep rules from being checked: values that have the wrong type or are too large.
pub fn blocked(causes: &[Cause]) -> Option<Cause> {
    const BLOCKING: [&str; 5] = ["FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"];
    causes.iter().any(|c| BLOCKING.contains(&c.reason.as_str())).then(|| Cause {
        reason: "FieldValueInvalid".into(),
        message:
            "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
                .into(),
        field: "<nil>".into(),
    })
}

impl Rules {
    pub fn compile(s: &Schema) -> Self {
        let mut rules = Self::default();
        rules.gather(s);
        rules
    }
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }
    fn gather(&mut self, s: &Schema) {
        for text in s.rules.iter().flat_map(|r| [&r.rule, &r.message_expression]).filter(|t| !t.trim().is_empty()) {
            self.programs.entry(text.clone()).or_insert_with(|| Program::compile(text).map_err(|e| e.0));
        }
        let below = s.items.as_deref().into_iter().chain(s.additional_schema()).chain(s.properties.values());
        below.for_each(|s| self.gather(s));
    }

    /// Errors of a value below `base`; `object`: it is the root of an object. Without `old` rules about changes rest.
    pub fn check(&self, v: &Value, s: &Schema, old: Option<&Value>, base: &str, object: bool) -> Vec<Cause> {
        self.run(v, s, old, base, object).causes
    }

    /// What is wrong with values that may stay as they were: clients are warned of it.
    pub fn ratcheted(&self, v: &Value, s: &Schema, old: &Value) -> Vec<Cause> {
        self.run(v, s, Some(old), "", true).ratcheted
    }

    fn run(&self, v: &Value, s: &Schema, old: Option<&Value>, base: &str, object: bool) -> Run<'_> {
        let mut run = Run { rules: self, budget: Budget::new(Budget::POLICY), causes: Vec::new(), ratcheted: Vec::new(), over: false };
        if self.is_empty() {
            return run;
        }
        let before = old.map(|value| Before { value, schema: s });
        run.node(&Node { v, s, old, before, parent: None, path: base.to_owned(), object });
        run
    }
}

/// A value on the way down.
struct Node<'a> {
    v: &'a Value,
    s: &'a Schema,
    /// What `oldSelf` is.
    old: Option<&'a Value>,
    /// The same for what may stay as it was.
    before: Option<Before<'a>>,
    /// The nearest value above that can be compared: new and old.
    parent: Option<(&'a Value, &'a Value)>,
    path: String,
    object: bool,
}

struct Run<'r> {
    rules: &'r Rules,
    budget: Budget,
    causes: Vec<Cause>,
    /// Of values that are as they were.
    ratcheted: Vec<Cause>,
    /// The budget is spent: nothing more is checked.
    over: bool,
}

impl Run<'_> {
    fn node(&mut self, n: &Node<'_>) {
        if self.over || n.v.is_null() {
            return;
        }
        self.own(n);
        let below = n.before.map(|b| (n.v, b.value)).or(n.parent);
        match n.v {
            Value::Object(m) => {
                for (k, v) in m {
                    let (s, path) = match (n.s.properties.get(k.as_str()), n.s.additional_schema()) {
                        (Some(p), _) => (p, if n.path.is_empty() { k.to_string() } else { format!("{}.{k}", n.path) }),
                        (None, Some(a)) => (a, format!("{}[{k}]", n.path)),
                        _ => continue,
                    };
                    let hidden = n.path.is_empty() && matches!(k.as_str(), "kind" | "apiVersion");
                    let before = n.before.filter(|_| !hidden).and_then(|b| b.key(k));
                    self.node(&Node { v, s, old: n.s.correlated_key(n.old, k), before, parent: below.filter(|_| !hidden), path, object: s.embedded });
                }
            }
            Value::Array(items) => {
                let Some(s) = n.s.items.as_deref() else { return };
                for (i, v) in items.iter().enumerate() {
                    let before = n.before.and_then(|b| b.item(v));
                    self.node(&Node { v, s, old: n.s.correlated_item(n.old, v), before, parent: below, path: format!("{}[{i}]", n.path), object: s.embedded });
                }
            }
            _ => {}
        }
    }

    /// The rules of one value.
    fn own(&mut self, n: &Node<'_>) {
        if n.s.rules.is_empty() || declared(n.s, n.object).is_none() {
            return;
        }
        let kind = n.s.kind.map_or("", Type::name);
        let own = value(n.v, n.s, n.object);
        let old = n.old.filter(|o| !o.is_null()).map(|o| value(o, n.s, n.object));
        for r in n.s.rules.iter().filter(|r| !r.rule.trim().is_empty()) {
            let failed = |why: String| invalid(&place("", &n.path), &kind.into(), &why);
            let program = match self.rules.programs.get(&r.rule) {
                Some(Ok(p)) => p,
                Some(Err(why)) => {
                    self.causes.push(failed(format!("rule compile error: compilation failed: {why}")));
                    continue;
                }
                None => continue,
            };
            let (transition, optional) = (program.free_names().contains("oldSelf"), r.optional_old_self == Some(true));
            if transition && old.is_none() && !optional {
                continue;
            }
            let mut scope = Variables::default();
            scope.0.insert("self".into(), own.clone());
            if optional {
                scope.0.insert("oldSelf".into(), optional_of(old.clone()));
            } else if let Some(o) = &old {
                scope.0.insert("oldSelf".into(), o.clone());
            }
            match self.budget.within(Budget::CALL, |b| program.evaluate(&scope, b)) {
                Ok(Cel::Bool(true)) => {}
                Ok(_) => self.broken(n, r, &scope, transition),
                Err(e) => {
                    let (why, over) = self.trouble(&e, r);
                    self.causes.push(failed(why));
                    self.over |= over;
                }
            }
            if self.over {
                return;
            }
        }
    }

    /// What is said of a rule that could not be evaluated, and whether that ends everything.
    fn trouble(&self, e: &EvalError, r: &Rule) -> (String, bool) {
        let rule = named(r);
        match e {
            EvalError::OutOfBudget if self.budget.left() == 0 => {
                ("validation failed due to running out of cost budget, no further validation rules will be run".into(), true)
            }
            EvalError::OutOfBudget => (format!("'{e}': no further validation rules will be run due to call cost exceeds limit for rule: {rule}"), true),
            EvalError::NoSuchOverload => {
                (format!("'{e}': call arguments did not match a supported operator, function or macro signature for rule: {rule}"), false)
            }
            e => (format!("{e} evaluating rule: {rule}"), false),
        }
    }

    /// A rule that does not hold.
    fn broken(&mut self, n: &Node<'_>, r: &Rule, scope: &Variables, transition: bool) {
        let unchanged = match (n.before, n.parent) {
            (Some(b), _) => same(b.value, n.v),
            (None, Some((new, old))) => same(new, old),
            _ => false,
        };
        let path = match field_path(&r.field_path, n.s, true) {
            Ok(p) if !p.shown.is_empty() => format!("{}{}", n.path, p.shown),
            _ => n.path.clone(),
        };
        let detail =
            self.message(r, scope).unwrap_or_else(|| if r.message.is_empty() { format!("failed rule: {}", named(r)) } else { r.message.trim().to_owned() });
        let list = if unchanged && !transition { &mut self.ratcheted } else { &mut self.causes };
        list.push(worded(&place("", &path), n, r, &detail));
    }

    /// What the message's expression gives; None where it gives nothing that will do.
    fn message(&mut self, r: &Rule, scope: &Variables) -> Option<String> {
        let Some(Ok(program)) = self.rules.programs.get(&r.message_expression) else { return None };
        match self.budget.within(Budget::CALL, |b| program.evaluate(scope, b)) {
            Ok(Cel::String(s)) => Some(s.trim().to_owned()).filter(|s| !s.is_empty() && s.len() <= LONGEST && !s.contains('\n')),
            Err(EvalError::OutOfBudget) => {
                self.over = true;
                Some(format!("no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}", r.message_expression))
            }
            _ => None,
        }
    }
}

/// A rule as errors name it.
fn named(r: &Rule) -> &str {
    if r.message.is_empty() { r.rule.trim() } else { r.message.trim() }
}

fn invalid(field: &str, v: &Value, why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {}: {why}", shown(v)), field: field.into() }
}

fn worded(field: &str, n: &Node<'_>, r: &Rule, detail: &str) -> Cause {
    let whole = matches!(n.s.kind, Some(Type::Object | Type::Array));
    let (reason, message) = match r.reason.as_str() {
        "FieldValueForbidden" => ("FieldValueForbidden", format!("Forbidden: {detail}")),
        "FieldValueRequired" => ("FieldValueRequired", format!("Required value: {detail}")),
        "FieldValueDuplicate" if whole => ("FieldValueDuplicate", "Duplicate value".to_owned()),
        "FieldValueDuplicate" => ("FieldValueDuplicate", format!("Duplicate value: {}", shown(n.v))),
        _ if whole => ("FieldValueInvalid", format!("Invalid value: {detail}")),
        _ => return invalid(field, n.v, detail),
    };
    Cause { reason: reason.into(), message, field: field.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn told(schema: Value, new: Value, old: Option<Value>) -> Vec<String> {
        let s = Schema::read(&schema);
        Rules::compile(&s).check(&new, &s, old.as_ref(), "", true).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }
    #[test]
    fn what_may_stay_is_warned_of() {
        let s = Schema::read(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string", "x-kubernetes-validations": [{"rule": "self == 'x'"}]}, "b": {"type": "string"}}}}}));
        let (old, new) = (json!({"spec": {"a": "xx", "b": "1"}}), json!({"spec": {"a": "xx", "b": "2"}}));
        let rules = Rules::compile(&s);
        assert!(rules.check(&new, &s, Some(&old), "", true).is_empty());
        let told: Vec<String> = rules.ratcheted(&new, &s, &old).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        assert_eq!(told, [r#"spec.a: Invalid value: "xx": failed rule: self == 'x'"#]);
    }
    fn spec(rules: Value, properties: Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules, "properties": properties}}})
    }

    #[test]
    fn rules_hold_or_are_told() {
        let s = spec(json!([{"rule": "self.x + self.y > 0"}]), json!({"x": {"type": "integer"}, "y": {"type": "integer"}}));
        assert_eq!(told(s.clone(), json!({"spec": {"x": 1, "y": 0}}), None), Vec::<String>::new());
        assert_eq!(told(s.clone(), json!({"spec": {"x": 0, "y": 0}}), None), ["spec: Invalid value: failed rule: self.x + self.y > 0"]);
        assert_eq!(told(s, json!({"spec": {"x": 0}}), None), ["spec: Invalid value: \"object\": no such key: y evaluating rule: self.x + self.y > 0"]);
    }

    #[test]
    fn reasons_paths_and_messages() {
        let rules = json!([{"rule": "self.x > 1", "messageExpression": "'x is ' + string(self.x)", "reason": "FieldValueForbidden", "fieldPath": ".x"}]);
        assert_eq!(told(spec(rules, json!({"x": {"type": "integer"}})), json!({"spec": {"x": 1}}), None), ["spec.x: Forbidden: x is 1"]);
    }

    #[test]
    fn changes() {
        let s = json!({"type": "object", "properties": {"n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf", "message": "must grow"}]}}});
        assert_eq!(told(s.clone(), json!({"n": 1}), None), Vec::<String>::new());
        assert_eq!(told(s.clone(), json!({"n": 2}), Some(json!({"n": 1}))), Vec::<String>::new());
        assert_eq!(told(s, json!({"n": 1}), Some(json!({"n": 1}))), ["n: Invalid value: 1: must grow"]);
        let optional = json!({"type": "object", "properties": {"n": {"type": "integer", "x-kubernetes-validations": [{"rule": "oldSelf.hasValue() || self == 0", "optionalOldSelf": true}]}}});
        assert_eq!(told(optional.clone(), json!({"n": 0}), None), Vec::<String>::new());
        assert_eq!(told(optional, json!({"n": 1}), None).len(), 1);
    }

    #[test]
    fn what_did_not_change_may_stay() {
        let s = spec(json!([]), json!({"x": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 5"}]}, "y": {"type": "integer"}}));
        assert_eq!(told(s.clone(), json!({"spec": {"x": 1, "y": 2}}), Some(json!({"spec": {"x": 1, "y": 1}}))), Vec::<String>::new());
        assert_eq!(told(s, json!({"spec": {"x": 2}}), Some(json!({"spec": {"x": 1}}))).len(), 1);
    }

    #[test]
    fn costs_have_a_limit() {
        let s = spec(json!([{"rule": "self.l.all(x, self.l.all(y, y == x))"}]), json!({"l": {"type": "array", "maxItems": 725, "items": {"type": "integer"}}}));
        let found = told(s, json!({"spec": {"l": vec![20; 725]}}), None);
        assert!(found.len() == 1 && found[0].contains("call cost exceeds limit"), "{found:?}");
    }

    #[test]
    fn declared_formats_and_names() {
        let rules = json!([{"rule": "self.when > timestamp('2020-01-01T00:00:00Z') && self.a__dash__b == 1.5 && self.d < duration('2h')"}]);
        let s =
            spec(rules, json!({"when": {"type": "string", "format": "date-time"}, "a-b": {"type": "number"}, "d": {"type": "string", "format": "duration"}}));
        assert_eq!(told(s, json!({"spec": {"when": "2024-01-01T00:00:00Z", "a-b": 1.5, "d": "1h"}}), None), Vec::<String>::new());
    }
}
