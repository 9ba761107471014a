//! Promises about binding ports to hosts.

use http::Method;
use neutron_api::{MacAddress, Network, NewPort, Port, PortChange};
use neutron_client::{Error, Filter};
use serde_json::{Value, json};

use crate::ground::{Ground, named, refusal, unique, unique_mac};

/// A reserved address costs no binding.
pub async fn a_port_without_a_host_is_unbound(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    assert_eq!(port.vif_type.as_deref(), Some("unbound"));
    assert_eq!(port.host_id.as_deref(), Some(""));
}

/// Whether it is bound when made or later.
pub async fn binding_to_a_host_says_how_to_plug(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let at_once = bound(&ground, &network).await;
    let later = ground.port(&network).await;
    let later = rebind(&ground, &later, Some(&ground.host), None).await;
    for port in [at_once, later.expect("a bound port")] {
        assert_eq!(port.vif_type.as_deref(), Some("ovs"));
        assert_eq!(port.vnic_type.as_deref(), Some("normal"));
        let details = port.vif_details.expect("details");
        assert!(details.bridge_name.is_some(), "{details:?}");
        assert!(details.datapath_type.is_some(), "{details:?}");
    }
}

/// So a wrong host name in the configuration is told to the user.
pub async fn binding_to_an_unknown_host_fails_visibly(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    new.host_id = Some(unique("no-such-host"));
    let port = ground.make(&new).await;
    assert_eq!(port.vif_type.as_deref(), Some("binding_failed"));
}

/// So what is plugged on a host can be compared with what Neutron thinks.
pub async fn ports_are_found_by_their_host(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = bound(&ground, &network).await;
    ground.port(&network).await;
    let filter = Filter::new()
        .with("binding:host_id", &ground.host)
        .with("network_id", network.id);
    assert_eq!(ground.ids::<Port>(filter).await, [port.id.to_string()]);
}

/// So a virtual function is chosen that no port on this host has, whether Neutron could bind it or not.
pub async fn a_device_that_a_port_names_is_listed_with_the_ports_of_its_host(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let new = for_device(&ground, &network, "direct");
    ground.make(&new).await;
    let filter = Filter::new()
        .with("binding:host_id", &ground.host)
        .with("network_id", network.id);
    let ports = ground.neutron.list::<Port>(&filter).await;
    let ports = ports.expect("a list");
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0].vnic_type.as_deref(), Some("direct"));
    assert_eq!(ports[0].binding_profile, new.binding_profile);
}

/// What the card is to be told: frames of a virtual function are tagged for a network with a VLAN, and not
/// for one without, which may have the whole card.
pub async fn a_device_of_a_card_is_bound_with_the_vlan_of_its_network(ground: Ground) {
    let (flat, _) = physical(&ground, "flat").await;
    let (tagged, vlan) = physical(&ground, "vlan").await;
    for (network, kind, vif_type, vlan) in [
        (&tagged, "direct", "hw_veb", &*vlan),
        (&tagged, "macvtap", "hw_veb", &*vlan),
        (&flat, "direct", "hw_veb", "0"),
        (&flat, "direct-physical", "hostdev_physical", "0"),
    ] {
        let port = ground.make(&for_device(&ground, network, kind)).await;
        assert_eq!(port.vnic_type.as_deref(), Some(kind));
        assert_eq!(port.vif_type.as_deref(), Some(vif_type), "{kind}");
        let details = &port.vif_details.as_ref().expect("details").rest;
        assert_eq!(details["vlan"], vlan, "{kind}: {details:?}");
        // No packet passes the host, so no security group does anything.
        assert_eq!(details["port_filter"], false, "{kind}: {details:?}");
        let unbound = rebind(&ground, &port, Some(""), None).await;
        let unbound = unbound.expect("an unbound port");
        assert_eq!(unbound.vif_type.as_deref(), Some("unbound"));
        assert_eq!(unbound.binding_profile, port.binding_profile);
        let again = rebind(&ground, &port, Some(&ground.host), None).await;
        let again = again.expect("a bound port");
        assert_eq!(again.vif_type.as_deref(), Some(vif_type), "{kind}");
    }
}

/// So nobody waits for a device that the host does not have.
pub async fn a_device_of_no_card_fails_visibly(ground: Ground) {
    let (elsewhere, _) = ground.network_with("10.99.0.0/24").await;
    let (tagged, _) = physical(&ground, "vlan").await;
    let port = ground
        .make(&for_device(&ground, &elsewhere, "direct"))
        .await;
    assert_eq!(port.vif_type.as_deref(), Some("binding_failed"));
    let mut new = for_device(&ground, &tagged, "direct");
    new.host_id = Some(unique("no-such-host"));
    let port = ground.make(&new).await;
    assert_eq!(port.vif_type.as_deref(), Some("binding_failed"));
}

/// A network of this type on the physical network that cards are on, and its VLAN.
async fn physical(ground: &Ground, kind: &str) -> (Network, String) {
    let new = json!({
        "name": ground.name,
        "provider:network_type": kind,
        "provider:physical_network": ground.cards,
    });
    let network = ground.made::<Network>("networks", new).await;
    ground.subnet(&network, "10.99.0.0/24").await;
    let path = format!("networks/{}?fields=provider:segmentation_id", network.id);
    let shown = ground.ask(Method::GET, &path, Value::Null).await;
    let vlan = shown.body["network"]["provider:segmentation_id"].to_string();
    (network, vlan)
}

