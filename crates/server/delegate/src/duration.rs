//! Go's durations in configuration files: `5m`, `1m30s`, `500ms`.
use serde::{Deserialize, Deserializer};
use std::time::Duration;

pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, Duration::ZERO);
    if rest == "0" {
        return Some(total);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()?)?;
        rest = after;
    }
    Some(total)
}

pub(crate) fn optional<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| serde::de::Error::custom(format!("time: invalid duration {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn go_durations() {
        for (text, want) in [("5m", Some(300_000)), ("1m30s", Some(90_000)), ("500ms", Some(500)), ("1.5s", Some(1500)), ("0", Some(0)), ("", None), ("5", None), ("-1s", None), ("1x", None)] {
            assert_eq!(parse(text).map(|d| d.as_millis()), want, "{text}");
        }
    }
}
