//! Log files as the Container Runtime Interface wants them: `time stream F|P text`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// A longer line is written in pieces.
const MAX_LINE: usize = 16 << 10;

pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
}

impl Log {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let mut log = Self { path, file: None };
        log.reopen()?;
        Ok(log)
    }

    /// Goes on in a file of the same name, after a rotation a new one.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        self.file = Some(OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path)?);
        Ok(())
    }

    /// A full disk costs lines, never the container.
    fn write(&mut self, text: &[u8]) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(text);
        }
    }
}

/// Cuts one stream into lines. What has no end yet waits here.
pub(crate) struct Lines {
    stream: &'static str,
    partial: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(stream: &'static str) -> Self {
        Self { stream, partial: Vec::new() }
    }

    /// Writes all complete lines of this piece with one call.
    pub(crate) fn feed(&mut self, mut data: &[u8], log: &mut Log) {
        let mut text = Vec::with_capacity(data.len() + 128);
        let time = timestamp(now());
        while !data.is_empty() {
            let end = data.iter().position(|byte| *byte == b'\n');
            let room = MAX_LINE.saturating_sub(self.partial.len());
            let (taken, full) = match end {
                Some(end) if end <= room => (end, true),
                _ => (data.len().min(room), false),
            };
            let (piece, rest) = data.split_at(taken);
            if full || self.partial.len() + taken >= MAX_LINE {
                self.line(&time, full, piece, &mut text);
                data = if full { rest.get(1..).unwrap_or_default() } else { rest };
            } else {
                self.partial.extend_from_slice(piece);
                data = rest;
            }
        }
        log.write(&text);
    }

    fn line(&mut self, time: &str, full: bool, piece: &[u8], text: &mut Vec<u8>) {
        let tag = if full { "F" } else { "P" };
        text.extend_from_slice(format!("{time} {} {tag} ", self.stream).as_bytes());
        text.extend_from_slice(&self.partial);
        text.extend_from_slice(piece);
        text.push(b'\n');
        self.partial = Vec::new();
    }

    /// The stream has ended: what is left is a line without an end.
    pub(crate) fn finish(&mut self, log: &mut Log) {
        if !self.partial.is_empty() {
            let mut text = Vec::new();
            self.line(&timestamp(now()), false, &[], &mut text);
            log.write(&text);
        }
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}

/// RFC 3339 in UTC with nanoseconds.
fn timestamp(nanos: i64) -> String {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March, in cycles of 400 years, put the leap day last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(timestamp(nanos), text);
        }
    }

    /// The tag and text of each line that these pieces make.
    fn lines(pieces: &[&[u8]]) -> Vec<(String, usize)> {
        let folder = std::env::temp_dir().join(format!("skiff-log-{}-{}", std::process::id(), pieces.len()));
        let path = folder.join("0.log");
        let mut log = Log::open(path.clone()).expect("open");
        let mut stream = Lines::new("stdout");
        for piece in pieces {
            stream.feed(piece, &mut log);
        }
        stream.finish(&mut log);
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::remove_dir_all(&folder).expect("clean up");
        text.lines()
            .map(|line| {
                let mut fields = line.splitn(4, ' ').skip(1);
                assert_eq!(fields.next(), Some("stdout"));
                (fields.next().unwrap_or_default().to_owned(), fields.next().unwrap_or_default().len())
            })
            .collect()
    }

    #[test]
    fn lines_are_cut_at_their_ends_and_at_the_limit() {
        let full = |length| ("F".to_owned(), length);
        let part = |length| ("P".to_owned(), length);
        assert_eq!(lines(&[b"a\nbb", b"b\n", b"\n"]), [full(1), full(3), full(0)]);
        assert_eq!(lines(&[b"no end", b""]), [part(6)]);
        let long = vec![b'x'; MAX_LINE + 5];
        assert_eq!(lines(&[&long, b"\n", b"z\n", b""]), [part(MAX_LINE), full(5), full(1)]);
        let exact = vec![b'x'; MAX_LINE];
        assert_eq!(lines(&[&exact, b"\n", b"", b"", b""]), [part(MAX_LINE), full(0)]);
    }
}
