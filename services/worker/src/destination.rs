//! Destinations: the connections to one destination and the transactions that wait for them.
//!
//! A destination has a queue and up to a few connections, each of which takes transactions as long as there are any, waits a moment for
//! more, and says goodbye. When nobody there answers, everything that waits shares the answer instead of each paying for the
//! same timeout, and the destination rests for a while that doubles.

use crate::{deliver::Deliverer, dial::Dialled, job::Job};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The longest a destination that does not answer rests.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Destinations that are remembered only for not answering; beyond, they are forgotten when a new one comes.
const REMEMBERED: usize = 10_000;
/// A finished transaction may find the connection gone this often before the attempt counts.
const STALE_TRIES: u32 = 2;

/// A destination does not answer: its lanes rest.
#[derive(Debug, Clone)]
pub struct Down {
    /// The destination.
    pub destination: String,
    /// For so long.
    pub rest: Duration,
}

/// Every destination that has something to do.
#[derive(Debug)]
pub struct Destinations {
    deliverer: Arc<Deliverer>,
    open: Arc<Mutex<HashMap<String, Arc<Destination>>>>,
    down: mpsc::Sender<Down>,
    connections: TaskTracker,
    stop: CancellationToken,
}

/// How many connections a destination may have, and how long they are kept.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// At the same time.
    pub connections: usize,
    /// Transactions of one connection.
    pub transactions: u32,
    /// How long an unused one waits for more.
    pub idle: Duration,
}

#[derive(Debug)]
struct Destination {
    name: String,
    state: Mutex<State>,
    more: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    connections: usize,
    idle: usize,
    failures: u32,
    /// Fewer than configured when the destination refused another one.
    limit: Option<usize>,
}

impl State {
    fn is_busy(&self) -> bool {
        self.connections > 0 || !self.waiting.is_empty()
    }
}

impl Destinations {
    /// No destinations yet.
    #[must_use]
    pub fn new(deliverer: Arc<Deliverer>, stop: CancellationToken) -> (Self, mpsc::Receiver<Down>) {
        let (down, told) = mpsc::channel(256);
        (
            Self {
                deliverer,
                open: Arc::default(),
                down,
                connections: TaskTracker::new(),
                stop,
            },
            told,
        )
    }

    /// Hands a transaction to its destination, and opens a connection when more work waits than connections wait for work.
    pub fn push(&self, name: &str, job: Job) {
        let mut open = locked(&self.open);
        if open.len() >= REMEMBERED && !open.contains_key(name) {
            open.retain(|_, destination| locked(&destination.state).is_busy());
        }
        let destination = open
            .entry(name.to_owned())
            .or_insert_with(|| {
                Arc::new(Destination {
                    name: name.to_owned(),
                    state: Mutex::default(),
                    more: Notify::new(),
                })
            })
            .clone();
        let mut state = locked(&destination.state);
        state.waiting.push_back(job);
        let limit = state.limit.unwrap_or(usize::MAX).min(self.deliverer.limits.connections);
        if state.idle < state.waiting.len() && state.connections < limit.max(1) {
            state.connections += 1;
            drop(state);
            drop(open);
            self.connections.spawn(serve(
                destination,
                self.deliverer.clone(),
                self.open.clone(),
                self.down.clone(),
                self.stop.clone(),
            ));
        } else {
            drop(state);
            destination.more.notify_one();
        }
    }

    /// After the stop: gives back at once, untried, what waits, then waits until every connection has finished its transaction.
    pub async fn drain(&self) {
        self.connections.close();
        self.give_back_waiting().await;
        self.connections.wait().await;
        // A connection that was one too many puts its transaction back into the queue.
        self.give_back_waiting().await;
    }

    async fn give_back_waiting(&self) {
        let waiting: Vec<Job> = locked(&self.open)
            .values()
            .flat_map(|destination| std::mem::take(&mut locked(&destination.state).waiting))
            .collect();
        for job in waiting {
            self.deliverer.give_back(&job).await;
        }
    }
}

/// One connection's life.
async fn serve(
    destination: Arc<Destination>,
    deliverer: Arc<Deliverer>,
    open: Arc<Mutex<HashMap<String, Arc<Destination>>>>,
    down: mpsc::Sender<Down>,
    stop: CancellationToken,
) {
    let mut dialled: Option<Dialled> = None;
    while let Some(job) = next_job(&destination, &deliverer, &stop).await {
        if let Err(unserved) = run(&destination, &deliverer, &mut dialled, job, &stop).await {
            give_up(&destination, &deliverer, &down, *unserved).await;
            break;
        }
    }
    forget(&destination, &open);
    if let Some(dialled) = dialled {
        dialled.connection.quit().await;
    }
}

