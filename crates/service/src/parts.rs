//! The parts of a process: begun together, stopped together, and named when one does not finish.

use anyhow::{Context as _, anyhow};
use std::{collections::HashMap, future::Future, time::Duration};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

type Ended = Result<(Id, anyhow::Result<()>), JoinError>;

/// Parts that run until `stop` is cancelled. One that ends before, for whatever reason, stops the others.
#[derive(Debug)]
pub struct Parts {
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    /// None yet.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Begins a part. It has to return soon after `stop` is cancelled, once what it has in hand is finished.
    pub fn spawn(&mut self, name: &'static str, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let id = self.tasks.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Waits for the stop, then for every part, at most for `grace`.
    ///
    /// # Errors
    /// The first fault of a part: its error, its panic, its ending without being told, its not finishing in time.
    pub async fn finish(mut self, grace: Duration) -> anyhow::Result<()> {
        let mut fault = None;
        tokio::select! {
            () = self.stop.cancelled() => {}
            Some(ended) = self.tasks.join_next_with_id() => {
                let unasked = !self.stop.is_cancelled();
                let name = self.name(&ended);
                fault = self.note(ended).or_else(|| unasked.then(|| anyhow!("{name} ended without being told to")));
                self.stop.cancel();
            }
        }
        let deadline = tokio::time::sleep(grace);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    Some(ended) => {
                        let later = self.note(ended);
                        fault = fault.or(later);
                    }
                    None => break,
                },
                () = &mut deadline => {
                    let mut names: Vec<&str> = self.names.values().copied().collect();
                    names.sort_unstable();
                    let names = names.join(", ");
                    tracing::error!(parts = names, grace_seconds = grace.as_secs_f64(), "did not finish within the grace");
                    fault = fault.or_else(|| Some(anyhow!("{names} did not finish within {grace:?}")));
                    break;
                }
            }
        }
        fault.map_or(Ok(()), Err)
    }

    fn name(&self, ended: &Ended) -> &'static str {
        let id = match ended {
            Ok((id, _)) => *id,
            Err(broken) => broken.id(),
        };
        self.names.get(&id).copied().unwrap_or("a part")
    }

    /// Says how a part ended, and returns its fault.
    fn note(&mut self, ended: Ended) -> Option<anyhow::Error> {
        let name = self.name(&ended);
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome.context(name)),
            Err(broken) => (broken.id(), Err(anyhow!("{name} panicked"))),
        };
        self.names.remove(&id);
        match outcome {
            Ok(()) => {
                tracing::info!(part = name, "finished");
                None
            }
            Err(fault) => {
                tracing::error!(part = name, cause = format!("{fault:#}"), "ended with a fault");
                Some(fault)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> (Parts, CancellationToken) {
        let stop = CancellationToken::new();
        (Parts::new(stop.clone()), stop)
    }

    #[tokio::test]
    async fn parts_that_finish_after_the_stop_end_well() {
        let (mut parts, stop) = parts();
        for name in ["smtp", "worker"] {
            let stop = stop.clone();
            parts.spawn(name, async move {
                stop.cancelled().await;
                Ok(())
            });
        }
        stop.cancel();
        parts.finish(Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn a_part_that_fails_stops_the_others_and_is_named() {
        let (mut parts, stop) = parts();
        let other = stop.clone();
        parts.spawn("worker", async move {
            other.cancelled().await;
            Ok(())
        });
        parts.spawn("smtp", async { Err(anyhow!("address in use")) });
        let fault = parts.finish(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(format!("{fault:#}"), "smtp: address in use");
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_part_must_neither_panic_nor_end_unasked() {
        let (mut panicking, _stop) = parts();
        panicking.spawn("api", async { panic!("a fault") });
        assert_eq!(
            panicking.finish(Duration::from_secs(5)).await.unwrap_err().to_string(),
            "api panicked"
        );
        let (mut ending, _stop) = parts();
        ending.spawn("api", async { Ok(()) });
        assert_eq!(
            ending.finish(Duration::from_secs(5)).await.unwrap_err().to_string(),
            "api ended without being told to"
        );
    }

    #[tokio::test]
    async fn who_does_not_finish_in_time_is_named() {
        let (mut parts, stop) = parts();
        parts.spawn("worker", std::future::pending());
        parts.spawn("smtp", async { Ok(()) });
        stop.cancel();
        let fault = parts.finish(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(fault.to_string(), "worker did not finish within 50ms");
    }
}
