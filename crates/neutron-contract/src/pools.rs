//! Promises about subnet pools.

use ipnet::IpNet;
use neutron_api::{NewSubnet, Subnet, SubnetPool};
use neutron_client::Filter;

use crate::ground::{Ground, named, refusal};

/// `docker network create` without `--subnet`.
pub async fn a_pool_gives_a_range_of_its_default_length(ground: Ground) {
    let pool = ground.pool("10.98.0.0/16").await;
    let subnet = ground.make(&from(&ground, &pool, None).await).await;
    assert_eq!(subnet.cidr.prefix_len(), 24);
    assert!(net("10.98.0.0/16").contains(&subnet.cidr));
    assert_eq!(subnet.subnetpool_id, Some(pool.id));
    assert!(subnet.gateway_ip.is_some());
}

/// `--subnet` inside a pool.
pub async fn a_pool_gives_the_range_asked_for(ground: Ground) {
    let pool = ground.pool("10.98.0.0/16").await;
    let wanted = net("10.98.77.0/25");
    let subnet = ground.make(&from(&ground, &pool, Some(wanted)).await).await;
    assert_eq!((subnet.cidr, subnet.subnetpool_id), (wanted, Some(pool.id)));
    let filter = Filter::new().with("subnetpool_id", pool.id);
    assert_eq!(ground.ids::<Subnet>(filter).await, [subnet.id.to_string()]);
}

/// So a user hears of a `--subnet` that the pool does not have.
pub async fn a_range_outside_its_pool_is_refused(ground: Ground) {
    let pool = ground.pool("10.98.0.0/16").await;
    let new = from(&ground, &pool, Some(net("10.97.0.0/24"))).await;
    assert_eq!(
        ground.refusal(&new).await,
        named(500, "SubnetAllocationError")
    );
}

/// So no two Docker networks of one pool collide, and a removed one makes room.
pub async fn a_taken_range_is_refused_and_comes_back_when_freed(ground: Ground) {
    let pool = ground.pool("10.98.0.0/16").await;
    let wanted = net("10.98.5.0/24");
    let first = ground.make(&from(&ground, &pool, Some(wanted)).await).await;
    let again = from(&ground, &pool, Some(net("10.98.5.128/25"))).await;
    assert_eq!(
        ground.refusal(&again).await,
        named(500, "SubnetAllocationError")
    );
    assert!(
        ground
            .neutron
            .delete::<Subnet>(first.id)
            .await
            .expect("gone")
    );
    assert_eq!(ground.make(&again).await.cidr, net("10.98.5.128/25"));
}

/// Whichever way the ranges are asked for.
pub async fn subnets_of_a_pool_do_not_overlap(ground: Ground) {
    let pool = ground.pool("10.98.0.0/22").await;
    let mut ranges: Vec<IpNet> = Vec::new();
    for wanted in [None, Some(net("10.98.2.0/24")), None, None] {
        let subnet = ground.make(&from(&ground, &pool, wanted).await).await;
        ranges.push(subnet.cidr);
    }
    ranges.sort_unstable();
    let all = [
        "10.98.0.0/24",
        "10.98.1.0/24",
        "10.98.2.0/24",
        "10.98.3.0/24",
    ];
    assert_eq!(ranges, all.map(net));
}

/// So a user hears of it, and the request is not repeated in vain.
pub async fn an_exhausted_pool_says_so(ground: Ground) {
    let pool = ground.pool("10.98.0.0/24").await;
    ground.make(&from(&ground, &pool, None).await).await;
    let new = from(&ground, &pool, None).await;
    assert_eq!(
        ground.refusal(&new).await,
        named(500, "SubnetAllocationError")
    );
}

/// So a pool that another host uses stays.
pub async fn a_pool_in_use_refuses_to_go(ground: Ground) {
    let pool = ground.pool("10.98.0.0/16").await;
    let subnet = ground.make(&from(&ground, &pool, None).await).await;
    let outcome = ground.neutron.delete::<SubnetPool>(pool.id).await;
    assert_eq!(refusal(outcome), named(400, "SubnetPoolDeleteError"));
    assert!(
        ground
            .neutron
            .delete::<Subnet>(subnet.id)
            .await
            .expect("gone")
    );
    assert!(
        ground
            .neutron
            .delete::<SubnetPool>(pool.id)
            .await
            .expect("gone")
    );
    assert!(
        !ground
            .neutron
            .delete::<SubnetPool>(pool.id)
            .await
            .expect("gone")
    );
}

/// A subnet of a pool, on a network of its own.
async fn from(ground: &Ground, pool: &SubnetPool, cidr: Option<IpNet>) -> NewSubnet {
    NewSubnet {
        subnetpool_id: Some(pool.id),
        cidr,
        ..ground.any_subnet(&ground.network().await)
    }
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a range")
}
