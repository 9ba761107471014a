//! Subports that are on the trunk before a container asks for one.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::sleep;

use super::*;

/// Long enough for what goes on in the background.
const A_WHILE: Duration = Duration::from_secs(5);

/// A guest with warm subports.
async fn warmed() -> (World, Made, TrunkId) {
    let (world, made, trunk) = guest_in(world().with_warm_ports()).await;
    let first = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    world.stop(&made, &first).await;
    sleep(A_WHILE).await;
    assert!(subports(&world, trunk).await.len() >= 2);
    (world, made, trunk)
}

/// The subports that are ours, with their VLAN ids.
async fn places(world: &World, trunk: TrunkId) -> HashSet<(String, u16)> {
    let subports = subports(world, trunk).await.into_iter();
    let place = |it: Subport| (it.port_id.to_string(), it.segmentation_id);
    subports.map(place).collect()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_neutron_where_subports_are_warm() {
    let (world, made, trunk) = warmed().await;
    world.wire.plan(|_, _| Fate::LoseRequest);
    let containers = [
        world.run(&made).await.unwrap(),
        world.run(&made).await.unwrap(),
    ];
    let [a, b] = <[_; 2]>::try_from(vlans_plugged(&world)).unwrap();
    assert_ne!(a, b);
    for container in &containers {
        world.stop(&made, container).await;
    }
    assert!(
        world.host.plugged().is_empty(),
        "a VLAN is made in a moment"
    );
    assert!(tokio::time::Instant::now() < soon());
    world.wire.plan(|_, _| Fate::Pass);
    world.delete_network(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(subports(&world, trunk).await, []);
    assert_eq!(ports(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_warm_subport_goes_from_one_container_to_the_next_with_its_vlan_id() {
    let (world, made, trunk) = warmed().await;
    let before = places(&world, trunk).await;
    // With and without the time to write its label.
    for lives in [A_WHILE, Duration::ZERO] {
        let container = world.run(&made).await.unwrap();
        let vlan = vlan_plugged(&world);
        sleep(lives).await;
        let port = world.port_at(&container).await;
        assert!(before.contains(&(port.id.to_string(), vlan)));
        if !lives.is_zero() {
            assert_eq!(port.name, format!("{}-port", container.id));
        }
        world.stop(&made, &container).await;
        sleep(A_WHILE).await;
        assert_eq!(places(&world, trunk).await, before);
        for port in ports(&world).await {
            assert!(
                port.name.starts_with("kuryr-pool-port-vm1-"),
                "{}",
                port.name
            );
            assert_ne!(port.device_id, container.id.as_str());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn warm_subports_are_found_again_and_are_orphans_of_nobody() {
    let (mut world, made, trunk) = warmed().await;
    let container = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    let before = places(&world, trunk).await;
    world.restart_as("vm1", drivers(1));
    // The first start after it reads what there is.
    let first = world.run(&made).await.unwrap();
    sleep(Duration::from_secs(100)).await;
    assert!(before.is_subset(&places(&world, trunk).await));
    let waits = |port: &Port| port.name.starts_with("kuryr-pool-port-");
    let orphans = world.kuryr.orphans(soon()).await.unwrap();
    let is_warm = |it: &&Orphan| matches!(it, Orphan::Port { port, .. } if waits(port));
    assert_eq!(orphans.iter().filter(is_warm).count(), 0, "{orphans:?}");
    world.wire.plan(|_, _| Fate::LoseRequest);
    let second = world.run(&made).await.unwrap();
    world.wire.plan(|_, _| Fate::Pass);
    let port = world.port_at(&second).await;
    let ids: HashSet<String> = before.into_iter().map(|(port, _)| port).collect();
    assert!(ids.contains(&port.id.to_string()));
    for container in [container, first, second] {
        world.stop(&made, &container).await;
    }
    world.delete_network(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(subports(&world, trunk).await, []);
    assert_eq!(ports(&world).await, []);
}

/// Whoever has it next must not be on a VLAN that leads nowhere.
#[tokio::test(start_paused = true)]
async fn a_subport_that_somebody_took_off_the_trunk_is_on_it_again_before_it_has_another_owner() {
    let (world, made, trunk) = warmed().await;
    let container = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    let port = world.port_of(&container).await;
    let removed = world.neutron.remove_subports(trunk, &[port.id]).await;
    removed.unwrap();
    world.stop(&made, &container).await;
    sleep(A_WHILE).await;
    let on_trunk = places(&world, trunk).await;
    let mut plugged = HashSet::new();
    for _ in 0..on_trunk.len() {
        let container = world.run(&made).await.unwrap();
        let port = world.port_at(&container).await;
        let vlan = *vlans_plugged(&world).last().unwrap();
        plugged.insert((port.id.to_string(), vlan));
    }
    assert!(
        plugged.is_subset(&places(&world, trunk).await),
        "{plugged:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_warm_subport_that_somebody_took_off_the_trunk_is_on_it_again_soon_after_a_container_has_it()
 {
    let (world, made, trunk) = warmed().await;
    let warm = subports(&world, trunk).await;
    let ports: Vec<PortId> = warm.iter().map(|subport| subport.port_id).collect();
    let removed = world.neutron.remove_subports(trunk, &ports).await;
    removed.unwrap();
    let container = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    let port = world.port_of(&container).await;
    let vlan = *vlans_plugged(&world).last().unwrap();
    assert!(ports.contains(&port.id));
    assert!(
        places(&world, trunk)
            .await
            .contains(&(port.id.to_string(), vlan))
    );
    assert_eq!(port.device_id, container.id.as_str());
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(subports(&world, trunk).await, []);
    assert_eq!(self::ports(&world).await, []);
}

/// One request for each batch, however many ports it has.
#[tokio::test(start_paused = true)]
async fn warm_subports_are_added_many_in_one_request() {
    let (world, made, trunk) = warmed().await;
    let added = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&added);
    world.wire.plan(move |_, request| {
        if request.uri().path().ends_with("/add_subports") {
            counted.fetch_add(1, Relaxed);
        }
        Fate::Take(Duration::from_millis(5))
    });
    let before = places(&world, trunk).await.len();
    // So many at once are expected again.
    let mut containers = Vec::new();
    for _ in 0..8 {
        containers.push(world.run(&made).await.unwrap());
    }
    let cold = added.swap(0, Relaxed);
    sleep(A_WHILE * 6).await;
    let made_ahead = places(&world, trunk).await.len() - before - cold;
    let requests = added.load(Relaxed);
    assert!(made_ahead >= 6, "{made_ahead} are warm");
    assert!(
        requests <= 3,
        "{made_ahead} were added by {requests} requests"
    );
}
