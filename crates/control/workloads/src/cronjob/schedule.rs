//! Cron expressions: five fields, or `@hourly` and its like, or `@every 90m`, in a time zone.
//!
//! As upstream's parser has them: day of month and day of week are alternatives unless one of them is `*` or `?`; a wall
//! clock time that a change to summer time leaves out is skipped.
use jiff::{Timestamp, ToSpan, Unit, ZonedDateTime, tz::TimeZone};
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ScheduleError(String);

fn bad<T>(why: impl Into<String>) -> Result<T, ScheduleError> {
    Err(ScheduleError(why.into()))
}

#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Rule {
    /// Seconds.
    Every(i64),
    Fields(Box<Fields>),
}

/// A bit for each value.
#[derive(Clone, Debug)]
struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    /// Both the day of month and the day of week are named: either will do.
    either: bool,
}

/// Years that are searched before a schedule counts as one that never comes (30 February).
const YEARS: i16 = 5;

impl Schedule {
    /// `zone` is an IANA name, empty for UTC; a `TZ=` or `CRON_TZ=` in the text takes its place.
    pub fn parse(text: &str, zone: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let prefixed = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
        let (zone, text) = match prefixed.map(|t| t.split_once(char::is_whitespace)) {
            Some(Some((zone, rest))) => (zone, rest.trim()),
            Some(None) => return bad("there is a time zone and no schedule"),
            None => (zone, text),
        };
        let rule = match text.strip_prefix('@') {
            Some(word) => named(word)?,
            None => Rule::Fields(Box::new(fields(text)?)),
        };
        Ok(Self { rule, zone: find_zone(zone)? })
    }
    /// The first time behind `after`, both in seconds; None when none comes within five years.
    pub fn next(&self, after: i64) -> Option<i64> {
        match &self.rule {
            Rule::Every(n) => Some(after + n),
            Rule::Fields(f) => {
                let start = Timestamp::from_second(after).ok()?.to_zoned_datetime(self.zone.clone());
                f.next(start).map(|z| z.timestamp().as_second())
            }
        }
    }
    /// A time in the schedule's zone, as RFC 3339.
    pub fn local(&self, at: i64) -> String {
        let Ok(t) = Timestamp::from_second(at) else { return String::new() };
        let z = t.to_zoned_datetime(self.zone.clone());
        let offset = if z.offset().is_zero() { "Z" } else { "%:z" };
        z.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string()
    }
}

/// UTC when the name is empty.
pub(super) fn find_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    match name {
        "" | "UTC" | "Etc/UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name).map_err(|_| ScheduleError(format!("unknown time zone {name}"))),
    }
}

fn named(word: &str) -> Result<Rule, ScheduleError> {
    if let Some(duration) = word.strip_prefix("every ") {
        return Ok(Rule::Every(seconds(duration.trim())?.max(1)));
    }
    let text = match word {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => return bad(format!("unrecognized descriptor: @{word}")),
    };
    Ok(Rule::Fields(Box::new(fields(text)?)))
}

/// `1h30m10s`, `1.5h`.
fn seconds(text: &str) -> Result<i64, ScheduleError> {
    let wrong = || ScheduleError(format!("failed to parse duration {text}"));
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let n = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(n);
        let m = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(m);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * factor;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total as i64) }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn fields(text: &str) -> Result<Fields, ScheduleError> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return bad(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    };
    let any = |s: &str| s.split(',').any(|p| p.starts_with('*') || p.starts_with('?'));
    Ok(Fields {
        minute: field(minute, 0, 59, &[])?,
        hour: field(hour, 0, 23, &[])?,
        day: field(day, 1, 31, &[])?,
        month: field(month, 1, 12, &MONTHS)?,
        weekday: field(weekday, 0, 6, &DAYS)?,
        either: !any(day) && !any(weekday),
    })
}