/// What a port for a device of a card on the host would be.
fn for_device(ground: &Ground, network: &Network, kind: &str) -> NewPort {
    let profile = json!({
        "pci_slot": "0000:01:10.0",
        "pci_vendor_info": "8086:10ca",
        "physical_network": ground.cards,
    });
    NewPort {
        host_id: Some(ground.host.clone()),
        vnic_type: Some(kind.to_owned()),
        binding_profile: profile.as_object().expect("a profile").clone(),
        ..ground.new_port(network)
    }
}

/// A MAC must be known before binding.
pub async fn a_bound_port_keeps_its_mac(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = bound(&ground, &network).await;
    let outcome = rebind(&ground, &port, None, Some(unique_mac())).await;
    assert_eq!(refusal(outcome), named(409, "PortBound"));
    let outcome = rebind(&ground, &port, None, Some(port.mac_address)).await;
    assert_eq!(outcome.expect("no change").mac_address, port.mac_address);
}

/// Unbinding takes a request of its own.
pub async fn unbinding_does_not_free_the_mac_at_once(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = bound(&ground, &network).await;
    let outcome = rebind(&ground, &port, Some(""), Some(unique_mac())).await;
    assert_eq!(refusal(outcome), named(409, "PortBound"));
    assert_eq!(ground.again(&port).await.host_id, Some(ground.host));
}

/// A port that is somebody else's is used for a while, and then what it was before.
pub async fn a_port_that_is_unbound_again_is_what_it_was(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    (new.device_id, new.device_owner) = (String::new(), String::new());
    let port = ground.make(&new).await;
    let before = whole(&ground, &port).await;
    let usage = |host: &str, owner: &str, device: &str| PortChange {
        host_id: Some(host.to_owned()),
        device_owner: Some(owner.to_owned()),
        device_id: Some(device.to_owned()),
        ..PortChange::default()
    };
    let use_it = usage(&ground.host, "compute:kuryr", "device");
    let outcome = ground
        .neutron
        .update_at(port.id, &use_it, port.revision_number)
        .await;
    assert_eq!(
        outcome.expect("a bound port").vif_type.as_deref(),
        Some("ovs")
    );
    let outcome = ground
        .neutron
        .update_at(port.id, &use_it, port.revision_number)
        .await;
    assert_eq!(refusal(outcome).0, 412);
    let outcome = ground.neutron.update(port.id, &usage("", "", "")).await;
    outcome.expect("an unbound port");
    assert_eq!(whole(&ground, &port).await, before);
}

/// Two hosts may find the same unused port. Both are told that they have changed the revision that they knew; but
/// only one, that it has made the next.
pub async fn of_two_that_claim_a_port_at_once_one_makes_the_next_revision(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    (new.device_id, new.device_owner) = (String::new(), String::new());
    for _ in 0..5 {
        let port = ground.make(&new).await;
        let claim = async |device: &str| {
            let change = PortChange {
                device_owner: Some("compute:kuryr".to_owned()),
                device_id: Some(device.to_owned()),
                ..PortChange::default()
            };
            let neutron = &ground.neutron;
            let claimed = neutron
                .update_at(port.id, &change, port.revision_number)
                .await;
            claimed.map(|port| port.revision_number)
        };
        let (a, b) = tokio::join!(claim("a"), claim("b"));
        let next = port.revision_number.map(|revision| revision + 1);
        let has_it = |claimed: &&Result<_, _>| matches!(claimed, Ok(revision) if *revision == next);
        assert_eq!(
            [&a, &b].into_iter().filter(has_it).count(),
            1,
            "{a:?} {b:?}"
        );
    }
}

/// All fields but those that count and date changes.
async fn whole(ground: &Ground, port: &Port) -> Value {
    let path = format!("ports/{}", port.id);
    let mut whole = ground.ask(Method::GET, &path, Value::Null).await.body["port"].take();
    let fields = whole.as_object_mut().expect("a port");
    fields.retain(|field, _| field != "revision_number" && field != "updated_at");
    whole
}

/// One request makes a reserved port a container's.
pub async fn an_unbound_port_takes_a_mac_and_a_host_at_once(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = bound(&ground, &network).await;
    let unbound = rebind(&ground, &port, Some(""), None).await;
    let unbound = unbound.expect("an unbound port");
    assert_eq!(unbound.vif_type.as_deref(), Some("unbound"));
    let mac = unique_mac();
    let again = rebind(&ground, &port, Some(&ground.host), Some(mac)).await;
    let again = again.expect("a bound port");
    assert_eq!(again.vif_type.as_deref(), Some("ovs"));
    assert_eq!((again.mac_address, again.fixed_ips), (mac, port.fixed_ips));
}

async fn bound(ground: &Ground, network: &Network) -> Port {
    let mut new = ground.new_port(network);
    new.host_id = Some(ground.host.clone());
    ground.make(&new).await
}

async fn rebind(
    ground: &Ground,
    port: &Port,
    host: Option<&str>,
    mac_address: Option<MacAddress>,
) -> Result<Port, Error> {
    let change = PortChange {
        host_id: host.map(str::to_owned),
        mac_address,
        ..PortChange::default()
    };
    ground.neutron.update(port.id, &change).await
}
