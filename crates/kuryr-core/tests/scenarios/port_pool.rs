//! Warm ports: nobody waits for Neutron, nothing is used twice, and nothing is left.

mod bad_days;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Method;
use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble;
use neutron_api::{Port, PortChange};
use tokio::time::{Instant, sleep};

use crate::world::{Made, Plan, Want, World, dual_stack, soon, subnet};

/// Long enough for what goes on in the background.
const A_WHILE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_neutron_where_ports_are_warm() {
    for plan in [subnet("10.20.0.0/24"), dual_stack()] {
        let (world, made) = warmed(&plan).await;
        world.wire.plan(|_, _| Fate::LoseRequest);
        let containers = [
            world.run(&made).await.unwrap(),
            world.run(&made).await.unwrap(),
        ];
        for container in &containers {
            world.stop(&made, container).await;
        }
        assert!(Instant::now() < soon());
        world.wire.plan(|_, _| Fate::Pass);
        world.delete_network(&made).await;
        world.assert_nothing_left("after warm starts").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_warm_port_is_its_containers_like_any_other() {
    let (world, made) = warmed(&dual_stack()).await;
    let before = ids(&world).await;
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    assert!(before.contains(&port.id.to_string()));
    assert_eq!(port.name, format!("{}-port", container.id));
    assert_eq!(Some(port.mac_address), container.interface.mac);
    assert_eq!(port.fixed_ips.len(), container.addresses.len());
    let plugged = world.host.plugged();
    let owners = plugged
        .iter()
        .filter(|vif| vif.attachment.owner == container.id.as_str());
    let theirs: Vec<_> = owners
        .map(|vif| vif.attachment.interface_id.clone())
        .collect();
    assert_eq!(theirs, [port.id.to_string()]);
}

#[tokio::test(start_paused = true)]
async fn a_port_goes_from_one_container_to_the_next() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let before = ids(&world).await;
    // With and without the time to write its label.
    for lives in [A_WHILE, Duration::ZERO] {
        let first = world.run(&made).await.unwrap();
        sleep(lives).await;
        world.stop(&made, &first).await;
        sleep(A_WHILE).await;
        assert_eq!(ids(&world).await, before);
        for port in world.all::<Port>().await {
            assert!(
                port.name.starts_with("kuryr-pool-port-host1-"),
                "{}",
                port.name
            );
            assert!(port.tags.is_empty(), "{:?}", port.tags);
            assert_ne!(port.device_id, first.id.as_str());
        }
        let plugged = world.host.plugged();
        assert_eq!(plugged.len(), before.len());
        assert!(
            plugged
                .iter()
                .all(|vif| vif.attachment.owner != first.id.as_str())
        );
    }
}

/// A port's neighbours need to hear of it once, and not while a container waits.
#[tokio::test(start_paused = true)]
async fn a_warm_port_is_announced_before_a_container_has_it_unless_it_is_changed_for_that() {
    let (world, made) = warmed(&dual_stack()).await;
    let warm: HashSet<String> = world.host.announced().into_iter().map(|it| it.0).collect();
    let container = world.run(&made).await.unwrap();
    assert_eq!(world.host.announced(), []);
    let port = world.port_of(&container).await.id.to_string();
    assert!(warm.contains(&port), "{port} of {warm:?}");
    sleep(A_WHILE).await;
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let with_mac = (None, Some(mac));
    let with_address = (Some("fd20::77"), None);
    for (ip, mac) in [with_mac, with_address] {
        world.host.announced();
        let changed = world.run_with(&made, ip, mac).await.unwrap();
        let port = world.port_of(&changed).await;
        let told = (port.id.to_string(), port.mac_address.octets().into());
        let announced = world.host.announced();
        assert!(announced.contains(&told), "{announced:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_container_that_is_gone_at_once_neutron_never_hears() {
    let (world, made) = warmed(&dual_stack()).await;
    world.wire.plan(|_, _| Fate::Pass);
    for _ in 0..3 {
        let container = world.run(&made).await.unwrap();
        world.stop(&made, &container).await;
        sleep(A_WHILE).await;
    }
    let changes = world.wire.log().into_iter();
    let changes = changes.filter(|asked| !asked.starts_with("GET "));
    assert_eq!(changes.collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_neutron_is_to_know_waits_for_a_lull_but_not_for_ever() {
    for waits in [Duration::from_millis(900), Duration::from_millis(1100)] {
        let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
        let first = world.run(&made).await.unwrap();
        let label = format!("{}-port", first.id);
        let mut seen = None;
        for start in 0..15 {
            sleep(waits).await;
            let ports = world.all::<Port>().await;
            if ports.iter().any(|port| port.name == label) {
                seen = Some(start);
                break;
            }
            let other = world.run(&made).await.unwrap();
            world.stop(&made, &other).await;
        }
        let seen = seen.map(|start| waits * (start + 1));
        if waits < Duration::from_secs(1) {
            let bounds = Duration::from_secs(10)..Duration::from_secs(11);
            assert!(seen.is_some_and(|seen| bounds.contains(&seen)), "{seen:?}");
        } else {
            assert_eq!(seen, Some(waits));
        }
    }
}

/// Neutron may share the processors with the runtime, which has many more to remove then.
#[tokio::test(start_paused = true)]
async fn ports_come_back_in_a_lull_however_long_ago_their_containers_were_started() {
    for want in [Want::default(), Want::exposing()] {
        let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
        let mut boxes = Vec::new();
        // What is written of the first waits as long as it can: there is no lull.
        for _ in 0..8 {
            boxes.push(world.run_as(&made, &want).await.unwrap());
            sleep(Duration::from_millis(900)).await;
        }
        world.wire.plan(|_, _| Fate::Pass);
        for container in &boxes {
            world.stop(&made, container).await;
            sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(world.wire.log(), [""; 0]);
        sleep(A_WHILE).await;
        assert!(!world.wire.log().is_empty());
        world.delete_network(&made).await;
        world.assert_nothing_left("after many removals").await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_the_address_of_a_port_that_comes_back_waits_for_no_lull() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    for want in [Want::default(), Want::exposing()] {
        let container = world.run_as(&made, &want).await.unwrap();
        sleep(A_WHILE).await;
        world.stop(&made, &container).await;
        let address = container.addresses[0].addr().to_string();
        let begun = Instant::now();
        let next = world.run_with(&made, Some(&address), None).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1));
        world.stop(&made, &next).await;
        sleep(A_WHILE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_line_for_a_slow_neutron_lets_removals_go_first() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let mut boxes = Vec::new();
    for _ in 0..2 {
        // The second time they all have warm ports.
        for container in boxes.drain(..) {
            world.stop(&made, &container).await;
        }
        sleep(A_WHILE * 2).await;
        for _ in 0..12 {
            boxes.push(world.run(&made).await.unwrap());
        }
    }
    world.wire.plan(|_, _| Fate::Take(Duration::from_secs(1)));
    while world.wire.log().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    for container in &boxes {
        world.stop(&made, container).await;
        sleep(Duration::from_millis(200)).await;
    }
    let asked = world.wire.log().join(" ");
    let ports = ids(&world).await;
    let about = ports.iter().filter(|port| asked.contains(*port));
    assert_eq!(about.count(), 4, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn ports_are_made_in_the_next_lull_where_containers_come_after_the_first() {
    let (world, made) = warmed(&subnet("10.20.0.0/16")).await;
    for _ in 0..20 {
        world.run(&made).await.unwrap();
    }
    let fills = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fills);
    world.wire.plan(move |_, request| {
        if !request.body().starts_with(b"{\"ports\"") {
            return Fate::Pass;
        }
        count.fetch_add(1, Relaxed);
        Fate::Take(Duration::from_secs(17))
    });
    while fills.load(Relaxed) == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(16)).await;
    for _ in 0..12 {
        assert_eq!(fills.load(Relaxed), 1);
        sleep(Duration::from_millis(500)).await;
        world.run(&made).await.unwrap();
    }
    sleep(A_WHILE * 2).await;
    assert_eq!(fills.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_changed_about_a_port_does_not_reach_the_next_container() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    let change = PortChange {
        security_groups: Some(vec![]),
        ..PortChange::default()
    };
    world.neutron.update(port.id, &change).await.unwrap();
    world.stop(&made, &container).await;
    sleep(A_WHILE).await;
    assert!(!ids(&world).await.contains(&port.id.to_string()));
    let id = port.id.to_string();
    let plugged = world.host.plugged();
    assert!(plugged.iter().all(|vif| vif.attachment.interface_id != id));
    world.delete_network(&made).await;
    world.assert_nothing_left("after a changed port").await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_exposes_ports_leaves_none_open_to_the_next() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let container = world.run_as(&made, &Want::exposing()).await.unwrap();
    world.stop(&made, &container).await;
    sleep(A_WHILE).await;
    let groups: HashSet<_> = world
        .all::<Port>()
        .await
        .into_iter()
        .map(|port| port.security_groups)
        .collect();
    assert_eq!(groups.len(), 1);
    world.delete_network(&made).await;
    world.assert_nothing_left("after an exposed port").await;
}

#[tokio::test(start_paused = true)]
async fn a_port_is_given_on_only_when_its_addresses_are_released() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let container = world.run(&made).await.unwrap();
    let _ = world.kuryr.leave(&made.id, &container.id, soon()).await;
    world
        .kuryr
        .delete_endpoint(&made.id, &container.id, soon())
        .await
        .unwrap();
    sleep(A_WHILE).await;
    let others = [
        world.run(&made).await.unwrap(),
        world.run(&made).await.unwrap(),
        world.run(&made).await.unwrap(),
    ];
    assert!(
        others
            .iter()
            .all(|other| other.addresses != container.addresses)
    );
    let address = container.addresses[0].addr();
    world
        .kuryr
        .release_address(&made.pools[0].id, address, soon())
        .await
        .unwrap();
    for other in &others {
        let now = world.port_of(other).await;
        assert_eq!(now.fixed_ips[0].ip_address, other.addresses[0].addr());
        world.stop(&made, other).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after a late release").await;
}

#[tokio::test(start_paused = true)]
async fn a_wanted_address_of_a_warm_port_is_had_with_that_port() {
    let (world, made) = warmed(&dual_stack()).await;
    let port = world.all::<Port>().await.remove(0);
    let four = port
        .fixed_ips
        .iter()
        .map(|ip| ip.ip_address)
        .find(std::net::IpAddr::is_ipv4);
    world.wire.plan(|_, _| Fate::LoseRequest);
    let container = world
        .run_with(&made, Some(&four.unwrap().to_string()), None)
        .await
        .unwrap();
    world.wire.plan(|_, _| Fate::Pass);
    assert_eq!(world.port_of(&container).await.id, port.id);
}

/// Neutron has the port already, which waits to be plugged, or makes it while it is asked for one with its address.
#[tokio::test(start_paused = true)]
async fn a_wanted_address_whose_warm_port_is_just_being_made_is_had_with_that_port() {
    const FILLING: Duration = Duration::from_secs(1);
    for is_made in [true, false] {
        let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
        for _ in 0..4 {
            world.run(&made).await.unwrap();
        }
        let wanted = lowest_free(&world).await;
        world.host.meet(Some(Trouble::Delay(FILLING)));
        world.wire.plan(move |_, request| {
            let is_many = request.body().starts_with(b"{\"ports\"");
            match *request.method() {
                Method::POST if is_many && !is_made => Fate::Take(FILLING),
                Method::POST if !is_many => Fate::Take(FILLING * 2),
                _ => Fate::Pass,
            }
        });
        let begun = |line: &String| line.starts_with("POST");
        while !world.wire.log().iter().any(begun) {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(FILLING / 2).await;
        assert_eq!(lowest_free(&world).await != wanted, is_made);
        let warm = async {
            sleep(FILLING).await;
            let has_it = |port: &Port| port.fixed_ips[0].ip_address.to_string() == wanted;
            world.all::<Port>().await.into_iter().find(has_it)
        };
        let started = world.run_with(&made, Some(&wanted), None);
        let (warm, container) = tokio::join!(warm, started);
        let port = world.port_of(&container.unwrap()).await;
        assert_eq!(warm.unwrap().id, port.id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wanted_mac_address_is_had() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let container = world.run_with(&made, None, Some(mac)).await.unwrap();
    assert_eq!(world.port_of(&container).await.mac_address, mac);
    world.stop(&made, &container).await;
    sleep(A_WHILE).await;
    assert!(
        world
            .all::<Port>()
            .await
            .iter()
            .all(|port| port.mac_address != mac)
    );
    world.delete_network(&made).await;
    world
        .assert_nothing_left("after a wanted MAC address")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_small_subnet_is_not_filled_by_warm_ports() {
    let world = World::warm();
    let made = world.create_network(&subnet("10.20.0.0/27")).await.unwrap();
    let mut containers = Vec::new();
    for _ in 0..29 {
        containers.push(world.run(&made).await.unwrap());
        sleep(A_WHILE).await;
    }
    world.run(&made).await.unwrap_err();
    for container in &containers {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after a full subnet").await;
}

#[tokio::test(start_paused = true)]
async fn nobody_lacks_a_port_because_some_are_kept_for_others() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let other = world.create_network(&subnet("10.21.0.0/24")).await.unwrap();
    let ports = world.all::<Port>().await;
    world.limit(&ports[0].project_id, "port", ports.len()).await;
    let mut containers = Vec::new();
    for _ in &ports {
        containers.push(world.run(&other).await.unwrap());
        sleep(A_WHILE).await;
    }
    let refusal = format!("{:?}", world.run(&other).await.unwrap_err());
    assert!(refusal.contains("Quota exceeded"), "{refusal}");
    for container in &containers {
        world.stop(&other, container).await;
    }
    // It is asked for warm ports again.
    sleep(Duration::from_secs(200)).await;
    world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    assert!(!ids(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_network_can_do_without() {
    let world = World::warm();
    let plan = Plan {
        options: vec![("kuryr.pool", "off".to_owned())],
        ..subnet("10.20.0.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    let container = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    assert_eq!(world.all::<Port>().await.len(), 1);
    world.stop(&made, &container).await;
    sleep(A_WHILE).await;
    assert_eq!(world.all::<Port>().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn as_many_ports_are_warm_as_were_started_at_once_and_few_after_a_while() {
    let (world, made) = warmed(&subnet("10.20.0.0/16")).await;
    let starts = (0..12).map(|_| world.run(&made));
    let mut containers = Vec::new();
    for start in starts {
        containers.push(start.await.unwrap());
    }
    sleep(A_WHILE * 4).await;
    assert_eq!(world.all::<Port>().await.len(), 24);
    for container in &containers {
        world.stop(&made, container).await;
    }
    sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(world.all::<Port>().await.len(), 2);
    assert_eq!(world.host.plugged().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn two_hosts_do_not_take_each_others_warm_ports() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let mut names = HashSet::new();
    for port in world.all::<Port>().await {
        assert_eq!(port.host_id.as_deref(), Some("host1"));
        names.insert(port.name);
    }
    assert_eq!(names.len(), 1);
    let name = names.into_iter().next().unwrap();
    assert!(
        name.contains("host1") && name.contains(made.id.as_str()),
        "{name}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_address_of_a_container_that_has_just_gone_can_be_wanted() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    for pause in [0, 1, 20, 400] {
        let first = world.run(&made).await.unwrap();
        let address = first.addresses[0].addr();
        world.stop(&made, &first).await;
        sleep(Duration::from_millis(pause)).await;
        let second = world
            .run_with(&made, Some(&address.to_string()), None)
            .await
            .unwrap();
        let port = world.port_of(&second).await;
        assert_eq!(port.fixed_ips[0].ip_address, address);
        sleep(A_WHILE).await;
        assert_eq!(world.port_of(&second).await.id, port.id);
        world.stop(&made, &second).await;
        sleep(A_WHILE).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after wanted addresses").await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_another_goes_has_its_address_on_a_full_subnet() {
    let world = World::warm();
    let made = world.create_network(&subnet("10.20.0.0/27")).await.unwrap();
    let mut containers = Vec::new();
    for _ in 0..29 {
        containers.push(world.run(&made).await.unwrap());
    }
    for _ in 0..10 {
        world.stop(&made, &containers.remove(0)).await;
        containers.push(world.run(&made).await.unwrap());
    }
    distinct(&containers.iter().collect::<Vec<_>>());
    for container in &containers {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after a full subnet").await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_no_endpoint_was_made_for_leaves_nothing() {
    let (world, made) = warmed(&dual_stack()).await;
    let promised = world.reserve(&made).await;
    for (address, pool) in promised.addresses.iter().zip(&made.pools) {
        let released = world
            .kuryr
            .release_address(&pool.id, address.addr(), soon());
        released.await.unwrap();
    }
    sleep(A_WHILE).await;
    assert_eq!(world.host.plugged().len(), world.all::<Port>().await.len());
    world.delete_network(&made).await;
    world.assert_nothing_left("after an unused address").await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_whose_requests_cross_have_what_they_were_promised() {
    let (world, made) = warmed(&dual_stack()).await;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for pool in &made.pools {
        for addresses in [&mut one, &mut other] {
            let any = kuryr_core::AddressRequest::default();
            let address = world.kuryr.reserve_address(&pool.id, any, soon()).await;
            addresses.push(address.unwrap());
        }
    }
    for addresses in [one, other] {
        let mut new = world.reserve(&made).await;
        for (address, pool) in new.addresses.iter().zip(&made.pools) {
            let released = world
                .kuryr
                .release_address(&pool.id, address.addr(), soon());
            released.await.unwrap();
        }
        new.addresses = addresses;
        let interface = world.kuryr.create_endpoint(new.clone(), soon()).await;
        let has: HashSet<_> = interface.unwrap().addresses.into_iter().collect();
        assert_eq!(has, new.addresses.iter().copied().collect());
        let deleted = world.kuryr.delete_endpoint(&made.id, &new.id, soon());
        deleted.await.unwrap();
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after crossed requests").await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_deleted_twice_comes_back_once() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let before = ids(&world).await;
    let container = world.run(&made).await.unwrap();
    for _ in 0..2 {
        let deleted = world.kuryr.delete_endpoint(&made.id, &container.id, soon());
        deleted.await.unwrap();
    }
    world.stop(&made, &container).await;
    sleep(A_WHILE).await;
    assert_eq!(ids(&world).await, before);
    assert_eq!(world.host.plugged().len(), before.len());
    world.delete_network(&made).await;
    world.assert_nothing_left("after a repeated call").await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_made_twice_at_once_is_one() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let new = world.reserve(&made).await;
    let first = world.kuryr.create_endpoint(new.clone(), soon()).await;
    // Before the port has its endpoint's name.
    let again = world.kuryr.create_endpoint(new, soon()).await;
    assert_eq!(again.unwrap(), first.unwrap());
}

/// A network in use, with its warm ports.
async fn warmed(plan: &Plan) -> (World, Made) {
    let world = World::warm();
    let made = world.create_network(plan).await.unwrap();
    let first = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    world.stop(&made, &first).await;
    sleep(A_WHILE).await;
    assert!(world.all::<Port>().await.len() >= 2);
    (world, made)
}

/// The address that Neutron gives next.
async fn lowest_free(world: &World) -> String {
    let ports = world.all::<Port>().await;
    let ips = ports.iter().flat_map(|port| &port.fixed_ips);
    let taken: HashSet<String> = ips.map(|ip| ip.ip_address.to_string()).collect();
    let mut free = (2..255).map(|last| format!("10.20.0.{last}"));
    free.find(|address| !taken.contains(address)).unwrap()
}

async fn ids(world: &World) -> HashSet<String> {
    let ports = world.all::<Port>().await.into_iter();
    ports.map(|port| port.id.to_string()).collect()
}

fn distinct(containers: &[&crate::world::Container]) {
    let addresses: HashSet<_> = containers.iter().map(|one| one.addresses.clone()).collect();
    assert_eq!(addresses.len(), containers.len());
}