/// `names` count from `low`.
fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Result<u64, ScheduleError> {
    let value = |s: &str| -> Result<u32, ScheduleError> {
        let named = names.iter().position(|n| n.eq_ignore_ascii_case(s)).map(|i| low + i as u32);
        named.or_else(|| s.parse().ok()).ok_or_else(|| ScheduleError(format!("failed to parse int from {s}")))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((a, b)) => (value(a)?, value(b)?),
            None if step.is_some() => (value(range)?, high),
            None => (value(range)?, value(range)?),
        };
        let step = step.map_or(Ok(1), |s| s.parse::<u32>().map_err(|_| ScheduleError(format!("failed to parse int from {s}"))))?;
        if from < low || to > high || from > to || step == 0 {
            return bad(format!("{part} is not within {low}-{high}, or its step is zero"));
        }
        (from..=to).step_by(step as usize).for_each(|v| bits |= 1 << v);
    }
    Ok(bits)
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|v| bits & (1 << v) != 0)
}

impl Fields {
    fn on(&self, t: &ZonedDateTime) -> bool {
        let (day, weekday) = (has(self.day, t.day()), has(self.weekday, t.weekday().to_sunday_zero_offset()));
        if self.either { day || weekday } else { day && weekday }
    }
    /// Moves forward field by field, largest first; each step ends at the beginning of the next unit.
    fn next(&self, after: ZonedDateTime) -> Option<ZonedDateTime> {
        let last = after.year() + YEARS;
        let mut t = floor(after, Unit::Minute)?.checked_add(1.minute()).ok()?;
        while t.year() <= last {
            t = if !has(self.month, t.month()) {
                t.first_of_month().ok()?.start_of_day().ok()?.checked_add(1.month()).ok()?
            } else if !self.on(&t) {
                t.tomorrow().ok()?.start_of_day().ok()?
            } else if !has(self.hour, t.hour()) {
                floor(t, Unit::Hour)?.checked_add(1.hour()).ok()?
            } else if !has(self.minute, t.minute()) {
                t.checked_add(1.minute()).ok()?
            } else {
                return Some(t);
            };
        }
        None
    }
}

fn floor(t: ZonedDateTime, unit: Unit) -> Option<ZonedDateTime> {
    t.round(jiff::ZonedDateTimeRound::new().smallest(unit).mode(jiff::RoundMode::Floor)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: &str) -> i64 {
        s.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn the_next_time() {
        for (text, zone, after, next) in [
            ("* * * * *", "", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"),
            ("0 9-17/4 * * mon-fri", "", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"),
            ("30 2 29 2 *", "", "2026-01-01T00:00:00Z", "2028-02-29T02:30:00Z"),
            ("0 0 13 * 5", "", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * *", "", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("@monthly", "", "2026-12-15T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@every 1h30m", "", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
            ("0 6 * * *", "Europe/Berlin", "2026-07-01T05:00:00Z", "2026-07-02T04:00:00Z"),
            ("TZ=America/New_York 0 6 * * *", "", "2026-01-01T00:00:00Z", "2026-01-01T11:00:00Z"),
            // 02:30 is left out on 29 March 2026 in Berlin.
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
            ("0 0 1 JAN,jul *", "", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ] {
            assert_eq!(Schedule::parse(text, zone).unwrap().next(at(after)), Some(at(next)), "{text}");
        }
        assert_eq!(Schedule::parse("0 0 30 2 *", "").unwrap().next(at("2026-01-01T00:00:00Z")), None);
        assert_eq!(Schedule::parse("* * * * *", "Europe/Berlin").unwrap().local(at("2026-07-01T05:00:00Z")), "2026-07-01T07:00:00+02:00");
    }
    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "* * * *", "60 * * * *", "* * 0 * *", "* * * * 7", "*/0 * * * *", "5-1 * * * *", "x * * * *", "@never", "@every 1x", "TZ=UTC", "1 2 3 4 5 6"]
        {
            assert!(Schedule::parse(text, "").is_err(), "{text}");
        }
        assert_eq!(Schedule::parse("* * * * *", "Mars/Olympus").unwrap_err().to_string(), "unknown time zone Mars/Olympus");
    }
}
