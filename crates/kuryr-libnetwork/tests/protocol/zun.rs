//! OpenStack Zun: what it has Docker ask, from its networks to its containers' ends.

use kuryr_testkit::faulty::Fate;
use neutron_api::{Network, NewPort, Port, PortChange, Subnet, WantedIp};
use neutron_client::Filter;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::outcomes::NETWORK;
use crate::world::World;

/// OpenStack Zun names network and subnet in `-o`, the subnet in `--ipam-opt`, and sends no
/// gateway where the subnet has none.
#[tokio::test]
async fn zuns_network_is_the_neutron_network_that_it_names() {
    for gateway in [None, Some("10.60.0.254")] {
        let world = World::new();
        let (network, subnet) = world.existing("10.60.0.0/24", gateway).await;
        let options = json!({
            "neutron.net.uuid": network.id, "neutron.net.shared": "False",
            "neutron.subnet.uuid": subnet.id,
        });
        let ask = json!({
            "AddressSpace": "", "Pool": "10.60.0.0/24", "SubPool": "", "V6": false,
            "Options": {"neutron.subnet.uuid": subnet.id, "neutron.net.shared": "False"},
        });
        let given = world.ask("/IpamDriver.RequestPool", ask).await;
        let ask = json!({
            "PoolID": given["PoolID"], "Address": gateway.unwrap_or(""),
            "Options": {"RequestAddressType": "com.docker.network.gateway"},
        });
        let told = world.ask("/IpamDriver.RequestAddress", ask).await;
        let want = if gateway.is_some() {
            "10.60.0.254/24"
        } else {
            "0.0.0.0/0"
        };
        assert_eq!(told["Address"], want);
        let data = json!([{"AddressSpace": "", "Pool": "10.60.0.0/24", "Gateway": want}]);
        let new = json!({
            "NetworkID": NETWORK, "IPv4Data": data, "IPv6Data": [],
            "Options": {"com.docker.network.generic": options},
        });
        world.ask("/NetworkDriver.CreateNetwork", new).await;
        assert_eq!(world.all::<Network>().await, std::slice::from_ref(&network));
        let gone = json!({"PoolID": given["PoolID"]});
        world.ask("/IpamDriver.ReleasePool", gone).await;
        let gone = json!({"NetworkID": NETWORK});
        world.ask("/NetworkDriver.DeleteNetwork", gone).await;
        assert_eq!(world.all::<Network>().await, [network]);
        assert_eq!(world.all::<Subnet>().await, [subnet]);
    }
}

/// The container's first network: Zun's port has everything already. Then it is stopped, started,
/// and rebuilt.
#[tokio::test]
async fn zuns_port_is_used_without_one_change_in_neutron() {
    let world = World::new();
    let pool = zuns_network(&world).await;
    let port = zuns_port(&world, |new| {
        new.host_id = Some("host1".into());
        new.mac_address = Some("fa:16:3e:11:22:33".parse().unwrap());
    })
    .await;
    world.wire.plan(|_, _| Fate::Pass);
    for endpoint in ["first", "second", "rebuilt"] {
        let mac = "fa:16:3e:11:22:33";
        let told = start(&world, &pool, endpoint, mac).await;
        assert_eq!(told["Interface"]["MacAddress"], "");
        assert_eq!(world.plugged(), 1);
        stop(&world, &pool, endpoint).await;
        assert_eq!(world.plugged(), 0);
    }
    settle(&world).await;
    let changes: Vec<_> = world
        .wire
        .log()
        .into_iter()
        .filter(|e| !e.starts_with("GET"))
        .collect();
    assert_eq!(changes, [""; 0]);
    assert_eq!(
        world.neutron.find::<Port>(port.id).await.unwrap(),
        Some(port)
    );
}

/// Zun's port for a further network has neither host nor, as Docker is told, a MAC address. Images
/// that expose ports change nothing: Zun's ports have just the security groups that Zun gave them.
#[tokio::test]
async fn zuns_port_of_a_further_network_is_bound_and_unbound() {
    let world = World::new();
    let pool = zuns_network(&world).await;
    let port = zuns_port(&world, |_| {}).await;
    for endpoint in ["attached", "again"] {
        let told = start(&world, &pool, endpoint, "").await;
        assert_eq!(told["Interface"]["MacAddress"], json!(port.mac_address));
        settle(&world).await;
        let during = world.neutron.find::<Port>(port.id).await.unwrap().unwrap();
        assert_eq!(during.host_id.as_deref(), Some("host1"));
        assert_eq!(
            (&during.name, &during.device_id),
            (&port.name, &port.device_id)
        );
        assert_eq!(during.security_groups, port.security_groups);
        stop(&world, &pool, endpoint).await;
        settle(&world).await;
        let after = world.neutron.find::<Port>(port.id).await.unwrap().unwrap();
        assert_eq!(
            Port {
                revision_number: port.revision_number,
                ..after
            },
            port
        );
    }
}

