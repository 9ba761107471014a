//! Promises about trunks: ports by way of which others are reached, told apart by VLAN ids.

use http::Method;
use neutron_api::{Network, NewTrunk, Port, PortChange, Subport, Trunk, TrunkChange};
use neutron_client::Filter;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::{Ground, named, refusal};

/// So a guest finds the trunk of its own port.
pub async fn a_trunk_is_made_found_by_its_port_and_deleted(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (port, other) = (ground.port(&network).await, ground.port(&network).await);
    let trunk = trunk(&ground, &port, vec![]).await;
    assert_eq!((trunk.port_id, trunk.sub_ports.len()), (port.id, 0));
    assert!(trunk.admin_state_up);
    for ports in [vec![&port], vec![&other, &port]] {
        let mut filter = Filter::new();
        for port in ports {
            filter = filter.with("port_id", port.id);
        }
        let ids = ground.ids::<Trunk>(filter).await;
        assert_eq!(ids, [trunk.id.to_string()]);
    }
    let path = format!("ports/{}?fields=trunk_details", port.id);
    let shown = ground.ask(Method::GET, &path, Value::Null).await;
    let details = &shown.body["port"]["trunk_details"];
    assert_eq!(*details, json!({"trunk_id": trunk.id, "sub_ports": []}));
    assert_eq!(
        ground.neutron.delete::<Trunk>(trunk.id).await.ok(),
        Some(true)
    );
    assert_eq!(
        ground.neutron.find::<Trunk>(trunk.id).await.ok(),
        Some(None)
    );
}

/// Neutron takes the device owner away, and with it what told whose port it was.
pub async fn a_subport_is_as_its_trunk_has_it_and_then_nobodys(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (parent, port) = (ground.port(&network).await, free(&ground, &network).await);
    let trunk = trunk(&ground, &parent, vec![]).await;
    let added = ground
        .neutron
        .add_subports(trunk.id, &[Subport::tagged(port.id, 100)])
        .await;
    added.expect("a subport");
    let now = ground.again(&trunk).await;
    assert_eq!(now.sub_ports, [Subport::tagged(port.id, 100)]);
    let now = ground.again(&port).await;
    assert_eq!(now.device_owner, "trunk:subport");
    assert_eq!(now.vif_type.as_deref(), Some("ovs"));
    assert_eq!(now.host_id.as_deref(), Some(""));
    assert_eq!(now.binding_profile["tag"], 100);
    let change = PortChange {
        name: Some(ground.name.clone()),
        device_id: Some("endpoint".to_owned()),
        ..PortChange::default()
    };
    let changed = ground.neutron.update(port.id, &change).await;
    assert_eq!(changed.expect("a change").device_id, "endpoint");
    let removed = ground.neutron.remove_subports(trunk.id, &[port.id]).await;
    removed.expect("none");
    assert_eq!(ground.again(&trunk).await.sub_ports, []);
    let now = ground.again(&port).await;
    assert_eq!(now.device_owner, "");
    assert_eq!(now.device_id, "endpoint");
    assert_eq!(now.vif_type.as_deref(), Some("unbound"));
    assert!(now.binding_profile.is_empty());
}

/// A container may be on another network than its guest.
pub async fn a_subport_is_of_another_network(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (other, _) = ground.network_with("10.99.0.0/24").await;
    let (parent, port) = (ground.port(&network).await, free(&ground, &other).await);
    let trunk = trunk(&ground, &parent, vec![Subport::tagged(port.id, 4094)]).await;
    assert_eq!(trunk.sub_ports, [Subport::tagged(port.id, 4094)]);
}

/// Whoever comes second is told, and chooses another.
pub async fn a_vlan_id_is_used_once(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let parent = ground.port(&network).await;
    let (one, other) = (free(&ground, &network).await, free(&ground, &network).await);
    let trunk = trunk(&ground, &parent, vec![Subport::tagged(one.id, 7)]).await;
    let second = Subport::tagged(other.id, 7);
    let outcome = ground.neutron.add_subports(trunk.id, &[second]).await;
    assert_eq!(refusal(outcome), named(409, "DuplicateSubPort"));
    assert_eq!(ground.again(&other).await.device_owner, "compute:kuryr");
}

/// Also twice in one: so a repeated request is refused, and the trunk says why.
pub async fn a_port_is_in_one_trunk(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (parent, other) = (ground.port(&network).await, ground.port(&network).await);
    let port = free(&ground, &network).await;
    let first = trunk(&ground, &parent, vec![Subport::tagged(port.id, 7)]).await;
    let second = trunk(&ground, &other, vec![]).await;
    for trunk in [&first, &second] {
        let again = [Subport::tagged(port.id, 8)];
        let outcome = ground.neutron.add_subports(trunk.id, &again).await;
        assert_eq!(refusal(outcome), named(409, "TrunkPortInUse"));
    }
    for parent in [&parent, &other] {
        let nested = [Subport::tagged(parent.id, 9)];
        let outcome = ground.neutron.add_subports(first.id, &nested).await;
        assert_eq!(refusal(outcome), named(409, "ParentPortInUse"));
    }
    let nested = ground.refusal(&new_trunk(&ground, &port, vec![])).await;
    assert_eq!(nested, named(409, "TrunkPortInUse"));
}

