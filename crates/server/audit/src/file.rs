//! The log: one event a line, rotated by size, old files taken away by age and number.
use crate::{
    batch::Batching,
    event,
    outlet::{Form, Mode, Outlet, OutletError, Sink, Truncation},
    rotation::{Limits, backup_name, expired},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Upstream's `--audit-log-*`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogOptions {
    /// `-`: standard output.
    pub path: PathBuf,
    /// Days; 0: for ever.
    pub max_age: u32,
    /// Files; 0: all.
    pub max_backups: usize,
    /// Megabytes; 0: never rotated.
    pub max_size: u64,
    pub compress: bool,
    /// Lines for people instead of JSON.
    pub legacy: bool,
    pub mode: Mode,
    pub batching: Batching,
    pub truncation: Option<Truncation>,
}

impl LogOptions {
    /// Opens the log and starts its worker.
    pub fn open(&self) -> Result<(Outlet, tokio::task::JoinHandle<()>), OutletError> {
        let form = if self.legacy { Form::Line } else { Form::Json };
        if self.path == Path::new("-") {
            return Ok(Outlet::start("log", self.mode, form, self.batching, self.truncation, Output { form }));
        }
        let limits = Limits { size: self.max_size << 20, age: Duration::from_secs(86400) * self.max_age, backups: self.max_backups };
        let log = Log::open(self.path.clone(), limits, self.compress).map_err(|source| OutletError::File { path: self.path.clone(), source })?;
        Ok(Outlet::start("log", self.mode, form, self.batching, self.truncation, Worker { log: Some(log), form }))
    }
}

fn lines(events: &[Bytes], form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(events.iter().map(|e| e.len() + 64).sum());
    for e in events {
        match form {
            Form::Json => out.extend_from_slice(&event::alone(e)),
            Form::Line => out.extend_from_slice(e),
        }
        out.push(b'\n');
    }
    out
}

struct Output {
    form: Form,
}

#[async_trait::async_trait]
impl Sink for Output {
    async fn take(&mut self, events: &[Bytes]) -> Result<(), OutletError> {
        let text = lines(events, self.form);
        let written = tokio::task::spawn_blocking(move || io::stdout().lock().write_all(&text)).await;
        written.map_err(|_| OutletError::Ended)?.map_err(|source| OutletError::File { path: "-".into(), source })
    }
}

struct Worker {
    /// None while it is written to.
    log: Option<Log>,
    form: Form,
}

#[async_trait::async_trait]
impl Sink for Worker {
    async fn take(&mut self, events: &[Bytes]) -> Result<(), OutletError> {
        let (mut log, text) = (self.log.take().ok_or(OutletError::Ended)?, lines(events, self.form));
        let write = move || {
            let written = log.write(&text, SystemTime::now());
            (log, written)
        };
        let (log, written) = tokio::task::spawn_blocking(write).await.map_err(|_| OutletError::Ended)?;
        let path = log.path.clone();
        self.log = Some(log);
        written.map_err(|source| OutletError::File { path, source })
    }
}

struct Log {
    path: PathBuf,
    limits: Limits,
    compress: bool,
    file: File,
    written: u64,
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Log {
    fn open(path: PathBuf, limits: Limits, compress: bool) -> io::Result<Self> {
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let file = append(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { path, limits, compress, file, written })
    }

    fn write(&mut self, text: &[u8], now: SystemTime) -> io::Result<()> {
        // Somebody may have moved or removed it.
        if self.limits.full(self.written, text.len()) || !self.path.exists() {
            self.rotate(now)?;
        }
        self.file.write_all(text)?;
        self.written += text.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let name = self.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        if self.path.exists() {
            let backup = dir.join(backup_name(&name, now));
            std::fs::rename(&self.path, &backup)?;
            if self.compress {
                pack(&backup)?;
            }
        }
        self.file = append(&self.path)?;
        self.written = 0;
        let names: Vec<String> = std::fs::read_dir(&dir)?.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        for old in expired(&name, &names, now, &self.limits) {
            std::fs::remove_file(dir.join(old))?;
        }
        Ok(())
    }
}

fn pack(path: &Path) -> io::Result<()> {
    let mut to = path.as_os_str().to_owned();
    to.push(".gz");
    let mut encoder = GzEncoder::new(append(Path::new(&to))?, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, os::unix::fs::PermissionsExt};

    #[test]
    fn logs_are_rotated_and_packed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/audit.log");
        let limits = Limits { size: 10, age: Duration::ZERO, backups: 2 };
        let mut log = Log::open(path.clone(), limits, true).unwrap();
        for second in 0..5 {
            log.write(b"1234567\n", SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        }
        let mut names: Vec<String> = std::fs::read_dir(dir.path().join("sub")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["audit-1970-01-01T00-00-03.000.log.gz", "audit-1970-01-01T00-00-04.000.log.gz", "audit.log"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(dir.path().join("sub").join(&names[0])).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "1234567\n");
        // It is there again when somebody took it away.
        std::fs::remove_file(&path).unwrap();
        log.write(b"x\n", SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
    }

    #[tokio::test]
    async fn events_are_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let options = LogOptions {
            path: path.clone(),
            max_age: 0,
            max_backups: 0,
            max_size: 0,
            compress: false,
            legacy: false,
            mode: Mode::Blocking,
            batching: Batching::LOG,
            truncation: None,
        };
        let (outlet, worker) = options.open().unwrap();
        for _ in 0..2 {
            assert!(outlet.put(&event::Event::default(), crate::Stage::ResponseComplete, SystemTime::UNIX_EPOCH, &Default::default()).await);
        }
        drop(outlet);
        worker.await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|l| l.starts_with(r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"None""#)).count(), 2, "{text}");
    }
}
