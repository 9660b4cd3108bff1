//! The descriptions, unpacked for as long as documents are built.

use std::io::Read;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.bin"));

/// Descriptions of types and fields.
#[derive(Debug, Default)]
pub struct Descriptions {
    text: String,
    /// Ordered by type and field.
    records: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    ty: (usize, usize),
    field: (usize, usize),
    text: (usize, usize),
}

impl Descriptions {
    /// No descriptions: what a client that only validates needs.
    pub fn none() -> Self {
        Self::default()
    }

    /// Unpacks them: about 1.5 MB for as long as the value lives.
    pub fn load() -> Self {
        let mut bytes = Vec::new();
        let read = flate2::read::DeflateDecoder::new(PACKED).read_to_end(&mut bytes);
        let text = match read {
            Ok(_) => String::from_utf8(bytes).unwrap_or_default(),
            Err(_) => String::new(),
        };
        let mut records = Vec::new();
        let mut ends = text.match_indices('\0').map(|(at, _)| at);
        let mut start = 0;
        while let (Some(a), Some(b), Some(c)) = (ends.next(), ends.next(), ends.next()) {
            records.push(Record { ty: (start, a), field: (a + 1, b), text: (b + 1, c) });
            start = c + 1;
        }
        Self { text, records }
    }

    /// The description of a field, or of the type itself where the field is empty.
    pub fn get(&self, ty: &str, field: &str) -> Option<&str> {
        let at = self.records.binary_search_by(|r| (self.slice(r.ty), self.slice(r.field)).cmp(&(ty, field))).ok()?;
        self.records.get(at).map(|r| self.slice(r.text))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn slice(&self, (start, end): (usize, usize)) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }
}
