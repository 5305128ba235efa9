//! The sending side's bytes: writing whole batches, reading replies, each within its time.

use std::future::poll_fn;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::failure::Fault;
use super::received;
use super::transcript::Transcript;
use crate::Reply;
use crate::timer::Timer;
use crate::transport::Transport;

/// Octets of unread replies taken in while we are writing.
const MAX_AHEAD_OCTETS: usize = 256 * 1024;
/// Slices handed to one vectored write.
const SLICES: usize = 128;

#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) stream: Transport<S>,
    pub(super) transcript: Transcript,
    input: BytesMut,
    timer: Timer,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: Transport<S>) -> Self {
        Self {
            stream,
            transcript: Transcript::default(),
            input: BytesMut::new(),
            timer: Timer::new(),
            ended: false,
        }
    }

    /// Did the peer say something that was not yet asked for?
    pub(super) fn has_unread(&self) -> bool {
        !self.input.is_empty()
    }

    /// Looks, without waiting, whether the peer has spoken or hung up. True when there is something to read, an end included.
    pub(super) async fn was_disturbed(&mut self) -> bool {
        poll_fn(|context| {
            let _ = self.poll_fill(context);
            Poll::Ready(self.ended || !self.input.is_empty())
        })
        .await
    }

    /// Writes all slices. Each progress renews the time allowed. While the peer does not take our bytes, its own are read, so that two
    /// full buffers never wait for each other (RFC 2920 §3.1).
    pub(super) async fn send<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>, within: Duration) -> Result<(), Fault> {
        let mut slices = slices.filter(|slice| !slice.is_empty());
        let mut batch: Vec<IoSlice<'a>> = Vec::with_capacity(8);
        loop {
            batch.clear();
            batch.extend(slices.by_ref().take(SLICES).map(IoSlice::new));
            if batch.is_empty() {
                return self.flush(within).await;
            }
            let mut rest = &mut batch[..];
            while !rest.is_empty() {
                let deadline = Instant::now() + within;
                let written = poll_fn(|context| {
                    if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_write_vectored(context, rest) {
                        return Poll::Ready(result.map_err(|error| Fault::Io(error.to_string())));
                    }
                    self.read_ahead(context);
                    self.timer.poll(context, deadline).map(|()| Err(Fault::Timeout))
                })
                .await?;
                if written == 0 {
                    return Err(Fault::Closed);
                }
                IoSlice::advance_slices(&mut rest, written);
            }
        }
    }

    async fn flush(&mut self, within: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + within;
        poll_fn(|context| {
            if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_flush(context) {
                return Poll::Ready(result.map_err(|error| Fault::Io(error.to_string())));
            }
            self.read_ahead(context);
            self.timer.poll(context, deadline).map(|()| Err(Fault::Timeout))
        })
        .await
    }

    /// Waits for the next reply.
    pub(super) async fn reply(&mut self, within: Duration) -> Result<Reply, Fault> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(reply) = self.buffered_reply()? {
                return Ok(reply);
            }
            if self.ended {
                return Err(Fault::Closed);
            }
            poll_fn(|context| {
                if let Poll::Ready(result) = self.poll_fill(context) {
                    return Poll::Ready(result);
                }
                self.timer.poll(context, deadline).map(|()| Err(Fault::Timeout))
            })
            .await?;
        }
    }

    /// Takes in what the peer says while it does not listen. Goes on until nothing is there, so that more of it wakes us.
    fn read_ahead(&mut self, context: &mut Context<'_>) {
        while self.input.len() < MAX_AHEAD_OCTETS && !self.ended && self.poll_fill(context).is_ready() {}
    }

    /// Reads once. `Ready(Ok)` after bytes or the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let mut space = [const { MaybeUninit::uninit() }; 4096];
        let mut buffer = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.ended = buffer.filled().is_empty();
                self.input.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                self.ended = true;
                Poll::Ready(Err(Fault::Io(error.to_string())))
            }
        }
    }

    /// Takes a complete reply out of the buffer.
    fn buffered_reply(&mut self) -> Result<Option<Reply>, Fault> {
        let taken = match received::parse(&self.input) {
            Ok(None) => return Ok(None),
            Ok(Some(taken)) => Ok(taken),
            Err(fault) => Err((self.input.len().min(200), fault)),
        };
        let octets = match &taken {
            Ok((octets, _)) | Err((octets, _)) => *octets,
        };
        for line in self.input[..octets].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.transcript.received(line);
        }
        self.input.advance(octets);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        match taken {
            Ok((_, reply)) => Ok(Some(reply)),
            Err((_, fault)) => Err(fault),
        }
    }
}