/// So there is no choice of trunks.
pub async fn a_port_carries_one_trunk(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    trunk(&ground, &port, vec![]).await;
    let second = ground.refusal(&new_trunk(&ground, &port, vec![])).await;
    assert_eq!(second, named(409, "ParentPortInUse"));
}

/// A port can't say whose it is by its device before it is a subport.
pub async fn a_port_in_use_is_no_subport(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (parent, port) = (ground.port(&network).await, ground.port(&network).await);
    let trunk = trunk(&ground, &parent, vec![]).await;
    let subport = [Subport::tagged(port.id, 7)];
    let outcome = ground.neutron.add_subports(trunk.id, &subport).await;
    assert_eq!(refusal(outcome), named(409, "PortInUse"));
    let change = PortChange {
        device_id: Some(String::new()),
        ..PortChange::default()
    };
    let freed = ground.neutron.update(port.id, &change).await;
    freed.expect("a port of no device");
    let outcome = ground.neutron.add_subports(trunk.id, &subport).await;
    outcome.expect("a subport");
}

/// It must be taken off its trunk first, and a trunk that goes frees its subports.
pub async fn a_port_of_a_trunk_stays(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (parent, port) = (ground.port(&network).await, free(&ground, &network).await);
    let trunk = trunk(&ground, &parent, vec![Subport::tagged(port.id, 7)]).await;
    let outcome = ground.neutron.delete::<Port>(port.id).await;
    assert_eq!(refusal(outcome), named(409, "PortInUseAsSubPort"));
    let outcome = ground.neutron.delete::<Port>(parent.id).await;
    assert_eq!(refusal(outcome), named(409, "PortInUseAsTrunkParent"));
    let outcome = ground.neutron.delete::<Trunk>(trunk.id).await;
    outcome.expect("no trunk");
    assert_eq!(ground.again(&port).await.device_owner, "");
    for port in [&port, &parent] {
        let outcome = ground.neutron.delete::<Port>(port.id).await;
        outcome.expect("no port");
    }
}

/// A start of many containers is one request.
pub async fn subports_come_and_go_many_at_once_or_none(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let parent = ground.port(&network).await;
    let (one, other) = (free(&ground, &network).await, free(&ground, &network).await);
    let busy = ground.port(&network).await;
    let trunk = trunk(&ground, &parent, vec![]).await;
    let (one, other) = (Subport::tagged(one.id, 1), Subport::tagged(other.id, 2));
    let busy = Subport::tagged(busy.id, 3);
    let half = [one.clone(), busy.clone()];
    let outcome = ground.neutron.add_subports(trunk.id, &half).await;
    assert_eq!(refusal(outcome), named(409, "PortInUse"));
    assert_eq!(ground.again(&trunk).await.sub_ports, []);
    let both = [one.clone(), other.clone()];
    let outcome = ground.neutron.add_subports(trunk.id, &both).await;
    outcome.expect("two subports");
    let mut has = ground.again(&trunk).await.sub_ports;
    has.sort_unstable_by_key(|subport| subport.segmentation_id);
    assert_eq!(has, both);
    let half = [one.port_id, busy.port_id];
    let outcome = ground.neutron.remove_subports(trunk.id, &half).await;
    assert_eq!(refusal(outcome), named(404, "SubPortNotFound"));
    assert_eq!(ground.again(&trunk).await.sub_ports.len(), 2);
    let both = [one.port_id, other.port_id];
    let outcome = ground.neutron.remove_subports(trunk.id, &both).await;
    outcome.expect("no subports");
    assert_eq!(ground.again(&trunk).await.sub_ports, []);
}

/// With words that say which.
pub async fn what_a_subport_cannot_be_is_refused(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (parent, port) = (ground.port(&network).await, free(&ground, &network).await);
    let trunk = trunk(&ground, &parent, vec![]).await;
    let path = format!("trunks/{}/add_subports", trunk.id);
    let subport = |id: Value, kind: &str| json!({"port_id": port.id, "segmentation_id": id, "segmentation_type": kind});
    for (subports, said) in [
        (
            json!([subport(json!(0), "vlan")]),
            "Segmentation ID '0' is not in range.",
        ),
        (
            json!([subport(json!(4095), "vlan")]),
            "Segmentation ID '4095' is not in range.",
        ),
        (
            json!([subport(json!(5), "gre")]),
            "Unknown segmentation_type 'gre'.",
        ),
        (
            json!([{"port_id": port.id}]),
            "Must specify both segmentation_id and segmentation_type.",
        ),
        (json!([{}]), "A valid port UUID must be specified."),
        (json!([{"port_id": "x"}]), "Invalid UUID for subport: 'x'."),
        (
            json!([subport(json!(5), "vlan"), subport(json!(6), "vlan")]),
            "is not unique.",
        ),
    ] {
        let body = json!({"sub_ports": subports});
        let reply = ground.ask(Method::PUT, &path, body).await;
        let outcome = (reply.status.as_u16(), reply.fault());
        assert_eq!(outcome, (400, "InvalidInput"), "{subports}: {reply:?}");
        let message = reply.body["NeutronError"]["message"].as_str();
        let expected = if said == "is not unique." {
            "Non unique UUID for subport"
        } else {
            said
        };
        assert!(
            message.is_some_and(|it| it.contains(expected)),
            "{message:?}"
        );
    }
}

