//! Inputs out of inputs. A generator of its own, so that a seed gives the same inputs on every machine.

/// Longest input that is made, in bytes.
const LONGEST: usize = 64 << 10;

/// xorshift64*: small, and good enough to choose places.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }
}

/// What parsers trip over: ends of number ranges, openings, escapes, lengths, half characters.
const WORDS: &[&[u8]] = &[
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e-400",
    b"0.5",
    b"NaN",
    b"{}",
    b"[]",
    b"\"\"",
    b"[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b"\"",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"\xc3",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b"&a",
    b"*a",
    b"<<: ",
    b"!!binary ",
    b"---\n",
    b"- ",
    b": ",
    b"? ",
    b"|\n ",
    b"%s",
    b"..",
    b"/",
    b"../../",
    b"$.a[*]",
    b"[?(@.a==1)]",
    b"in (a,b)",
    b"!=",
    b"~1",
    b"~0",
    b"metadata",
    b"managedFields",
    b"f:",
    b"k:{\"a\":1}",
    b"$patch",
    b"$setElementOrder/a",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\0",
    b"\x01\0",
    b"1Gi",
    b"1m",
    b"-0",
    b"2006-01-02T15:04:05Z",
    b"9999-12-31T23:59:60Z",
];

/// One input, changed in a few places; `other` may lend a part.
pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..1 + random.below(6) {
        change(random, &mut out, other);
    }
    out.truncate(LONGEST);
    out
}

fn change(random: &mut Random, out: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(out.len() + 1);
    let end = (at + 1 + random.below(16)).min(out.len());
    match random.below(9) {
        0 if at < out.len() => out[at] ^= 1 << random.below(8),
        1 if at < out.len() => out[at] = random.next() as u8,
        2 => drop(out.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
        3 => drop(out.splice(at..end, WORDS[random.below(WORDS.len())].iter().copied())),
        4 => drop(out.drain(at..end)),
        5 => out.truncate(at),
        // A part of itself again, many times at times: nesting and repetition.
        6 => {
            let part = out[at..end].to_vec();
            let times = 1 << random.below(9);
            if !part.is_empty() && out.len() + part.len() * times < LONGEST {
                drop(out.splice(at..at, part.repeat(times)));
            }
        }
        7 if !other.is_empty() => {
            let from = random.below(other.len());
            let to = (from + 1 + random.below(64)).min(other.len());
            drop(out.splice(at..end, other[from..to].iter().copied()));
        }
        _ if at + 4 <= out.len() => {
            let number = [0_u32, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, u32::MAX][random.below(7)];
            let bytes = if random.below(2) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
            out[at..at + 4].copy_from_slice(&bytes);
        }
        _ => out.push(random.next() as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs() {
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..200).map(|_| mutate(&mut random, br#"{"a":[1,2]}"#, b"hello")).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
        assert!(inputs(7).iter().all(|i| i.len() <= LONGEST));
    }
}
