//! Promises about ports and their addresses.

use std::net::IpAddr;

use http::Method;
use neutron_api::{
    AddressPair, AllocationPool, FixedIp, NewQosPolicy, Port, PortChange, QosPolicy, QosRule,
    SecurityGroup, Subnet, WantedIp,
};
use neutron_client::Filter;
use serde_json::{Value, json};

use crate::ground::{Ground, named, refusal, unique, unique_mac};

/// So a create whose reply was lost can be found, and what a killed daemon left, too.
pub async fn a_ports_identity_counts_from_the_post_on(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let new = ground.new_port(&network);
    let port = ground.make(&new).await;
    ground.port(&network).await;
    let filters = [
        Filter::new().with("device_id", &new.device_id),
        Filter::new()
            .with("device_id", &new.device_id)
            .with("device_owner", "compute:kuryr")
            .with("network_id", network.id),
    ];
    for filter in filters {
        assert_eq!(ground.ids::<Port>(filter).await, [port.id.to_string()]);
    }
}

/// Ports for containers that are still to come cost one request, and a refusal leaves none of them.
pub async fn ports_are_made_many_at_once_or_none(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/24");
    new.allocation_pools = Some(vec![AllocationPool {
        start: ip("10.99.0.9"),
        end: ip("10.99.0.11"),
    }]);
    let subnet = ground.make(&new).await;
    let mut port = ground.new_port(&network);
    port.fixed_ips = Some(vec![any(&subnet)]);
    let ports = ground.neutron.create_all(&vec![port.clone(); 2]).await;
    let ports: Vec<Port> = ports.expect("two ports");
    let mut has: Vec<IpAddr> = ports.iter().flat_map(addresses).collect();
    has.sort_unstable();
    has.dedup();
    assert_eq!(has.len(), 2);
    let outcome = ground.neutron.create_all(&vec![port.clone(); 2]).await;
    assert_eq!(refusal(outcome), named(409, "IpAddressGenerationFailure"));
    let all = Filter::new().with("device_id", &port.device_id);
    assert_eq!(ground.ids::<Port>(all).await.len(), 2);
}

/// Neutron gives nothing out twice.
pub async fn ports_share_neither_address_nor_mac(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let mut addresses = Vec::new();
    let mut macs = Vec::new();
    for _ in 0..4 {
        let port = ground.port(&network).await;
        addresses.extend(port.fixed_ips.iter().map(|ip| ip.ip_address));
        macs.push(port.mac_address);
    }
    addresses.sort_unstable();
    addresses.dedup();
    macs.sort_unstable();
    macs.dedup();
    assert_eq!((addresses.len(), macs.len()), (4, 4));
}

/// `--ip` of an address in use.
pub async fn a_taken_address_is_named(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    new.fixed_ips = Some(vec![at(&subnet, "10.99.0.77")]);
    ground.make(&new).await;
    new.device_id = unique("device");
    assert_eq!(
        ground.refusal(&new).await,
        named(409, "IpAddressAlreadyAllocated")
    );
}

/// `--mac-address` of another container.
pub async fn a_mac_is_unique_on_its_network_only(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    new.mac_address = Some(unique_mac());
    assert_eq!(Some(ground.make(&new).await.mac_address), new.mac_address);
    assert_eq!(ground.refusal(&new).await, named(409, "MacAddressInUse"));
    let (elsewhere, _) = ground.network_with("10.99.0.0/24").await;
    new.network_id = Some(elsewhere.id);
    assert_eq!(ground.make(&new).await.network_id, elsewhere.id);
}

/// Whether any address is asked for, or one of this subnet.
pub async fn a_full_subnet_is_named(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/24");
    new.allocation_pools = Some(vec![AllocationPool {
        start: ip("10.99.0.9"),
        end: ip("10.99.0.9"),
    }]);
    let subnet = ground.make(&new).await;
    ground.port(&network).await;
    let mut port = ground.new_port(&network);
    for wish in [None, Some(vec![any(&subnet)])] {
        port.fixed_ips = wish;
        let refusal = ground.refusal(&port).await;
        assert_eq!(refusal, named(409, "IpAddressGenerationFailure"));
    }
}

/// `--ip` outside `--ip-range`, and gateways.
pub async fn an_address_outside_the_allocation_pools_can_be_had(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/24");
    new.allocation_pools = Some(vec![AllocationPool {
        start: ip("10.99.0.100"),
        end: ip("10.99.0.199"),
    }]);
    let subnet = ground.make(&new).await;
    for address in ["10.99.0.200", "10.99.0.1"] {
        let mut port = ground.new_port(&network);
        port.fixed_ips = Some(vec![at(&subnet, address)]);
        let port = ground.make(&port).await;
        assert_eq!(addresses(&port), [ip(address)]);
    }
}

