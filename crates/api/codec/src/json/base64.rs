//! Standard base64 as Go's encoding/base64 reads it: line breaks are skipped, spare bits are not looked at.

use base64::Engine;

/// Decodes; the error is Go's text, with the place of the byte that is wrong.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut quantum: Vec<u8> = Vec::with_capacity(4);
    let mut bytes = text.bytes().enumerate().filter(|(_, b)| !matches!(b, b'\r' | b'\n'));
    while let Some((at, byte)) = bytes.next() {
        if byte == b'=' {
            return padding(at, &quantum, &mut bytes, text.len(), &mut out).map(|()| out).map_err(illegal);
        }
        quantum.push(digit(byte).ok_or_else(|| illegal(at))?);
        if quantum.len() == 4 {
            flush(&quantum, &mut out);
            quantum.clear();
        }
    }
    if quantum.is_empty() { Ok(out) } else { Err(illegal(text.len() - quantum.len())) }
}

/// Ends the text at a `=`; the error is the place of the wrong byte.
fn padding(at: usize, quantum: &[u8], bytes: &mut impl Iterator<Item = (usize, u8)>, length: usize, out: &mut Vec<u8>) -> Result<(), usize> {
    match quantum.len() {
        0 | 1 => return Err(at),
        2 => match bytes.next() {
            Some((_, b'=')) => {}
            Some((at, _)) => return Err(at),
            None => return Err(length),
        },
        _ => {}
    }
    if let Some((at, _)) = bytes.next() {
        return Err(at);
    }
    flush(quantum, out);
    Ok(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Two to four digits make one to three bytes.
fn flush(quantum: &[u8], out: &mut Vec<u8>) {
    let bits = quantum.iter().fold(0u32, |bits, digit| bits << 6 | u32::from(*digit));
    let bits = bits << (6 * (4 - quantum.len().min(4)));
    let bytes = bits.to_be_bytes();
    out.extend_from_slice(bytes.get(1..quantum.len()).unwrap_or_default());
}

/// Encodes.
pub fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_go() {
        for (text, want) in [
            ("", Ok(&b""[..])),
            ("YQ==", Ok(b"a")),
            ("YR==", Ok(b"a")),
            ("YW\nJj\r\n", Ok(b"abc")),
            ("YWI=", Ok(b"ab")),
            ("Y", Err(0)),
            ("YW", Err(0)),
            ("YQ=", Err(3)),
            ("YQ==x", Err(4)),
            ("Y!==", Err(1)),
        ] {
            let want = want.map(<[u8]>::to_vec);
            let want = want.map_err(|at| format!("illegal base64 data at input byte {at}"));
            assert_eq!(decode(text), want, "{text:?}");
        }
    }
}