/// Zun has taken the port away before Docker says that the container has stopped.
#[tokio::test]
async fn a_port_that_zun_has_deleted_is_no_obstacle_to_detaching() {
    let world = World::new();
    let pool = zuns_network(&world).await;
    let port = zuns_port(&world, |_| {}).await;
    start(&world, &pool, "e", "").await;
    world.neutron.delete::<Port>(port.id).await.unwrap();
    stop(&world, &pool, "e").await;
    settle(&world).await;
    assert_eq!(world.plugged(), 0);
}

/// Zun moves a port to another host by itself; what it says now counts.
#[tokio::test]
async fn what_zun_has_made_of_its_port_meanwhile_stays() {
    let world = World::new();
    let pool = zuns_network(&world).await;
    let port = zuns_port(&world, |_| {}).await;
    start(&world, &pool, "e", "").await;
    let moved = PortChange {
        host_id: Some("host2".into()),
        device_id: Some("another".into()),
        ..PortChange::default()
    };
    world.neutron.update(port.id, &moved).await.unwrap();
    stop(&world, &pool, "e").await;
    settle(&world).await;
    let after = world.neutron.find::<Port>(port.id).await.unwrap().unwrap();
    assert_eq!(after.host_id.as_deref(), Some("host2"));
    assert_eq!(after.device_id, "another");
}

/// A network without a gateway, as Zun has Docker make it; the pool's identifier.
async fn zuns_network(world: &World) -> Value {
    let (network, subnet) = world.existing("10.60.0.0/24", None).await;
    let ask = json!({
        "AddressSpace": "", "Pool": "10.60.0.0/24", "SubPool": "", "V6": false,
        "Options": {"neutron.subnet.uuid": subnet.id, "neutron.net.shared": "False"},
    });
    let given = world.ask("/IpamDriver.RequestPool", ask).await;
    let data = json!([{"AddressSpace": "", "Pool": "10.60.0.0/24", "Gateway": null}]);
    let options = json!({
        "neutron.net.uuid": network.id, "neutron.net.shared": "False",
        "neutron.subnet.uuid": subnet.id,
    });
    let new = json!({
        "NetworkID": NETWORK, "IPv4Data": data, "IPv6Data": null,
        "Options": {"com.docker.network.generic": options},
    });
    world.ask("/NetworkDriver.CreateNetwork", new).await;
    given["PoolID"].clone()
}

async fn zuns_port(world: &World, change: impl FnOnce(&mut NewPort)) -> Port {
    let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
    let mut new = NewPort {
        name: "zun-port".into(),
        network_id: Some(subnet.network_id),
        fixed_ips: Some(vec![WantedIp {
            subnet_id: subnet.id,
            ip_address: Some("10.60.0.7".parse().unwrap()),
        }]),
        device_owner: "compute:kuryr".into(),
        device_id: "5f0e2d8e-0b7c-4bb5-9c39-3f1f6c0d8f0a".into(),
        admin_state_up: true,
        ..NewPort::default()
    };
    change(&mut new);
    world.neutron.create(&new, &Filter::new()).await.unwrap()
}

/// A container's start, with the address that Zun names; what Docker is told of the endpoint.
async fn start(world: &World, pool: &Value, endpoint: &str, mac: &str) -> Value {
    let exposed = json!([{"Proto": 6, "Port": 80}]);
    let options = json!({
        "com.docker.network.endpoint.exposedports": exposed, "com.docker.network.portmap": [],
    });
    let ask = json!({"PoolID": pool, "Address": "10.60.0.7", "Options": null});
    let given = world.ask("/IpamDriver.RequestAddress", ask).await;
    assert_eq!(given["Address"], "10.60.0.7/24");
    let interface = json!({"Address": "10.60.0.7/24", "AddressIPv6": "", "MacAddress": mac});
    let new = json!({
        "NetworkID": NETWORK, "EndpointID": endpoint, "Interface": interface, "Options": options,
    });
    let told = world.ask("/NetworkDriver.CreateEndpoint", new).await;
    let join = json!({
        "NetworkID": NETWORK, "EndpointID": endpoint, "SandboxKey": "/x", "Options": options,
    });
    let joined = world.ask("/NetworkDriver.Join", join.clone()).await;
    assert_eq!(joined["Gateway"], "");
    world
        .ask("/NetworkDriver.ProgramExternalConnectivity", join)
        .await;
    told
}

async fn stop(world: &World, pool: &Value, endpoint: &str) {
    let it = json!({"NetworkID": NETWORK, "EndpointID": endpoint});
    for verb in ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"] {
        world
            .ask(&format!("/NetworkDriver.{verb}"), it.clone())
            .await;
    }
    let address = json!({"PoolID": pool, "Address": "10.60.0.7"});
    world.ask("/IpamDriver.ReleaseAddress", address).await;
}

async fn settle(world: &World) {
    let soon = Instant::now() + std::time::Duration::from_secs(20);
    assert!(world.kuryr.settled(soon).await, "something is owed");
}
