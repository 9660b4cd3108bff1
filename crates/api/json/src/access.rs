//! Names and places in a tree: `value["a"][0]`.

use std::ops;

use crate::{Key, Map, Value};

/// A name in an object or a place in a list.
pub trait Index {
    fn of(self, value: &Value) -> Option<&Value>;
    fn of_mut(self, value: &mut Value) -> Option<&mut Value>;
    /// As `of_mut`; a name that is missing is added with null, and null becomes an object.
    ///
    /// # Panics
    /// When the value is something else, or the list is too short.
    fn made(self, value: &mut Value) -> &mut Value;
}

impl Index for &str {
    fn of(self, value: &Value) -> Option<&Value> {
        value.as_object()?.get(self)
    }

    fn of_mut(self, value: &mut Value) -> Option<&mut Value> {
        value.as_object_mut()?.get_mut(self)
    }

    fn made(self, value: &mut Value) -> &mut Value {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        match value {
            Value::Object(m) => m.entry(self).or_insert(Value::Null),
            other => panic!("no member {self:?} in {other}"),
        }
    }
}

macro_rules! index_by_text {
    ($($text:ty)*) => { $(
        impl Index for $text {
            fn of(self, value: &Value) -> Option<&Value> {
                let name: &str = &self;
                name.of(value)
            }

            fn of_mut(self, value: &mut Value) -> Option<&mut Value> {
                let name: &str = &self;
                name.of_mut(value)
            }

            fn made(self, value: &mut Value) -> &mut Value {
                let name: &str = &self;
                name.made(value)
            }
        }
    )* };
}
index_by_text! { String &String &Key &&str }

impl Index for usize {
    fn of(self, value: &Value) -> Option<&Value> {
        value.as_array()?.get(self)
    }

    fn of_mut(self, value: &mut Value) -> Option<&mut Value> {
        value.as_array_mut()?.get_mut(self)
    }

    fn made(self, value: &mut Value) -> &mut Value {
        match value.as_array_mut() {
            Some(a) => &mut a[self],
            None => panic!("no list to take item {self} of"),
        }
    }
}

/// Null when there is nothing.
impl<I: Index> ops::Index<I> for Value {
    type Output = Value;

    fn index(&self, index: I) -> &Value {
        static NULL: Value = Value::Null;
        index.of(self).unwrap_or(&NULL)
    }
}

impl<I: Index> ops::IndexMut<I> for Value {
    fn index_mut(&mut self, index: I) -> &mut Value {
        index.made(self)
    }
}
