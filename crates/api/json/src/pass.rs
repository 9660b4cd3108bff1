//! Passing over JSON that is known to be well-formed, such as stored bytes: 64 bytes at a time, without looking at what they say.
//!
//! Nothing is checked here: of text that is no JSON some end is given, or none. What outsiders send is the scanner's.

/// Where the value that begins at `at` ends; none where the text is over before.
pub fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'{' | b'[' => container_end(bytes, at),
        b'"' => string_end(bytes, at),
        _ => {
            let rest = bytes.get(at..)?;
            let plain = rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
            Some(at + plain.unwrap_or(rest.len()))
        }
    }
}

/// The value at a path of keys, as it is written; what stands beside the path is passed over. None where there is none.
///
/// Only for canonical bytes: keys with escapes and white space are not looked into.
pub fn value_at<'a>(bytes: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    let (mut at, mut path) = (0, path.iter());
    let mut wanted = path.next()?;
    while matches!(bytes.get(at)?, b'{' | b',') {
        let key = plain_string(bytes, at + 1)?;
        let value = at + key.len() + 4;
        if bytes.get(value - 1) != Some(&b':') {
            return None;
        }
        at = match key == wanted.as_bytes() {
            false => value_end(bytes, value)?,
            true => match path.next() {
                Some(next) => {
                    wanted = next;
                    value
                }
                None => return bytes.get(value..value_end(bytes, value)?),
            },
        };
    }
    None
}

/// The text at a path of keys, if it is ASCII without escapes; see [`value_at`].
pub fn text_at<'a>(bytes: &'a [u8], path: &[&str]) -> Option<&'a str> {
    std::str::from_utf8(plain_string(value_at(bytes, path)?, 0)?).ok()
}

/// The end of a string whose opening quote is at `at`, its closing quote included.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let found = from + memchr::memchr2(b'"', b'\\', bytes.get(from..)?)?;
        match bytes.get(found)? {
            b'"' => return Some(found + 1),
            _ => from = found + 2,
        }
    }
}

/// What stands between the quotes of the string at `at`, if it is ASCII without escapes.
#[inline]
pub fn plain_string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at + 1..)?;
    let (parts, last) = rest.as_chunks::<STEP>();
    let mut length = 0;
    for part in parts {
        let special = unusual(part);
        if special != 0 {
            length += special.trailing_zeros() as usize;
            return rest.get(..length).filter(|_| rest.get(length) == Some(&b'"'));
        }
        length += STEP;
    }
    length += last.iter().position(|b| *b == b'"' || *b == b'\\' || !(0x20..0x80).contains(b))?;
    rest.get(..length).filter(|_| rest.get(length) == Some(&b'"'))
}

const STEP: usize = 16;

