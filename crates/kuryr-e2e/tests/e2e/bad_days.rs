//! Wrong passwords, absent Neutrons, killed programs.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use neutron_api::Network;

use crate::lab::{Kuryr, Paused, lab, setting, within};
use crate::stream::Stream;
use crate::traces::{list, port_at, ports_at};

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

/// `KURYR_OUTAGE_SECONDS` says how long Keystone and Neutron are away.
#[test]
#[ignore = "needs the lab: make test"]
fn a_tcp_stream_notices_no_kill_no_upgrade_and_no_outage() {
    /// Nothing passes through what is taken away: this is for a machine that is busy.
    const STALL: Duration = Duration::from_secs(2);
    let away = Duration::from_secs(setting("KURYR_OUTAGE_SECONDS").unwrap_or(30));
    let mut here = Kuryr::begin();
    let there = Kuryr::begin_on("host2", "");
    let one = here.network("--subnet 10.20.0.0/24");
    let (a, b) = (here.sleeper(&one, ""), here.sleeper(&one, ""));
    let near = here.address(&b, &one, "IPAddress");
    let id = port_at(&near).network_id;
    let two = there.network(&format!("--subnet 10.20.0.0/24 -o neutron.net.uuid={id}"));
    let c = there.sleeper(&two, "");
    let far = there.address(&c, &two, "IPAddress");
    let streams = [
        ("on one host", Stream::between(&here, &a, &here, &b, &near)),
        (
            "between hosts",
            Stream::between(&here, &a, &there, &c, &far),
        ),
    ];
    let go_on = |what: &str, at_most: Duration| {
        for (which, stream) in &streams {
            let stall = stream.longest_stall();
            eprintln!("stream {which}: {what}: no longer than {stall:?}");
            assert!(stall < at_most, "{which}: {what}: {stall:?}");
        }
    };
    go_on("it begins", STALL);
    here.stop("-KILL");
    sleep(Duration::from_secs(2));
    go_on("kuryr is killed", STALL);
    here.start();
    here.sleeper(&one, "");
    go_on("kuryr is started again", STALL);
    here.replace_program();
    here.stop("-TERM");
    here.start();
    here.sleeper(&one, "");
    go_on("kuryr is another copy of the program", STALL);

    lab(&["stop", "neutron", "keystone"]).expect("lab stop");
    let begun = Instant::now();
    here.stop("-KILL");
    here.start();
    here.try_sleeper(&one, "")
        .expect_failure("docker run without Neutron");
    sleep(away.saturating_sub(begun.elapsed()));
    go_on(
        "Neutron and Keystone are away, and kuryr is killed meanwhile",
        STALL,
    );
    lab(&["start", "keystone", "neutron"]).expect("lab start");
    within(Duration::from_secs(30), "readiness", || {
        here.admin("/readyz") == "ok"
    });
    go_on("Neutron and Keystone are back", STALL);

    // The userspace datapath forwards nothing while ovs-vswitchd has no database; TCP sends again.
    let begun = Instant::now();
    lab(&["stop", "ovsdb@host1"]).expect("lab stop ovsdb");
    lab(&["start", "ovsdb@host1"]).expect("lab start ovsdb");
    go_on("ovsdb-server is restarted", begun.elapsed() * 3 + STALL);
    here.sleeper(&one, "");
    go_on("there is one container more", STALL);

    for (which, stream) in streams {
        eprintln!("stream {which}: {} bytes, each checked", stream.end());
    }
    there.clear();
    within(Duration::from_secs(10), "no port of host2", || {
        ports_at(&far).is_empty()
    });
    here.clear();
    there.end();
    here.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_full_disk_refuses_networks_and_keeps_containers_and_leaves_nothing() {
    let mut kuryr = Kuryr::begin();
    kuryr.move_to_small_disk();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let (a, b) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let address = kuryr.address(&a, &network, "IPAddress");
    let ping = format!("ping -c 1 -W 1 {address}");
    kuryr.small_disk().fill();
    let refused = kuryr.try_network("--subnet 10.21.0.0/24");
    let refused = refused.expect_failure("a network that could not be removed after a crash");
    assert!(refused.contains("No space left"), "{refused}");
    let c = kuryr.sleeper(&network, "");
    kuryr.inside(&c, &ping).expect("ping");
    kuryr.docker(&format!("rm -f {b}")).expect("docker rm");
    kuryr.stop("-KILL");
    kuryr.start();
    let d = kuryr.sleeper(&network, "");
    kuryr.inside(&d, &ping).expect("ping");
    kuryr.small_disk().make_room();
    kuryr.network("--subnet 10.21.0.0/24");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_network_that_a_killed_dockerd_has_not_noted_goes_by_itself() {
    let kuryr = Kuryr::begin();
    let known = kuryr.network("--subnet 10.21.0.0/24");
    let is_forgotten = (0..5).any(|_| is_killed_before_it_notes_a_network(&kuryr, &known));
    assert!(is_forgotten, "dockerd was quicker each time");
    assert_eq!(made().len(), 2, "what Docker has forgotten is there");
    within(Duration::from_secs(120), "the network to go", || {
        made().len() == 1
    });
    let log = kuryr.log();
    assert!(
        log.contains("the container runtime does not know it"),
        "{log}"
    );
    kuryr.sleeper(&known, "");
    kuryr.end();
}

/// dockerd is stopped while Kuryr makes a network, and killed when it has Kuryr's answer and has not read it.
fn is_killed_before_it_notes_a_network(kuryr: &Kuryr, known: &str) -> bool {
    let answers = || kuryr.log().matches("CreateNetwork done").count();
    let before = answers();
    scope(|scope| {
        let creating = scope.spawn(|| kuryr.try_network("--subnet 10.20.0.0/24"));
        within(Duration::from_secs(25), "the network to be made", || {
            made().len() > 1
        });
        let stopped = Paused::begin("dockerd@host1");
        within(Duration::from_secs(25), "Kuryr's answer", || {
            answers() > before
        });
        lab(&["kill", "dockerd@host1"]).expect("lab kill");
        drop(stopped);
        creating.join().unwrap();
    });
    lab(&["start", "dockerd@host1"]).expect("lab start");
    let driver = &kuryr.driver;
    let ls = format!("network ls --format {{{{.Name}}}} --filter driver={driver}");
    let networks = kuryr.docker(&ls).expect("docker network ls");
    let noted: Vec<&str> = networks.lines().filter(|name| *name != known).collect();
    for name in &noted {
        kuryr
            .docker(&format!("network rm {name}"))
            .expect("docker network rm");
    }
    noted.is_empty()
}

/// The networks in Neutron that a Kuryr has made.
fn made() -> Vec<Network> {
    let mut networks = list::<Network>();
    networks.retain(|network| network.name.starts_with("kuryr-net-"));
    networks
}
