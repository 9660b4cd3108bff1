//! Walking over what is at rest, to tell how it is sealed and to seal anew what is stale.
//!
//! A row is rewritten in place: its revision and its object's bytes stay, so nobody but the disk notices. A walk goes in
//! small steps between commits; what is committed meanwhile is sealed with today's settings anyway. What the old form
//! left in free pages is overwritten (`secure_delete`).
use crate::disk::{DELETED, Disk, SEALED, Stored, encode, failed, prepare, stored};
use crate::writer::Reply;
use rusqlite::{TransactionBehavior, params};
use skiff_store::{SealError, Sealed, Sealing, StoreError};

/// Rows a step reads: a few milliseconds between groups.
const STEP: usize = 128;

pub(crate) struct Walk {
    again: bool,
    pub reply: Reply<Sealed>,
    found: Sealed,
    place: Place,
}

/// Where the walk is: behind a revision of the history, or behind a key of the volatile tier.
enum Place {
    History(u64),
    Volatile(String),
}

impl Walk {
    pub fn new(again: bool, reply: Reply<Sealed>) -> Self {
        Self { again, reply, found: Sealed::default(), place: Place::History(0) }
    }

    /// One step; Some at the end.
    pub fn step(&mut self, disk: &mut Disk) -> Result<Option<Sealed>, StoreError> {
        // What was sealed before goes from the log, too.
        if matches!(self.place, Place::History(0)) && self.again {
            disk.clear_journal()?
        } else {
            disk.settle()?
        }
        let rows = read(disk, &self.place)?;
        let volatile = matches!(self.place, Place::Volatile(_));
        let mut changed = Vec::new();
        for row in rows.iter().filter(|r| r.flags & DELETED == 0) {
            match look(&*disk.sealing, row, self.again) {
                Look::Fresh(label) => count(&mut self.found, label),
                Look::Stale(label) => {
                    self.found.stale += 1;
                    count(&mut self.found, label);
                }
                Look::Renewed(flags, value) => {
                    count(&mut self.found, (flags & SEALED != 0).then(|| disk.sealing.label(&value)));
                    changed.push((row, flags, value));
                }
                Look::Failed(label, error) => {
                    self.found.stale += 1;
                    count(&mut self.found, label);
                    self.found.failed.get_or_insert_with(|| (row.key.to_string(), error));
                }
            }
        }
        if !changed.is_empty() {
            write(disk, volatile, &changed)?;
        }
        match rows.last() {
            Some(last) => {
                self.place = if volatile { Place::Volatile(last.key.to_string()) } else { Place::History(last.revision) };
                Ok(None)
            }
            None if !volatile => {
                self.place = Place::Volatile(String::new());
                Ok(None)
            }
            None => Ok(Some(std::mem::take(&mut self.found))),
        }
    }
}

enum Look {
    Fresh(Option<String>),
    Stale(Option<String>),
    /// Flags and the value as it is to lie.
    Renewed(i64, Vec<u8>),
    Failed(Option<String>, SealError),
}

fn look(sealing: &dyn Sealing, row: &Stored, again: bool) -> Look {
    let value = row.value.as_deref().unwrap_or_default();
    let sealed = (row.flags & SEALED != 0).then_some(value);
    let label = sealed.map(|s| sealing.label(s));
    if sealing.fresh(&row.key, sealed) {
        return Look::Fresh(label);
    }
    if !again {
        return Look::Stale(label);
    }
    let plain = match sealed.map(|s| sealing.open(&row.key, s)) {
        Some(Err(error)) => return Look::Failed(label, error),
        Some(Ok(plain)) => plain,
        None => value.to_vec(),
    };
    match encode(sealing, &row.key, &plain) {
        Ok((flags, value)) => Look::Renewed(flags, value.unwrap_or(plain)),
        Err(e) => Look::Failed(label, SealError::Provider { provider: "the first provider".into(), why: e.to_string() }),
    }
}

fn count(found: &mut Sealed, label: Option<String>) {
    if let Some(label) = label {
        *found.by.entry(label).or_default() += 1;
    }
}

fn read(disk: &Disk, place: &Place) -> Result<Vec<Stored>, StoreError> {
    let step = "read what is at rest";
    let (sql, from): (_, &dyn rusqlite::ToSql) = match place {
        Place::History(revision) => ("SELECT revision, key, at, flags, value FROM history WHERE revision > ?1 ORDER BY revision LIMIT ?2", &(*revision as i64)),
        Place::Volatile(key) => ("SELECT revision, key, at, flags, value FROM volatile WHERE key > ?1 ORDER BY key LIMIT ?2", key),
    };
    let mut statement = prepare(&disk.conn, sql)?;
    let rows = statement.query_map(params![from, STEP as i64], stored).map_err(|e| failed(step, e))?;
    rows.collect::<Result<_, _>>().map_err(|e| failed(step, e))
}

fn write(disk: &mut Disk, volatile: bool, changed: &[(&Stored, i64, Vec<u8>)]) -> Result<(), StoreError> {
    let step = "seal values anew";
    disk.run(step, "PRAGMA secure_delete = ON")?;
    let done = (|| {
        let tx = disk.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| failed(step, e))?;
        for (row, flags, value) in changed {
            let sql = if volatile {
                "UPDATE volatile SET flags = ?1, value = ?2 WHERE key = ?3 AND revision = ?4"
            } else {
                "UPDATE history SET flags = ?1, value = ?2 WHERE key = ?3 AND revision = ?4"
            };
            prepare(&tx, sql)?.execute(params![flags, value, &*row.key, row.revision as i64]).map_err(|e| failed(step, e))?;
        }
        tx.commit().map_err(|e| failed(step, e))
    })();
    done.and(disk.run(step, "PRAGMA secure_delete = OFF"))
}
