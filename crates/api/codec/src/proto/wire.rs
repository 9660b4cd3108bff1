//! The protobuf wire format: varints, tags, lengths.

/// What stands behind a tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WireValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Reads the fields of one message.
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next field number and value; none at the end.
    pub fn next(&mut self) -> Result<Option<(u32, WireValue<'a>)>, String> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| "a field number is too large")?;
        if number == 0 {
            return Err("field number 0".to_owned());
        }
        let value = match key & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => WireValue::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| "a length is too large")?;
                WireValue::Bytes(self.take(length)?)
            }
            5 => WireValue::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(format!("wire type {other} of field {number} is not supported")),
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for index in 0..10 {
            let byte = *self.bytes.get(index).ok_or("unexpected EOF")?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.bytes = self.bytes.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err("integer overflow".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.bytes.split_at_checked(length).ok_or("unexpected EOF")?;
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or("unexpected EOF")?;
        self.bytes = rest;
        Ok(*head)
    }
}

pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of wire type 0; negative numbers take ten bytes, as int32 and int64 have it.
pub fn put_int(tag: u32, value: i64, out: &mut Vec<u8>) {
    put_varint(u64::from(tag) << 3, out);
    put_varint(value as u64, out);
}

pub fn put_double(tag: u32, value: f64, out: &mut Vec<u8>) {
    put_varint(u64::from(tag) << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// The tag of a field of bytes, and how many follow.
pub fn put_length(tag: u32, length: usize, out: &mut Vec<u8>) {
    put_varint(u64::from(tag) << 3 | 2, out);
    put_varint(length as u64, out);
}

pub fn put_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_length(tag, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A nested message whose length is not known before it is written.
pub fn put_nested<E>(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    put_guessed::<1, E>(tag, out, write)
}

/// The same for one that will probably have 128 bytes or more.
pub fn put_long<E>(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    put_guessed::<2, E>(tag, out, write)
}

/// `KEPT` bytes are kept for the length; a length of another size moves the message.
fn put_guessed<const KEPT: usize, E>(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    put_varint(u64::from(tag) << 3 | 2, out);
    let start = out.len();
    out.extend_from_slice(&[0; KEPT]);
    write(out)?;
    let (begin, end) = (start + KEPT, out.len());
    let length = end - begin;
    let size = varint_size(length as u64);
    if size != KEPT {
        if size > KEPT {
            out.resize(end + size - KEPT, 0);
        }
        out.copy_within(begin..end, start + size);
        out.truncate(start + size + length);
    }
    let mut rest = length as u64;
    for byte in out.iter_mut().skip(start).take(size) {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    if let Some(last) = out.get_mut(start + size - 1) {
        *last &= 0x7f;
    }
    Ok(())
}

/// How many bytes a varint takes.
pub fn varint_size(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size() {
        for length in [0, 1, 127, 128, 16383, 16384, 2_097_152] {
            let (mut short, mut long, mut known) = (vec![9], vec![9], vec![9]);
            let body = vec![7; length];
            let write = |out: &mut Vec<u8>| -> Result<(), std::convert::Infallible> {
                out.extend_from_slice(&body);
                Ok(())
            };
            put_nested(3, &mut short, write).unwrap();
            put_long(3, &mut long, write).unwrap();
            put_bytes(3, &body, &mut known);
            assert!(short == known && long == known, "{length}");
        }
    }
}
