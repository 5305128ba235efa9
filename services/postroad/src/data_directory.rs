//! The data directory (`POSTROAD_DATA_DIR`) of an instance that brings its own database: who holds it, its identity, and the secrets
//! generated in it. Where the cluster itself lies is the business of [`crate::embedded`].

use anyhow::{Context, bail};
use secrecy::SecretString;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A data directory that exists.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    path: PathBuf,
    id: String,
}

/// Proof that nobody else runs on the directory. Given back by the kernel when the process ends, however it ends.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl DataDirectory {
    /// Opens the directory, making it and its identity when missing.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(path)
            .with_context(|| format!("creating the data directory {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("opening the data directory {}", path.display()))?;
        // Root hands the cluster inside to another user, who has to pass. What is secret here has a mode of its own.
        let metadata = fs::metadata(&path)?;
        if rustix::process::geteuid().is_root() && metadata.uid() == 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(metadata.mode() & 0o7777 | 0o011))?;
        }
        let id = kept(&path.join("instance-id"), || hex::encode(rand::random::<[u8; 8]>()))?;
        if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!(
                "{} is damaged: it should hold 16 hexadecimal digits",
                path.join("instance-id").display()
            );
        }
        Ok(Self { path, id })
    }

    /// The directory as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sixteen hexadecimal digits, drawn when the directory was made.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Takes the directory for this process; `None` while another process has it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn hold(&self) -> anyhow::Result<Option<Hold>> {
        let path = self.path.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {
                // For the eyes of whoever is refused; the lock itself is the kernel's.
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())?;
                Ok(Some(Hold { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// The process that holds the directory, as far as it said.
    #[must_use]
    pub fn holder(&self) -> String {
        let mut pid = String::new();
        let read = File::open(self.path.join("lock")).and_then(|mut file| file.read_to_string(&mut pid));
        match read {
            Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
            _ => "another process".to_owned(),
        }
    }

    /// The instance's secret key, drawn at the first call. Losing it loses every credential, session and DKIM key.
    ///
    /// # Errors
    /// When the file can be neither read nor made.
    pub fn secret_key(&self) -> anyhow::Result<SecretString> {
        kept(&self.path.join("secret.key"), || hex::encode(rand::random::<[u8; 32]>())).map(SecretString::from)
    }
}

impl DataDirectory {
    /// The secret key of the data directory at `path`, if it has one; makes nothing.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn existing_secret_key(path: &Path) -> anyhow::Result<Option<SecretString>> {
        read(&path.join("secret.key")).map(|text| text.map(SecretString::from))
    }
}

/// The text of a small file, if there is one.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        Ok(_) => bail!("{} is empty", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// The text of a small file (mode 0600), made durably from `draw` when there is none. Two processes may race: one file wins.
fn kept(path: &Path, draw: impl FnOnce() -> String) -> anyhow::Result<String> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    // Written under another name and linked: a reader never sees half of it, and a second writer loses.
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let text = draw();
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    })();
    written.with_context(|| format!("writing {}", draft.display()))?;
    let linked = match fs::hard_link(&draft, path) {
        // Some mounted filesystems know no links: a name that is free is taken by renaming.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => fs::rename(&draft, path),
        linked => {
            fs::remove_file(&draft)?;
            linked
        }
    };
    match linked {
        Ok(()) => {
            if let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.with_context(|| format!("{} disappeared while it was read", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("writing {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn identity_and_secret_stay_what_they_were_and_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(&parent.path().join("a/b")).unwrap();
        let key = first.secret_key().unwrap();
        let again = DataDirectory::open(&parent.path().join("a/b")).unwrap();
        assert_eq!(first.id(), again.id());
        assert_eq!(key.expose_secret(), again.secret_key().unwrap().expose_secret());
        assert_eq!(key.expose_secret().len(), 64);
        let mode = fs::metadata(first.path().join("secret.key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn only_one_may_hold_it() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        let hold = directory.hold().unwrap();
        assert!(hold.is_some());
        assert!(directory.hold().unwrap().is_none());
        assert!(directory.holder().contains(&std::process::id().to_string()));
        drop(hold);
        assert!(directory.hold().unwrap().is_some());
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("instance-id"), "../../etc\n").unwrap();
        assert!(DataDirectory::open(parent.path()).unwrap_err().to_string().contains("damaged"));
    }
}
