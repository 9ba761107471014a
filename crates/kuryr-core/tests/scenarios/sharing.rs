//! Several hosts, and several container networks, on the same Neutron objects.

use neutron_api::{Network, Port, Subnet, SubnetPool};

use crate::adopt::{plan, theirs};
use crate::world::{Want, World, soon, subnet};

/// Python defect 8: three tags for each on the network, and Neutron has room for 50.
#[tokio::test(start_paused = true)]
async fn two_hundred_hosts_share_a_network() {
    let first = World::new();
    let (network, its_subnet) = theirs(&first).await;
    let mut hosts = Vec::new();
    for n in 0..200 {
        let host = first.beside(&format!("node{n}"));
        let made = host
            .create_network(&plan("neutron.net.uuid", &network))
            .await
            .unwrap();
        let container = host.run(&made).await.unwrap();
        hosts.push((host, made, container));
    }
    let mut addresses: Vec<_> = hosts.iter().map(|(_, _, c)| c.addresses[0]).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 200);
    for (host, made, container) in &hosts {
        host.stop(made, container).await;
        host.delete_network(made).await;
        assert!(host.kuryr.settled(soon()).await);
    }
    assert_eq!(first.all::<Network>().await, [network]);
    assert_eq!(first.all::<Subnet>().await, [its_subnet]);
    assert_eq!(first.all::<Port>().await, []);
    assert!(
        first
            .all::<SubnetPool>()
            .await
            .iter()
            .all(|pool| pool.is_default)
    );
}

/// Python defects 5 and 6.
#[tokio::test(start_paused = true)]
async fn a_network_that_goes_on_one_host_stays_on_another() {
    let a = World::new();
    let (network, _) = theirs(&a).await;
    let b = a.beside("host2");
    let of_a = a
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    let of_b = b
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    let on_b = b.run(&of_b).await.unwrap();
    let before = b.port_of(&on_b).await;
    a.delete_network(&of_a).await;
    assert!(a.kuryr.settled(soon()).await);
    assert_eq!(b.port_of(&on_b).await, before);
    assert_eq!(a.all::<Subnet>().await.len(), 1);
    let another = b.run(&of_b).await.unwrap();
    for container in [&on_b, &another] {
        b.stop(&of_b, container).await;
    }
    b.delete_network(&of_b).await;
    assert!(b.kuryr.settled(soon()).await);
    assert_eq!(a.all::<Network>().await, [network]);
    assert!(
        a.all::<SubnetPool>()
            .await
            .iter()
            .all(|pool| pool.is_default)
    );
}

/// Host A has made it; host B has adopted it, with and without a container at that time.
#[tokio::test(start_paused = true)]
async fn a_network_of_ours_that_another_host_uses_is_left_until_it_no_longer_does() {
    for in_use in [false, true] {
        let a = World::new();
        let of_a = a.create_network(&subnet("10.50.0.0/24")).await.unwrap();
        let [network] = <[Network; 1]>::try_from(a.all().await).unwrap();
        let b = a.beside("host2");
        let of_b = b
            .create_network(&plan("neutron.net.uuid", &network))
            .await
            .unwrap();
        let on_b = match in_use {
            true => Some(b.run(&of_b).await.unwrap()),
            false => None,
        };
        let left = a.kuryr.delete_network(&of_a.id, soon()).await;
        left.unwrap_err();
        let another = b.run(&of_b).await.unwrap();
        for container in on_b.iter().chain([&another]) {
            b.stop(&of_b, container).await;
        }
        b.delete_network(&of_b).await;
        assert!(b.kuryr.settled(soon()).await);
        assert_eq!(a.all::<Network>().await, [network]);
        a.kuryr.delete_network(&of_a.id, soon()).await.unwrap();
        a.assert_nothing_left("after both hosts").await;
    }
}