/// One bit for each quote, backslash, control character and byte that is no ASCII.
#[cfg(target_arch = "x86_64")]
#[inline]
fn unusual(part: &[u8; STEP]) -> u32 {
    // SAFETY: every x86-64 has SSE2.
    unsafe { sse2_unusual(part) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn sse2_unusual(part: &[u8; STEP]) -> u32 {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    let (part, splat) = (loaded(part), |byte: u8| _mm_set1_epi8(byte as i8));
    let marks = _mm_or_si128(_mm_cmpeq_epi8(part, splat(b'"')), _mm_cmpeq_epi8(part, splat(b'\\')));
    // What is no ASCII is negative, and so smaller, too.
    _mm_movemask_epi8(_mm_or_si128(marks, _mm_cmplt_epi8(part, splat(b' ')))) as u32
}

#[cfg(not(target_arch = "x86_64"))]
fn unusual(part: &[u8; STEP]) -> u32 {
    plain_unusual(part)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn plain_unusual(part: &[u8; STEP]) -> u32 {
    let is = |b: u8| b == b'"' || b == b'\\' || !(0x20..0x80).contains(&b);
    part.iter().enumerate().fold(0, |all, (i, b)| all | u32::from(is(*b)) << i)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn loaded(part: &[u8; STEP]) -> core::arch::x86_64::__m128i {
    let whole = u128::from_le_bytes(*part);
    core::arch::x86_64::_mm_set_epi64x((whole >> 64) as i64, whole as i64)
}

const BLOCK: usize = 64;

/// One bit a byte of a block.
#[derive(Debug, PartialEq)]
struct Marks {
    quotes: u64,
    backslashes: u64,
    opening: u64,
    closing: u64,
}

fn container_end(bytes: &[u8], at: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if wide() {
        // SAFETY: the processor has what it asks for.
        return unsafe { wide_container_end(bytes, at) };
    }
    end_by(bytes, at, marks, parity)
}

/// By the bits of each block, and the parity of its quotes.
#[inline(always)]
fn end_by(bytes: &[u8], at: usize, marks: impl Fn(&[u8; BLOCK]) -> Marks, parity: impl Fn(u64) -> u64) -> Option<usize> {
    let (mut from, mut depth) = (at, 0u32);
    // All ones while a block begins inside of a string; whether its first byte is escaped.
    let (mut inside, mut carried) = (0u64, false);
    while from < bytes.len() {
        let marks = match bytes.get(from..).and_then(|b| b.first_chunk::<BLOCK>()) {
            Some(block) => marks(block),
            None => marks(&last_block(bytes.get(from..)?)),
        };
        let mut quotes = marks.quotes;
        if marks.backslashes != 0 || carried {
            quotes &= !escaped(marks.backslashes, &mut carried);
        }
        let strings = parity(quotes) ^ inside;
        inside = 0u64.wrapping_sub(strings >> 63);
        let (opening, mut closing) = (marks.opening & !strings, marks.closing & !strings);
        let balance = (opening.count_ones(), closing.count_ones());
        // Only then can the last one be closed in this block.
        if depth <= balance.1 {
            let mut closed = 0;
            while closing != 0 {
                let bit = closing.trailing_zeros();
                closed += 1;
                if depth + (opening & ((1 << bit) - 1)).count_ones() == closed {
                    return Some(from + bit as usize + 1);
                }
                closing &= closing - 1;
            }
        }
        depth = (depth + balance.0).checked_sub(balance.1)?;
        from += BLOCK;
    }
    None
}

/// Whether the processor has what [`wide_container_end`] asks for; nearly all of the last ten years do.
#[cfg(target_arch = "x86_64")]
#[inline]
fn wide() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("pclmulqdq") && has!("popcnt") && has!("bmi1")
}

/// Twice the bytes a step, and the parity of all quotes by one multiplication: the bulk of lists is passed over here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1")]
fn wide_container_end(bytes: &[u8], at: usize) -> Option<usize> {
    use core::arch::x86_64::{_mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8};
    end_by(bytes, at, |block| avx2_marks(block), |bits| _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits as i64), _mm_set1_epi8(-1))) as u64)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn avx2_marks(block: &[u8; BLOCK]) -> Marks {
    use core::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_m128i, _mm256_set1_epi8};
    let mut all = Marks { quotes: 0, backslashes: 0, opening: 0, closing: 0 };
    let splat = |byte: u8| _mm256_set1_epi8(byte as i8);
    let (parts, _) = block.as_chunks::<STEP>();
    for (index, pair) in parts.as_chunks::<2>().0.iter().enumerate() {
        let part = _mm256_set_m128i(loaded(&pair[1]), loaded(&pair[0]));
        let folded = _mm256_or_si256(part, splat(0x20));
        let bits = |of, byte| u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(of, splat(byte))) as u32) << (32 * index);
        all.quotes |= bits(part, b'"');
        all.backslashes |= bits(part, b'\\');
        all.opening |= bits(folded, b'{');
        all.closing |= bits(folded, b'}');
    }
    all
}

fn last_block(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [b' '; BLOCK];
    for (to, byte) in block.iter_mut().zip(rest) {
        *to = *byte;
    }
    block
}

/// The bytes behind a backslash that is not itself escaped.
fn escaped(mut backslashes: u64, carried: &mut bool) -> u64 {
    let mut all = u64::from(std::mem::take(carried));
    backslashes &= !all;
    while backslashes != 0 {
        let bit = backslashes.trailing_zeros();
        if bit == 63 {
            *carried = true;
        } else {
            all |= 2 << bit;
        }
        backslashes &= !(3 << bit);
    }
    all
}

