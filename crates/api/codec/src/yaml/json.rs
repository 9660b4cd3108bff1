//! Bodies that say YAML and are JSON, as kubectl's are: read as JSON, which costs a tenth, where both mean the same for sure.
//! Whatever could differ (repeated keys, merge keys, fractions) is left to the YAML reader.
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use skiff_json::{Entry, Map, Value};
use std::fmt;

/// The value; None when the YAML reader has to look.
pub fn read(bytes: &[u8]) -> Option<Value> {
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let mut from = skiff_json::Deserializer::from_slice(bytes);
    let value = Same.deserialize(&mut from).ok()?;
    from.end().ok()?;
    Some(value)
}

/// A value that is the same in both.
#[derive(Clone, Copy)]
struct Same;

impl<'de> DeserializeSeed<'de> for Same {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Same {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without fractions")
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
        while let Some(key) = from.next_key::<String>()? {
            if key == "<<" {
                return Err(A::Error::custom("a merge key"));
            }
            match map.entry(key) {
                Entry::Occupied(_) => return Err(A::Error::custom("a repeated key")),
                Entry::Vacant(place) => place.insert(from.next_value_seed(self)?),
            };
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    #[test]
    fn what_is_read_is_what_the_yaml_reader_reads() {
        for text in [
            "{}",
            " \n{\"a\": 1, \"b\": [true, null, -7, \"x\\ty\\u00e4\\\"\"], \"c\": {\"yes\": \"no\", \"0644\": \"0644\", \"~\": \"\"}}\n",
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"t":"line\nline: # x","n":"1e3","d":"2020-01-01"}}"#,
            r#"{"n":9223372036854775807}"#,
        ] {
            let yaml = parse(text.as_bytes(), serde_saphyr::DuplicateKeyPolicy::Error).unwrap();
            assert_eq!(read(text.as_bytes()), Some(yaml), "{text}");
        }
    }

    #[test]
    fn what_may_differ_is_left_alone() {
        for text in [
            "",
            "a: 1",
            "[]",
            r#"{"a":1,"a":2}"#,
            r#"{"<<":{"a":1}}"#,
            r#"{"a":1.0}"#,
            r#"{"a":-0}"#,
            "{a: 1}",
            "{\"a\": yes}",
            "{\"a\": 1} # c",
            "{\"a\": 1}\n---\n{}",
            "{\"a\": 0644}",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
