//! The few protobuf messages of the plugin's protocol, written and read by hand.

/// Limits of upstream, bytes.
const KEY_ID: usize = 1 << 10;
const SOURCE: usize = 1 << 10;
const ANNOTATIONS: usize = 32 << 10;

#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }
    /// Empty values are left out, as proto3 does.
    pub fn bytes(&mut self, field: u64, value: &[u8]) -> &mut Self {
        if !value.is_empty() {
            self.varint(field << 3 | 2);
            self.varint(value.len() as u64);
            self.0.extend_from_slice(value);
        }
        self
    }
    pub fn number(&mut self, field: u64, value: u64) -> &mut Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
        self
    }
    /// An entry of a map from strings to bytes.
    pub fn pair(&mut self, field: u64, name: &str, value: &[u8]) -> &mut Self {
        let mut entry = Writer::default();
        entry.bytes(1, name.as_bytes()).bytes(2, value);
        self.bytes(field, &entry.done())
    }
    pub fn done(&self) -> Vec<u8> {
        self.0.clone()
    }
}

pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub fn bytes(&self) -> Result<&'a [u8], String> {
        match self {
            Field::Bytes(b) => Ok(b),
            Field::Number(_) => Err("a field of its message has the wrong type".into()),
        }
    }
    pub fn text(&self) -> Result<String, String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "a text of its message is not UTF-8".into())
    }
}

/// The fields of a message; ends after an error.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self(message)
    }
    fn varint(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Bytes(self.take(8)?),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u64, Field<'a>), String>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "a message is cut off".to_owned()))
    }
}

pub(super) fn pair(entry: &[u8]) -> Result<(String, Vec<u8>), String> {
    let (mut name, mut value) = (String::new(), Vec::new());
    for field in Reader::new(entry) {
        match field? {
            (1, v) => name = v.text()?,
            (2, v) => value = v.bytes()?.to_vec(),
            _ => {}
        }
    }
    Ok((name, value))
}

/// What lies in the datastore (k8s.io/apiserver, kmsv2/v2/api.proto).
#[derive(Clone, Default, Debug, PartialEq)]
pub(super) struct EncryptedObject {
    pub data: Vec<u8>,
    pub key_id: String,
    pub source: Vec<u8>,
    pub annotations: Vec<(String, Vec<u8>)>,
    pub source_type: u64,
}

impl EncryptedObject {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes(1, &self.data);
        self.write_head(&mut w);
        w.done()
    }
    fn write_head(&self, w: &mut Writer) {
        w.bytes(2, self.key_id.as_bytes()).bytes(3, &self.source);
        for (name, value) in &self.annotations {
            w.pair(4, name, value);
        }
        w.number(5, self.source_type);
    }
    /// All but the data: what names the seed.
    pub fn head(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write_head(&mut w);
        w.done()
    }
    pub fn decode(message: &[u8]) -> Result<Self, String> {
        let mut o = Self::default();
        for field in Reader::new(message) {
            match field? {
                (1, v) => o.data = v.bytes()?.to_vec(),
                (2, v) => o.key_id = v.text()?,
                (3, v) => o.source = v.bytes()?.to_vec(),
                (4, v) => o.annotations.push(pair(v.bytes()?)?),
                (5, Field::Number(n)) => o.source_type = n,
                _ => {}
            }
        }
        o.annotations.sort();
        Ok(o)
    }
    /// Upstream's limits on what a plugin may answer.
    pub fn check(&self) -> Result<(), String> {
        check_key_id(&self.key_id)?;
        if self.source.is_empty() || self.source.len() > SOURCE {
            return Err(format!("the wrapped key is of {} bytes, not of 1 to {SOURCE}", self.source.len()));
        }
        let size: usize = self.annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
        if size > ANNOTATIONS {
            return Err(format!("its annotations are of {size} bytes, more than {ANNOTATIONS}"));
        }
        match self
            .annotations
            .iter()
            .find(|(k, _)| !k.contains('.') || !k.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-')))
        {
            Some((k, _)) => Err(format!("its annotation {k:?} has no fully qualified domain name")),
            None => Ok(()),
        }
    }
}

pub(super) fn check_key_id(id: &str) -> Result<(), String> {
    if id.is_empty() || id.len() > KEY_ID { Err(format!("its key id is of {} bytes, not of 1 to {KEY_ID}", id.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_cut_ones_are_errors() {
        let object =
            EncryptedObject { data: vec![1; 300], key_id: "k".into(), source: vec![2; 40], annotations: vec![("a.b".into(), vec![3])], source_type: 1 };
        let bytes = object.encode();
        assert_eq!(EncryptedObject::decode(&bytes).unwrap(), object);
        assert!(object.check().is_ok());
        for cut in 1..bytes.len() {
            let _ = EncryptedObject::decode(&bytes[..cut]);
        }
        assert!(EncryptedObject::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(EncryptedObject::decode(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
        assert!(EncryptedObject { annotations: vec![("a".into(), vec![])], ..object.clone() }.check().is_err());
        assert!(EncryptedObject { key_id: String::new(), ..object }.check().is_err());
    }
}
