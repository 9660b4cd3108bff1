//! How an amount is written in stored objects: the text that was sent where upstream's parser keeps it, its canonical form
//! otherwise. Works on digits, so that no amount is too large or too fine.
//!
//! Upstream keeps a text when its fast path reads it and sees no simpler spelling (`1.500`, `01`, `1E3`); what it keeps has
//! been seen by clients, who compare what comes back with what they sent.
use super::{Form, Parts, QuantityError};
use std::borrow::Cow;

/// Digits that the fast path holds.
const FAST_DECIMAL: i64 = 18;
const FAST_BINARY: i64 = 15;
const NANO: i64 = -9;
const MILLI: i64 = -3;
/// The largest power of ten that has a suffix.
const EXA: i64 = 18;
/// Amounts with a binary suffix stay below 2^63.
const MAX_BINARY: &str = "9223372036854775807";
/// Digits of a binary fraction that are looked at; whether there are more is told by one that is not zero.
const FRACTION: usize = 80;

/// The text as it is stored; amounts finer than a billionth are rounded up.
///
/// # Errors
/// When the text is no amount.
pub fn spelled(text: &str) -> Result<Cow<'_, str>, QuantityError> {
    at_finest(text, NANO)
}

/// The same; amounts finer than a thousandth are rounded up.
///
/// # Errors
/// When the text is no amount.
pub fn spelled_in_milli(text: &str) -> Result<Cow<'_, str>, QuantityError> {
    at_finest(text, MILLI)
}

fn at_finest(text: &str, finest: i64) -> Result<Cow<'_, str>, QuantityError> {
    let p = Parts::read(text)?;
    if p.is_zero() {
        return Ok("0".into());
    }
    if kept(&p, finest) {
        return Ok(text.into());
    }
    let mut amount = Amount::of(&p);
    amount.round_up(finest);
    let sign = if p.negative { "-" } else { "" };
    Ok(format!("{sign}{}", amount.canonical(p.form)).into())
}

/// Whether upstream's parser keeps the text of an amount other than zero.
fn kept(p: &Parts<'_>, finest: i64) -> bool {
    let (whole, fraction) = (p.whole.len() as i64, p.fraction.len() as i64);
    if p.form == Form::BinarySi {
        // A power of two has some three tenths of its exponent in digits.
        let fits = fraction == 0 && whole < FAST_BINARY - p.exponent * 3 / 10;
        return fits && p.whole.parse::<u64>().is_ok_and(|n| n % 8 != 0);
    }
    let scale = p.exponent - fraction;
    let thousands = p.whole.bytes().chain(p.fraction.bytes()).rev().take_while(|b| *b == b'0').take(3).count() == 3;
    whole + fraction <= FAST_DECIMAL && scale >= finest && scale % 3 == 0 && !thousands && !p.whole.starts_with('0')
}

/// An amount other than zero: `digits` times ten to the `scale`. No digit is a leading zero.
pub(super) struct Amount {
    digits: String,
    scale: i64,
}

impl Amount {
    pub(super) fn of(p: &Parts<'_>) -> Self {
        let digits = format!("{}{}", p.whole, p.fraction).trim_start_matches('0').to_owned();
        match p.form {
            Form::BinarySi => binary(p, &digits),
            _ => Self { digits, scale: p.exponent - p.fraction.len() as i64 },
        }
    }

    /// In billionths, as far as they can be counted.
    pub(super) fn nano(mut self) -> i128 {
        self.round_up(NANO);
        let digits = self.digits.bytes().fold(0i128, |n, b| n.saturating_mul(10).saturating_add(i128::from(b - b'0')));
        (NANO..self.scale).take(40).fold(digits, |n, _| n.saturating_mul(10))
    }

    /// Away from zero.
    fn round_up(&mut self, finest: i64) {
        let Some(cut) = usize::try_from(finest - self.scale).ok().filter(|cut| *cut > 0) else { return };
        self.scale = finest;
        let keep = self.digits.len().saturating_sub(cut);
        let more = self.digits.split_off(keep).bytes().any(|b| b != b'0') || keep == 0;
        if more {
            let nines = self.digits.len() - self.digits.trim_end_matches('9').len();
            self.digits.truncate(self.digits.len() - nines);
            match self.digits.pop().and_then(|d| char::from_digit(d.to_digit(10)? + 1, 10)) {
                Some(next) => self.digits.push(next),
                None => self.digits.push('1'),
            }
            self.digits.extend(std::iter::repeat_n('0', nines));
        }
    }

    fn canonical(mut self, form: Form) -> String {
        if form == Form::BinarySi
            && let Some(n) = self.integer().filter(|n| *n >= 1024)
        {
            let times = (n.trailing_zeros() / 10) as usize;
            return format!("{}{}", n >> (times * 10), ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(times).unwrap_or(&""));
        }
        let zeros = self.digits.len() - self.digits.trim_end_matches('0').len();
        self.digits.truncate(self.digits.len() - zeros);
        self.scale += zeros as i64;
        let mut more = self.scale.rem_euclid(3);
        if form != Form::DecimalExponent {
            more = more.max(self.scale - EXA);
        }
        self.scale -= more;
        self.digits.extend((0..more).map(|_| '0'));
        match form {
            Form::DecimalExponent if self.scale == 0 => self.digits,
            Form::DecimalExponent => format!("{}e{}", self.digits, self.scale),
            _ => {
                let suffix = super::DECIMAL.iter().find(|(_, e)| i64::from(*e) == self.scale).map_or("", |(s, _)| s);
                self.digits + suffix
            }
        }
    }

    /// Its value where that is whole and no more than a binary amount may be.
    fn integer(&self) -> Option<u64> {
        let n = match usize::try_from(-self.scale) {
            Ok(fraction) => {
                let (whole, rest) = self.digits.split_at(self.digits.len().saturating_sub(fraction));
                rest.bytes().all(|b| b == b'0').then(|| whole.parse::<u64>().ok())?
            }
            Err(_) => None,
        };
        n.filter(|n| i64::try_from(*n).is_ok())
    }
}

/// A binary amount as a decimal one, below its bound.
fn binary(p: &Parts<'_>, digits: &str) -> Amount {
    let most = || Amount { digits: MAX_BINARY.to_owned(), scale: 0 };
    let whole = digits.len().saturating_sub(p.fraction.len());
    if whole > MAX_BINARY.len() {
        return most();
    }
    let extra = p.fraction.len().saturating_sub(FRACTION);
    let (kept, left) = digits.split_at(digits.len().saturating_sub(extra));
    let mut scale = extra as i64 - p.fraction.len() as i64;
    // From the least digit to the greatest.
    let mut decimal: Vec<u8> = kept.bytes().rev().map(|b| b - b'0').collect();
    if left.bytes().any(|b| b != b'0') {
        decimal.insert(0, 1);
        scale -= 1;
    }
    for _ in 0..p.exponent {
        let mut carry = 0;
        for d in &mut decimal {
            let twice = *d * 2 + carry;
            (*d, carry) = (twice % 10, twice / 10);
        }
        if carry > 0 {
            decimal.push(carry);
        }
    }
    let digits: String = decimal.iter().rev().map(|d| char::from(b'0' + d)).collect();
    let digits = digits.trim_start_matches('0').to_owned();
    let whole = digits.len().saturating_sub(usize::try_from(-scale).unwrap_or(0));
    let beyond = whole > MAX_BINARY.len() || (whole == MAX_BINARY.len() && digits.as_str() > MAX_BINARY);
    if beyond { most() } else { Amount { digits, scale } }
}

#[cfg(test)]
mod tests;
