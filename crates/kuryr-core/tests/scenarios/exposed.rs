//! Ports that containers expose are let in by a security group of the container's own.

use std::time::Duration;

use http::{Method, Request};
use kuryr_core::ExposedPort;
use kuryr_testkit::faulty::Fate;
use neutron_api::{NewSecurityGroup, Port, PortChange, PortId, SecurityGroup, SecurityGroupRule};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::ports::{ADDRESS, adopted, port};
use crate::world::{Container, Made, Want, World, dual_stack, soon, subnet};

#[tokio::test(start_paused = true)]
async fn exposed_ports_are_let_in_by_a_group_with_the_name_that_the_python_daemon_gives() {
    let (world, made, container) = exposing(&[(6, 80), (6, 81), (17, 53), (132, 7)]).await;
    let port = world.port_of(&container).await;
    let group = group_of(&world, port.id).await.unwrap();
    assert_eq!(group.name, format!("{}-exposed_ports", port.id));
    assert_eq!(port.security_groups.len(), 2, "and the default one");
    assert!(port.security_groups.contains(&group.id));
    let want = [
        "egress IPv4 any",
        "egress IPv6 any",
        "ingress IPv4 sctp 7-7",
        "ingress IPv4 tcp 80-81",
        "ingress IPv4 udp 53-53",
        "ingress IPv6 sctp 7-7",
        "ingress IPv6 tcp 80-81",
        "ingress IPv6 udp 53-53",
    ];
    assert_eq!(told(&group), want);
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    world.assert_nothing_left("after exposed ports").await;
}

/// What a new group allows is the cloud administrator's choice.
#[tokio::test(start_paused = true)]
async fn what_leaves_is_allowed_where_new_groups_do_not_allow_it() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let neutron = world.neutron.clone();
    // Somebody makes the group first, and empties it.
    let reserved = world.reserve(&made).await;
    let [port] = <[Port; 1]>::try_from(world.all().await).unwrap();
    let name = format!("{}-exposed_ports", port.id);
    let empty = world
        .make(&NewSecurityGroup {
            name,
            ..NewSecurityGroup::default()
        })
        .await;
    for rule in &empty.rules {
        neutron.delete::<SecurityGroupRule>(rule.id).await.unwrap();
    }
    let id = reserved.id.clone();
    world.kuryr.create_endpoint(reserved, soon()).await.unwrap();
    world
        .kuryr
        .join(&made.id, &id, &tcp(80), soon())
        .await
        .unwrap();
    let group = group_of(&world, port.id).await.unwrap();
    assert_eq!(group.id, empty.id);
    let want = [
        "egress IPv4 any",
        "egress IPv6 any",
        "ingress IPv4 tcp 80-80",
        "ingress IPv6 tcp 80-80",
    ];
    assert_eq!(told(&group), want);
}

#[tokio::test(start_paused = true)]
async fn what_a_container_exposes_is_closed_when_it_leaves() {
    let (world, made, container) = exposing(&[(6, 80)]).await;
    let before = world.port_of(&container).await;
    let left = world.kuryr.leave(&made.id, &container.id, soon());
    left.await.unwrap();
    let port = world.port_of(&container).await;
    assert_eq!(port.security_groups.len(), 1);
    assert_eq!(group_of(&world, port.id).await, None);
    let (exposed, id) = (tcp(80), &container.id);
    let joined = world.kuryr.join(&made.id, id, &exposed, soon());
    joined.await.unwrap();
    let port = world.port_of(&container).await;
    assert_eq!(port.security_groups.len(), before.security_groups.len());
}

