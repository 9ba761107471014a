//! https: who we say we are, and whom we serve.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::sockets::place_in;
use crate::subject::{Place, ask, assert_activated, run};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for this name and its key, PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Configures https with a certificate of this authority.
fn https(place: &Place, authority: &Authority, more: &str) -> String {
    let (certificate, key) = authority.issue("localhost");
    fs::write(place.path("cert.pem"), certificate).unwrap();
    fs::write(place.path("key.pem"), key).unwrap();
    let dir = place.dir.path().display();
    format!(
        "kuryr_uri = https://127.0.0.1:0\nssl_cert_file = {dir}/cert.pem\nssl_key_file = {dir}/key.pem\n{more}"
    )
}

type Client = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: &str, trusted: &Authority, identity: Option<(String, String)>) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.0.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(address).unwrap())
}

#[test]
fn https_is_served_with_the_configured_certificate() {
    let (place, authority) = (Place::new(), Authority::new());
    let daemon = place.start("kuryr", &https(&place, &authority, ""));
    let client = connect(&place_in(&daemon.log(), "https://"), &authority, None);
    assert_activated(&ask(client, "POST", "/Plugin.Activate"));
}

#[test]
fn with_an_authority_only_its_clients_are_served() {
    let (place, ours, theirs) = (Place::new(), Authority::new(), Authority::new());
    fs::write(place.path("ca.pem"), ours.0.pem()).unwrap();
    let more = format!("ssl_ca_file = {}\n", place.path("ca.pem").display());
    let daemon = place.start("kuryr", &https(&place, &ours, &more));
    let address = place_in(&daemon.log(), "https://");
    let served = |identity| {
        let client = connect(&address, &ours, identity);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ask(client, "POST", "/Plugin.Activate")
        }))
    };
    assert_activated(&served(Some(ours.issue("docker"))).unwrap());
    assert!(served(None).is_err());
    assert!(served(Some(theirs.issue("docker"))).is_err());
}

#[test]
fn a_certificate_that_is_missing_is_named() {
    let place = Place::new();
    let lines =
        "kuryr_uri = https://127.0.0.1:0\nssl_cert_file = /nonexistent/cert.pem\nuse_stderr = 1\n";
    let (code, said) = run(place.command("kuryr", lines));
    assert_eq!(code, Some(1));
    assert!(said.contains("/nonexistent/cert.pem"), "{said}");
}

/// A Neutron with a certificate of this authority, which answers one question; its port.
fn neutron(authority: &Authority) -> u16 {
    let (certificate, key) = authority.issue("localhost");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, listener.accept().unwrap().0);
        // A client that does not trust us is the test's to notice.
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"networks\":[]}");
    });
    port
}

/// Reading them takes as long as the rest of the start, and many clouds do without.
#[test]
fn the_systems_authorities_are_read_when_they_are_needed() {
    let (place, authority) = (Place::new(), Authority::new());
    let port = neutron(&authority);
    let lines = format!("[neutron]\nauth_type = none\nendpoint = https://localhost:{port}\n");
    let mut command = place.command("kuryr", &lines);
    let system = place.path("system.pem");
    command.env("SSL_CERT_FILE", &system);
    let daemon = place.start_command("kuryr", command);
    fs::write(&system, authority.0.pem()).unwrap();
    let ready = daemon.operator_asks("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
}
