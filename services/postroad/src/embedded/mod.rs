//! A private PostgreSQL server: found on the system, made on first use, started as an unprivileged user, recovered after a `kill -9`,
//! stopped with us.
//!
//! Promises: no network listener; a socket that only its user (and root) can open; no second server on one directory; the server
//! ends when we end, whatever ends us (on Linux; elsewhere the next start stops it); a server that dies under us is started again.
//! It does not upgrade a cluster to another major version, and never downloads anything.

mod binaries;
mod leftovers;
mod owner;
mod server;
mod settings;

use crate::data_directory::{DataDirectory, Hold};
use anyhow::{Context, bail};
use binaries::Binaries;
use owner::{Death, Owner};
use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
};

pub use server::Server;

/// Where clusters go when the data directory is out of reach of the user that owns them.
const SHARED_PLACE: &str = "/var/lib/postroad";

/// The superuser and the database of the embedded cluster.
const ROLE: &str = "postroad";

/// An embedded cluster on disk, whether it runs or not.
#[derive(Debug, Clone)]
pub struct Cluster {
    binaries: Binaries,
    owner: Owner,
    /// `-D`.
    directory: PathBuf,
    /// Short: a socket's whole path may have 107 bytes.
    sockets: PathBuf,
    name: String,
    log: PathBuf,
}

impl Cluster {
    /// Finds the cluster of a data directory and makes it when there is none. The caller shows that the directory is its own.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or the cluster can be neither found nor made; the text says what to do.
    pub fn prepare(data: &DataDirectory, _hold: &Hold) -> anyhow::Result<Self> {
        let owner = Owner::choose()?;
        let existing = majors(data.path());
        let binaries = binaries::choose(binaries::installed(), &existing)?;
        let link = data.path().join(format!("postgresql-{}", binaries.major));
        let directory = match fs::canonicalize(&link) {
            Ok(directory) => directory,
            Err(_) => place(data, &owner, &link)?,
        };
        let cluster = Self {
            name: format!("postroad-{}", data.id()),
            sockets: sockets(data),
            log: data.path().join("postgresql.log"),
            binaries,
            owner,
            directory,
        };
        if !cluster.directory.join("PG_VERSION").exists() {
            cluster.make()?;
        }
        if !cluster.owner.may_reach(&cluster.directory) {
            bail!(
                "the user that runs PostgreSQL (uid {}) cannot reach {}: a directory above it is closed",
                cluster.owner.uid,
                cluster.directory.display()
            );
        }
        Ok(cluster)
    }

    /// The database of a data directory whose server another process runs.
    #[must_use]
    pub fn url_of(data: &DataDirectory) -> String {
        url(&sockets(data))
    }

    /// Whether a server answers on the socket of that directory.
    #[must_use]
    pub fn answers(data: &DataDirectory) -> bool {
        std::os::unix::net::UnixStream::connect(socket(&sockets(data))).is_ok()
    }

    /// What `sqlx` connects to.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.sockets)
    }

    /// initdb, in a folder beside the final one: an interrupted first start leaves nothing that looks finished.
    fn make(&self) -> anyhow::Result<()> {
        let draft = self.directory.with_extension("new");
        if draft.exists() {
            fs::remove_dir_all(&draft).with_context(|| format!("removing the unfinished {}", draft.display()))?;
        }
        self.owner.private_directory(&draft)?;
        tracing::info!(directory = %self.directory.display(), major = self.binaries.major, "making the embedded database");
        let initdb = self.binaries.program("initdb");
        let arguments = [
            "--username",
            ROLE,
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
        ];
        let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        arguments.push(draft.as_os_str());
        let output = self
            .owner
            .command(&initdb, &arguments, Death::Kill)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {}", initdb.display()))?;
        if !output.status.success() {
            bail!(
                "initdb failed ({}): {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        if self.directory.exists() {
            fs::remove_dir(&self.directory).with_context(|| format!("{} is in the way of the new database", self.directory.display()))?;
        }
        fs::rename(&draft, &self.directory)?;
        if let Some(parent) = self.directory.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    /// Writes `postgresql.conf` and readies the socket's directory; done before every start.
    fn furnish(&self) -> anyhow::Result<()> {
        self.owner.private_directory(&self.sockets)?;
        let text = settings::render(&settings::Settings {
            sockets: &self.sockets,
            name: &self.name,
        });
        let (draft, path) = (self.directory.join("postgresql.conf.new"), self.directory.join("postgresql.conf"));
        fs::write(&draft, text).with_context(|| format!("writing {}", draft.display()))?;
        self.owner.take(&draft)?;
        fs::rename(&draft, &path)?;
        Ok(())
    }

    fn traces(&self) -> leftovers::Traces<'_> {
        leftovers::Traces {
            directory: &self.directory,
            name: &self.name,
            sockets: &self.sockets,
        }
    }
}

/// Decides where a new cluster goes. When that is outside the data directory, a link in it says where.
fn place(data: &DataDirectory, owner: &Owner, link: &Path) -> anyhow::Result<PathBuf> {
    if owner.may_reach(data.path()) {
        return Ok(link.to_owned());
    }
    // The identity, not the path: a data directory that was thrown away and made anew must not meet the old one's cluster.
    let parent = Path::new(SHARED_PLACE).join(data.id());
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&parent).with_context(|| {
        format!(
            "creating {} (the data directory is closed to the user that runs PostgreSQL)",
            parent.display()
        )
    })?;
    let Some(name) = link.file_name() else {
        bail!("{} has no name", link.display());
    };
    let directory = parent.join(name);
    match std::os::unix::fs::symlink(&directory, link) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            // A link to nowhere: made by a first start that was interrupted, or its cluster was removed.
            let target = fs::read_link(link)?;
            if target != directory {
                bail!(
                    "{} points to {}, which does not exist: restore it or remove the link",
                    link.display(),
                    target.display()
                );
            }
        }
        result => result.with_context(|| format!("linking {}", link.display()))?,
    }
    tracing::info!(directory = %directory.display(), "the data directory is closed to the user that runs PostgreSQL; its files go elsewhere");
    Ok(directory)
}

/// The major versions of the clusters that a data directory has.
fn majors(data: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(data) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.path().join("PG_VERSION").exists())
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("postgresql-")?.parse().ok())
        .collect()
}

fn sockets(data: &DataDirectory) -> PathBuf {
    Path::new("/tmp").join(format!("postroad-{}", data.id()))
}

fn socket(sockets: &Path) -> PathBuf {
    sockets.join(".s.PGSQL.5432")
}

fn url(sockets: &Path) -> String {
    format!("postgres://{ROLE}@localhost:5432/{ROLE}?host={}", sockets.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_fits_into_an_address() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(&parent.path().join("a".repeat(200))).unwrap();
        assert!(socket(&sockets(&data)).as_os_str().len() < 104);
    }

    #[test]
    fn a_folder_without_a_cluster_is_no_cluster() {
        let parent = tempfile::tempdir().unwrap();
        for (name, made) in [("postgresql-15", true), ("postgresql-16.new", true), ("postgresql-17", false)] {
            fs::create_dir(parent.path().join(name)).unwrap();
            if made {
                fs::write(parent.path().join(name).join("PG_VERSION"), "x").unwrap();
            }
        }
        assert_eq!(majors(parent.path()), [15]);
    }
}
