//! Exchange k with Neutron fails, for every k and in every way: what Docker then asks for works,
//! and when all is removed nothing is left.

use std::time::Duration;

use kuryr_core::IpVersion;
use kuryr_testkit::faulty::Fate;

use crate::world::{Plan, World, dual_stack, subnet};

/// More exchanges than any of the stories below has.
const FAR: usize = 60;

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
                let (end, log) = (world.wire.log().len() <= k, world.wire.log());
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
                if log.len() <= k {
                    break;
                }
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
            if log.len() <= k {
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
                let end = world.wire.log().len() <= k;
                world.assert_nothing_left(&when).await;
                if end {
                    break;
                }
            }
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
        world.kuryr.create_network(new, crate::world::soon()).await
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
    assert!(world.kuryr.settled(crate::world::soon()).await);
    assert_eq!(world.all::<neutron_api::Network>().await.len(), 1);
}

/// A network with two containers comes and goes; whether all went well.
async fn story(world: &World, plan: &Plan) -> bool {
    let Ok(made) = world.create_network(plan).await else {
        return false;
    };
    let containers = [world.run(&made).await, world.run(&made).await];
    let well = containers.iter().all(Result::is_ok);
    for container in containers.iter().flatten() {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    well
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
