//! Quantities: exact amounts with SI suffixes, written canonically as upstream's resource.Quantity writes them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
use std::{
    cmp::Ordering,
    fmt,
    ops::{Add, Sub},
    str::FromStr,
};
use thiserror::Error;

mod spelling;
use spelling::Amount;
pub use spelling::{spelled, spelled_in_milli};

#[derive(Debug, Error, PartialEq, Eq)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// An amount in billionths (the finest that the API keeps; finer input rounds away from zero).
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    form: Form,
}

const NANO: i128 = 1_000_000_000;
/// What can be counted. Upstream counts without a bound, but amounts written with a binary suffix.
const CAP: i128 = i128::MAX;
/// Amounts written with a binary suffix are at most 2^63-1 units.
const CAP_BINARY: i128 = (i64::MAX as i128) * NANO;

impl Quantity {
    pub const ZERO: Quantity = Quantity { nano: 0, form: Form::DecimalSi };
    /// Whole units in the decimal form: `4`, `10k`.
    pub fn units(n: i64) -> Self {
        Self { nano: n as i128 * NANO, form: Form::DecimalSi }
    }
    /// Thousandths: `250m`.
    pub fn milli(n: i64) -> Self {
        Self { nano: n as i128 * (NANO / 1000), form: Form::DecimalSi }
    }
    /// Bytes in the binary form: `64Mi`.
    pub fn bytes(n: i64) -> Self {
        Self { nano: n as i128 * NANO, form: Form::BinarySi }
    }
    /// Whole units, rounded up (away from zero), saturating at i64.
    pub fn value(&self) -> i64 {
        ceil_div(self.nano, NANO).clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }
    /// Thousandths, rounded up, saturating at i64.
    pub fn milli_value(&self) -> i64 {
        ceil_div(self.nano, NANO / 1000).clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }
    pub fn sign(&self) -> i128 {
        self.nano.signum()
    }
    pub fn as_f64(&self) -> f64 {
        self.nano as f64 / NANO as f64
    }
    /// Whether it is some whole number of times `step`; of nothing, it never is.
    pub fn is_multiple_of(&self, step: &Quantity) -> bool {
        step.nano != 0 && self.nano % step.nano == 0
    }
    /// Whether it is a whole number of units.
    pub fn is_integer(&self) -> bool {
        self.nano % NANO == 0
    }
}

/// Rounds away from zero.
fn ceil_div(a: i128, b: i128) -> i128 {
    let q = a / b;
    if a % b == 0 { q } else { q + a.signum() }
}

impl PartialEq for Quantity {
    fn eq(&self, o: &Self) -> bool {
        self.nano == o.nano
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, o: &Self) -> Option<Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Quantity {
    fn cmp(&self, o: &Self) -> Ordering {
        self.nano.cmp(&o.nano)
    }
}
impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}
/// The form of the sum is the left side's, unless that is zero.
impl Add for Quantity {
    type Output = Quantity;
    fn add(self, o: Self) -> Self {
        let form = if self.nano == 0 { o.form } else { self.form };
        Self { nano: self.nano.saturating_add(o.nano).max(-CAP), form }
    }
}
impl Sub for Quantity {
    type Output = Quantity;
    fn sub(self, o: Self) -> Self {
        let form = if self.nano == 0 { o.form } else { self.form };
        Self { nano: self.nano.saturating_sub(o.nano).max(-CAP), form }
    }
}
impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |a, b| a + b)
    }
}

const DECIMAL: [(&str, i32); 10] = [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(s: &str) -> Result<Self, QuantityError> {
        let p = Parts::read(s)?;
        let nano = match p.form {
            _ if p.is_zero() => 0,
            Form::BinarySi if p.fraction.is_empty() => {
                let whole = p.whole.parse::<u64>().unwrap_or(u64::MAX);
                (i128::from(whole) * NANO).saturating_mul(1 << p.exponent).min(CAP_BINARY)
            }
            Form::BinarySi => Amount::of(&p).nano(),
            _ => to_nano(p.whole, p.fraction, p.exponent),
        };
        Ok(Self { nano: if p.negative { -nano } else { nano }, form: p.form })
    }
}

/// An amount's text, taken apart as upstream's scanner does: it asks for no digit but where it counts with them.
struct Parts<'t> {
    negative: bool,
    /// Digits before the dot without leading zeros; `0` for none.
    whole: &'t str,
    /// Digits behind the dot.
    fraction: &'t str,
    /// The power of ten, of two with a binary suffix.
    exponent: i64,
    form: Form,
}

