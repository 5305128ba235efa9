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
/// Messages that one client is answered for together.
struct Pending {
    messages: Vec<NewMessage>,
    answer: oneshot::Sender<Vec<Stored>>,
}

impl Pending {
    fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.raw.len()).sum()
    }

    fn deliveries(&self) -> usize {
        self.messages.iter().map(|message| message.deliveries.len()).sum()
    }
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
        self.store_all(vec![message]).await.pop().unwrap_or(Stored::InDoubt)
    }

    /// Stores messages in one transaction, in order. The answer comes after COMMIT.
    pub(crate) async fn store_all(&self, messages: Vec<NewMessage>) -> Vec<Stored> {
        let count = messages.len();
        let (answer, answered) = oneshot::channel();
        let pending = Pending { messages, answer };
        let kib = u32::try_from(pending.bytes() >> 10).unwrap_or(u32::MAX).clamp(1, self.memory_kib);
        let Ok(_room) = self.memory.acquire_many(kib).await else {
            return vec![Stored::Unavailable; count];
        };
        if self.pending.send(pending).await.is_err() {
            return vec![Stored::Unavailable; count];
        }
        // The task ended without answering: it may have died between COMMIT and answer.
        answered.await.unwrap_or_else(|_| vec![Stored::InDoubt; count])
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
    answers: Vec<(usize, oneshot::Sender<Vec<Stored>>)>,
    bytes: usize,
    deliveries: usize,
}

impl Gathering {
    fn new(first: Pending) -> Self {
        Self {
            bytes: first.bytes(),
            deliveries: first.deliveries(),
            answers: vec![(first.messages.len(), first.answer)],
            messages: first.messages,
        }
    }

    /// Takes the messages, or gives them back when they do not fit.
    fn add(&mut self, pending: Pending, most_bytes: usize) -> Option<Pending> {
        let (bytes, deliveries) = (self.bytes + pending.bytes(), self.deliveries + pending.deliveries());
        if bytes > most_bytes || deliveries > MAX_DELIVERIES {
            return Some(pending);
        }
        (self.bytes, self.deliveries) = (bytes, deliveries);
        self.answers.push((pending.messages.len(), pending.answer));
        self.messages.extend(pending.messages);
        None
    }

    async fn commit(self, committer: &mut Committer) {
        let started = Instant::now();
        let mut stored = committer.commit(&self.messages).await.into_iter();
        metrics::histogram!("postroad_intake_batch_messages").record(self.messages.len() as f64);
        metrics::histogram!("postroad_intake_commit_seconds").record(started.elapsed().as_secs_f64());
        for (count, answer) in self.answers {
            let _ = answer.send(stored.by_ref().take(count).collect()); // the session may be gone; the message is stored all the same
        }
    }
}