/// Ones from each odd one to the byte before the next.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn marks(block: &[u8; BLOCK]) -> Marks {
    // SAFETY: every x86-64 has SSE2.
    unsafe { sse2_marks(block) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn sse2_marks(block: &[u8; BLOCK]) -> Marks {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    let mut all = Marks { quotes: 0, backslashes: 0, opening: 0, closing: 0 };
    let splat = |byte: u8| _mm_set1_epi8(byte as i8);
    for (index, part) in block.as_chunks::<STEP>().0.iter().enumerate() {
        let part = loaded(part);
        // `[` and `{`, `]` and `}` differ by one bit.
        let folded = _mm_or_si128(part, splat(0x20));
        let bits = |of, byte| u64::from(_mm_movemask_epi8(_mm_cmpeq_epi8(of, splat(byte))) as u32) << (16 * index);
        all.quotes |= bits(part, b'"');
        all.backslashes |= bits(part, b'\\');
        all.opening |= bits(folded, b'{');
        all.closing |= bits(folded, b'}');
    }
    all
}

#[cfg(not(target_arch = "x86_64"))]
fn marks(block: &[u8; BLOCK]) -> Marks {
    plain_marks(block)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn plain_marks(block: &[u8; BLOCK]) -> Marks {
    let bits = |is: fn(u8) -> bool| block.iter().enumerate().fold(0, |all, (i, b)| all | u64::from(is(*b)) << i);
    Marks { quotes: bits(|b| b == b'"'), backslashes: bits(|b| b == b'\\'), opening: bits(|b| b | 0x20 == b'{'), closing: bits(|b| b | 0x20 == b'}') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = crate::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Into::into),
            any::<bool>().prop_map(Into::into),
            "[a-z\"\\\\{}\\[\\] é]{0,90}".prop_map(Into::into),
            Just(crate::Value::Null)
        ];
        leaf.prop_recursive(6, 60, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                proptest::collection::vec(("[a-z\"\\\\:{]{0,70}", inner), 0..8).prop_map(|m| crate::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn ends_are_found(value in json(), before in "[ -~]{0,70}", behind in "[,}\\]][ -~]{0,70}") {
            let text = format!("{before}{value}{behind}");
            prop_assert_eq!(value_end(text.as_bytes(), before.len()), Some(before.len() + value.to_string().len()));
        }
        #[test]
        fn anything_at_all(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b']'), any::<u8>()], 0..300), at in 0..300usize) {
            if let Some(end) = value_end(&bytes, at) {
                prop_assert!(end >= at && end <= bytes.len());
            }
            prop_assert_eq!(container_end(&bytes, at), end_by(&bytes, at, plain_marks, parity));
            for block in bytes.as_chunks::<BLOCK>().0 {
                prop_assert_eq!(marks(block), plain_marks(block));
            }
            for part in bytes.as_chunks::<STEP>().0 {
                prop_assert_eq!(unusual(part), plain_unusual(part));
            }
        }
        #[test]
        fn plain_strings(text in "[a-z{ ]{0,50}", odd in "[\"\\\\é\n]?", behind in ".{0,40}") {
            let bytes = format!("x\"{text}{odd}\"{behind}");
            let expected = (odd.is_empty() || odd == "\"").then_some(text.as_bytes());
            prop_assert_eq!(plain_string(bytes.as_bytes(), 1), expected);
        }
    }

    #[test]
    fn paths() {
        let bytes = br#"{"metadata":{"name":"a","x":{"spec":1}},"spec":{"a":[{"nodeName":"x"}],"nodeName":"n"},"status":{},"n":null}"#;
        for (path, value) in [
            (&["spec", "nodeName"][..], Some(&br#""n""#[..])),
            (&["metadata", "x"], Some(br#"{"spec":1}"#)),
            (&["n"], Some(b"null")),
            (&["status", "phase"], None),
            (&["metadata", "n"], None),
            (&["metadata", "name", "y"], None),
            (&["nodeName"], None),
            (&[], None),
        ] {
            assert_eq!(value_at(bytes, path), value, "{path:?}");
        }
        assert_eq!((text_at(bytes, &["spec", "nodeName"]), text_at(bytes, &["n"])), (Some("n"), None));
    }

    #[test]
    fn what_is_cut_off_has_no_end() {
        for text in ["{", "[1,[2]", "\"a\\\"", "{\"a\":\"}", ""] {
            assert_eq!(value_end(text.as_bytes(), 0), None, "{text}");
        }
    }
}
