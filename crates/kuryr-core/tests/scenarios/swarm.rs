//! A swarm: its manager asks for a network and for addresses, its nodes take part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use kuryr_core::{AddressRequest, Caller, IpVersion, NewNetwork, Pool, PoolRequest, Range};
use kuryr_testkit::faulty::Fate;
use neutron_api::{Network, Port};

use crate::world::{Made, World, soon};

const ID: &str = "2mbnllu07syj2icut5npquxe3";
const RANGE: &str = "10.27.0.0/24";

type Options = BTreeMap<String, String>;

/// Some of the nodes are the manager's own host.
#[tokio::test(start_paused = true)]
async fn the_nodes_of_a_swarm_have_the_managers_network_and_addresses() {
    let manager = World::new();
    let other = manager.beside("node2");
    let (pool, options) = allocate(&manager).await;
    let parts = [
        take_part(&manager, &options).await,
        take_part(&other, &options).await,
    ];
    assert_eq!(manager.all::<Network>().await.len(), 1);
    for (node, part) in [&manager, &other].into_iter().zip(&parts) {
        let address = task(&manager, &pool, None).await;
        let reserved = port_at(&manager, address).await;
        assert_eq!(reserved.host_id.as_deref().unwrap_or_default(), "");
        let ip = address.to_string();
        let container = node.run_with(part, Some(&ip), None).await.unwrap();
        let port = port_at(&manager, address).await;
        assert_eq!(port.id, reserved.id);
        assert_ne!(port.host_id.as_deref().unwrap_or_default(), "");
        // It is one container's.
        node.run_with(part, Some(&ip), None).await.unwrap_err();
        node.stop(part, &container).await;
        assert!(node.kuryr.settled(soon()).await);
        assert_eq!(
            port_at(&manager, address).await.host_id,
            reserved.host_id,
            "it stays the swarm's"
        );
        release(&manager, &pool, address).await;
        assert_eq!(manager.all::<Port>().await, []);
        node.delete_network(part).await;
    }
    manager
        .kuryr
        .free_network(&ID.parse().unwrap(), soon())
        .await
        .unwrap();
    other.assert_nothing_left("after the nodes").await;
    manager.assert_nothing_left("after the manager").await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_goes_on_where_the_one_before_was() {
    let before = World::new();
    let node = before.beside("node");
    let (pool, options) = allocate(&before).await;
    let part = take_part(&node, &options).await;
    let address = task(&before, &pool, None).await;
    let ip = address.to_string();
    let container = node.run_with(&part, Some(&ip), None).await.unwrap();
    let manager = before.beside("next");
    let (pool, again) = allocate(&manager).await;
    assert_eq!(again, options);
    assert_eq!(task(&manager, &pool, Some(address)).await, address);
    let another = task(&manager, &pool, None).await;
    assert_ne!(another, address);
    let ask = AddressRequest {
        address: Some("10.99.0.1".parse().unwrap()),
        mac: None,
    };
    let outside = manager.kuryr.reserve_address(&pool.id, ask, soon()).await;
    outside.unwrap_err();
    node.stop(&part, &container).await;
    for address in [address, another] {
        release(&manager, &pool, address).await;
    }
    node.delete_network(&part).await;
    manager
        .kuryr
        .free_network(&ID.parse().unwrap(), soon())
        .await
        .unwrap();
    node.assert_nothing_left("after the node").await;
    manager.assert_nothing_left("after the manager").await;
}

#[tokio::test(start_paused = true)]
async fn a_swarms_network_goes_later_where_neutron_is_away() {
    // Before and after a restart, which has to ask which network it is.
    for restarted in [false, true] {
        let mut manager = World::new();
        let (pool, _) = allocate(&manager).await;
        task(&manager, &pool, None).await;
        if restarted {
            manager.restart();
        }
        manager.wire.plan(|_, _| Fate::LoseRequest);
        let id = ID.parse().unwrap();
        manager.kuryr.free_network(&id, soon()).await.unwrap();
        manager.wire.plan(|_, _| Fate::Pass);
        manager.assert_nothing_left("after an outage").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_swarms_network_goes_with_its_addresses_once_its_nodes_have_left_it() {
    let manager = World::new();
    let node = manager.beside("node");
    let (pool, options) = allocate(&manager).await;
    let part = take_part(&node, &options).await;
    // Nobody releases it.
    task(&manager, &pool, None).await;
    let leave = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        node.delete_network(&part).await;
    };
    let id = ID.parse().unwrap();
    let (freed, ()) = tokio::join!(manager.kuryr.free_network(&id, soon()), leave);
    freed.unwrap();
    node.assert_nothing_left("after the node").await;
    manager.assert_nothing_left("after the manager").await;
}

/// What a manager asks for when the user creates a network, and when it becomes the manager.
async fn allocate(manager: &World) -> (Pool, Options) {
    let (pool, range) = range(manager).await;
    let new = NewNetwork {
        id: ID.parse().unwrap(),
        ranges: vec![range],
        internal: false,
        options: Options::new(),
    };
    let caller = Caller::default();
    let allocated = manager.kuryr.allocate_network(&caller, new, soon());
    (pool, allocated.await.unwrap())
}

/// What a node asks for before its first container of the network.
async fn take_part(node: &World, options: &Options) -> Made {
    let (pool, range) = range(node).await;
    let id = ID.parse().unwrap();
    let gateway = format!("{}/24", range.gateway.unwrap()).parse().unwrap();
    let new = NewNetwork {
        id,
        ranges: vec![range],
        internal: false,
        options: options.clone(),
    };
    let id = new.id.clone();
    node.kuryr.create_network(new, soon()).await.unwrap();
    Made {
        id,
        pools: vec![pool],
        gateways: vec![Some(gateway)],
        aux: vec![],
    }
}

async fn range(world: &World) -> (Pool, Range) {
    let ask = PoolRequest {
        version: IpVersion::V4,
        cidr: Some(RANGE.parse().unwrap()),
        part: None,
        options: Options::new(),
    };
    let pool = world.kuryr.request_pool(ask, soon()).await.unwrap();
    let gateway = "10.27.0.1".parse().unwrap();
    let reserve = world.kuryr.reserve_gateway(&pool.id, Some(gateway), soon());
    reserve.await.unwrap();
    let range = Range {
        cidr: pool.cidr,
        gateway: Some(gateway),
        reserved: vec![],
    };
    (pool, range)
}

async fn task(manager: &World, pool: &Pool, address: Option<IpAddr>) -> IpAddr {
    let ask = AddressRequest { address, mac: None };
    let reserved = manager.kuryr.reserve_address(&pool.id, ask, soon());
    reserved.await.unwrap().addr()
}

async fn release(manager: &World, pool: &Pool, address: IpAddr) {
    let release = manager.kuryr.release_address(&pool.id, address, soon());
    release.await.unwrap();
    assert!(manager.kuryr.settled(soon()).await);
}

async fn port_at(world: &World, address: IpAddr) -> Port {
    let ports = world.all::<Port>().await.into_iter();
    let mut ports = ports.filter(|port| port.fixed_ips.iter().any(|ip| ip.ip_address == address));
    ports.next().expect("a port")
}
