//! Whose certificates are taken where WebPKI's own rules are not what the operator asked for.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::error::SettingsError;

/// WebPKI's rules, but a certificate that `cafile` itself holds may be a server's too.
///
/// `openssl req -x509` makes authorities, and many a small cloud's server shows what it made.
/// OpenSSL takes that, and with it every OpenStack client; WebPKI's rules alone do not.
#[derive(Debug)]
pub(crate) struct TrustListed {
    rules: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl TrustListed {
    pub(crate) fn new(
        roots: RootCertStore,
        listed: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, SettingsError> {
        let rules = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| SettingsError::Tls(OtherError(Arc::new(error)).into()))?;
        Ok(Self { rules, listed })
    }
}

impl ServerCertVerifier for TrustListed {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self
            .rules
            .verify_server_cert(shown, intermediates, server, ocsp, now)
        {
            Err(error) if is_authority(&error) && self.listed.contains(shown) => {
                // Its dates were checked before its kind; its name was still to come.
                verify_server_name(&ParsedCertificate::try_from(shown)?, server)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.rules
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.rules
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.supported_verify_schemes()
    }
}

/// rustls has no case of its own for webpki's finding, only its name.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(finding)) = error else {
        return false;
    };
    finding.to_string() == "CaUsedAsEndEntity"
}

/// WebPKI's rules and the system's authorities. These are read when the first certificate is
/// shown: it takes about as long as everything else at the start of a program.
#[derive(Debug)]
pub(crate) struct TrustSystem {
    rules: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    provider: Arc<CryptoProvider>,
}

impl TrustSystem {
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            rules: OnceLock::new(),
            provider,
        }
    }

    /// `None` if the system trusts no one.
    fn rules(&self) -> Option<&WebPkiServerVerifier> {
        let rules = self.rules.get_or_init(|| {
            let roots = Arc::new(system_authorities());
            let provider = Arc::clone(&self.provider);
            WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| tracing::warn!(%error, "https will need cafile"))
                .ok()
        });
        rules.as_deref()
    }
}

fn system_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(trusted, ignored, errors = ?found.errors, "read the system's certificate authorities");
    roots
}

impl ServerCertVerifier for TrustSystem {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(rules) = self.rules() else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        rules.verify_server_cert(shown, intermediates, server, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Takes any certificate from anyone; checks only that the peer has its key.
#[derive(Debug)]
pub(crate) struct TrustAnyone(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
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
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
