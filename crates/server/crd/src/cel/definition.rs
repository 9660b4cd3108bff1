//! The rules of a definition: types, what they may cost at the most, and where they may speak of the past.
use super::types::{Declared, REQUEST, declared};
use crate::schema::{Additional, ListType, Rule, Schema, Type as Kinds};
use skiff_cel::{
    Program,
    check::{Kind, Type},
};
use skiff_json::{Value, json};
use skiff_validation::{Field, Json};

/// The most that one expression may cost, and all of a schema's.
const ONE: u64 = 10_000_000;
const ALL: u64 = 100_000_000;
/// So many of the most expensive ones are told.
const TOLD: usize = 4;

struct Costs<'a> {
    total: u64,
    largest: Vec<(u64, Field<'a>)>,
    /// The schema is as it was: its rules may cost what they cost.
    unchanged: bool,
}

/// Checks the rules of a schema that is sound otherwise.
pub fn check(f: &Field<'_>, unchanged: bool) {
    let s = Schema::read(f.value());
    let mut costs = Costs { total: 0, largest: Vec::new(), unchanged };
    node(f, &s, true, Some(1), None, &mut costs);
    if costs.total > ALL {
        costs.largest.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, f) in costs.largest.iter().take(TOLD) {
            f.forbidden("contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
        }
        f.forbidden(&exceeds("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", costs.total, ALL));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// `count`: how many such values there may be; None: no limit was given. `apart`: above here old and new cannot be matched.
fn node<'a>(f: &Field<'a>, s: &Schema, object: bool, count: Option<u64>, apart: Option<&str>, costs: &mut Costs<'a>) {
    if !s.rules.is_empty() {
        match declared(s, object) {
            Some(d) => rules(f, s, &d, count, apart, costs),
            None => f.child("x-kubernetes-validations").internal("internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations"),
        }
    }
    let path = f.path();
    let each = match (s.kind, &s.additional) {
        (Some(Kinds::Object), Additional::Unset) => Some(1),
        (Some(Kinds::Object), _) => s.max_properties,
        (Some(Kinds::Array), _) => s.max_items,
        _ => Some(1),
    };
    let below = count.zip(each).map(|(a, b)| a.saturating_mul(b));
    let matched = if s.atomic_map { apart.or(Some(&path)) } else { apart };
    for (name, p) in &s.properties {
        node(&f.at("properties").key(name.clone()), p, p.embedded, below, matched, costs);
    }
    if let Some(a) = s.additional_schema() {
        node(&f.at("additionalProperties"), a, a.embedded, below, apart, costs);
    }
    if let Some(i) = &s.items {
        let apart = if s.list_type == ListType::Map { apart } else { apart.or(Some(&path)) };
        node(&f.at("items"), i, i.embedded, below, apart, costs);
    }
}

/// A rule as errors show it.
fn whole(r: &Rule) -> Json {
    let reason = if r.reason.is_empty() { json!(null) } else { json!(r.reason) };
    // As Go's encoder has it.
    let text = |t: &str| Value::from(t).to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    Json(format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{reason},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text(&r.rule),
        text(&r.message),
        text(&r.message_expression),
        text(&r.field_path),
        json!(r.optional_old_self)
    ))
}

