//! The statements: everything that is said to SQLite once it is open.
use crate::journal::{Journal, Row};
use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use skiff_store::{Entry, SealError, Sealing, StoreError};
use std::io;
use std::sync::Arc;

/// The row says that the key was deleted; it has no value.
pub(crate) const DELETED: i64 = 1;
/// The value is what [`Sealing::seal`] made of it.
pub(crate) const SEALED: i64 = 2;

pub(crate) struct Disk {
    pub(crate) conn: Connection,
    pub(crate) sealing: Arc<dyn Sealing>,
    journal: Journal,
    /// What is in the journal and not in the database: the newest rows, in order.
    pending: Vec<Row>,
    /// When the journal is moved into the database.
    journal_bytes: usize,
}

/// A row as it lies on the disk.
pub(crate) struct Stored {
    pub revision: u64,
    pub key: Arc<str>,
    pub at: usize,
    pub flags: i64,
    /// None of a deletion.
    pub value: Option<Vec<u8>>,
}

/// One transaction's content.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    /// New rows of history; true: the key is deleted.
    pub rows: Vec<(&'a Entry, bool)>,
    /// The volatile tier's keys to write, or to take away.
    pub volatile: Vec<(Arc<str>, Option<Entry>)>,
    pub reserved: Option<u64>,
    /// Rows of history to delete.
    pub dead: &'a [u64],
    pub compacted: Option<u64>,
}

impl Batch<'_> {
    /// Whether it is new rows and nothing else.
    fn is_history(&self) -> bool {
        !self.rows.is_empty() && self.volatile.is_empty() && self.reserved.is_none() && self.dead.is_empty() && self.compacted.is_none()
    }
}

impl From<&Row> for Stored {
    fn from(row: &Row) -> Self {
        Self { revision: row.revision, key: row.key.clone(), at: row.at, flags: row.flags, value: row.value.as_deref().map(<[u8]>::to_vec) }
    }
}

fn journal_failed(step: &'static str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { step },
        _ => StoreError::Broken { step, why: error.to_string().into() },
    }
}

pub(crate) fn failed(step: &'static str, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { step },
        _ => StoreError::Broken { step, why: error.to_string().into() },
    }
}

impl Disk {
    pub fn new(conn: Connection, sealing: Arc<dyn Sealing>, (journal, pending): (Journal, Vec<Row>), journal_bytes: usize) -> Self {
        Self { conn, sealing, journal, pending, journal_bytes }
    }

    /// Writes the batch whole or not at all. When this returns Ok it is on the disk; when not, nothing of it is.
    pub fn write(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let rows = batch.rows.iter().map(|(entry, deleted)| self.row_of(entry, *deleted)).collect::<Result<Vec<_>, _>>()?;
        if !batch.is_history() {
            return self.commit(batch, &rows);
        }
        if self.journal.len() >= self.journal_bytes as u64 {
            self.settle()?;
        }
        self.journal.append(&rows).map_err(|e| journal_failed("append to the log", &e))?;
        self.pending.extend(rows);
        Ok(())
    }

    fn row_of(&self, entry: &Entry, deleted: bool) -> Result<Row, StoreError> {
        let (flags, value) = match deleted {
            true => (DELETED, None),
            false => {
                let (flags, sealed) = encode(&*self.sealing, &entry.key, &entry.bytes)?;
                (flags, Some(sealed.map_or_else(|| entry.bytes.clone(), Bytes::from)))
            }
        };
        Ok(Row { revision: entry.revision.0, key: entry.key.clone(), at: entry.at, flags, value })
    }

