//! Opening the state folder: files and their modes, the version, the pragmas.
use crate::{Config, disk::Disk, journal::Journal};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use skiff_store::SealError;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The layout of `state.db` that this build writes.
const VERSION: i64 = 2;
/// "Skif": tells our files from other databases.
const APPLICATION: i64 = 0x536b_6966;

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot {step} {}", path.display())]
    Io { step: &'static str, path: PathBuf, source: io::Error },
    #[error("{} was written by a newer Skiff (layout {found}, this one knows {known}): run that version, or restore a backup", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{} is damaged: {why}. Restore it from a backup, or move it away to begin empty", path.display())]
    Corrupt { path: PathBuf, why: String },
    #[error("cannot open the value of {object} in {}. Nothing was changed: put the key back and start again", path.display())]
    Sealed { path: PathBuf, object: String, source: SealError },
    #[error("{} is not a Skiff datastore", path.display())]
    Foreign { path: PathBuf },
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("the disk of {} is full", path.display())]
    Full { path: PathBuf },
    #[error("cannot {step} {}", path.display())]
    Database { step: &'static str, path: PathBuf, source: rusqlite::Error },
}

impl OpenError {
    /// Sorts SQLite's errors by what the operator can do.
    pub(crate) fn of(step: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, why: source.to_string() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            _ => Self::Database { step, path, source },
        }
    }
}

/// The folder's database, ready for use, and its path.
pub(crate) fn open(config: &Config) -> Result<(Disk, PathBuf), OpenError> {
    let path = config.dir.join("state.db");
    let at = |step, path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { step, path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.dir).map_err(at("make the folder", &config.dir))?;
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(at("open", &path))?;
    untouched(&path)?;
    let conn = connect(&path).map_err(|e| OpenError::of("open", &path, e))?;
    let version = check(&conn, &path)?;
    let log = config.dir.join("state.log");
    match version {
        0 => {
            // What lies beside a new database is of another one.
            match fs::remove_file(&log) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at("remove", &log)(e)),
                _ => {}
            }
            conn.execute_batch(&schema()).map_err(|e| OpenError::of("lay out", &path, e))?;
        }
        1 => conn.execute_batch(FROM_1).map_err(|e| OpenError::of("bring up to this version", &path, e))?,
        _ => {}
    }
    let moved = conn.query_row("SELECT moved FROM state", [], |row| row.get::<_, i64>(0)).map_err(|e| OpenError::of("read the counters of", &path, e))?;
    let journal = Journal::open(&log, moved as u64 + 1).map_err(at("read", &log))?;
    fs::File::open(&config.dir).and_then(|d| d.sync_all()).map_err(at("sync the folder", &config.dir))?;
    Ok((Disk::new(conn, config.sealing.clone(), journal, config.journal_bytes), path))
}

/// One process at a time.
/// A file that is there is not written to: what lays it out is told to a new one only, because SQLite would write the
/// vacuum's mode again at each start, and on a full disk there is no room for it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fresh = fs::metadata(path).is_ok_and(|m| m.len() == 0);
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::ZERO)?;
    conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    if fresh {
        conn.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    // With a rollback journal new pages are written once: what makes commits fast is the log before it. The empty transaction
    // takes the lock that is kept from then on, for a reader's would let others in.
    conn.execute_batch(
        "PRAGMA journal_mode = TRUNCATE;
         PRAGMA synchronous = FULL;
         PRAGMA cache_size = -1024;
         PRAGMA temp_store = MEMORY;
         PRAGMA cell_size_check = ON;
         BEGIN EXCLUSIVE;
         COMMIT;",
    )?;
    Ok(conn)
}

/// Refuses a newer layout by the file's first bytes, before SQLite writes anything. What only the log knows of is
/// found by [`check`].
fn untouched(path: &Path) -> Result<(), OpenError> {
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|f| f.take(72).read_to_end(&mut head));
    read.map_err(|source| OpenError::Io { step: "read the head of", path: path.to_owned(), source })?;
    // <https://www.sqlite.org/fileformat2.html#the_database_header>
    let number = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, |b| i64::from(i32::from_be_bytes(b)));
    match (number(60), number(68)) {
        (found, APPLICATION) if found > VERSION => Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION }),
        _ => Ok(()),
    }
}

/// The layout's version; 0 when the file is new.
fn check(conn: &Connection, path: &Path) -> Result<i64, OpenError> {
    let read = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| OpenError::of("read the version of", path, e));
    let version = read("PRAGMA user_version")?;
    let application = read("PRAGMA application_id")?;
    let tables = read("SELECT count(*) FROM sqlite_master")?;
    match (version, application, tables) {
        (0, 0, 0) => Ok(0),
        (_, APPLICATION, _) if version > VERSION => Err(OpenError::Newer { path: path.to_owned(), found: version, known: VERSION }),
        (1.., APPLICATION, _) => Ok(version),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

/// Layout 1 had no log of its own.
const FROM_1: &str = "BEGIN IMMEDIATE;
     ALTER TABLE state ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;
     PRAGMA user_version = 2;
     COMMIT;";

fn schema() -> String {
    format!(
        "BEGIN IMMEDIATE;
         CREATE TABLE history (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, at INTEGER NOT NULL, flags INTEGER NOT NULL, value BLOB);
         CREATE TABLE volatile (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, at INTEGER NOT NULL, flags INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), reserved INTEGER NOT NULL, compacted INTEGER NOT NULL, moved INTEGER NOT NULL DEFAULT 0);
         INSERT INTO state VALUES (0, 0, 0, 0);
         PRAGMA application_id = {APPLICATION};
         PRAGMA user_version = {VERSION};
         COMMIT;"
    )
}
