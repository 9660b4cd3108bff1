//! A blocking netlink socket: one request, a dump, or a batch.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket as RawSocket, SocketAddr};

use crate::{Message, NetlinkError, Result};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Route = 0,
    Netfilter = 12,
}

/// One message of an answer: its type and what follows the netlink header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub kind: u16,
    pub body: Vec<u8>,
}

/// It belongs to the network namespace of the thread that opened it, for good.
pub struct Socket {
    raw: RawSocket,
    sequence: u32,
}

impl Socket {
    pub fn open(protocol: Protocol) -> Result<Self> {
        let fail = |source| NetlinkError::system(format!("open a netlink socket ({protocol:?})"), source);
        let mut raw = RawSocket::new(protocol as isize).map_err(fail)?;
        raw.bind_auto().map_err(fail)?;
        raw.connect(&SocketAddr::new(0, 0)).map_err(fail)?;
        Ok(Self { raw, sequence: 0 })
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends one request and waits for its acknowledgement. Replies before it (an echo, a single object) are returned.
    pub fn request(&mut self, step: &str, message: Message) -> Result<Vec<Reply>> {
        self.exchange(step, message, NLM_F_REQUEST | NLM_F_ACK)
    }

    /// All objects that the request selects. A dump that was overtaken by changes is taken again.
    pub fn dump(&mut self, step: &str, message: Message) -> Result<Vec<Reply>> {
        for _ in 0..8 {
            match self.exchange(step, message.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(error) if error.is(libc::EINTR) => continue,
                other => return other,
            }
        }
        Err(NetlinkError::system(step, io::Error::from_raw_os_error(libc::EINTR)))
    }

    fn exchange(&mut self, step: &str, message: Message, flags: u16) -> Result<Vec<Reply>> {
        let sequence = self.next_sequence();
        let mut bytes = message.finish(sequence);
        add_flags(&mut bytes, flags);
        self.raw.send(&bytes, 0).map_err(|source| NetlinkError::system(step, source))?;
        let mut replies = Vec::new();
        let mut interrupted = false;
        loop {
            let (datagram, _) = self.raw.recv_from_full().map_err(|source| NetlinkError::system(step, source))?;
            for (header, body) in Frames::new(&datagram) {
                if header.sequence != sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match error_number(body) {
                            0 if interrupted => Err(NetlinkError::system(step, io::Error::from_raw_os_error(libc::EINTR))),
                            0 => Ok(replies),
                            errno => Err(refused(step, sequence, errno)),
                        };
                    }
                    kind => replies.push(Reply { kind, body: body.to_vec() }),
                }
            }
        }
    }

    /// Sends messages as one datagram, which the kernel works through before `send` returns. `messages` are numbered
    /// from 0; a refusal carries the number of the first message that was refused.
    pub fn batch(&mut self, step: &str, messages: Vec<Message>) -> Result<()> {
        let base = 1;
        let mut bytes = Vec::with_capacity(messages.iter().map(Message::len).sum());
        for (index, message) in messages.into_iter().enumerate() {
            let start = bytes.len();
            bytes.extend_from_slice(&message.finish(base + index as u32));
            if let Some(one) = bytes.get_mut(start..) {
                add_flags(one, NLM_F_REQUEST);
            }
        }
        self.grow_buffers(bytes.len());
        self.raw.send(&bytes, 0).map_err(|source| NetlinkError::system(step, source))?;
        self.drain_errors(step, base)
    }

    fn drain_errors(&mut self, step: &str, base: u32) -> Result<()> {
        let system = |source| NetlinkError::system(step, source);
        self.raw.set_non_blocking(true).map_err(system)?;
        let mut first = None;
        let outcome = loop {
            match self.raw.recv_from_full() {
                Ok((datagram, _)) => {
                    for (header, body) in Frames::new(&datagram) {
                        let errno = error_number(body);
                        if header.kind == NLMSG_ERROR && errno != 0 && first.is_none() {
                            first = Some(refused(step, header.sequence.wrapping_sub(base), errno));
                        }
                    }
                }
                Err(source) if source.kind() == io::ErrorKind::WouldBlock => break first.take().map_or(Ok(()), Err),
                // ENOBUFS: there were more errors than the buffer holds, so the batch was refused.
                Err(source) if source.raw_os_error() == Some(libc::ENOBUFS) && first.is_some() => {}
                Err(source) => break Err(first.take().unwrap_or_else(|| system(source))),
            }
        };
        self.raw.set_non_blocking(false).map_err(system)?;
        outcome
    }

    /// A batch is one datagram, so the send buffer must hold all of it; errors of each message may come back.
    fn grow_buffers(&self, batch: usize) {
        let size = (batch * 2 + 64 * 1024).min(i32::MAX as usize / 2) as libc::c_int;
        for option in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
            // SAFETY: the value is an int that outlives the call. A refusal shows as EMSGSIZE or ENOBUFS later.
            unsafe {
                libc::setsockopt(self.raw.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const size).cast(), size_of::<libc::c_int>() as libc::socklen_t);
            }
        }
    }
}

fn refused(step: &str, sequence: u32, errno: i32) -> NetlinkError {
    NetlinkError::Refused { step: step.to_owned(), sequence, source: io::Error::from_raw_os_error(errno) }
}

fn add_flags(message: &mut [u8], flags: u16) {
    if let Some([low, high]) = message.get_mut(6..8) {
        let both = (u16::from_ne_bytes([*low, *high]) | flags).to_ne_bytes();
        (*low, *high) = (both[0], both[1]);
    }
}

/// The error of an NLMSG_ERROR or NLMSG_DONE as a positive number; 0 is an acknowledgement.
fn error_number(body: &[u8]) -> i32 {
    body.get(..4).and_then(|b| b.try_into().ok()).map_or(0, |b| i32::from_ne_bytes(b).saturating_neg())
}

struct FrameHeader {
    kind: u16,
    flags: u16,
    sequence: u32,
}

struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (FrameHeader, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let word = |at: usize| Some(u32::from_ne_bytes(self.rest.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_ne_bytes(self.rest.get(at..at + 2)?.try_into().ok()?));
        let length = word(0)? as usize;
        let header = FrameHeader { kind: half(4)?, flags: half(6)?, sequence: word(8)? };
        let body = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((header, body))
    }
}