    /// Moves the journal into the database.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() { Ok(()) } else { self.commit(&Batch::default(), &[]) }
    }

    /// The same, and takes what lay in the journal off the disk.
    pub fn clear_journal(&mut self) -> Result<(), StoreError> {
        self.settle()?;
        self.journal.clear().map_err(|e| journal_failed("clear the log", &e))
    }

    /// What is pending, `rows` and the rest of the batch in one transaction of the database.
    fn commit(&mut self, batch: &Batch<'_>, rows: &[Row]) -> Result<(), StoreError> {
        let begun = self.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = begun.map_err(|e| failed("begin a transaction", e))?;
        if self.pending.len() + rows.len() > 0 {
            let mut insert = prepare(&tx, "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for r in self.pending.iter().chain(rows) {
                let row = params![r.revision as i64, &*r.key, r.at as i64, r.flags, r.value.as_deref()];
                insert.execute(row).map_err(|e| failed("append to the history", e))?;
            }
        }
        for (key, entry) in &batch.volatile {
            match entry {
                Some(entry) => {
                    let (flags, value) = encode(&*self.sealing, &entry.key, &entry.bytes)?;
                    let value = value.as_deref().unwrap_or(&entry.bytes);
                    prepare(&tx, "INSERT OR REPLACE INTO volatile VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                        &**key,
                        entry.revision.0 as i64,
                        entry.at as i64,
                        flags,
                        value
                    ])
                }
                None => prepare(&tx, "DELETE FROM volatile WHERE key = ?1")?.execute([&**key]),
            }
            .map_err(|e| failed("checkpoint the volatile tier", e))?;
        }
        if !batch.dead.is_empty() {
            let mut delete = prepare(&tx, "DELETE FROM history WHERE revision = ?1")?;
            for row in batch.dead {
                delete.execute([*row as i64]).map_err(|e| failed("compact the history", e))?;
            }
        }
        for (sql, value) in [
            ("UPDATE state SET reserved = ?1", batch.reserved),
            ("UPDATE state SET compacted = ?1", batch.compacted),
            // Even when nothing is: what a failed append left there is not to come back behind this.
            ("UPDATE state SET moved = ?1", Some(self.journal.number())),
        ] {
            if let Some(value) = value {
                prepare(&tx, sql)?.execute([value as i64]).map_err(|e| failed("write the counters", e))?;
            }
        }
        tx.commit().map_err(|e| failed("commit", e))?;
        self.journal.moved();
        // A burst need not be remembered by what it took.
        self.pending = Vec::new();
        Ok(())
    }

    /// The reserved mark and the compacted revision.
    pub fn counters(&self) -> rusqlite::Result<(u64, u64)> {
        self.conn.query_row("SELECT reserved, compacted FROM state", [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))
    }

    /// Hands every row of the history (in the order of revisions) or of the volatile tier to `take`; the journal's are the
    /// newest.
    pub fn each<E: From<rusqlite::Error>>(&self, volatile: bool, mut take: impl FnMut(Stored) -> Result<(), E>) -> Result<(), E> {
        let mut statement = self.conn.prepare(match volatile {
            false => "SELECT revision, key, at, flags, value FROM history ORDER BY revision",
            true => "SELECT revision, key, at, flags, value FROM volatile ORDER BY key",
        })?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(stored(row)?)?;
        }
        if volatile { Ok(()) } else { self.pending.iter().try_for_each(|row| take(row.into())) }
    }

    pub fn row(&self, revision: u64) -> Result<Option<Stored>, StoreError> {
        if let Ok(at) = self.pending.binary_search_by_key(&revision, |r| r.revision) {
            return Ok(self.pending.get(at).map(Stored::from));
        }
        prepare(&self.conn, "SELECT revision, key, at, flags, value FROM history WHERE revision = ?1")?
            .query_row([revision as i64], stored)
            .optional()
            .map_err(|e| failed("read the history", e))
    }

    /// The object's bytes as they were committed.
    pub fn decode(&self, row: &Stored) -> Result<Vec<u8>, SealError> {
        let value = row.value.as_deref().unwrap_or_default();
        if row.flags & SEALED == 0 { Ok(value.to_vec()) } else { self.sealing.open(&row.key, value) }
    }

    /// Gives free pages back when they are many.
    pub fn tidy(&self) -> Result<(), StoreError> {
        let count = |sql| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| failed("look for free pages", e));
        let (free, pages) = (count("PRAGMA freelist_count")?, count("PRAGMA page_count")?);
        if free > 1024 && free > pages / 4 {
            self.run("give free pages back", "PRAGMA incremental_vacuum(1024)")?;
        }
        Ok(())
    }

    pub(crate) fn run(&self, step: &'static str, sql: &str) -> Result<(), StoreError> {
        let mut statement = self.conn.prepare(sql).map_err(|e| failed(step, e))?;
        let mut rows = statement.query([]).map_err(|e| failed(step, e))?;
        while rows.next().map_err(|e| failed(step, e))?.is_some() {}
        Ok(())
    }

    pub fn close(mut self) -> Result<(), StoreError> {
        // It is safe where it is, and the next start finds it there.
        if let Err(error) = self.clear_journal() {
            tracing::warn!(target: "store", %error, "the log stays beside the database");
        }
        self.conn.close().map_err(|(_, e)| failed("close", e))
    }
}

pub(crate) fn prepare<'c>(conn: &'c Connection, sql: &str) -> Result<CachedStatement<'c>, StoreError> {
    conn.prepare_cached(sql).map_err(|e| failed("prepare a statement", e))
}

/// Flags and, when it is not the object's own bytes, the value to store.
pub(crate) fn encode(sealing: &dyn Sealing, key: &str, bytes: &[u8]) -> Result<(i64, Option<Vec<u8>>), StoreError> {
    let sealed = sealing.seal(key, bytes).map_err(|e| StoreError::Broken { step: "seal a value", why: format!("{key}: {e}").into() })?;
    Ok((if sealed.is_some() { SEALED } else { 0 }, sealed))
}

pub(crate) fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        revision: row.get::<_, i64>(0)? as u64,
        key: row.get::<_, String>(1)?.into(),
        at: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(usize::MAX),
        flags: row.get(3)?,
        value: row.get(4)?,
    })
}