/// A swarm has each of its nodes make the network that the manager has allocated.
#[tokio::test(start_paused = true)]
async fn the_nodes_of_a_swarm_that_make_one_network_end_with_one() {
    let manager = World::new();
    let plan = subnet("10.20.0.0/24");
    let made = manager.create_network(&plan).await.unwrap();
    for node in ["node1", "node2"] {
        let node = manager.beside(node);
        let again = crate::world::new_network(&made, &plan);
        node.kuryr.create_network(again, soon()).await.unwrap();
        let container = node.run(&made).await.unwrap();
        node.stop(&made, &container).await;
        assert!(node.kuryr.settled(soon()).await);
    }
    assert_eq!(manager.all::<Network>().await.len(), 1);
    assert_eq!(manager.all::<Subnet>().await.len(), 1);
    manager.delete_network(&made).await;
    manager.assert_nothing_left("after the nodes").await;
}

/// What tells subnets apart is which they are, never their range alone.
#[tokio::test(start_paused = true)]
async fn networks_of_several_tenants_with_the_same_range_are_kept_apart() {
    let world = World::new();
    let mut all = Vec::new();
    for tenant in [
        "11111111111111111111111111111111",
        "22222222222222222222222222222222",
    ] {
        let network = world.network_of(tenant, "10.50.0.0/24").await;
        let made = world
            .create_network(&plan("neutron.net.uuid", &network))
            .await
            .unwrap();
        all.push((network, made));
    }
    let ours = world.create_network(&subnet("10.50.0.0/24")).await.unwrap();
    for (network, made) in &all {
        let container = world.run_with(made, Some("10.50.0.7"), None).await.unwrap();
        assert_eq!(world.port_of(&container).await.network_id, network.id);
        let joined = world.kuryr.join(&made.id, &container.id, &[], soon());
        assert_eq!(joined.await.unwrap().gateways.len(), 1);
    }
    let container = world
        .run_with(&ours, Some("10.50.0.7"), None)
        .await
        .unwrap();
    world.stop(&ours, &container).await;
    world.delete_network(&ours).await;
    assert_eq!(world.all::<Network>().await.len(), 2);
    assert_eq!(world.all::<Port>().await.len(), 2);
}

/// `docker run --name web --network a`, then `docker network connect b web`.
#[tokio::test(start_paused = true)]
async fn endpoints_of_one_name_on_two_networks_are_two_ports() {
    let world = World::new();
    let want = Want {
        options: vec![("neutron.port.name", "web".into())],
        ..Want::default()
    };
    let mut all = Vec::new();
    for range in ["10.20.0.0/24", "10.30.0.0/24"] {
        let made = world.create_network(&subnet(range)).await.unwrap();
        let container = world.run_as(&made, &want).await.unwrap();
        assert_eq!(world.port_of(&container).await.name, "web");
        all.push((made, container));
    }
    let (first, gone) = &all[0];
    world.stop(first, gone).await;
    world.delete_network(first).await;
    let (second, stays) = &all[1];
    assert_eq!(world.port_of(stays).await.name, "web");
    world.stop(second, stays).await;
    world.delete_network(second).await;
    world
        .assert_nothing_left("after two endpoints of one name")
        .await;
}

/// Both on one host, which finds a network by the pool that an address is asked of.
#[tokio::test(start_paused = true)]
async fn what_a_network_is_like_follows_from_its_own_options_whoever_has_adopted_it() {
    // Which of the two is looked at first is a matter of chance.
    for _ in 0..8 {
        let world = World::new();
        let made = world.create_network(&subnet("10.50.0.0/24")).await.unwrap();
        let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
        let mut other = plan("neutron.net.uuid", &network);
        let insecure = ("neutron.port.port_security", "false".to_owned());
        other.options.push(insecure);
        let adopted = world.create_network(&other).await.unwrap();
        for (docker_network, is_secure) in [(&made, true), (&adopted, false)] {
            let container = world.run(docker_network).await.unwrap();
            let port = world.port_of(&container).await;
            assert_eq!(port.port_security_enabled, Some(is_secure));
        }
    }
}
