//! What operators and their tools are told.

use std::time::{Duration, Instant};

use crate::subject::{LIMIT, Place, assert_activated};

#[test]
fn it_is_healthy_but_not_ready_while_neutron_is_away() {
    let place = Place::new();
    let silent = "[neutron]\nauth_type = none\nendpoint = http://192.0.2.1:9696\n";
    let refusing = "[neutron]\nauth_type = none\nendpoint = http://127.0.0.1:1\n";
    for (neutron, sentence) in [
        (silent, "Neutron"),
        (refusing, "Neutron cannot be asked"),
        ("", "auth_type is not set"),
    ] {
        let daemon = place.start("kuryr", neutron);
        assert_eq!(daemon.operator_asks("/healthz").status, 200);
        let asked = Instant::now();
        let reply = daemon.operator_asks("/readyz");
        assert!(asked.elapsed() < Duration::from_secs(1));
        assert_eq!(reply.status, 503);
        assert!(reply.body.contains(sentence), "{reply:?}");
    }
}

#[test]
fn calls_and_exchanges_are_counted() {
    let place = Place::new();
    let refusing = "[neutron]\nauth_type = none\nendpoint = http://127.0.0.1:1\n";
    let daemon = place.start("kuryr", refusing);
    assert_activated(&daemon.activate());
    assert_activated(&daemon.activate());
    daemon.operator_asks("/readyz");
    let metrics = daemon.operator_asks("/metrics").body;
    for line in [
        r#"kuryr_docker_calls_total{driver="Plugin",verb="Activate",outcome="ok"} 2"#,
        r#"kuryr_docker_call_duration_seconds_count{driver="Plugin",verb="Activate",outcome="ok"} 2"#,
        "kuryr_docker_calls_in_flight 0",
        r#"kuryr_neutron_exchanges_total{method="GET",resource="networks",status="none"} "#,
        r#"kuryr_build_info{version=""#,
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
}

#[test]
fn a_call_whose_client_hung_up_is_counted() {
    let place = Place::new();
    let refusing = "docker_call_timeout = 1\n\
        [neutron]\nauth_type = none\nendpoint = http://127.0.0.1:1\n";
    let daemon = place.start("kuryr", refusing);
    drop(daemon.request_pool());
    let counted =
        r#"kuryr_docker_calls_total{driver="IpamDriver",verb="RequestPool",outcome="hung_up"} 1"#;
    let since = Instant::now();
    let metrics = loop {
        let metrics = daemon.operator_asks("/metrics").body;
        if metrics.contains(counted) || since.elapsed() > LIMIT {
            break metrics;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(metrics.contains(counted), "{metrics}");
    assert!(
        metrics.contains("kuryr_docker_calls_in_flight 0"),
        "{metrics}"
    );
}

#[test]
fn the_admin_socket_can_be_turned_off() {
    let place = Place::new();
    let daemon = place.start("kuryr", "admin_uri =\n");
    assert_activated(&daemon.activate());
    assert!(!daemon.admin.exists());
}