/// The runtime may say no more than that the endpoint is to go, and to another run of the program.
#[tokio::test(start_paused = true)]
async fn what_a_container_exposes_goes_with_its_endpoint() {
    for restarted in [false, true] {
        for joined_again in [false, true] {
            for unplugged in [false, true] {
                let (mut world, made, container) = exposing(&[(6, 80)]).await;
                world.port_of(&container).await;
                if restarted {
                    world.restart();
                }
                if joined_again {
                    let joined = world.kuryr.join(&made.id, &container.id, &[], soon());
                    joined.await.unwrap();
                }
                if unplugged {
                    world.forget_plugged().await;
                }
                let deleted = world.kuryr.delete_endpoint(&made.id, &container.id, soon());
                deleted.await.unwrap();
                world.delete_network(&made).await;
                world
                    .assert_nothing_left("after DeleteEndpoint alone")
                    .await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_of_a_port_that_somebody_has_deleted_goes() {
    let (mut world, made, container) = exposing(&[(6, 80)]).await;
    let port = world.port_of(&container).await;
    world.restart();
    world.neutron.delete::<Port>(port.id).await.unwrap();
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    world
        .assert_nothing_left("after the port was deleted")
        .await;
}

#[tokio::test(start_paused = true)]
async fn exposing_twice_is_exposing_once() {
    for restarted in [false, true] {
        let (mut world, made, container) = exposing(&[(6, 80)]).await;
        let before = world.port_of(&container).await;
        if restarted {
            world.restart();
        }
        for _ in 0..2 {
            let (network, id) = (&made.id, &container.id);
            world
                .kuryr
                .expose(network, id, &tcp(80), soon())
                .await
                .unwrap();
        }
        let after = world.port_of(&container).await;
        assert_eq!(after.security_groups, before.security_groups);
        assert_eq!(world.all::<SecurityGroup>().await.len(), 2);
    }
}

/// Python defect 26: it read a list, changed it and wrote it back, whoever changed it meanwhile.
#[tokio::test(start_paused = true)]
async fn a_group_that_the_user_adds_meanwhile_stays() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let reserved = world.reserve(&made).await;
    let id = reserved.id.clone();
    world.kuryr.create_endpoint(reserved, soon()).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let [port] = <[Port; 1]>::try_from(world.all().await).unwrap();
    let theirs = world
        .make(&NewSecurityGroup {
            name: "theirs".into(),
            ..NewSecurityGroup::default()
        })
        .await;
    // Between our reading and our writing.
    let neutron = world.neutron.clone();
    let (count, path) = (
        std::sync::atomic::AtomicUsize::new(0),
        format!("/v2.0/ports/{}", port.id),
    );
    let all = vec![port.security_groups[0], theirs.id];
    world.wire.plan(move |_, request| {
        let writes = request.method() == Method::PUT && request.uri().path() == path;
        if writes && count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            let (neutron, all) = (neutron.clone(), all.clone());
            TaskTracker::new().spawn(async move {
                let change = PortChange {
                    security_groups: Some(all),
                    ..PortChange::default()
                };
                neutron.update(port.id, &change).await.unwrap();
            });
            return Fate::LoseRequest;
        }
        Fate::Pass
    });
    world
        .kuryr
        .join(&made.id, &id, &tcp(80), soon())
        .await
        .unwrap();
    let now = world.neutron.find::<Port>(port.id).await.unwrap().unwrap();
    assert!(now.security_groups.contains(&theirs.id));
    assert_eq!(now.security_groups.len(), 3);
    world.kuryr.leave(&made.id, &id, soon()).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let now = world.neutron.find::<Port>(port.id).await.unwrap().unwrap();
    assert_eq!(now.security_groups.len(), 2);
}

/// OpenStack Zun's tests want just one security group on its ports, although images expose ports.
#[tokio::test(start_paused = true)]
async fn an_adopted_port_keeps_its_groups_whatever_the_container_exposes() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let want = Want {
        ip: Some(ADDRESS),
        exposed: tcp(80),
        ..Want::default()
    };
    world.run_as(&made, &want).await.unwrap();
    let now = world.neutron.find::<Port>(port.id).await.unwrap().unwrap();
    assert_eq!(now.security_groups, port.security_groups);
    assert_eq!(group_of(&world, port.id).await, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_opened_where_it_is_switched_off_or_where_all_is_open() {
    for (switched_off, open) in [(true, false), (false, true)] {
        let mut world = World::new();
        world.restart_with(|settings| settings.opens_exposed_ports = !switched_off);
        let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
        let security = (!open).to_string();
        let want = Want {
            options: vec![("neutron.port.port_security", security)],
            exposed: tcp(80),
            ..Want::default()
        };
        let container = world.run_as(&made, &want).await.unwrap();
        let port = world.port_of(&container).await;
        assert_eq!(group_of(&world, port.id).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_whose_ports_can_not_be_opened_does_not_start_and_says_why() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    refuse_groups(&world);
    let want = Want::exposing();
    let error = world.run_as(&made, &want).await.unwrap_err().to_string();
    assert!(error.contains("process_external_connectivity"), "{error}");
    world.wire.plan(|_, _| Fate::Pass);
    world.delete_network(&made).await;
    world.assert_nothing_left("after a refused group").await;
}

#[tokio::test(start_paused = true)]
async fn after_the_first_no_container_waits_until_what_it_exposes_is_let_in() {
    let (world, made, first) = exposing(&[(6, 80)]).await;
    let reserved = created(&world, &made).await;
    world.wire.plan(|_, _| Fate::LoseRequest);
    let before = Instant::now();
    joins(&world, &made, &reserved, &tcp(81)).await;
    assert_eq!(Instant::now(), before);
    sleep(seconds(30)).await;
    world.wire.plan(|_, _| Fate::Pass);
    let group = own_group(&world, &reserved).await;
    assert!(told(&group).contains(&"ingress IPv4 tcp 81-81".to_owned()));
    for container in [&first, &reserved] {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after exposed ports").await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_program_lets_in_what_the_earlier_one_has_noted() {
    for (left, joined_again, later) in [
        (false, false, 0),
        (false, true, 0),
        (true, false, 0),
        (true, false, 1),
    ] {
        let (mut world, made, first) = exposing(&[(6, 80)]).await;
        let reserved = created(&world, &made).await;
        world.wire.plan(|_, _| Fate::LoseRequest);
        joins(&world, &made, &reserved, &tcp(80)).await;
        sleep(seconds(1)).await;
        world.kill();
        // By then the runtime asks again.
        world.wire.plan(|_, request| match makes_a_group(request) {
            true => Fate::Take(seconds(2)),
            false => Fate::Pass,
        });
        sleep(seconds(later)).await;
        if joined_again {
            joins(&world, &made, &reserved, &tcp(80)).await;
        }
        if left {
            let id = &reserved.id;
            let left = world.kuryr.leave(&made.id, id, soon());
            left.await.unwrap();
            let deleted = world.kuryr.delete_endpoint(&made.id, id, soon());
            deleted.await.unwrap();
        } else {
            let port = world.port_of(&reserved).await;
            let group = group_of(&world, port.id).await.unwrap();
            assert_eq!(port.security_groups.len(), 2);
            assert!(port.security_groups.contains(&group.id));
        }
        for container in [&first, &reserved] {
            world.stop(&made, container).await;
        }
        world.delete_network(&made).await;
        world.assert_nothing_left("after a restart").await;
    }
}

/// It can't be told to the container that has started already: but to the next one.
#[tokio::test(start_paused = true)]
async fn what_was_refused_in_the_background_is_told_to_the_next_and_tried_until_it_is_granted() {
    let (world, made, _) = exposing(&[(6, 80)]).await;
    refuse_groups(&world);
    let want = Want::exposing();
    let unlucky = world.run_as(&made, &want).await.unwrap();
    // Longer than what others use is waited for.
    sleep(seconds(600)).await;
    let error = world.run_as(&made, &want).await.unwrap_err().to_string();
    assert!(error.contains("process_external_connectivity"), "{error}");
    world.wire.plan(|_, _| Fate::Pass);
    sleep(seconds(61)).await;
    own_group(&world, &unlucky).await;
    let next = created(&world, &made).await;
    world.wire.plan(|_, _| Fate::LoseRequest);
    let (before, exposed) = (Instant::now(), tcp(80));
    let joined = world.kuryr.join(&made.id, &next.id, &exposed, soon());
    joined.await.unwrap();
    assert_eq!(Instant::now(), before, "Neutron is trusted again");
}

/// Switched off is what helps where a quota is used up.
#[tokio::test(start_paused = true)]
async fn what_is_still_to_be_let_in_is_not_where_it_was_switched_off() {
    let (mut world, made, _) = exposing(&[(6, 80)]).await;
    let container = created(&world, &made).await;
    refuse_groups(&world);
    joins(&world, &made, &container, &tcp(80)).await;
    sleep(seconds(10)).await;
    assert!(
        world.kuryr.finished(soon()).await,
        "a stop waits for the rest"
    );
    assert!(!world.kuryr.settled(soon()).await);
    world.restart_with(|settings| settings.opens_exposed_ports = false);
    world.wire.plan(|_, _| Fate::Pass);
    let port = world.port_of(&container).await;
    assert_eq!(group_of(&world, port.id).await, None);
    assert_eq!(world.notes(), [""; 0]);
}

/// Neutron takes its time over each step of letting in what a container exposes, and the container is gone
/// meanwhile: its port is nobody's until all is closed.
#[tokio::test(start_paused = true)]
async fn what_is_let_in_late_is_not_let_in_for_the_next_container_on_the_port() {
    // Whether the container waits, and how long making a group takes, and putting a port into it.
    for (waits, making, putting) in [(false, 8, 2), (false, 0, 8), (true, 8, 2), (true, 0, 8)] {
        let (making, putting) = (seconds(making), seconds(putting));
        let mut world = World::warm();
        let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
        let want = Want::exposing();
        let first = world.run_as(&made, &want).await.unwrap();
        world.stop(&made, &first).await;
        sleep(seconds(5)).await;
        if waits {
            world.restart();
            // Warm ports that were there before wait for a minute.
            let other = world.run(&made).await.unwrap();
            world.stop(&made, &other).await;
            sleep(seconds(70)).await;
        }
        world
            .wire
            .plan(move |_, request| match puts_into_groups(request) {
                true => Fate::Take(putting),
                false if makes_a_group(request) => Fate::Take(making),
                false => Fate::Pass,
            });
        let gone = world.reserve(&made).await;
        let (id, addresses) = (gone.id.clone(), gone.addresses.clone());
        world.kuryr.create_endpoint(gone, soon()).await.unwrap();
        let kuryr = world.kuryr.clone();
        let (network, joins) = (made.id.clone(), id.clone());
        let join = async move { kuryr.join(&network, &joins, &tcp(80), soon()).await };
        let joined = TaskTracker::new().spawn(join);
        sleep(seconds(1)).await;
        assert_eq!(joined.is_finished(), !waits);
        world.stop_endpoint(&made, &id, &addresses).await;
        // More than are warm.
        sleep(seconds(5)).await;
        let mut others = Vec::new();
        for _ in 0..6 {
            others.push(world.run(&made).await.unwrap());
        }
        let theirs: Vec<_> = others
            .iter()
            .map(|other| other.addresses[0].addr())
            .collect();
        for tenth in 0..300 {
            for port in world.all::<Port>().await {
                let mut ips = port.fixed_ips.iter();
                let is_theirs = ips.any(|ip| theirs.contains(&ip.ip_address));
                assert!(
                    !is_theirs || port.security_groups.len() == 1,
                    "{waits}, {making:?}, {putting:?}, after {tenth} tenths: {port:?}"
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
        for other in &others {
            world.stop(&made, other).await;
        }
        world.delete_network(&made).await;
        world
            .assert_nothing_left("after what was let in late")
            .await;
    }
}

/// Neutron makes a group of which nobody hears, and another one is asked for: one is left.
#[tokio::test(start_paused = true)]
async fn of_groups_that_were_asked_for_again_one_stays() {
    for fate in [
        Fate::LoseReply,
        Fate::CarryOutLater(seconds(4)),
        Fate::CarryOutLater(seconds(30)),
    ] {
        for waits in [true, false] {
            let (mut world, made, _) = exposing(&[(6, 80)]).await;
            if waits {
                world.restart();
            }
            let lost = std::sync::atomic::AtomicBool::new(false);
            world.wire.plan(move |_, request| {
                let first = makes_a_group(request)
                    && !lost.swap(true, std::sync::atomic::Ordering::Relaxed);
                if first { fate } else { Fate::Pass }
            });
            let want = Want::exposing();
            let container = world.run_as(&made, &want).await.unwrap();
            sleep(seconds(120)).await;
            let port = world.port_of(&container).await;
            let name = format!("{}-exposed_ports", port.id);
            let mut groups = world.all::<SecurityGroup>().await;
            groups.retain(|group| group.name == name);
            let [group] = &groups[..] else {
                panic!("{fate:?}, waits {waits}: {groups:?}");
            };
            assert!(port.security_groups.contains(&group.id), "{fate:?}");
            world.stop(&made, &container).await;
        }
    }
}

/// Not even by whoever looks for what nobody uses, while Neutron allows one step and not the next.
#[tokio::test(start_paused = true)]
async fn what_is_still_to_be_let_in_is_given_up_by_nobody() {
    let (world, made, _) = exposing(&[(6, 80)]).await;
    world
        .wire
        .plan(|_, request| match puts_into_groups(request) {
            true => Fate::Answer(409),
            false => Fate::Pass,
        });
    let container = created(&world, &made).await;
    joins(&world, &made, &container, &tcp(80)).await;
    world.take_all();
    sleep(seconds(1)).await;
    let groups = world.all::<SecurityGroup>().await;
    assert_eq!(groups.len(), 3);
    world.two_minutes_pass().await;
    assert_eq!(world.all::<SecurityGroup>().await, groups);
    world.wire.plan(|_, _| Fate::Pass);
    sleep(seconds(61)).await;
    own_group(&world, &container).await;
}

/// The runtime may say no more than that the endpoint is to go.
#[tokio::test(start_paused = true)]
async fn a_port_whose_group_is_refused_comes_back_for_the_next_container() {
    let world = World::warm();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let want = Want::exposing();
    let first = world.run_as(&made, &want).await.unwrap();
    world.stop(&made, &first).await;
    sleep(seconds(5)).await;
    refuse_groups(&world);
    let container = world.run_as(&made, &want).await.unwrap();
    let port = world.port_at(&container).await.id;
    sleep(seconds(10)).await;
    let deleted = world.kuryr.delete_endpoint(&made.id, &container.id, soon());
    deleted.await.unwrap();
    let released =
        world
            .kuryr
            .release_address(&made.pools[0].id, container.addresses[0].addr(), soon());
    released.await.unwrap();
    sleep(seconds(30)).await;
    let port = world.neutron.find::<Port>(port).await.unwrap().unwrap();
    assert!(port.name.starts_with("kuryr-pool-port"), "{}", port.name);
    assert_eq!(world.notes(), [""; 0], "nothing is owed");
    world.delete_network(&made).await;
    world.assert_nothing_left("after a refused group").await;
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

async fn joins(world: &World, made: &Made, container: &Container, exposed: &[ExposedPort]) {
    let joined = world.kuryr.join(&made.id, &container.id, exposed, soon());
    joined.await.unwrap();
}

/// The group of what a container exposes, which its port is in.
async fn own_group(world: &World, container: &Container) -> SecurityGroup {
    let port = world.port_of(container).await;
    let group = group_of(world, port.id).await.unwrap();
    assert!(port.security_groups.contains(&group.id));
    group
}

/// As where the quota is used up.
fn refuse_groups(world: &World) {
    world.wire.plan(|_, request| match makes_a_group(request) {
        true => Fate::Answer(409),
        false => Fate::Pass,
    });
}

fn puts_into_groups(request: &Request<bytes::Bytes>) -> bool {
    let body = String::from_utf8_lossy(request.body());
    request.method() == Method::PUT && body.contains("security_groups")
}

fn makes_a_group(request: &Request<bytes::Bytes>) -> bool {
    request.method() == Method::POST && request.uri().path() == "/v2.0/security-groups"
}

/// A container that is about to join its network, and whose port Neutron knows.
async fn created(world: &World, made: &Made) -> Container {
    let reserved = world.reserve(made).await;
    let (id, addresses) = (reserved.id.clone(), reserved.addresses.clone());
    let interface = world.kuryr.create_endpoint(reserved, soon()).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    Container {
        id,
        addresses,
        interface,
    }
}

/// A dual-stack container that exposes these ports.
async fn exposing(ports: &[(u8, u16)]) -> (World, Made, Container) {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let port = |(protocol, port): &(u8, u16)| ExposedPort {
        protocol: *protocol,
        port: *port,
    };
    let want = Want {
        exposed: ports.iter().map(port).collect(),
        ..Want::default()
    };
    let container = world.run_as(&made, &want).await.unwrap();
    (world, made, container)
}

fn tcp(port: u16) -> Vec<ExposedPort> {
    vec![ExposedPort { protocol: 6, port }]
}

async fn group_of(world: &World, port: PortId) -> Option<SecurityGroup> {
    let name = format!("{port}-exposed_ports");
    let groups = world.all::<SecurityGroup>().await;
    groups.into_iter().find(|group| group.name == name)
}

fn told(group: &SecurityGroup) -> Vec<String> {
    let told = |rule: &SecurityGroupRule| {
        let protocol = rule.protocol.as_ref().map_or("any", |p| p.as_str());
        let ports = match (rule.port_range_min, rule.port_range_max) {
            (Some(min), Some(max)) => format!(" {min}-{max}"),
            _ => String::new(),
        };
        format!("{} {} {protocol}{ports}", rule.direction, rule.ethertype)
    };
    let mut told: Vec<String> = group.rules.iter().map(told).collect();
    told.sort_unstable();
    told
}