/// A wrong `--ip`.
pub async fn an_address_of_no_subnet_is_refused(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    for address in ["10.98.0.5", "10.99.0.0", "10.99.0.255"] {
        let mut port = ground.new_port(&network);
        port.fixed_ips = Some(vec![at(&subnet, address)]);
        let refusal = ground.refusal(&port).await;
        assert_eq!(refusal, named(400, "InvalidIpForSubnet"), "{address}");
    }
}

/// One request makes a dual-stack endpoint.
pub async fn a_port_gets_an_address_of_each_family(ground: Ground) {
    let (network, four) = ground.network_with("10.99.0.0/24").await;
    let six = ground.subnet(&network, "fd00:99::/64").await;
    let unasked = ground.port(&network).await;
    let mut new = ground.new_port(&network);
    new.fixed_ips = Some(vec![any(&four), at(&six, "fd00:99::77")]);
    let asked = ground.make(&new).await;
    for port in [&unasked, &asked] {
        assert_eq!(port.fixed_ips.len(), 2, "{port:?}");
        for subnet in [&four, &six] {
            let of = |ip: &&FixedIp| ip.subnet_id == subnet.id;
            let ip = port.fixed_ips.iter().find(of).expect("an address");
            assert!(subnet.cidr.contains(&ip.ip_address));
        }
    }
    assert!(addresses(&asked).contains(&ip("fd00:99::77")));
}

/// What was there stays only where it is asked for again.
pub async fn fixed_ips_are_replaced_as_a_whole(ground: Ground) {
    let (network, four) = ground.network_with("10.99.0.0/24").await;
    let six = ground.subnet(&network, "fd00:99::/64").await;
    let port = ground.port(&network).await;
    let of_four = |port: &Port| {
        let mut all = port.fixed_ips.iter();
        all.find(|ip| ip.subnet_id == four.id)
            .map(|ip| ip.ip_address)
    };
    let kept = of_four(&port);

    let port = rewish(&ground, &port, vec![any(&four), at(&six, "fd00:99::77")]).await;
    assert_eq!(of_four(&port), kept);
    assert!(addresses(&port).contains(&ip("fd00:99::77")));

    let port = rewish(&ground, &port, vec![at(&four, "10.99.0.88")]).await;
    assert_eq!(addresses(&port), [ip("10.99.0.88")]);
    assert_eq!(addresses(&ground.again(&port).await), [ip("10.99.0.88")]);
}

/// A place that gets its addresses later.
pub async fn a_port_asked_to_have_no_address_has_none(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    new.fixed_ips = Some(Vec::new());
    let port = ground.make(&new).await;
    assert_eq!(port.fixed_ips, []);
    let port = rewish(&ground, &port, vec![any(&subnet)]).await;
    assert_eq!(port.fixed_ips.len(), 1);
    let port = rewish(&ground, &port, Vec::new()).await;
    assert_eq!(port.fixed_ips, []);
}

/// An address is reserved first and becomes an endpoint's later.
pub async fn a_port_can_be_renamed_and_given_to_another_device(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    let change = PortChange {
        device_id: Some(unique("device")),
        device_owner: Some("compute:other".into()),
        ..PortChange::default()
    };
    let changed = ground
        .neutron
        .update(port.id, &change)
        .await
        .expect("a port");
    assert_eq!(Some(changed.device_id), change.device_id);
    assert_eq!(Some(changed.device_owner), change.device_owner);
    assert_eq!(
        (changed.name, changed.fixed_ips),
        (port.name, port.fixed_ips)
    );
    let old = Filter::new().with("device_id", port.device_id);
    assert_eq!(ground.ids::<Port>(old).await, [""; 0]);
    let new = Filter::new().with("device_id", change.device_id.expect("set"));
    assert_eq!(ground.ids::<Port>(new).await, [port.id.to_string()]);
    let change = PortChange {
        device_id: Some(String::new()),
        device_owner: Some(String::new()),
        ..PortChange::default()
    };
    let changed = ground
        .neutron
        .update(port.id, &change)
        .await
        .expect("a port");
    assert_eq!(
        (changed.device_id.as_str(), changed.device_owner.as_str()),
        ("", "")
    );
}

/// A port is never open by accident.
pub async fn a_port_has_the_default_security_group(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    let filter = Filter::new()
        .with("name", "default")
        .with("project_id", &port.project_id);
    let groups = ground.neutron.list::<SecurityGroup>(&filter).await;
    let groups = groups.expect("a list");
    assert_eq!(groups.len(), 1);
    assert_eq!(port.security_groups, [groups[0].id]);
    let mut new = ground.new_port(&network);
    new.security_groups = Some(Vec::new());
    assert_eq!(ground.make(&new).await.security_groups, []);
}

