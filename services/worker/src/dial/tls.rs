//! TLS towards other servers: verified where it is required, otherwise encryption with whoever answers (RFC 7435).

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::ConfigVerifierExt;
use std::sync::Arc;

/// The two ways of being a TLS client.
#[derive(Debug, Clone)]
pub struct Clients {
    verified: Arc<ClientConfig>,
    opportunistic: Arc<ClientConfig>,
}

impl Clients {
    /// Reads the system's certificate authorities.
    ///
    /// # Errors
    /// When the TLS provider cannot be set up.
    pub fn new() -> Result<Self, rustls::Error> {
        Self::verifying_with(Arc::new(ClientConfig::with_platform_verifier()?))
    }

    /// With certificate authorities of one's own where a certificate must hold.
    ///
    /// # Errors
    /// When the TLS provider cannot be set up.
    pub fn verifying_with(verified: Arc<ClientConfig>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut opportunistic = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        // Resumption across servers that share a certificate saves nothing here and links connections to each other.
        opportunistic.resumption = rustls::client::Resumption::in_memory_sessions(256);
        Ok(Self {
            verified,
            opportunistic: Arc::new(opportunistic),
        })
    }

    /// The client for a server whose certificate must hold, or for one that may be anybody.
    pub(super) fn client(&self, verified: bool) -> Arc<ClientConfig> {
        if verified {
            self.verified.clone()
        } else {
            self.opportunistic.clone()
        }
    }
}

/// The name to ask for; a host that is no name is asked for by address, and one that is neither by a name that matches nothing.
pub(super) fn server_name(host: &str) -> ServerName<'static> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_start_matches("IPv6:");
    ServerName::try_from(bare.to_owned()).unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// Takes any certificate. The alternative on an opportunistic connection is no encryption at all.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
