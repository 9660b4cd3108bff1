//! `state.log`: commits that the database does not have yet.
//!
//! A commit alone changes a leaf of the history's tree, often its inner pages and the file's head, too: three pages on the
//! average, and each goes to SQLite's log first. So commits are appended here, one record a group, and go into the database
//! many at a time. The database counts these moves (`state.moved`): records carry the number of the move that is to come, so
//! that what was moved is never taken for news, though it lies here until it is overwritten.
//!
//! A record: the length of its rows and their checksum (of the records before it, too), then the rows. Reading ends at the
//! first that is torn, foreign or of another number.
use crate::disk::{DELETED, SEALED};
use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// Bytes in front of a record's rows.
const HEAD: usize = 16;

/// A row of the history on its way to the database.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub revision: u64,
    pub key: Arc<str>,
    pub at: usize,
    pub flags: i64,
    /// None of a deletion.
    pub value: Option<Bytes>,
}

pub(crate) struct Journal {
    file: File,
    /// Where the next record goes.
    end: u64,
    /// The number of the move that will take these records.
    number: u64,
    sum: Sum,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the file, and reads what move number `number` has still to take.
    pub fn open(path: &Path, number: u64) -> io::Result<(Self, Vec<Row>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut journal = Self { file, end: 0, number, sum: Sum::begin(number), buffer: Vec::new() };
        let rows = journal.read()?;
        Ok((journal, rows))
    }

    fn read(&mut self) -> io::Result<Vec<Row>> {
        let mut all = Vec::new();
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, 0)?;
        let mut rest = bytes.as_slice();
        while let Some((rows, sum, behind)) = record(rest, self.sum) {
            all.extend(rows);
            self.end += (rest.len() - behind.len()) as u64;
            (self.sum, rest) = (sum, behind);
        }
        Ok(all)
    }

    /// Bytes of the records that are to be moved.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Appends a record. When this returns Ok it is on the disk; when not, the next one takes its place.
    pub fn append(&mut self, rows: &[Row]) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.resize(HEAD, 0);
        rows.iter().for_each(|r| write(r, &mut self.buffer));
        let length = self.buffer.len() - HEAD;
        let sum = self.sum.of(self.buffer.get(HEAD..).unwrap_or_default());
        let head = (length as u64).to_le_bytes().into_iter().chain(sum.bytes());
        self.buffer.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        self.file.write_all_at(&self.buffer, self.end)?;
        self.file.sync_data()?;
        self.end += self.buffer.len() as u64;
        self.sum = sum;
        // A large group is seldom followed by another.
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// The database has it all: what follows is for the next move.
    pub fn moved(&mut self) {
        self.number += 1;
        self.end = 0;
        self.sum = Sum::begin(self.number);
    }
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Takes what was moved off the disk.
    pub fn clear(&self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.sync_data()
    }
}

/// SQLite's checksum of its log: <https://www.sqlite.org/fileformat2.html#checksum_algorithm>.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sum(u32, u32);

impl Sum {
    fn begin(number: u64) -> Self {
        Self(number as u32 ^ 0x536b_6966, (number >> 32) as u32 ^ 0x6c6f_6731)
    }
    /// Of this and what came before it.
    fn of(self, bytes: &[u8]) -> Self {
        let Self(mut a, mut b) = self;
        let mut step = |x: u32, y: u32| {
            a = a.wrapping_add(x).wrapping_add(b);
            b = b.wrapping_add(y).wrapping_add(a);
        };
        let (pairs, rest) = bytes.as_chunks::<8>();
        for [p, q, r, s, t, u, v, w] in pairs {
            step(u32::from_le_bytes([*p, *q, *r, *s]), u32::from_le_bytes([*t, *u, *v, *w]));
        }
        for byte in rest {
            step(u32::from(*byte), 1);
        }
        step(bytes.len() as u32, 0);
        Self(a, b)
    }
    fn bytes(self) -> impl Iterator<Item = u8> {
        self.0.to_le_bytes().into_iter().chain(self.1.to_le_bytes())
    }
}

