//! What the Python daemon has adopted, when its container network goes under us.

use kuryr_testkit::faulty::Fate;
use neutron_api::{IpVersion, Network, NewSubnet, NewSubnetPool, Subnet, SubnetPool, SubnetPoolId};
use neutron_client::Filter;

use crate::adopt::{theirs, users_pool};
use crate::world::{World, random_id, soon};

const RANGE: &str = "10.50.0.0/24";

#[tokio::test(start_paused = true)]
async fn a_network_that_the_python_daemon_has_adopted_is_afterwards_what_it_was_before() {
    for fate in [Fate::Answer(503), Fate::LoseReply] {
        for k in 0..20 {
            let world = World::new();
            let (network, subnet) = theirs(&world).await;
            tag_network(&world, &network, vec!["theirs".into()]).await;
            let (network, subnet) = now(&world, &network, &subnet).await;
            let id = random_id();
            adopt(&world, &network, &subnet, &id).await;
            let fail = move |number, _: &_| if number == k { fate } else { Fate::Pass };
            world.wire.plan(fail);
            remove(&world, &id).await;
            let log = world.wire.log();
            let when = format!("exchange {k} met {fate:?}: {log:#?}");
            let after = now(&world, &network, &subnet).await;
            assert_eq!(after, (network, subnet), "{when}");
            assert_eq!(pools(&world).await, [""; 0], "{when}");
            if log.len() <= k {
                break;
            }
        }
    }
}

/// Python defects 5 and 6.
#[tokio::test(start_paused = true)]
async fn what_another_container_network_of_the_python_daemon_needs_stays() {
    let world = World::new();
    let (network, subnet) = theirs_now(&world).await;
    let (one, two) = (random_id(), random_id());
    let pool = adopt(&world, &network, &subnet, &one).await;
    mark(&world, &network, &two).await;
    remove(&world, &one).await;
    let (left, its_subnet) = now(&world, &network, &subnet).await;
    assert_eq!(left.tags, sorted(marks(&two)));
    assert_eq!(its_subnet.tags, [pool.to_string()]);
    assert_eq!(pools(&world).await, ["kuryrPool-10.50.0.0/24"]);
    remove(&world, &two).await;
    assert_eq!(now(&world, &network, &subnet).await, (network, subnet));
    assert_eq!(pools(&world).await, [""; 0]);
}

/// It gives its pools by their names alone, to networks that have nothing to do with each other.
#[tokio::test(start_paused = true)]
async fn a_pool_that_the_python_daemon_gave_to_two_networks_goes_with_the_second() {
    let world = World::new();
    let (one, its_subnet) = theirs_now(&world).await;
    let (two, other_subnet) = theirs_now(&world).await;
    let (first, second) = (random_id(), random_id());
    let pool = adopt(&world, &one, &its_subnet, &first).await;
    mark(&world, &two, &second).await;
    tag_subnet(&world, &other_subnet, vec![pool.to_string()]).await;
    remove(&world, &first).await;
    assert_eq!(pools(&world).await, ["kuryrPool-10.50.0.0/24"]);
    assert_eq!(now(&world, &one, &its_subnet).await, (one, its_subnet));
    remove(&world, &second).await;
    assert_eq!(pools(&world).await, [""; 0]);
    assert_eq!(now(&world, &two, &other_subnet).await, (two, other_subnet));
}

/// Where the network had no subnet of the range that the user named.
#[tokio::test(start_paused = true)]
async fn a_subnet_that_the_python_daemon_has_added_goes_unless_there_are_ports_on_it() {
    for used in [false, true] {
        let world = World::new();
        let (network, subnet) = theirs_now(&world).await;
        let pool = made_pool(&world, "fd60::/64").await;
        let new = NewSubnet {
            name: "kuryr-subnet-fd60::/64".into(),
            description: String::new(),
            network_id: network.id,
            ip_version: IpVersion::V6,
            cidr: Some("fd60::/64".parse().unwrap()),
            subnetpool_id: Some(pool),
            gateway_ip: None,
            allocation_pools: None,
            enable_dhcp: true,
        };
        let added = world.neutron.create(&new, &Filter::new()).await.unwrap();
        tag_subnet(&world, &added, vec![pool.to_string()]).await;
        let id = random_id();
        mark(&world, &network, &id).await;
        if used {
            let new = neutron_api::NewPort {
                network_id: Some(network.id),
                fixed_ips: Some(vec![neutron_api::WantedIp {
                    subnet_id: added.id,
                    ip_address: None,
                }]),
                admin_state_up: true,
                ..Default::default()
            };
            world.neutron.create(&new, &Filter::new()).await.unwrap();
        }
        remove(&world, &id).await;
        let left = world.all::<Subnet>().await.len() == 2;
        assert_eq!((left, pools(&world).await.len() == 1), (used, used));
        assert_eq!(now(&world, &network, &subnet).await, (network, subnet));
    }
}

