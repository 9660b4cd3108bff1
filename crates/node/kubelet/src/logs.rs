//! Container logs in the CRI format: `<time> <stream> <tag> <text>`, tag F for a whole line, P for a part of one.
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};
use tokio::sync::mpsc;

/// One line of a log file is at most this long (a runtime splits longer ones into parts).
const MAX_LINE: u64 = 1 << 20;
const BLOCK: u64 = 16 << 10;
const POLL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    #[default]
    All,
    Stdout,
    Stderr,
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub follow: bool,
    /// None: from the beginning.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub timestamps: bool,
    pub limit_bytes: Option<u64>,
    pub stream: Stream,
}

pub struct Line<'a> {
    pub time: &'a str,
    pub stderr: bool,
    pub partial: bool,
    pub text: &'a [u8],
}

/// None for what is no line of a log.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stderr = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = parts.next()?.split(|b| *b == b':').next()? == b"P";
    Some(Line { time, stderr, partial, text: parts.next().unwrap_or_default() })
}

/// What a client sees of a line (with its newline, unless it is a part); None when it was filtered out.
fn shown(line: &[u8], o: &Options, starts: bool) -> Option<Vec<u8>> {
    let l = parse(line.strip_suffix(b"\n").unwrap_or(line))?;
    match (o.stream, l.stderr) {
        (Stream::Stdout, true) | (Stream::Stderr, false) => return None,
        _ => {}
    }
    if let Some(since) = o.since
        && l.time.parse::<Timestamp>().is_ok_and(|t| t < since)
    {
        return None;
    }
    let mut out = Vec::with_capacity(l.text.len() + 40);
    if o.timestamps && starts {
        out.extend_from_slice(l.time.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(l.text);
    if !l.partial {
        out.push(b'\n');
    }
    Some(out)
}

/// Where the last `lines` lines of a file begin, reading backwards in blocks; parts of a long line count each, as upstream
/// counts them.
async fn tail_offset(file: &mut tokio::fs::File, lines: u64) -> io::Result<u64> {
    let mut at = file.seek(io::SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(at);
    }
    let mut seen = 0;
    let mut block = Vec::new();
    let end = at;
    while at > 0 {
        let size = BLOCK.min(at);
        at -= size;
        file.seek(io::SeekFrom::Start(at)).await?;
        block.clear();
        (&mut *file).take(size).read_to_end(&mut block).await?;
        for (i, b) in block.iter().enumerate().rev() {
            let position = at + i as u64;
            if *b == b'\n' && position + 1 != end {
                seen += 1;
                if seen == lines {
                    return Ok(position + 1);
                }
            }
        }
    }
    Ok(0)
}

/// Sends the log of a container: the file at `path`, and for a follower those that take its place by rotation. `running` is
/// asked at the end of the file: false ends a follower.
pub async fn send(path: PathBuf, o: Options, mut running: impl FnMut() -> BoxFuture<'static, bool> + Send, to: mpsc::Sender<bytes::Bytes>) -> io::Result<()> {
    let mut file = tokio::fs::File::open(&path).await?;
    let start = match o.tail {
        Some(n) => tail_offset(&mut file, n).await?,
        None => 0,
    };
    file.seek(io::SeekFrom::Start(start)).await?;
    let mut reader = BufReader::with_capacity(32 << 10, file);
    let mut left = o.limit_bytes.unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut starts = true;
    let mut ended = false;
    let mut next = None;
    while left > 0 {
        let n = (&mut reader).take(MAX_LINE - line.len() as u64).read_until(b'\n', &mut line).await?;
        if n > 0 && line.last() == Some(&b'\n') {
            if let Some(mut out) = shown(&line, &o, starts) {
                starts = out.last() == Some(&b'\n');
                out.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= out.len() as u64;
                if to.send(out.into()).await.is_err() {
                    return Ok(());
                }
            }
            line.clear();
            continue;
        }
        if line.len() as u64 >= MAX_LINE {
            line.clear();
            continue;
        }
        if n > 0 {
            continue;
        }
        if !o.follow {
            return Ok(());
        }
        if let Some(file) = next.take() {
            reader = BufReader::with_capacity(32 << 10, file);
            line.clear();
            continue;
        }
        next = reopened(&path, reader.get_ref()).await;
        if next.is_some() {
            // Nothing is written to the old file any more, but its end may not have been read.
            continue;
        }
        if ended {
            return Ok(());
        }
        // Asked before the last read, so that nothing written before the end is missed.
        ended = !running().await;
        if !ended {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = to.closed() => return Ok(()),
            }
        }
    }
    Ok(())
}

/// The file that took the place of the one that is open, after a rotation.
async fn reopened(path: &Path, open: &tokio::fs::File) -> Option<tokio::fs::File> {
    use std::os::unix::fs::MetadataExt;
    let now = tokio::fs::metadata(path).await.ok()?;
    let had = open.metadata().await.ok()?;
    if (now.dev(), now.ino()) == (had.dev(), had.ino()) {
        return None;
    }
    tokio::fs::File::open(path).await.ok()
}

/// The text at the end of a log, for termination messages.
pub async fn last_lines(path: &Path, lines: usize, max: usize) -> io::Result<String> {
    let mut file = tokio::fs::File::open(path).await?;
    let start = tail_offset(&mut file, lines as u64).await?;
    file.seek(io::SeekFrom::Start(start)).await?;
    let mut bytes = Vec::new();
    file.take(4 << 20).read_to_end(&mut bytes).await?;
    let mut kept: VecDeque<u8> = VecDeque::new();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        kept.extend(shown(line, &Options::default(), true).unwrap_or_default());
        while kept.len() > max {
            kept.pop_front();
        }
    }
    Ok(String::from_utf8_lossy(kept.make_contiguous()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.000000000Z stdout F one\n2026-01-01T00:00:02.000000000Z stderr F two\n2026-01-01T00:00:03.000000000Z stdout P thr\n2026-01-01T00:00:03.000000000Z stdout F ee\n";

    async fn read(o: Options) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let (to, mut from) = mpsc::channel(100);
        send(path, o, || Box::pin(async { false }), to).await.unwrap();
        let mut out = Vec::new();
        while let Some(b) = from.recv().await {
            out.extend_from_slice(&b);
        }
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn options() {
        let d = Options::default();
        assert_eq!(read(d.clone()).await, "one\ntwo\nthree\n");
        assert_eq!(read(Options { follow: true, ..d.clone() }).await, "one\ntwo\nthree\n", "a follower ends with the container");
        assert_eq!(read(Options { tail: Some(0), ..d.clone() }).await, "");
        assert_eq!(read(Options { tail: Some(3), ..d.clone() }).await, "two\nthree\n");
        assert_eq!(read(Options { tail: Some(99), ..d.clone() }).await, "one\ntwo\nthree\n");
        assert_eq!(read(Options { limit_bytes: Some(5), ..d.clone() }).await, "one\nt");
        assert_eq!(read(Options { stream: Stream::Stderr, ..d.clone() }).await, "two\n");
        assert_eq!(read(Options { since: Some("2026-01-01T00:00:02Z".parse().unwrap()), ..d.clone() }).await, "two\nthree\n");
        assert_eq!(read(Options { timestamps: true, tail: Some(2), ..d }).await, "2026-01-01T00:00:03.000000000Z three\n");
    }
    #[tokio::test]
    async fn a_follower_loses_nothing_at_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let line = |n: usize| format!("2026-01-01T00:00:01.000000000Z stdout F {n}\n");
        std::fs::write(&path, line(0)).unwrap();
        let at = path.clone();
        let mut asked = 0;
        // Each time that the follower has come to the end, more is written and the file is rotated, before it looks again.
        let running = move || {
            asked += 1;
            let mut old = std::fs::OpenOptions::new().append(true).open(&at).unwrap();
            std::io::Write::write_all(&mut old, line(asked * 2 - 1).as_bytes()).unwrap();
            std::fs::rename(&at, at.with_extension(format!("log.{asked}"))).unwrap();
            std::fs::write(&at, line(asked * 2)).unwrap();
            let more = asked < 5;
            Box::pin(async move { more }) as BoxFuture<'static, bool>
        };
        let (to, mut from) = mpsc::channel(100);
        send(path, Options { follow: true, ..Options::default() }, running, to).await.unwrap();
        let mut out = Vec::new();
        while let Some(b) = from.recv().await {
            out.extend_from_slice(&b);
        }
        assert_eq!(String::from_utf8(out).unwrap(), (0..=10).map(|n| format!("{n}\n")).collect::<String>());
    }
    #[test]
    fn lines_that_are_none() {
        for bad in ["", "x", "t stdin F a", "t stdout"] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
