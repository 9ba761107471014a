//! The program is killed between two requests, and what it owes is not forgotten.

use std::time::Duration;

use kuryr_core::AddressRequest;
use kuryr_testkit::faulty::Fate;
use kuryr_vif::Plug as _;
use neutron_api::Port;

use crate::world::{World, dual_stack, soon, subnet};

#[tokio::test(start_paused = true)]
async fn a_container_outlives_the_program() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    world.restart();
    let joined = world
        .kuryr
        .join(&made.id, &container.id, &[], soon())
        .await
        .unwrap();
    assert_eq!(joined.gateways.len(), 2);
    let another = world.run(&made).await.unwrap();
    for container in [&container, &another] {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after a restart").await;
}

#[tokio::test(start_paused = true)]
async fn a_network_is_made_of_a_range_that_was_set_aside_before() {
    for plan in [
        dual_stack(),
        crate::world::Plan {
            subnets: vec![],
            defaults: vec![kuryr_core::IpVersion::V4],
            ..Default::default()
        },
    ] {
        let mut world = World::new();
        let made = world.create_network(&plan).await.unwrap();
        world.restart();
        world.delete_network(&made).await;
        world.assert_nothing_left("after a restart").await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_network_is_made_that_could_not_be_removed_after_a_crash() {
    for plan in [
        dual_stack(),
        crate::world::Plan {
            subnets: vec![],
            defaults: vec![kuryr_core::IpVersion::V4],
            ..Default::default()
        },
    ] {
        let world = World::new();
        let write = world.break_disk();
        let refused = world.create_network(&plan).await.unwrap_err();
        assert!(refused.to_string().contains("could not note"), "{refused}");
        write();
        world.assert_nothing_left("after it was refused").await;
        let made = world.create_network(&plan).await.unwrap();
        world.delete_network(&made).await;
        world.assert_nothing_left("after that").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_ends_though_nothing_can_be_noted() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let write = world.break_disk();
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    write();
    world.delete_network(&made).await;
    world.assert_nothing_left("after a container ended").await;
}

#[tokio::test(start_paused = true)]
async fn containers_that_stop_while_neutron_is_away_leave_nothing() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    world.wire.plan(|_, _| Fate::LoseRequest);
    world.stop(&made, &container).await;
    assert!(world.host.plugged().is_empty());
    world.restart();
    world.wire.plan(|_, _| Fate::Pass);
    world.delete_network(&made).await;
    world.assert_nothing_left("after Neutron's absence").await;
}

#[tokio::test(start_paused = true)]
async fn containers_that_stop_right_after_a_restart_without_neutron_leave_nothing() {
    let mut world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    world.restart();
    world.wire.plan(|_, _| Fate::LoseRequest);
    world.stop(&made, &container).await;
    world.wire.plan(|_, _| Fate::Pass);
    world.delete_network(&made).await;
    world.assert_nothing_left("after Neutron's absence").await;
}

#[tokio::test(start_paused = true)]
async fn a_label_that_was_not_written_is_written_later() {
    let mut world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    world.wire.plan(|number, _| {
        if number == 0 {
            Fate::Pass
        } else {
            Fate::LoseRequest
        }
    });
    let container = world.run(&made).await.unwrap();
    world.restart();
    world.wire.plan(|_, _| Fate::Pass);
    assert_eq!(
        world.port_of(&container).await.name,
        format!("{}-port", container.id)
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_that_was_reserved_before_is_used_after() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let mut addresses = Vec::new();
    for pool in &made.pools {
        let any = AddressRequest::default();
        addresses.push(
            world
                .kuryr
                .reserve_address(&pool.id, any, soon())
                .await
                .unwrap(),
        );
    }
    world.restart();
    let new = kuryr_core::NewEndpoint {
        network: made.id.clone(),
        id: crate::world::random_id().parse().unwrap(),
        addresses: addresses.clone(),
        mac: None,
        options: Default::default(),
    };
    let interface = world.kuryr.create_endpoint(new, soon()).await.unwrap();
    assert_eq!(interface.addresses, addresses);
    assert_eq!(world.all::<Port>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_goes_right_after_a_restart_without_neutron_leaves_nothing() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world.restart();
    world.wire.plan(|_, _| Fate::LoseRequest);
    world.delete_network(&made).await;
    world.wire.plan(|_, _| Fate::Pass);
    world.assert_nothing_left("after Neutron's absence").await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_neutron_refuses_to_look_up_right_after_a_restart_leaves_nothing() {
    for status in [400, 403, 409] {
        let mut world = World::new();
        let made = world.create_network(&dual_stack()).await.unwrap();
        world.restart();
        world.wire.plan(move |number, _| match number {
            0 => Fate::Answer(status),
            _ => Fate::Pass,
        });
        let deleted = world.kuryr.delete_network(&made.id, soon()).await;
        deleted.unwrap_err();
        world.assert_nothing_left("after a refusal").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_container_that_goes_while_neutron_is_away_leaves_nothing() {
    let mut world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    // The machine was switched off: Open vSwitch has forgotten what was plugged.
    for vif in world.host.plugged() {
        world.host.unplug(&vif.attachment, soon()).await.unwrap();
    }
    world.restart();
    world.wire.plan(|_, _| Fate::LoseRequest);
    world.stop(&made, &container).await;
    world.wire.plan(|_, _| Fate::Pass);
    world.delete_network(&made).await;
    world.assert_nothing_left("after Neutron's absence").await;
}

/// Neutron is slow to let the port go that had it.
#[tokio::test(start_paused = true)]
async fn a_container_that_comes_back_right_after_a_restart_has_its_mac_address_again() {
    for warm in [false, true] {
        let mut world = if warm { World::warm() } else { World::new() };
        let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
        let mac = "02:00:00:00:00:01".parse().unwrap();
        let container = world.run_with(&made, None, Some(mac)).await.unwrap();
        let slow = |_: usize, request: &http::Request<_>| match request.method().as_str() {
            "DELETE" => Fate::Take(Duration::from_secs(5)),
            _ => Fate::Pass,
        };
        world.wire.plan(slow);
        world.stop(&made, &container).await;
        world.kill();
        world.wire.plan(slow);
        let again = world.run_with(&made, None, Some(mac)).await.unwrap();
        assert_eq!(again.interface.mac, Some(mac), "warm {warm}");
        world.stop(&made, &again).await;
        world.delete_network(&made).await;
        world.assert_nothing_left("after a restart").await;
    }
}

/// Each kind of note, about objects that Neutron has no more: what it says is done with nothing left, or it
/// goes with its network. One that was not understood would stay.
#[tokio::test(start_paused = true)]
async fn state_that_an_earlier_version_has_written_is_read() {
    for version in ["0", "1"] {
        let mut world = World::new();
        let states = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/state");
        world.restart_on(&states.join(version));
        assert!(world.notes().len() > 18, "{:?}", world.notes());
        world.two_minutes_pass().await;
        let in_a_while = tokio::time::Instant::now() + Duration::from_secs(600);
        assert!(world.kuryr.settled(in_a_while).await, "{:?}", world.notes());
        let mut left = world.notes();
        left.sort_unstable();
        let network: kuryr_core::NetworkId = format!("{:064x}", 48).parse().unwrap();
        let mut kept = vec![
            format!("adoption-{network}.json"),
            format!("defaults-{network}.json"),
        ];
        if version == "1" {
            // Nobody can be asked whether the runtime knows it.
            kept.push(format!("network-{network}.json"));
        }
        assert_eq!(left, kept, "version {version}");
        world.kuryr.delete_network(&network, soon()).await.unwrap();
        world.assert_nothing_left(version).await;
    }
}

/// Its creation was repeated, and what the lost reply may have made is still looked for.
#[tokio::test(start_paused = true)]
async fn a_network_whose_making_was_repeated_outlives_the_program() {
    for number in 0..6 {
        let mut world = World::new();
        world.wire.plan(move |k, _| match k == number {
            true => Fate::Answer(500),
            false => Fate::Pass,
        });
        let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
        world.kill();
        world.two_minutes_pass().await;
        let container = world.run(&made).await.unwrap();
        world.stop(&made, &container).await;
        world.delete_network(&made).await;
        world.assert_nothing_left("after a restart").await;
    }
}

/// dockerd starts again, and takes leave of all its endpoints, one after the other, before it does anything else.
#[tokio::test(start_paused = true)]
async fn a_runtime_with_a_hundred_endpoints_starts_in_seconds_whatever_neutron_does() {
    const A_DAY: Duration = Duration::from_secs(86_400);
    for (fate, outlives) in [Fate::LoseRequest, Fate::Take(A_DAY)]
        .into_iter()
        .flat_map(|fate| ["the program", "interfaces", "nothing"].map(|what| (fate, what)))
    {
        let mut world = World::new();
        let made = world.create_network(&dual_stack()).await.unwrap();
        let mut containers = Vec::new();
        for _ in 0..100 {
            containers.push(world.run(&made).await.unwrap());
        }
        assert!(world.kuryr.settled(soon()).await);
        match outlives {
            "the program" => {}
            "interfaces" => world.restart(),
            _ => {
                world.forget_plugged().await;
                world.restart();
            }
        }
        world.wire.plan(move |_, _| fate);
        let start = tokio::time::Instant::now();
        for container in &containers {
            world.stop(&made, container).await;
        }
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(10),
            "{fate:?}, {outlives} is left: {took:?}"
        );
    }
}
