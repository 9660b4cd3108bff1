//! Reading the whole store at start: rows are streamed, each key's last one wins and is verified.
use crate::disk::{DELETED, Disk, Stored};
use crate::garbage::Garbage;
use crate::open::OpenError;
use bytes::Bytes;
use skiff_meta::Revision;
use skiff_store::{Entry, Indexer, SealError};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub(crate) struct Loaded {
    /// Sorted by key.
    pub entries: Vec<Entry>,
    /// The keys that are in the volatile tier.
    pub volatile: Vec<Arc<str>>,
    pub garbage: Garbage,
    pub reserved: u64,
    pub highest: u64,
    pub compacted: u64,
}

pub(crate) fn load(disk: &Disk, path: &Path, indexer: &dyn Indexer) -> Result<Loaded, OpenError> {
    let failed = |e| OpenError::of("load", path, e);
    let (reserved, compacted) = disk.counters().map_err(failed)?;
    let mut last: HashMap<Arc<str>, Stored> = HashMap::new();
    let mut garbage = Garbage::default();
    let mut highest = 0;
    let take = |mut row: Stored| -> rusqlite::Result<()> {
        highest = highest.max(row.revision);
        if let Some((key, before)) = last.get_key_value(&row.key) {
            row.key = key.clone();
            if before.flags & DELETED == 0 {
                garbage.superseded(row.key.clone(), before.revision, row.revision);
            }
        }
        if row.flags & DELETED != 0 {
            garbage.tombstone(row.key.clone(), row.revision);
        }
        last.insert(row.key.clone(), row);
        Ok(())
    };
    disk.each(false, take).map_err(failed)?;
    let mut volatile = Vec::new();
    let take = |row: Stored| -> rusqlite::Result<()> {
        highest = highest.max(row.revision);
        if last.get(&row.key).is_none_or(|durable| durable.revision < row.revision) {
            volatile.push(row.key.clone());
            last.insert(row.key.clone(), row);
        }
        Ok(())
    };
    disk.each(true, take).map_err(failed)?;
    let mut entries = Vec::with_capacity(last.len());
    for row in last.into_values().filter(|row| row.flags & DELETED == 0) {
        let entry = entry(disk, &row, indexer);
        entries.push(entry.map_err(|why| why.of(path))?);
    }
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(Loaded { entries, volatile, garbage, reserved, highest, compacted })
}

/// Why a row has no entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("{0}: {1}")]
    Sealed(String, SealError),
    #[error("{0}")]
    Damaged(String),
}

impl Unreadable {
    fn of(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Unreadable::Sealed(object, source) => OpenError::Sealed { path, object, source },
            Unreadable::Damaged(why) => OpenError::Corrupt { path, why },
        }
    }
}

/// Makes the entry of a row, and checks that its bytes are what was committed at its revision.
pub(crate) fn entry(disk: &Disk, row: &Stored, indexer: &dyn Indexer) -> Result<Entry, Unreadable> {
    let bytes = disk.decode(row).map_err(|e| Unreadable::Sealed(row.key.to_string(), e))?;
    let digits = row.revision.to_string();
    let stamped = bytes.get(row.at..).is_some_and(|rest| rest.starts_with(digits.as_bytes()));
    if !stamped || bytes.get(row.at + digits.len()).is_some_and(u8::is_ascii_digit) {
        return Err(Unreadable::Damaged(format!("the row of {} at revision {}: its bytes do not carry its revision", row.key, row.revision)));
    }
    let bytes = Bytes::from(bytes);
    let index = Arc::new(indexer.row(&row.key, &bytes));
    Ok(Entry { key: row.key.clone(), bytes, revision: Revision(row.revision), at: row.at, row: index })
}
