//! The listener's certificate: the operator's PEM files, read again when they change, or one that signs itself.
//!
//! Sessions keep what they shook hands with; only new handshakes see a new certificate (ASSURANCE T11). Files that cannot be read
//! at start refuse to start; later, the certificate in use stays, and the log says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use config::{CertificateFiles, Smtp};
use mail::Domain;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What tells one state of the files from another.
type Stamp = [Option<(SystemTime, u64)>; 2];

#[derive(Debug)]
pub(crate) struct Certificates {
    current: ArcSwap<CertifiedKey>,
    files: Option<CertificateFiles>,
    provider: Arc<CryptoProvider>,
}

/// Presents the current certificate whatever name the client asks for: an unknown one is no reason to fail (ASSURANCE T09).
#[derive(Debug)]
struct Current(Arc<Certificates>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load_full())
    }
}

impl Certificates {
    /// Reads the operator's files, or the certificate made at an earlier start, or makes one.
    pub(crate) fn load(smtp: &Smtp, data_dir: &Path, hostname: &Domain) -> anyhow::Result<Arc<Self>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = match &smtp.certificate {
            Some(files) => read(files, &provider)?,
            None => own(data_dir, hostname, &provider)?,
        };
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(current),
            files: smtp.certificate.clone(),
            provider,
        }))
    }

    /// TLS 1.2 and 1.3, no early data.
    pub(crate) fn server_config(self: &Arc<Self>) -> anyhow::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .context("TLS versions")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Current(Arc::clone(self))));
        config.ticketer = aws_lc_rs::Ticketer::new().context("TLS session tickets")?;
        Ok(Arc::new(config))
    }

    /// Looks at the files until stopped.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let Some(files) = self.files.clone() else { return };
        let mut seen = stamp(&files);
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let now = stamp(&files);
            if now == seen {
                continue;
            }
            seen = now;
            match read(&files, &self.provider) {
                Ok(key) => {
                    self.current.store(Arc::new(key));
                    tracing::info!("the SMTP certificate was read again");
                }
                Err(cause) => tracing::error!(
                    cause = format!("{cause:#}"),
                    "the changed SMTP certificate cannot be used; the former one stays"
                ),
            }
        }
    }
}

fn stamp(files: &CertificateFiles) -> Stamp {
    [&files.chain, &files.key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(files: &CertificateFiles, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let chain = fs::read(&files.chain).with_context(|| format!("POSTROAD_SMTP__TLS_CERT: {}", files.chain.display()))?;
    let key = fs::read(&files.key).with_context(|| format!("POSTROAD_SMTP__TLS_KEY: {}", files.key.display()))?;
    certified(&chain, &key, provider).context("POSTROAD_SMTP__TLS_CERT and POSTROAD_SMTP__TLS_KEY")
}

fn certified(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .context("the certificate is not PEM")?;
    anyhow::ensure!(!chain.is_empty(), "there is no certificate in the file");
    let key = PrivateKeyDer::from_pem_slice(key).context("the private key is not PEM")?;
    // Checks that the key belongs to the certificate, too.
    CertifiedKey::from_der(chain, key, provider).context("the certificate and its key cannot be used")
}

/// The certificate that signs itself, kept so that clients which remember it see the same one after a restart.
fn own(data_dir: &Path, hostname: &Domain, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let folder = data_dir.join("smtp");
    let file = |ending: &str| folder.join(format!("{hostname}.{ending}.pem"));
    let files = CertificateFiles {
        chain: file("certificate"),
        key: file("key"),
    };
    if let Ok(key) = read(&files, provider) {
        return Ok(key);
    }
    let made = rcgen::generate_simple_self_signed(vec![hostname.to_string()]).context("making a self-signed certificate")?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    if let Err(cause) = keep(&folder, &files.chain, &certificate).and_then(|()| keep(&folder, &files.key, &key)) {
        // A read-only container: a new one at each start is no worse than none.
        tracing::warn!(%cause, "the self-signed SMTP certificate cannot be kept and will be another after a restart");
    }
    certified(certificate.as_bytes(), key.as_bytes(), provider)
}

fn keep(folder: &Path, path: &PathBuf, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::create_dir_all(folder)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_signed_certificate_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (hostname, provider) = (Domain::parse("mx.here.test").unwrap(), aws_lc_rs::default_provider());
        let first = own(folder.path(), &hostname, &provider).unwrap();
        let second = own(folder.path(), &hostname, &provider).unwrap();
        assert_eq!(first.cert, second.cert);
    }

    #[tokio::test(start_paused = true)]
    async fn t11_changed_files_are_read_again_and_broken_ones_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            chain: folder.path().join("c.pem"),
            key: folder.path().join("k.pem"),
        };
        let write = |name: &str| {
            let made = testkit::certificates::Certificate::for_names(&[name]);
            fs::write(&files.chain, made.certificate_pem).unwrap();
            fs::write(&files.key, made.key_pem).unwrap();
        };
        write("one.test");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = ArcSwap::from_pointee(read(&files, &provider).unwrap());
        let certificates = Arc::new(Certificates {
            current,
            files: Some(files.clone()),
            provider,
        });
        let stop = CancellationToken::new();
        let watching = tokio::spawn(Arc::clone(&certificates).watch(stop.clone()));
        tokio::task::yield_now().await;
        let one = certificates.current.load_full().cert.clone();
        fs::write(&files.chain, "broken, and of another length").unwrap();
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert_eq!(certificates.current.load().cert, one);
        write("a-longer-name.two.test");
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert_ne!(certificates.current.load().cert, one);
        stop.cancel();
        watching.await.unwrap();
    }
}
