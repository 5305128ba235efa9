//! The dispatcher: claims what is due, as much as there is room for, and hands it to its destinations.

use crate::{
    deliver::Deliverer,
    destination::{Destinations, Down},
    endpoint::Caller,
    job::Job,
    lane_book::LaneBook,
    writer::{Finished, Settled},
};
use chrono::{DateTime, Utc};
use intake::Wake;
use std::{collections::HashMap, sync::Arc, time::Duration};
use store::{
    PgPool, lanes,
    queue::{self, BatchConnection, Claimed, Want},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// Bodies up to this size are fetched with their claim; a larger one when its turn comes.
const SMALL_BODY: i32 = 1 << 20;
/// A claim for one or two rows costs nearly as much as one for a hundred: while most hands are full it waits for more, but no longer than this.
const HOLD_BACK: Duration = Duration::from_millis(50);
/// Octets fetched with one claim.
const BODIES_OF_A_CLAIM: usize = 32 << 20;

/// Under load a small claim is followed by the next one only after this: a claim and what follows from it (details, bodies, outcomes) cost
/// the database nearly as much for one delivery as for thirty. A delivery that comes alone is claimed at once.
const PACE: Duration = Duration::from_millis(15);
/// A claim of so many needs no pacing.
const FULL_CLAIM: usize = 64;

/// Claims and hands out.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    /// The database.
    pub(crate) pool: PgPool,
    /// Hints of new mail.
    pub(crate) wake: Wake,
    /// Runs the transactions.
    pub(crate) deliverer: Arc<Deliverer>,
    /// Everything goes to one place: relay and capture mode.
    pub(crate) only_destination: Option<&'static str>,
    /// Deliveries in hand at a time.
    pub(crate) concurrency: usize,
    /// Calls HTTP destinations.
    pub(crate) caller: Arc<Caller>,
    /// The calls in progress.
    pub(crate) calls: TaskTracker,
    /// How often the database is asked what is due when nobody has called.
    pub(crate) poll_interval: Duration,
}

/// What the loop remembers.
struct Desk {
    book: LaneBook,
    connection: Option<BatchConnection>,
    in_hand: usize,
    next_discovery: Instant,
    last_claim: Instant,
    /// Not before then.
    next_claim: Instant,
    /// A claim waits for more room, or its time.
    held_back: bool,
}

impl Dispatcher {
    /// Runs until stopped, then waits for the transactions in progress. `incarnation` is the worker that claims are booked on; it changes when
    /// this worker has been taken for dead.
    pub(crate) async fn run(
        self,
        incarnation: tokio::sync::watch::Receiver<Uuid>,
        mut settled: mpsc::Receiver<Settled>,
        stop: CancellationToken,
    ) {
        let (destinations, mut down) = Destinations::new(self.deliverer.clone(), stop.clone());
        let mut desk = Desk {
            book: LaneBook::default(),
            connection: None,
            in_hand: 0,
            next_discovery: Instant::now(),
            next_claim: Instant::now(),
            last_claim: Instant::now(),
            held_back: false,
        };
        while !stop.is_cancelled() {
            if Instant::now() >= desk.next_discovery {
                self.discover(&mut desk).await;
            }
            let me = *incarnation.borrow(); // not across the await: the guard is no more Send than any lock's
            if self.claim(&mut desk, me, &destinations).await {
                // There may be more, but what has been settled meanwhile makes room first.
                while let Ok(one) = settled.try_recv() {
                    desk.settle(one);
                }
                continue;
            }
            tokio::select! {
                lanes = self.wake.next() => self.hint(&mut desk, lanes.into_iter().collect()).await,
                Some(one) = settled.recv() => {
                    desk.settle(one);
                    while let Ok(one) = settled.try_recv() {
                        desk.settle(one);
                    }
                }
                Some(one) = down.recv() => self.rest(&mut desk, &one),
                () = tokio::time::sleep_until(desk.wake_at()) => {}
                () = stop.cancelled() => {}
            }
        }
        // Outcomes go on being settled while the connections finish.
        drop(down); // nobody rests any more, and nobody must wait for saying so
        let settling = tokio::spawn(async move { while settled.recv().await.is_some() {} });
        destinations.drain().await;
        self.calls.close();
        self.calls.wait().await;
        settling.abort();
    }

