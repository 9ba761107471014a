//! Exchange k with Neutron fails, for every k and in every way: what Docker then asks for works,
//! and when all is removed nothing is left.

mod full_disk;
mod journal;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kuryr_core::{Caller, IpVersion};
use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble;

use crate::paper::Ink;
use crate::world::{Made, Plan, Want, World, dual_stack, new_network, soon, subnet};

/// More exchanges than any of the stories below has.
const FAR: usize = 120;

#[tokio::test(start_paused = true)]
async fn one_lost_request_or_reply_or_busy_neutron_is_not_noticed() {
    for (name, plan) in plans() {
        for fate in [
            Fate::LoseRequest,
            Fate::LoseReply,
            Fate::Answer(503),
            Fate::Answer(500),
        ] {
            for k in 0..FAR {
                let world = World::new();
                world
                    .wire
                    .plan(move |number, _| if number == k { fate } else { Fate::Pass });
                let when = format!("{name}: exchange {k} met {fate:?}");
                assert!(story(&world, &plan).await, "{when}: not repeated");
                let log = world.wire.log();
                let end = ends_before(k, &log);
                world
                    .assert_nothing_left(&format!("{when}: {log:#?}"))
                    .await;
                if end {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_anywhere_leaves_nothing() {
    for (name, plan) in plans() {
        for status in [400, 403, 409] {
            for k in 0..FAR {
                let world = World::new();
                let fate = Fate::Answer(status);
                world
                    .wire
                    .plan(move |number, _| if number == k { fate } else { Fate::Pass });
                story(&world, &plan).await;
                let log = world.wire.log();
                let when = format!("{name}: exchange {k} met {status}: {log:#?}");
                world.assert_nothing_left(&when).await;
                if ends_before(k, &log) {
                    break;
                }
            }
        }
    }
}

/// A proxy's or Keystone's, too: what is no reply of Neutron's, or half of one.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_expects_leaves_nothing() {
    let statuses = [302, 401, 412, 429].map(Fate::Answer);
    let fates = statuses.into_iter().chain([Fate::CutReply]);
    for (fate, warm) in fates.flat_map(|fate| [(fate, false), (fate, true)]) {
        for k in 0..FAR {
            let world = if warm { World::warm() } else { World::new() };
            world
                .wire
                .plan(move |number, _| if number == k { fate } else { Fate::Pass });
            story(&world, &dual_stack()).await;
            let log = world.wire.log();
            let when = format!("warm {warm}: exchange {k} met {fate:?}: {log:#?}");
            world.two_minutes_pass().await;
            world.assert_nothing_left(&when).await;
            if ends_before(k, &log) {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_neutron_that_goes_away_for_a_minute_leaves_nothing() {
    for (name, plan) in plans() {
        for k in 0..FAR {
            let world = World::new();
            let start = tokio::time::Instant::now();
            world.wire.plan(move |number, _| {
                let away = number >= k && start.elapsed().as_secs() < 60;
                if away { Fate::LoseRequest } else { Fate::Pass }
            });
            story(&world, &plan).await;
            let log = world.wire.log();
            world
                .assert_nothing_left(&format!("{name}: away from exchange {k} on: {log:#?}"))
                .await;
            if ends_before(k, &log) {
                break;
            }
        }
    }
}

/// The networks of two ranges may both exist although no reply ever came.
#[tokio::test(start_paused = true)]
async fn ranges_of_default_pools_that_were_lost_together_leave_nothing() {
    let world = World::new();
    let start = tokio::time::Instant::now();
    world.wire.plan(move |_, request| {
        let lost = start.elapsed().as_secs() < 60;
        match (lost, request.method().as_str(), request.uri().path()) {
            (true, "POST", "/v2.0/networks") => Fate::LoseReply,
            (true, "GET", "/v2.0/networks") => Fate::LoseRequest,
            _ => Fate::Pass,
        }
    });
    for version in [IpVersion::V4, IpVersion::V6] {
        let plan = Plan {
            defaults: vec![version],
            ..Plan::default()
        };
        world.create_network(&plan).await.unwrap_err();
    }
    world.assert_nothing_left("after two lost networks").await;
}

/// A proxy gave up on a request that Neutron then carried out all the same.
#[tokio::test(start_paused = true)]
async fn what_neutron_makes_long_after_its_connection_broke_is_removed() {
    for (name, plan) in plans() {
        for seconds in [1, 4, 12, 30] {
            for k in 0..FAR {
                let world = World::new();
                world.wire.plan(move |number, request| {
                    let late = number == k && request.method() == http::Method::POST;
                    if late {
                        Fate::CarryOutLater(Duration::from_secs(seconds))
                    } else {
                        Fate::Pass
                    }
                });
                story(&world, &plan).await;
                let when = format!("{name}: exchange {k} came {seconds} s late");
                let end = ends_before(k, &world.wire.log());
                world.assert_nothing_left(&when).await;
                if end {
                    break;
                }
            }
        }
    }
}

/// Before each exchange, and after it.
#[tokio::test(start_paused = true)]
async fn a_program_killed_while_it_makes_or_removes_a_network_leaves_nothing() {
    const FOR_EVER: Duration = Duration::from_secs(86_400);
    const MOMENT: Duration = Duration::from_secs(2);
    for (name, plan) in plans() {
        for (verb, fate) in [
            ("make", Fate::Take(FOR_EVER)),
            ("make", Fate::KeepReply),
            ("remove", Fate::Take(FOR_EVER)),
            ("remove", Fate::KeepReply),
        ] {
            for k in 0..FAR {
                let mut world = World::new();
                let kill = move |number, _: &_| if number == k { fate } else { Fate::Pass };
                let was_killed = if verb == "make" {
                    world.wire.plan(kill);
                    world.kill_creating(&plan, MOMENT, false).await
                } else {
                    let made = world.create_network(&plan).await.unwrap();
                    world.wire.plan(kill);
                    world.kill_deleting(&made, MOMENT).await
                };
                let when = format!("{name}: killed at exchange {k} to {verb} it, {fate:?}");
                world.assert_nothing_left(&when).await;
                if !was_killed {
                    break;
                }
            }
        }
    }
}

/// The second time while it does what the first run has left, before each exchange and after it.
#[tokio::test(start_paused = true)]
async fn a_program_killed_twice_while_it_removes_a_network_leaves_nothing() {
    const FOR_EVER: Duration = Duration::from_secs(86_400);
    const MOMENT: Duration = Duration::from_secs(2);
    for (name, plan) in plans() {
        for fate in [Fate::Take(FOR_EVER), Fate::KeepReply] {
            for k in 0..6 {
                let mut world = World::new();
                let made = world.create_network(&plan).await.unwrap();
                // It does not know yet what there is to remove.
                world.restart();
                world.wire.plan(|_, _| Fate::Take(FOR_EVER));
                let delete = world.kuryr.delete_network(&made.id, soon());
                assert!(tokio::time::timeout(MOMENT, delete).await.is_err());
                world.kill();
                let kill = move |number, _: &_| if number == k { fate } else { Fate::Pass };
                world.wire.plan(kill);
                tokio::time::sleep(MOMENT).await;
                world.kill();
                let when = format!("{name}: killed again at exchange {k}, {fate:?}");
                world.assert_nothing_left(&when).await;
            }
        }
    }
}

/// A container's port is still on its way out.
#[tokio::test(start_paused = true)]
async fn a_program_killed_while_it_leaves_a_network_of_somebody_elses_leaves_it_as_it_was() {
    const FOR_EVER: Duration = Duration::from_secs(86_400);
    for fate in [Fate::Take(FOR_EVER), Fate::KeepReply] {
        for k in 0..FAR {
            if !kill_leaving_theirs(k, fate, None).await {
                assert!(k > 2, "{k} exchanges");
                break;
            }
        }
    }
}

/// A container ends on a network of somebody else's, and then the network does for Docker; the program is
/// killed a moment after exchange `k`, and where `room` says so has room for so many notes more. Whether it
/// came to that.
async fn kill_leaving_theirs(k: usize, fate: Fate, room: Option<usize>) -> bool {
    let (mut world, made) = crate::ports::adopted(&["10.50.0.0/24"]).await;
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    if let Some(held) = room {
        world.fill_disk_after(held);
    }
    let kill = move |number, _: &_| if number == k { fate } else { Fate::Pass };
    world.wire.plan(kill);
    world.stop(&made, &container).await;
    let was_killed = world.kill_deleting(&made, Duration::from_secs(2)).await;
    let when = format!("room for {room:?}, killed at exchange {k}, {fate:?}");
    world.two_minutes_pass().await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<neutron_api::Port>().await, [], "{when}");
    assert_eq!(world.all::<neutron_api::Network>().await.len(), 1);
    crate::ports::forget_theirs(&world).await;
    world.assert_nothing_left(&when).await;
    was_killed
}

/// Before each exchange with Neutron and after it, and around each interface that is plugged or
/// unplugged; together with Docker, which then has forgotten the container, or alone.
#[tokio::test(start_paused = true)]
async fn a_program_killed_while_a_container_starts_or_stops_leaves_nothing() {
    for warm in [false, true] {
        for verb in [Verb::Start, Verb::StartForgotten, Verb::Stop] {
            kill_at_each(points(), verb, warm).await;
        }
    }
}

/// Kills the program at each of these points; returns how many it came to. Nothing is left.
async fn kill_at_each(points: impl Iterator<Item = Point>, verb: Verb, warm: bool) -> usize {
    let mut met = 0;
    for point in points {
        let mut world = if warm { World::warm() } else { World::new() };
        let made = world.create_network(&dual_stack()).await.unwrap();
        if warm {
            exposes_once(&world, &made).await;
        }
        let reached = kill(&mut world, &made, verb, point, &Want::exposing(), |_| ()).await;
        let when = format!("warm {warm}: {verb:?} killed {point:?}");
        world.two_minutes_pass().await;
        world.delete_network(&made).await;
        world.assert_nothing_left(&when).await;
        if !reached {
            break;
        }
        met += 1;
    }
    met
}

/// Neutron changes a MAC address only of a port that is bound to no host: such a port must not be left.
#[tokio::test(start_paused = true)]
async fn a_program_killed_while_it_changes_a_mac_address_leaves_nothing() {
    let want = Want {
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        ..Want::default()
    };
    for warm in [false, true] {
        for verb in [Verb::Start, Verb::StartForgotten] {
            for point in points() {
                let mut world = if warm { World::warm() } else { World::new() };
                let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
                let reached = kill(&mut world, &made, verb, point, &want, |_| ()).await;
                let when = format!("warm {warm}: {verb:?} killed {point:?}");
                world.two_minutes_pass().await;
                if !warm {
                    assert_eq!(world.all::<neutron_api::Port>().await, [], "{when}");
                }
                world.delete_network(&made).await;
                world.assert_nothing_left(&when).await;
                if !reached {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_port_is_as_before_wherever_the_program_was_killed() {
    for verb in [Verb::Start, Verb::StartForgotten, Verb::Stop] {
        kill_with_adopted_port_at_each(points(), verb).await;
    }
}

/// Likewise with a port that was there before, which is then as it was.
async fn kill_with_adopted_port_at_each(points: impl Iterator<Item = Point>, verb: Verb) -> usize {
    let mut met = 0;
    for point in points {
        let (mut world, made) = crate::ports::adopted(&["10.50.0.0/24"]).await;
        let port = crate::ports::port(&world, &made, |_| {}).await;
        let before = world.whole(port.id).await;
        let want = Want {
            ip: Some(crate::ports::ADDRESS),
            ..Want::default()
        };
        let reached = kill(&mut world, &made, verb, point, &want, |_| ()).await;
        world.two_minutes_pass().await;
        assert!(world.kuryr.settled(soon()).await);
        let when = format!("{verb:?} killed {point:?}");
        assert_eq!(world.whole(port.id).await, before, "{when}");
        assert!(world.host.plugged().is_empty(), "{when}");
        world.delete_network(&made).await;
        crate::ports::forget_theirs(&world).await;
        world.assert_nothing_left(&when).await;
        if !reached {
            break;
        }
        met += 1;
    }
    met
}

/// What the program is doing when it is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Start,
    /// Docker is killed with it, and forgets what it had not finished.
    StartForgotten,
    Stop,
}

/// Where it is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    Plugging(Trouble),
    /// At the exchange of this number: before it, or after.
    Exchange(usize, Fate),
    /// Likewise at the note of this number that is written or erased.
    Note(usize, Ink),
}

fn points() -> impl Iterator<Item = Point> {
    const FOR_EVER: Duration = Duration::from_secs(86_400);
    let plugging = [Trouble::StuckBefore, Trouble::StuckAfter].map(Point::Plugging);
    let exchanges = (0..FAR).flat_map(|number| {
        [Fate::Take(FOR_EVER), Fate::KeepReply].map(|fate| Point::Exchange(number, fate))
    });
    plugging.into_iter().chain(exchanges)
}

/// Kills the program there; false where it never comes there. What is `before` comes when all is at rest.
async fn kill(
    world: &mut World,
    made: &Made,
    verb: Verb,
    point: Point,
    want: &Want<'_>,
    before: impl FnOnce(&World),
) -> bool {
    // Also what is written in the background comes within a moment.
    const MOMENT: Duration = Duration::from_secs(5);
    let running = match verb {
        Verb::Start | Verb::StartForgotten => None,
        Verb::Stop => Some(world.run_as(made, want).await.unwrap()),
    };
    assert!(world.kuryr.settled(soon()).await);
    before(world);
    let reached = Arc::new(AtomicBool::new(false));
    match point {
        Point::Plugging(trouble) => {
            world.host.meet(Some(trouble));
            reached.store(true, Relaxed);
        }
        Point::Exchange(k, fate) => {
            let reached = Arc::clone(&reached);
            world.wire.plan(move |number, _| {
                if number == k {
                    reached.store(true, Relaxed);
                    fate
                } else {
                    Fate::Pass
                }
            });
        }
        Point::Note(k, ink) => world.die_at_note(k, ink),
    }
    let paper = world.paper.clone();
    match running {
        None => {
            let forgets = verb == Verb::StartForgotten;
            world.kill_starting(made, want, MOMENT, forgets).await;
        }
        Some(container) => world.kill_stopping(made, &container, MOMENT).await,
    }
    reached.load(Relaxed) || paper.is_dead()
}

/// As a Docker that is killed: it never learns of what was made, and can't ask to remove it.
#[tokio::test(start_paused = true)]
async fn what_a_caller_that_has_hung_up_never_learns_of_is_removed_again() {
    for (name, plan) in plans() {
        for warm in [false, true] {
            let mut world = if warm { World::warm() } else { World::new() };
            world.caller.hang_up();
            world.create_network(&plan).await.unwrap();
            world
                .assert_nothing_left(&format!("{name}: a network, warm {warm}"))
                .await;
            world.caller = Caller::default();
            let made = world.create_network(&plan).await.unwrap();
            world.caller.hang_up();
            world.run_as(&made, &Want::default()).await.unwrap_err();
            // A warm port takes its interface along.
            if !warm {
                assert_eq!(world.host.plugged(), []);
            }
            world.caller = Caller::default();
            let there = world.run(&made).await.unwrap();
            // Asked for once more, and not made by that.
            world.caller.hang_up();
            let again = new_network(&made, &plan);
            let again = world.kuryr.create_network_for(&world.caller, again, soon());
            again.await.unwrap();
            world.port_of(&there).await;
            world.stop(&made, &there).await;
            world.delete_network(&made).await;
            world
                .assert_nothing_left(&format!("{name}, warm {warm}"))
                .await;
        }
    }
}

/// Neutron's policy forbids us to remove what we have made.
#[tokio::test(start_paused = true)]
async fn a_lasting_refusal_is_tried_again_seldom_and_a_new_debt_at_once() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    world
        .wire
        .plan(|_, request| match request.method().as_str() {
            "PUT" | "DELETE" => Fate::Answer(403),
            _ => Fate::Pass,
        });
    let container = world.run(&made).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let labels = world.wire.log().len() - 1;
    assert!((2..=10).contains(&labels), "{labels} attempts in an hour");
    world.wire.plan(|_, _| Fate::Pass);
    world.stop(&made, &container).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.all::<neutron_api::Port>().await, []);
}

/// A network that an earlier attempt may have left is removed before it is made again.
#[tokio::test(start_paused = true)]
async fn an_attempt_is_not_undone_by_what_an_earlier_one_has_left() {
    let world = World::new();
    let id: kuryr_core::NetworkId = crate::world::random_id().parse().unwrap();
    let attempt = || async {
        let new = kuryr_core::NewNetwork {
            id: id.clone(),
            ranges: vec![],
            internal: false,
            options: Default::default(),
        };
        world.kuryr.create_network(new, soon()).await
    };
    world
        .wire
        .plan(|_, request| match request.method().as_str() {
            "POST" => Fate::LoseRequest,
            _ if request
                .uri()
                .query()
                .is_some_and(|q| q.contains("description=")) =>
            {
                Fate::LoseRequest
            }
            _ => Fate::Pass,
        });
    attempt().await.unwrap_err();
    world.wire.plan(|_, _| Fate::Pass);
    attempt().await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<neutron_api::Network>().await.len(), 1);
}

/// Docker asks for it again before Neutron has carried out the first request, whose connection broke.
#[tokio::test(start_paused = true)]
async fn a_network_that_comes_late_goes_although_docker_has_repeated_its_call() {
    for seconds in [1, 4, 12, 30] {
        let (world, plan) = (World::new(), dual_stack());
        let late = Fate::CarryOutLater(Duration::from_secs(seconds));
        let broken = AtomicBool::new(false);
        world.wire.plan(move |_, request| {
            let is_first = (request.method(), request.uri().path())
                == (&http::Method::POST, "/v2.0/networks")
                && !broken.swap(true, Relaxed);
            if is_first { late } else { Fate::Pass }
        });
        let made = world.create_network(&plan).await.unwrap();
        let again = new_network(&made, &plan);
        world.kuryr.create_network(again, soon()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(70)).await;
        let networks = world.all::<neutron_api::Network>().await;
        assert_eq!(networks.len(), 1, "{seconds} s later: {networks:?}");
        world.delete_network(&made).await;
        world.assert_nothing_left("after that").await;
    }
}

/// Of the requests that give a port a MAC address, one takes it from its host.
#[tokio::test(start_paused = true)]
async fn a_container_keeps_its_port_though_a_request_about_its_mac_address_comes_late() {
    for k in 0..FAR {
        let world = World::new();
        let made = world.create_network(&dual_stack()).await.unwrap();
        let late = Fate::CarryOutLater(Duration::from_secs(4));
        world
            .wire
            .plan(move |number, _| if number == k { late } else { Fate::Pass });
        let mac = "02:00:00:00:00:07".parse().unwrap();
        let container = world.run_with(&made, None, Some(mac)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(70)).await;
        let port = world.port_of(&container).await;
        assert_eq!(port.host_id.as_deref(), Some("host1"), "exchange {k}");
        assert_eq!(port.mac_address, mac, "exchange {k}");
        let end = ends_before(k, &world.wire.log());
        world.stop(&made, &container).await;
        world.delete_network(&made).await;
        world.assert_nothing_left(&format!("exchange {k}")).await;
        if end {
            break;
        }
    }
}

/// What is somebody else's is unchanged, wherever it went wrong.
#[tokio::test(start_paused = true)]
async fn an_adopted_port_is_as_before_whichever_exchange_failed() {
    for fate in [
        Fate::LoseRequest,
        Fate::LoseReply,
        Fate::CarryOutLater(Duration::from_secs(4)),
        Fate::Answer(503),
        Fate::Answer(403),
        Fate::Answer(409),
    ] {
        for k in 0..FAR {
            let (world, made) = crate::ports::adopted(&["10.50.0.0/24"]).await;
            let port = crate::ports::port(&world, &made, |_| {}).await;
            let before = world.whole(port.id).await;
            world
                .wire
                .plan(move |number, _| if number == k { fate } else { Fate::Pass });
            let started = world
                .run_with(&made, Some(crate::ports::ADDRESS), None)
                .await;
            let passing = !matches!(fate, Fate::Answer(403 | 409));
            assert!(
                started.is_ok() || !passing,
                "exchange {k} met {fate:?}: {started:?}"
            );
            if let Ok(container) = started {
                world.stop(&made, &container).await;
            }
            let in_a_while = tokio::time::Instant::now() + Duration::from_secs(7200);
            assert!(world.kuryr.settled(in_a_while).await);
            tokio::time::sleep(Duration::from_secs(70)).await;
            let log = world.wire.log();
            let when = format!("exchange {k} met {fate:?}: {log:#?}");
            assert_eq!(world.whole(port.id).await, before, "{when}");
            assert_eq!(world.all::<neutron_api::Port>().await.len(), 1, "{when}");
            assert!(world.host.plugged().is_empty(), "{when}");
            world.delete_network(&made).await;
            crate::ports::forget_theirs(&world).await;
            world.assert_nothing_left(&when).await;
            if ends_before(k, &log) {
                break;
            }
        }
    }
}

/// A network with three containers comes and goes; whether all went well. What the first one exposes is
/// waited for, what the last one does is not.
async fn story(world: &World, plan: &Plan) -> bool {
    let Ok(made) = world.create_network(plan).await else {
        return false;
    };
    let of_its_own_kind = Want {
        options: vec![
            ("neutron.port.name", "web".into()),
            ("neutron.port.port_security", "false".into()),
        ],
        ..Want::default()
    };
    let containers = [
        world.run_as(&made, &Want::exposing()).await,
        world.run_as(&made, &of_its_own_kind).await,
        world.run_as(&made, &Want::exposing()).await,
    ];
    // In which what the last one exposes is let in, or not.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let well = containers.iter().all(Result::is_ok);
    for container in containers.iter().flatten() {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    well
}

/// Whether a story had no exchange of this number.
fn ends_before(k: usize, log: &[String]) -> bool {
    assert!(k + 1 < FAR, "each exchange has its turn: {log:#?}");
    log.len() <= k
}

/// What the next container exposes is not waited for.
async fn exposes_once(world: &World, made: &Made) {
    let first = world.run_as(made, &Want::exposing()).await.unwrap();
    world.stop(made, &first).await;
    assert!(world.kuryr.settled(soon()).await);
}

fn plans() -> [(&'static str, Plan); 3] {
    let defaults = Plan {
        defaults: vec![IpVersion::V4, IpVersion::V6],
        ..Plan::default()
    };
    [
        ("subnet", subnet("10.20.0.0/24")),
        ("both families", dual_stack()),
        ("defaults", defaults),
    ]
}
