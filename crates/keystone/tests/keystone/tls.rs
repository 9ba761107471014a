//! Whom we trust, and who trusts us.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use keystone::{Error, Session, Settings, SettingsError, Tls};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::cloud::{Cloud, get, line};

/// A certificate authority and what it has signed, as files too.
struct Authority {
    folder: TempDir,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            folder,
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn ca_file(&self) -> Option<PathBuf> {
        Some(self.folder.path().join("ca.pem"))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }

    async fn cloud(&self, name: &str) -> Cloud {
        cloud(self.sign(name), None).await
    }
}

async fn cloud(
    (certificate, key): (Certificate, KeyPair),
    clients: Option<RootCertStore>,
) -> Cloud {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let provider = Arc::new(default_provider());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Cloud::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await
}

fn session(cloud: &Cloud, tls: Tls) -> Result<Session, SettingsError> {
    Session::new(Settings {
        tls,
        ..cloud.settings()
    })
}

async fn refused(cloud: &Cloud, tls: Tls) -> String {
    let error = get(&session(cloud, tls).unwrap(), "/").await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{}", line(&error));
    assert!(!error.may_have_arrived());
    assert!(cloud.state().asked.is_empty());
    line(&error)
}

#[tokio::test]
async fn the_given_authority_is_trusted() {
    let authority = Authority::new();
    let cloud = authority.cloud("127.0.0.1").await;
    let tls = Tls {
        ca_file: authority.ca_file(),
        ..Tls::default()
    };
    let reply = get(&session(&cloud, tls).unwrap(), "/").await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let cloud = Authority::new().cloud("127.0.0.1").await;
    let said = refused(&cloud, Tls::default()).await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    let other = Authority::new();
    refused(
        &cloud,
        Tls {
            ca_file: other.ca_file(),
            ..Tls::default()
        },
    )
    .await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let cloud = authority.cloud("elsewhere.example").await;
    let tls = Tls {
        ca_file: authority.ca_file(),
        ..Tls::default()
    };
    refused(&cloud, tls).await;
}

/// A server's certificate as `openssl req -x509` makes it: its own authority.
fn own_authority(name: &str, until_year: i32) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(until_year, 1, 1);
    (params.self_signed(&key).unwrap(), key)
}

#[tokio::test]
async fn a_server_that_is_its_own_authority_is_trusted_if_given_until_it_expires() {
    for (name, until_year, given, trusted) in [
        ("127.0.0.1", 4000, true, true),
        ("127.0.0.1", 4000, false, false),
        ("127.0.0.1", 2000, true, false),
        ("elsewhere.example", 4000, true, false),
    ] {
        let other = Authority::new();
        let (certificate, key) = own_authority(name, until_year);
        let own = other.file("own.pem", &certificate.pem());
        let ca_file = if given { Some(own) } else { other.ca_file() };
        let cloud = cloud((certificate, key), None).await;
        let tls = Tls {
            ca_file,
            ..Tls::default()
        };
        if trusted {
            let reply = get(&session(&cloud, tls).unwrap(), "/").await.unwrap();
            assert_eq!(reply.status(), StatusCode::OK);
        } else {
            refused(&cloud, tls).await;
        }
    }
}

#[tokio::test]
async fn insecure_trusts_anyone() {
    let cloud = Authority::new().cloud("elsewhere.example").await;
    let tls = Tls {
        insecure: true,
        ..Tls::default()
    };
    let reply = get(&session(&cloud, tls).unwrap(), "/").await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
}

#[tokio::test]
async fn our_own_certificate_is_shown_to_who_asks() {
    let authority = Authority::new();
    let cloud = cloud(authority.sign("127.0.0.1"), Some(authority.roots())).await;
    let without = Tls {
        ca_file: authority.ca_file(),
        ..Tls::default()
    };
    refused(&cloud, without.clone()).await;
    let (certificate, key) = authority.sign("kuryr.example");
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let apart = Tls {
        cert_file: Some(authority.file("cert.pem", &certificate)),
        key_file: Some(authority.file("key.pem", &key)),
        ..without.clone()
    };
    let together = Tls {
        cert_file: Some(authority.file("both.pem", &format!("{key}{certificate}"))),
        ..without
    };
    for tls in [apart, together] {
        let reply = get(&session(&cloud, tls).unwrap(), "/").await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn files_that_are_not_what_they_should_be_are_named() {
    let authority = Authority::new();
    let cloud = Cloud::start().await;
    let empty = Some(authority.file("empty.pem", "nothing\n"));
    let absent = Some(authority.folder.path().join("absent.pem"));
    let (certificate, _) = authority.sign("a");
    let (_, other_key) = authority.sign("b");
    let certificate = Some(authority.file("cert.pem", &certificate.pem()));
    let other_key = Some(authority.file("key.pem", &other_key.serialize_pem()));
    for (tls, said) in [
        (
            Tls {
                ca_file: absent,
                ..Tls::default()
            },
            "could not read ",
        ),
        (
            Tls {
                ca_file: empty,
                ..Tls::default()
            },
            "empty.pem has no certificate in PEM form",
        ),
        (
            Tls {
                cert_file: certificate.clone(),
                ..Tls::default()
            },
            "cert.pem has no private key in PEM form",
        ),
        (
            Tls {
                key_file: other_key.clone(),
                ..Tls::default()
            },
            "a key file is given, but no certificate file",
        ),
        (
            Tls {
                cert_file: certificate,
                key_file: other_key,
                ..Tls::default()
            },
            "cert.pem and its key can not be used",
        ),
    ] {
        let error = session(&cloud, tls).unwrap_err();
        assert!(line(&error).contains(said), "{}", line(&error));
    }
}
