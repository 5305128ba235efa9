//! `postroad up`: database, secret, first account, then the three services in one process, and all of it undone in order at the end.

use crate::{
    bootstrap::{self, FirstStart},
    commands::say,
    data_directory::{DataDirectory, Hold},
    embedded::{Cluster, Server},
    services,
};
use anyhow::{Context as _, bail};
use assembly::Assembly;
use config::Config;
use service::{Context, Process};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use store::{PgPool, schema};
use tokio_util::sync::CancellationToken;

/// How long a start waits for a command (`postroad api-key create`) that has the data directory for a moment.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the page waits for the listeners; then it is shown all the same.
const LISTENING: Duration = Duration::from_secs(30);

/// Runs everything until told to stop.
///
/// # Errors
/// With what kept it from starting, or the fault that ended it.
pub(crate) async fn up(mut config: Config) -> anyhow::Result<()> {
    let process = Process::set_up(&config)?;
    let data = if config.database.url.is_none() || config.secret_key.is_none() {
        Some(DataDirectory::open(&config.data_dir)?)
    } else {
        None
    };
    let (Some(data), None) = (&data, &config.database.url) else {
        keep_secret(&mut config, data.as_ref())?;
        return serve(process, config, false).await;
    };
    let hold = hold(data).await?;
    let server = Server::launch(Cluster::prepare(data, &hold)?)?;
    let outcome = on_embedded(process, config, data, &server).await;
    server.stop().await;
    drop(hold);
    outcome
}

async fn on_embedded(process: Process, mut config: Config, data: &DataDirectory, server: &Server) -> anyhow::Result<()> {
    let stop = process.stop();
    tokio::select! {
        ready = server.ready() => ready?,
        () = stop.cancelled() => return Ok(()),
    }
    config.database.url = Some(server.url().into());
    keep_secret(&mut config, Some(data))?;
    serve(process, config, true).await
}

/// Takes the data directory, or says who has it.
async fn hold(data: &DataDirectory) -> anyhow::Result<Hold> {
    let begin = Instant::now();
    loop {
        if let Some(hold) = data.hold()? {
            return Ok(hold);
        }
        if begin.elapsed() > PATIENCE {
            bail!("{} already runs on {}", data.holder(), data.path().display());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn keep_secret(config: &mut Config, data: Option<&DataDirectory>) -> anyhow::Result<()> {
    if let (None, Some(data)) = (&config.secret_key, data) {
        config.secret_key = Some(data.secret_key()?);
    }
    Ok(())
}

/// Everything from the schema on. `alone`: no other process can be working on this database.
async fn serve(process: Process, config: Config, alone: bool) -> anyhow::Result<()> {
    let context = Context::new(config, process.stop())?;
    if !migrated(&context.pool, &context.stop).await? {
        return Ok(());
    }
    service::run(process, context, async move |context, parts| {
        let assembly = Assembly::of(context).await?;
        let first = bootstrap::first_start(&context.config, &context.pool, &assembly.secrets).await?;
        services::begin(context, parts, &assembly, alone).await?;
        if let Some(first) = first {
            tokio::spawn(welcome(first, context.clone()));
        }
        Ok(())
    })
    .await
}

/// Waits for the database and migrates it; `false` when told to stop meanwhile. A schema of a later version is left to be refused.
async fn migrated(pool: &PgPool, stop: &CancellationToken) -> anyhow::Result<bool> {
    let mut waiting = false;
    loop {
        match schema::state(pool).await {
            Ok(schema::State::Behind) => {
                store::migrate(pool).await.context("migrating the database")?;
                return Ok(true);
            }
            Ok(schema::State::Current | schema::State::Unknown) => return Ok(true),
            Err(error) if !waiting => {
                waiting = true;
                tracing::warn!(%error, "the database does not answer: waiting for it");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// Shows the page once everything it mentions is there.
async fn welcome(first: FirstStart, context: Context) {
    let config = &context.config;
    let begin = Instant::now();
    let mut waited_for: Vec<SocketAddr> = config.smtp.listen.iter().copied().chain([config.api.listen]).collect();
    while let Some(address) = waited_for.last() {
        if tokio::net::TcpStream::connect(bootstrap::reachable(*address)).await.is_ok() || begin.elapsed() > LISTENING {
            waited_for.pop();
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    if context.stop.is_cancelled() {
        return;
    }
    say(&first.page(config));
    if let Err(error) = first.shown(&context.pool).await {
        tracing::warn!(%error, "the page of the first start will be shown again");
    }
}
