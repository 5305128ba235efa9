//! The server's configuration file. Written anew at every start: the program's version decides, not the file of an older one.

use std::path::Path;

/// What differs from one installation to the next.
pub(super) struct Settings<'a> {
    /// Holds the unix socket; the only way in.
    pub(super) sockets: &'a Path,
    /// Shown in front of every process title, which is how leftovers of this cluster are recognised.
    pub(super) name: &'a str,
}

/// Everything the promises and the speed rest on. Durability first: an acknowledged message must survive a power cut.
const FIXED: &str = "\
# Written by `postroad up` at every start. Changes belong in extra.conf beside this file, which is read last.

# One machine, one product: a unix socket and nothing else.
listen_addresses = ''
port = 5432
unix_socket_permissions = 0700
max_connections = 60
superuser_reserved_connections = 3

# Durability. `postroad` refuses to be ready when one of these three is off.
fsync = on
synchronous_commit = on
full_page_writes = on

# The log is for crash recovery alone: nobody replicates from it. Bodies are incompressible enough not to try.
wal_level = minimal
max_wal_senders = 0
wal_compression = off
wal_buffers = 16MB
min_wal_size = 256MB
max_wal_size = 1GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9

# Memory: the queue is small, bodies are written once and read once.
shared_buffers = 64MB
effective_cache_size = 512MB
work_mem = 4MB
maintenance_work_mem = 64MB
huge_pages = try

# Short statements: planning in parallel or compiling them costs more than it gives.
jit = off
max_parallel_workers_per_gather = 0
max_worker_processes = 4
max_logical_replication_workers = 0
max_locks_per_transaction = 128

# The queue's rows live for seconds: vacuum has to come often, and is then small.
autovacuum_naptime = 15s
autovacuum_max_workers = 2
autovacuum_vacuum_cost_limit = 1000

# A client of ours that hangs must not hold back vacuum.
idle_in_transaction_session_timeout = 60s

logging_collector = off
log_destination = stderr
log_min_messages = warning
log_line_prefix = '%m [%p] %a '
log_timezone = 'UTC'
timezone = 'UTC'
lc_messages = 'C'
";

/// The text of `postgresql.conf`.
pub(super) fn render(settings: &Settings<'_>) -> String {
    format!(
        "{FIXED}\nunix_socket_directories = {}\ncluster_name = {}\ninclude_if_exists = 'extra.conf'\n",
        quoted(&settings.sockets.to_string_lossy()),
        quoted(settings.name),
    )
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_on_and_there_is_no_way_in_by_network() {
        let text = render(&Settings {
            sockets: Path::new("/tmp/it's"),
            name: "postroad-1",
        });
        for line in [
            "fsync = on",
            "synchronous_commit = on",
            "full_page_writes = on",
            "listen_addresses = ''",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
        assert!(text.contains("unix_socket_directories = '/tmp/it''s'"), "{text}");
    }
}
