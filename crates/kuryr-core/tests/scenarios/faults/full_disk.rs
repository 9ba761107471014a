//! The disk of the journal is full, and the program is killed meanwhile, at each exchange with Neutron; once
//! it is started again there is room.
//!
//! `KURYR_FAULTS=all` tries all moments at which the disk may have become full, which takes minutes.

use std::env;
use std::time::Duration;

use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble;

use super::{FAR, Point, Verb, exposes_once, kill, kill_leaving_theirs, plans};
use crate::paper::Ink;
use crate::world::{Made, Want, World, dual_stack, soon};

const MOMENT: Duration = Duration::from_secs(2);

impl World {
    /// From now on so many notes still find room, until the program is killed.
    pub(super) fn fill_disk_after(&self, held: usize) {
        self.paper.fill_reserve();
        let decide = move |note| if note < held { Ink::Holds } else { Ink::NoRoom };
        self.paper.plan(decide, || ());
    }

    /// Docker's next calls go well.
    async fn goes_on(&self, made: &Made, when: &str) {
        let next = self.run(made).await;
        let next = next.unwrap_or_else(|error| panic!("{when}: {error:?}"));
        self.stop(made, &next).await;
    }
}

/// How many notes are still written before the disk is full: none, and `usual` ones.
fn held(usual: &[usize]) -> Vec<usize> {
    match tries_all() {
        true => (0..5).collect(),
        false => [&[0], usual].concat(),
    }
}

/// Before the first exchange, and after each; before each, too, which is mostly the same.
fn fates() -> impl Iterator<Item = (usize, Fate)> {
    const FOR_EVER: Duration = Duration::from_secs(86_400);
    let all = (0..FAR).flat_map(|k| [Fate::Take(FOR_EVER), Fate::KeepReply].map(|fate| (k, fate)));
    all.filter(|(k, fate)| *k == 0 || *fate == Fate::KeepReply || tries_all())
}

/// Likewise, and around plugging.
fn points() -> impl Iterator<Item = Point> {
    let plugging = [Trouble::StuckBefore, Trouble::StuckAfter].map(Point::Plugging);
    let exchanges = fates().map(|(k, fate)| Point::Exchange(k, fate));
    plugging.into_iter().chain(exchanges)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to test is no configuration"
)]
fn tries_all() -> bool {
    env::var("KURYR_FAULTS").is_ok_and(|said| said == "all")
}

