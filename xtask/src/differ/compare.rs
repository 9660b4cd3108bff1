//! What two answers differ in, after what differs between any two clusters was taken out. Pure.

use crate::http::Answer;
use regex::Regex;
use skiff_json::{Map, Value, json};
use std::sync::OnceLock;

/// Headers that are compared; the others say when and where, or belong to the connection.
const HEADERS: &[&str] =
    &["content-type", "warning", "retry-after", "location", "allow", "cache-control", "www-authenticate", "accept-patch", "x-content-type-options"];

/// In texts: pattern and what stands in its place, in this order.
const RULES: &[(&str, &str)] = &[
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "UID"),
    // The times of the seeds and of the golden objects stay.
    (r"20(2[7-9]|26-(0[2-9]|1))[-0-9]*T\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b10\.96\.\d+\.\d+\b", "SERVICE-IP"),
    (r"\bbase-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "base-RAND"),
    (r"\bkube-api-access-[a-z0-9]{5}\b", "kube-api-access-RAND"),
    (r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", "JWT"),
    (r#"(resourceVersion\W{1,8}?)\d+"#, "${1}RV"),
    (r"(current: |in record \()\d+", "${1}RV"),
    (r"X509SHA256=[0-9a-f]{64}", "X509SHA256=DIGEST"),
    (r"https://\d+\.\d+\.\d+\.\d+:\d+", "https://SERVER"),
];

/// One place where two answers differ; absent values are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// As in `body.spec.ports[0].name`, `status`, `headers.warning`.
    pub at: String,
    pub theirs: Option<Value>,
    pub ours: Option<Value>,
}

/// Most characters of a value that are shown, and how many of them come before the first difference.
const SHOWN: usize = 400;
const BEFORE: usize = 60;

impl Difference {
    /// Both values as text; long ones from a little before where they part.
    pub fn shown(&self) -> (String, String) {
        let text = |v: &Option<Value>| v.as_ref().map_or_else(|| "(none)".to_owned(), Value::to_string);
        let (a, b) = (text(&self.theirs), text(&self.ours));
        let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
        let start = if a.len().max(b.len()) > SHOWN { same.saturating_sub(BEFORE) } else { 0 };
        let cut = |t: &str| t.chars().skip(start).take(SHOWN).collect();
        (cut(&a), cut(&b))
    }
}

/// An answer as one document.
pub fn document(answer: &Answer) -> Value {
    let mut headers = Map::new();
    for name in HEADERS {
        let values: Vec<Value> = answer.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| json!(text(v))).collect();
        if !values.is_empty() {
            headers.insert((*name).to_owned(), values.into());
        }
    }
    json!({"status": answer.status, "headers": headers, "body": body(&answer.body)})
}

/// JSON as it is, lines of JSON as a list, anything else as text.
fn body(bytes: &[u8]) -> Value {
    if let Ok(v) = skiff_json::from_slice(bytes) {
        return normalise(v, "");
    }
    let lines: Result<Vec<Value>, _> = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(skiff_json::from_slice).collect();
    match lines {
        Ok(events) => events.into_iter().map(|e| normalise(e, "")).collect::<Vec<_>>().into(),
        Err(_) => json!(text(&String::from_utf8_lossy(bytes))),
    }
}

fn text(from: &str) -> String {
    static COMPILED: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let rules = COMPILED.get_or_init(|| RULES.iter().filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, *with))).collect());
    rules.iter().fold(from.to_owned(), |t, (regex, with)| if regex.is_match(&t) { regex.replace_all(&t, *with).into_owned() } else { t })
}

