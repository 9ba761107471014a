//! Defects of the Python daemon, by their numbers in docs/python-compatibility.md, that no story of
//! another file meets.

use kuryr_core::{AddressRequest, Gateway};
use neutron_api::{IpVersion, Network, NewSubnet, Port, Subnet};

use crate::adopt::{plan, theirs};
use crate::world::{Plan, World, dual_stack, soon, subnet};

/// Python defect 16: it looked at the first subnet of that range, whosever it was.
#[tokio::test(start_paused = true)]
async fn a_gateway_is_the_networks_own_whatever_others_have_with_the_same_range() {
    let world = World::new();
    let theirs = world.network_of("1", "10.50.0.0/24").await;
    let gateway = world.all::<Subnet>().await[0].gateway_ip;
    assert_eq!(gateway, Some("10.50.0.1".parse().unwrap()));
    let plan = Plan {
        gateway: Some("10.50.0.254"),
        ..subnet("10.50.0.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    let own = "10.50.0.254/24".parse().unwrap();
    assert_eq!(made.gateways, [Some(own)]);
    let again = world.kuryr.reserve_gateway(&made.pools[0].id, None, soon());
    assert!(matches!(again.await.unwrap(), Gateway::At(address) if address == own));
    let others = world.all::<Network>().await;
    assert!(others.iter().any(|network| network.id == theirs.id));
}

/// Python defect 17.
#[tokio::test(start_paused = true)]
async fn a_sandbox_gets_no_routes_of_subnets_that_it_has_no_address_of() {
    let world = World::new();
    let (network, used) = theirs(&world).await;
    let new = NewSubnet {
        name: "other".into(),
        description: String::new(),
        network_id: network.id,
        ip_version: IpVersion::V4,
        cidr: Some("10.60.0.0/24".parse().unwrap()),
        subnetpool_id: None,
        gateway_ip: None,
        allocation_pools: None,
        enable_dhcp: true,
    };
    let other = world.make(&new).await;
    for (subnet, destination, nexthop) in [
        (used.id, "192.0.2.0/24", "10.50.0.9"),
        (other.id, "198.51.100.0/24", "10.60.0.9"),
    ] {
        let route = serde_json::json!({"subnet": {"host_routes": [
            {"destination": destination, "nexthop": nexthop},
        ]}});
        world.put(&format!("subnets/{subnet}"), &route).await;
    }
    let plan = plan("neutron.net.uuid", &network);
    let made = world.create_network(&plan).await.unwrap();
    let container = world.run(&made).await.unwrap();
    let joined = world.kuryr.join(&made.id, &container.id, &[], soon());
    let routes = joined.await.unwrap().routes;
    let to: Vec<String> = routes.iter().map(|it| it.destination.to_string()).collect();
    assert_eq!(to, ["192.0.2.0/24"]);
}

/// Python defect 20.
#[tokio::test(start_paused = true)]
async fn a_port_goes_when_either_of_its_addresses_is_released() {
    for released in [[0, 1], [1, 0]] {
        let world = World::new();
        let made = world.create_network(&dual_stack()).await.unwrap();
        let mut addresses = Vec::new();
        for pool in &made.pools {
            let ask = AddressRequest::default();
            let given = world.kuryr.reserve_address(&pool.id, ask, soon());
            addresses.push(given.await.unwrap().addr());
        }
        assert_eq!(world.all::<Port>().await.len(), 1);
        for family in released {
            let pool = &made.pools[family].id;
            let release = world.kuryr.release_address(pool, addresses[family], soon());
            release.await.unwrap();
        }
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(world.all::<Port>().await, [], "{released:?}");
    }
}
