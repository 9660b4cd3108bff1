//! Go's notions of nil and zero, on JSON objects.

use skiff_json::{Map, Value};

/// Access to the fields of a struct.
pub trait FieldsExt {
    /// A nil pointer, list or map.
    fn is_nil(&self, name: &str) -> bool;
    /// Go's zero value: empty, 0, false, nil.
    fn is_zero(&self, name: &str) -> bool;
    /// A string; empty when there is none.
    fn text(&self, name: &str) -> &str;
    /// Sets a pointer that is nil.
    fn set_nil(&mut self, name: &str, value: impl Into<Value>);
    /// Sets a value that is zero.
    fn set_zero(&mut self, name: &str, value: impl Into<Value>);
    /// The object behind a field.
    fn object(&self, name: &str) -> Option<&Map>;
    /// The object behind a field, made when there is none.
    fn object_mut(&mut self, name: &str) -> &mut Map;
    /// The objects of a list.
    fn objects_mut(&mut self, name: &str) -> Vec<&mut Map>;
}

impl FieldsExt for Map {
    fn is_nil(&self, name: &str) -> bool {
        self.get(name).is_none_or(Value::is_null)
    }

    fn is_zero(&self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Bool(true)) => false,
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
        }
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn set_nil(&mut self, name: &str, value: impl Into<Value>) {
        if self.is_nil(name) {
            self.insert(name.to_owned(), value.into());
        }
    }

    fn set_zero(&mut self, name: &str, value: impl Into<Value>) {
        if self.is_zero(name) {
            self.insert(name.to_owned(), value.into());
        }
    }

    fn object(&self, name: &str) -> Option<&Map> {
        self.get(name).and_then(Value::as_object)
    }

    fn object_mut(&mut self, name: &str) -> &mut Map {
        let slot = self.entry(name).or_insert(Value::Null);
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        match slot {
            Value::Object(map) => map,
            _ => unreachable!("it was just made an object"),
        }
    }

    fn objects_mut(&mut self, name: &str) -> Vec<&mut Map> {
        match self.get_mut(name) {
            Some(Value::Array(items)) => items.iter_mut().filter_map(Value::as_object_mut).collect(),
            _ => Vec::new(),
        }
    }
}
