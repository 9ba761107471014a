//! What a call comes to: success, refusal, failure, and too late.

use std::time::Duration;

use http::StatusCode;
use kuryr_libnetwork::Settings;
use kuryr_testkit::faulty::Fate;
use neutron_api::Network;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::world::World;

pub(crate) const NETWORK: &str = "2f0c5f3c5d1f4b7b9d4f9f2b1a7c3e5d2f0c5f3c5d1f4b7b9d4f9f2b1a7c3e5d";

#[tokio::test]
async fn deleting_what_is_not_there_succeeds() {
    let world = World::new();
    let endpoint = json!({"NetworkID": NETWORK, "EndpointID": "e"});
    let pool = "2f0c5f3c-5d1f-4b7b-9d4f-9f2b1a7c3e5d";
    for (path, body) in [
        ("/NetworkDriver.Leave", endpoint.clone()),
        ("/NetworkDriver.DeleteEndpoint", endpoint),
        (
            "/NetworkDriver.DeleteNetwork",
            json!({"NetworkID": NETWORK}),
        ),
        (
            "/IpamDriver.ReleaseAddress",
            json!({"PoolID": pool, "Address": "10.20.0.5"}),
        ),
        (
            "/IpamDriver.ReleaseAddress",
            json!({"PoolID": pool, "Address": ""}),
        ),
        (
            "/IpamDriver.ReleaseAddress",
            json!({"PoolID": pool, "Address": "0.0.0.0"}),
        ),
        ("/IpamDriver.ReleasePool", json!({"PoolID": pool})),
        ("/IpamDriver.ReleasePool", json!({"PoolID": "never-ours"})),
    ] {
        assert_eq!(world.ask(path, body).await, json!({}), "{path}");
    }
}

