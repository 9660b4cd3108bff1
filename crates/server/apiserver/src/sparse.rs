//! Objects for tables: a value without the fields that no cell shows, and the metadata as it is kept. Most of an object's
//! bytes are passed over that way instead of being decoded.
//!
//! Stored bytes are canonical JSON, so nothing is checked here. What is written otherwise is decoded as a whole.
use skiff_codec::{plain_string, string_end, value_end};
use skiff_json::{Map, RawValue, Value};

/// An object in both forms.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// Without the unread fields.
    pub value: Value,
    /// As it is kept; none where the object has none.
    pub metadata: Option<&'a [u8]>,
}

/// Names of fields that are not read, whatever depth they are at, found by their length, first and last letter.
pub(crate) struct Unread {
    names: &'static [&'static str],
    /// Places among the names, plus one; 0 is a free slot.
    slots: [u8; Self::SLOTS],
}

impl Unread {
    const SLOTS: usize = 128;

    pub fn new(names: &'static [&'static str]) -> Self {
        let mut slots = [0; Self::SLOTS];
        for (name, number) in names.iter().zip(1u8..) {
            let free = Self::places(name.as_bytes()).find(|at| slots.get(*at) == Some(&0));
            if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
                *slot = number;
            }
        }
        Self { names, slots }
    }
    fn places(name: &[u8]) -> impl Iterator<Item = usize> {
        let byte = |b: Option<&u8>| b.map_or(0, |b| usize::from(*b));
        let first = name.len() * 31 + byte(name.first()) * 7 + byte(name.last());
        (0..Self::SLOTS).map(move |step| (first + step) % Self::SLOTS)
    }
    fn has(&self, name: &[u8]) -> bool {
        for at in Self::places(name) {
            match self.slots.get(at) {
                None | Some(0) => return false,
                Some(number) if self.names.get(usize::from(*number) - 1).is_some_and(|n| n.as_bytes() == name) => return true,
                Some(_) => {}
            }
        }
        false
    }
}

/// Reads an object without the unread fields.
pub(crate) fn object<'a>(bytes: &'a [u8], unread: &Unread) -> skiff_json::Result<Object<'a>> {
    if let Some(object) = (Reader { bytes, at: 0, depth: 0, unread }).object() {
        return Ok(object);
    }
    let value: Map = skiff_json::from_slice(bytes)?;
    Ok(Object { value: Value::Object(value), metadata: any_metadata(bytes)? })
}

/// The object's metadata as it is kept.
pub(crate) fn metadata(bytes: &[u8]) -> skiff_json::Result<Option<&[u8]>> {
    match kept_metadata(bytes) {
        Some(found) => Ok(Some(found)),
        None => any_metadata(bytes),
    }
}

fn kept_metadata(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    while matches!(bytes.get(at)?, b'{' | b',') {
        let key = plain_string(bytes, at + 1)?;
        let value = after_key(bytes, at + 1, key)?;
        let end = value_end(bytes, value)?;
        if key == b"metadata" {
            return bytes.get(value..end);
        }
        at = end;
    }
    None
}

/// Where the value of a key begins.
fn after_key(bytes: &[u8], at: usize, key: &[u8]) -> Option<usize> {
    let colon = at + key.len() + 2;
    (bytes.get(colon) == Some(&b':')).then_some(colon + 1)
}

#[derive(serde::Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

fn any_metadata(bytes: &[u8]) -> skiff_json::Result<Option<&[u8]>> {
    Ok(skiff_json::from_slice::<Metadata<'_>>(bytes)?.metadata.map(|raw| raw.get().as_bytes()))
}

/// Deeper objects are left to those who refuse them.
const DEEPEST: usize = 100;

/// Reads canonical JSON; none where something is unusual.
struct Reader<'a, 'u> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    unread: &'u Unread,
}

