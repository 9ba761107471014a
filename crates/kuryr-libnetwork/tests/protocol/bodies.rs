//! Bodies and paths, good and bad.

use http::{Method, StatusCode};
use kuryr_libnetwork::{Scope, Settings};
use kuryr_testkit::faulty::Fate;
use serde_json::json;

use crate::world::World;

/// Docker sends these without a body.
const WITHOUT_BODY: [&str; 4] = [
    "/Plugin.Activate",
    "/NetworkDriver.GetCapabilities",
    "/IpamDriver.GetCapabilities",
    "/IpamDriver.GetDefaultAddressSpaces",
];

const WITH_BODY: [&str; 16] = [
    "/NetworkDriver.GwAllocCheck",
    "/NetworkDriver.AllocateNetwork",
    "/NetworkDriver.FreeNetwork",
    "/NetworkDriver.CreateNetwork",
    "/NetworkDriver.DeleteNetwork",
    "/NetworkDriver.CreateEndpoint",
    "/NetworkDriver.EndpointOperInfo",
    "/NetworkDriver.DeleteEndpoint",
    "/NetworkDriver.Join",
    "/NetworkDriver.Leave",
    "/NetworkDriver.ProgramExternalConnectivity",
    "/NetworkDriver.RevokeExternalConnectivity",
    "/IpamDriver.RequestPool",
    "/IpamDriver.ReleasePool",
    "/IpamDriver.RequestAddress",
    "/IpamDriver.ReleaseAddress",
];

#[tokio::test]
async fn what_the_driver_can_is_told_while_neutron_is_away() {
    let world = World::with(Settings {
        scope: Scope::Global,
        requires_mac_address: true,
        ..Settings::default()
    });
    world.wire.plan(|_, _| Fate::LoseRequest);
    let expected = [
        json!({"Implements": ["NetworkDriver", "IpamDriver"]}),
        json!({"Scope": "global", "ConnectivityScope": "global", "GwAllocChecker": true}),
        json!({"RequiresMACAddress": true, "RequiresRequestReplay": false}),
        json!({
            "LocalDefaultAddressSpace": "no_address_space",
            "GlobalDefaultAddressSpace": "no_address_space",
        }),
    ];
    for (path, expected) in WITHOUT_BODY.into_iter().zip(expected) {
        let answer = world.post(path, "").await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, expected));
        let content_type = answer.content_type.unwrap();
        assert_eq!(content_type, "application/vnd.docker.plugins.v1.1+json");
    }
    assert!(world.wire.log().is_empty());
}

/// Python defect 24: sandboxes elsewhere, lists that are null, MAC addresses in any case, prefixes
/// of any length.
#[tokio::test]
async fn what_the_python_daemons_schemas_refused_is_taken() {
    let sandboxes = [
        "/var/run/docker/netns/0123456789ab",
        "/run/second/netns/0123456789ab",
        "/var/run/docker/netns/ingress_sbox",
        "/run/user/1000/docker/netns/x",
        "",
    ];
    for (number, sandbox) in sandboxes.into_iter().enumerate() {
        let world = World::new();
        let range = format!("10.20.0.0/{}", 29 - number);
        let ask = json!({"AddressSpace": null, "Pool": range, "SubPool": null, "Options": null});
        let pool = world.ask("/IpamDriver.RequestPool", ask).await;
        assert_eq!(pool["Pool"], range);
        let network = crate::outcomes::NETWORK;
        let ask = json!({
            "NetworkID": network, "Options": null, "IPv6Data": null,
            "IPv4Data": [{"AddressSpace": "", "Pool": range, "AuxAddresses": null}],
        });
        world.ask("/NetworkDriver.CreateNetwork", ask).await;
        let ask = json!({"PoolID": pool["PoolID"], "Address": "", "Options": null});
        let given = world.ask("/IpamDriver.RequestAddress", ask).await;
        let ask = json!({
            "NetworkID": network, "EndpointID": "e", "Options": null,
            "Interface": {
                "Address": given["Address"], "AddressIPv6": "", "MacAddress": "02:42:AC:1f:00:0A",
            },
        });
        let made = world.ask("/NetworkDriver.CreateEndpoint", ask).await;
        assert!(made["Interface"].is_object(), "{made}");
        let ask = json!({
            "NetworkID": network, "EndpointID": "e", "SandboxKey": sandbox, "Options": null,
        });
        let joined = world.ask("/NetworkDriver.Join", ask).await;
        assert!(joined["InterfaceName"].is_object(), "{sandbox}: {joined}");
    }
}