fn rules<'a>(f: &Field<'a>, s: &Schema, d: &Declared, count: Option<u64>, apart: Option<&str>, costs: &mut Costs<'a>) {
    let most = count.unwrap_or(REQUEST / (d.smallest + 1));
    for (i, r) in s.rules.iter().enumerate().filter(|(_, r)| !r.rule.trim().is_empty()) {
        let at = f.child("x-kubernetes-validations").index(i);
        let old = if r.optional_old_self == Some(true) { Type::optional(d.ty.clone()) } else { d.ty.clone() };
        let variables = [("self", d.ty.clone()), ("oldSelf", old)];
        let rule = at.at("rule");
        let compiled = Program::compile(&r.rule).and_then(|p| p.check(&r.rule, &variables).map(|c| (p, c)));
        let (program, checked) = match compiled {
            Ok(found) => found,
            Err(e) => {
                rule.invalid(whole(r), &format!("compilation failed: {}", e.0));
                continue;
            }
        };
        if !matches!(checked.ty.kind, Kind::Bool | Kind::Dyn) {
            rule.invalid(whole(r), "cel expression must evaluate to a bool");
            continue;
        }
        costs.count(&rule, "estimated rule cost", checked.cost.saturating_mul(most));
        if !r.message_expression.trim().is_empty() {
            message(&at.at("messageExpression"), r, &variables, costs);
        }
        let transition = program.free_names().contains("oldSelf");
        if let Some(path) = apart.filter(|_| transition) {
            rule.invalid(r.rule.as_str(), &format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {path}"));
        }
        if let Some(set) = r.optional_old_self.filter(|_| !transition) {
            at.at("optionalOldSelf").invalid(set, "may not be set if oldSelf is not used in rule");
        }
    }
}

fn message<'a>(f: &Field<'a>, r: &Rule, variables: &[(&str, Type)], costs: &mut Costs<'a>) {
    let text = &r.message_expression;
    match Program::compile(text).and_then(|p| p.check(text, variables)) {
        Err(e) => f.invalid(whole(r), &format!("messageExpression compilation failed: {}", e.0)),
        Ok(c) if !matches!(c.ty.kind, Kind::String | Kind::Dyn) => f.invalid(whole(r), "messageExpression must evaluate to a string"),
        Ok(c) => costs.count(f, "estimated messageExpression cost", c.cost),
    }
}

impl<'a> Costs<'a> {
    fn count(&mut self, f: &Field<'a>, what: &str, cost: u64) {
        if cost > ONE && !self.unchanged {
            f.forbidden(&exceeds(what, cost, ONE));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= ALL / 100 {
            self.largest.push((cost, f.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_validation::Errors;

    fn told(schema: Value) -> Vec<String> {
        let errors = Errors::default();
        check(&Field::root(&schema, &errors), false);
        errors.into_causes().into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }
    fn spec(rule: &str, more: Value) -> Value {
        let mut s = json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {"x": {"type": "integer"}}}}});
        for (k, v) in more.as_object().into_iter().flatten() {
            s["properties"]["spec"]["x-kubernetes-validations"][0][k] = v.clone();
        }
        s
    }

    #[test]
    fn rules_are_typed() {
        assert_eq!(told(spec("self.x > 1", json!({}))), Vec::<String>::new());
        let at = "properties[spec].x-kubernetes-validations[0]";
        for (rule, more, want) in [
            (
                "self.z == 100",
                json!({}),
                format!(
                    "{at}.rule: Invalid value: {{\"Rule\":\"self.z == 100\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: ERROR: <input>:1:5: undefined field 'z'"
                ),
            ),
            ("self.x + 1", json!({}), "cel expression must evaluate to a bool".into()),
            ("self.x > 1", json!({"messageExpression": "self.x"}), "messageExpression must evaluate to a string".into()),
            ("self.x > 1", json!({"optionalOldSelf": true}), "may not be set if oldSelf is not used in rule".into()),
            ("self = 42", json!({}), "Syntax error".into()),
        ] {
            let found = told(spec(rule, more));
            assert!(found.len() == 1 && found[0].contains(&want), "{rule}: {found:?}");
        }
    }

    #[test]
    fn costs_have_limits_and_the_past_must_be_matched() {
        let nested = json!({"type": "object", "properties": {"x": {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}}}});
        let found = told(nested);
        assert!(found.iter().any(|f| f.contains("estimated rule cost exceeds budget by factor of more than 100x")), "{found:?}");
        let old = json!({"type": "object", "properties": {"x": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 5, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}});
        assert!(told(old)[0].contains("oldSelf cannot be used on the uncorrelatable portion of the schema within properties[x]"));
    }
}
