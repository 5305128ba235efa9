//! Processes and files that an earlier life of this cluster left behind. A `kill -9` of ours is followed by the kernel telling the
//! server to stop, which takes a moment; on a system without that the server simply stays. Either way the directory is ours
//! (the caller holds its lock), so the old server is stopped, never shared.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// How long an old server may take for an orderly stop; it may have a checkpoint to write.
const FAST_SHUTDOWN: Duration = Duration::from_secs(30);
/// After that, how long for one without a checkpoint.
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(10);

/// A cluster, as its processes show it.
#[derive(Debug, Clone)]
pub(super) struct Traces<'a> {
    /// `-D` of the postmaster.
    pub(super) directory: &'a Path,
    /// `cluster_name`, in the titles of all others.
    pub(super) name: &'a str,
    /// Where the socket lies.
    pub(super) sockets: &'a Path,
}

/// The old server did not go away.
#[derive(Debug, thiserror::Error)]
#[error("an old PostgreSQL server of this directory does not stop (processes {0:?})")]
pub(super) struct Stuck(Vec<i32>);

impl Traces<'_> {
    /// Stops every process of the cluster, then removes lock and socket files. `pause` sleeps and returns true to give up early.
    ///
    /// The lock file of PostgreSQL is removed only when no process is left, backends included: it is what keeps two servers from
    /// sharing one directory.
    ///
    /// # Errors
    /// [`Stuck`] when even SIGKILL does not help.
    pub(super) fn clear(&self, pause: impl Fn(Duration) -> bool) -> Result<(), Stuck> {
        let start = Instant::now();
        let mut stage = 0;
        loop {
            let found = self.processes();
            if found.is_empty() {
                break;
            }
            let elapsed = start.elapsed();
            let due = match elapsed {
                e if e < FAST_SHUTDOWN => 1,
                e if e < FAST_SHUTDOWN + IMMEDIATE_SHUTDOWN => 2,
                e if e < FAST_SHUTDOWN + 2 * IMMEDIATE_SHUTDOWN => 3,
                _ => return Err(Stuck(found.iter().map(|process| process.pid).collect())),
            };
            // Children whose postmaster is gone know no fast shutdown: they get the immediate one.
            let orphaned = found.iter().all(|process| !process.postmaster);
            let due = if orphaned { due.max(2) } else { due };
            if due > stage {
                stage = due;
                tracing::info!(
                    processes = found.len(),
                    stage,
                    "stopping a PostgreSQL server that an earlier run left"
                );
                for process in found.iter().filter(|process| orphaned || stage == 3 || process.postmaster) {
                    process.signal(match stage {
                        1 => Signal::INT,
                        2 => Signal::QUIT,
                        _ => Signal::KILL,
                    });
                }
            }
            if pause(Duration::from_millis(20)) {
                return Ok(());
            }
        }
        for stale in [
            self.directory.join("postmaster.pid"),
            self.sockets.join(".s.PGSQL.5432"),
            self.sockets.join(".s.PGSQL.5432.lock"),
        ] {
            if fs::remove_file(&stale).is_ok() {
                tracing::debug!(file = %stale.display(), "removed what a killed server left");
            }
        }
        Ok(())
    }

    fn processes(&self) -> Vec<Process> {
        let directory = self.directory.to_string_lossy();
        let title = format!("postgres: {}: ", self.name);
        running()
            .into_iter()
            .filter_map(|(pid, arguments)| {
                let server = arguments.iter().any(|argument| argument.rsplit('/').next() == Some("postgres"));
                let postmaster = server && arguments.windows(2).any(|pair| pair[0] == "-D" && pair[1] == directory);
                let child = arguments.first().is_some_and(|first| first.starts_with(&title));
                (postmaster || child).then_some(Process { pid, postmaster })
            })
            .collect()
    }
}

struct Process {
    pid: i32,
    postmaster: bool,
}

impl Process {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It may have ended since: nothing to do then.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Every process with its arguments. /proc where there is one; titles are world-readable there, unlike working directories.
fn running() -> Vec<(i32, Vec<String>)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return by_ps();
    };
    let found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect()))
        })
        .collect();
    if found.is_empty() { by_ps() } else { found }
}

/// The same without /proc; arguments with spaces come apart, which our own paths under test do not have.
fn by_ps() -> Vec<(i32, Vec<String>)> {
    let Ok(output) = Command::new("ps").args(["-axww", "-o", "pid=,command="]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let (pid, command) = line.trim().split_once(' ')?;
            let title = command.trim();
            let arguments = if title.starts_with("postgres: ") {
                vec![title.to_owned()]
            } else {
                title.split(' ').map(str::to_owned).collect()
            };
            Some((pid.parse().ok()?, arguments))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_killed_server_are_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock", "PG_VERSION"] {
            fs::write(directory.path().join(name), "1\n").unwrap();
        }
        let traces = Traces {
            directory: directory.path(),
            name: "postroad-none",
            sockets: directory.path(),
        };
        traces.clear(|_| false).unwrap();
        let left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(left, ["PG_VERSION"]);
    }

    #[test]
    fn this_process_is_seen_with_its_arguments() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(running().iter().any(|(pid, arguments)| *pid == me && !arguments.is_empty()));
    }
}