#[tokio::test]
async fn an_empty_body_is_answered_at_once_and_says_why() {
    let world = World::new();
    for path in WITH_BODY {
        let answer = world.post(path, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.error().contains("the body is empty"), "{answer:?}");
    }
    assert!(world.wire.log().is_empty());
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_the_verb_and_the_reason() {
    let world = World::new();
    for path in WITH_BODY {
        let (_, verb) = path.split_once('.').unwrap();
        for body in ["{", "[]", "7", "\"\"", "null", "{}}", "\u{0}"] {
            let answer = world.post(path, body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}");
            let expected = format!("{verb}: the body is not ");
            assert!(answer.error().starts_with(&expected), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_field_is_named_with_what_was_expected() {
    let world = World::new();
    for (path, body, error) in [
        (
            "/NetworkDriver.CreateEndpoint",
            json!({"NetworkID": "n", "EndpointID": "e", "Interface": {"Address": "10.1.2"}}),
            "CreateEndpoint: Interface.Address: \"10.1.2\" is not an address with a prefix length \
             (expected such as 10.20.0.5/24)",
        ),
        (
            "/NetworkDriver.Join",
            json!({"NetworkID": "n"}),
            "Join: missing field `EndpointID`",
        ),
        (
            "/NetworkDriver.Leave",
            json!({"NetworkID": "n", "EndpointID": "../e"}),
            "Leave: EndpointID: \"../e\" is not an identifier (expected 1 to 128 letters, digits, \
             '-', '_' or '.')",
        ),
        (
            "/IpamDriver.RequestPool",
            json!({"Pool": "10.20.0.0", "V6": false}),
            "RequestPool: Pool: \"10.20.0.0\" is not an address with a prefix length \
             (expected such as 10.20.0.5/24)",
        ),
        (
            "/IpamDriver.RequestAddress",
            json!({"PoolID": "p", "Address": "10.20.0.5/24"}),
            "RequestAddress: Address: \"10.20.0.5/24\" is not an address \
             (expected such as 10.20.0.5)",
        ),
        (
            "/NetworkDriver.CreateNetwork",
            json!({"NetworkID": "n", "Options": {"com.docker.network.internal": "perhaps"}}),
            "CreateNetwork: Options.com.docker.network.internal: \"perhaps\" is not true and not \
             false",
        ),
    ] {
        let answer = world.post(path, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.error(), error);
    }
}

#[tokio::test]
async fn only_what_dockers_protocols_lack_is_answered_with_404() {
    let world = World::new();
    for path in [
        "/",
        "/NetworkDriver.Frobnicate",
        "/networkdriver.join",
        "/NetworkDriver.Join/",
        "/VolumeDriver.List",
    ] {
        let answer = world.post(path, "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.error(), "no such method");
    }
    for path in WITHOUT_BODY.into_iter().chain(WITH_BODY) {
        let body = json!({"NetworkID": "n", "EndpointID": "e", "PoolID": "p", "Address": ""});
        for body in ["{}".to_owned(), body.to_string()] {
            let answer = world.post(path, body).await;
            assert_ne!(answer.status, StatusCode::NOT_FOUND, "{path}: {answer:?}");
        }
        let answer = world.send(Method::GET, path, "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn what_has_nothing_to_do_with_neutron_succeeds_without_it() {
    let world = World::new();
    world.wire.plan(|_, _| Fate::LoseRequest);
    let endpoint = json!({
        "NetworkID": "n", "EndpointID": "e",
        "Options": {"com.docker.network.portmap": null, "com.docker.network.endpoint.exposedports": []},
    });
    for verb in ["ProgramExternalConnectivity", "RevokeExternalConnectivity"] {
        let path = format!("/NetworkDriver.{verb}");
        let answer = world.ask(&path, endpoint.clone());
        assert_eq!(answer.await, json!({}), "{verb}");
    }
    let node = json!({"DiscoveryType": 1, "DiscoveryData": {"Address": "10.0.0.1", "Self": true}});
    for verb in ["DiscoverNew", "DiscoverDelete"] {
        let path = format!("/NetworkDriver.{verb}");
        let answer = world.ask(&path, node.clone());
        assert_eq!(answer.await, json!({}), "{verb}");
    }
    let internal = json!({"Options": {"com.docker.network.internal": true}});
    assert_eq!(
        world.ask("/NetworkDriver.GwAllocCheck", internal).await,
        json!({"SkipIPv4": true, "SkipIPv6": true})
    );
}