/// An open port is held to nothing, and so has nothing to be held to.
pub async fn a_port_without_port_security_has_neither_groups_nor_pairs(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    new.port_security_enabled = Some(false);
    assert_eq!(ground.make(&new).await.security_groups, []);
    let port = ground.port(&network).await;
    let open = PortChange {
        port_security_enabled: Some(false),
        ..PortChange::default()
    };
    let outcome = ground.neutron.update(port.id, &open).await;
    assert_eq!(
        refusal(outcome),
        named(409, "PortSecurityPortHasSecurityGroup")
    );
    let open = PortChange {
        security_groups: Some(Vec::new()),
        allowed_address_pairs: Some(Vec::new()),
        ..open
    };
    let port = ground.neutron.update(port.id, &open).await.expect("a port");
    assert_eq!(port.port_security_enabled, Some(false));
}

/// Pairs are replaced as a whole.
pub async fn a_port_takes_address_pairs(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let pair = |range: &str, mac_address| AddressPair {
        ip_address: range.to_owned(),
        mac_address,
    };
    let mac = unique_mac();
    let port = ground.port(&network).await;
    let change = PortChange {
        allowed_address_pairs: Some(vec![
            pair("10.99.0.64/28", None),
            pair("10.99.0.9", Some(mac)),
        ]),
        ..PortChange::default()
    };
    let port = ground
        .neutron
        .update(port.id, &change)
        .await
        .expect("a port");
    let mut has: Vec<_> = port
        .allowed_address_pairs
        .iter()
        .map(|p| p.ip_address.as_str())
        .collect();
    has.sort_unstable();
    assert_eq!(has, ["10.99.0.64/28", "10.99.0.9"]);
    assert!(
        port.allowed_address_pairs
            .iter()
            .any(|pair| pair.mac_address == Some(mac))
    );
}

/// Policies stand under a folder of their own.
pub async fn a_port_takes_a_qos_policy_that_is_found_by_its_name(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let name = ground.name.clone();
    let policy = ground.make(&NewQosPolicy { name: name.clone() }).await;
    assert_eq!(
        ground.ids::<QosPolicy>(Filter::new()).await,
        [policy.id.to_string()]
    );
    let port = ground.port(&network).await;
    let change = PortChange {
        qos_policy_id: Some(policy.id),
        ..PortChange::default()
    };
    ground
        .neutron
        .update(port.id, &change)
        .await
        .expect("a port");
    let path = format!("ports/{}?fields=qos_policy_id", port.id);
    let shown = ground.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(shown.body["port"]["qos_policy_id"], policy.id.to_string());
}

/// So what a port may send is known where no agent of Neutron's holds it to that.
pub async fn a_qos_policy_shows_its_rules(ground: Ground) {
    let name = ground.name.clone();
    let policy = ground.make(&NewQosPolicy { name }).await;
    for (rules, rule) in [
        (
            "bandwidth_limit_rules",
            json!({"bandwidth_limit_rule": {"max_kbps": 200_000, "direction": "egress"}}),
        ),
        (
            "minimum_bandwidth_rules",
            json!({"minimum_bandwidth_rule": {"min_kbps": 10_000, "direction": "egress"}}),
        ),
    ] {
        let path = format!("qos/policies/{}/{rules}", policy.id);
        let made = ground.ask(Method::POST, &path, rule).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
    }
    let shown = ground.neutron.find::<QosPolicy>(policy.id).await;
    let mut rules = shown.expect("an answer").expect("a policy").rules;
    rules.sort_by(|one, other| one.kind.cmp(&other.kind));
    let egress = Some("egress".to_owned());
    assert_eq!(
        rules,
        [
            QosRule {
                kind: "bandwidth_limit".into(),
                direction: egress.clone(),
                max_kbps: Some(200_000),
                min_kbps: None,
            },
            QosRule {
                kind: "minimum_bandwidth".into(),
                direction: egress,
                max_kbps: None,
                min_kbps: Some(10_000),
            },
        ]
    );
}

async fn rewish(ground: &Ground, port: &Port, fixed_ips: Vec<WantedIp>) -> Port {
    let change = PortChange {
        fixed_ips: Some(fixed_ips),
        ..PortChange::default()
    };
    ground
        .neutron
        .update(port.id, &change)
        .await
        .expect("a port")
}

fn addresses(port: &Port) -> Vec<IpAddr> {
    port.fixed_ips.iter().map(|ip| ip.ip_address).collect()
}

fn any(subnet: &Subnet) -> WantedIp {
    WantedIp {
        subnet_id: subnet.id,
        ip_address: None,
    }
}

fn at(subnet: &Subnet, address: &str) -> WantedIp {
    WantedIp {
        subnet_id: subnet.id,
        ip_address: Some(ip(address)),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
