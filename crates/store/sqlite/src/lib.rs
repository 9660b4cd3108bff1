//! The embedded datastore: SQLite, one writer thread, group commit