impl<'t> Parts<'t> {
    fn read(text: &'t str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (digits, rest) = digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), self::digits);
        let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if !exponent.bytes().all(|b| b.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        let (exponent, form) = scale_of(suffix)?;
        let whole = Some(digits.trim_start_matches('0')).filter(|w| !w.is_empty()).unwrap_or("0");
        let p = Self { negative: text.starts_with('-'), whole, fraction, exponent, form };
        // Without a digit it is nothing where upstream's fast path reads it, and an error otherwise.
        let fast = match form {
            Form::BinarySi => exponent < 50,
            _ => exponent >= -9,
        };
        if digits.is_empty() && fraction.is_empty() && !fast {
            return Err(QuantityError::Numeric);
        }
        Ok(p)
    }

    fn is_zero(&self) -> bool {
        self.whole == "0" && self.fraction.bytes().all(|b| b == b'0')
    }
}

/// The digits that a text begins with, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn scale_of(suffix: &str) -> Result<(i64, Form), QuantityError> {
    if let Some((_, e)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((i64::from(*e), Form::DecimalSi));
    }
    if let Some((_, e)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((i64::from(*e), Form::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let e = exponent.parse::<i64>().map_err(|_| QuantityError::Suffix)?;
    // Upstream keeps 32 bits of it.
    Ok((i64::from(e as i32), Form::DecimalExponent))
}

/// A decimal amount in billionths, rounded up, as far as they can be counted.
fn to_nano(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let mut exponent = exponent + 9 - fraction.len() as i64;
    let (mut value, mut full, mut more) = (0i128, false, false);
    for d in whole.bytes().chain(fraction.bytes()) {
        match value.checked_mul(10).and_then(|v| v.checked_add(i128::from(d - b'0'))) {
            Some(next) if !full => value = next,
            _ => {
                full = true;
                more |= d != b'0';
                exponent += 1;
            }
        }
    }
    if exponent >= 0 {
        return (0..exponent.min(60)).fold(value, |v, _| v.saturating_mul(10));
    }
    match u32::try_from(-exponent).ok().and_then(|e| 10i128.checked_pow(e)) {
        Some(by) => value / by + i128::from(value % by != 0 || more),
        None => 1,
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let small = self.nano.abs() < 1024 * NANO;
        if self.form == Form::BinarySi && !small && self.is_integer() {
            let (mut n, mut i) = (self.nano / NANO, 0);
            while n % 1024 == 0 && i < BINARY.len() {
                n /= 1024;
                i += 1;
            }
            return write!(f, "{n}{}", if i == 0 { "" } else { BINARY[i - 1].0 });
        }
        let (mut n, mut e) = (self.nano, -9);
        while n % 1000 == 0 && (e < 18 || self.form == Form::DecimalExponent) {
            n /= 1000;
            e += 3;
        }
        if self.form == Form::DecimalExponent {
            return if e == 0 { write!(f, "{n}") } else { write!(f, "{n}e{e}") };
        }
        let suffix = DECIMAL.iter().find(|(_, x)| *x == e).map_or("", |(s, _)| s);
        write!(f, "{n}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    /// What counts no further is written so that it is read as the same.
    #[test]
    fn the_largest_amount_comes_back() {
        for text in ["1".repeat(300), "9".repeat(39) + "E", format!("-{}", "7".repeat(60)), format!("{}n", i128::MAX), format!("{}5n", i128::MAX)] {
            let amount: Quantity = text.parse().unwrap();
            assert_eq!(amount.to_string().parse::<Quantity>().unwrap(), amount, "{text}");
            assert_eq!(amount.to_string().parse::<Quantity>().unwrap().to_string(), amount.to_string(), "{text}");
        }
    }
    #[test]
    fn canonical_forms() {
        for (input, want) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("100m", "100m"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1500Ki", "1500Ki"),
            ("12e6", "12e6"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("0", "0"),
            ("-5m", "-5m"),
            ("0.0000000001", "1n"),
            ("2.", "2"),
            (".5", "500m"),
            ("0Ki", "0"),
            ("10", "10"),
            ("1e3", "1e3"),
            ("1000m", "1"),
            ("9223372036854775807", "9223372036854775807"),
        ] {
            assert_eq!(input.parse::<Quantity>().map(|q| q.to_string()), Ok(want.to_owned()), "{input}");
        }
        for bad in ["abc", "", "1kk", "1.2.3", "1 ", "1i", "--1"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
        assert_eq!("1500m".parse::<Quantity>().unwrap().value(), 2);
        assert_eq!((Quantity::bytes(1 << 20) + Quantity::bytes(1 << 20)).to_string(), "2Mi");
    }
}