#[tokio::test(start_paused = true)]
async fn a_program_killed_on_a_full_disk_while_it_makes_a_network_leaves_nothing() {
    for (name, plan) in plans() {
        for held in held(&[1, 2]) {
            for (k, fate) in fates() {
                let mut world = World::new();
                world.fill_disk_after(held);
                world
                    .wire
                    .plan(move |number, _| if number == k { fate } else { Fate::Pass });
                let mut made = Made::nothing();
                let create = async {
                    world.set_aside(&plan, &mut made).await?;
                    world.create(&plan, &made).await
                };
                let created = tokio::time::timeout(MOMENT, create).await;
                world.kill();
                if matches!(created, Ok(Ok(()))) {
                    world.delete_network(&made).await;
                } else {
                    world.give_back(&made).await;
                }
                let when = format!("{name}: full after {held} notes, killed at {k} {fate:?}");
                world.assert_nothing_left(&when).await;
                let again = world.create_network(&plan).await;
                let again = again.unwrap_or_else(|error| panic!("{when}: {error:?}"));
                world.goes_on(&again, &when).await;
                world.delete_network(&again).await;
                world.assert_nothing_left(&when).await;
                if created.is_ok() {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_killed_on_a_full_disk_while_it_removes_a_network_leaves_nothing() {
    for (warm, knows) in [(false, true), (false, false), (true, true), (true, false)] {
        for (name, plan) in plans().into_iter().skip(usize::from(!tries_all())) {
            for held in held(&[]) {
                for (k, fate) in fates() {
                    let mut world = if warm { World::warm() } else { World::new() };
                    let made = world.create_network(&plan).await.unwrap();
                    world.goes_on(&made, name).await;
                    assert!(world.kuryr.settled(soon()).await);
                    if !knows {
                        world.kill();
                    }
                    world.fill_disk_after(held);
                    world
                        .wire
                        .plan(move |number, _| if number == k { fate } else { Fate::Pass });
                    let delete = world.kuryr.delete_network(&made.id, soon());
                    let was_killed = tokio::time::timeout(MOMENT, delete).await.is_err();
                    world.kill();
                    let when = format!(
                        "{name}, warm {warm}, knows {knows}: full after {held} notes, killed at {k} {fate:?}"
                    );
                    world.give_back(&made).await;
                    world.two_minutes_pass().await;
                    world.assert_nothing_left(&when).await;
                    if !was_killed {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_killed_on_a_full_disk_while_a_container_starts_or_stops_leaves_nothing() {
    for warm in [false, true] {
        for verb in [Verb::Start, Verb::StartForgotten, Verb::Stop] {
            for held in held(&[]) {
                let mut met = 0;
                for point in points() {
                    let mut world = if warm { World::warm() } else { World::new() };
                    let made = world.create_network(&dual_stack()).await.unwrap();
                    if warm {
                        exposes_once(&world, &made).await;
                    }
                    let full = |world: &World| world.fill_disk_after(held);
                    let reached =
                        kill(&mut world, &made, verb, point, &Want::exposing(), full).await;
                    let when =
                        format!("warm {warm}: {verb:?}, full after {held} notes, killed {point:?}");
                    world.goes_on(&made, &when).await;
                    world.two_minutes_pass().await;
                    if !warm {
                        assert_eq!(world.all::<neutron_api::Port>().await, [], "{when}");
                    }
                    world.goes_on(&made, &when).await;
                    world.delete_network(&made).await;
                    world.assert_nothing_left(&when).await;
                    if !reached {
                        break;
                    }
                    met += 1;
                }
                assert!(met > 2, "{verb:?} met {met}");
            }
        }
    }
}

/// The container has its port, and goes on; nothing else says whose it is.
#[tokio::test(start_paused = true)]
async fn neutron_knows_whose_a_port_is_though_the_program_was_killed_on_a_full_disk() {
    for warm in [false, true] {
        let mut world = if warm { World::warm() } else { World::new() };
        let made = world.create_network(&dual_stack()).await.unwrap();
        let other = world.runs(&made).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.fill_disk_after(0);
        let container = world.runs(&made).await;
        world.kill();
        world.two_minutes_pass().await;
        let port = world.port_of(&container).await;
        assert_eq!(port.name, format!("{}-port", container.id), "warm {warm}");
        for container in [&container, &other] {
            world.stop(&made, container).await;
        }
        world.delete_network(&made).await;
        let when = format!("warm {warm}: named after a full disk");
        world.assert_nothing_left(&when).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_port_is_as_before_though_the_program_was_killed_on_a_full_disk() {
    for verb in [Verb::Start, Verb::StartForgotten, Verb::Stop] {
        for held in held(&[2]) {
            for point in points() {
                let (mut world, made) = crate::ports::adopted(&["10.50.0.0/24"]).await;
                let port = crate::ports::port(&world, &made, |_| {}).await;
                let before = world.whole(port.id).await;
                let want = Want {
                    ip: Some(crate::ports::ADDRESS),
                    ..Want::default()
                };
                let full = |world: &World| world.fill_disk_after(held);
                let reached = kill(&mut world, &made, verb, point, &want, full).await;
                world.two_minutes_pass().await;
                assert!(world.kuryr.settled(soon()).await);
                let when = format!("{verb:?}, full after {held} notes, killed {point:?}");
                assert_eq!(world.whole(port.id).await, before, "{when}");
                assert!(world.host.plugged().is_empty(), "{when}");
                world.goes_on(&made, &when).await;
                world.delete_network(&made).await;
                crate::ports::forget_theirs(&world).await;
                world.assert_nothing_left(&when).await;
                if !reached {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_of_somebody_elses_stays_as_it_was_though_the_disk_was_full_and_the_program_killed()
 {
    for held in held(&[]) {
        for (k, fate) in fates() {
            if !kill_leaving_theirs(k, fate, Some(held)).await {
                break;
            }
        }
    }
}
