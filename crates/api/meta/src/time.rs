//! Times as the API writes them: `metav1.Time` in whole seconds, `metav1.MicroTime` with six decimals.
use std::{fmt, str::FromStr};

/// Seconds since 1970 in UTC, written as `2026-01-02T03:04:05Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

/// Microseconds since 1970 in UTC, written as `2026-01-02T03:04:05.000006Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MicroTime(pub i64);

impl Timestamp {
    pub fn from_system(t: std::time::SystemTime) -> Self {
        Timestamp(t.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64))
    }
}
impl MicroTime {
    pub fn from_system(t: std::time::SystemTime) -> Self {
        MicroTime(t.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64))
    }
}
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(t) => write!(f, "{}", t.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => f.write_str("0001-01-01T00:00:00Z"),
        }
    }
}
impl fmt::Display for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(t) => write!(f, "{}.{:06}Z", t.strftime("%Y-%m-%dT%H:%M:%S"), self.0.rem_euclid(1_000_000)),
            Err(_) => f.write_str("0001-01-01T00:00:00.000000Z"),
        }
    }
}
impl FromStr for Timestamp {
    type Err = jiff::Error;
    /// RFC 3339 with any offset; fractions are dropped.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse::<jiff::Timestamp>().map(|t| Timestamp(t.as_second()))
    }
}
impl FromStr for MicroTime {
    type Err = jiff::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse::<jiff::Timestamp>().map(|t| MicroTime(t.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(MicroTime(1_500_007).to_string(), "1970-01-01T00:00:01.500007Z");
        assert_eq!("2026-01-02T03:04:05+01:00".parse::<Timestamp>().unwrap().to_string(), "2026-01-02T02:04:05Z");
    }
}
