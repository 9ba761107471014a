//! Killed before and after each note that is written into the journal or erased from it; and a disk that
//! has no room for a note.

use std::time::Duration;

use super::{FAR, Point, Verb, kill_at_each, kill_with_adopted_port_at_each, plans, story};
use crate::paper::Ink;
use crate::world::{World, soon};

const INKS: [Ink; 2] = [Ink::DiesBefore, Ink::DiesAfter];

fn notes() -> impl Iterator<Item = Point> {
    (0..FAR).flat_map(|number| INKS.map(|ink| Point::Note(number, ink)))
}

#[tokio::test(start_paused = true)]
async fn a_program_killed_at_any_note_while_it_makes_or_removes_a_network_leaves_nothing() {
    const MOMENT: Duration = Duration::from_secs(2);
    for warm in [false, true] {
        for (name, plan) in plans() {
            for verb in ["make", "remove"] {
                let mut points = 0;
                for (k, ink) in (0..FAR).flat_map(|k| INKS.map(|ink| (k, ink))) {
                    let mut world = if warm { World::warm() } else { World::new() };
                    let when = format!("{name}, warm {warm}: {verb}, note {k} {ink:?}");
                    if verb == "make" {
                        world.die_at_note(k, ink);
                        let paper = world.paper.clone();
                        world.kill_creating(&plan, MOMENT, true).await;
                        world.assert_nothing_left(&when).await;
                        if !paper.is_dead() {
                            break;
                        }
                    } else {
                        let made = world.create_network(&plan).await.unwrap();
                        let container = world.run(&made).await.unwrap();
                        world.stop(&made, &container).await;
                        assert!(world.kuryr.settled(soon()).await);
                        world.die_at_note(k, ink);
                        let paper = world.paper.clone();
                        world.kill_deleting(&made, MOMENT).await;
                        // Docker has marked the network, and removes it when it can.
                        world.delete_network(&made).await;
                        world.assert_nothing_left(&when).await;
                        if !paper.is_dead() {
                            break;
                        }
                    }
                    points += 1;
                }
                assert!(points > 2, "{name}: {verb} met {points}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_killed_at_any_note_while_a_container_starts_or_stops_leaves_nothing() {
    for warm in [false, true] {
        for verb in [Verb::Start, Verb::StartForgotten, Verb::Stop] {
            let points = kill_at_each(notes(), verb, warm).await;
            assert!(points > 2, "{verb:?} met {points}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_port_is_as_before_at_whichever_note_the_program_was_killed() {
    for verb in [Verb::Start, Verb::StartForgotten, Verb::Stop] {
        let points = kill_with_adopted_port_at_each(notes(), verb).await;
        assert!(points > 2, "{verb:?} met {points}");
    }
}

/// For one note, and for all that come in a minute.
#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_at_any_note_leaves_nothing() {
    for warm in [false, true] {
        for (name, plan) in plans() {
            for lasts in [false, true] {
                for k in 0..FAR {
                    let world = if warm { World::warm() } else { World::new() };
                    let start = tokio::time::Instant::now();
                    world.paper.plan(
                        move |number| {
                            let is_full = number == k
                                || (lasts && number > k && start.elapsed().as_secs() < 60);
                            if is_full { Ink::NoRoom } else { Ink::Holds }
                        },
                        || (),
                    );
                    let went_well = story(&world, &plan).await;
                    let when = format!("{name}, warm {warm}: full from note {k} on ({lasts})");
                    world.two_minutes_pass().await;
                    let end = world.paper.count() <= k;
                    world.assert_nothing_left(&when).await;
                    if end {
                        assert!(went_well && k > 4, "{name} met {k}");
                        break;
                    }
                }
            }
        }
    }
}

/// What is somebody else's is not used at all where it can't be noted how it was.
#[tokio::test(start_paused = true)]
async fn an_adopted_port_is_as_before_at_whichever_note_the_disk_was_full() {
    let (mut refused, mut started) = (0, 0);
    for k in 0..FAR {
        let (world, made) = crate::ports::adopted(&["10.50.0.0/24"]).await;
        let port = crate::ports::port(&world, &made, |_| {}).await;
        let before = world.whole(port.id).await;
        let is_full = move |number| if number == k { Ink::NoRoom } else { Ink::Holds };
        world.paper.plan(is_full, || ());
        match world
            .run_with(&made, Some(crate::ports::ADDRESS), None)
            .await
        {
            Ok(container) => {
                started += 1;
                world.stop(&made, &container).await;
            }
            Err(error) => {
                refused += 1;
                let error = error.to_string();
                assert!(error.contains("note"), "{error}");
            }
        }
        assert!(world.kuryr.settled(soon()).await);
        let end = world.paper.count() <= k;
        assert_eq!(world.whole(port.id).await, before, "full at note {k}");
        assert!(world.host.plugged().is_empty());
        world.delete_network(&made).await;
        crate::ports::forget_theirs(&world).await;
        world
            .assert_nothing_left(&format!("full at note {k}"))
            .await;
        if end {
            break;
        }
    }
    assert!(refused == 2 && started > 1, "{refused} and {started}");
}
