//! Frames of a protobuf watch: four bytes of length (big endian), then a WatchEvent without envelope, whose object has one.

use super::wire::{put_bytes, put_nested};
use crate::error::DecodeError;

/// One event of a watch; `object` is an object with its envelope.
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(&[0; 4]);
    put_bytes(1, event.as_bytes(), &mut out);
    let nested: Result<(), std::convert::Infallible> = put_nested(2, &mut out, |out| {
        put_bytes(1, object, out);
        Ok(())
    });
    match nested {
        Ok(()) => {}
        Err(never) => match never {},
    }
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    if let Some(prefix) = out.first_chunk_mut::<4>() {
        *prefix = length.to_be_bytes();
    }
    out
}

/// Splits off the whole frames at the front of a buffer; the rest waits for more bytes.
pub fn split_frames(buffer: &[u8], limit: usize) -> Result<(Vec<&[u8]>, &[u8]), DecodeError> {
    let mut frames = Vec::new();
    let mut rest = buffer;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > limit {
            return Err(DecodeError::TooLarge(length));
        }
        let Some((frame, after)) = after.split_at_checked(length) else { break };
        frames.push(frame);
        rest = after;
    }
    Ok((frames, rest))
}
