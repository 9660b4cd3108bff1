//! One layer from a stream of bytes into the store: digest, expand, digest again, unpack, all at the same time.
//!
//! Two threads share the work: one reads, verifies and expands, the other parses the tar stream and writes files.

use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::digest::{Digest, DigestReader};
use crate::error::{Error, Result};
use crate::limits::{Counted, Guarded, Limits, decompressed};
use crate::unpack::{Unpacked, unpack};

const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 8;

/// Unpacks into the existing directory `root`. `blob` is the digest of the bytes as they come, where there is one to
/// check; `diff` that of the expanded layer.
pub fn layer(reader: impl Read + Send, blob: Option<&Digest>, diff: &Digest, root: &Path, limits: &Limits) -> Result<Unpacked> {
    let (sender, receiver) = sync_channel(CHUNKS);
    std::thread::scope(|scope| {
        let expander = scope.spawn(move || expand(reader, blob, diff, limits, sender));
        let mut chunks = Chunks { receiver, chunk: Vec::new(), at: 0 };
        let unpacked = unpack(&mut chunks, root);
        if unpacked.is_ok() {
            // What follows the end of the archive belongs to the digest as well.
            while chunks.receiver.recv().is_ok() {}
        }
        drop(chunks);
        // A broken download is the cause of a broken archive: it is named first.
        match (expander.join().map_err(|_| Error::Worker)?, unpacked) {
            (Err(Error::DigestMismatch { .. }), Err(unpacking)) => Err(unpacking),
            (Err(e), _) => Err(e),
            (Ok(()), unpacked) => unpacked,
        }
    })
}

fn expand(reader: impl Read + Send, blob: Option<&Digest>, diff: &Digest, limits: &Limits, sender: SyncSender<Vec<u8>>) -> Result<()> {
    let what = match blob {
        Some(blob) => format!("layer {blob}"),
        None => format!("layer {diff}"),
    };
    let reading = |source: io::Error| match source.downcast::<Error>() {
        Ok(limit) => limit,
        Err(source) => Error::Read { what: what.clone(), source },
    };
    let mut source = DigestReader::new(reader);
    let actual = {
        let (counted, compressed) = Counted::new(&mut source);
        let expanded = decompressed(counted).map_err(reading)?;
        let mut expanded = DigestReader::new(Guarded::new(expanded, what.clone(), compressed, limits.clone()));
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let n = expanded.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(reading)?;
            if n == 0 {
                break expanded.finish();
            }
            if sender.send(chunk).is_err() {
                // The unpacker has given up and says why.
                return Ok(());
            }
        }
    };
    source.drain().map_err(reading)?;
    if let Some(blob) = blob {
        blob.verify(&what, &source.finish())?;
    }
    diff.verify(format!("{what}, expanded,"), &actual)
}

/// The other end of the channel, as a reader.
struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = self.chunk.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at += n;
        Ok(n)
    }
}
