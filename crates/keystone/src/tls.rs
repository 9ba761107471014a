//! What TLS trusts, and which certificate it shows.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::SettingsError;
use crate::settings::Tls;
use crate::trust::{TrustAnyone, TrustListed, TrustSystem};

/// Reads the files that `tls` names.
pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig, SettingsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(SettingsError::Tls)?;
    let builder = match &tls.ca_file {
        _ if tls.insecure => {
            tracing::warn!("insecure is set: the cloud's certificates are not verified");
            let verifier = Arc::new(TrustAnyone(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
        Some(file) => {
            let listed = certificates(file)?;
            let verifier = TrustListed::new(authorities(file, &listed)?, listed, provider)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustSystem::new(provider))),
    };
    with_own_certificate(builder, tls)
}

fn authorities(
    file: &Path,
    listed: &[CertificateDer<'static>],
) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in listed {
        roots
            .add(certificate.clone())
            .map_err(|source| SettingsError::BadAuthority {
                file: file.to_owned(),
                source,
            })?;
    }
    Ok(roots)
}

fn with_own_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    tls: &Tls,
) -> Result<ClientConfig, SettingsError> {
    let Some(file) = &tls.cert_file else {
        return match &tls.key_file {
            Some(_) => Err(SettingsError::KeyWithoutCertificate),
            None => Ok(builder.with_no_client_auth()),
        };
    };
    let key = private_key(tls.key_file.as_ref().unwrap_or(file))?;
    builder
        .with_client_auth_cert(certificates(file)?, key)
        .map_err(|source| SettingsError::BadClientCertificate {
            file: file.clone(),
            source,
        })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let not_pem = |source| SettingsError::NotPem {
        file: file.to_owned(),
        what: "certificate",
        source,
    };
    let pem = read(file)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| not_pem(Some(source)))?;
    if certificates.is_empty() {
        return Err(not_pem(None));
    }
    Ok(certificates)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, SettingsError> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|source| SettingsError::NotPem {
        file: file.to_owned(),
        what: "private key",
        source: Some(source),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, SettingsError> {
    fs::read(file).map_err(|source| SettingsError::Unreadable {
        file: file.to_owned(),
        source,
    })
}
