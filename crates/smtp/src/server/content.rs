//! Reading content: DATA to its end, chunks by count, at no less than the minimum rate.

use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::session::Session;
use super::wire::{CONTENT_READ, Wire};
use super::{Backend, End, Limits};
use crate::data::DataFault;

/// The deadline of content: a grant of time at the start, and more for what arrives, so that one octet every few seconds does not keep
/// a session for ever (ASSURANCE R01). Never further ahead than one grant.
struct Pace {
    started: Instant,
    received: u64,
    limits: Limits,
}

impl Pace {
    fn new(limits: Limits) -> Self {
        Self {
            started: Instant::now(),
            received: 0,
            limits,
        }
    }

    fn deadline(&self) -> Instant {
        let earned = std::time::Duration::from_millis(self.received.saturating_mul(1000) / u64::from(self.limits.min_data_rate.max(1)));
        let now = Instant::now();
        let by_rate = self
            .started
            .checked_add(self.limits.data_timeout.saturating_add(earned))
            .unwrap_or(now + self.limits.data_timeout);
        by_rate.min(now + self.limits.data_timeout)
    }
}

/// Reads a DATA to its end.
pub(super) async fn data<S: AsyncRead + AsyncWrite + Unpin, B: Backend>(wire: &mut Wire<S>, session: &mut Session<B>) -> Result<(), End> {
    let Some(transaction) = &mut session.transaction else {
        return Err(End::Closed);
    };
    let Some(reader) = &mut transaction.reader else {
        return Err(End::Closed);
    };
    let held = &mut transaction.held;
    let mut pace = Pace::new(session.settings.limits);
    let (taken, mut ended) = reader.feed(&wire.input);
    wire.consume(taken);
    while !ended {
        if !held.resize(reader.kept_octets()) {
            reader.spoil(DataFault::OutOfMemory);
        }
        wire.read::<CONTENT_READ>(pace.deadline(), false, |bytes, input| {
            let (taken, end) = reader.feed(bytes);
            ended = end;
            pace.received += bytes.len() as u64;
            input.extend_from_slice(&bytes[taken..]);
        })
        .await?;
    }
    if !held.resize(reader.kept_octets()) {
        reader.spoil(DataFault::OutOfMemory);
    }
    Ok(())
}

/// Reads exactly `size` octets, into the transaction's reader when there is one, else nowhere.
pub(super) async fn chunk<S: AsyncRead + AsyncWrite + Unpin, B: Backend>(
    wire: &mut Wire<S>,
    session: &mut Session<B>,
    size: u64,
    keep: bool,
) -> Result<(), End> {
    let mut pace = Pace::new(session.settings.limits);
    let mut transaction = session.transaction.as_mut().filter(|_| keep);
    let mut rest = size;
    let mut take = |bytes: &[u8]| {
        let taken = usize::try_from(rest).map_or(bytes.len(), |rest| rest.min(bytes.len()));
        rest -= taken as u64;
        if let Some(transaction) = transaction.as_mut()
            && let Some(reader) = &mut transaction.reader
        {
            reader.feed_chunk(&bytes[..taken]);
            if !transaction.held.resize(reader.kept_octets()) {
                reader.spoil(DataFault::OutOfMemory);
            }
        }
        (taken, rest == 0)
    };
    let (taken, mut ended) = take(&wire.input);
    wire.input.advance(taken);
    wire.consume(0);
    while !ended {
        wire.read::<CONTENT_READ>(pace.deadline(), false, |bytes, input| {
            let (taken, end) = take(bytes);
            ended = end;
            pace.received += bytes.len() as u64;
            input.extend_from_slice(&bytes[taken..]);
        })
        .await?;
    }
    Ok(())
}