#[tokio::test]
async fn a_network_that_neutron_lacks_is_not_mistaken_for_a_method_that_we_lack() {
    let body = json!({
        "NetworkID": NETWORK, "EndpointID": "e", "Interface": {"Address": "10.20.0.5/24"},
    });
    let answer = World::new()
        .post("/NetworkDriver.CreateEndpoint", body.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.error().contains(NETWORK), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_neutron_is_told_with_its_cause() {
    let world = World::new();
    world.wire.plan(|_, _| Fate::LoseRequest);
    let answer = world
        .post("/IpamDriver.RequestPool", pool().to_string())
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.error().ends_with(": the test cut the connection"),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_neutron_that_does_not_answer_is_told_in_time() {
    let settings = Settings::default();
    let deadline = settings.call_deadline;
    let world = World::slow(settings, Duration::from_secs(3600));
    let started = Instant::now();
    let answer = world
        .post("/IpamDriver.RequestPool", pool().to_string())
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(started.elapsed() <= deadline + Duration::from_secs(2));
}

#[tokio::test]
async fn an_address_that_is_taken_is_a_conflict() {
    let world = World::new();
    let pool = network(&world).await;
    let ask = json!({"PoolID": pool, "Address": "10.20.0.77", "Options": {}});
    let given = world.ask("/IpamDriver.RequestAddress", ask.clone()).await;
    assert_eq!(given["Address"], "10.20.0.77/24");
    let body = json!({
        "NetworkID": NETWORK, "EndpointID": "e", "Interface": {"Address": "10.20.0.77/24"},
    });
    world.ask("/NetworkDriver.CreateEndpoint", body).await;
    let answer = world
        .post("/IpamDriver.RequestAddress", ask.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.error().contains("10.20.0.77"), "{answer:?}");
}

#[tokio::test]
async fn a_network_without_a_gateway_is_made_and_forgotten() {
    let world = World::new();
    let given = world.ask("/IpamDriver.RequestPool", pool()).await;
    let pool = given["PoolID"].clone();
    let gateway = json!({
        "PoolID": pool, "Address": "0.0.0.0",
        "Options": {"RequestAddressType": "com.docker.network.gateway"},
    });
    let gateway = world.ask("/IpamDriver.RequestAddress", gateway).await;
    assert_eq!(gateway["Address"], "0.0.0.0/0");
    world
        .ask("/NetworkDriver.CreateNetwork", new_network("0.0.0.0/0"))
        .await;
    let none = json!({"PoolID": pool, "Address": "0.0.0.0"});
    world.ask("/IpamDriver.ReleaseAddress", none).await;
    world
        .ask("/IpamDriver.ReleasePool", json!({"PoolID": pool}))
        .await;
    world
        .ask(
            "/NetworkDriver.DeleteNetwork",
            json!({"NetworkID": NETWORK}),
        )
        .await;
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn a_network_that_lost_its_gateway_is_told_so_in_its_own_family() {
    for (range, v6, none) in [
        ("10.20.0.0/24", false, "0.0.0.0/0"),
        ("fd20::/64", true, "::/0"),
    ] {
        let world = World::new();
        let ask = json!({"Pool": range, "SubPool": "", "Options": null, "V6": v6});
        let given = world.ask("/IpamDriver.RequestPool", ask).await;
        let data = json!([{"AddressSpace": "", "Pool": range, "Gateway": none}]);
        let (four, six) = if v6 {
            (json!([]), data)
        } else {
            (data, json!([]))
        };
        let network =
            json!({"NetworkID": NETWORK, "Options": {}, "IPv4Data": four, "IPv6Data": six});
        world.ask("/NetworkDriver.CreateNetwork", network).await;
        let gateway = json!({
            "PoolID": given["PoolID"], "Address": "",
            "Options": {"RequestAddressType": "com.docker.network.gateway"},
        });
        let gateway = world.ask("/IpamDriver.RequestAddress", gateway).await;
        assert_eq!(gateway["Address"], none);
    }
}

/// Swarm's manager passes on to the nodes what it is answered, and nothing else.
#[tokio::test]
async fn the_nodes_of_a_swarm_learn_the_users_options_and_the_network() {
    let world = World::new();
    world.ask("/IpamDriver.RequestPool", pool()).await;
    let ask = json!({
        "NetworkID": "abcdefghijklmnopqrstuvwxy", "Options": {"neutron.port.name": "front"},
        "IPv4Data": [{"AddressSpace": "", "Pool": "10.20.0.0/24", "Gateway": "10.20.0.1/24"}],
        "IPv6Data": null,
    });
    let allocated = world.ask("/NetworkDriver.AllocateNetwork", ask).await;
    let options = allocated["Options"].as_object().unwrap();
    assert_eq!(options["neutron.port.name"], "front");
    let network = options["neutron.net.uuid"].as_str().unwrap();
    network.parse::<uuid::Uuid>().expect("an identifier");
    let free = json!({"NetworkID": "abcdefghijklmnopqrstuvwxy"});
    let freed = world.ask("/NetworkDriver.FreeNetwork", free).await;
    assert_eq!(freed, json!({}));
}

#[tokio::test]
async fn a_client_that_hangs_up_cuts_no_verb_in_half() {
    let calls = TaskTracker::new();
    let settings = Settings {
        calls: calls.clone(),
        ..Settings::default()
    };
    let world = World::slow(settings, Duration::from_millis(20));
    world.ask("/IpamDriver.RequestPool", pool()).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("kuryr.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = axum::serve(listener, world.routes.clone());
    let docker = async {
        let mut client = UnixStream::connect(&socket).await.unwrap();
        let body = new_network("10.20.0.1/24").to_string();
        let head = format!(
            "POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: docker\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(body.as_bytes()).await.unwrap();
        while calls.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(world.all::<Network>().await.is_empty());
        drop(client);
        calls.close();
        calls.wait().await;
    };
    tokio::select! {
        _ = server => panic!("the server ended"),
        () = docker => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("no call was seen to its end"),
    }
    let again = world.ask("/NetworkDriver.CreateNetwork", new_network("10.20.0.1/24"));
    assert_eq!(again.await, json!({}));
    assert_eq!(world.all::<Network>().await.len(), 1);
}

/// A network with a gateway; the pool's identifier.
pub(crate) async fn network(world: &World) -> Value {
    let given = world.ask("/IpamDriver.RequestPool", pool()).await;
    assert_eq!(given["Pool"], "10.20.0.0/24");
    let gateway = json!({
        "PoolID": given["PoolID"], "Address": "",
        "Options": {"RequestAddressType": "com.docker.network.gateway"},
    });
    let gateway = world.ask("/IpamDriver.RequestAddress", gateway).await;
    assert_eq!(gateway["Address"], "10.20.0.1/24");
    world
        .ask("/NetworkDriver.CreateNetwork", new_network("10.20.0.1/24"))
        .await;
    given["PoolID"].clone()
}

fn pool() -> Value {
    json!({"AddressSpace": "", "Pool": "10.20.0.0/24", "SubPool": "", "Options": null, "V6": false})
}

fn new_network(gateway: &str) -> Value {
    let range = json!({"AddressSpace": "", "Pool": "10.20.0.0/24", "Gateway": gateway});
    json!({"NetworkID": NETWORK, "Options": {}, "IPv4Data": [range], "IPv6Data": []})
}