/// Python defect 7.
#[tokio::test(start_paused = true)]
async fn a_subnet_pool_of_the_users_loses_the_python_daemons_mark_and_stays() {
    let world = World::new();
    let (network, subnet) = theirs_now(&world).await;
    let pool = users_pool(&world).await;
    let mark_of_pool = ["kuryr.subnetpool.existing".to_owned()];
    let tagged = world
        .neutron
        .replace_tags::<SubnetPool>(pool.id, &mark_of_pool);
    tagged.await.unwrap();
    tag_subnet(&world, &subnet, vec![pool.id.to_string()]).await;
    let id = random_id();
    mark(&world, &network, &id).await;
    remove(&world, &id).await;
    assert_eq!(world.neutron.find(pool.id).await.unwrap(), Some(pool));
    assert_eq!(now(&world, &network, &subnet).await, (network, subnet));
}

#[tokio::test(start_paused = true)]
async fn marks_go_later_where_neutron_is_away() {
    let world = World::new();
    let (network, subnet) = theirs_now(&world).await;
    let id = random_id();
    adopt(&world, &network, &subnet, &id).await;
    let start = tokio::time::Instant::now();
    world.wire.plan(move |_, _| {
        let away = start.elapsed().as_secs() < 60;
        if away { Fate::LoseRequest } else { Fate::Pass }
    });
    remove(&world, &id).await;
    assert_eq!(now(&world, &network, &subnet).await, (network, subnet));
    assert_eq!(pools(&world).await, [""; 0]);
}

/// Docker removes a container network that the Python daemon has made.
async fn remove(world: &World, id: &str) {
    let id = id.parse().unwrap();
    world.kuryr.delete_network(&id, soon()).await.unwrap();
    let in_a_while = tokio::time::Instant::now() + std::time::Duration::from_secs(600);
    assert!(world.kuryr.settled(in_a_while).await);
}

/// As the Python daemon adopts a network for a container network; the pool that it makes.
async fn adopt(world: &World, network: &Network, subnet: &Subnet, id: &str) -> SubnetPoolId {
    let pool = made_pool(world, RANGE).await;
    mark(world, network, id).await;
    tag_subnet(world, subnet, vec![pool.to_string()]).await;
    pool
}

async fn made_pool(world: &World, range: &str) -> SubnetPoolId {
    let cidr: kuryr_core::IpNet = range.parse().unwrap();
    let new = NewSubnetPool {
        name: format!("kuryrPool-{range}"),
        description: String::new(),
        prefixes: vec![cidr],
        default_prefixlen: Some(cidr.prefix_len()),
        min_prefixlen: None,
    };
    let made = world.neutron.create(&new, &Filter::new()).await;
    made.unwrap().id
}

async fn mark(world: &World, network: &Network, id: &str) {
    let network = world.neutron.find::<Network>(network.id).await.unwrap();
    let network = network.unwrap();
    let tags = [network.tags.clone(), marks(id)].concat();
    tag_network(world, &network, tags).await;
}

fn marks(id: &str) -> Vec<String> {
    vec![
        format!("kuryr.net.uuid.lh:{}", &id[..32]),
        format!("kuryr.net.uuid.uh:{}", &id[32..]),
        format!("kuryr.net.existing:{}", &id[..12]),
    ]
}

async fn tag_network(world: &World, network: &Network, tags: Vec<String>) {
    let tagged = world.neutron.replace_tags::<Network>(network.id, &tags);
    tagged.await.unwrap();
}

async fn tag_subnet(world: &World, subnet: &Subnet, tags: Vec<String>) {
    let tagged = world.neutron.replace_tags::<Subnet>(subnet.id, &tags);
    tagged.await.unwrap();
}

/// A network and its subnet that were there before.
async fn theirs_now(world: &World) -> (Network, Subnet) {
    let (network, subnet) = theirs(world).await;
    now(world, &network, &subnet).await
}

async fn now(world: &World, network: &Network, subnet: &Subnet) -> (Network, Subnet) {
    let mut network: Network = world.neutron.find(network.id).await.unwrap().unwrap();
    network.tags.sort();
    network.revision_number = None;
    let mut subnet: Subnet = world.neutron.find(subnet.id).await.unwrap().unwrap();
    subnet.revision_number = None;
    (network, subnet)
}

/// The names of the pools that are neither default ones nor the user's.
async fn pools(world: &World) -> Vec<String> {
    let all = world.all::<SubnetPool>().await.into_iter();
    let made = all.filter(|pool| pool.name.starts_with("kuryrPool"));
    made.map(|pool| pool.name).collect()
}

fn sorted(mut tags: Vec<String>) -> Vec<String> {
    tags.sort();
    tags
}
