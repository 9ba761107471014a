//! Promises about subnets.

use std::net::IpAddr;

use http::Method;
use neutron_api::{AllocationPool, FixedIp, Subnet, SubnetChange};
use neutron_client::Filter;
use serde_json::{Value, json};

use crate::ground::{Ground, body, named, refusal};

/// Docker asks for a gateway, or takes Neutron's.
pub async fn the_first_address_is_the_gateway_unless_told_otherwise(ground: Ground) {
    let (_, subnet) = ground.network_with("10.99.0.0/24").await;
    assert_eq!(subnet.gateway_ip, Some(ip("10.99.0.1")));
    assert_eq!(subnet.allocation_pools, [pool("10.99.0.2", "10.99.0.254")]);
}

/// `--internal` and the like.
pub async fn a_subnet_without_a_gateway_gives_its_first_address_away(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/24");
    new.gateway_ip = Some(None);
    let subnet = ground.make(&new).await;
    assert_eq!(ground.again(&subnet).await.gateway_ip, None);
    assert_eq!(subnet.allocation_pools, [pool("10.99.0.1", "10.99.0.254")]);
}

/// `--gateway`.
pub async fn a_given_gateway_is_kept_from_ports(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/29");
    new.gateway_ip = Some(Some(ip("10.99.0.3")));
    let subnet = ground.make(&new).await;
    assert_eq!(subnet.gateway_ip, Some(ip("10.99.0.3")));
    let expected = [
        pool("10.99.0.1", "10.99.0.2"),
        pool("10.99.0.4", "10.99.0.6"),
    ];
    assert_eq!(sorted(subnet.allocation_pools), expected);
}

/// So `--ip-range` that holds the gateway is told to the user.
pub async fn a_gateway_in_the_allocation_pools_is_refused(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/24");
    new.allocation_pools = Some(vec![pool("10.99.0.1", "10.99.0.9")]);
    let refusal = ground.refusal(&new).await;
    assert_eq!(refusal, named(409, "GatewayConflictWithAllocationPools"));
}

/// `--ip-range`.
pub async fn allocation_pools_are_kept_and_used(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/24");
    new.allocation_pools = Some(vec![pool("10.99.0.64", "10.99.0.65")]);
    let subnet = ground.make(&new).await;
    assert_eq!(subnet.allocation_pools, [pool("10.99.0.64", "10.99.0.65")]);
    let ports = [ground.port(&network).await, ground.port(&network).await];
    let mut addresses = ports.map(|port| port.fixed_ips[0].ip_address);
    addresses.sort_unstable();
    assert_eq!(addresses, [ip("10.99.0.64"), ip("10.99.0.65")]);
}

/// So a wrong `--ip-range` is told to the user.
pub async fn allocation_pools_outside_the_subnet_are_refused(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "10.99.0.0/24");
    new.allocation_pools = Some(vec![pool("10.99.0.250", "10.99.1.5")]);
    let refusal = ground.refusal(&new).await;
    assert_eq!(refusal, named(400, "OutOfBoundsAllocationPool"));
}

/// The gateway may become known after the subnet.
pub async fn a_gateway_can_be_removed_and_moved(ground: Ground) {
    let (_, subnet) = ground.network_with("10.99.0.0/24").await;
    for gateway_ip in [None, Some(ip("10.99.0.1"))] {
        let change = SubnetChange {
            gateway_ip: Some(gateway_ip),
            ..SubnetChange::default()
        };
        let changed = ground.neutron.update(subnet.id, &change).await;
        assert_eq!(changed.expect("a subnet").gateway_ip, gateway_ip);
    }
}

/// So one network never has one address twice.
pub async fn overlapping_subnets_of_a_network_are_refused(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/16").await;
    let new = ground.new_subnet(&network, "10.99.7.0/24");
    assert_eq!(ground.refusal(&new).await, named(400, "InvalidInput"));
}

/// So a range alone never identifies a subnet.
pub async fn two_networks_may_have_the_same_range(ground: Ground) {
    let (_, one) = ground.network_with("10.99.0.0/24").await;
    let (_, other) = ground.network_with("10.99.0.0/24").await;
    assert_ne!(one.id, other.id);
}

/// So a subnet that another host uses stays.
pub async fn a_subnet_with_ports_refuses_to_go(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    ground.port(&network).await;
    let outcome = ground.neutron.delete::<Subnet>(subnet.id).await;
    assert_eq!(refusal(outcome), named(409, "SubnetInUse"));
}

/// So Docker and the container agree on the address without router advertisements.
pub async fn a_v6_subnet_without_modes_gives_plain_addresses(ground: Ground) {
    let network = ground.network().await;
    let mut new = ground.new_subnet(&network, "fd00:99::/64");
    new.allocation_pools = Some(vec![pool("fd00:99::10", "fd00:99::10")]);
    let subnet = ground.make(&new).await;
    assert!(
        subnet
            .gateway_ip
            .is_some_and(|gateway| subnet.cidr.contains(&gateway))
    );
    let port = ground.port(&network).await;
    let expected = FixedIp {
        subnet_id: subnet.id,
        ip_address: ip("fd00:99::10"),
    };
    assert_eq!(port.fixed_ips, [expected]);
}

