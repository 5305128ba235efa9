//! Finds PostgreSQL's programs on this machine. Nothing is ever downloaded; the oldest major version taken is [`OLDEST`].

use anyhow::{Context, bail};
use std::{
    cmp::Reverse,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest major version that the migrations work on.
pub(super) const OLDEST: u32 = 15;

/// Where distributions and package managers put the programs, one level above the folder wanted where a `*` stands.
const KNOWN: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib64/pgsql/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/opt/local/lib/postgresql*/bin",
];

/// One installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    /// Holds `postgres` and `initdb`.
    pub(super) directory: PathBuf,
    /// 15 for 15.18.
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Asks the program in `directory` for its version; `None` when it is no complete installation.
    fn at(directory: &Path) -> Option<Self> {
        // `postgres` on the PATH is often a link into the folder that has the rest.
        let server = directory.join("postgres").canonicalize().ok()?;
        let directory = server.parent()?.to_owned();
        if !directory.join("initdb").exists() {
            return None;
        }
        let output = Command::new(&server).arg("--version").output().ok()?;
        let major = major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { directory, major })
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` and `… 18beta1` → 15, 18.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Every installation that is new enough, newest first.
pub(super) fn installed() -> Vec<Binaries> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = KNOWN.iter().flat_map(|pattern| expand(pattern));
    let mut found: Vec<Binaries> = std::env::split_paths(&path)
        .chain(known)
        .filter_map(|directory| Binaries::at(&directory))
        .collect();
    found.retain(|binaries| binaries.major >= OLDEST);
    found.sort_by_key(|binaries| Reverse(binaries.major)); // stable: of one version, the PATH's comes first
    found.dedup_by_key(|binaries| binaries.major);
    found
}

/// The installation for a data directory: the one that made the existing cluster, else the newest.
///
/// # Errors
/// When nothing fits; the text says what to install.
pub(super) fn choose(installed: Vec<Binaries>, existing: &[u32]) -> anyhow::Result<Binaries> {
    let newest_existing = existing.iter().max();
    if let Some(wanted) = newest_existing {
        return installed.into_iter().find(|binaries| binaries.major == *wanted).with_context(|| {
            format!(
                "the embedded database was made by PostgreSQL {wanted}, whose programs are not on this machine any more: install them \
                 (Debian: apt-get install postgresql-{wanted}), or move the data by pg_dump and set DATABASE_URL"
            )
        });
    }
    match installed.into_iter().next() {
        Some(binaries) => Ok(binaries),
        None => bail!(
            "PostgreSQL {OLDEST} or newer is needed and was not found on the PATH or in the usual places: run scripts/bootstrap.sh \
             (Debian: apt-get install postgresql; macOS: brew install postgresql@17), or set DATABASE_URL to a server of yours"
        ),
    }
}

/// Expands the one `*` of a pattern, which stands in one path component.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let after = after.trim_start_matches('/');
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries {
            directory: PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
            major,
        }
    }

    #[test]
    fn a_version_is_read_from_every_form_of_the_banner() {
        for (text, want) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 17.2\n", Some(17)),
            ("postgres (PostgreSQL) 19beta1\n", Some(19)),
            ("something else", None),
        ] {
            assert_eq!(major(text), want, "{text}");
        }
    }

    #[test]
    fn a_new_directory_gets_the_newest_and_an_old_one_keeps_its_own() {
        let installed = vec![binaries(17), binaries(15)];
        assert_eq!(choose(installed.clone(), &[]).unwrap().major, 17);
        assert_eq!(choose(installed.clone(), &[15]).unwrap().major, 15);
        assert_eq!(choose(installed, &[15, 17]).unwrap().major, 17);
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = choose(Vec::new(), &[]).unwrap_err().to_string();
        assert!(none.contains("bootstrap.sh"), "{none}");
        let gone = choose(vec![binaries(17)], &[15]).unwrap_err().to_string();
        assert!(gone.contains("postgresql-15"), "{gone}");
    }
}
