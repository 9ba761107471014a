//! What the program shows of itself, and what it costs.

use serde_json::json;

use crate::lab::{Kuryr, on};

#[test]
#[ignore = "needs the lab: make test"]
fn calls_are_counted_and_logged_without_secrets() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    kuryr.sleeper(&network, "");
    let metrics = kuryr.admin("/metrics");
    for name in [
        "kuryr_docker_calls_total",
        "kuryr_neutron_exchanges_total",
        "CreateEndpoint",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    let password = on("host1", "echo $OS_PASSWORD").text;
    let log = kuryr.log();
    assert!(log.contains("CreateEndpoint"), "{log}");
    assert!(!log.contains(&password), "the password is in the log");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_start_waits_for_three_neutron_calls_at_most_and_a_stop_for_two() {
    let kuryr = Kuryr::begin_on("host1", "[port_pool]\nenabled = false");
    let network = kuryr.network("--subnet 10.20.0.0/24");
    kuryr.sleeper(&network, "");
    let calls = || -> u64 {
        let metrics = kuryr.admin("/metrics");
        let counts = metrics
            .lines()
            .filter(|l| l.starts_with("kuryr_neutron_exchanges_total"));
        counts
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    std::thread::sleep(std::time::Duration::from_secs(2));
    let before = calls();
    let a = kuryr.sleeper(&network, "");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let running = calls();
    kuryr.docker(&format!("rm -f {a}")).expect("docker rm");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let stopped = calls();
    // With what follows in the background: the port; its name, its tags. And its removal.
    assert!(
        running - before <= 3,
        "{} calls for a start",
        running - before
    );
    assert!(
        stopped - running <= 2,
        "{} calls for a stop",
        stopped - running
    );
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_hundred_endpoints_take_less_than_20_mib() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let inspect = |field: &str| {
        kuryr
            .docker(&format!("network inspect -f '{{{{{field}}}}}' {network}"))
            .expect("inspect")
    };
    let id = inspect(".Id");
    // As Docker would ask, without the containers: a hundred of them would be the machine's test.
    let pool = kuryr.pool(&network);
    let mut endpoints = Vec::new();
    for number in 0..100 {
        let endpoint = format!("{number:064x}");
        let reply = kuryr.ask("IpamDriver.RequestAddress", &json!({"PoolID": pool}));
        let address = reply["Address"].as_str().expect("an address").to_owned();
        let ask = json!({
            "NetworkID": id, "EndpointID": endpoint, "Interface": {"Address": address}, "Options": {},
        });
        let reply = kuryr.ask("NetworkDriver.CreateEndpoint", &ask);
        assert!(reply["Err"].is_null(), "{reply}");
        endpoints.push((endpoint, address));
    }
    let memory = kuryr.memory();
    for (endpoint, address) in endpoints {
        kuryr.ask(
            "NetworkDriver.DeleteEndpoint",
            &json!({"NetworkID": id, "EndpointID": endpoint}),
        );
        let bare = address.split('/').next().unwrap();
        kuryr.ask(
            "IpamDriver.ReleaseAddress",
            &json!({"PoolID": pool, "Address": bare}),
        );
    }
    assert!(memory < 20 * 1024, "{memory} KiB");
    eprintln!("{memory} KiB resident with 100 endpoints");
    kuryr.end();
}