/// Join gives them to the container.
pub async fn host_routes_are_kept(ground: Ground) {
    let network = ground.network().await;
    let route = json!({"destination": "172.31.0.0/16", "nexthop": "10.99.0.9"});
    let new = body::<Subnet>(json!({
        "name": ground.name,
        "network_id": network.id,
        "ip_version": 4,
        "cidr": "10.99.0.0/24",
        "enable_dhcp": false,
        "host_routes": [route],
    }));
    let reply = ground.ask(Method::POST, "subnets", new).await;
    assert_eq!(reply.body["subnet"]["host_routes"], json!([route]));
    let subnet: Subnet = serde_json::from_value(reply.body["subnet"].clone()).expect("a subnet");
    assert_eq!(subnet.host_routes[0].nexthop, ip("10.99.0.9"));
}

/// So nothing half right comes of a slip.
pub async fn what_a_subnet_cannot_be_is_refused(ground: Ground) {
    let network = ground.network().await;
    let like = json!({
        "name": ground.name, "network_id": network.id, "ip_version": 4, "cidr": "10.99.0.0/24",
    });
    let pools = |ranges: &[(&str, &str)]| -> Value {
        let pool = |(start, end): &(&str, &str)| json!({"start": start, "end": end});
        json!({"allocation_pools": ranges.iter().map(pool).collect::<Vec<_>>()})
    };
    let route = |destination: &str, hop: &str| json!({"destination": destination, "nexthop": hop});
    let servers: Vec<String> = (1..=6).map(|last| format!("10.0.0.{last}")).collect();
    let six = |ra: &str, address: &str| {
        json!({
            "ip_version": 6, "cidr": "fd00:99::/64",
            "ipv6_ra_mode": ra, "ipv6_address_mode": address,
        })
    };
    let refusals = [
        (json!({"cidr": "nonsense"}), 400, "InvalidInput"),
        (json!({"cidr": "fd00:99::/64"}), 400, "InvalidInput"),
        (json!({"cidr": "10.99.0.0/31"}), 400, "InvalidInput"),
        (json!({"ip_version": 5}), 400, "HTTPBadRequest"),
        (json!({"gateway_ip": "nonsense"}), 400, "HTTPBadRequest"),
        (json!({"gateway_ip": "fd00:99::1"}), 400, "InvalidInput"),
        (json!({"gateway_ip": "10.99.0.255"}), 400, "InvalidInput"),
        (
            pools(&[("10.99.0.9", "10.99.0.5")]),
            400,
            "InvalidAllocationPool",
        ),
        (
            pools(&[("10.99.0.5", "10.99.0.9"), ("10.99.0.9", "10.99.0.12")]),
            409,
            "OverlappingAllocationPools",
        ),
        (
            json!({"dns_nameservers": ["10.0.0.1", "10.0.0.1"]}),
            400,
            "HTTPBadRequest",
        ),
        (json!({"dns_nameservers": ["fd00::1"]}), 400, "InvalidInput"),
        (
            json!({"dns_nameservers": servers}),
            400,
            "DNSNameServersExhausted",
        ),
        (
            json!({"host_routes": [route("fd00::/64", "10.99.0.9")]}),
            400,
            "InvalidInput",
        ),
        (
            json!({"host_routes": [route("10.1.0.0/16", "fd00::1")]}),
            400,
            "InvalidInput",
        ),
        (
            json!({"host_routes": vec![route("10.1.0.0/16", "10.99.0.9"); 2]}),
            400,
            "HTTPBadRequest",
        ),
        (json!({"ipv6_ra_mode": "slaac"}), 400, "InvalidInput"),
        (six("slaac", "dhcpv6-stateful"), 400, "InvalidInput"),
    ];
    ground.refused::<Subnet>("subnets", &like, &refusals).await;
    assert!(ground.ids::<Subnet>(Filter::new()).await.is_empty());
}

/// What the user sets later is as good as what was set from the start.
pub async fn a_subnet_can_be_changed(ground: Ground) {
    let (_, subnet) = ground.network_with("10.99.0.0/24").await;
    let path = format!("subnets/{}", subnet.id);
    let route = json!({"destination": "10.1.0.0/16", "nexthop": "10.99.0.9"});
    let range = json!({"start": "10.99.0.20", "end": "10.99.0.30"});
    let changes = [
        json!({"dns_nameservers": ["10.0.0.1"], "host_routes": [route], "enable_dhcp": true}),
        json!({"allocation_pools": [range], "gateway_ip": "10.99.0.9"}),
        json!({"dns_nameservers": [], "host_routes": [], "gateway_ip": null}),
    ];
    for change in changes {
        let reply = ground
            .ask(Method::PUT, &path, body::<Subnet>(change.clone()))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let shown = ground.ask(Method::GET, &path, Value::Null).await;
        for (key, value) in change.as_object().expect("attributes") {
            assert_eq!(&shown.body["subnet"][key], value, "{key}");
        }
    }
    let refusals = [
        (
            json!({"gateway_ip": "10.99.0.25"}),
            409,
            "GatewayConflictWithAllocationPools",
        ),
        (json!({"cidr": "10.98.0.0/24"}), 400, "HTTPBadRequest"),
    ];
    for (change, status, fault) in refusals {
        let reply = ground.ask(Method::PUT, &path, body::<Subnet>(change)).await;
        assert_eq!((reply.status.as_u16(), reply.fault()), (status, fault));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn pool(start: &str, end: &str) -> AllocationPool {
    AllocationPool {
        start: ip(start),
        end: ip(end),
    }
}

fn sorted(mut pools: Vec<AllocationPool>) -> Vec<AllocationPool> {
    pools.sort_unstable_by_key(|pool| pool.start);
    pools
}
