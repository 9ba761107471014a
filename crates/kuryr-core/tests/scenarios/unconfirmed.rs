//! Networks that a runtime forgets, as it is killed before it notes them, go; those that it knows, or may
//! know, stay.

use std::collections::HashSet;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kuryr_core::{BETWEEN_LOOKS, Caller, NetworkId, Program, Reason, Runtime};
use neutron_api::{Network, Subnet, SubnetPool};

use crate::adopt;
use crate::paper::Ink;
use crate::world::{Made, World, dual_stack, soon, subnet};

/// Docker, as far as it says which networks it knows.
#[derive(Debug, Default)]
struct Docker {
    /// None while nobody answers.
    known: Mutex<Option<HashSet<NetworkId>>>,
    asked: Mutex<usize>,
}

impl Docker {
    fn knows<'a>(&self, networks: impl IntoIterator<Item = &'a Made>) {
        let known = networks.into_iter().map(|made| made.id.clone());
        *self.known.lock().unwrap() = Some(known.collect());
    }

    fn was_asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

#[async_trait]
impl Runtime for Docker {
    async fn networks(&self) -> io::Result<HashSet<NetworkId>> {
        *self.asked.lock().unwrap() += 1;
        let known = self.known.lock().unwrap().clone();
        known.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

/// A process of Docker's that runs until it is killed.
struct Daemon(Child);

impl Daemon {
    fn start() -> Self {
        let cat = Command::new("cat").stdin(Stdio::piped()).spawn();
        Self(cat.unwrap())
    }

    /// The one after a killed one, which calls Kuryr for whatever reason.
    fn that_calls(world: &World) -> Self {
        let daemon = Self::start();
        world.kuryr.is_called_by(&daemon.caller());
        daemon
    }

    fn caller(&self) -> Caller {
        Program::with_pid(self.0.id()).unwrap().into()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A world in which `docker` can be asked, and a process of it that makes networks.
fn with_docker() -> (World, Arc<Docker>, Daemon) {
    let (docker, daemon) = (Arc::<Docker>::default(), Daemon::start());
    let mut world = World::new();
    world.caller = daemon.caller();
    world.runtime = Some(docker.clone());
    world.restart();
    (world, docker, daemon)
}

#[tokio::test(start_paused = true)]
async fn a_network_that_a_killed_runtime_has_forgotten_goes_within_two_minutes() {
    for is_killed_too in [false, true] {
        let (mut world, docker, daemon) = with_docker();
        world.create_network(&dual_stack()).await.unwrap();
        drop(daemon);
        docker.knows([]);
        if is_killed_too {
            world.kill();
        }
        let _next = Daemon::that_calls(&world);
        assert_eq!(world.reasons().await, [Reason::Forgotten.to_string()]);
        world.two_minutes_pass().await;
        world.assert_nothing_left("after dockerd was killed").await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_made_for_a_runtime_that_had_just_ended_goes_too() {
    let (world, docker, daemon) = with_docker();
    docker.knows([]);
    drop(daemon);
    // Its connection is still open.
    world.create_network(&dual_stack()).await.unwrap();
    let _next = Daemon::that_calls(&world);
    world.two_minutes_pass().await;
    world.assert_nothing_left("after dockerd was killed").await;
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_a_runtime_that_calls_and_answers() {
    let (world, docker, daemon) = with_docker();
    let known = world.create_network(&dual_stack()).await.unwrap();
    let forgotten = subnet("10.21.0.0/24");
    world.create_network(&forgotten).await.unwrap();
    // Stopped in its tracks for long, and then killed.
    world.passes(Duration::from_secs(3600)).await;
    assert_ne!(docker.was_asked(), 0);
    drop(daemon);
    docker.knows([&known]);
    let asked = docker.was_asked();
    world.passes(Duration::from_secs(3600)).await;
    assert_eq!(docker.was_asked(), asked, "to ask might start it");
    assert_eq!(world.all::<Network>().await.len(), 2);
    let _next = Daemon::that_calls(&world);
    world.two_minutes_pass().await;
    assert_eq!(world.all::<Network>().await.len(), 1);
    world.run(&known).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_network_that_the_runtime_knows_after_it_was_killed_stays() {
    let (world, docker, daemon) = with_docker();
    let made = world.create_network(&dual_stack()).await.unwrap();
    drop(daemon);
    docker.knows([&made]);
    let _next = Daemon::that_calls(&world);
    world.two_minutes_pass().await;
    assert_eq!((docker.was_asked(), world.notes()), (1, vec![]));
    // As by another Docker: what was certain once is not asked again.
    docker.knows([]);
    world.passes(Duration::from_secs(3600)).await;
    assert_eq!(world.all::<Subnet>().await.len(), 2);
    world.delete_network(&made).await;
    world.assert_nothing_left("as ever").await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_named_between_two_looks_stays() {
    let (world, docker, daemon) = with_docker();
    let made = world.create_network(&dual_stack()).await.unwrap();
    drop(daemon);
    docker.knows([]);
    let _next = Daemon::that_calls(&world);
    let seen = world.kuryr.orphans(soon()).await.unwrap();
    assert_eq!(seen.len(), 1);
    world.run(&made).await.unwrap();
    tokio::time::sleep(BETWEEN_LOOKS).await;
    let released = world.kuryr.release_orphans(&seen, soon()).await.unwrap();
    assert_eq!(released.len(), 0);
    assert_eq!(world.all::<Subnet>().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_goes_on_or_names_the_network_again_is_believed() {
    for names_it_again in [false, true] {
        let (mut world, docker, daemon) = with_docker();
        // As another Docker would say.
        docker.knows([]);
        let made = world.create_network(&dual_stack()).await.unwrap();
        assert_eq!(world.notes().len(), 1);
        if names_it_again {
            let container = world.run(&made).await.unwrap();
            world.stop(&made, &container).await;
        } else {
            world.two_minutes_pass().await;
        }
        drop(daemon);
        for _ in ["goes on", "is killed"] {
            let _next = Daemon::that_calls(&world);
            world.two_minutes_pass().await;
            assert_eq!(world.all::<Subnet>().await.len(), 2);
            let asked = usize::from(!names_it_again);
            assert_eq!((docker.was_asked(), world.notes()), (asked, vec![]));
            world.kill();
        }
    }
}

/// Such as one that calls from another machine.
#[tokio::test(start_paused = true)]
async fn of_a_caller_that_is_not_known_nothing_is_concluded() {
    let (mut world, docker, _) = with_docker();
    docker.knows([]);
    world.caller = Caller::default();
    world.create_network(&dual_stack()).await.unwrap();
    assert_eq!(world.notes(), [""; 0]);
    world.two_minutes_pass().await;
    assert_eq!(docker.was_asked(), 0);
    assert_eq!(world.all::<Network>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_network_that_was_there_before_is_no_longer_adopted() {
    let (world, docker, daemon) = with_docker();
    let before = adopt::theirs(&world).await;
    let plan = adopt::plan("neutron.net.uuid", &before.0);
    world.create_network(&plan).await.unwrap();
    let is_marked = async |world: &World| {
        let pools = world.all::<SubnetPool>().await;
        pools.iter().any(|pool| !pool.is_default)
    };
    assert!(is_marked(&world).await);
    drop(daemon);
    docker.knows([]);
    let _next = Daemon::that_calls(&world);
    world.two_minutes_pass().await;
    assert!(world.kuryr.settled(soon()).await);
    assert!(!is_marked(&world).await);
    assert_eq!(world.all::<Network>().await, [before.0]);
    assert_eq!(world.all::<Subnet>().await, [before.1]);
    assert_eq!(world.notes(), [""; 0]);
}

/// The runtime is killed when Kuryr is, too: before and after each note that is written or erased, when the
/// network is made and when it goes.
#[tokio::test(start_paused = true)]
async fn nothing_of_it_stays_whenever_both_are_killed() {
    for ink in [Ink::DiesBefore, Ink::DiesAfter] {
        for when_it_goes in [false, true] {
            let mut number = 0;
            while killed_at(number, ink, when_it_goes).await {
                number += 1;
            }
            assert!(number > 3, "it was killed {number} times");
        }
    }
}

/// Whether there is a note of this number.
async fn killed_at(number: usize, ink: Ink, when_it_goes: bool) -> bool {
    let (mut world, docker, daemon) = with_docker();
    docker.knows([]);
    if when_it_goes {
        world.create_network(&dual_stack()).await.unwrap();
        drop(daemon);
        world.die_at_note(number, ink);
        let _next = Daemon::that_calls(&world);
        world.two_minutes_pass().await;
    } else {
        world.die_at_note(number, ink);
        let plan = dual_stack();
        let making = world.create_network(&plan);
        // Who waits for a dead program waits for ever.
        let _ = tokio::time::timeout(Duration::from_secs(60), making).await;
        drop(daemon);
    }
    let was_killed = world.paper.is_dead();
    world.kill();
    let _next = Daemon::that_calls(&world);
    world.two_minutes_pass().await;
    world
        .assert_nothing_left(&format!("{ink:?} {number}, when it goes: {when_it_goes}"))
        .await;
    was_killed
}
