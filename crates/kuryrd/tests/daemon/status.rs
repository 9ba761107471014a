//! What an operator is told before an upgrade.

use std::net::TcpListener;
use std::process::Command;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use neutron_embedded::{Embedded, EmbeddedSettings};
use tower::ServiceExt;

use crate::subject::{Place, program};

#[test]
fn a_wrong_configuration_is_a_failure_with_its_mistakes() {
    let (code, said) = upgrade_check("capability_scope = swarm\n");
    assert_eq!(code, Some(2));
    assert!(said.contains("Check: Configuration"), "{said}");
    assert!(said.contains("capability_scope"), "{said}");
}

#[test]
fn a_neutron_that_does_not_answer_is_a_failure_that_says_so() {
    for (neutron, words) in [
        (
            "[neutron]\nauth_type = none\nendpoint = http://127.0.0.1:1\n",
            "127.0.0.1:1",
        ),
        ("", "auth_type is not set"),
    ] {
        let (code, said) = upgrade_check(neutron);
        assert_eq!(code, Some(2));
        assert_eq!(result_of("Neutron", &said), "Failure");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn each_thing_that_neutron_has_or_lacks_is_a_result_of_its_own() {
    let mut lacking = EmbeddedSettings::default();
    lacking.pools.pop();
    let (_, said) = upgrade_check(&served(lacking));
    for (check, result) in [
        ("Configuration", "Success"),
        ("Neutron", "Success"),
        ("Rights", "Warning"),
        ("Default subnet pools", "Warning"),
        ("What there is", "Success"),
    ] {
        assert_eq!(result_of(check, &said), result, "{check}: {said}");
    }
    assert!(said.contains("kuryr6 is not there"), "{said}");
    assert!(said.contains("0 networks of containers"), "{said}");
    let mut old = EmbeddedSettings::default();
    old.extensions.retain(|has| has != "subnet_allocation");
    let (code, said) = upgrade_check(&served(old));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("lacks extensions: subnet_allocation"),
        "{said}"
    );
}

#[test]
fn a_neutron_without_trunks_is_a_failure_where_a_driver_needs_them() {
    let vlan = "default_port_driver = vlan\nenabled_port_drivers = vlan\n\
                [binding]\ndefault_driver = vlan\nenabled_drivers = vlan\n";
    let check = |settings| upgrade_check(&format!("{vlan}{}", served(settings))).1;
    let said = check(EmbeddedSettings::default());
    assert!(said.contains("lacks extensions: trunk"), "{said}");
    let mut has = EmbeddedSettings::default();
    has.extensions.push("trunk".to_owned());
    let said = check(has);
    assert_eq!(result_of("Neutron", &said), "Success", "{said}");
}

/// By its own name and as a part of `kuryr`.
#[test]
fn it_is_called_as_other_programs_of_openstack_are() {
    let place = Place::new();
    let status = place.path("kuryr-status");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kuryr"), &status).unwrap();
    let conf = place.configure("kuryr", "");
    let mut told = Vec::new();
    for (mut command, first) in [(Command::new(status), None), (program(), Some("status"))] {
        command
            .env_clear()
            .env("HOME", place.dir.path())
            .args(first);
        command
            .arg("--config-file")
            .arg(&conf)
            .args(["upgrade", "check"]);
        told.push(String::from_utf8(command.output().unwrap().stdout).unwrap());
    }
    assert!(told[0].contains("Upgrade Check Results"), "{told:?}");
    assert_eq!(told[0], told[1]);
}

fn upgrade_check(lines: &str) -> (Option<i32>, String) {
    let place = Place::new();
    let conf = place.configure("kuryr", lines);
    let mut command = program();
    command.env("HOME", place.dir.path()).arg("status");
    command
        .arg("--config-file")
        .arg(conf)
        .args(["upgrade", "check"]);
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

fn result_of(check: &str, said: &str) -> String {
    let mut lines = said.lines().map(|line| line.trim_matches(['|', ' ']));
    let wanted = format!("Check: {check}");
    let found = lines.find(|line| *line == wanted);
    assert!(found.is_some(), "no {check}: {said}");
    let result = lines.next().unwrap();
    result.trim_start_matches("Result: ").to_owned()
}

/// The configuration for a Neutron that answers for as long as the test runs.
fn served(settings: EmbeddedSettings) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let neutron = Embedded::new(settings);
            let routes = Router::new().fallback(async move |request: Request| {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let request = http::Request::from_parts(parts, body);
                let reply = neutron.service().oneshot(request).await.unwrap();
                reply.map(Body::from)
            });
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
    });
    format!("[neutron]\nauth_type = none\nendpoint = http://127.0.0.1:{port}\n")
}