fn write(row: &Row, out: &mut Vec<u8>) {
    let mut part = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    part(row.key.as_bytes());
    part(row.value.as_deref().unwrap_or_default());
    for number in [row.revision, row.at as u64, row.flags as u64] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// The rows of the first record, the sum up to its end, and what is behind it.
fn record(bytes: &[u8], before: Sum) -> Option<(Vec<Row>, Sum, &[u8])> {
    let (length, rest) = number(bytes)?;
    let (told, rest) = rest.split_at_checked(8)?;
    let length = usize::try_from(length).ok().filter(|n| *n > 0)?;
    let (mut rows, behind) = rest.split_at_checked(length)?;
    let sum = before.of(rows);
    if !sum.bytes().eq(told.iter().copied()) {
        return None;
    }
    let mut all = Vec::new();
    while !rows.is_empty() {
        let (key, rest) = part(rows)?;
        let (value, rest) = part(rest)?;
        let (revision, rest) = number(rest)?;
        let (at, rest) = number(rest)?;
        let (flags, rest) = number(rest)?;
        let flags = i64::try_from(flags).ok().filter(|f| f & !(DELETED | SEALED) == 0)?;
        let value = (flags & DELETED == 0).then(|| Bytes::copy_from_slice(value));
        all.push(Row { revision, key: std::str::from_utf8(key).ok()?.into(), at: usize::try_from(at).ok()?, flags, value });
        rows = rest;
    }
    Some((all, sum, behind))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(revision: u64, value: Option<&str>) -> Row {
        let value = value.map(|v| Bytes::from(v.to_owned()));
        Row { revision, key: format!("pods/a/{revision}").into(), at: 3, flags: if value.is_none() { DELETED } else { 0 }, value }
    }

    fn read(path: &Path, number: u64) -> Vec<u64> {
        Journal::open(path, number).unwrap().1.iter().map(|r| r.revision).collect()
    }

    #[test]
    fn what_was_appended_is_read_again_until_it_is_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut journal, none) = Journal::open(&path, 7).unwrap();
        assert!(none.is_empty());
        let rows = [row(1, Some("x")), row(2, None), row(3, Some(""))];
        journal.append(&rows).unwrap();
        journal.append(&[row(4, Some(&"y".repeat(9001)))]).unwrap();
        let (mut again, all) = Journal::open(&path, 7).unwrap();
        assert_eq!((all.get(..3), all.len(), again.len()), (Some(&rows[..]), 4, journal.len()));
        again.append(&[row(5, None)]).unwrap();
        assert_eq!(read(&path, 7), [1, 2, 3, 4, 5]);
        assert!(read(&path, 8).is_empty(), "these were for another move");
        again.moved();
        again.append(&[row(6, Some("z"))]).unwrap();
        assert_eq!((read(&path, 8), read(&path, 7).len()), (vec![6], 0));
        again.moved();
        again.clear().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn reading_ends_where_it_is_harmed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut journal, _) = Journal::open(&path, 1).unwrap();
        let ends: Vec<usize> = (1..=6)
            .map(|n| {
                journal.append(&[row(n, Some(&"v".repeat(n as usize * 100)))]).unwrap();
                journal.len() as usize
            })
            .collect();
        let whole = std::fs::read(&path).unwrap();
        let kept = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path, 1).len()
        };
        for at in 0..whole.len() {
            let before = ends.iter().take_while(|end| **end <= at).count();
            assert_eq!(kept(&whole[..at]), before, "cut at {at}");
            let mut scribbled = whole.clone();
            scribbled[at] ^= 0x40;
            assert_eq!(kept(&scribbled), before, "scribbled at {at}");
        }
        assert_eq!(kept(&[&whole[..], &[0xa5; 500]].concat()), 6);
        assert_eq!(kept(&[&whole[..], &whole[..]].concat()), 6, "a record in another's place");
        assert_eq!(kept(&[0; 4096]), 0);
    }
}
