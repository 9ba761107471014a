//! Promises about how Neutron answers, whatever the object.

use http::{Method, StatusCode};
use neutron_api::{Network, NetworkChange, Port};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::{Ground, body};

/// The user and the operator see why, and can find it in Neutron's log.
pub async fn a_refusal_has_a_type_a_message_and_a_request_id(ground: Ground) {
    let path = format!("ports/{}", Uuid::new_v4());
    let reply = ground.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.fault(), "PortNotFound");
    let message = reply.body["NeutronError"]["message"].as_str();
    assert!(message.is_some_and(|message| message.ends_with("could not be found.")));
    assert!(reply.request_id.is_some_and(|id| id.starts_with("req-")));
}

/// Also where it is named in another object.
pub async fn what_does_not_exist_is_refused_by_its_kind(ground: Ground) {
    let kinds = [
        ("networks", "NetworkNotFound"),
        ("subnets", "SubnetNotFound"),
        ("subnetpools", "SubnetPoolNotFound"),
        ("ports", "PortNotFound"),
        ("security-groups", "SecurityGroupNotFound"),
    ];
    for (kind, fault) in kinds {
        let path = format!("{kind}/{}", Uuid::new_v4());
        for method in [Method::GET, Method::DELETE] {
            let reply = ground.ask(method, &path, Value::Null).await;
            assert_eq!((reply.status.as_u16(), reply.fault()), (404, fault));
        }
    }
    let port = body::<Port>(json!({"name": ground.name, "network_id": Uuid::new_v4()}));
    let reply = ground.ask(Method::POST, "ports", port).await;
    assert_eq!(
        (reply.status.as_u16(), reply.fault()),
        (404, "NetworkNotFound")
    );
}

/// So a field that an old Neutron lacks is never silently ignored.
pub async fn an_unknown_attribute_is_refused(ground: Ground) {
    let network = body::<Network>(json!({"name": ground.name, "colour": "blue"}));
    let reply = ground.ask(Method::POST, "networks", network).await;
    assert_eq!(
        (reply.status.as_u16(), reply.fault()),
        (400, "HTTPBadRequest")
    );
    let message = &reply.body["NeutronError"]["message"];
    assert_eq!(message, "Unrecognized attribute(s) 'colour'");
}

/// And no object comes of it.
pub async fn nonsense_is_refused(ground: Ground) {
    for text in ["{", "[]", r#"{"network": 1}"#] {
        let reply = ground
            .send(Method::POST, "networks", text.into(), None)
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{text}: {reply:?}");
    }
}

/// `subnet_allocation` is the one that Kuryr can't do without.
pub async fn an_unknown_extension_is_absent(ground: Ground) {
    let neutron = &ground.neutron;
    assert!(
        neutron
            .has_extension("subnet_allocation")
            .await
            .expect("a list")
    );
    assert!(
        !neutron
            .has_extension("no-such-extension")
            .await
            .expect("a list")
    );
}

/// Each change makes the revision number grow.
pub async fn every_change_is_counted(ground: Ground) {
    let network = ground.network().await;
    let change = NetworkChange {
        description: Some("changed".into()),
        ..NetworkChange::default()
    };
    let changed = ground.neutron.update(network.id, &change).await;
    let changed = changed.expect("a network");
    assert!(changed.revision_number > network.revision_number);
    ground.tag(&network, &["a"]).await;
    let tagged = ground.again(&network).await;
    assert!(tagged.revision_number > changed.revision_number);
}

/// Two daemons that change one object notice each other.
pub async fn a_request_for_another_revision_is_refused(ground: Ground) {
    let network = ground.network().await;
    let revision = ground
        .again(&network)
        .await
        .revision_number
        .expect("a revision");
    let path = format!("networks/{}", network.id);
    let change = |text: &str| body::<Network>(json!({"description": text}));
    let ours = ground
        .ask_if(Method::PUT, &path, change("ours"), Some(revision))
        .await;
    assert_eq!(ours.status, StatusCode::OK, "{ours:?}");
    for method in [Method::PUT, Method::DELETE] {
        let change = if method == Method::PUT {
            change("theirs")
        } else {
            Value::Null
        };
        let late = ground.ask_if(method, &path, change, Some(revision)).await;
        assert_eq!(late.status, StatusCode::PRECONDITION_FAILED, "{late:?}");
        assert_eq!(late.fault(), "RevisionNumberConstraintFailed");
    }
}