/// So the network of a container fits through that of its guest, or the user is told.
pub async fn a_subports_network_has_no_greater_mtu(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let small = json!({"name": ground.name, "mtu": 1280});
    let small = ground.made::<Network>("networks", small).await;
    let (parent, port) = (ground.port(&small).await, free(&ground, &network).await);
    let trunk = trunk(&ground, &parent, vec![]).await;
    let subport = [Subport::tagged(port.id, 7)];
    let outcome = ground.neutron.add_subports(trunk.id, &subport).await;
    let expected = named(409, "SubPortMtuGreaterThanTrunkPortMtu");
    assert_eq!(refusal(outcome), expected);
    let same = free(&ground, &small).await;
    let subport = [Subport::tagged(same.id, 7)];
    let outcome = ground.neutron.add_subports(trunk.id, &subport).await;
    outcome.expect("a subport");
}

/// So is a trunk taken out of service; what is owed to it must wait.
pub async fn a_disabled_trunk_keeps_its_subports(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let parent = ground.port(&network).await;
    let (one, other) = (free(&ground, &network).await, free(&ground, &network).await);
    let trunk = trunk(&ground, &parent, vec![Subport::tagged(one.id, 7)]).await;
    let enable = |admin_state_up| TrunkChange {
        admin_state_up: Some(admin_state_up),
        ..TrunkChange::default()
    };
    let changed = ground.neutron.update(trunk.id, &enable(false)).await;
    assert!(!changed.expect("a change").admin_state_up);
    let added = [Subport::tagged(other.id, 8)];
    let outcome = ground.neutron.add_subports(trunk.id, &added).await;
    assert_eq!(refusal(outcome), named(409, "TrunkDisabled"));
    let outcome = ground.neutron.remove_subports(trunk.id, &[one.id]).await;
    assert_eq!(refusal(outcome), named(409, "TrunkDisabled"));
    let changed = ground.neutron.update(trunk.id, &enable(true)).await;
    changed.expect("a change");
    let outcome = ground.neutron.remove_subports(trunk.id, &[one.id]).await;
    outcome.expect("none");
}

/// The trunk, the port, or the subport.
pub async fn what_is_gone_is_named(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let (parent, port) = (ground.port(&network).await, free(&ground, &network).await);
    let trunk = trunk(&ground, &parent, vec![]).await;
    let nowhere = Uuid::new_v4().into();
    let subport = [Subport::tagged(port.id, 7)];
    let outcome = ground.neutron.add_subports(nowhere, &subport).await;
    assert_eq!(refusal(outcome), named(404, "TrunkNotFound"));
    let outcome = ground.neutron.remove_subports(nowhere, &[port.id]).await;
    assert_eq!(refusal(outcome), named(404, "TrunkNotFound"));
    let subport = [Subport::tagged(Uuid::new_v4().into(), 7)];
    let outcome = ground.neutron.add_subports(trunk.id, &subport).await;
    assert_eq!(refusal(outcome), named(404, "PortNotFound"));
    let outcome = ground.neutron.remove_subports(trunk.id, &[port.id]).await;
    assert_eq!(refusal(outcome), named(404, "SubPortNotFound"));
}

/// So a port that is bound to no host says whose it is.
pub async fn ports_are_found_by_what_they_are_for(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let mut new = ground.new_port(&network);
    new.description = format!("for {}", ground.name);
    let port = ground.make(&new).await;
    ground.port(&network).await;
    assert_eq!(port.description, new.description);
    let filter = Filter::new().with("description", &new.description);
    assert_eq!(ground.ids::<Port>(filter).await, [port.id.to_string()]);
}

/// A port of no device.
async fn free(ground: &Ground, network: &Network) -> Port {
    let mut new = ground.new_port(network);
    new.device_id = String::new();
    ground.make(&new).await
}

fn new_trunk(ground: &Ground, port: &Port, sub_ports: Vec<Subport>) -> NewTrunk {
    NewTrunk {
        name: ground.name.clone(),
        port_id: port.id,
        sub_ports,
    }
}

async fn trunk(ground: &Ground, port: &Port, sub_ports: Vec<Subport>) -> Trunk {
    ground.make(&new_trunk(ground, port, sub_ports)).await
}
