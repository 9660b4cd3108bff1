//! A request that both servers get, and how its body comes to be.

use skiff_json::Value;

/// Media types.
pub const JSON: &str = "application/json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";

#[derive(Clone, Debug)]
pub struct Request {
    /// Says what it is for; with the kind it names the case.
    pub name: String,
    pub method: &'static str,
    /// `{since}` stands for the revision at which the kind's requests began.
    pub path: String,
    pub headers: Vec<String>,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    None,
    Text(String),
    Json(Value),
    /// The object as this server last answered it, with changes.
    Stored(Vec<Edit>),
}

/// A value put at a JSON pointer, or what is there taken away.
#[derive(Clone, Debug)]
pub struct Edit {
    pub at: String,
    pub value: Option<Value>,
}

impl Edit {
    pub fn set(at: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { at: at.into(), value: Some(value.into()) }
    }
    pub fn remove(at: impl Into<String>) -> Self {
        Self { at: at.into(), value: None }
    }
    /// Objects on the way are made when missing; an index past a list's end appends.
    pub fn apply(&self, to: &mut Value) {
        let steps: Vec<String> = self.at.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
        let Some((last, way)) = steps.split_last() else {
            *to = self.value.clone().unwrap_or(Value::Null);
            return;
        };
        let mut at = to;
        for step in way {
            at = child(at, step);
        }
        match (&self.value, &mut *at) {
            (Some(v), _) => *child(at, last) = v.clone(),
            (None, Value::Object(map)) => drop(map.shift_remove(last)),
            (None, Value::Array(list)) => drop(last.parse().ok().filter(|i| *i < list.len()).map(|i: usize| list.remove(i))),
            (None, _) => {}
        }
    }
}

fn child<'a>(at: &'a mut Value, step: &str) -> &'a mut Value {
    if let Value::Array(list) = at {
        let index = step.parse().unwrap_or(usize::MAX).min(list.len());
        if index == list.len() {
            list.push(Value::Null);
        }
        return &mut list[index];
    }
    if !at.is_object() {
        *at = Value::Object(skiff_json::Map::new());
    }
    match at {
        Value::Object(map) => map.entry(step).or_insert(Value::Null),
        _ => unreachable!("made an object above"),
    }
}

impl Request {
    pub fn new(name: impl Into<String>, method: &'static str, path: impl Into<String>) -> Self {
        Self { name: name.into(), method, path: path.into(), headers: Vec::new(), body: Body::None }
    }
    pub fn get(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, "GET", path)
    }
    pub fn accept(self, media: &str) -> Self {
        self.header(format!("accept: {media}"))
    }
    pub fn header(mut self, line: impl Into<String>) -> Self {
        self.headers.push(line.into());
        self
    }
    pub fn json(self, value: Value) -> Self {
        self.content(JSON, Body::Json(value))
    }
    pub fn stored(self, edits: impl Into<Vec<Edit>>) -> Self {
        self.content(JSON, Body::Stored(edits.into()))
    }
    pub fn text(self, media: &str, text: impl Into<String>) -> Self {
        self.content(media, Body::Text(text.into()))
    }
    pub fn content(mut self, media: &str, body: Body) -> Self {
        self.headers.push(format!("content-type: {media}"));
        self.body = body;
        self
    }
    /// The body's bytes, with the object as it is stored now.
    pub fn bytes(&self, stored: &Value) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Text(t) => t.clone().into_bytes(),
            Body::Json(v) => v.to_string().into_bytes(),
            Body::Stored(edits) => {
                let mut object = stored.clone();
                edits.iter().for_each(|e| e.apply(&mut object));
                object.to_string().into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn edits_reach_lists_and_make_objects() {
        let mut v = json!({"a": [{"b": 1}]});
        Edit::set("/a/0/c/d", 2).apply(&mut v);
        Edit::set("/a/1", "x").apply(&mut v);
        Edit::remove("/a/0/b").apply(&mut v);
        Edit::set("/x~1y", true).apply(&mut v);
        assert_eq!(v, json!({"a": [{"c": {"d": 2}}, "x"], "x/y": true}));
    }
}
