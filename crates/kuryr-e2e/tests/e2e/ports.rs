//! Ports that exist before their containers, what ports are to be like, and what they let in.

use std::time::Duration;

use neutron_api::{
    NewPort, NewQosPolicy, NewSecurityGroup, Port, QosPolicy, SecurityGroup, WantedIp,
};
use neutron_client::Filter;

use crate::lab::{Kuryr, on, until, within};
use crate::traces::{list, neutron, port_at, wait};

#[test]
#[ignore = "needs the lab: make test"]
fn a_port_that_exists_is_a_containers_for_a_while_and_then_what_it_was() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let peer = kuryr.sleeper(&network, "--ip 10.20.0.50");
    let port = theirs_beside(&port_at("10.20.0.50"), "10.20.0.77");
    let before = whole("port", port.id);
    for _ in 0..2 {
        let container = kuryr.sleeper(&network, "--ip 10.20.0.77");
        let ping = kuryr.inside(&peer, "ping -c 1 -W 2 10.20.0.77");
        ping.expect("ping of the adopted port");
        let during = port_at("10.20.0.77");
        assert_eq!((during.id, during.name.as_str()), (port.id, "theirs"));
        assert_eq!(during.host_id.as_deref(), Some("host1"));
        let refused = kuryr.try_sleeper(&network, "--ip 10.20.0.77");
        let refused = refused.expect_failure("a second container");
        assert!(refused.contains("in use by port"), "{refused}");
        kuryr
            .docker(&format!("rm -f {container}"))
            .expect("docker rm");
        within(Duration::from_secs(20), "the port as it was", || {
            whole("port", port.id) == before
        });
    }
    wait(neutron().delete::<Port>(port.id)).unwrap();
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_port_that_two_hosts_want_at_once_is_one_containers_at_most() {
    let here = Kuryr::begin();
    let own = here.network("--subnet 10.20.0.0/24");
    here.sleeper(&own, "--ip 10.20.0.50");
    let peer = port_at("10.20.0.50");
    let port = theirs_beside(&peer, "10.20.0.77");
    let before = whole("port", port.id);
    let there = Kuryr::begin_on("host2", "");
    let adopted = there.network(&format!(
        "--subnet 10.20.0.0/24 -o neutron.net.uuid={}",
        peer.network_id
    ));
    let mut had = 0;
    for _ in 0..5 {
        let [one, other] = std::thread::scope(|scope| {
            let both = [(&here, &own), (&there, &adopted)];
            both.map(|(kuryr, network)| {
                scope.spawn(move || kuryr.try_sleeper(network, "--ip 10.20.0.77"))
            })
            .map(|run| run.join().unwrap())
        });
        eprintln!("{} | {}", one.text, other.text);
        let has_it = match (one.ok, other.ok) {
            (true, true) => panic!("both have it"),
            (false, false) => None,
            (true, false) => Some((&here, one.text)),
            (false, true) => Some((&there, other.text)),
        };
        if let Some((kuryr, container)) = has_it {
            let host = port_at("10.20.0.77").host_id;
            assert_eq!(host.as_deref(), Some(kuryr.host));
            let remove = format!("rm -f {container}");
            kuryr.docker(&remove).expect("docker rm");
            had += 1;
        }
        within(Duration::from_secs(20), "the port as it was", || {
            whole("port", port.id) == before
        });
    }
    assert!(had > 0, "neither ever has it");
    there.end();
    wait(neutron().delete::<Port>(port.id)).unwrap();
    here.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn what_docker_prunes_and_was_there_before_is_what_it_was() {
    let here = Kuryr::begin();
    let own = here.network("--subnet 10.20.0.0/24");
    here.sleeper(&own, "--ip 10.20.0.50");
    let peer = port_at("10.20.0.50");
    let port = theirs_beside(&peer, "10.20.0.77");
    let network = peer.network_id;
    let all = || [whole("port", port.id), whole("network", network)];
    let before = all();
    let there = Kuryr::begin_on("host2", "");
    let label = there.driver.clone();
    let adopted = there.network(&format!(
        "--label {label} --subnet 10.20.0.0/24 -o neutron.net.uuid={network}"
    ));
    let container = there.sleeper(&adopted, "--ip 10.20.0.77");
    assert_eq!(
        port_at("10.20.0.77").host_id.as_deref(),
        Some("host2"),
        "its port is in use"
    );
    there
        .docker(&format!("stop -t 0 {container}"))
        .expect("docker stop");
    let pruned = there.docker(&format!("system prune -f --filter label={label}"));
    let pruned = pruned.expect("docker system prune");
    assert!(pruned.contains(&adopted), "{pruned}");
    let mut after = before.clone();
    let is_as_before = until(Duration::from_secs(20), || {
        after = all();
        after == before
    });
    assert!(is_as_before, "{before:#?}\n{after:#?}");
    there.end();
    wait(neutron().delete::<Port>(port.id)).unwrap();
    here.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn what_a_container_exposes_is_let_in_and_nothing_else() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let group = other_group(&kuryr);
    let server = kuryr.sleeper(&network, "--ip 10.20.0.80 --expose 8080 --expose 53/udp");
    for port in [8080, 8081] {
        let serve = format!("exec -d {server} nc -ll -p {port} -e echo served");
        kuryr.docker(&serve).expect("nc");
    }
    let outside = format!(
        "name={network},driver-opt=neutron.port.security_groups={}",
        group.name
    );
    let client = kuryr.sleeper(&outside, "");
    let reached = |port: u16| {
        let said = kuryr.inside(&client, &format!("nc -w 2 10.20.0.80 {port} </dev/null"));
        said.text.contains("served")
    };
    within(Duration::from_secs(10), "the exposed port", || {
        reached(8080)
    });
    assert!(!reached(8081), "a port that is not exposed");
    let exposed = list::<SecurityGroup>().into_iter();
    let exposed: Vec<_> = exposed
        .filter(|group| group.name.ends_with("-exposed_ports"))
        .collect();
    assert_eq!(exposed.len(), 1);
    assert!(
        exposed[0]
            .name
            .starts_with(&port_at("10.20.0.80").id.to_string())
    );
    kuryr
        .docker(&format!("rm -f {server} {client}"))
        .expect("docker rm");
    remove_group(&group);
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_containers_port_is_as_the_user_says() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24 -o neutron.port.name=front");
    let name = kuryr.driver.clone();
    let policy = wait(neutron().create(&NewQosPolicy { name: name.clone() }, &Filter::new()));
    let policy = policy.unwrap();
    let options = [
        format!("name={network}"),
        format!("driver-opt=neutron.port.qos_policy={name}"),
        "driver-opt=neutron.port.port_security=false".to_owned(),
        "driver-opt=neutron.port.dns_name=front-1".to_owned(),
    ];
    kuryr.sleeper(&options.join(","), "--ip 10.20.0.50");
    let port = port_at("10.20.0.50");
    assert_eq!(port.port_security_enabled, Some(false));
    assert_eq!(port.security_groups, []);
    let shown = whole("port", port.id);
    assert!(shown.contains(&policy.id.to_string()), "{shown}");
    // As the port's own, and as what Neutron's DNS answers.
    for name in ["dns_name: front-1", "hostname: front-1"] {
        assert!(shown.contains(name), "{shown}");
    }
    let named = || port_at("10.20.0.50").name == "front";
    within(Duration::from_secs(10), "the port's name", named);
    let wrong = format!("name={network},driver-opt=neutron.port.security_groups=nobodys");
    let refused = kuryr.try_sleeper(&wrong, "").expect_failure("no group");
    assert!(refused.contains("no security group"), "{refused}");
    kuryr.clear();
    within(Duration::from_secs(20), "the policy unused", || {
        wait(neutron().delete::<QosPolicy>(policy.id)).is_ok()
    });
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_host_of_the_lab_is_ready_for_an_upgrade() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    kuryr.sleeper(&network, "");
    let said = kuryr.upgrade_check();
    assert!(said.ok, "{}", said.text);
    for check in [
        "Open vSwitch",
        "Neutron",
        "Rights",
        "Host",
        "Default subnet pools",
    ] {
        assert!(
            said.text.contains(&format!("Check: {check}")),
            "{}",
            said.text
        );
    }
    assert!(!said.text.contains("Result: Failure"), "{}", said.text);
    kuryr.end();
}

/// The default group lets in its own members: who is to be kept out must be in another.
pub(crate) fn other_group(kuryr: &Kuryr) -> SecurityGroup {
    let new = NewSecurityGroup {
        name: kuryr.driver.clone(),
        ..NewSecurityGroup::default()
    };
    wait(neutron().create(&new, &Filter::new())).unwrap()
}

/// Once no port is in it.
pub(crate) fn remove_group(group: &SecurityGroup) {
    within(Duration::from_secs(20), "the group unused", || {
        wait(neutron().delete::<SecurityGroup>(group.id)).is_ok()
    });
}

/// A port with all its fields but those that count and date its changes, as the command shows it.
/// A port of somebody else, on the network of `other`.
fn theirs_beside(other: &Port, address: &str) -> Port {
    let new = NewPort {
        name: "theirs".into(),
        network_id: Some(other.network_id),
        fixed_ips: Some(vec![WantedIp {
            subnet_id: other.fixed_ips[0].subnet_id,
            ip_address: Some(address.parse().unwrap()),
        }]),
        admin_state_up: true,
        ..NewPort::default()
    };
    wait(neutron().create(&new, &Filter::new())).unwrap()
}

/// All that Neutron shows of an object but for what counts changes.
fn whole(kind: &str, id: impl std::fmt::Display) -> String {
    let show = on("host1", &format!("openstack {kind} show -f yaml {id}"));
    let fields = show.expect("openstack show");
    let is_kept =
        |line: &&str| !line.starts_with("revision_number") && !line.starts_with("updated_at");
    fields
        .lines()
        .filter(is_kept)
        .collect::<Vec<_>>()
        .join("\n")
}
