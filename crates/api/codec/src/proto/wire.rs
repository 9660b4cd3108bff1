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
pub fn put_nested<E>(
    tag: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_varint(u64::from(tag) << 3 | 2, out);
    // One byte is kept for the length; a longer one moves the message behind it.
    let start = out.len();
    out.push(0);
    write(out)?;
    let length = out.len() - start - 1;
    let extra = varint_size(length as u64) - 1;
    if extra > 0 {
        let end = out.len();
        out.resize(end + extra, 0);
        out.copy_within(start + 1..end, start + 1 + extra);
    }
    let mut rest = length as u64;
    for byte in out.iter_mut().skip(start).take(extra + 1) {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    if let Some(last) = out.get_mut(start + extra) {
        *last &= 0x7f;
    }
    Ok(())
}

/// How many bytes a varint takes.
fn varint_size(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}
