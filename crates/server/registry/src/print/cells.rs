//! Cells that many kinds share.
use crate::value::{at, list, map, text};
use skiff_json::Value;
use skiff_meta::{LabelSelector, MicroTime, Timestamp};

pub(super) fn name(v: &Value) -> Value {
    text(v, "metadata.name").into()
}

/// Seconds in the rounding that people read: `5m3s`, `47h`, `3d4h`, `1y20d`.
pub fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |a: i64, unit: char, b: i64, small: char| if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") };
    match () {
        () if seconds < -1 => "<invalid>".into(),
        () if seconds < 0 => "0s".into(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(hours / 24, 'd', hours % 24, 'h'),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => two(hours / 24 / 365, 'y', (hours / 24) % 365, 'd'),
        () => format!("{}y", hours / 24 / 365),
    }
}

/// Time since the one at `path`.
pub(super) fn since(v: &Value, path: &str, now: Timestamp) -> String {
    let t = text(v, path);
    match t.parse::<Timestamp>().ok().or_else(|| t.parse::<MicroTime>().ok().map(|m| Timestamp(m.0.div_euclid(1_000_000)))) {
        Some(t) => human(now.0 - t.0),
        None => "<unknown>".into(),
    }
}
pub fn age(v: &Value, now: Timestamp) -> String {
    since(v, "metadata.creationTimestamp", now)
}
pub(super) fn or<'a>(s: &'a str, other: &'a str) -> &'a str {
    if s.is_empty() { other } else { s }
}
/// The text at `path`, or `other` when it is absent.
pub(super) fn text_or<'a>(v: &'a Value, path: &str, other: &'a str) -> &'a str {
    or(text(v, path), other)
}
/// Names and images of containers, each joined by commas.
pub(super) fn containers(v: &Value, path: &str) -> (String, String) {
    let join = |key: &str| list(v, path).iter().map(|c| text(c, key)).collect::<Vec<_>>().join(",");
    (join("name"), join("image"))
}
/// `a=b,c=d`, or `<none>`.
pub(super) fn labels(v: &Value, path: &str) -> String {
    let mut all: Vec<String> = map(v, path).into_iter().flatten().map(|(k, x)| format!("{k}={}", x.as_str().unwrap_or_default())).collect();
    all.sort();
    if all.is_empty() { "<none>".into() } else { all.join(",") }
}
/// A label selector as people read it.
pub(super) fn selector(v: &Value, path: &str) -> String {
    match LabelSelector::from_json(at(v, path)) {
        Ok(s) => or(&s.to_string(), "<none>").to_owned(),
        Err(_) => "<error>".into(),
    }
}
pub(super) fn joined(items: impl IntoIterator<Item = impl Into<String>>) -> String {
    items.into_iter().map(Into::into).collect::<Vec<_>>().join(",")
}
/// The first three, and how many more.
pub(super) fn first_three(all: &[String], none: &str) -> String {
    match all.len() {
        0 => none.to_owned(),
        n if n > 3 => format!("{} + {} more...", all[..3].join(","), n - 3),
        _ => all.join(","),
    }
}
pub(super) fn condition<'a>(v: &'a Value, kind: &str) -> Option<&'a Value> {
    list(v, "status.conditions").iter().find(|c| c["type"] == kind)
}
pub(super) fn holds(v: &Value, kind: &str) -> bool {
    condition(v, kind).is_some_and(|c| c["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn durations_are_rounded_as_people_read_them() {
        for (s, want) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (183, "3m3s"),
            (3600, "60m"),
            (3600 * 5 + 60, "5h1m"),
            (3600 * 30, "30h"),
            (86400 * 3 + 7200, "3d2h"),
            (86400 * 40, "40d"),
            (86400 * 800, "2y70d"),
            (86400 * 365 * 9, "9y"),
        ] {
            assert_eq!(human(s), want, "{s}");
        }
    }
}
