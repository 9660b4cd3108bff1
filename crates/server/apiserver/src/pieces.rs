//! Bodies that are made while they are sent: a list of a hundred megabytes takes a few pieces of memory, as the client reads
//! on, and no piece of work keeps other requests waiting for long.
//!
//! What fits into one piece is made at once, so that whatever fails before is told by a Status. Behind the first piece a
//! failure breaks the body off: stored objects are canonical, and none of them is expected to fail.
use crate::{
    answer::{Failure, Reply, full},
    metrics::Series,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use skiff_meta::Status;
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Bytes of a piece, at the least.
pub(crate) const PIECE: usize = 128 << 10;
/// What the last part of a piece may have on top without moving it.
const SLACK: usize = 32 << 10;
/// How long an answer that nobody reads has its seat, as long as upstream lets requests take.
const SEATED: Duration = Duration::from_secs(60);

/// Parts of a body, one after the other.
pub(crate) trait Parts: Send + Sync + Unpin + 'static {
    /// Appends the next part; false when there is none.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, Status>;
    /// How many bytes all of them have, where that is known before.
    fn length(&self) -> Option<u64> {
        None
    }
}

/// Among a response's extensions: its body is still being made while it is sent.
#[derive(Clone, Copy)]
pub(crate) struct Unfinished;

/// A body, and whether all of it is made.
pub(crate) fn body(mut parts: impl Parts) -> Result<(Reply, Option<Unfinished>), Status> {
    let (left, mut buffers) = (parts.length(), Buffers::default());
    let (first, over) = piece(&mut parts, &mut buffers)?;
    if over {
        return Ok((full(first), None));
    }
    Ok((InPieces { parts, buffers, first: Some(first), left, over }.boxed(), Some(Unfinished)))
}

/// The next piece, and whether it is the last.
fn piece(parts: &mut impl Parts, buffers: &mut Buffers) -> Result<(Bytes, bool), Status> {
    let mut out = buffers.free();
    while out.len() < PIECE {
        if !parts.next(&mut out)? {
            return Ok((out.into(), true));
        }
    }
    Ok((buffers.lend(out), false))
}

/// The memory of pieces that were sent is that of the next ones: what one thread allocates and another frees, as a
/// connection moves between them, allocators pile up.
#[derive(Default)]
struct Buffers {
    lent: VecDeque<Bytes>,
}

impl Buffers {
    /// As many as wait for the client at once.
    const MOST: usize = 6;

    fn free(&mut self) -> Vec<u8> {
        match self.lent.iter().position(Bytes::is_unique).and_then(|i| self.lent.remove(i)) {
            Some(back) => {
                let mut back = Vec::from(back);
                back.clear();
                back
            }
            None => Vec::with_capacity(PIECE + SLACK),
        }
    }
    fn lend(&mut self, piece: Vec<u8>) -> Bytes {
        let piece = Bytes::from(piece);
        if self.lent.len() < Self::MOST {
            self.lent.push_back(piece.clone());
        }
        piece
    }
}

struct InPieces<P> {
    parts: P,
    buffers: Buffers,
    first: Option<Bytes>,
    left: Option<u64>,
    over: bool,
}

impl<P: Parts> Body for InPieces<P> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let made = match this.first.take() {
            Some(first) => first,
            None if this.over => return Poll::Ready(None),
            None => match piece(&mut this.parts, &mut this.buffers) {
                Ok((made, over)) => {
                    this.over = over;
                    made
                }
                Err(status) => {
                    this.over = true;
                    tracing::error!(target: "api", error = %status.message, "an answer broke off");
                    return Poll::Ready(Some(Err(status.message.into())));
                }
            },
        };
        if made.is_empty() {
            return Poll::Ready(None);
        }
        this.left = this.left.map(|left| left.saturating_sub(made.len() as u64));
        Poll::Ready(Some(Ok(Frame::data(made))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What is to be told of an answer when the last of it was sent, or nobody wanted more.
pub(crate) struct Sent {
    pub series: Arc<Series>,
    pub begun: Instant,
    pub code: u16,
    pub bytes: u64,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.series.answered(self.code, self.begun.elapsed(), Some(self.bytes));
    }
}

/// The body, which counts what is sent of it and keeps its seat while it is made. Who doesn't read loses the seat in time,
/// not the answer.
pub(crate) fn followed(body: Reply, sent: Sent, seat: impl Send + 'static) -> Reply {
    let (done, gone) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let _ = tokio::time::timeout(SEATED, gone).await;
        drop(seat);
    });
    Followed { body, sent, _seat: done }.boxed()
}

struct Followed {
    body: Reply,
    sent: Sent,
    /// The seat is given up with it.
    _seat: oneshot::Sender<()>,
}

impl Body for Followed {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        polled
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts down; fails at one number.
    struct Numbers {
        left: u32,
        bad: Option<u32>,
    }
    impl Parts for Numbers {
        fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, Status> {
            if self.bad == Some(self.left) {
                return Err(Status::internal("bad"));
            }
            let more = self.left > 0;
            if more {
                out.extend_from_slice(&self.left.to_le_bytes());
                self.left -= 1;
            }
            Ok(more)
        }
        fn length(&self) -> Option<u64> {
            Some(u64::from(self.left) * 4)
        }
    }

    #[tokio::test]
    async fn what_is_small_is_whole() {
        let (body, mark) = body(Numbers { left: 3, bad: None }).unwrap();
        assert!(mark.is_none());
        assert_eq!(body.size_hint().exact(), Some(12));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 12);
        assert!(super::body(Numbers { left: 3, bad: Some(1) }).is_err());
    }

    #[tokio::test]
    async fn what_is_large_comes_in_pieces() {
        let numbers = PIECE as u32;
        let (mut body, mark) = body(Numbers { left: numbers, bad: None }).unwrap();
        assert!(mark.is_some());
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(!data.is_empty() && data.len() <= PIECE + SLACK);
            read.extend_from_slice(&data);
            assert_eq!(body.size_hint().exact(), Some(u64::from(numbers) * 4 - read.len() as u64));
        }
        let expected: Vec<u8> = (1..=numbers).rev().flat_map(u32::to_le_bytes).collect();
        assert!(read == expected);
    }

    #[tokio::test]
    async fn a_failure_breaks_off() {
        let (body, _) = body(Numbers { left: PIECE as u32, bad: Some(5) }).unwrap();
        assert!(body.collect().await.is_err());
    }
}
