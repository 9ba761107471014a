//! Promises about security groups.

use neutron_api::{
    Direction, IpVersion, Network, NewSecurityGroup, NewSecurityGroupRule, Port, PortChange,
    SecurityGroup,
};
use neutron_client::Filter;

use crate::ground::{Ground, named, refusal};

/// So what a killed daemon has left is found by the port that it was for.
pub async fn a_group_is_found_by_its_name_at_once(ground: Ground) {
    let group = group(&ground).await;
    assert_eq!(
        ground.ids::<SecurityGroup>(Filter::new()).await,
        [group.id.to_string()]
    );
}

/// What leaves must be allowed explicitly where this is not so.
pub async fn a_new_group_says_what_it_allows(ground: Ground) {
    let group = group(&ground).await;
    let again = ground.again(&group).await;
    assert_eq!(group.rules.len(), again.rules.len());
    for rule in &group.rules {
        assert_eq!(rule.security_group_id, group.id);
    }
}

/// The rules of all ports that a container exposes cost one request.
pub async fn rules_are_made_many_at_once_or_none(ground: Ground) {
    let group = group(&ground).await;
    let before = group.rules.len();
    let rules = [
        rule(&group, IpVersion::V4, "tcp", (80, 81)),
        rule(&group, IpVersion::V4, "udp", (53, 53)),
        rule(&group, IpVersion::V4, "sctp", (132, 132)),
        rule(&group, IpVersion::V6, "tcp", (80, 81)),
        rule(&group, IpVersion::V6, "sctp", (132, 132)),
    ];
    let made = ground.neutron.create_all(&rules).await.expect("rules");
    assert_eq!(made.len(), rules.len());
    assert_eq!(ground.again(&group).await.rules.len(), before + rules.len());
    let one_is_new = [
        rule(&group, IpVersion::V4, "tcp", (443, 443)),
        rule(&group, IpVersion::V4, "udp", (53, 53)),
    ];
    let outcome = ground.neutron.create_all(&one_is_new).await;
    assert_eq!(refusal(outcome), named(409, "SecurityGroupRuleExists"));
    assert_eq!(ground.again(&group).await.rules.len(), before + rules.len());
}

/// A port leaves a group before the group goes, and takes it along when it goes itself.
pub async fn a_group_in_use_refuses_to_go(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let group = group(&ground).await;
    let port = port_in(&ground, &network, &group).await;
    let outcome = ground.neutron.delete::<SecurityGroup>(group.id).await;
    assert_eq!(refusal(outcome), named(409, "SecurityGroupInUse"));
    let without = PortChange {
        security_groups: Some(
            port.security_groups
                .into_iter()
                .filter(|id| *id != group.id)
                .collect(),
        ),
        ..PortChange::default()
    };
    ground
        .neutron
        .update(port.id, &without)
        .await
        .expect("a port");
    let outcome = ground.neutron.delete::<SecurityGroup>(group.id).await;
    assert!(outcome.expect("an answer"));
}

/// No request is needed to take a port out of a group first.
pub async fn a_deleted_port_is_in_no_group(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let group = group(&ground).await;
    let port = port_in(&ground, &network, &group).await;
    ground
        .neutron
        .delete::<Port>(port.id)
        .await
        .expect("an answer");
    let outcome = ground.neutron.delete::<SecurityGroup>(group.id).await;
    assert!(outcome.expect("an answer"));
}

async fn port_in(ground: &Ground, network: &Network, group: &SecurityGroup) -> Port {
    let port = ground.port(network).await;
    let change = PortChange {
        security_groups: Some([port.security_groups.clone(), vec![group.id]].concat()),
        ..PortChange::default()
    };
    let port = ground
        .neutron
        .update(port.id, &change)
        .await
        .expect("a port");
    assert_eq!(port.security_groups.len(), 2);
    port
}

async fn group(ground: &Ground) -> SecurityGroup {
    let new = NewSecurityGroup {
        name: ground.name.clone(),
        description: "contract".to_owned(),
    };
    ground.make(&new).await
}

fn rule(
    group: &SecurityGroup,
    ethertype: IpVersion,
    protocol: &str,
    (first, last): (u16, u16),
) -> NewSecurityGroupRule {
    NewSecurityGroupRule {
        security_group_id: group.id,
        direction: Direction::Ingress,
        ethertype,
        protocol: Some(protocol.parse().expect("a protocol")),
        port_range_min: Some(first),
        port_range_max: Some(last),
        remote_ip_prefix: None,
        remote_group_id: None,
        description: String::new(),
    }
}
