//! When keys and credentials were last used: noted in memory, written in batches off the request's path, at most once a minute each.
//!
//! A crash loses a few seconds of it; nothing depends on it.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

const WRITE_EVERY: Duration = Duration::from_secs(2);
const AT_MOST_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Noted {
    /// When each was last put into `pending`.
    seen: HashMap<Uuid, Instant>,
    pending: Vec<Uuid>,
}

/// The notes; a background task writes them until the last clone is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastUsed(Arc<Mutex<Noted>>);

impl LastUsed {
    /// Starts the writing task; `write` gets ids, each at most once a minute.
    pub(crate) fn start<W, F>(write: W) -> Self
    where
        W: Fn(Vec<Uuid>) -> F + Send + 'static,
        F: Future<Output = store::Result<()>> + Send,
    {
        let notes = Self::default();
        let weak = Arc::downgrade(&notes.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(WRITE_EVERY).await;
                let Some(notes) = weak.upgrade().map(LastUsed) else { return };
                let ids = notes.take();
                if ids.is_empty() {
                    continue;
                }
                if let Err(error) = write(ids).await {
                    tracing::debug!(%error, "could not write when keys were last used");
                }
            }
        });
        notes
    }

    pub(crate) fn note(&self, id: Uuid) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if noted.seen.get(&id).is_none_or(|at| now.duration_since(*at) >= AT_MOST_EVERY) {
            noted.seen.insert(id, now);
            noted.pending.push(id);
        }
    }

    fn take(&self) -> Vec<Uuid> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        noted.seen.retain(|_, at| now.duration_since(*at) < AT_MOST_EVERY);
        std::mem::take(&mut noted.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_used_often_is_written_once_a_minute() {
        let notes = LastUsed::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for _ in 0..1000 {
            notes.note(one);
        }
        notes.note(other);
        assert_eq!(notes.take(), [one, other]);
        notes.note(one);
        assert!(notes.take().is_empty());
    }
}
