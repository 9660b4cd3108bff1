//! The tree.

use crate::{Index, Map, Number};

/// A JSON value.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Value>),
    Object(Map),
}

impl Value {
    /// What stands under a name or at a place; None when there is nothing, or this is no object or list.
    pub fn get<I: Index>(&self, index: I) -> Option<&Value> {
        index.of(self)
    }

    pub fn get_mut<I: Index>(&mut self, index: I) -> Option<&mut Value> {
        index.of_mut(self)
    }

    /// The value and null in its place.
    pub fn take(&mut self) -> Value {
        std::mem::take(self)
    }

    /// Orders the members of every object in the tree by name.
    pub fn sort_all_objects(&mut self) {
        match self {
            Value::Object(m) => {
                m.sort_keys();
                m.values_mut().for_each(Value::sort_all_objects);
            }
            Value::Array(a) => a.iter_mut().for_each(Value::sort_all_objects),
            _ => {}
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn is_object(&self) -> bool {
        matches!(self, Value::Object(_))
    }

    pub fn is_array(&self) -> bool {
        matches!(self, Value::Array(_))
    }

    pub fn is_string(&self) -> bool {
        matches!(self, Value::String(_))
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Value::Number(_))
    }

    pub fn is_boolean(&self) -> bool {
        matches!(self, Value::Bool(_))
    }

    pub fn is_i64(&self) -> bool {
        matches!(self, Value::Number(n) if n.is_i64())
    }

    pub fn is_u64(&self) -> bool {
        matches!(self, Value::Number(n) if n.is_u64())
    }

    pub fn is_f64(&self) -> bool {
        matches!(self, Value::Number(n) if n.is_f64())
    }

    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Value::Object(m) => Some(m),
            _ => None,
        }
    }

    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Object(m) => Some(m),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&Vec<Value>> {
        match self {
            Value::Array(a) => Some(a),
            _ => None,
        }
    }

    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Value::Array(a) => Some(a),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<&Number> {
        match self {
            Value::Number(n) => Some(n),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        self.as_number().and_then(Number::as_i64)
    }

    pub fn as_u64(&self) -> Option<u64> {
        self.as_number().and_then(Number::as_u64)
    }

    pub fn as_f64(&self) -> Option<f64> {
        self.as_number().and_then(Number::as_f64)
    }

    /// What a JSON pointer of RFC 6901 leads to.
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        steps(pointer)?.try_fold(self, |at, step| match at {
            Value::Object(m) => m.get(&unescaped(step)),
            Value::Array(a) => a.get(place(step)?),
            _ => None,
        })
    }

    pub fn pointer_mut(&mut self, pointer: &str) -> Option<&mut Value> {
        steps(pointer)?.try_fold(self, |at, step| match at {
            Value::Object(m) => m.get_mut(&unescaped(step)),
            Value::Array(a) => a.get_mut(place(step)?),
            _ => None,
        })
    }
}

fn steps(pointer: &str) -> Option<impl Iterator<Item = &str>> {
    // The empty pointer is the whole; any other begins with a slash.
    (pointer.is_empty() || pointer.starts_with('/')).then(|| pointer.split('/').skip(1))
}

fn unescaped(step: &str) -> std::borrow::Cow<'_, str> {
    if step.contains('~') { step.replace("~1", "/").replace("~0", "~").into() } else { step.into() }
}

fn place(step: &str) -> Option<usize> {
    let plain = step.bytes().all(|b| b.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    plain.then(|| step.parse().ok()).flatten()
}

/// As JSON; `{:#}` over several lines.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if f.alternate() {
            return f.write_str(&crate::to_string_pretty(self).map_err(|_| std::fmt::Error)?);
        }
        let mut text = Vec::new();
        self.write_to(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| std::fmt::Error)?)
    }
}

/// As JSON too: the tree's own names say nothing more.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use crate::json;

    #[test]
    fn pointers() {
        let v = json!({"a": [{"b/c": 1}, 2], "m~n": 3});
        for (pointer, want) in [("/a/0/b~1c", Some(json!(1))), ("/a/1", Some(json!(2))), ("/a/01", None), ("/m~0n", Some(json!(3))), ("a", None), ("/x", None)]
        {
            assert_eq!(v.pointer(pointer), want.as_ref(), "{pointer}");
        }
        assert_eq!(v.pointer(""), Some(&v));
    }

    #[test]
    fn a_value_is_shown_as_json() {
        assert_eq!(format!("{} {:?}", json!({"b": 1, "a": ["x", null, 1.5]}), json!("q\"")), r#"{"b":1,"a":["x",null,1.5]} "q\"""#);
    }
}