    async fn discover(&self, desk: &mut Desk) {
        let started = Instant::now();
        match lanes::due(&self.pool).await {
            Ok(found) => {
                desk.book.forget_idle();
                for lane in found {
                    desk.book.discovered(lane);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot see what is due"),
        }
        // Never more than a twentieth of the time, however many lanes there are.
        desk.next_discovery = Instant::now() + self.poll_interval.max(started.elapsed() * 20);
    }

    async fn hint(&self, desk: &mut Desk, lanes: Vec<i64>) {
        let now = Utc::now();
        let unknown: Vec<i64> = lanes.iter().copied().filter(|lane| !desk.book.knows(*lane)).collect();
        if !unknown.is_empty() {
            match lanes::by_ids(&self.pool, &unknown).await {
                Ok(found) => found.into_iter().for_each(|lane| desk.book.discovered(lane)),
                Err(error) => tracing::debug!(%error, "a wake-up is left to the next discovery"),
            }
        }
        for lane in lanes {
            desk.book.hint(lane, now);
        }
    }

    fn rest(&self, desk: &mut Desk, down: &Down) {
        let until = Utc::now() + chrono::Duration::from_std(down.rest).unwrap_or_default();
        metrics::counter!("postroad_destination_rests_total").increment(1);
        match self.only_destination {
            Some(_) => desk.book.pause_all(until),
            None => desk.book.pause(&down.destination, until),
        }
    }

    /// Claims once and hands out what came. `true`: something came.
    async fn claim(&self, desk: &mut Desk, incarnation: Uuid, destinations: &Destinations) -> bool {
        let room = self.concurrency.saturating_sub(desk.in_hand);
        desk.held_back = room > 0 && room < self.concurrency.div_ceil(4) && desk.last_claim.elapsed() < HOLD_BACK;
        if room == 0 || desk.held_back {
            return false;
        }
        let wants = desk.book.choose(Utc::now(), room);
        if wants.is_empty() {
            return false;
        }
        desk.last_claim = Instant::now();
        tokio::time::sleep_until(desk.next_claim).await;
        let claimed = match self.try_claim(desk, incarnation, &wants).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "nothing could be claimed");
                desk.connection = None;
                tokio::time::sleep(Duration::from_millis(200)).await;
                return false;
            }
        };
        metrics::histogram!("postroad_claim_batch_size").record(claimed.len() as f64);
        desk.book.claimed(&wants, &claimed);
        desk.next_claim = Instant::now() + if claimed.len() < FULL_CLAIM { PACE } else { Duration::ZERO };
        desk.in_hand += claimed.len();
        if claimed.is_empty() {
            return false;
        }
        self.hand_out(desk, claimed, destinations).await;
        true
    }

    async fn try_claim(&self, desk: &mut Desk, incarnation: Uuid, wants: &[Want]) -> store::Result<Vec<Claimed>> {
        if desk.connection.is_none() {
            desk.connection = Some(queue::batch_connection(&self.pool).await?);
        }
        match desk.connection.as_deref_mut() {
            Some(connection) => queue::claim(connection, incarnation, wants).await,
            None => Ok(Vec::new()),
        }
    }

    async fn hand_out(&self, desk: &mut Desk, claimed: Vec<Claimed>, destinations: &Destinations) {
        let (mut jobs, unreadable) = Job::group(claimed);
        for (lane, outcome) in unreadable {
            self.deliverer
                .writer
                .write(Finished {
                    lane,
                    outcomes: vec![outcome],
                    attempts: Vec::new(),
                })
                .await;
        }
        self.fetch_bodies(desk, &mut jobs).await;
        for job in jobs {
            if job.is_call() && self.only_destination != Some(CAPTURE) {
                self.calls.spawn(call(self.caller.clone(), self.deliverer.clone(), job));
                continue;
            }
            match self.only_destination {
                Some(CAPTURE) => self.deliverer.capture(&job).await,
                Some(only) => destinations.push(only, job),
                None => {
                    let destination = desk.book.destination(job.head().lane).map(str::to_owned);
                    destinations.push(destination.as_deref().unwrap_or_default(), job);
                }
            }
        }
    }

    /// Fetches the small bodies of a claim at once. One that is missing from the answer is looked for again when its turn comes.
    async fn fetch_bodies(&self, desk: &mut Desk, jobs: &mut [Job]) {
        let mut left = BODIES_OF_A_CLAIM;
        let mut wanted = Vec::new();
        for head in jobs.iter().map(Job::head).filter(|head| head.size_bytes <= SMALL_BODY) {
            let size = usize::try_from(head.size_bytes).unwrap_or(0);
            if size <= left && wanted.last() != Some(&head.message) {
                left -= size;
                wanted.push(head.message);
            }
        }
        let Some(connection) = desk.connection.as_deref_mut() else { return };
        let found = match queue::bodies(connection, &wanted).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "bodies are fetched one by one");
                desk.connection = None;
                return;
            }
        };
        let mut bodies: HashMap<_, _> = found.into_iter().collect();
        let uses = jobs.iter().fold(HashMap::new(), |mut uses, job| {
            *uses.entry(job.head().message).or_insert(0) += 1;
            uses
        });
        for job in jobs {
            let message = job.head().message;
            job.body = if uses.get(&message) == Some(&1) {
                bodies.remove(&message)
            } else {
                bodies.get(&message).cloned()
            };
        }
    }
}

async fn call(caller: Arc<Caller>, deliverer: Arc<Deliverer>, job: Job) {
    caller.deliver(&deliverer, &job).await;
}

/// The name under which capture mode's only destination goes.
pub(crate) const CAPTURE: &str = "capture";
/// The name under which relay mode's only destination goes.
pub(crate) const RELAY: &str = "relay";

impl Desk {
    fn settle(&mut self, settled: Settled) {
        self.in_hand = self.in_hand.saturating_sub(settled.count());
        settled.note(&mut self.book);
    }

    /// When to look again without being called.
    fn wake_at(&self) -> Instant {
        let now: DateTime<Utc> = Utc::now();
        let due = self
            .book
            .next_due()
            .and_then(|due| (due - now).to_std().ok())
            .map(|wait| Instant::now() + wait.max(Duration::from_millis(5)));
        let held_back = self.held_back.then(|| self.last_claim + HOLD_BACK);
        [due, held_back].into_iter().flatten().fold(self.next_discovery, Instant::min)
    }
}
