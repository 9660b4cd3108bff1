//! When a log begins anew, what the old one is called, and which old ones go. Pure.
use skiff_meta::MicroTime;
use std::time::{Duration, SystemTime};

/// How long logs grow and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Bytes; 0: never rotated.
    pub size: u64,
    /// 0: for ever.
    pub age: Duration,
    /// 0: all.
    pub backups: usize,
}

impl Limits {
    /// Whether `more` bytes belong into a new file behind `written`.
    pub fn full(&self, written: u64, more: usize) -> bool {
        self.size > 0 && written > 0 && written + more as u64 > self.size
    }
}

/// Stem and extension: `audit` and `.log`.
fn parts(file: &str) -> (&str, &str) {
    file.rfind('.').filter(|at| *at > 0).map_or((file, ""), |at| file.split_at(at))
}

/// `audit-2026-01-02T15-04-05.000.log`.
pub(crate) fn backup_name(file: &str, at: SystemTime) -> String {
    let (stem, extension) = parts(file);
    let time = MicroTime::from_system(at).to_string();
    // To the millisecond, without colons.
    let stamp = time.get(..23).unwrap_or(&time).replace(':', "-");
    format!("{stem}-{stamp}{extension}")
}

/// When the backup was made, if `name` is one of `file`.
fn made(file: &str, name: &str) -> Option<SystemTime> {
    let (stem, extension) = parts(file);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let stamp = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(extension)?;
    let (date, time) = stamp.split_once('T')?;
    let micros = format!("{date}T{}000Z", time.replace('-', ":"));
    let MicroTime(micros) = micros.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).ok()?))
}

/// Which of the files in the log's folder are backups that go.
pub(crate) fn expired<'a>(file: &str, names: &'a [String], now: SystemTime, limits: &Limits) -> Vec<&'a str> {
    let mut backups: Vec<(SystemTime, &str)> = names.iter().filter_map(|n| Some((made(file, n)?, n.as_str()))).collect();
    backups.sort_by(|a, b| b.cmp(a));
    let old = |at: SystemTime| limits.age > Duration::ZERO && now.duration_since(at).is_ok_and(|age| age > limits.age);
    let surplus = |i: usize| limits.backups > 0 && i >= limits.backups;
    backups.into_iter().enumerate().filter(|(i, (at, _))| surplus(*i) || old(*at)).map(|(_, (_, name))| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn backups_are_named_counted_and_aged() {
        let day = Duration::from_secs(86400);
        let at = |days: u32| SystemTime::UNIX_EPOCH + day * days + Duration::from_millis(1500);
        assert_eq!(backup_name("audit.log", at(1)), "audit-1970-01-02T00-00-01.500.log");
        assert_eq!(made("audit.log", &backup_name("audit.log", at(1))), Some(at(1)));
        assert_eq!(made("audit", "audit-1970-01-02T00-00-01.500.gz"), Some(at(1)));
        let mut names: Vec<String> = (1..=5).map(|d| backup_name("audit.log", at(d))).collect();
        names.extend(["audit.log", "audit-x.log", "other-1970-01-02T00-00-01.500.log"].map(str::to_owned));
        names[0] += ".gz";
        let limits = |days: u32, backups| Limits { size: 1, age: day * days, backups };
        assert_eq!(expired("audit.log", &names, at(6), &limits(0, 0)), Vec::<&str>::new());
        assert_eq!(expired("audit.log", &names, at(6), &limits(0, 3)), ["audit-1970-01-03T00-00-01.500.log", "audit-1970-01-02T00-00-01.500.log.gz"]);
        assert_eq!(expired("audit.log", &names, at(6), &limits(4, 0)), ["audit-1970-01-02T00-00-01.500.log.gz"]);
        let l = limits(0, 0);
        assert!([l.full(0, 10), l.full(1, 0), l.full(1, 1), Limits { size: 0, ..l }.full(9, 9)] == [false, false, true, false]);
    }
}
