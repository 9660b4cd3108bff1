//! Frames (SPDY/3.1, section 2.2).
use super::headers::{Deflater, Headers, Inflater};
use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A frame's payload is at most this long; clients write 32 KiB at a time.
const MAX_FRAME: usize = 4 << 20;
const FIN: u8 = 1;

#[derive(Debug, Error)]
pub enum FrameError {
    #[error("read a SPDY frame")]
    Io(#[from] std::io::Error),
    #[error("a SPDY frame ends too early")]
    Short,
    #[error("the {0} of a SPDY frame is too long")]
    TooLong(&'static str),
    #[error("the headers of a SPDY frame can't be unpacked")]
    Compression,
    #[error("SPDY version {0} is not spoken")]
    Version(u16),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        id: u32,
        headers: Headers,
        fin: bool,
    },
    SynReply {
        id: u32,
        fin: bool,
    },
    Rst {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    Data {
        id: u32,
        bytes: Bytes,
        fin: bool,
    },
    /// Settings, windows, further headers: nothing that matters here.
    Other,
}

fn word(b: &[u8], at: usize) -> Result<u32, FrameError> {
    let bytes = b.get(at..).and_then(|b| b.first_chunk::<4>()).ok_or(FrameError::Short)?;
    Ok(u32::from_be_bytes(*bytes))
}

/// None at a clean end.
pub async fn read<R: AsyncRead + Unpin>(r: &mut R, inflate: &mut Inflater) -> Result<Option<Frame>, FrameError> {
    let mut head = [0u8; 8];
    let n = r.read(&mut head[..1]).await?;
    if n == 0 {
        return Ok(None);
    }
    r.read_exact(&mut head[1..]).await?;
    let (first, second) = (word(&head, 0)?, word(&head, 4)?);
    let flags = (second >> 24) as u8;
    let length = (second & 0x00ff_ffff) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong("payload"));
    }
    let mut payload = vec![0u8; length];
    r.read_exact(&mut payload).await?;
    let fin = flags & FIN != 0;
    if first & 0x8000_0000 == 0 {
        return Ok(Some(Frame::Data { id: first, bytes: payload.into(), fin }));
    }
    let version = (first >> 16 & 0x7fff) as u16;
    if version != 3 {
        return Err(FrameError::Version(version));
    }
    let id = || word(&payload, 0).map(|id| id & 0x7fff_ffff);
    let block = |at: usize| payload.get(at..).ok_or(FrameError::Short);
    Ok(Some(match first & 0xffff {
        1 => Frame::SynStream { id: id()?, headers: inflate.block(block(10)?)?, fin },
        2 => {
            inflate.block(block(4)?)?;
            Frame::SynReply { id: id()?, fin }
        }
        3 => Frame::Rst { id: id()? },
        6 => Frame::Ping { id: word(&payload, 0)? },
        7 => Frame::GoAway,
        8 => {
            inflate.block(block(4)?)?;
            Frame::Other
        }
        _ => Frame::Other,
    }))
}

fn control(kind: u16, flags: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + payload.len());
    out.put_u16(0x8003);
    out.put_u16(kind);
    out.put_u32(u32::from(flags) << 24 | payload.len() as u32);
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
pub fn syn_stream(deflate: &mut Deflater, id: u32, headers: &[(String, String)], fin: bool) -> Result<Bytes, FrameError> {
    let mut p = id.to_be_bytes().to_vec();
    p.extend([0; 6]);
    p.extend(deflate.block(headers)?);
    Ok(control(1, u8::from(fin), &p))
}
pub fn syn_reply(deflate: &mut Deflater, id: u32) -> Result<Bytes, FrameError> {
    let mut p = id.to_be_bytes().to_vec();
    p.extend(deflate.block(&[])?);
    Ok(control(2, 0, &p))
}
pub fn ping(id: u32) -> Bytes {
    control(6, 0, &id.to_be_bytes())
}
pub fn go_away(last: u32) -> Bytes {
    control(7, 0, &[last.to_be_bytes(), [0; 4]].concat())
}
/// The header of a data frame; the bytes follow.
pub fn data_head(id: u32, length: usize, fin: bool) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&(id & 0x7fff_ffff).to_be_bytes());
    out[4..].copy_from_slice(&((length as u32 & 0x00ff_ffff) | if fin { 1 << 24 } else { 0 }).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[tokio::test]
    async fn frames_come_back_as_they_went() {
        let (mut d, mut i) = (Deflater::new().unwrap(), Inflater::new());
        let headers = vec![("streamtype".to_owned(), "error".to_owned())];
        let mut bytes = syn_stream(&mut d, 3, &headers, true).unwrap().to_vec();
        bytes.extend(syn_reply(&mut d, 3).unwrap());
        bytes.extend(data_head(5, 2, true));
        bytes.extend(b"hi");
        bytes.extend(ping(7));
        let mut r = bytes.as_slice();
        let mut got = Vec::new();
        while let Some(f) = read(&mut r, &mut i).await.unwrap() {
            got.push(f);
        }
        let want = vec![
            Frame::SynStream { id: 3, headers, fin: true },
            Frame::SynReply { id: 3, fin: false },
            Frame::Data { id: 5, bytes: Bytes::from_static(b"hi"), fin: true },
            Frame::Ping { id: 7 },
        ];
        assert_eq!(got, want);
    }
    #[tokio::test]
    async fn bad_frames() {
        let mut i = Inflater::new();
        for bad in [&b"\x80\x02\0\x01\0\0\0\0"[..], b"\x80\x03\0\x03\0\0\0\x01\0", b"\0\0\0\x01\0\xff\xff\xff", b"\0\0"] {
            assert!(read(&mut &bad[..], &mut i).await.is_err(), "{bad:?}");
        }
    }
}
