//! Group commit: while one batch is being committed, the next one gathers.
//!
//! No timer: an idle system commits at once, a busy one fills its batches by itself. A batch is bounded in rows and bytes.

use crate::accept::BatchLimits;
use std::time::Instant;
use store::{
    PgPool,
    acceptance::{Committer, NewMessage, Stored},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Recipients of one batch at most, but for a single message that has more.
const MAX_DELIVERIES: usize = 2_000;
/// Messages that may wait for a batch: beyond, their sessions wait for room.
const WAITING: usize = 1_024;
struct Pending {
    message: NewMessage,
    answer: oneshot::Sender<Stored>,
}

/// The handle by which sessions hand in finished messages.
#[derive(Debug)]
pub(crate) struct Batcher {
    pending: mpsc::Sender<Pending>,
    memory: Semaphore,
    memory_kib: u32,
}

impl Batcher {
    /// Starts the committing task; it ends when the last handle is dropped and everything handed in is answered.
    pub(crate) fn start(pool: PgPool, limits: BatchLimits) -> Self {
        let (pending, waiting) = mpsc::channel(WAITING);
        tokio::spawn(run(pool, limits, waiting));
        let memory_kib = u32::try_from(limits.waiting_bytes >> 10).unwrap_or(u32::MAX).max(1);
        Self {
            pending,
            memory: Semaphore::new(memory_kib as usize),
            memory_kib,
        }
    }

    /// Stores one message. The answer comes after COMMIT.
    pub(crate) async fn store(&self, message: NewMessage) -> Stored {
        let kib = u32::try_from(message.raw.len() >> 10).unwrap_or(u32::MAX).clamp(1, self.memory_kib);
        let Ok(_room) = self.memory.acquire_many(kib).await else {
            return Stored::Unavailable;
        };
        let (answer, answered) = oneshot::channel();
        if self.pending.send(Pending { message, answer }).await.is_err() {
            return Stored::Unavailable;
        }
        // The task ended without answering: it may have died between COMMIT and answer.
        answered.await.unwrap_or(Stored::InDoubt)
    }
}

async fn run(pool: PgPool, limits: BatchLimits, mut waiting: mpsc::Receiver<Pending>) {
    let mut committer = Committer::new(pool);
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(pending) => pending,
            None => match waiting.recv().await {
                Some(pending) => pending,
                None => return,
            },
        };
        let mut batch = Gathering::new(first);
        while batch.messages.len() < limits.messages {
            let Ok(pending) = waiting.try_recv() else { break };
            if let Some(left_over) = batch.add(pending, limits.bytes) {
                next = Some(left_over);
                break;
            }
        }
        batch.commit(&mut committer).await;
    }
}

/// A batch on its way to being full.
struct Gathering {
    messages: Vec<NewMessage>,
    answers: Vec<oneshot::Sender<Stored>>,
    bytes: usize,
    deliveries: usize,
}

impl Gathering {
    fn new(first: Pending) -> Self {
        let (bytes, deliveries) = (first.message.raw.len(), first.message.deliveries.len());
        Self {
            messages: vec![first.message],
            answers: vec![first.answer],
            bytes,
            deliveries,
        }
    }

    /// Takes the message, or gives it back when it does not fit.
    fn add(&mut self, pending: Pending, most_bytes: usize) -> Option<Pending> {
        let (bytes, deliveries) = (
            self.bytes + pending.message.raw.len(),
            self.deliveries + pending.message.deliveries.len(),
        );
        if bytes > most_bytes || deliveries > MAX_DELIVERIES {
            return Some(pending);
        }
        (self.bytes, self.deliveries) = (bytes, deliveries);
        self.messages.push(pending.message);
        self.answers.push(pending.answer);
        None
    }

    async fn commit(self, committer: &mut Committer) {
        let started = Instant::now();
        let size = self.messages.len();
        let stored = committer.commit(&self.messages).await;
        metrics::histogram!("postroad_intake_batch_messages").record(size as f64);
        metrics::histogram!("postroad_intake_commit_seconds").record(started.elapsed().as_secs_f64());
        for (answer, stored) in self.answers.into_iter().zip(stored) {
            let _ = answer.send(stored); // the session may be gone; the message is stored all the same
        }
    }
}
