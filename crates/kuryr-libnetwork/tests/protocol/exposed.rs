//! Ports that a container serves, as Docker names them.

use neutron_api::{Direction, SecurityGroup};
use serde_json::{Value, json};

use crate::outcomes::{NETWORK, network};
use crate::world::World;

/// Docker names them at `CreateEndpoint`, at `Join` and at `ProgramExternalConnectivity`, each time
/// in another order, and where there are none as an empty list.
#[tokio::test]
async fn what_docker_says_is_exposed_is_let_in_once() {
    let world = World::new();
    let pool = network(&world).await;
    let lists = [
        json!([{"Proto": 6, "Port": 443}, {"Proto": 132, "Port": 132}, {"Proto": 6, "Port": 80}]),
        json!([{"Proto": 6, "Port": 80}, {"Proto": 6, "Port": 443}, {"Proto": 132, "Port": 132}]),
    ];
    let portmap = json!([{
        "Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080,
    }]);
    start(&world, &pool, "serving", &lists, &portmap).await;
    let groups = world.all::<SecurityGroup>().await;
    let group = groups
        .iter()
        .find(|group| group.name.ends_with("-exposed_ports"));
    let rules = group.expect("a group").rules.iter();
    let mut inwards: Vec<_> = rules
        .filter(|rule| rule.direction == Direction::Ingress)
        .map(|rule| {
            let protocol = rule.protocol.as_ref().map(ToString::to_string);
            (
                protocol.unwrap_or_default(),
                rule.port_range_min.unwrap_or_default(),
            )
        })
        .collect();
    inwards.sort_unstable();
    let want = [("sctp", 132), ("tcp", 80), ("tcp", 443)].map(|(p, n)| (p.to_owned(), n));
    assert_eq!(inwards, want);
    let none = [json!([]), json!([])];
    start(&world, &pool, "silent", &none, &json!([])).await;
    assert_eq!(world.all::<SecurityGroup>().await.len(), 2);
    for endpoint in ["serving", "silent"] {
        let it = json!({"NetworkID": NETWORK, "EndpointID": endpoint});
        for verb in ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"] {
            let path = format!("/NetworkDriver.{verb}");
            world.ask(&path, it.clone()).await;
        }
    }
    let gone = json!({"NetworkID": NETWORK});
    world.ask("/NetworkDriver.DeleteNetwork", gone).await;
    world.assert_nothing_left().await;
}

async fn start(world: &World, pool: &Value, id: &str, lists: &[Value; 2], portmap: &Value) {
    let ask = json!({"PoolID": pool, "Address": "", "Options": null});
    let given = world.ask("/IpamDriver.RequestAddress", ask).await;
    let options = |exposed: &Value| {
        json!({
            "com.docker.network.endpoint.exposedports": exposed,
            "com.docker.network.portmap": portmap,
        })
    };
    let interface = json!({"Address": given["Address"], "AddressIPv6": "", "MacAddress": ""});
    let new = json!({
        "NetworkID": NETWORK, "EndpointID": id, "Interface": interface,
        "Options": options(&lists[0]),
    });
    world.ask("/NetworkDriver.CreateEndpoint", new).await;
    for (verb, exposed) in [("Join", 1), ("ProgramExternalConnectivity", 0)] {
        let ask = json!({
            "NetworkID": NETWORK, "EndpointID": id, "SandboxKey": "/x",
            "Options": options(&lists[exposed]),
        });
        world.ask(&format!("/NetworkDriver.{verb}"), ask).await;
    }
}
