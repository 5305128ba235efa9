//! postroad-worker: delivers what is in the queue, and does what has to be done on a schedule.
//!
//! Promises: an attempt is booked and committed before anybody is dialled; no transaction is open while we talk to a stranger; the
//! outcome of every recipient is written, or the attempt is recorded as in doubt; a stop lets running transactions finish and gives
//! back what was not begun. Any number of workers may run.
//!
//! Delivery is at least once: a message whose server vanished after the final dot is sent again.

pub mod deliver;
pub mod destination;
pub mod dial;
mod dispatcher;
mod endpoint;
mod heartbeat;
mod identity;
pub mod job;
mod jobs;
pub mod lane_book;
mod local;
pub mod outcome;
pub mod schedule;
pub mod writer;

use anyhow::Context as _;
use assembly::Assembly;
use auth::secrets::Purpose;
use config::Mode;
use deliver::{Deliverer, MEMORY_KIB};
use destination::ConnectionLimits;
use dial::{Clients, Dialer};
use dispatcher::{CAPTURE, Dispatcher, RELAY};
use dns::{Guard, Name};
use endpoint::Caller;
use identity::Identities;
use mail::{Domain, return_path::ReturnPaths};
use smtp::client::Timeouts;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use writer::Writer;

/// Everything the worker works with, built once by whoever starts it.
#[derive(Debug, Clone)]
pub struct Deps {
    /// What every service is built of.
    pub assembly: Assembly,
    /// No other worker can be running: the embedded database has one master.
    pub alone: bool,
}

/// Runs the worker as a program of its own until the context's stop.
///
/// # Errors
/// When the parts cannot be built, or [`run`] cannot be set up.
pub async fn start(context: service::Context) -> anyhow::Result<()> {
    let assembly = Assembly::of(&context).await?;
    let listening = tokio::spawn(intake::listen(assembly.wake.clone(), assembly.pool.clone(), context.stop.clone()));
    run(Deps { assembly, alone: false }, context.stop).await?;
    listening.await.context("listening for new mail")
}

/// Deliveries in hand at a time at most: the channels between the parts have room for so many.
const MOST_IN_HAND: usize = 2_000;

/// Runs the worker until stopped; returns when what was running has finished.
///
/// # Errors
/// When it cannot be set up from these settings.
pub async fn run(deps: Deps, stop: CancellationToken) -> anyhow::Result<()> {
    let Deps { assembly, alone } = deps;
    let deps = Arc::new(assembly);
    let config = &deps.config;
    let (heartbeat, incarnation) = heartbeat::Heartbeat::start(
        deps.pool.clone(),
        config.smtp.hostname.clone(),
        config.delivery.quarantine_after,
        alone,
    )
    .await;
    let (writer, settled, writing) = Writer::start(deps.pool.clone());
    let deliverer = Arc::new(deliverer(&deps, writer)?);
    let tracker = TaskTracker::new();
    jobs::start(&deps, &tracker, &stop);
    // The heart beats until the last outcome is written, or others would take over what is still running.
    let beating = CancellationToken::new();
    let heart = tokio::spawn({
        let beating = beating.clone();
        async move {
            heartbeat.run(beating).await;
            heartbeat
        }
    });
    let dispatcher = Dispatcher {
        pool: deps.pool.clone(),
        wake: deps.wake.clone(),
        deliverer: deliverer.clone(),
        only_destination: match config.delivery.mode {
            Mode::Direct => None,
            Mode::Relay => Some(RELAY),
            Mode::Capture => Some(CAPTURE),
        },
        concurrency: config.delivery.concurrency.clamp(1, MOST_IN_HAND),
        caller: Arc::new(caller(&deps)?),
        calls: TaskTracker::new(),
        poll_interval: config.delivery.poll_interval,
    };
    dispatcher.run(incarnation, settled, stop).await;
    drop(deliverer); // the last handle of the writer: it ends when everything is written
    writing.await.context("the outcome writer")?;
    beating.cancel();
    heart.await.context("the heartbeat")?.stop().await;
    tracker.close();
    tracker.wait().await;
    Ok(())
}

fn deliverer(deps: &Assembly, writer: Writer) -> anyhow::Result<Deliverer> {
    let config = &deps.config;
    let delivery = &config.delivery;
    let hostname: Domain = config
        .smtp
        .hostname
        .parse()
        .context("POSTROAD_SMTP__HOSTNAME is not a domain name")?;
    let dialer = match delivery.mode {
        Mode::Capture => None,
        mode => Some(Dialer {
            resolver: deps.resolver.clone(),
            guard: Guard::new(delivery.allow_networks.clone()),
            mode,
            relay: delivery.relay.clone(),
            port: delivery.mx_port,
            hello: delivery.helo_name.clone(),
            own_name: Name::parse(&config.smtp.hostname).ok(),
            own_addresses: config.smtp.listen.clone(),
            connect_timeout: delivery.connect_timeout,
            timeouts: Timeouts {
                banner: delivery.command_timeout,
                command: delivery.command_timeout,
                mail: delivery.command_timeout,
                recipient: delivery.command_timeout,
                data: delivery.command_timeout,
                final_dot: delivery.final_dot_timeout,
                ..Timeouts::default()
            },
            tls: Clients::new().context("TLS for outgoing connections")?,
        }),
    };
    Ok(Deliverer {
        pool: deps.pool.clone(),
        dialer,
        identities: Identities::new(deps.pool.clone(), deps.secrets.clone()),
        return_paths: ReturnPaths::new(deps.secrets.key(Purpose::ReturnPath)),
        writer,
        schedule: delivery.retry_schedule.clone(),
        limits: ConnectionLimits {
            connections: delivery.connections_per_destination,
            transactions: delivery.messages_per_connection,
            idle: delivery.idle_timeout,
        },
        hostname,
        memory: Semaphore::new(MEMORY_KIB),
        intake: deps.intake.clone(),
    })
}

fn caller(deps: &Assembly) -> anyhow::Result<Caller> {
    let guard = Guard::new(deps.config.webhooks.allow_networks.clone());
    Caller::new(deps.pool.clone(), deps.secrets.clone(), deps.resolver.clone(), guard).context("HTTP for endpoints")
}
