//! A reader of tar streams: ustar, GNU (long names, sparse files, base-256 numbers) and PAX.
//!
//! Our own because image layers carry binary extended attributes in PAX records, which the `tar` crate cuts at a newline,
//! and because it reads extension headers of any size into memory. Extensions are limited here.
//! It gives entries in order and the bytes of their content; it writes nothing.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::error::{Error, Result};

const BLOCK: usize = 512;
/// Longest extension header (long name or PAX records of one entry).
const MAX_EXTENSION: u64 = 1 << 20;
/// Most fragments of one sparse file.
const MAX_SPARSE: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
    /// A type that carries nothing for a file system.
    Other(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    pub major: u32,
    pub minor: u32,
    /// Bytes of content once sparse holes are filled in.
    pub size: u64,
    /// Where the content starts in the stream.
    pub offset: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// (offset, length) of the parts that are in the stream, when the file is sparse.
    pub sparse: Option<Vec<(u64, u64)>>,
}

pub struct TarReader<R> {
    inner: R,
    /// Passes over bytes faster than reading them.
    seek: Option<fn(&mut R, i64) -> io::Result<()>>,
    position: u64,
    /// Content and padding of the present entry that were not read yet.
    remaining: u64,
    padding: u64,
    global: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, seek: None, position: 0, remaining: 0, padding: 0, global: BTreeMap::new() }
    }

    /// For files: content that isn't read is seeked over.
    pub fn seekable(inner: R) -> Self
    where
        R: io::Seek,
    {
        Self { seek: Some(|inner, by| inner.seek_relative(by)), ..Self::new(inner) }
    }

    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut long_name = None;
        let mut long_link = None;
        let mut pax: BTreeMap<Vec<u8>, Vec<u8>> = self.global.clone();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = self.number(&header, 124, 12)?;
            match header[156] {
                b'L' => long_name = Some(trim_nul(self.extension(size)?)),
                b'K' => long_link = Some(trim_nul(self.extension(size)?)),
                b'x' => self.records(size, &mut pax)?,
                b'g' => {
                    let mut global = std::mem::take(&mut self.global);
                    self.records(size, &mut global)?;
                    // An archive could otherwise grow this without bound, a header at a time.
                    if global.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() as u64 > MAX_EXTENSION {
                        return Err(self.damaged("global PAX records are too large"));
                    }
                    pax.extend(global.clone());
                    self.global = global;
                }
                _ => return self.entry(&header, size, long_name, long_link, pax).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        size: u64,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        mut pax: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<Entry> {
        let kind = kind_of(header[156], header);
        let path = pax.remove(b"GNU.sparse.name".as_slice()).or(pax.remove(b"path".as_slice())).or(long_name);
        let link = pax.remove(b"linkpath".as_slice()).or(long_link);
        let size = decimal(&pax, b"size").unwrap_or(size);
        // Links and directories may state a size but have no content.
        let stored = if matches!(kind, Kind::File | Kind::Other(_)) { size } else { 0 };
        self.remaining = stored;
        self.padding = padding(stored);
        let mut entry = Entry {
            path: path.unwrap_or_else(|| header_path(header)),
            link: link.unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
            kind,
            mode: (self.number(header, 100, 8)? & 0o7777) as u32,
            uid: decimal(&pax, b"uid").map_or_else(|| self.number(header, 108, 8), Ok)?,
            gid: decimal(&pax, b"gid").map_or_else(|| self.number(header, 116, 8), Ok)?,
            mtime: match pax.get(b"mtime".as_slice()).and_then(|v| seconds(v)) {
                Some(time) => time,
                None => (signed(&header[136..148]).unwrap_or(0), 0),
            },
            major: self.number(header, 329, 8).unwrap_or(0) as u32,
            minor: self.number(header, 337, 8).unwrap_or(0) as u32,
            size: stored,
            offset: self.position,
            xattrs: Vec::new(),
            sparse: None,
        };
        if kind == Kind::File {
            self.sparse(header, &pax, &mut entry)?;
        }
        for (key, value) in pax {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                entry.xattrs.push((name.to_vec(), value));
            }
        }
        Ok(entry)
    }

    /// Fills in the map of a sparse file: GNU's own type `S`, or PAX records of version 0.0, 0.1 or 1.0.
    fn sparse(&mut self, header: &[u8; BLOCK], pax: &BTreeMap<Vec<u8>, Vec<u8>>, entry: &mut Entry) -> Result<()> {
        let real = decimal(pax, b"GNU.sparse.realsize").or(decimal(pax, b"GNU.sparse.size"));
        let mut map = Vec::new();
        if header[156] == b'S' {
            self.sparse_blocks(header, &mut map)?;
            entry.size = self.number(header, 483, 12)?;
        } else if pax.get(b"GNU.sparse.major".as_slice()).is_some_and(|v| v == b"1") {
            let count = self.line_number()?;
            for _ in 0..count.min(MAX_SPARSE as u64 + 1) {
                map.push((self.line_number()?, self.line_number()?));
            }
            // The map is padded to a whole block.
            let used = entry.size.saturating_sub(self.remaining);
            let mut skip = [0; BLOCK];
            let rest = padding(used).min(self.remaining) as usize;
            self.read_exact_counted(&mut skip[..rest])?;
            entry.size = real.unwrap_or(entry.size);
        } else if let Some(list) = pax.get(b"GNU.sparse.map".as_slice()) {
            let numbers: Vec<u64> = list.split(|b| *b == b',').filter_map(parse_decimal).collect();
            map.extend(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            entry.size = real.unwrap_or(entry.size);
        } else {
            return Ok(());
        }
        let mut end = 0;
        for (offset, length) in &map {
            let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= entry.size);
            end = next.ok_or_else(|| self.damaged("the map of a sparse file is out of order"))?;
        }
        if map.len() > MAX_SPARSE || map.iter().map(|(_, l)| l).sum::<u64>() > self.remaining {
            return Err(self.damaged("the map of a sparse file is larger than its content"));
        }
        entry.offset = self.position;
        entry.sparse = Some(map);
        Ok(())
    }

    fn sparse_blocks(&mut self, header: &[u8; BLOCK], map: &mut Vec<(u64, u64)>) -> Result<()> {
        let mut pairs = |block: &[u8], from: usize, count: usize| -> Option<()> {
            for i in 0..count {
                let at = from + i * 24;
                let (offset, length) = (octal(block.get(at..at + 12)?)?, octal(block.get(at + 12..at + 24)?)?);
                if length > 0 || offset > 0 {
                    map.push((offset, length));
                }
            }
            Some(())
        };
        pairs(header, 386, 4).ok_or_else(|| self.damaged("the map of a sparse file is no number"))?;
        let mut extended = header[482] != 0;
        let mut blocks = 0;
        while extended {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            blocks += 1;
            if pairs(&block, 0, 21).is_none() || blocks * 21 > MAX_SPARSE {
                return Err(self.damaged("the map of a sparse file is no number, or too long"));
            }
            extended = block[504] != 0;
        }
        Ok(())
    }

    fn line_number(&mut self) -> Result<u64> {
        let mut value: u64 = 0;
        for _ in 0..21 {
            let mut byte = [0];
            self.read_exact_counted(&mut byte)?;
            match byte[0] {
                b'\n' => return Ok(value),
                digit @ b'0'..=b'9' => {
                    let digit = u64::from(digit - b'0');
                    value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or_else(|| self.damaged("a number of a sparse map is too large"))?;
                }
                _ => break,
            }
        }
        Err(self.damaged("the map of a sparse file is no number"))
    }

    /// Reads content bytes of the present entry.
    fn read_exact_counted(&mut self, buffer: &mut [u8]) -> Result<()> {
        if buffer.len() as u64 > self.remaining {
            return Err(self.damaged("content ends early"));
        }
        self.remaining -= buffer.len() as u64;
        self.fill(buffer)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.inner.read_exact(buffer).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::Tar { offset: self.position, reason: "the archive ends early" },
            _ => Error::Read { what: "the archive".to_owned(), source },
        })?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// A header block with a right checksum; `None` at a zero block or the end of the stream.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut got = 0;
        while got < BLOCK {
            match self.inner.read(&mut block[got..]) {
                Ok(0) if got == 0 => return Ok(None),
                Ok(0) => return Err(self.damaged("the archive ends inside a header")),
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { what: "the archive".to_owned(), source }),
            }
        }
        self.position += BLOCK as u64;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum: u64 = block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
        if octal(&block[148..156]) != Some(sum) {
            return Err(self.damaged("a header's checksum is wrong"));
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(self.damaged("an extension header is too large"));
        }
        let mut bytes = vec![0; size as usize];
        self.fill(&mut bytes)?;
        self.padding = padding(size);
        Ok(bytes)
    }

    /// PAX records: `length key=value\n`, where the length covers the whole record and values are any bytes.
    fn records(&mut self, size: u64, into: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<()> {
        let bytes = self.extension(size)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && rest.first() != Some(&0) {
            let (record, after) = split_record(rest).ok_or_else(|| self.damaged("a PAX record is malformed"))?;
            if record.1.is_empty() {
                into.remove(record.0);
            } else {
                into.insert(record.0.to_vec(), record.1.to_vec());
            }
            rest = after;
        }
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<()> {
        let mut left = self.remaining.saturating_add(self.padding);
        self.remaining = 0;
        self.padding = 0;
        if let (Some(seek), Ok(by)) = (self.seek, i64::try_from(left)) {
            seek(&mut self.inner, by).map_err(|source| Error::Read { what: "the archive".to_owned(), source })?;
            self.position += left;
            return Ok(());
        }
        let mut buffer = [0; 8 << 10];
        while left > 0 {
            let n = left.min(buffer.len() as u64) as usize;
            self.fill(&mut buffer[..n])?;
            left -= n as u64;
        }
        Ok(())
    }

    fn number(&self, header: &[u8; BLOCK], at: usize, len: usize) -> Result<u64> {
        let field = header.get(at..at + len).unwrap_or_default();
        octal(field).ok_or_else(|| self.damaged("a field of a header is no number"))
    }

    fn damaged(&self, reason: &'static str) -> Error {
        Error::Tar { offset: self.position, reason }
    }
}

/// The content of the present entry as it is stored.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = (buffer.len() as u64).min(self.remaining) as usize;
        if limit == 0 {
            return Ok(0);
        }
        let n = self.inner.read(buffer.get_mut(..limit).unwrap_or_default())?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends inside a file"));
        }
        self.remaining -= n as u64;
        self.position += n as u64;
        Ok(n)
    }
}

