//! What a crash between two of Docker's calls leaves is found, and nothing else is taken for it.

use std::time::Duration;

use kuryr_core::{BETWEEN_LOOKS, ExposedPort, Orphan, Reason};
use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble;
use kuryr_vif::Plug;
use neutron_api::{Network, NewPort, NewSecurityGroup, Port, PortChange, PortId, SecurityGroup};

use crate::world::{Container, Made, World, dual_stack, soon};

impl World {
    /// The reasons that one look gives, sorted.
    pub(crate) async fn reasons(&self) -> Vec<String> {
        let orphans = self.kuryr.orphans(soon()).await.unwrap();
        let mut reasons: Vec<_> = orphans.iter().map(|o| o.reason().to_string()).collect();
        reasons.sort();
        reasons
    }

    /// A container that has taken its interface.
    pub(crate) async fn runs(&self, made: &Made) -> Container {
        let container = self.run(made).await.unwrap();
        self.take_all();
        container
    }

    /// Containers take all interfaces that are plugged.
    pub(crate) fn take_all(&self) {
        for vif in self.host.plugged() {
            self.host.take(&vif.attachment.host, true);
        }
    }

    /// The time in which whatever a crash has left goes by itself.
    pub(crate) async fn two_minutes_pass(&self) {
        self.passes(Duration::from_secs(120)).await;
    }

    /// So much time, in which orphans are looked for.
    pub(crate) async fn passes(&self, time: Duration) {
        let never = tokio::time::timeout(time, self.kuryr.keep_releasing_orphans()).await;
        never.expect_err("it goes on");
    }

