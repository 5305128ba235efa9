//! The registry of probes, and what they say together.

use serde::Serialize;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const FRESH: Duration = Duration::from_secs(1);

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Healthy,
    /// Works, with something missing that it can do without.
    Degraded,
    /// Cannot do its work.
    Unhealthy,
}

/// What the failure of a probe means for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Without it nothing works: unhealthy.
    Required,
    /// We can do without: degraded.
    Optional,
}

/// One probe's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Component {
    /// The probe's name.
    pub name: &'static str,
    /// What its answer means for the whole.
    pub status: Status,
    /// How long the answer took.
    pub latency_ms: f64,
    /// What is wrong. For operators: not for strangers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// All answers together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The worst of them.
    pub status: Status,
    /// Each of them, in the order of registration.
    pub components: Vec<Component>,
}

impl Report {
    /// Whether work may be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status != Status::Unhealthy
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

#[derive(Clone)]
struct Probe {
    name: &'static str,
    importance: Importance,
    ask: Arc<dyn Fn() -> Answer + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    probes: Mutex<Vec<Probe>>,
    // Held while asking: whoever comes meanwhile gets the same answer.
    last: tokio::sync::Mutex<Option<(Instant, Report)>>,
    draining: AtomicBool,
}

/// The probes of this process. Clones share them.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.probes().iter().map(|probe| probe.name)).finish()
    }
}

impl Readiness {
    /// No probes yet: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a probe, or replaces the one of that name. It says what is wrong in words for an operator.
    pub fn register<F, A>(&self, name: &'static str, importance: Importance, probe: F)
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        let probe = Probe {
            name,
            importance,
            ask: Arc::new(move || Box::pin(probe())),
        };
        let mut probes = self.0.probes.lock().unwrap_or_else(PoisonError::into_inner);
        match probes.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = probe,
            None => probes.push(probe),
        }
    }

    /// From now on not ready, whatever the probes say: the process is ending, and no new work should come.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// What the probes say, at most a second old.
    pub async fn report(&self) -> Report {
        let mut last = self.0.last.lock().await;
        let mut report = match &*last {
            Some((at, report)) if at.elapsed() < FRESH => report.clone(),
            _ => {
                let report = self.ask_all().await;
                *last = Some((Instant::now(), report.clone()));
                report
            }
        };
        drop(last);
        if self.0.draining.load(Ordering::Acquire) {
            report.status = Status::Unhealthy;
            let message = Some("shutting down".to_owned());
            report.components.push(Component {
                name: "process",
                status: Status::Unhealthy,
                latency_ms: 0.0,
                message,
            });
        }
        let ready = match report.status {
            Status::Healthy => 1.0,
            Status::Degraded => 0.5,
            Status::Unhealthy => 0.0,
        };
        metrics::gauge!("postroad_ready").set(ready);
        report
    }

    fn probes(&self) -> Vec<Probe> {
        self.0.probes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask_all(&self) -> Report {
        let probes = self.probes();
        let mut tasks = JoinSet::new();
        for (index, probe) in probes.iter().enumerate() {
            let ask = probe.ask.clone();
            tasks.spawn(async move {
                let asked = Instant::now();
                let answer = tokio::time::timeout(PROBE_TIMEOUT, ask()).await;
                let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", PROBE_TIMEOUT.as_secs())));
                (index, answer, asked.elapsed())
            });
        }
        let mut components: Vec<Component> = probes
            .iter()
            .map(|probe| component(probe, Err("the probe panicked".into()), Duration::ZERO))
            .collect();
        while let Some(done) = tasks.join_next().await {
            if let Ok((index, answer, took)) = done {
                components[index] = component(&probes[index], answer, took);
            }
        }
        let status = components.iter().map(|component| component.status).max().unwrap_or(Status::Healthy);
        Report { status, components }
    }
}

fn component(probe: &Probe, answer: Result<(), String>, took: Duration) -> Component {
    let status = match (&answer, probe.importance) {
        (Ok(()), _) => Status::Healthy,
        (Err(_), Importance::Optional) => Status::Degraded,
        (Err(_), Importance::Required) => Status::Unhealthy,
    };
    let latency_ms = (took.as_secs_f64() * 100_000.0).round() / 100.0;
    Component {
        name: probe.name,
        status,
        latency_ms,
        message: answer.err(),
    }
}