fn normalise(value: Value, key: &str) -> Value {
    match value {
        Value::String(s) => match key {
            "resourceVersion" | "selfLink" if !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && s.len() < 19 => json!("RV"),
            "cells" if s.len() < 8 && s.bytes().all(|b| b.is_ascii_digit() || b"smhd".contains(&b)) && s.ends_with(['s', 'm', 'h', 'd']) => json!("AGE"),
            "continue" if !s.is_empty() => json!("TOKEN"),
            "message" if s.starts_with("Apply failed with ") => {
                let (head, rest) = s.split_once(": ").unwrap_or((&s, ""));
                let mut lines: Vec<String> = rest.lines().map(text).collect();
                lines.sort_unstable();
                json!(format!("{head}: {}", lines.join("\n")))
            }
            _ => json!(text(&s)),
        },
        Value::Number(n) if key.ends_with("odePort") && n.as_u64().is_some_and(|p| (30000..32768).contains(&p)) => json!("NODE-PORT"),
        // Their order is that of their times, which are a second's worth of chance.
        Value::Array(list) if key == "managedFields" => {
            let mut list: Vec<Value> = list.into_iter().map(|v| normalise(v, key)).collect();
            list.sort_by_key(|e| ["operation", "manager", "subresource"].map(|k| e[k].as_str().unwrap_or_default().to_owned()));
            list.into()
        }
        // Upstream tells conflicts in no order.
        Value::Array(mut list) if key == "causes" && list.iter().all(|c| c["reason"] == "FieldManagerConflict") => {
            list.sort_by_key(Value::to_string);
            list.into_iter().map(|v| normalise(v, "")).collect::<Vec<_>>().into()
        }
        Value::Array(list) => list.into_iter().map(|v| normalise(v, key)).collect::<Vec<_>>().into(),
        Value::Object(map) if map.get("reason").is_some_and(|r| r == "Invalid") && map.contains_key("details") => {
            let (map, mut out) = (in_order(map), Map::new());
            out.extend(map.into_iter().map(|(k, v)| {
                let v = normalise(v, &k);
                (text(&k), v)
            }));
            out.into()
        }
        Value::Object(map) => map
            .into_iter()
            .map(|(k, v)| {
                let v = normalise(v, &k);
                (text(&k), v)
            })
            .collect::<Map>()
            .into(),
        other => other,
    }
}

/// Go walks its maps in no order: causes that follow each other and are about entries of one map, or say the same of
/// fields of one object, are sorted, in the message too.
fn in_order(mut status: Map) -> Map {
    let told = |causes: &[Value]| {
        let mut once: Vec<String> = Vec::new();
        for c in causes {
            let line = format!("{}: {}", c["field"].as_str().unwrap_or_default(), c["message"].as_str().unwrap_or_default());
            if !once.contains(&line) {
                once.push(line);
            }
        }
        once.join(", ")
    };
    let Some(causes) = status.get_mut("details").and_then(|d| d.get_mut("causes")).and_then(Value::as_array_mut) else { return status };
    let before = told(causes);
    // The place that a cause shares with its neighbours, and what it is sorted by among them.
    let key = |c: &Value| {
        let (field, message) = (c["field"].as_str().unwrap_or_default().to_owned(), c["message"].to_string());
        let entry =
            field.rfind('[').filter(|_| field.ends_with(']') && !field[field.rfind('[').unwrap_or(0) + 1..field.len() - 1].bytes().all(|b| b.is_ascii_digit()));
        match entry {
            Some(at) => (field[..at].to_owned(), field),
            None => (format!("{} {message}", field.rsplit_once('.').map_or("", |(parent, _)| parent)), field),
        }
    };
    causes.chunk_by_mut(|a, b| key(a).0 == key(b).0).for_each(|run| run.sort_by_key(|c| key(c).1));
    let after = told(causes);
    if let Some(Value::String(message)) = status.get_mut("message") {
        *message = message.replace(&before, &after);
    }
    status
}

/// All places where `ours` is not `theirs`; equal values in another order differ, too.
pub fn differences(theirs: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", theirs, ours, &mut found);
    found
}

