//! Times as Go reads and writes them.

/// An instant: seconds since 1970 in UTC, and nanoseconds after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    pub seconds: i64,
    pub nanos: u32,
}

/// Go's zero time, 0001-01-01T00:00:00Z.
pub const ZERO_SECONDS: i64 = -62_135_596_800;

const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
const RFC3339_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

impl Instant {
    pub fn is_zero(self) -> bool {
        self.seconds == ZERO_SECONDS && self.nanos == 0
    }

    /// `2024-05-01T10:00:00Z`
    pub fn rfc3339(self) -> String {
        let (y, mo, d, h, mi, s) = civil(self.seconds);
        format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z")
    }

    /// `2024-05-01T10:00:00.000000Z`
    pub fn rfc3339_micro(self) -> String {
        let (y, mo, d, h, mi, s) = civil(self.seconds);
        let micros = self.nanos / 1000;
        format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{micros:06}Z")
    }
}

/// Parses RFC 3339; the error is Go's text.
pub fn parse_time(text: &str) -> Result<Instant, String> {
    TimeParser { text, rest: text, layout: RFC3339 }.run(false)
}

/// Parses RFC 3339 with exactly six decimals; the error is Go's text.
pub fn parse_micro_time(text: &str) -> Result<Instant, String> {
    TimeParser { text, rest: text, layout: RFC3339_MICRO }.run(true)
}

struct TimeParser<'a> {
    text: &'a str,
    rest: &'a str,
    layout: &'static str,
}

impl<'a> TimeParser<'a> {
    fn run(mut self, micro: bool) -> Result<Instant, String> {
        let year = self.number(4, "2006")?;
        self.literal("-")?;
        let month = self.number(2, "01")?;
        self.range(month, 1, 12, "month")?;
        self.literal("-")?;
        let day = self.number(2, "02")?;
        self.literal("T")?;
        let hour = self.number(2, "15")?;
        self.range(hour, 0, 23, "hour")?;
        self.literal(":")?;
        let minute = self.number(2, "04")?;
        self.range(minute, 0, 59, "minute")?;
        self.literal(":")?;
        let second = self.number(2, "05")?;
        self.range(second, 0, 59, "second")?;
        let nanos = if micro { self.micros()? } else { self.fraction() };
        let offset = self.zone()?;
        if !self.rest.is_empty() {
            return Err(self.because(&format!(": extra text: {}", quote(self.rest))));
        }
        self.range(day, 1, days_in(year, month), "day")?;
        let days = days_from_civil(year, month, day);
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
        Ok(Instant { seconds, nanos })
    }

    fn expected(&self, element: &str) -> String {
        format!("parsing time {} as {:?}: cannot parse {} as {element:?}", quote(self.text), self.layout, quote(self.rest))
    }

    fn because(&self, message: &str) -> String {
        format!("parsing time {}{message}", quote(self.text))
    }

    fn range(&self, value: i64, low: i64, high: i64, what: &str) -> Result<(), String> {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        Err(self.because(&format!(": {what} out of range")))
    }

    fn number(&mut self, digits: usize, element: &str) -> Result<i64, String> {
        let head = self.rest.get(..digits).filter(|h| h.bytes().all(|b| b.is_ascii_digit()));
        let value = head.and_then(|h| h.parse().ok()).ok_or_else(|| self.expected(element))?;
        self.rest = self.rest.get(digits..).unwrap_or_default();
        Ok(value)
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(text).ok_or_else(|| self.expected(text))?;
        Ok(())
    }

    /// Any number of decimals, or none.
    fn fraction(&mut self) -> u32 {
        let Some(after) = self.rest.strip_prefix(['.', ',']) else { return 0 };
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if end == 0 {
            return 0;
        }
        let (digits, rest) = after.split_at(end);
        self.rest = rest;
        let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
        nine.parse().unwrap_or(0)
    }

    fn micros(&mut self) -> Result<u32, String> {
        let digits = self.rest.strip_prefix('.').and_then(|r| r.get(..6));
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let micros: u32 = digits.and_then(|d| d.parse().ok()).ok_or_else(|| self.expected(".000000"))?;
        self.rest = self.rest.get(7..).unwrap_or_default();
        Ok(micros * 1000)
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let wrong = || self.expected("Z07:00");
        let zone = self.rest.get(..6).ok_or_else(wrong)?;
        let sign = match zone.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(wrong()),
        };
        let (hours, minutes) = zone.get(1..).and_then(|z| z.split_once(':')).ok_or_else(wrong)?;
        let digits = |t: &str| t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(hours) || !digits(minutes) {
            return Err(wrong());
        }
        let hours: i64 = hours.parse().map_err(|_| wrong())?;
        let minutes: i64 = minutes.parse().map_err(|_| wrong())?;
        self.rest = self.rest.get(6..).unwrap_or_default();
        self.range(hours, 0, 24, "time zone offset hour")?;
        self.range(minutes, 0, 60, "time zone offset minute")?;
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

/// The quoting of Go's time package: everything but printable ASCII by its bytes.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..0x80 => out.push(char::from(byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('"');
    out
}

/// Year, month, day, hour, minute, second in UTC (proleptic Gregorian).
fn civil(seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400);
    // Days are counted from 1 March of year 0, so that the leap day ends a year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (input, want) in [
            ("2024-02-29T12:30:15Z", "2024-02-29T12:30:15Z"),
            ("2024-05-01T10:00:00.123+02:00", "2024-05-01T08:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse_time(input).map(Instant::rfc3339).as_deref(), Ok(want));
        }
        assert_eq!(parse_time("0001-01-01T00:00:00Z").map(Instant::is_zero), Ok(true));
        for (input, want) in [
            ("abc", r#"parsing time "abc" as "2006-01-02T15:04:05Z07:00": cannot parse "abc" as "2006""#),
            ("2024-13-01T00:00:00Z", r#"parsing time "2024-13-01T00:00:00Z": month out of range"#),
            ("2023-02-29T00:00:00Z", r#"parsing time "2023-02-29T00:00:00Z": day out of range"#),
            ("2024-01-01", r#"parsing time "2024-01-01" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#),
        ] {
            assert_eq!(parse_time(input), Err(want.to_owned()));
        }
        let micro = "2024-05-01T10:00:00.123456Z";
        assert_eq!(parse_micro_time(micro).map(Instant::rfc3339_micro).as_deref(), Ok(micro));
        assert_eq!(
            parse_micro_time("2024-05-01T10:00:00.123456789Z"),
            Err(r#"parsing time "2024-05-01T10:00:00.123456789Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "789Z" as "Z07:00""#.to_owned())
        );
    }
}
