//! The version that a protobuf body says it is of, exchanged for another one of the same fields.

use super::decode::MAGIC;
use super::wire::put_bytes;

/// The body under the version `to`, when its envelope begins with `from` as every known client writes it; else None.
/// Only for versions whose messages are alike.
pub fn retyped_protobuf(body: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let (meta, rest) = first(body.strip_prefix(MAGIC)?)?;
    let (version, kind) = first(meta)?;
    if version != from.as_bytes() {
        return None;
    }
    let mut new = Vec::with_capacity(meta.len() + to.len());
    put_bytes(1, to.as_bytes(), &mut new);
    new.extend_from_slice(kind);
    let mut out = MAGIC.to_vec();
    put_bytes(1, &new, &mut out);
    out.extend_from_slice(rest);
    Some(out)
}

/// The first field's bytes, if it is number 1 and short, and what stands behind it.
fn first(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, length @ 0..=127, rest @ ..] = message else { return None };
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_alone_changes() {
        let body = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Pod123\x12\x01x";
        assert_eq!(retyped_protobuf(body, "v1", "policy/v1").unwrap(), b"k8s\0\x0a\x13\x0a\x09policy/v1\x12\x06Pod123\x12\x01x");
        for other in [&b"k8s\0\x0a\x0c\x0a\x02v2\x12\x06Pod123"[..], b"k8s\0\x0a\x7f\x0a\x02v1", b"k8s\0", b"{}", b"k8s\0\x0a\x02\x0a\x09"] {
            assert_eq!(retyped_protobuf(other, "v1", "v3"), None, "{other:?}");
        }
    }
}
