//! Name/value blocks, compressed with zlib and the dictionary of the specification (section 2.6.10).
//!
//! One compressor and one decompressor live as long as the connection: each block continues the last.
use super::FrameError;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

static DICTIONARY: &[u8] = include_bytes!("../dictionary.bin");
/// A block is at most this long when unpacked.
const MAX_BLOCK: usize = 256 << 10;
const MAX_PAIRS: u32 = 1024;

pub type Headers = Vec<(String, String)>;

pub struct Inflater(Decompress);

impl Inflater {
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }
    pub fn block(&mut self, mut input: &[u8]) -> Result<Headers, FrameError> {
        let mut out = Vec::with_capacity(1024);
        loop {
            if out.len() == out.capacity() {
                if out.len() >= MAX_BLOCK {
                    return Err(FrameError::TooLong("header block"));
                }
                out.reserve(out.len().max(1024));
            }
            let before = (self.0.total_in(), out.len());
            let result = self.0.decompress_vec(input, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.0.total_in() - before.0).unwrap_or(input.len());
            input = input.get(used..).unwrap_or_default();
            match result {
                Ok(Status::StreamEnd) => return parse(&out),
                Ok(_) if input.is_empty() && out.len() < out.capacity() => return parse(&out),
                Ok(_) if used == 0 && out.len() == before.1 && out.len() < out.capacity() => return Err(FrameError::Compression),
                Ok(_) => {}
                Err(e) if e.needs_dictionary().is_some() => {
                    self.0.set_dictionary(DICTIONARY).map_err(|_| FrameError::Compression)?;
                }
                Err(_) => return Err(FrameError::Compression),
            }
        }
    }
}

pub struct Deflater(Compress);

impl Deflater {
    pub fn new() -> Result<Self, FrameError> {
        let mut c = Compress::new(Compression::default(), true);
        c.set_dictionary(DICTIONARY).map_err(|_| FrameError::Compression)?;
        Ok(Self(c))
    }
    pub fn block(&mut self, headers: &[(String, String)]) -> Result<Vec<u8>, FrameError> {
        let plain = plain(headers);
        let mut out = Vec::with_capacity(plain.len() + 128);
        let mut input = plain.as_slice();
        loop {
            let before = self.0.total_in();
            self.0.compress_vec(input, &mut out, FlushCompress::Sync).map_err(|_| FrameError::Compression)?;
            let used = usize::try_from(self.0.total_in() - before).unwrap_or(input.len());
            input = input.get(used..).unwrap_or_default();
            if input.is_empty() && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(out.len() + 128);
        }
    }
}

fn plain(headers: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |s: &[u8]| {
        out.extend_from_slice(&(s.len() as u32).to_be_bytes());
        out.extend_from_slice(s);
    };
    for (k, v) in headers {
        put(k.to_lowercase().as_bytes());
        put(v.as_bytes());
    }
    let mut block = (headers.len() as u32).to_be_bytes().to_vec();
    block.extend(out);
    block
}

fn parse(block: &[u8]) -> Result<Headers, FrameError> {
    fn number(b: &mut &[u8]) -> Result<u32, FrameError> {
        let (n, rest) = b.split_first_chunk::<4>().ok_or(FrameError::Short)?;
        *b = rest;
        Ok(u32::from_be_bytes(*n))
    }
    fn text(b: &mut &[u8]) -> Result<String, FrameError> {
        let n = number(b)? as usize;
        let (s, rest) = b.split_at_checked(n).ok_or(FrameError::Short)?;
        *b = rest;
        Ok(String::from_utf8_lossy(s).into_owned())
    }
    let mut b = block;
    let pairs = number(&mut b)?;
    if pairs > MAX_PAIRS {
        return Err(FrameError::TooLong("header list"));
    }
    (0..pairs).map(|_| Ok((text(&mut b)?, text(&mut b)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn blocks_continue_each_other() {
        let (mut d, mut i) = (Deflater::new().unwrap(), Inflater::new());
        for n in 0..20 {
            let h = vec![("streamtype".to_owned(), "stdin".to_owned()), ("requestid".to_owned(), n.to_string()), ("x".to_owned(), "y".repeat(n * 100))];
            let packed = d.block(&h).unwrap();
            assert_eq!(i.block(&packed).unwrap(), h);
        }
        assert_eq!(i.block(&d.block(&[]).unwrap()).unwrap(), vec![]);
    }
    #[test]
    fn garbage_is_an_error() {
        assert!(Inflater::new().block(b"\xff\xff\xff").is_err());
        assert!(parse(&[0, 0, 0, 1, 0, 0, 0, 9]).is_err());
        assert!(parse(&[255, 255, 255, 255]).is_err());
    }
}
