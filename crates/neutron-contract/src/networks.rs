//! Promises about networks.

use http::Method;
use neutron_api::{Network, Port, ProviderNetwork, Subnet};
use neutron_client::Filter;
use serde_json::json;

use crate::ground::{Ground, body, named, refusal};

/// So a create whose reply was lost can be found.
pub async fn a_network_is_found_by_its_name_at_once(ground: Ground) {
    let network = ground.network().await;
    let found = ground.ids::<Network>(Filter::new()).await;
    assert_eq!(found, [network.id.to_string()]);
}

/// It goes to the container's interface.
pub async fn a_network_has_an_mtu(ground: Ground) {
    let mtu = ground.network().await.mtu.expect("an MTU");
    assert!((1280..=9216).contains(&mtu), "{mtu}");
}

/// So a card is chosen that is on it: where it is on no physical network, there is none.
pub async fn a_network_says_what_it_is_on(ground: Ground) {
    let network = ground.network().await;
    let found = ground.neutron.find::<ProviderNetwork>(network.id).await;
    let found = found.expect("an answer").expect("a network");
    assert_eq!(found.network_type.as_deref(), Some("geneve"));
    assert_eq!(found.physical_network, None);
}

/// So Docker can't remove a network that another host uses.
pub async fn a_network_with_ports_refuses_to_go(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    let outcome = ground.neutron.delete::<Network>(network.id).await;
    assert_eq!(refusal(outcome), named(409, "NetworkInUse"));
    assert_eq!(ground.again(&port).await.fixed_ips, port.fixed_ips);
}

/// So removing a network is one request.
pub async fn a_network_takes_its_subnets_along(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    assert!(
        ground
            .neutron
            .delete::<Network>(network.id)
            .await
            .expect("gone")
    );
    let found = ground.neutron.find::<Subnet>(subnet.id).await;
    assert_eq!(found.expect("an answer"), None);
}

/// A repeated delete is answered as such, and nothing is left in lists.
pub async fn what_is_deleted_is_gone(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    let neutron = &ground.neutron;
    for expected in [true, false] {
        assert_eq!(
            neutron.delete::<Port>(port.id).await.expect("gone"),
            expected
        );
    }
    for expected in [true, false] {
        assert_eq!(
            neutron.delete::<Subnet>(subnet.id).await.expect("gone"),
            expected
        );
    }
    for expected in [true, false] {
        assert_eq!(
            neutron.delete::<Network>(network.id).await.expect("gone"),
            expected
        );
    }
    assert!(ground.ids::<Port>(Filter::new()).await.is_empty());
    assert!(ground.ids::<Network>(Filter::new()).await.is_empty());
}

/// So tags are always set afterwards.
pub async fn tags_in_a_post_are_refused(ground: Ground) {
    let network = body::<Network>(json!({"name": ground.name, "tags": ["a"]}));
    let reply = ground.ask(Method::POST, "networks", network).await;
    assert_eq!(
        (reply.status.as_u16(), reply.fault()),
        (400, "HTTPBadRequest")
    );
}
