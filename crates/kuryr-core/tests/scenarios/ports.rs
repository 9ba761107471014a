//! Ports that were there before: used, and left as they were.

use std::time::Duration;

use kuryr_core::{AddressRequest, MacAddress, NewEndpoint};
use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble;
use neutron_api::{IpVersion, Network, NewNetwork, NewPort, NewSubnet, Port, WantedIp};
use neutron_client::Filter;
use neutron_embedded::{EmbeddedSettings, Hosts};
use tokio::time::sleep;

use crate::world::{Made, Plan, World, random_id, soon};

pub(crate) const ADDRESS: &str = "10.50.0.7";

#[tokio::test(start_paused = true)]
async fn a_port_that_nobody_uses_is_adopted_by_its_address_and_afterwards_as_before() {
    for (owner, device, host) in [
        ("", "", ""),
        ("", "theirs", ""),
        ("compute:kuryr", "theirs", ""),
        ("", "", "host1"),
        ("compute:kuryr", "theirs", "host1"),
    ] {
        let (world, made) = adopted(&["10.50.0.0/24"]).await;
        let port = port(&world, &made, |new| {
            new.device_owner = owner.into();
            new.device_id = device.into();
            new.host_id = Some(host.into());
        })
        .await;
        let before = world.whole(port.id).await;
        for _ in 0..2 {
            let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
            assert!(world.kuryr.settled(soon()).await);
            assert_eq!(container.interface.mac, Some(port.mac_address));
            let now = now(&world, &port).await;
            assert_eq!(now.host_id.as_deref(), Some("host1"));
            assert_eq!(now.device_owner, "compute:kuryr");
            assert_eq!((&now.name, &now.tags), (&port.name, &port.tags));
            let device = if device.is_empty() {
                container.id.as_str()
            } else {
                device
            };
            assert_eq!(now.device_id, device);
            assert_eq!(world.host.plugged().len(), 1);
            world.stop(&made, &container).await;
            assert!(world.kuryr.settled(soon()).await);
            assert_eq!(world.whole(port.id).await, before);
            assert!(world.host.plugged().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_two_containers_want_at_once_is_had_by_one_and_kept() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let (one, other) = tokio::join!(
        world.run_with(&made, Some(ADDRESS), None),
        world.run_with(&made, Some(ADDRESS), None)
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert!(world.kuryr.settled(soon()).await);
    let now = now(&world, &port).await;
    assert_eq!(now.host_id.as_deref(), Some("host1"));
    world.stop(&made, &one.or(other).unwrap()).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
}

/// Neutron carries out both of two requests that name one revision, where they come at one moment. The first host has
/// bound the port when it carries out the other's, or is about to; and that may be carried out late, too.
#[tokio::test(start_paused = true)]
async fn a_port_that_two_hosts_want_at_once_is_never_had_by_both() {
    const LATE: Duration = Duration::from_millis(800);
    for binding in [Fate::Pass, Fate::Take(LATE), Fate::Unconditionally(LATE)] {
        let (a, on_a) = adopted(&["10.50.0.0/24"]).await;
        let port = port(&a, &on_a, |_| {}).await;
        let before = a.whole(port.id).await;
        let b = a.beside("host2");
        let plan = Plan {
            options: vec![("neutron.net.uuid", port.network_id.to_string())],
            subnets: vec!["10.50.0.0/24"],
            ..Plan::default()
        };
        let on_b = b.create_network(&plan).await.unwrap();
        let second = reserved(&b, &on_b).await;
        let (id, addresses) = (second.id.clone(), second.addresses.clone());
        b.wire
            .plan(|_, request| match request.headers().get("if-match") {
                Some(_) => Fate::Unconditionally(Duration::ZERO),
                None => Fate::Pass,
            });
        a.wire.plan(move |_, request| {
            let binds = request.body().windows(7).any(|part| part == b"host_id");
            if binds { binding } else { Fate::Pass }
        });
        let (one, other) = tokio::join!(a.run_with(&on_a, Some(ADDRESS), None), async {
            sleep(LATE / 2).await;
            b.kuryr.create_endpoint(second, soon()).await
        });
        a.wire.plan(|_, _| Fate::Pass);
        b.wire.plan(|_, _| Fate::Pass);
        assert!(a.kuryr.settled(soon()).await && b.kuryr.settled(soon()).await);
        let host = match (&one, &other) {
            (Ok(_), Err(_)) => Some("host1"),
            (Err(_), Ok(_)) => Some("host2"),
            (Err(_), Err(_)) => None,
            (Ok(_), Ok(_)) => panic!("both have it"),
        };
        for refused in [one.as_ref().err(), other.as_ref().err()].iter().flatten() {
            assert!(refused.to_string().contains("somebody else"), "{refused}");
        }
        let now = now(&a, &port).await.host_id;
        assert_eq!(now.filter(|host| !host.is_empty()).as_deref(), host);
        if let Ok(container) = one {
            a.stop(&on_a, &container).await;
        }
        if other.is_ok() {
            b.stop_endpoint(&on_b, &id, &addresses).await;
        }
        assert!(a.kuryr.settled(soon()).await && b.kuryr.settled(soon()).await);
        assert_eq!(a.whole(port.id).await, before);
    }
}

/// Python defect 4: it took over the port of whoever had the address, and a failed start unbound it.
#[tokio::test(start_paused = true)]
async fn a_failed_start_leaves_a_port_as_it_was() {
    let hosts = Hosts::These(vec!["another".into()]);
    let settings = EmbeddedSettings {
        hosts,
        ..EmbeddedSettings::default()
    };
    let (world, made) = adopted_with(settings, &["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let error = world
        .run_with(&made, Some(ADDRESS), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("host1"), "{error}");
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_port_whose_address_a_killed_runtime_has_forgotten_is_free_after_a_minute() {
    for restarted in [false, true] {
        let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
        let port = port(&world, &made, |_| {}).await;
        let before = world.whole(port.id).await;
        reserved(&world, &made).await;
        if restarted {
            world.restart();
            // Not so soon that it may yet be the first one's.
            sleep(Duration::from_secs(30)).await;
            reserved(&world, &made).await;
        }
        let refused = world.run_with(&made, Some(ADDRESS), None).await;
        refused.expect_err("it may be about to be used");
        sleep(Duration::from_secs(61)).await;
        let notes = world.notes();
        assert!(
            !notes.iter().any(|note| note.starts_with("port-")),
            "{notes:?}"
        );
        let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
        sleep(Duration::from_secs(200)).await;
        let host = now(&world, &port).await.host_id;
        assert_eq!(host.as_deref(), Some("host1"), "while it is used");
        world.stop(&made, &container).await;
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(world.whole(port.id).await, before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_is_put_back_although_its_interface_could_not_be_unplugged_and_docker_has_asked_twice()
 {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    world.host.meet(Some(Trouble::Refusal));
    for _ in 0..2 {
        let delete = world.kuryr.delete_endpoint(&made.id, &container.id, soon());
        delete.await.unwrap_err();
    }
    world.host.meet(None);
    world.two_minutes_pass().await;
    assert_eq!(world.whole(port.id).await, before);
    assert!(world.host.plugged().is_empty());
}

/// Whatever Docker says afterwards, or if it says nothing more.
#[tokio::test(start_paused = true)]
async fn a_crash_in_between_leaves_a_port_as_it_was() {
    for (created, then) in [
        (false, "release"),
        (false, "nothing"),
        (true, "delete"),
        (true, "release"),
        (true, "nothing"),
        (true, "again"),
    ] {
        let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
        let port = port(&world, &made, |_| {}).await;
        let before = world.whole(port.id).await;
        let new = reserved(&world, &made).await;
        if created {
            world
                .kuryr
                .create_endpoint(new.clone(), soon())
                .await
                .unwrap();
            assert_ne!(world.whole(port.id).await, before);
            if then != "delete" {
                world.forget_plugged().await;
            }
        }
        world.restart();
        match then {
            "release" => {
                let address = ADDRESS.parse().unwrap();
                let pool = &made.pools[0].id;
                world
                    .kuryr
                    .release_address(pool, address, soon())
                    .await
                    .unwrap();
            }
            "delete" => {
                let (network, id) = (&new.network, &new.id);
                world
                    .kuryr
                    .delete_endpoint(network, id, soon())
                    .await
                    .unwrap();
            }
            "again" => {
                let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
                world.stop(&made, &container).await;
            }
            _ => sleep(Duration::from_secs(61)).await,
        }
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(world.whole(port.id).await, before, "{created} {then}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_on_an_adopted_port_outlives_the_program() {
    let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    let during = world.whole(port.id).await;
    world.restart();
    sleep(Duration::from_secs(61)).await;
    assert_eq!(world.whole(port.id).await, during);
    let joined = world.kuryr.join(&made.id, &container.id, &[], soon()).await;
    assert_eq!(joined.unwrap().gateways.len(), 1);
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_made_of_a_port_that_was_adopted_before_a_restart() {
    let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let new = reserved(&world, &made).await;
    world.restart();
    for _ in 0..2 {
        let interface = world
            .kuryr
            .create_endpoint(new.clone(), soon())
            .await
            .unwrap();
        assert_eq!(interface.mac, Some(port.mac_address));
    }
    assert_eq!(now(&world, &port).await.device_id, new.id.as_str());
}

/// The program is killed between the address and the endpoint. Another asks for the address, or the first
/// one again: its answer may have been lost.
#[tokio::test(start_paused = true)]
async fn an_adopted_port_that_was_promised_before_a_restart_is_nobody_elses_after() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum First {
        MakesItsEndpoint,
        Releases,
        IsGone,
    }
    for (first, at, asked_at, is_had) in [
        (First::MakesItsEndpoint, 0, 1, false),
        (First::MakesItsEndpoint, 30, 1, false),
        (First::MakesItsEndpoint, 30, 26, false),
        (First::Releases, 3, 5, true),
        (First::Releases, 30, 26, true),
        (First::IsGone, 0, 1, false),
        (First::IsGone, 0, 26, true),
    ] {
        let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
        let port = port(&world, &made, |_| {}).await;
        let promised = reserved(&world, &made).await;
        world.restart();
        let acting = async {
            sleep(Duration::from_secs(at)).await;
            match first {
                First::MakesItsEndpoint => {
                    let made = world.kuryr.create_endpoint(promised.clone(), soon()).await;
                    assert_eq!(made.unwrap().mac, Some(port.mac_address));
                }
                First::Releases => {
                    let (pool, address) = (&made.pools[0].id, ADDRESS.parse().unwrap());
                    let released = world.kuryr.release_address(pool, address, soon());
                    released.await.unwrap();
                }
                First::IsGone => {}
            }
        };
        let asking = async {
            sleep(Duration::from_secs(asked_at)).await;
            world.run_with(&made, Some(ADDRESS), None).await
        };
        let (other, ()) = tokio::join!(asking, acting);
        let when = format!("{first:?} at {at}, asked at {asked_at}");
        assert_eq!(other.is_ok(), is_had, "{when}: {other:?}");
        if first == First::MakesItsEndpoint {
            let now = now(&world, &port).await;
            assert_eq!(now.device_id, promised.id.as_str(), "{when}");
        }
    }
}

/// Docker says the MAC address at first where it chooses them, and else too late.
#[tokio::test(start_paused = true)]
async fn a_port_is_adopted_by_its_mac_address_if_that_is_known_in_time() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let mac = Some(port.mac_address);
    let late = world.run_with(&made, None, mac).await.unwrap_err();
    assert!(
        late.to_string()
            .contains(&format!("--ip), one of {ADDRESS}")),
        "{late}"
    );
    let ask = AddressRequest { address: None, mac };
    let given = world.kuryr.reserve_address(&made.pools[0].id, ask, soon());
    let given = given.await.unwrap();
    assert_eq!(given.addr().to_string(), ADDRESS);
    let new = endpoint(&made, given, mac);
    let interface = world.kuryr.create_endpoint(new, soon()).await.unwrap();
    assert_eq!(interface.mac, Some(port.mac_address));
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<Port>().await.len(), 1);
}

/// Python defect 19: it adopted the port of the MAC address whatever the other IP address.
#[tokio::test(start_paused = true)]
async fn both_families_of_an_adopted_port_are_its_own() {
    let (world, made) = adopted(&["10.50.0.0/24", "fd50::/64"]).await;
    let new = new_port(&world, &made, &[ADDRESS, "fd50::7"]).await;
    let port = world.neutron.create(&new, &Filter::new()).await.unwrap();
    let before = world.whole(port.id).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    let addresses: Vec<String> = container
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["10.50.0.7/24", "fd50::7/64"]);
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
}

/// Between the request for the address and the one for the endpoint.
#[tokio::test(start_paused = true)]
async fn an_adopted_port_that_its_owner_deletes_is_no_obstacle() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    world.neutron.delete::<Port>(port.id).await.unwrap();
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    forget_theirs(&world).await;
    world
        .assert_nothing_left("after the port was deleted")
        .await;
}

/// Such a port is known by its tag; it is freed as the Python daemon does it.
#[tokio::test(start_paused = true)]
async fn a_port_that_the_python_daemon_has_adopted_is_freed_and_stays() {
    let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    // As if it were the Python daemon that has done so: nothing is in our journal.
    world.forget_adopted_ports();
    let tags = ["kuryr.port.existing".to_owned(), "theirs".to_owned()];
    world
        .neutron
        .replace_tags::<Port>(port.id, &tags)
        .await
        .unwrap();
    world.restart();
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    let freed = now(&world, &port).await;
    assert_eq!(freed.host_id.as_deref(), Some(""));
    assert_eq!(
        (freed.device_owner.as_str(), freed.device_id.as_str()),
        ("", "")
    );
    assert_eq!(
        (freed.name.as_str(), freed.tags),
        ("theirs", vec!["theirs".to_owned()])
    );
}

/// `docker network prune` right after the container's end, with Neutron away from there on.
#[tokio::test(start_paused = true)]
async fn a_port_is_what_it_was_also_after_its_network_was_pruned() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    let start = tokio::time::Instant::now();
    world.wire.plan(move |_, _| {
        let away = start.elapsed().as_secs() < 60;
        if away { Fate::LoseRequest } else { Fate::Pass }
    });
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    let in_a_while = tokio::time::Instant::now() + Duration::from_secs(600);
    assert!(world.kuryr.settled(in_a_while).await);
    assert_eq!(world.whole(port.id).await, before);
    forget_theirs(&world).await;
    world
        .assert_nothing_left("after the network was pruned")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_no_port_has_is_reserved_as_ever() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    let port = world.port_of(&container).await;
    assert_eq!(port.name, format!("{}-port", container.id));
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<Port>().await, []);
}

/// OpenStack Zun makes the port with host, owner, device and MAC address before it starts the
/// container, and deletes it when it likes.
#[tokio::test(start_paused = true)]
async fn zuns_port_is_used_and_left_without_a_change() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |new| {
        new.name = "zun-a".into();
        new.device_owner = "compute:kuryr".into();
        new.device_id = "5f0e2d8e-0b7c-4bb5-9c39-3f1f6c0d8f0a".into();
        new.host_id = Some("host1".into());
        new.mac_address = Some("fa:16:3e:11:22:33".parse().unwrap());
    })
    .await;
    let before = world.whole(port.id).await;
    let mac = Some(port.mac_address);
    world.wire.plan(|_, _| Fate::Pass);
    // Start, stop, rebuild.
    for _ in 0..2 {
        let container = world.run_with(&made, Some(ADDRESS), mac).await.unwrap();
        world.stop(&made, &container).await;
        assert!(world.kuryr.settled(soon()).await);
    }
    let changes: Vec<_> = world
        .wire
        .log()
        .into_iter()
        .filter(|e| !e.starts_with("GET"))
        .collect();
    assert_eq!(changes, [""; 0]);
    assert_eq!(world.whole(port.id).await, before);
}

pub(crate) async fn adopted(ranges: &[&'static str]) -> (World, Made) {
    adopted_with(EmbeddedSettings::default(), ranges).await
}

/// A container network on somebody else's network with these subnets.
pub(crate) async fn adopted_with(
    settings: EmbeddedSettings,
    ranges: &[&'static str],
) -> (World, Made) {
    adopted_in(World::with(settings), ranges).await
}

pub(crate) async fn adopted_in(world: World, ranges: &[&'static str]) -> (World, Made) {
    let new = NewNetwork {
        name: "theirs".into(),
        admin_state_up: true,
        ..NewNetwork::default()
    };
    let network = world.neutron.create(&new, &Filter::new()).await.unwrap();
    for range in ranges {
        let cidr: kuryr_core::IpNet = range.parse().unwrap();
        let new = NewSubnet {
            name: "theirs".into(),
            description: String::new(),
            network_id: network.id,
            ip_version: IpVersion::of(cidr.addr()),
            cidr: Some(cidr),
            subnetpool_id: None,
            gateway_ip: None,
            allocation_pools: None,
            enable_dhcp: true,
        };
        world.neutron.create(&new, &Filter::new()).await.unwrap();
    }
    let plan = Plan {
        options: vec![("neutron.net.uuid", network.id.to_string())],
        subnets: ranges.to_vec(),
        ..Plan::default()
    };
    let made = world.create_network(&plan).await.unwrap();
    (world, made)
}

/// A port on the network that is theirs, with [`ADDRESS`].
pub(crate) async fn port(world: &World, made: &Made, change: impl FnOnce(&mut NewPort)) -> Port {
    let mut new = new_port(world, made, &[ADDRESS]).await;
    change(&mut new);
    world.neutron.create(&new, &Filter::new()).await.unwrap()
}

pub(crate) async fn new_port(world: &World, made: &Made, addresses: &[&str]) -> NewPort {
    let subnets = world.all::<neutron_api::Subnet>().await;
    let wanted = addresses.iter().map(|address| {
        let address: std::net::IpAddr = address.parse().unwrap();
        let subnet = subnets.iter().find(|subnet| subnet.cidr.contains(&address));
        WantedIp {
            subnet_id: subnet.unwrap().id,
            ip_address: Some(address),
        }
    });
    assert_eq!(made.pools.len(), subnets.len());
    NewPort {
        name: "theirs".into(),
        network_id: Some(subnets[0].network_id),
        fixed_ips: Some(wanted.collect()),
        admin_state_up: true,
        ..NewPort::default()
    }
}

/// The port is adopted, and no endpoint is made of it yet.
pub(crate) async fn reserved(world: &World, made: &Made) -> NewEndpoint {
    let ask = AddressRequest {
        address: Some(ADDRESS.parse().unwrap()),
        mac: None,
    };
    let given = world.kuryr.reserve_address(&made.pools[0].id, ask, soon());
    endpoint(made, given.await.unwrap(), None)
}

fn endpoint(made: &Made, address: kuryr_core::IpNet, mac: Option<MacAddress>) -> NewEndpoint {
    NewEndpoint {
        network: made.id.clone(),
        id: random_id().parse().unwrap(),
        addresses: vec![address],
        mac,
        options: Default::default(),
    }
}

pub(crate) async fn now(world: &World, port: &Port) -> Port {
    world.neutron.find(port.id).await.unwrap().unwrap()
}

pub(crate) async fn forget_theirs(world: &World) {
    for port in world.all::<Port>().await {
        world.neutron.delete::<Port>(port.id).await.unwrap();
    }
    for network in world.all::<Network>().await {
        world.neutron.delete::<Network>(network.id).await.unwrap();
    }
}

/// Its clock has seen the interface that could not be unplugged, and stood still.
#[tokio::test(start_paused = true)]
async fn a_port_that_was_adopted_again_behind_an_interface_that_stayed_is_put_back() {
    let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    world.host.meet(Some(Trouble::Refusal));
    world.stop(&made, &container).await;
    world.host.meet(None);
    let ask = AddressRequest {
        address: Some(ADDRESS.parse().unwrap()),
        mac: None,
    };
    let pool = &made.pools.first().unwrap().id;
    let again = world.kuryr.reserve_address(pool, ask, soon()).await;
    again.unwrap();
    world.kill();
    sleep(Duration::from_secs(1)).await;
    world.two_minutes_pass().await;
    assert!(world.host.plugged().is_empty());
    assert_eq!(world.whole(port.id).await, before);
    let notes = world.notes();
    assert!(
        !notes.iter().any(|note| note.starts_with("port-")),
        "{notes:?}"
    );
}

/// Docker does not say whose address of the other family it asks for: who was given the wrong one is refused.
#[tokio::test(start_paused = true)]
async fn a_port_stays_the_containers_whose_other_address_another_was_given() {
    let (world, made) = adopted(&["10.50.0.0/24", "fd50::/64"]).await;
    let new = new_port(&world, &made, &[ADDRESS, "fd50::7"]).await;
    let port = world.neutron.create(&new, &Filter::new()).await.unwrap();
    let [v4, v6] = [0, 1].map(|i| made.pools[i].id.clone());
    let any = AddressRequest::default();
    let give = async |pool, ask| {
        world
            .kuryr
            .reserve_address(pool, ask, soon())
            .await
            .unwrap()
    };
    let mut other = endpoint(&made, give(&v4, any).await, None);
    let mut owner = reserved(&world, &made).await;
    other.addresses.push(give(&v6, any).await);
    assert_eq!(other.addresses[1].to_string(), "fd50::7/64");
    let refused = world.kuryr.create_endpoint(other.clone(), soon()).await;
    assert!(refused.is_err());
    for (pool, address) in [&v4, &v6].into_iter().zip(&other.addresses) {
        let release = world.kuryr.release_address(pool, address.addr(), soon());
        release.await.unwrap();
    }
    owner.addresses.push(give(&v6, any).await);
    let interface = world.kuryr.create_endpoint(owner.clone(), soon()).await;
    assert_eq!(interface.unwrap().mac, Some(port.mac_address));
}
