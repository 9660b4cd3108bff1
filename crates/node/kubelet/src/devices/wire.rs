//! The few messages of plug-ins, in protobuf: numbers, texts, and messages in messages. Written and read by hand, for there
//! are six of them.

/// A field of a message; kinds that no message here has are passed over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Field::Bytes(b) = self { Some(b) } else { None }
    }
    pub fn text(self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0u64;
    for (i, b) in bytes.iter().enumerate().take(10) {
        n |= u64::from(b & 0x7f).checked_shl(7 * i as u32)?;
        if b & 0x80 == 0 {
            return Some((n, bytes.get(i + 1..)?));
        }
    }
    None
}

/// The fields of a message with their numbers; None when it is none.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (tag, rest) = varint(bytes)?;
        bytes = rest;
        let length = match tag & 7 {
            0 => {
                let (n, rest) = varint(bytes)?;
                bytes = rest;
                out.push((tag >> 3, Field::Number(n)));
                continue;
            }
            1 => 8,
            2 => {
                let (n, rest) = varint(bytes)?;
                bytes = rest;
                usize::try_from(n).ok()?
            }
            5 => 4,
            _ => return None,
        };
        let (part, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        if tag & 7 == 2 {
            out.push((tag >> 3, Field::Bytes(part)));
        }
    }
    Some(out)
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A text, bytes or a message.
pub fn part(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put(out, number << 3 | 2);
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn flag(out: &mut Vec<u8>, number: u64) {
    put(out, number << 3);
    out.push(1);
}

/// The entries of a map from texts to messages.
pub fn entries<'a>(all: &[(u64, Field<'a>)], number: u64) -> Vec<(String, &'a [u8])> {
    let entry = |f: &Field<'a>| {
        let pair = fields(f.bytes()?)?;
        let key = pair.iter().find(|(n, _)| *n == 1).and_then(|(_, f)| f.text())?;
        Some((key, pair.iter().find(|(n, _)| *n == 2).and_then(|(_, f)| f.bytes()).unwrap_or_default()))
    };
    all.iter().filter(|(n, _)| *n == number).filter_map(|(_, f)| entry(f)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_written_is_read() {
        let mut inner = Vec::new();
        part(&mut inner, 1, b"key");
        part(&mut inner, 2, &[b'x'; 300]);
        let mut all = Vec::new();
        part(&mut all, 1, &inner);
        flag(&mut all, 3);
        let read = fields(&all).unwrap();
        assert_eq!(entries(&read, 1), [("key".to_owned(), &[b'x'; 300][..])]);
        assert_eq!(read[1], (3, Field::Number(1)));
        for bad in [&[0x0a][..], &[0x0a, 5, 1], &[0x07], &[0xff; 12]] {
            assert_eq!(fields(bad), None);
        }
    }
}
