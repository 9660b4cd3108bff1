//! Quantities: exact amounts with SI suffixes, written canonically as upstream's resource.Quantity writes them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
use std::{
    cmp::Ordering,
    fmt,
    ops::{Add, Sub},
    str::FromStr,
};
use thiserror::Error;

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
/// Amounts are capped at 2^63-1 units, as upstream caps them.
const CAP: i128 = (i64::MAX as i128) * NANO;

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
        Self { nano: (self.nano + o.nano).clamp(-CAP, CAP), form }
    }
}
impl Sub for Quantity {
    type Output = Quantity;
    fn sub(self, o: Self) -> Self {
        let form = if self.nano == 0 { o.form } else { self.form };
        Self { nano: (self.nano - o.nano).clamp(-CAP, CAP), form }
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
        let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s);
        let negative = s.starts_with('-');
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        if number.is_empty() || number == "." || number.matches('.').count() > 1 || number.len() > 64 {
            return Err(if number.is_empty() { QuantityError::Format } else { QuantityError::Numeric });
        }
        if !suffix.bytes().all(|b| b"eEinumkKMGTP+-0123456789".contains(&b)) {
            return Err(QuantityError::Format);
        }
        let (scale, form) = scale_of(suffix)?;
        let nano = to_nano(number, scale);
        Ok(Self { nano: if negative { -nano } else { nano }, form })
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn scale_of(suffix: &str) -> Result<(Scale, Form), QuantityError> {
    if let Some((_, e)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Scale::Ten(*e), Form::DecimalSi));
    }
    if let Some((_, e)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((Scale::Two(*e), Form::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let e = exponent.parse::<i32>().map_err(|_| QuantityError::Suffix)?;
    Ok((Scale::Ten(e), Form::DecimalExponent))
}

/// `number` (digits with at most one dot) scaled to billionths, rounded up, capped.
fn to_nano(number: &str, scale: Scale) -> i128 {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let (mut exponent, two) = match scale {
        Scale::Ten(e) => (e as i64, 1i128),
        Scale::Two(e) => (0, 1i128 << e),
    };
    exponent += 9 - fraction.len() as i64;
    let mut value: i128 = 0;
    for d in digits() {
        value = value.saturating_mul(10).saturating_add((d - b'0') as i128);
        if value > i128::MAX / 10_000 {
            exponent += 1;
            value /= 10;
        }
    }
    if value == 0 {
        return 0;
    }
    // Binary scale before decimal shrink keeps 0.5Ki exact.
    let (value, two) = if exponent < 0 { (value.saturating_mul(two), 1) } else { (value, two) };
    let value = if exponent >= 0 {
        let mut v = value;
        for _ in 0..exponent.min(60) {
            v = v.saturating_mul(10);
        }
        v
    } else if exponent < -38 {
        1
    } else {
        ceil_div(value, 10i128.pow((-exponent) as u32))
    };
    value.saturating_mul(two).min(CAP)
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
