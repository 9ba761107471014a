//! Ports that exist before their containers, what ports are to be like, and what they let in.

use std::time::Duration;

use neutron_api::{
    NewPort, NewQosPolicy, NewSecurityGroup, Port, QosPolicy, SecurityGroup, WantedIp,
};
use neutron_client::Filter;

use crate::lab::{Kuryr, on, within};
use crate::traces::{list, neutron, port_at, wait};

#[test]
#[ignore = "needs the lab: make test"]
fn a_port_that_exists_is_a_containers_for_a_while_and_then_what_it_was() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let peer = kuryr.sleeper(&network, "--ip 10.20.0.50");
    let ip = port_at("10.20.0.50").fixed_ips[0];
    let new = NewPort {
        name: "theirs".into(),
        network_id: Some(port_at("10.20.0.50").network_id),
        fixed_ips: Some(vec![WantedIp {
            subnet_id: ip.subnet_id,
            ip_address: Some("10.20.0.77".parse().unwrap()),
        }]),
        admin_state_up: true,
        ..NewPort::default()
    };
    let port = wait(neutron().create(&new, &Filter::new())).unwrap();
    let before = whole(&port);
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
            whole(&port) == before
        });
    }
    wait(neutron().delete::<Port>(port.id)).unwrap();
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn what_a_container_exposes_is_let_in_and_nothing_else() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    // The default group lets in its own members: who is to be kept out must be in another.
    let new = NewSecurityGroup {
        name: kuryr.driver.clone(),
        ..NewSecurityGroup::default()
    };
    let group = wait(neutron().create(&new, &Filter::new())).unwrap();
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
    within(Duration::from_secs(20), "the client's group unused", || {
        let deleted = wait(neutron().delete::<SecurityGroup>(group.id));
        deleted.is_ok()
    });
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
    ];
    kuryr.sleeper(&options.join(","), "--ip 10.20.0.50");
    let port = port_at("10.20.0.50");
    assert_eq!(port.port_security_enabled, Some(false));
    assert_eq!(port.security_groups, []);
    let shown = whole(&port);
    assert!(shown.contains(&policy.id.to_string()), "{shown}");
    let named = || port_at("10.20.0.50").name == "front";
    within(Duration::from_secs(10), "the port's name", named);
    // The lab's Neutron lists dns-integration and has no driver for it.
    let dropped = format!("name={network},driver-opt=neutron.port.dns_name=front-1");
    let refused = kuryr.try_sleeper(&dropped, "").expect_failure("dns_name");
    assert!(refused.contains("dns-integration"), "{refused}");
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

/// A port with all its fields but those that count and date its changes, as the command shows it.
fn whole(port: &Port) -> String {
    let show = on("host1", &format!("openstack port show -f yaml {}", port.id));
    let fields = show.expect("openstack port show");
    let is_kept =
        |line: &&str| !line.starts_with("revision_number") && !line.starts_with("updated_at");
    fields
        .lines()
        .filter(is_kept)
        .collect::<Vec<_>>()
        .join("\n")
}
