//! The receiving side's bytes: lines out of a buffer, replies collected for one write, each within its deadline.
//!
//! Reads land on the stack first and are copied where they belong, so a session that waits owns no buffer.

use std::future::{Future as _, poll_fn};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::End;
use crate::Reply;
use crate::command::MAX_AUTH_LINE_OCTETS;
use crate::timer::Timer;
use crate::transport::Transport;

/// Replies are written when so many octets have gathered, even if more commands wait.
const MAX_OUTPUT_OCTETS: usize = 8 * 1024;
/// What one read of command lines takes.
pub(super) const LINE_READ: usize = 4 * 1024;
/// What one read of content takes.
pub(super) const CONTENT_READ: usize = 64 * 1024;

/// The first octet of a TLS handshake record.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// A line at the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Ended by CRLF: so many octets with it.
    Line(usize),
    /// Ended by LF alone.
    BareLf(usize),
    /// Longer than any line may be; dropped, its end included.
    TooLong,
}

#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) stream: Transport<S>,
    pub(super) input: BytesMut,
    output: Vec<u8>,
    timer: Timer,
    stop: CancellationToken,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// No LF before this position.
    scanned: usize,
    /// Within a line that is being dropped.
    dropping: bool,
    write_timeout: Duration,
    /// A write failed or was not taken in time: no further word will arrive.
    mute: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, write_timeout: Duration, stop: CancellationToken) -> Self {
        Self {
            stream: Transport::Plain(stream),
            input: BytesMut::new(),
            output: Vec::new(),
            timer: Timer::new(),
            stopped: Box::pin(stop.clone().cancelled_owned()),
            stop,
            scanned: 0,
            dropping: false,
            write_timeout,
            mute: false,
        }
    }

    /// Waits for bytes and hands them to `take`, together with the buffer for what `take` leaves over. When `stoppable`, a process that
    /// stops ends the wait, however busy the client is.
    pub(super) async fn read<const OCTETS: usize>(
        &mut self,
        deadline: Instant,
        stoppable: bool,
        mut take: impl FnMut(&[u8], &mut BytesMut),
    ) -> Result<(), End> {
        if stoppable && self.stop.is_cancelled() {
            return Err(End::Stopped);
        }
        poll_fn(|context| {
            let mut space = [const { MaybeUninit::uninit() }; OCTETS];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(End::Gone)),
                Poll::Ready(Ok(())) => {
                    take(buffer.filled(), &mut self.input);
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Err(_)) => Poll::Ready(Err(End::Gone)),
                Poll::Pending if stoppable && self.stopped.as_mut().poll(context).is_ready() => Poll::Ready(Err(End::Stopped)),
                Poll::Pending => self.timer.poll(context, deadline).map(|()| Err(End::TimedOut)),
            }
        })
        .await
    }

    /// Has the client sent anything that was not yet read? Never waits.
    pub(super) async fn has_more(&mut self) -> bool {
        if !self.input.is_empty() {
            return true;
        }
        poll_fn(|context| {
            let mut space = [const { MaybeUninit::uninit() }; 512];
            let mut buffer = ReadBuf::uninit(&mut space);
            let ready = Pin::new(&mut self.stream).poll_read(context, &mut buffer).is_ready();
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(ready && !self.input.is_empty())
        })
        .await
    }

    /// The next line, as it lies at the front of `input`. Replies are written before waiting, all at once.
    pub(super) async fn line(&mut self, deadline: Instant) -> Result<Incoming, End> {
        loop {
            if let Some(incoming) = self.buffered_line() {
                return Ok(incoming);
            }
            self.flush().await?;
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            let begins = self.input.is_empty() && !self.dropping;
            self.read::<LINE_READ>(deadline, true, |bytes, input| input.extend_from_slice(bytes))
                .await?;
            if begins && self.input[0] == TLS_HANDSHAKE {
                return Err(End::Foreign);
            }
        }
    }

    fn buffered_line(&mut self) -> Option<Incoming> {
        let end = memchr::memchr(b'\n', &self.input[self.scanned..]).map(|found| self.scanned + found);
        let Some(end) = end else {
            self.scanned = self.input.len();
            if self.dropping || self.scanned > MAX_AUTH_LINE_OCTETS {
                self.dropping = true;
                self.input.clear();
                self.scanned = 0;
            }
            return None;
        };
        self.scanned = 0;
        if std::mem::take(&mut self.dropping) {
            self.input.advance(end + 1);
            return Some(Incoming::TooLong);
        }
        let carriage_return = end > 0 && self.input[end - 1] == b'\r';
        Some(if carriage_return {
            Incoming::Line(end + 1)
        } else {
            Incoming::BareLf(end + 1)
        })
    }

    /// Drops octets from the front.
    pub(super) fn consume(&mut self, octets: usize) {
        self.input.advance(octets);
        self.scanned = 0;
    }

    /// Forgets what the client sent and we did not read (RFC 3207 §5).
    pub(super) fn purge(&mut self) {
        self.input = BytesMut::new();
        self.scanned = 0;
        self.dropping = false;
    }

    /// Queues a reply.
    pub(super) fn say(&mut self, reply: &Reply) {
        reply.write_to(&mut self.output);
    }

    /// True when enough replies have gathered to be written whatever else is waiting.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= MAX_OUTPUT_OCTETS
    }

    /// Writes the queued replies.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        if self.mute {
            return Err(End::Gone);
        }
        let deadline = Instant::now() + self.write_timeout;
        let mut written = 0;
        self.mute = true;
        poll_fn(|context| {
            while written < self.output.len() {
                match Pin::new(&mut self.stream).poll_write(context, &self.output[written..]) {
                    Poll::Ready(Ok(octets)) if octets > 0 => written += octets,
                    Poll::Ready(_) => return Poll::Ready(Err(End::Gone)),
                    Poll::Pending => return self.timer.poll(context, deadline).map(|()| Err(End::TimedOut)),
                }
            }
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => Poll::Ready(Err(End::Gone)),
                Poll::Pending => self.timer.poll(context, deadline).map(|()| Err(End::TimedOut)),
            }
        })
        .await?;
        self.mute = false;
        self.output = Vec::new();
        Ok(())
    }

    /// Closes in a way that lets the client read our last words: a socket closed over unread input is reset, and the words are lost with
    /// it. So we stop writing and read on for a moment, a bounded amount, without looking.
    pub(super) async fn linger(&mut self) {
        const MOMENT: Duration = Duration::from_secs(2);
        const OCTETS: usize = 16 * 1024 * 1024;
        if self.flush().await.is_err() {
            return;
        }
        let deadline = Instant::now() + MOMENT;
        let _ = tokio::time::timeout_at(deadline, self.stream.shutdown()).await;
        let mut dropped = 0;
        while dropped < OCTETS {
            if self
                .read::<LINE_READ>(deadline, false, |bytes, _| dropped += bytes.len())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}