impl<'a> Reader<'a, '_> {
    fn object(mut self) -> Option<Object<'a>> {
        let (mut map, mut metadata, mut first) = (Map::new(), None, true);
        self.take(b'{')?;
        while let Some(key) = self.next_key(first)? {
            first = false;
            let value = if key == b"metadata" {
                let (begin, end) = (self.at, value_end(self.bytes, self.at)?);
                let front = self.front()?;
                self.at = end;
                metadata = self.bytes.get(begin..end);
                front
            } else if self.unread.has(key) {
                self.pass()?;
                continue;
            } else {
                self.value()?
            };
            map.insert(text(key)?, value);
        }
        (self.at == self.bytes.len()).then_some(Object { value: Value::Object(map), metadata })
    }

    /// Of an object's metadata what stands before its managed fields, where nobody reads them: they are most of it, and the
    /// last that is kept.
    fn front(&mut self) -> Option<Value> {
        if self.bytes.get(self.at) != Some(&b'{') {
            return self.value();
        }
        self.at += 1;
        self.members(|key, map| key == b"managedFields" && map.contains_key("name"))
    }

    fn value(&mut self) -> Option<Value> {
        match self.bytes.get(self.at)? {
            b'{' => {
                self.at += 1;
                self.deeper(|r| r.members(|_, _| false))
            }
            b'[' => {
                self.at += 1;
                self.deeper(Self::elements)
            }
            b'"' => self.string().map(Value::String),
            _ => {
                let token = self.pass()?;
                match token {
                    b"true" => Some(true.into()),
                    b"false" => Some(false.into()),
                    _ => skiff_json::from_slice(token).ok(),
                }
            }
        }
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Option<Value>) -> Option<Value> {
        self.depth += 1;
        let value = (self.depth < DEEPEST).then(|| read(self)).flatten();
        self.depth -= 1;
        value
    }

    /// The members of an object up to one at which `enough` was read.
    fn members(&mut self, enough: impl Fn(&[u8], &Map) -> bool) -> Option<Value> {
        let (mut map, mut first) = (Map::new(), true);
        while let Some(key) = self.next_key(first)? {
            first = false;
            if !self.unread.has(key) {
                let value = self.value()?;
                map.insert(text(key)?, value);
            } else if enough(key, &map) {
                break;
            } else {
                self.pass()?;
            }
        }
        Some(Value::Object(map))
    }

    fn elements(&mut self) -> Option<Value> {
        let mut all = Vec::new();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Some(all.into());
        }
        loop {
            all.push(self.value()?);
            match self.bytes.get(self.at)? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(all.into());
                }
                _ => return None,
            }
        }
    }

    /// The next key of an object, at whose value the reader is then; an inner none at the object's end.
    fn next_key(&mut self, first: bool) -> Option<Option<&'a [u8]>> {
        match self.bytes.get(self.at)? {
            b'}' => {
                self.at += 1;
                return Some(None);
            }
            b',' if !first => self.at += 1,
            b'"' if first => {}
            _ => return None,
        }
        let key = plain_string(self.bytes, self.at)?;
        self.at = after_key(self.bytes, self.at, key)?;
        Some(Some(key))
    }

    fn string(&mut self) -> Option<String> {
        if let Some(plain) = plain_string(self.bytes, self.at) {
            self.at += plain.len() + 2;
            return text(plain);
        }
        let end = string_end(self.bytes, self.at)?;
        let string = skiff_json::from_slice(self.bytes.get(self.at..end)?).ok();
        self.at = end;
        string
    }

    fn pass(&mut self) -> Option<&'a [u8]> {
        let (begin, end) = (self.at, value_end(self.bytes, self.at)?);
        self.at = end;
        self.bytes.get(begin..end)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }
}

fn text(ascii: &[u8]) -> Option<String> {
    std::str::from_utf8(ascii).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn what_nobody_reads_is_passed_over() {
        let bytes = br#"{"env":0,"kind":"Pod","metadata":{"n":-1,"managedFields":[{"f:x":{}}],"name":"a"},"spec":{"containers":[{"name":"c","env":[{"a":"b"}]}],"x":[1,2.5,null,true],"y":[],"z":{}}}"#;
        let unread = Unread::new(&["managedFields", "env"]);
        let o = object(bytes, &unread).unwrap();
        assert_eq!(
            o.value,
            json!({"kind": "Pod", "metadata": {"name": "a", "n": -1}, "spec": {"containers": [{"name": "c"}], "x": [1, 2.5, null, true], "y": [], "z": {}}})
        );
        let metadata = r#"{"n":-1,"managedFields":[{"f:x":{}}],"name":"a"}"#;
        assert_eq!(o.metadata, Some(metadata.as_bytes()));
        assert_eq!(super::metadata(bytes).unwrap(), Some(metadata.as_bytes()));
        let kept = object(br#"{"metadata":{"name":"a","managedFields":[{"f:x":{}}]},"spec":1}"#, &unread).unwrap();
        assert_eq!(kept.value, json!({"metadata": {"name": "a"}, "spec": 1}));
        assert_eq!(object(br#"{"metadata":null}"#, &unread).unwrap().value, json!({"metadata": null}));
    }

    #[test]
    fn without_unread_fields_it_is_the_whole() {
        let unread = Unread::new(&[]);
        for bytes in [
            &br#"{"metadata":{"name":"\u00e4\n","x":"\""},"data":{"a":"b","b":{},"\u00e4\\":-1.5e3},"n":18446744073709551615}"#[..],
            "{\"ä\":[[],[{}],\"\"],\"metadata\":{}}".as_bytes(),
            b" { \"a\" : 1 , \"metadata\" : {\"name\" : \"a\"} } ",
            b"{}",
        ] {
            assert_eq!(object(bytes, &unread).unwrap().value, skiff_json::from_slice::<Value>(bytes).unwrap());
        }
        assert!(object(b"{}", &unread).unwrap().metadata.is_none());
        assert_eq!(metadata(b"{ \"metadata\" : {\"a\": 1} }").unwrap(), Some(&b"{\"a\": 1}"[..]));
        for bad in [&b"[]"[..], b"{", b"{} x", br#"{"metadata":}"#, br#"{"a":1,}"#, br#"{"a":[1,]}"#] {
            assert!(object(bad, &unread).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(object(deep.as_bytes(), &unread).is_err());
    }

    #[test]
    fn names_are_found() {
        const NAMES: &[&str] = &["ab", "aab", "cb", "", "env", "ene", "eve", "image", "imageID"];
        let unread = Unread::new(NAMES);
        assert!(NAMES.iter().all(|n| unread.has(n.as_bytes())));
        assert!(["b", "abb", "acb", "imageIDs"].iter().all(|n| !unread.has(n.as_bytes())));
    }
}
