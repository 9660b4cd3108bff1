//! The v2 document as it goes out, kept packed until the table or a remote's part of it changes: making it takes some
//! hundred milliseconds and ten times its size, and clients ask again and again whether it is still the same.

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::sync::Arc;

/// A document of one media type.
pub(crate) struct Kept<K> {
    /// What it was made of.
    of: K,
    pub etag: String,
    /// gzip.
    pub packed: Bytes,
}

/// One place for each media type.
pub(crate) struct Cache<K> {
    json: Mutex<Option<Arc<Kept<K>>>>,
    protobuf: Mutex<Option<Arc<Kept<K>>>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { json: Mutex::new(None), protobuf: Mutex::new(None) }
    }
}

impl<K: PartialEq> Cache<K> {
    /// The document made of `of`; who asks while it is made waits for it.
    pub fn get(&self, protobuf: bool, of: K, make: impl FnOnce(&K) -> Vec<u8>) -> std::io::Result<Arc<Kept<K>>> {
        let mut place = if protobuf { self.protobuf.lock() } else { self.json.lock() };
        if let Some(kept) = place.as_ref().filter(|k| k.of == of) {
            return Ok(kept.clone());
        }
        let document = make(&of);
        let mut encoder = GzEncoder::new(Vec::with_capacity(document.len() / 8), Compression::new(6));
        encoder.write_all(&document)?;
        let kept = Arc::new(Kept { of, etag: crate::documents::etag(&document), packed: encoder.finish()?.into() });
        *place = Some(kept.clone());
        Ok(kept)
    }
}

impl<K> Kept<K> {
    /// For a client that can't unpack.
    pub fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut document = Vec::with_capacity(self.packed.len() * 8);
        GzDecoder::new(&self.packed[..]).read_to_end(&mut document)?;
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_until_what_it_is_made_of_changes() {
        let cache = Cache::default();
        let made = std::cell::Cell::new(0);
        let get = |protobuf: bool, of: u64| {
            let make = |of: &u64| {
                made.set(made.get() + 1);
                format!("{protobuf} {of}").into_bytes()
            };
            String::from_utf8(cache.get(protobuf, of, make).unwrap().unpacked().unwrap()).unwrap()
        };
        assert_eq!(get(false, 1), "false 1");
        assert_eq!(get(false, 1), "false 1");
        assert_eq!(made.get(), 1);
        assert_eq!(get(true, 1), "true 1");
        assert_eq!(get(false, 2), "false 2");
        assert_eq!(get(false, 2), "false 2");
        assert_eq!(made.get(), 3);
    }
}
