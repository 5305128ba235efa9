//! Who the server runs as. PostgreSQL refuses root, so a caller that is root hands the cluster to an unprivileged user; any other
//! caller owns it himself.

use anyhow::{Context, bail};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

/// Users that may own the cluster when the caller is root, best first. `nobody` is the last resort of a machine without packages.
const UNPRIVILEGED: &[&str] = &["postgres", "postroad", "nobody"];

/// Where a distribution puts `setpriv`; looked up without the PATH, which a service manager may have emptied.
const SETPRIV: &[&str] = &["/usr/bin/setpriv", "/bin/setpriv", "/usr/sbin/setpriv"];

/// The user that owns the cluster's files and runs its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// True when we are root and have to change to that user.
    pub(super) switch: bool,
}

/// What the kernel sends a child when the thread that started it ends, be it by `kill -9`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Death {
    /// SIGINT: PostgreSQL's fast shutdown. Clients are cut off, and the next start has nothing to recover.
    FastShutdown,
    /// SIGKILL, for a program whose half-done work is thrown away.
    Kill,
}

impl Owner {
    /// # Errors
    /// When the caller is root and no unprivileged user exists.
    pub(super) fn choose() -> anyhow::Result<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid != 0 {
            return Ok(Self { uid, gid, switch: false });
        }
        let passwd = fs::read_to_string("/etc/passwd").context("reading /etc/passwd to find an unprivileged user for PostgreSQL")?;
        for name in UNPRIVILEGED {
            if let Some((uid, gid)) = look_up(&passwd, name) {
                return Ok(Self { uid, gid, switch: true });
            }
        }
        bail!(
            "PostgreSQL must not run as root and none of the users {UNPRIVILEGED:?} exists: create one, or start postroad as an ordinary user"
        )
    }

    /// Whether this user may pass through `directory` and everything above it. Access lists beyond the mode bits are not read.
    pub(super) fn may_reach(&self, directory: &Path) -> bool {
        directory.ancestors().all(|ancestor| self.may_enter(ancestor))
    }

    fn may_enter(&self, directory: &Path) -> bool {
        let Ok(metadata) = fs::metadata(directory) else {
            return false;
        };
        let bit = match () {
            () if metadata.uid() == self.uid => 0o100,
            () if metadata.gid() == self.gid => 0o010,
            () => 0o001,
        };
        metadata.permissions().mode() & bit != 0
    }

    /// Makes `directory` (which must be ours or missing) private to this user.
    ///
    /// # Errors
    /// When it cannot be made, or is something else than a directory of this user.
    pub(super) fn private_directory(&self, directory: &Path) -> anyhow::Result<()> {
        let made = match fs::create_dir(directory) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error).with_context(|| format!("creating {}", directory.display())),
        };
        // Not followed if it is a link: in /tmp a stranger may have been here first.
        let metadata = fs::symlink_metadata(directory)?;
        if !metadata.is_dir() || (!made && metadata.uid() != self.uid) {
            bail!(
                "{} exists and is not a directory of uid {}: remove it",
                directory.display(),
                self.uid
            );
        }
        if made && self.switch {
            std::os::unix::fs::chown(directory, Some(self.uid), Some(self.gid))?;
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        Ok(())
    }

    /// Gives a file that we wrote to this user, readable to it alone.
    pub(super) fn take(&self, file: &Path) -> anyhow::Result<()> {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        if self.switch {
            std::os::unix::fs::chown(file, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// A command that runs `program` as this user, in a process group of its own, with an environment of its own.
    ///
    /// The thread that spawns it must live as long as the program shall: its end is what `death` reacts to.
    pub(super) fn command(&self, program: &Path, arguments: &[&OsStr], death: Death) -> Command {
        let mut command = match setpriv() {
            Some(setpriv) => {
                // setpriv sets the signal after it changed the user, which would have cleared it.
                let mut command = Command::new(setpriv);
                if self.switch {
                    command
                        .arg(format!("--reuid={}", self.uid))
                        .arg(format!("--regid={}", self.gid))
                        .arg("--clear-groups");
                }
                command.arg(match death {
                    Death::FastShutdown => "--pdeathsig=INT",
                    Death::Kill => "--pdeathsig=KILL",
                });
                command.arg("--").arg(program);
                command
            }
            None => {
                // Not Linux, or a very small one: the next start finds and stops what a kill -9 left.
                let mut command = Command::new(program);
                if self.switch {
                    command.gid(self.gid).uid(self.uid); // std drops the supplementary groups
                }
                command
            }
        };
        command
            .args(arguments)
            .process_group(0) // Ctrl-C goes to the foreground group: we have to drain before the database stops
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        command
    }
}

fn setpriv() -> Option<PathBuf> {
    SETPRIV.iter().map(PathBuf::from).find(|path| path.exists())
}

/// uid and gid of `name` in the text of /etc/passwd.
fn look_up(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\npostgres-old:x:7:8::/:/bin/sh\npostgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(look_up(passwd, "postgres"), Some((101, 104)));
        assert_eq!(look_up(passwd, "nobody"), None);
    }

    #[test]
    fn a_closed_parent_directory_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("closed").join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stranger = Owner {
            uid: 54_321,
            gid: 54_321,
            switch: true,
        };
        assert!(stranger.may_reach(&inner));
        fs::set_permissions(root.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.may_reach(&inner));
    }

    #[test]
    fn a_directory_that_a_stranger_put_there_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).unwrap();
        let me = Owner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            switch: false,
        };
        let refusal = me.private_directory(&link).unwrap_err().to_string();
        assert!(refusal.contains("not a directory"), "{refusal}");
        me.private_directory(&root.path().join("fresh")).unwrap();
    }
}
