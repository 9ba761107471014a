//! Wrong passwords, absent Neutrons, killed programs.

use std::time::{Duration, Instant};

use crate::lab::{Kuryr, lab, within};

#[test]
#[ignore = "needs the lab: make test"]
fn a_wrong_password_is_said_in_dockers_output() {
    let mut kuryr = Kuryr::begin();
    kuryr.stop("-TERM");
    kuryr.configure("password = wrong", "");
    kuryr.start();
    let error = kuryr
        .try_network("--subnet 10.20.0.0/24")
        .expect_failure("a wrong password");
    assert!(
        error.contains("password") && error.contains("[neutron]"),
        "{error}"
    );
    let ready = kuryr.admin("/readyz");
    assert!(ready.contains("password"), "{ready}");
    assert!(
        !kuryr.log().contains("password = wrong"),
        "a secret in the log"
    );
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn neutron_may_be_away_at_boot_and_come_back() {
    let mut kuryr = Kuryr::begin();
    kuryr.stop("-TERM");
    lab(&["stop", "nginx"]).expect("lab stop nginx");
    let start = Instant::now();
    kuryr.start();
    let error = kuryr.try_network("--subnet 10.20.0.0/24");
    let waited = start.elapsed();
    lab(&["start", "nginx"]).expect("lab start nginx");
    let error = error.expect_failure("an absent Keystone");
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    assert!(
        error.contains("Keystone") || error.contains("token"),
        "{error}"
    );
    let network = kuryr.network("--subnet 10.20.0.0/24");
    kuryr.sleeper(&network, "");
    within(Duration::from_secs(10), "readiness", || {
        kuryr.admin("/readyz") == "ok"
    });
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn containers_stop_while_neutron_is_away_and_nothing_is_left() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let (a, b) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let address = kuryr.address(&b, &network, "IPAddress");
    lab(&["stop", "neutron"]).expect("lab stop neutron");
    let ping = kuryr.inside(&a, &format!("ping -c 1 -W 1 {address}"));
    let removed = kuryr.docker(&format!("rm -f {a}"));
    let refused = kuryr.try_sleeper(&network, "");
    lab(&["start", "neutron"]).expect("lab start neutron");
    ping.expect("packets without Neutron");
    removed.expect("docker rm without Neutron");
    let error = refused.expect_failure("docker run without Neutron");
    assert!(error.contains("Neutron"), "{error}");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_killed_kuryr_goes_on_where_it_was() {
    let mut kuryr = Kuryr::begin();
    let network = kuryr.network("--ipv6 --subnet 10.20.0.0/24 --subnet fd20::/64");
    let (a, b) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    kuryr.stop("-KILL");
    let address = kuryr.address(&b, &network, "IPAddress");
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {address}"))
        .expect("packets without Kuryr");
    kuryr.start();
    kuryr
        .docker(&format!("restart -t 0 {a}"))
        .expect("docker restart");
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {address}"))
        .expect("ping");
    let c = kuryr.sleeper(&network, "");
    kuryr
        .inside(&c, &format!("ping -c 1 -W 1 {address}"))
        .expect("ping");
    kuryr.end();
}
