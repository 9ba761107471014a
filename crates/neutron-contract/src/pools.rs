//! Promises about subnet pools.

use http::Method;
use ipnet::IpNet;
use neutron_api::{NewSubnet, Subnet, SubnetPool};
use neutron_client::Filter;
use serde_json::json;

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

/// A pool that is full gets more room, and loses what is not used.
pub async fn a_pools_prefixes_grow_and_shrink(ground: Ground) {
    let pool = ground.pool("10.98.0.0/24").await;
    ground.make(&from(&ground, &pool, None).await).await;
    let path = |verb: &str| format!("subnetpools/{}/{verb}_prefixes", pool.id);
    let body = |prefix: &str| json!({"prefixes": [prefix]});
    let more = ground
        .ask(Method::PUT, &path("add"), body("10.98.1.0/24"))
        .await;
    assert_eq!(more.body["prefixes"], json!(["10.98.0.0/23"]), "{more:?}");
    let subnet = ground.make(&from(&ground, &pool, None).await).await;
    assert_eq!(subnet.cidr, net("10.98.1.0/24"));
    let used = ground
        .ask(Method::PUT, &path("remove"), body("10.98.1.0/25"))
        .await;
    let outcome = (used.status.as_u16(), used.fault());
    assert_eq!(outcome, (400, "IllegalSubnetPoolPrefixUpdate"));
    ground
        .neutron
        .delete::<Subnet>(subnet.id)
        .await
        .expect("gone");
    let less = ground
        .ask(Method::PUT, &path("remove"), body("10.98.1.128/25"))
        .await;
    let left = json!(["10.98.0.0/24", "10.98.1.0/25"]);
    assert_eq!(less.body["prefixes"], left, "{less:?}");
    assert_eq!(ground.again(&pool).await.prefixes.len(), 2);
}

/// `default_quota` is in addresses.
pub async fn a_pool_gives_a_project_no_more_than_its_quota(ground: Ground) {
    let new = json!({
        "name": ground.name, "prefixes": ["10.98.0.0/16"], "default_prefixlen": 24,
        "default_quota": 384,
    });
    let pool: SubnetPool = ground.made("subnetpools", new).await;
    ground.make(&from(&ground, &pool, None).await).await;
    let new = from(&ground, &pool, None).await;
    assert_eq!(
        ground.refusal(&new).await,
        named(409, "SubnetPoolQuotaExceeded")
    );
    let half = from(&ground, &pool, Some(net("10.98.9.0/25"))).await;
    ground.make(&half).await;
}

/// `--use-default-subnet-pool`.
pub async fn a_subnet_can_be_of_the_default_pool(ground: Ground) {
    let filter = Filter::new().with("is_default", true).with("ip_version", 4);
    let pools = ground
        .neutron
        .list::<SubnetPool>(&filter)
        .await
        .expect("a list");
    assert_eq!(pools.len(), 1, "{pools:?}");
    let network = ground.network().await;
    let new = json!({
        "name": ground.name, "network_id": network.id, "ip_version": 4,
        "use_default_subnetpool": true,
    });
    let subnet: Subnet = ground.made("subnets", new).await;
    assert_eq!(subnet.subnetpool_id, Some(pools[0].id));
}

/// So ranges of one network never meet those of another of the same pool.
pub async fn subnets_of_a_network_are_of_one_pool(ground: Ground) {
    let pool = ground.pool("10.98.0.0/16").await;
    let new = from(&ground, &pool, None).await;
    ground.make(&new).await;
    let of_none = NewSubnet {
        subnetpool_id: None,
        cidr: Some(net("10.99.0.0/24")),
        ..new
    };
    let refusal = ground.refusal(&of_none).await;
    assert_eq!(refusal, named(400, "NetworkSubnetPoolAffinityError"));
}

/// So nothing half right comes of a slip.
pub async fn what_a_pool_cannot_be_is_refused(ground: Ground) {
    let like = json!({"name": ground.name, "prefixes": ["10.98.0.0/16"]});
    let bounds = "IllegalSubnetPoolPrefixBounds";
    let refusals = [
        (json!({"prefixes": []}), 400, "EmptySubnetPoolPrefixList"),
        (json!({"prefixes": ["nonsense"]}), 400, "HTTPBadRequest"),
        (
            json!({"prefixes": ["10.98.0.0/16", "fd00:98::/48"]}),
            400,
            "PrefixVersionMismatch",
        ),
        (json!({"default_prefixlen": 33}), 400, bounds),
        (
            json!({"default_prefixlen": 20, "min_prefixlen": 24}),
            400,
            bounds,
        ),
        (
            json!({"min_prefixlen": 28, "max_prefixlen": 24}),
            400,
            bounds,
        ),
        (json!({"is_default": true}), 400, "InvalidInput"),
        (
            json!({"address_scope_id": uuid::Uuid::new_v4()}),
            404,
            "AddressScopeNotFound",
        ),
    ];
    ground
        .refused::<SubnetPool>("subnetpools", &like, &refusals)
        .await;
    let new = json!({"name": ground.name, "prefixes": ["10.98.0.0/16"], "max_prefixlen": 28});
    let pool: SubnetPool = ground.made("subnetpools", new).await;
    let network = ground.network().await;
    let like = json!({
        "name": ground.name, "network_id": network.id, "ip_version": 4, "subnetpool_id": pool.id,
    });
    let pools = json!([{"start": "10.98.0.5", "end": "10.98.0.9"}]);
    let refusals = [
        (
            json!({"prefixlen": 7}),
            400,
            "MinPrefixSubnetAllocationError",
        ),
        (
            json!({"prefixlen": 29}),
            400,
            "MaxPrefixSubnetAllocationError",
        ),
        (json!({"ip_version": 6}), 400, "BadRequest"),
        (json!({"allocation_pools": pools}), 400, "BadRequest"),
        (json!({"use_default_subnetpool": true}), 400, "BadRequest"),
        (
            json!({"subnetpool_id": uuid::Uuid::new_v4()}),
            404,
            "SubnetPoolNotFound",
        ),
        (json!({"subnetpool_id": null}), 400, "BadRequest"),
    ];
    ground.refused::<Subnet>("subnets", &like, &refusals).await;
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
