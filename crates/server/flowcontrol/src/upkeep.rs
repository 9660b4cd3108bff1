//! Keeping the stored levels and schemas as they should be: what must be made, brought up to date, taken away, and which
//! conditions are to be told. Pure: objects in, actions out.
use crate::bootstrap::{self, AUTO_UPDATE, Declared};
use skiff_json::{Value, json};
use std::{collections::VecDeque, time::Duration};

/// One of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Level,
    Schema,
}

impl Kind {
    pub fn resource(self) -> &'static str {
        match self {
            Kind::Level => "prioritylevelconfigurations",
            Kind::Schema => "flowschemas",
        }
    }
    fn declared(self) -> &'static [Declared] {
        match self {
            Kind::Level => bootstrap::levels(),
            Kind::Schema => bootstrap::schemas(),
        }
    }
}

/// A write that brings the stored objects nearer to what they should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Create(Kind, Value),
    /// With the resourceVersion of the object that was looked at.
    Update(Kind, Value),
    Delete(Kind, String),
}

fn name(v: &Value) -> &str {
    v["metadata"]["name"].as_str().unwrap_or_default()
}

/// The annotation as Go's ParseBool reads it.
fn annotated(v: &Value) -> Option<bool> {
    match v["metadata"]["annotations"][AUTO_UPDATE].as_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What must be done about the objects of the first start. `stored`: all of a kind, as the store has them.
/// `same(declared spec, stored spec)` says whether they are equal once defaults are filled in.
pub fn plan(kind: Kind, stored: &[Value], same: &dyn Fn(&Value, &Value) -> bool) -> Vec<Action> {
    let find = |n: &str| stored.iter().find(|s| name(s) == n);
    let mut out = Vec::new();
    for d in kind.declared() {
        match find(name(&d.object)) {
            None => out.push(Action::Create(kind, d.object.clone())),
            Some(s) => out.extend(revised(d, s, same).map(|v| Action::Update(kind, v))),
        }
    }
    // What an older version suggested, and nobody has made his own.
    let unwanted = stored.iter().filter(|s| annotated(s) == Some(true) && !kind.declared().iter().any(|d| name(&d.object) == name(s)));
    out.extend(unwanted.map(|s| Action::Delete(kind, name(s).to_owned())));
    out
}

fn revised(d: &Declared, stored: &Value, same: &dyn Fn(&Value, &Value) -> bool) -> Option<Value> {
    // Nobody has changed an object of the first generation.
    let update = d.mandatory || annotated(stored).unwrap_or(stored["metadata"]["generation"] == 1);
    let annotate = annotated(stored) != Some(update);
    let mut wanted = d.object["spec"].clone();
    // How many seats the exempt level lends is everybody's to say.
    if stored["spec"]["exempt"].is_object() && wanted["exempt"].is_object() {
        wanted["exempt"] = stored["spec"]["exempt"].clone();
    }
    let changed = update && !same(&wanted, &stored["spec"]);
    if !annotate && !changed {
        return None;
    }
    let mut v = stored.clone();
    if changed {
        v["spec"] = wanted;
    }
    if annotate {
        let annotations = &mut v["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[AUTO_UPDATE] = update.to_string().into();
    }
    Some(v)
}

/// The condition `Dangling` that a schema should have, if it has another: True while its level is missing.
pub fn dangling(schema: &Value, level_exists: bool, now: &str) -> Option<Value> {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
    let (status, reason, but) = if level_exists { ("False", "Found", "and it exists") } else { ("True", "NotFound", "but there is no such object") };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {but}");
    let has = schema["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Dangling");
    if has.is_some_and(|c| c["status"] == status && c["reason"] == reason && c["message"] == *message) {
        return None;
    }
    Some(json!({"type": "Dangling", "status": status, "lastTransitionTime": now, "reason": reason, "message": message}))
}

/// How often a schema's condition was written of late. Somebody who keeps writing another one is let have their way for
/// a while, so that two servers of different minds do not write against each other without end.
#[derive(Default)]
pub struct Brake {
    /// When, and whose; the oldest first.
    written: VecDeque<(Duration, String)>,
}

impl Brake {
    const SPAN: Duration = Duration::from_secs(60);
    const MOST: usize = 6;

    /// Whether the condition of `schema` may be written at `now`, and that it is if so. Times count from any one moment.
    pub fn may_write(&mut self, schema: &str, now: Duration) -> bool {
        while self.written.front().is_some_and(|(at, _)| *at + Self::SPAN < now) {
            self.written.pop_front();
        }
        let free = self.written.iter().filter(|(_, name)| name == schema).count() < Self::MOST;
        if free {
            self.written.push_back((now, schema.to_owned()));
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_others_write_too_is_left_alone_after_a_while() {
        let (mut brake, at) = (Brake::default(), Duration::from_secs);
        let written: Vec<bool> = (0..8).map(|i| brake.may_write("a", at(i))).collect();
        assert_eq!(written, [true, true, true, true, true, true, false, false]);
        assert!(brake.may_write("b", at(8)) && !brake.may_write("a", at(60)) && brake.may_write("a", at(61)));
    }

    fn stored(name: &str, annotation: Option<&str>, generation: u64, shares: u64) -> Value {
        let annotations = annotation.map_or(json!({}), |a| json!({AUTO_UPDATE: a}));
        json!({"metadata": {"name": name, "generation": generation, "annotations": annotations}, "spec": {"shares": shares}})
    }
    fn same(a: &Value, b: &Value) -> bool {
        // Stands for equality of specs: those with shares of their own differ.
        a == b || b["shares"] == 0
    }

    #[test]
    fn missing_objects_are_made_and_old_ones_go() {
        let mine = stored("mine", None, 1, 7);
        let old = stored("suggested-once", Some("true"), 1, 7);
        let kept = stored("taken-over", Some("false"), 3, 7);
        let plan = plan(Kind::Level, &[mine, old, kept], &same);
        assert_eq!(plan.iter().filter(|a| matches!(a, Action::Create(..))).count(), 8);
        assert_eq!(plan.last(), Some(&Action::Delete(Kind::Level, "suggested-once".into())));
        assert_eq!(plan.len(), 9);
    }

    #[test]
    fn specs_are_restored_where_nobody_took_them_over() {
        for (name, annotation, generation, shares, restored, annotated) in [
            // As it should be.
            ("system", Some("true"), 1, 0, None, "true"),
            // Changed, and still the server's.
            ("system", Some("true"), 2, 5, Some(true), "true"),
            // Changed and taken over.
            ("system", Some("false"), 2, 5, None, "false"),
            ("system", None, 2, 5, Some(false), "false"),
            ("system", Some("maybe"), 1, 0, Some(false), "true"),
            // The mandatory ones cannot be taken over.
            ("catch-all", Some("false"), 9, 5, Some(true), "true"),
        ] {
            let v = stored(name, annotation, generation, shares);
            let plan = plan(Kind::Level, std::slice::from_ref(&v), &same);
            let update = plan.iter().find_map(|a| if let Action::Update(_, v) = a { Some(v) } else { None });
            assert_eq!(update.map(|u| u["spec"] != v["spec"]), restored, "{v}");
            assert_eq!(update.unwrap_or(&v)["metadata"]["annotations"][AUTO_UPDATE], annotated, "{v}");
        }
    }

    #[test]
    fn schemas_without_a_level_dangle() {
        let mut schema = json!({"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "l"}}});
        let c = dangling(&schema, false, "t").unwrap();
        assert_eq!((&c["status"], &c["reason"], &c["lastTransitionTime"]), (&json!("True"), &json!("NotFound"), &json!("t")));
        schema["status"] = json!({"conditions": [c]});
        assert_eq!(dangling(&schema, false, "u"), None);
        assert_eq!(
            dangling(&schema, true, "u").unwrap()["message"],
            "This FlowSchema references the PriorityLevelConfiguration object named \"l\" and it exists"
        );
    }
}
