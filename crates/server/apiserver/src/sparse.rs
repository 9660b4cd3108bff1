//! Objects for tables: a value without the fields that no cell shows, and the metadata as it is kept. Most of an object's
//! bytes are passed over that way instead of being decoded.
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, value::RawValue};
use std::{borrow::Cow, fmt};

/// An object in both forms.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// Without the unread fields.
    pub value: Value,
    /// As it is kept; none where the object has none.
    pub metadata: Option<&'a RawValue>,
}

/// Reads an object without the fields of these names, at whatever depth they are.
pub(crate) fn object<'a>(bytes: &'a [u8], unread: &[&str]) -> serde_json::Result<Object<'a>> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let object = from.deserialize_map(Whole { unread })?;
    from.end()?;
    Ok(object)
}

struct Whole<'u> {
    unread: &'u [&'u str],
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Object<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Object<'de>, A::Error> {
        let (mut map, mut metadata, part) = (Map::new(), None, Part { unread: self.unread });
        while let Some(key) = from.next_key::<Cow<'de, str>>()? {
            let value = if key == "metadata" {
                let raw: &'de RawValue = from.next_value()?;
                metadata = Some(raw);
                Front::of(raw, part).map_err(A::Error::custom)?
            } else {
                from.next_value_seed(part)?
            };
            map.insert(key.into_owned(), value);
        }
        Ok(Object { value: Value::Object(map), metadata })
    }
}

/// The front of an object's metadata: managed fields, where nobody reads them, are most of it, and the last that is kept.
struct Front<'a, 'u> {
    map: &'a mut Map<String, Value>,
    /// Reading ended by an error that is none.
    done: &'a mut bool,
    part: Part<'u>,
}

impl Front<'_, '_> {
    fn of(raw: &RawValue, part: Part<'_>) -> serde_json::Result<Value> {
        let (mut map, mut done) = (Map::new(), false);
        if !raw.get().starts_with('{') {
            return part.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        }
        let read = serde_json::Deserializer::from_str(raw.get()).deserialize_map(Front { map: &mut map, done: &mut done, part });
        match read {
            Err(e) if !done => Err(e),
            _ => Ok(Value::Object(map)),
        }
    }
}

impl<'de> Visitor<'de> for Front<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        while let Some(key) = from.next_key::<Cow<'de, str>>()? {
            let unread = self.part.unread.contains(&key.as_ref());
            // Where members are sorted, the name comes later.
            if unread && key == "managedFields" && self.map.contains_key("name") {
                *self.done = true;
                return Err(A::Error::custom("all was read"));
            }
            if unread {
                from.next_value::<IgnoredAny>()?;
            } else {
                let value = from.next_value_seed(self.part)?;
                self.map.insert(key.into_owned(), value);
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Part<'u> {
    unread: &'u [&'u str],
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(v) = from.next_element_seed(self)? {
            all.push(v);
        }
        Ok(Value::Array(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = from.next_key::<Cow<'de, str>>()? {
            if self.unread.contains(&key.as_ref()) {
                from.next_value::<IgnoredAny>()?;
            } else {
                let value = from.next_value_seed(self)?;
                map.insert(key.into_owned(), value);
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_reads_is_passed_over() {
        let bytes = br#"{"kind":"Pod","metadata":{"n":-1,"managedFields":[{"f:x":{}}], "name":"a"},"spec":{"containers":[{"name":"c","env":[{"a":"b"}]}],"x":[1,2.5,null,true]}}"#;
        let o = object(bytes, &["managedFields", "env"]).unwrap();
        assert_eq!(o.value, json!({"kind": "Pod", "metadata": {"name": "a", "n": -1}, "spec": {"containers": [{"name": "c"}], "x": [1, 2.5, null, true]}}));
        assert_eq!(o.metadata.unwrap().get(), r#"{"n":-1,"managedFields":[{"f:x":{}}], "name":"a"}"#);
        let kept = object(br#"{"metadata":{"name":"a","managedFields":[{"f:x":{}}]},"spec":1}"#, &["managedFields"]).unwrap();
        assert_eq!(kept.value, json!({"metadata": {"name": "a"}, "spec": 1}));
        assert_eq!(object(br#"{"metadata":null}"#, &["managedFields"]).unwrap().value, json!({"metadata": null}));
    }

    #[test]
    fn without_unread_fields_it_is_the_whole() {
        let bytes = br#"{"metadata":{"name":"\u00e4\n"},"data":{"a":"b","b":{}},"n":18446744073709551615}"#;
        assert_eq!(object(bytes, &[]).unwrap().value, serde_json::from_slice::<Value>(bytes).unwrap());
        assert!(object(b"{}", &[]).unwrap().metadata.is_none());
        for bad in [&b"[]"[..], b"{", b"{} x", br#"{"metadata":}"#] {
            assert!(object(bad, &[]).is_err());
        }
    }
}
