//! How much an image may make us read and write, and the reader that enforces it while a layer expands.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Limits on what comes from outside. All sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A manifest, index or archive index.
    pub manifest: u64,
    /// An image configuration.
    pub config: u64,
    /// A layer once it is expanded.
    pub layer: u64,
    /// All layers of an image once they are expanded.
    pub image: u64,
    /// Expanded bytes for each compressed byte, enforced past `ratio_free` expanded bytes.
    pub ratio: u64,
    pub ratio_free: u64,
    /// Most layers of an image: overlayfs stacks at most 500.
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { manifest: 4 << 20, config: 8 << 20, layer: 64 << 30, image: 128 << 30, ratio: 200, ratio_free: 256 << 20, layers: 500 }
    }
}

/// Counts bytes that pass, where others can see the count.
pub struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Counted<R> {
    pub fn new(inner: R) -> (Self, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        (Self { inner, count: count.clone() }, count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Stops a stream that expands beyond the limits.
pub struct Guarded<R> {
    inner: R,
    what: String,
    compressed: Arc<AtomicU64>,
    expanded: u64,
    limits: Limits,
}

impl<R: Read> Guarded<R> {
    pub fn new(inner: R, what: String, compressed: Arc<AtomicU64>, limits: Limits) -> Self {
        Self { inner, what, compressed, expanded: 0, limits }
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.expanded += n as u64;
        if self.expanded > self.limits.layer {
            return Err(io::Error::other(Error::TooLarge { what: self.what.clone(), limit: self.limits.layer }));
        }
        let compressed = self.compressed.load(Ordering::Relaxed);
        if self.expanded > self.limits.ratio_free && self.expanded / self.limits.ratio.max(1) > compressed {
            return Err(io::Error::other(Error::Ratio { what: self.what.clone(), ratio: self.limits.ratio }));
        }
        Ok(n)
    }
}

/// Expands gzip and zstd, told by their first bytes; anything else passes as it is.
pub fn decompressed<'a, R: Read + 'a>(reader: R) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(256 << 10, reader);
    let mut magic = [0; 4];
    let mut got = 0;
    while let Some(rest) = magic.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            0 => break,
            n => got += n,
        }
    }
    let start = io::Cursor::new(magic.get(..got).unwrap_or_default().to_vec());
    let whole = start.chain(reader);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::stream::read::Decoder::new(whole)?;
            // Windows above 128 MiB would let a small blob take much memory.
            decoder.window_log_max(27)?;
            Box::new(decoder)
        }
        _ => Box::new(whole),
    })
}
