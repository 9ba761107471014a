//! What is said of ports that no container has, where it can't be known.

use crate::subject::{Place, program, run};

#[test]
fn who_cannot_be_asked_is_named() {
    let place = Place::new();
    for (lines, words) in [
        ("", "could not ask the kuryr that answers at unix://"),
        ("admin_uri =\n", "admin_uri is empty"),
    ] {
        let conf = place.configure("kuryr", lines);
        let mut command = program();
        command.arg("orphans").arg("--config-file").arg(conf);
        let (code, said) = run(command);
        assert_eq!(code, Some(1));
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_neutron_that_is_away_is_said_and_nothing_is_released() {
    let place = Place::new();
    let away = "[neutron]\nauth_type = none\nendpoint = http://127.0.0.1:1\n";
    let _daemon = place.start("kuryr", away);
    let mut command = program();
    command.arg("orphans").arg("--config-file");
    command.arg(place.path("kuryr.conf"));
    let (code, said) = run(command);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("list the ports of host") && said.contains("127.0.0.1:1"),
        "{said}"
    );
}

#[test]
fn nothing_is_released_where_other_hosts_tasks_have_addresses_here() {
    let place = Place::new();
    let _daemon = place.start("kuryr", "capability_scope = global\n");
    let mut command = program();
    command.args(["orphans", "--release", "--config-file"]);
    command.arg(place.path("kuryr.conf"));
    let (code, said) = run(command);
    assert_eq!(code, Some(1));
    assert!(said.contains("capability_scope is global"), "{said}");
}
