//! Warm ports on bad days: restarts, kills and a Neutron that fails.

use std::time::Duration;

use http::Method;
use kuryr_core::Orphan;
use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble;
use kuryr_vif::Plug as _;
use neutron_api::Port;
use tokio::time::sleep;

use super::{A_WHILE, distinct, ids, warmed};
use crate::paper::Ink;
use crate::world::{World, dual_stack, soon, subnet};

/// Long enough after a restart for the runtime to have asked for all it was promised.
const LONG_AFTER_RESTART: Duration = Duration::from_secs(100);

#[tokio::test(start_paused = true)]
async fn warm_ports_are_found_again_and_not_made_again() {
    let (mut world, made) = warmed(&dual_stack()).await;
    let container = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    let before = ids(&world).await;
    world.restart();
    // The first start after it reads what there is.
    let other = world.run(&made).await.unwrap();
    sleep(LONG_AFTER_RESTART).await;
    let now = ids(&world).await;
    assert!(before.is_subset(&now));
    world.wire.plan(|_, _| Fate::LoseRequest);
    let third = world.run(&made).await.unwrap();
    world.wire.plan(|_, _| Fate::Pass);
    let port = world.port_of(&third).await;
    assert!(before.contains(&port.id.to_string()));
    distinct(&[&container, &other, &third]);
    for container in [container, other, third] {
        world.stop(&made, &container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after a restart").await;
}

/// The program is killed between the address and the endpoint; others start right after.
#[tokio::test(start_paused = true)]
async fn what_was_promised_before_a_restart_is_nobody_elses_after() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let promised = world.reserve(&made).await;
    world.restart();
    let others = [
        world.run(&made).await.unwrap(),
        world.run(&made).await.unwrap(),
    ];
    sleep(A_WHILE).await;
    let more = world.run(&made).await.unwrap();
    for other in others.iter().chain([&more]) {
        assert_ne!(other.addresses, promised.addresses);
    }
    let interface = world
        .kuryr
        .create_endpoint(promised.clone(), soon())
        .await
        .unwrap();
    assert_eq!(interface.addresses, promised.addresses);
    sleep(LONG_AFTER_RESTART).await;
    let later = world.run(&made).await.unwrap();
    assert_ne!(later.addresses, promised.addresses);
}

/// Likewise between the endpoint and its label.
#[tokio::test(start_paused = true)]
async fn a_port_whose_label_is_not_written_yet_is_nobody_elses_after_a_restart() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    world.wire.plan(|_, _| Fate::LoseRequest);
    let container = world.run(&made).await.unwrap();
    world.restart();
    world
        .wire
        .plan(|_, request| match request.method().as_str() {
            "PUT" => Fate::LoseRequest,
            _ => Fate::Pass,
        });
    let other = world.run(&made).await.unwrap();
    sleep(LONG_AFTER_RESTART).await;
    let third = world.run(&made).await.unwrap();
    distinct(&[&container, &other, &third]);
    world.wire.plan(|_, _| Fate::Pass);
    sleep(LONG_AFTER_RESTART).await;
    for container in [&container, &other, &third] {
        let port = world.port_of(container).await;
        assert_eq!(port.name, format!("{}-port", container.id));
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after a late label").await;
}

/// Likewise between the endpoint's end and what Neutron is to forget of it.
#[tokio::test(start_paused = true)]
async fn a_port_that_was_on_its_way_back_is_left_nowhere_by_a_restart() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let container = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    world.wire.plan(|_, _| Fate::LoseRequest);
    world.stop(&made, &container).await;
    world.restart();
    world.wire.plan(|_, _| Fate::Pass);
    sleep(A_WHILE).await;
    let other = world.run(&made).await.unwrap();
    world.stop(&made, &other).await;
    world.delete_network(&made).await;
    world.assert_nothing_left("after a restart").await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_goes_right_after_a_restart_takes_its_warm_ports_along() {
    for is_away in [false, true] {
        let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
        world.restart();
        if is_away {
            world.wire.plan(|_, _| Fate::LoseRequest);
        }
        world.delete_network(&made).await;
        world.wire.plan(|_, _| Fate::Pass);
        world.assert_nothing_left("after a restart").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_goes_takes_the_interface_of_a_port_on_its_way_back_along() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    // While new ports are made, the interfaces of cleaned ones are not taken back.
    world.wire.plan(|_, request| match *request.method() {
        Method::POST => Fate::Take(Duration::from_secs(20)),
        _ => Fate::Pass,
    });
    let mut containers = Vec::new();
    for _ in world.all::<Port>().await {
        containers.push(world.run(&made).await.unwrap());
    }
    sleep(A_WHILE).await;
    for container in &containers {
        world.stop(&made, container).await;
    }
    sleep(A_WHILE).await;
    let plugged = world.host.plugged();
    let mut owners = plugged.iter().map(|vif| vif.attachment.owner.as_str());
    assert!(owners.any(|owner| owner == containers[0].id.as_str()));
    world.delete_network(&made).await;
    assert_eq!(world.host.plugged(), []);
    world
        .assert_nothing_left("with a port on its way back")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_shortage_of_ports_is_asked_about_once_a_minute() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    world.wire.plan(|_, request| {
        let many = request.body().starts_with(b"{\"ports\"");
        if many { Fate::Answer(409) } else { Fate::Pass }
    });
    for _ in 0..6 {
        world.run(&made).await.unwrap();
    }
    let started = world.wire.log().len();
    sleep(Duration::from_secs(300)).await;
    let log = world.wire.log().split_off(started);
    let posts = log.iter().filter(|line| line.starts_with("POST"));
    let posts = posts.count();
    assert!((2..=8).contains(&posts), "{posts}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_was_warm_before_a_restart_can_be_wanted_after_it() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let port = world.all::<Port>().await.remove(0);
    world.restart();
    let address = port.fixed_ips[0].ip_address.to_string();
    let container = world.run_with(&made, Some(&address), None).await.unwrap();
    assert_eq!(world.port_of(&container).await.id, port.id);
}

/// Neutron can't say for a while what an earlier run has left, and a container comes and goes.
#[tokio::test(start_paused = true)]
async fn a_port_that_comes_back_before_the_pool_is_complete_is_there_once() {
    let world = World::warm();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    world.wire.plan(|_, request| {
        let looks = request.uri().to_string().contains("name=kuryr-pool-port");
        if looks { Fate::Answer(503) } else { Fate::Pass }
    });
    let container = world.run(&made).await.unwrap();
    sleep(A_WHILE).await;
    world.stop(&made, &container).await;
    sleep(A_WHILE).await;
    world.wire.plan(|_, _| Fate::Pass);
    sleep(LONG_AFTER_RESTART).await;
    let mut containers = Vec::new();
    for _ in 0..4 {
        containers.push(world.run(&made).await.unwrap());
    }
    distinct(&containers.iter().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn warm_ports_are_orphans_where_none_are_wanted_any_more() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    world.restart();
    assert!(world.kuryr.orphans(soon()).await.unwrap().is_empty());
    world.restart_with(|settings| settings.port_pool.enabled = false);
    let seen = world.kuryr.orphans(soon()).await.unwrap();
    assert_eq!(seen.len(), world.all::<Port>().await.len());
    world.kuryr.release_orphans(&seen, soon()).await.unwrap();
    world.delete_network(&made).await;
    world.assert_nothing_left("after the pool was off").await;
}

/// The program is killed when a warm port is an endpoint's, and that is not noted yet.
#[tokio::test(start_paused = true)]
async fn a_warm_port_of_an_endpoint_that_never_was_is_an_orphan() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let plugged = world.host.plugged().remove(0);
    let mut taken = plugged.clone();
    taken.attachment.owner = "ab".repeat(32);
    world.host.plug(&taken, soon()).await.unwrap();
    world.restart();
    let seen = world.kuryr.orphans(soon()).await.unwrap();
    let [Orphan::Port { port, .. }] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(port.id.to_string(), plugged.attachment.interface_id);
    world.kuryr.release_orphans(&seen, soon()).await.unwrap();
    world.delete_network(&made).await;
    world.assert_nothing_left("after an orphan").await;
}

/// Whatever becomes of one exchange, containers start, have addresses of their own, and leave nothing.
#[tokio::test(start_paused = true)]
async fn whichever_exchange_fails_nothing_is_used_twice_and_nothing_is_left() {
    for fate in [
        Fate::LoseRequest,
        Fate::LoseReply,
        Fate::CarryOutLater(Duration::from_secs(4)),
        Fate::Answer(503),
        Fate::Answer(409),
        Fate::Answer(403),
    ] {
        for k in 0..80 {
            let world = World::warm();
            let made = world.create_network(&dual_stack()).await.unwrap();
            world
                .wire
                .plan(move |number, _| if number == k { fate } else { Fate::Pass });
            let mut running = Vec::new();
            for round in 0..4 {
                if let Ok(container) = world.run(&made).await {
                    running.push(container);
                }
                if round % 2 == 1 {
                    let container = running.remove(0);
                    world.stop(&made, &container).await;
                }
                sleep(A_WHILE).await;
            }
            let log = world.wire.log();
            let when = format!("exchange {k} met {fate:?}: {log:#?}");
            distinct(&running.iter().collect::<Vec<_>>());
            for container in &running {
                world.stop(&made, container).await;
            }
            world.delete_network(&made).await;
            world.assert_nothing_left(&when).await;
            if log.len() <= k {
                break;
            }
        }
    }
}

/// The same where the program is killed, at each exchange in turn.
#[tokio::test(start_paused = true)]
async fn whenever_the_program_is_killed_nothing_is_used_twice_and_nothing_is_left() {
    for k in 0..30 {
        let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
        world.wire.plan(move |number, _| match number < k {
            true => Fate::Pass,
            false => Fate::LoseReply,
        });
        let mut running = vec![world.run(&made).await.unwrap()];
        let gone = world.run(&made).await.unwrap();
        world.stop(&made, &gone).await;
        let promised = world.reserve(&made).await;
        sleep(Duration::from_millis(900)).await;
        let is_over = world.wire.log().len() < k;
        world.kill();
        for _ in 0..3 {
            running.push(world.run(&made).await.unwrap());
        }
        world
            .kuryr
            .create_endpoint(promised.clone(), soon())
            .await
            .unwrap();
        sleep(LONG_AFTER_RESTART).await;
        running.push(world.run(&made).await.unwrap());
        distinct(&running.iter().collect::<Vec<_>>());
        assert!(
            running
                .iter()
                .all(|one| one.addresses != promised.addresses)
        );
        for container in &running {
            world.port_of(container).await;
            world.stop(&made, container).await;
        }
        let _ = world
            .kuryr
            .delete_endpoint(&made.id, &promised.id, soon())
            .await;
        let address = promised.addresses[0].addr();
        let _ = world
            .kuryr
            .release_address(&made.pools[0].id, address, soon())
            .await;
        world.delete_network(&made).await;
        world
            .assert_nothing_left(&format!("killed at exchange {k}"))
            .await;
        if is_over {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_interface_of_a_warm_port_that_could_not_be_unplugged_goes_within_two_minutes() {
    let (world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let story = async {
        // Long after the first look.
        sleep(Duration::from_secs(200)).await;
        let unused = world.reserve(&made).await;
        world.host.meet(Some(Trouble::Refusal));
        let released =
            world
                .kuryr
                .release_address(&made.pools[0].id, unused.addresses[0].addr(), soon());
        released.await.unwrap();
        world.host.meet(None);
        sleep(Duration::from_secs(120)).await;
        assert_eq!(world.host.plugged().len(), world.all::<Port>().await.len());
    };
    tokio::select! {
        () = story => {}
        never = world.kuryr.keep_releasing_orphans() => never,
    }
}

/// Just started, it does not know yet which network it is.
#[tokio::test(start_paused = true)]
async fn the_warm_ports_of_a_network_go_that_a_killed_program_was_to_remove() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    world.restart();
    world
        .wire
        .plan(|_, _| Fate::Take(Duration::from_secs(86_400)));
    let delete = world.kuryr.delete_network(&made.id, soon());
    let killed = tokio::time::timeout(Duration::from_secs(2), delete).await;
    assert!(killed.is_err());
    world.kill();
    world.two_minutes_pass().await;
    world.assert_nothing_left("after a kill").await;
}

/// The note that its port was to bear its name is not taken up for a container that is gone.
#[tokio::test(start_paused = true)]
async fn a_container_that_stopped_while_the_disk_was_full_holds_nothing_after_a_kill() {
    let (mut world, made) = warmed(&subnet("10.20.0.0/24")).await;
    let container = world.run(&made).await.unwrap();
    assert!(
        world
            .notes()
            .iter()
            .any(|note| note.starts_with("debt-port-"))
    );
    world.paper.plan(|_| Ink::NoRoom, || ());
    world.stop(&made, &container).await;
    world.kill();
    world.delete_network(&made).await;
    world
        .assert_nothing_left("after a full disk and a kill")
        .await;
}
