//! Ports of the host that lead to containers.

use kuryr_core::{Kind, PublishedPort, Transport};

use crate::world::{World, soon, subnet};

fn tcp(host_port: u16) -> PublishedPort {
    PublishedPort {
        transport: Transport::Tcp,
        host_ip: None,
        host_port,
        host_port_end: host_port,
        container_port: 80,
    }
}

#[tokio::test(start_paused = true)]
async fn published_ports_are_those_that_were_asked_for_last() {
    let mut world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await.id.to_string();
    for ports in [vec![tcp(8080), tcp(8081)], vec![tcp(8081)]] {
        let asked = world.kuryr.publish(&made.id, &container.id, &ports, soon());
        asked.await.unwrap();
        assert_eq!(world.host.published(&port), ports);
    }
    // Also by a program that has been started since.
    world.restart();
    let asked = world.kuryr.publish(&made.id, &container.id, &[], soon());
    asked.await.unwrap();
    assert_eq!(world.host.published(&port), []);
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_is_a_conflict_that_names_who_has_it() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let (one, other) = (
        world.run(&made).await.unwrap(),
        world.run(&made).await.unwrap(),
    );
    let publish = async |id| {
        let ports = [tcp(8080)];
        world.kuryr.publish(&made.id, id, &ports, soon()).await
    };
    publish(&one.id).await.unwrap();
    publish(&one.id).await.unwrap();
    let error = publish(&other.id).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    let user = world.port_of(&one).await.id.to_string();
    assert!(
        cause.contains("8080/tcp") && cause.contains(&user),
        "{cause}"
    );
}