fn walk(at: &str, theirs: &Value, ours: &Value, found: &mut Vec<Difference>) {
    let mut differ = |at: String, theirs: Option<&Value>, ours: Option<&Value>| found.push(Difference { at, theirs: theirs.cloned(), ours: ours.cloned() });
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let place = |k: &str| if at.is_empty() { k.to_owned() } else { format!("{at}.{k}") };
            if a.len() == b.len() && a.keys().all(|k| b.contains_key(k)) && !a.keys().eq(b.keys()) {
                let order = |m: &Map| json!(m.keys().cloned().collect::<Vec<_>>().join(" "));
                differ(place("(order)"), Some(&order(a)), Some(&order(b)));
            }
            for (k, v) in a {
                match b.get(k) {
                    Some(w) => walk(&place(k), v, w, found),
                    None => found.push(Difference { at: place(k), theirs: Some(v.clone()), ours: None }),
                }
            }
            for (k, w) in b.iter().filter(|(k, _)| !a.contains_key(k)) {
                found.push(Difference { at: place(k), theirs: None, ours: Some(w.clone()) });
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (v, w)) in a.iter().zip(b).enumerate() {
                walk(&format!("{at}[{i}]"), v, w, found);
            }
        }
        // Lists of other lengths: what one has and the other has not; where that is nothing, how often.
        (Value::Array(a), Value::Array(b)) => {
            let lacks = |list: &[Value], v: &Value| !list.contains(v);
            let (less, more): (Vec<&Value>, Vec<&Value>) = (a.iter().filter(|v| lacks(b, v)).collect(), b.iter().filter(|v| lacks(a, v)).collect());
            match (less.as_slice(), more.as_slice()) {
                ([], []) => differ(format!("{at}.(length)"), Some(&json!(a.len())), Some(&json!(b.len()))),
                ([one], [other]) => walk(&format!("{at}[]"), one, other, found),
                _ => {
                    less.into_iter().for_each(|v| differ(format!("{at}[]"), Some(v), None));
                    more.into_iter().for_each(|v| differ(format!("{at}[]"), None, Some(v)));
                }
            }
        }
        _ if theirs == ours => {}
        _ => differ(at.to_owned(), Some(theirs), Some(ours)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_any_two_clusters_differ_in_is_taken_out() {
        let answer = |uid: &str, revision: &str| Answer {
            status: 200,
            headers: vec![("date".into(), revision.into()), ("content-type".into(), "application/json".into())],
            body: json!({"metadata": {"uid": uid, "resourceVersion": revision, "creationTimestamp": "2026-11-25T10:00:00Z"}, "t": "2026-01-01T00:00:00Z"})
                .to_string()
                .into_bytes(),
        };
        let (a, b) = (document(&answer("0f6f3bd2-6cf6-4ac8-b7c2-0a3f1c5a9d11", "7")), document(&answer("1f6f3bd2-6cf6-4ac8-b7c2-0a3f1c5a9d11", "8")));
        assert_eq!(differences(&a, &b), []);
        assert_eq!(a["body"]["t"], "2026-01-01T00:00:00Z");
    }
    #[test]
    fn entries_of_maps_come_in_any_order() {
        let refused = |fields: [&str; 4]| {
            let causes: Vec<Value> = fields.iter().map(|f| json!({"field": f, "message": format!("no {}", f.len())})).collect();
            let message = fields.iter().map(|f| format!("{f}: no {}", f.len())).collect::<Vec<_>>().join(", ");
            normalise(json!({"reason": "Invalid", "message": format!("x is invalid: [{message}]"), "details": {"causes": causes}}), "")
        };
        let one = refused(["spec.a", "spec.limits[b/c]", "spec.limits[ab]", "spec.list[0]"]);
        assert_eq!(one, refused(["spec.a", "spec.limits[ab]", "spec.limits[b/c]", "spec.list[0]"]));
        assert_ne!(one, refused(["spec.limits[ab]", "spec.a", "spec.limits[b/c]", "spec.list[0]"]));
        assert!(one["message"].as_str().unwrap().contains("spec.limits[ab]: no 15, spec.limits[b/c]"));
    }
    #[test]
    fn differences_have_their_place() {
        let found = differences(&json!({"a": [{"b": 1}], "c": 1, "x": {"p": 1, "q": 2}}), &json!({"a": [{"b": 2}], "d": 1, "x": {"q": 2, "p": 1}}));
        let places: Vec<&str> = found.iter().map(|d| d.at.as_str()).collect();
        assert_eq!(places, ["a[0].b", "c", "x.(order)", "d"]);
    }
}