/// The next transaction, or `None` when it is time to say goodbye. The connection is taken off the count in the moment of that decision, so that
/// a transaction that comes right then finds room for another one.
async fn next_job(destination: &Destination, deliverer: &Deliverer, stop: &CancellationToken) -> Option<Job> {
    loop {
        let more = destination.more.notified();
        {
            let mut state = locked(&destination.state);
            if stop.is_cancelled() {
                state.connections -= 1;
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            state.idle += 1;
        }
        let woken = tokio::select! {
            woken = tokio::time::timeout(deliverer.limits.idle, more) => woken.is_ok(),
            () = stop.cancelled() => false,
        };
        let mut state = locked(&destination.state);
        state.idle -= 1;
        if !woken && state.waiting.is_empty() {
            state.connections -= 1;
            return None;
        }
    }
}

/// A transaction for which no server could be reached.
struct Unserved {
    job: Job,
    unreachable: crate::dial::Unreachable,
    started: crate::deliver::Started,
}

/// Runs one transaction, on the connection there is or on a new one. Nobody is dialled any more after the stop, and a dialling that takes
/// longer than that is left: nothing of the message has been said yet.
async fn run(
    destination: &Destination,
    deliverer: &Deliverer,
    dialled: &mut Option<Dialled>,
    job: Job,
    stop: &CancellationToken,
) -> Result<(), Box<Unserved>> {
    let mut stale = 0;
    loop {
        let started = deliverer.start();
        let mut connection = match dialled
            .take()
            .filter(|dialled| dialled.connection.is_usable() && dialled.connection.transactions() < deliverer.limits.transactions)
        {
            Some(connection) => connection,
            None => match stop.run_until_cancelled(deliverer.dial(&destination.name, &job)).await {
                None => {
                    deliverer.give_back(&job).await;
                    return Ok(());
                }
                Some(Ok(connection)) => {
                    locked(&destination.state).failures = 0;
                    connection
                }
                Some(Err(unreachable)) if deliverer.hand_over(&destination.name, &job, &unreachable, started).await => return Ok(()),
                Some(Err(unreachable)) => {
                    return Err(Box::new(Unserved {
                        job,
                        unreachable: *unreachable,
                        started,
                    }));
                }
            },
        };
        // A connection that had ended while it was idle says nothing about this message.
        let again = deliverer.transact(&mut connection, &job, started, stale < STALE_TRIES).await;
        if connection.connection.is_usable() {
            *dialled = Some(connection);
        }
        if !again {
            return Ok(());
        }
        stale += 1;
    }
}

/// No server answers. If other connections live, this one was one too many; otherwise everything that waits shares the answer.
async fn give_up(destination: &Destination, deliverer: &Deliverer, down: &mpsc::Sender<Down>, unserved: Unserved) {
    let for_now = unserved.unreachable.fate.outcome == store::models::AttemptOutcome::Deferred;
    let (mut shared, rest) = {
        let mut state = locked(&destination.state);
        state.connections -= 1;
        if state.connections > 0 && for_now {
            state.limit = Some(state.connections);
            state.waiting.push_front(unserved.job);
            destination.more.notify_one();
            return;
        }
        state.failures = if for_now { state.failures.saturating_add(1) } else { 0 };
        let rest = Duration::from_secs(1 << state.failures.saturating_sub(1).min(9)).min(LONGEST_REST);
        (std::mem::take(&mut state.waiting), rest)
    };
    if for_now {
        let _ = down
            .send(Down {
                destination: destination.name.clone(),
                rest,
            })
            .await; // the dispatcher may be gone: we are stopping
    }
    shared.push_front(unserved.job);
    for job in shared {
        deliverer.unreachable(&job, &unserved.unreachable, unserved.started).await;
    }
}

/// A destination that has no connection and nothing to do goes, unless it is remembered for not answering.
fn forget(destination: &Arc<Destination>, open: &Mutex<HashMap<String, Arc<Destination>>>) {
    let mut open = locked(open);
    let state = locked(&destination.state);
    if !state.is_busy() && state.failures == 0 {
        open.remove(&destination.name);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counters and queues are whole after any panic: nothing is left half-changed across an await.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