    async fn released(&self) -> usize {
        let seen = self.kuryr.orphans(soon()).await.unwrap();
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let released = self.kuryr.release_orphans(&seen, soon()).await.unwrap();
        assert!(self.kuryr.settled(soon()).await);
        released.len()
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_reserved_before_a_crash_comes_back_within_two_minutes() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world.reserve(&made).await;
    assert_eq!(world.reasons().await, [""; 0], "an endpoint may come of it");
    world.restart();
    assert_eq!(world.reasons().await, [Reason::NotPlugged.to_string()]);
    world.two_minutes_pass().await;
    assert_eq!(world.all::<Port>().await, []);
    world.delete_network(&made).await;
    world.assert_nothing_left("after a crash").await;
}

/// What the lost request may have made is still looked for, and the port that was made is left alone by that.
#[tokio::test(start_paused = true)]
async fn an_address_whose_port_was_asked_for_twice_before_a_crash_comes_back_within_two_minutes() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world.wire.plan(|k, _| match k {
        0 => Fate::LoseRequest,
        _ => Fate::Pass,
    });
    world.reserve(&made).await;
    world.restart();
    world.two_minutes_pass().await;
    assert_eq!(world.all::<Port>().await, []);
    world.delete_network(&made).await;
    world.assert_nothing_left("after a crash").await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_a_killed_runtime_has_forgotten_comes_back_within_two_minutes() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let story = async {
        // Long after the first look.
        tokio::time::sleep(Duration::from_secs(200)).await;
        let forgotten = world.reserve(&made).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        // One that is only slow.
        let slow = world.reserve(&made).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.kuryr.create_endpoint(slow, soon()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let ports = world.all::<Port>().await;
        assert_eq!(ports.len(), 1, "{ports:?}");
        // Should its runtime come back to it, there is another port.
        let late = world.kuryr.create_endpoint(forgotten, soon()).await;
        late.expect("an endpoint");
    };
    tokio::select! {
        () = story => {}
        never = world.kuryr.keep_releasing_orphans() => never,
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_with_an_address_that_a_killed_runtime_has_forgotten_is_removed_at_once() {
    for restarted in [false, true] {
        let mut world = World::new();
        let made = world.create_network(&dual_stack()).await.unwrap();
        world.reserve(&made).await;
        if restarted {
            world.restart();
        }
        world.kuryr.delete_network(&made.id, soon()).await.unwrap();
        assert_eq!(world.all::<Network>().await, []);
        world.assert_nothing_left("after its removal").await;
    }
}

/// One after the other: none waits for what is known of another.
#[tokio::test(start_paused = true)]
async fn addresses_that_are_forgotten_again_and_again_come_back_within_two_minutes() {
    for apart in [1, 6, 12, 30, 44] {
        let world = World::new();
        let made = world.create_network(&dual_stack()).await.unwrap();
        let story = async {
            tokio::time::sleep(Duration::from_secs(200)).await;
            for _ in 0..3 {
                world.reserve(&made).await;
                tokio::time::sleep(Duration::from_secs(apart)).await;
            }
            tokio::time::sleep(Duration::from_secs(120 - apart)).await;
            assert_eq!(world.all::<Port>().await, [], "{apart} s apart");
        };
        tokio::select! {
            () = story => {}
            never = world.kuryr.keep_releasing_orphans() => never,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_a_killed_runtime_has_forgotten_goes_within_two_minutes() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let story = async {
        // Long after the first look.
        tokio::time::sleep(Duration::from_secs(200)).await;
        let (forgotten, slow) = (world.reserve(&made).await, world.reserve(&made).await);
        let (lost, id) = (forgotten.id.clone(), slow.id.clone());
        for new in [forgotten, slow] {
            world.kuryr.create_endpoint(new, soon()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(40)).await;
        world.kuryr.join(&made.id, &id, &[], soon()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(80)).await;
        let ports = world.all::<Port>().await;
        let left: Vec<_> = ports.iter().map(|port| port.device_id.as_str()).collect();
        assert_eq!(left, [id.as_str()]);
        assert_eq!(world.host.plugged().len(), 1);
        // It is not given to a runtime that comes back after all.
        world
            .kuryr
            .join(&made.id, &lost, &[], soon())
            .await
            .unwrap_err();
    };
    tokio::select! {
        () = story => {}
        never = world.kuryr.keep_releasing_orphans() => never,
    }
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_no_container_took_before_a_crash_goes_with_its_port() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.reasons().await, [""; 0], "it is just being started");
    world.restart();
    let end = world.host.plugged()[0].attachment.container.clone();
    assert_eq!(world.reasons().await, [Reason::NotTaken(end).to_string()]);
    assert_eq!(world.released().await, 1);
    assert!(world.host.plugged().is_empty());
    assert_eq!(world.all::<Port>().await, []);
    // Docker may know of it after all, and is not hindered.
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    world.assert_nothing_left("after a crash").await;
}

#[tokio::test(start_paused = true)]
async fn a_running_container_is_no_orphan_whatever_was_lost() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.runs(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    world.restart();
    assert_eq!(world.reasons().await, [""; 0]);
    // Open vSwitch's database is lost, the interface is there.
    world.forget_plugged().await;
    assert_eq!(world.reasons().await, [""; 0]);
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    world.assert_nothing_left("after all").await;
}

#[tokio::test(start_paused = true)]
async fn ports_of_others_are_no_orphans() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let elsewhere = world.beside("host2");
    elsewhere.reserve(&made).await;
    let network = world.all::<Port>().await[0].network_id;
    let port = |host: &str, owner: &str, name: &str| NewPort {
        network_id: Some(network),
        host_id: Some(host.to_owned()),
        device_owner: owner.to_owned(),
        name: name.to_owned(),
        ..NewPort::default()
    };
    for new in [
        port("host1", "compute:nova", "kuryr-unbound-port"),
        port("host1", "compute:kuryr", "somebody's"),
        port("", "compute:kuryr", "kuryr-unbound-port"),
    ] {
        world.make(&new).await;
    }
    assert_eq!(world.reasons().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_touched_between_two_looks_stays() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world.reserve(&made).await;
    world.restart();
    let seen = world.kuryr.orphans(soon()).await.unwrap();
    let change = PortChange {
        name: Some("kuryr-unbound-port".to_owned()),
        admin_state_up: Some(false),
        ..PortChange::default()
    };
    let [Orphan::Port { port, .. }] = &seen[..] else {
        panic!("{seen:?}");
    };
    world.neutron.update(port.id, &change).await.unwrap();
    let released = world.kuryr.release_orphans(&seen, soon()).await.unwrap();
    assert_eq!(released.len(), 0);
    assert_eq!(world.released().await, 1, "it is one all the same");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_twenty_go_at_a_time() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    for _ in 0..25 {
        world.reserve(&made).await;
    }
    world.restart();
    assert_eq!(world.released().await, 20);
    assert_eq!(world.released().await, 5);
}

#[tokio::test(start_paused = true)]
async fn an_interface_whose_port_somebody_removed_goes_once_no_container_has_it() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.runs(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    let port = world.port_of(&container).await.id;
    world.neutron.delete::<Port>(port).await.unwrap();
    world.restart();
    assert_eq!(
        world.reasons().await,
        [""; 0],
        "the container is still there"
    );
    let host = world.host.plugged()[0].attachment.host.clone();
    world.host.take(&host, false);
    let reason = Reason::NoPort(port.to_string());
    assert_eq!(world.reasons().await, [reason.to_string()]);
    assert_eq!(world.released().await, 1);
    assert!(world.host.plugged().is_empty());
    world.delete_network(&made).await;
    world
        .assert_nothing_left("after a port that somebody removed")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_could_not_be_unplugged_goes_within_two_minutes() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let story = async {
        // Long after the first look.
        tokio::time::sleep(Duration::from_secs(200)).await;
        let container = world.run(&made).await.unwrap();
        world.host.meet(Some(Trouble::Refusal));
        world.stop(&made, &container).await;
        assert_eq!(world.host.plugged().len(), 1);
        world.host.meet(None);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(world.host.plugged(), []);
    };
    tokio::select! {
        () = story => {}
        never = world.kuryr.keep_releasing_orphans() => never,
    }
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_is_not_for_a_container_stays() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world.runs(&made).await;
    let mut other = world.host.plugged()[0].clone();
    other.attachment.owner = "pool".to_owned();
    other.attachment.interface_id = "00000000-0000-4000-8000-000000000001".to_owned();
    other.attachment.host = "tap-other".parse().unwrap();
    world.host.plug(&other, soon()).await.unwrap();
    assert_eq!(world.reasons().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_security_group_of_exposed_ports_goes_where_its_port_is_gone_or_not_in_it() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.runs(&made).await;
    let there = world.port_of(&container).await.id;
    let aside = world.port_of(&world.runs(&made).await).await.id;
    let id = |last: u8| -> PortId {
        let id = format!("00000000-0000-4000-8000-0000000000{last:02}");
        id.parse().unwrap()
    };
    let gone = id(1);
    let group = |port: PortId, description: String| NewSecurityGroup {
        name: format!("{port}-exposed_ports"),
        description,
    };
    let pythons = "Docker exposed ports created by Kuryr.".to_owned();
    for new in [
        group(gone, format!("what container port {gone} exposes")),
        group(id(2), pythons.clone()),
        group(aside, format!("what container port {aside} exposes")),
        // Those that stay.
        group(there, pythons),
        group(id(3), "somebody's".to_owned()),
    ] {
        world.make(&new).await;
    }
    let exposing = world.runs(&made).await;
    let of_it = [ExposedPort {
        protocol: 6,
        port: 80,
    }];
    let expose = world.kuryr.expose(&made.id, &exposing.id, &of_it, soon());
    expose.await.unwrap();
    assert_eq!(world.released().await, 3);
    assert_eq!(world.port_of(&exposing).await.security_groups.len(), 2);
    world.stop(&made, &exposing).await;
    assert!(world.kuryr.settled(soon()).await);
    let mut left = world.all::<SecurityGroup>().await;
    left.retain(|group| group.name.ends_with("-exposed_ports"));
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.iter()
            .any(|group| group.name.contains(&there.to_string()))
    );
    assert_eq!(world.released().await, 0);
}

/// dockerd strikes an endpoint out before it asks to delete it.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_a_killed_runtime_has_left_and_not_deleted_goes_within_two_minutes() {
    for warm in [false, true] {
        let world = if warm { World::warm() } else { World::new() };
        let made = world.create_network(&dual_stack()).await.unwrap();
        let container = world.runs(&made).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        world
            .kuryr
            .leave(&made.id, &container.id, soon())
            .await
            .unwrap();
        for vif in world.host.plugged() {
            world.host.take(&vif.attachment.host, false);
        }
        world.two_minutes_pass().await;
        let filter = neutron_client::Filter::new().with("device_id", &container.id);
        let left = world.neutron.list::<Port>(&filter).await.unwrap();
        assert_eq!(left, [], "warm {warm}");
        world.delete_network(&made).await;
        world.assert_nothing_left("left and not deleted").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_of_an_earlier_run_that_a_killed_runtime_has_left_goes_within_two_minutes() {
    let mut world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.runs(&made).await;
    world.restart();
    let story = async {
        // Long after the first look.
        tokio::time::sleep(Duration::from_secs(200)).await;
        let leave = world.kuryr.leave(&made.id, &container.id, soon());
        leave.await.unwrap();
        for vif in world.host.plugged() {
            world.host.take(&vif.attachment.host, false);
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(world.all::<Port>().await, []);
        assert!(world.host.plugged().is_empty());
    };
    tokio::select! {
        () = story => {}
        never = world.kuryr.keep_releasing_orphans() => never,
    }
}