fn kind_of(flag: u8, header: &[u8; BLOCK]) -> Kind {
    match flag {
        // Before ustar, a directory was a file whose name ends in a slash.
        b'0' | 0 if until_nul(&header[..100]).ends_with(b"/") => Kind::Directory,
        b'0' | 0 | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => Kind::Other(other),
    }
}

fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = if &header[257..263] == b"ustar\0" { until_nul(&header[345..500]) } else { &[] };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

fn trim_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = until_nul(&bytes).len();
    bytes.truncate(end);
    bytes
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// Octal text, or GNU's big-endian number with the top bit set.
fn octal(field: &[u8]) -> Option<u64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let mut value = u64::from(first & 0x7f);
            for byte in field.get(1..)? {
                value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
            }
            Some(value)
        }
        _ => {
            let mut value: u64 = 0;
            for byte in until_nul(field).trim_ascii() {
                if !(b'0'..=b'7').contains(byte) {
                    return None;
                }
                value = value.checked_mul(8)?.checked_add(u64::from(byte - b'0'))?;
            }
            Some(value)
        }
    }
}

/// Like [`octal`], but a base-256 number may be negative.
fn signed(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(0xff) => {
            let mut value: i64 = -1;
            for byte in field.get(1..)? {
                value = value.checked_mul(256)?.checked_add(i64::from(*byte))?;
            }
            Some(value)
        }
        _ => octal(field).and_then(|v| i64::try_from(v).ok()),
    }
}

fn parse_decimal(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn decimal(pax: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]) -> Option<u64> {
    parse_decimal(pax.get(key)?)
}

/// `123.456789`, possibly negative.
fn seconds(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[expect(clippy::type_complexity, reason = "a record and what follows it")]
fn split_record(bytes: &[u8]) -> Option<((&[u8], &[u8]), &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(parse_decimal(bytes.get(..space)?)?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|b| *b == b'=')?;
    Some(((record.get(..equals)?, record.get(equals + 1..)?), bytes.get(length..)?))
}
