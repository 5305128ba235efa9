//! Outcomes on their way into the database, in batches: while one batch is being written, the next one gathers.
//!
//! An outcome is never dropped: when the database is away the writer waits for it. If that takes longer than the worker's own
//! lease, others have taken its claims and the outcomes are fenced off.

use crate::lane_book::LaneBook;
use chrono::{DateTime, Utc};
use std::time::{Duration, Instant};
use store::{
    PgPool,
    models::AttemptOutcome,
    queue::{AttemptRecord, BatchConnection, Finish, Outcome, finish},
};
use tokio::sync::mpsc;

/// Outcomes of one batch at most, but for one transaction that has more.
const BATCH: usize = 500;
/// Under load a batch is followed by the next one only after this: a batch costs the database nearly as much for one outcome as for thirty.
const PACE: Duration = Duration::from_millis(15);
/// Transactions that may wait to be written.
const WAITING: usize = 2_000;

/// Everything that one transaction came to.
#[derive(Debug)]
pub struct Finished {
    /// The deliveries' lane.
    pub lane: i64,
    /// One per delivery.
    pub outcomes: Vec<Outcome>,
    /// One per different answer.
    pub attempts: Vec<AttemptRecord>,
}

/// Told after the outcomes of some deliveries are committed.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    lane: i64,
    count: usize,
    due: Option<DateTime<Utc>>,
}

impl Settled {
    /// How many deliveries.
    #[must_use]
    pub const fn count(self) -> usize {
        self.count
    }

    /// Takes the deliveries out of hand.
    pub fn note(self, book: &mut LaneBook) {
        book.finished(self.lane, self.count, self.due);
    }
}

/// The handle by which connections hand in what became of their transactions.
#[derive(Debug, Clone)]
pub struct Writer {
    finished: mpsc::Sender<Finished>,
}

impl Writer {
    /// Starts the writing task, which ends when every handle is dropped and everything is written.
    #[must_use]
    pub fn start(pool: PgPool) -> (Self, mpsc::Receiver<Settled>, tokio::task::JoinHandle<()>) {
        let (finished, waiting) = mpsc::channel(WAITING);
        let (settled, told) = mpsc::channel(WAITING);
        let task = tokio::spawn(run(pool, waiting, settled));
        (Self { finished }, told, task)
    }

    /// Hands in one transaction's outcomes.
    pub async fn write(&self, finished: Finished) {
        if self.finished.send(finished).await.is_err() {
            tracing::error!("the outcome writer has ended; the deliveries will be tried again");
        }
    }
}

async fn run(pool: PgPool, mut waiting: mpsc::Receiver<Finished>, settled: mpsc::Sender<Settled>) {
    let mut connection = None;
    let mut next = tokio::time::Instant::now();
    while let Some(first) = waiting.recv().await {
        if waiting.len() < BATCH {
            tokio::time::sleep_until(next).await;
        }
        let mut batch = vec![first];
        let mut size = batch[0].outcomes.len();
        while size < BATCH {
            let Ok(more) = waiting.try_recv() else { break };
            size += more.outcomes.len();
            batch.push(more);
        }
        write(&pool, &mut connection, &batch).await;
        next = tokio::time::Instant::now() + PACE;
        for finished in &batch {
            // The dispatcher may have stopped already: then nobody needs to know.
            let _ = settled.send(Settled::of(finished)).await;
        }
    }
}

async fn write(pool: &PgPool, kept: &mut Option<BatchConnection>, batch: &[Finished]) {
    let started = Instant::now();
    let outcomes: Vec<Outcome> = batch.iter().flat_map(|finished| finished.outcomes.iter().cloned()).collect();
    let attempts: Vec<AttemptRecord> = batch.iter().flat_map(|finished| finished.attempts.iter().cloned()).collect();
    let mut pause = Duration::from_millis(50);
    loop {
        match try_write(pool, kept, &outcomes, &attempts).await {
            Ok(()) => break,
            Err(error) => {
                *kept = None;
                tracing::warn!(%error, outcomes = outcomes.len(), "outcomes wait for the database");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
    metrics::histogram!("postroad_outcome_batch_size").record(outcomes.len() as f64);
    metrics::histogram!("postroad_outcome_write_seconds").record(started.elapsed().as_secs_f64());
    for attempt in &attempts {
        metrics::counter!("postroad_attempts_total", "outcome" => attempt.outcome.as_str()).increment(1);
        metrics::histogram!("postroad_attempt_seconds").record(attempt.duration.as_secs_f64());
        if attempt.outcome == AttemptOutcome::InDoubt {
            tracing::warn!(message = %attempt.message, "nobody knows whether the next server took the message; it will be tried again");
        }
    }
}

async fn try_write(
    pool: &PgPool,
    kept: &mut Option<BatchConnection>,
    outcomes: &[Outcome],
    attempts: &[AttemptRecord],
) -> store::Result<()> {
    if kept.is_none() {
        *kept = Some(store::queue::batch_connection(pool).await?);
    }
    let Some(connection) = kept else { return Ok(()) };
    let written = finish(connection, outcomes, attempts).await?;
    if written.fenced > 0 {
        metrics::counter!("postroad_outcomes_fenced_total").increment(written.fenced as u64);
        tracing::warn!(
            fenced = written.fenced,
            "outcomes came after their claim was lost and were not written"
        );
    }
    Ok(())
}

impl Settled {
    fn of(finished: &Finished) -> Self {
        let now = Utc::now();
        let due = finished
            .outcomes
            .iter()
            .filter_map(|outcome| match outcome.finish {
                Finish::Retry(wait) | Finish::Release(wait) => chrono::Duration::from_std(wait).ok().map(|wait| now + wait),
                Finish::Over(_) => None,
            })
            .min();
        Self {
            lane: finished.lane,
            count: finished.outcomes.len(),
            due,
        }
    }
}
