//! The running server: a thread of its own starts it, waits for it, and starts it again when it dies under us.
//!
//! The thread matters: the kernel's "parent died" signal is sent when the *thread* that started the child ends, so a pool's thread,
//! which may be let go when idle, would take the database with it.

use super::{Cluster, Death, ROLE};
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::migrate::MigrateDatabase;
use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    process::{Child, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// A log above this size is put aside at start.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
/// Waits between starts of a server that keeps dying double up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long an orderly stop may take before the server is told to drop everything (it then recovers at the next start).
const FAST_SHUTDOWN: Duration = Duration::from_secs(40);

/// A server that accepts connections, until [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    cluster: Cluster,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The postmaster, while there is one.
    child: Option<Pid>,
    /// Once it was ready, it is started again when it ends.
    was_ready: bool,
    stopping: bool,
    /// The thread is done, with the reason when nobody asked it to be.
    ended: Option<String>,
}

impl Server {
    /// Begins to start the server; [`Server::ready`] tells when it takes connections. Whatever comes of that, [`Server::stop`] ends it.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn launch(cluster: Cluster) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let server = Self {
            cluster: cluster.clone(),
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("postgresql".to_owned())
            .spawn(move || {
                let reason = shared
                    .keep_running(&cluster)
                    .err()
                    .map_or_else(String::new, |error| format!("{error:#}"));
                shared.lock().ended = Some(reason);
                shared.changed.notify_all();
            })
            .context("starting the thread that watches PostgreSQL")?;
        Ok(server)
    }

    /// [`Server::launch`] and [`Server::ready`] in one; stopped again when it does not become ready.
    ///
    /// # Errors
    /// As those two.
    pub async fn start(cluster: Cluster) -> anyhow::Result<Self> {
        let server = Self::launch(cluster)?;
        match server.ready().await {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until the server takes connections; recovery after a crash is part of the wait. The database is made when missing.
    ///
    /// # Errors
    /// When the server ends instead; the text holds the end of its log.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.accepting().await?;
        let url = self.url();
        // A start that was interrupted between initdb and here is completed by the next.
        if !sqlx::Postgres::database_exists(&url)
            .await
            .context("connecting to the embedded database")?
        {
            sqlx::Postgres::create_database(&url)
                .await
                .with_context(|| format!("creating the database {ROLE}"))?;
        }
        Ok(())
    }

    /// What to connect to.
    #[must_use]
    pub fn url(&self) -> String {
        self.cluster.url()
    }

    async fn accepting(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut told = 0;
        loop {
            {
                let mut state = self.shared.lock();
                if let Some(reason) = &state.ended {
                    bail!("the embedded PostgreSQL did not start: {reason}");
                }
                if state.child.is_some_and(|child| self.says_ready(child)) {
                    state.was_ready = true;
                    tracing::info!(
                        elapsed_ms = start.elapsed().as_secs_f64() * 1000.0,
                        "the embedded database is ready"
                    );
                    return Ok(());
                }
            }
            if start.elapsed().as_secs() / 10 > told {
                told = start.elapsed().as_secs() / 10;
                tracing::warn!(
                    waited_s = told * 10,
                    "the embedded database is still starting: it recovers from an unclean stop"
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The postmaster's own word, as `pg_ctl` reads it: its pid in the first line, its state in the eighth.
    fn says_ready(&self, child: Pid) -> bool {
        let Ok(text) = fs::read_to_string(self.cluster.directory.join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines();
        lines.next().and_then(|line| line.trim().parse().ok()) == Some(child.as_raw_nonzero().get())
            && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    /// Stops the server in order and waits for its end. Whoever still has a connection is cut off.
    pub async fn stop(self) {
        let start = Instant::now();
        let mut sent = 0;
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        loop {
            {
                let state = self.shared.lock();
                if state.ended.is_some() {
                    break;
                }
                let stage = match start.elapsed() {
                    e if e < FAST_SHUTDOWN => 1,
                    e if e < 2 * FAST_SHUTDOWN => 2,
                    _ => 3,
                };
                if let Some(child) = state.child
                    && stage > sent
                {
                    sent = stage;
                    let signal = match stage {
                        1 => Signal::INT,
                        2 => Signal::QUIT,
                        _ => Signal::KILL,
                    };
                    // Gone already is what we want.
                    let _ = kill_process(child, signal);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A postmaster that was killed hard may leave children for a moment.
        let traces = self.cluster.traces();
        if let Err(stuck) = traces.clear(|wait| self.shared.pause_regardless(wait)) {
            tracing::error!(%stuck, "the embedded database did not stop");
        }
        let _ = fs::remove_dir(&self.cluster.sockets);
        tracing::debug!(
            elapsed_ms = start.elapsed().as_secs_f64() * 1000.0,
            "the embedded database is stopped"
        );
    }
}

impl Drop for Server {
    /// The way out of an error: tells the server to stop and does not wait. [`Server::stop`] has nothing left for it to do.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.ended.is_none() && !state.stopping {
            state.stopping = true;
            if let Some(child) = state.child {
                let _ = kill_process(child, Signal::INT);
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of ours panics while it holds the lock, and every state in it is a valid one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the server until told to stop. An error is an end before it was ever ready.
    fn keep_running(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let mut pause = Duration::from_millis(100);
        loop {
            let began = Instant::now();
            let outcome = self.run_once(cluster);
            let state = self.lock();
            if state.stopping {
                return Ok(());
            }
            if !state.was_ready {
                drop(state);
                outcome?;
                bail!("it ended by itself. The end of {}:\n{}", cluster.log.display(), tail(cluster));
            }
            drop(state);
            let outcome = outcome.err().map_or_else(|| "it ended".to_owned(), |error| format!("{error:#}"));
            tracing::error!(%outcome, log = %cluster.log.display(), "the embedded database is down; starting it again");
            if began.elapsed() > 6 * LONGEST_PAUSE {
                pause = Duration::from_millis(100);
            }
            if self.pause(pause) {
                return Ok(());
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// One life of the server, from the clearing of what the last one left to the end of the postmaster.
    fn run_once(&self, cluster: &Cluster) -> anyhow::Result<()> {
        cluster.traces().clear(|wait| self.pause(wait))?;
        cluster.furnish()?;
        let mut child = {
            let mut state = self.lock();
            if state.stopping {
                return Ok(());
            }
            let child = spawn(cluster)?;
            state.child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            child
        };
        let status = child.wait();
        self.lock().child = None;
        let status = status.context("waiting for PostgreSQL")?;
        tracing::debug!(%status, "PostgreSQL ended");
        Ok(())
    }

    /// Sleeps unless a stop is asked for; true when one is.
    fn pause(&self, wait: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), wait, |state| !state.stopping);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    /// Sleeps; never gives up.
    fn pause_regardless(&self, wait: Duration) -> bool {
        drop(self.changed.wait_timeout_while(self.lock(), wait, |_| true));
        false
    }
}

fn spawn(cluster: &Cluster) -> anyhow::Result<Child> {
    if fs::metadata(&cluster.log).is_ok_and(|log| log.len() > LOG_BYTES) {
        fs::rename(&cluster.log, cluster.log.with_extension("log.old"))?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&cluster.log)
        .with_context(|| format!("opening {}", cluster.log.display()))?;
    let program = cluster.binaries.program("postgres");
    let arguments = [OsStr::new("-D"), cluster.directory.as_os_str()];
    cluster
        .owner
        .command(&program, &arguments, Death::FastShutdown)
        .current_dir(&cluster.directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("running {}", program.display()))
}

/// The last lines of the server's log.
fn tail(cluster: &Cluster) -> String {
    let mut text = Vec::new();
    let read = fs::File::open(&cluster.log).and_then(|mut log| {
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(2000)))?;
        log.read_to_end(&mut text)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("(unreadable: {error})"),
    }
}
