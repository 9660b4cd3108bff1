//! A tree as what serde reads from and writes to.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{Error, Key, Map, Number, Value};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Number(n) => n.serialize(serializer),
            Value::String(s) => serializer.serialize_str(s),
            Value::Array(a) => a.serialize(serializer),
            Value::Object(m) => m.serialize(serializer),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self {
            map.serialize_entry(name.as_str(), value)?;
        }
        map.end()
    }
}

impl<'de> de::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

impl<'de> de::Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(s.into())
    }

    fn visit_string<E>(self, s: String) -> Result<Value, E> {
        Ok(s.into())
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        de::Deserialize::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Value, A::Error> {
        Members.visit_map(members).map(Value::Object)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Map;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Map, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key_seed(Name)? {
            map.insert(name, members.next_value()?);
        }
        Ok(map)
    }
}

/// A member's name, without a string of its own where it is short.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Key;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string key")
    }

    fn visit_str<E>(self, s: &str) -> Result<Key, E> {
        Ok(Key::new(s))
    }

    fn visit_string<E>(self, s: String) -> Result<Key, E> {
        Ok(Key::from(s))
    }
}

impl<'de> IntoDeserializer<'de, Error> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> IntoDeserializer<'de, Error> for &'de Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Numbers are `serde_json`'s own matter; an integer stays one.
fn number<'de, V: Visitor<'de>>(n: &Number, visitor: V) -> Result<V::Value, Error> {
    match (n.as_u64(), n.as_i64(), n.as_f64()) {
        (Some(n), _, _) => visitor.visit_u64(n),
        (_, Some(n), _) => visitor.visit_i64(n),
        (_, _, Some(n)) => visitor.visit_f64(n),
        _ => Err(de::Error::custom("number out of range")),
    }
}

/// What reads a tree alike whether it owns it or not: the tree's own shape decides, but for options, newtypes and enumerations.
macro_rules! by_shape {
    () => {
        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_newtype_struct(self)
        }

        fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
            visitor.visit_enum(Variant::of(self.to_owned())?)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
            map struct identifier ignored_any
        }
    };
}

impl<'de> Deserializer<'de> for Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(b),
            Value::Number(n) => number(&n, visitor),
            Value::String(s) => visitor.visit_string(s),
            Value::Array(a) => {
                let mut items = SeqDeserializer::new(a.into_iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Object(m) => {
                let mut members = MapDeserializer::new(m.into_iter().map(|(k, v)| (String::from(k), v)));
                let value = visitor.visit_map(&mut members)?;
                members.end().map(|()| value)
            }
        }
    }

    by_shape!();
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Number(n) => number(n, visitor),
            Value::String(s) => visitor.visit_borrowed_str(s),
            Value::Array(a) => {
                let mut items = SeqDeserializer::new(a.iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Object(m) => {
                let mut members = MapDeserializer::new(m.iter().map(|(k, v)| (k.as_str(), v)));
                let value = visitor.visit_map(&mut members)?;
                members.end().map(|()| value)
            }
        }
    }

    by_shape!();
}

/// One of an enumeration: its name alone, or an object of one member.
struct Variant {
    name: String,
    content: Option<Value>,
}

impl Variant {
    fn of(value: Value) -> Result<Self, Error> {
        match value {
            Value::String(name) => Ok(Variant { name, content: None }),
            Value::Object(m) if m.len() == 1 => {
                let (name, content) = m.into_iter().next().ok_or_else(|| de::Error::custom("no variant"))?;
                Ok(Variant { name: name.into(), content: Some(content) })
            }
            Value::Object(_) => Err(de::Error::invalid_value(de::Unexpected::Map, &"map with a single key")),
            other => Err(de::Error::invalid_type(de::Unexpected::Other(&other.to_string()), &"string or map")),
        }
    }
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = Content;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content), Error> {
        let name = seed.deserialize(Value::String(self.name))?;
        Ok((name, Content(self.content)))
    }
}

struct Content(Option<Value>);

impl<'de> VariantAccess<'de> for Content {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), de::Deserialize::deserialize)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.0.ok_or_else(|| de::Error::invalid_type(de::Unexpected::UnitVariant, &"newtype variant"))?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.ok_or_else(|| de::Error::invalid_type(de::Unexpected::UnitVariant, &"tuple variant"))?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.0.ok_or_else(|| de::Error::invalid_type(de::Unexpected::UnitVariant, &"struct variant"))?.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Value, from_slice, from_value, json, to_string, to_value};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        name: String,
        count: Option<i64>,
        #[serde(default)]
        kinds: Vec<Kind>,
        ratio: f64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Plain,
        Sized(u32),
        Named { a: bool },
    }

    #[test]
    fn typed_and_back() {
        let typed = Typed { name: "x".into(), count: None, kinds: vec![Kind::Plain, Kind::Sized(3), Kind::Named { a: true }], ratio: 2.5 };
        let value = to_value(&typed).unwrap();
        assert_eq!(value, json!({"name": "x", "count": null, "kinds": ["Plain", {"Sized": 3}, {"Named": {"a": true}}], "ratio": 2.5}));
        assert_eq!(Typed::deserialize(&value).unwrap(), typed);
        assert_eq!(from_value::<Typed>(value).unwrap(), typed);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (value, want) in [
            (json!({"name": 1, "ratio": 1.0}), "invalid type: integer `1`, expected a string"),
            (json!({"name": "x"}), "missing field `ratio`"),
            (json!({"name": "x", "ratio": 1.0, "kinds": ["No"]}), "unknown variant `No`, expected one of `Plain`, `Sized`, `Named`"),
            (json!({"name": "x", "ratio": 1.0, "kinds": [{"a": 1, "b": 2}]}), "invalid value: map, expected map with a single key"),
        ] {
            assert_eq!(from_value::<Typed>(value).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn text_and_back() {
        let text = r#"{"z":1,"a":[true,null,-5,18446744073709551615,1.25,"é\n"],"deep":{"x":{}}}"#;
        let value: Value = from_slice(text.as_bytes()).unwrap();
        assert_eq!(to_string(&value).unwrap(), text);
        assert_eq!(to_string(&from_slice::<Value>(br#"{"a":1,"b":2,"a":3}"#).unwrap()).unwrap(), r#"{"a":3,"b":2}"#);
    }
}
