//! The Neutron of this program's own, for this host alone.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kuryr_vif::{Host, HostRoute, HostSettings};
use neutron_agent::{Agent, AgentSettings};
use neutron_embedded::{Embedded, EmbeddedSettings, RangeInUse, RangesInUse, SharedPool};
use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;

use crate::config::{Settings, Standalone};

/// What the one host is called in its own Neutron. The machine's name may change, on a laptop by each
/// network that it joins, and its ports must stay bound.
pub(crate) const HOST: &str = "localhost";

/// Of the interface to the world, where it can't be found out.
const USUAL_MTU: u32 = 1500;

/// How long the prefix is of a network whose range comes from a default pool, in bits.
const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;

/// Opens the Neutron, or founds it.
pub(crate) fn open(settings: &Settings, standalone: &Standalone) -> anyhow::Result<Embedded> {
    let routes = Host::routes().context("could not find out which ranges this host uses")?;
    let used: Vec<IpNet> = routes.into_iter().map(|route| route.range).collect();
    let pool = |name: &str, prefix, default_prefixlen| SharedPool {
        name: name.to_owned(),
        prefix,
        default_prefixlen,
    };
    let (v4, v6) = (
        standalone.prefix_v4.unwrap_or_else(|| free_v4(&used)),
        standalone.prefix_v6.unwrap_or_else(unique_local),
    );
    let neutron = &settings.neutron;
    let embedded = EmbeddedSettings {
        pools: vec![
            pool(&neutron.default_subnetpool_v4, v4, PREFIX_V4),
            pool(&neutron.default_subnetpool_v6, v6, PREFIX_V6),
        ],
        ranges_in_use: Some(Arc::new(HostRanges)),
        ..EmbeddedSettings::standalone(host(settings), uplink_mtu())
    };
    if let Some(folder) = standalone.database.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not create {}", folder.display()))?;
    }
    Embedded::open(embedded, &standalone.database).context("[standalone] database cannot be used")
}

/// Begins to make this host follow its Neutron.
pub(crate) fn agent(
    settings: &Settings,
    neutron: &Embedded,
    tasks: &TaskTracker,
) -> anyhow::Result<Arc<Agent>> {
    let host = Arc::new(Host::open(HostSettings {
        ovsdb: None,
        ..HostSettings::default()
    })?);
    let settings = AgentSettings {
        host: self::host(settings).to_owned(),
        table: settings.listen.address.driver(),
    };
    Ok(Agent::start(neutron.clone(), host, settings, tasks))
}

/// The ranges that this host has routes for by other interfaces than our bridges.
#[derive(Debug)]
struct HostRanges;

#[async_trait]
impl RangesInUse for HostRanges {
    async fn list(&self) -> Vec<RangeInUse> {
        let routes = spawn_blocking(Host::routes).await;
        match routes {
            Ok(Ok(routes)) => routes.into_iter().filter_map(in_use).collect(),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "new ranges are not compared with this host's routes");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
}

fn in_use(route: HostRoute) -> Option<RangeInUse> {
    let HostRoute { range, interface } = route;
    let by = match interface.as_deref() {
        Some(name) if name.starts_with(OUR_BRIDGES) => return None,
        Some(name) if name == "docker0" || name.starts_with("br-") => {
            format!("a network of Docker's own (interface {name})")
        }
        Some(name) => format!("this host's route by interface {name}"),
        None => "a route of this host".to_owned(),
    };
    Some(RangeInUse { range, by })
}

/// As the bridges of the embedded Neutron's networks are called.
const OUR_BRIDGES: &str = "brq";

/// What ports are bound to.
pub(crate) fn host(settings: &Settings) -> &str {
    settings.host.as_deref().unwrap_or(HOST)
}

/// The first range of 10.0.0.0/8 that this host does not use; networks are checked one by one later.
fn free_v4(used: &[IpNet]) -> IpNet {
    let candidates = (10..=250).map(|second| {
        let start = Ipv4Addr::new(10, second, 0, 0);
        IpNet::from(Ipv4Net::new_assert(start, 16))
    });
    let mut free = candidates.filter(|range| !used.iter().any(|used| overlap(*range, *used)));
    free.next()
        .unwrap_or_else(|| Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16).into())
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// A range that nobody else has (RFC 4193): `fd`, 40 random bits, then the networks.
fn unique_local() -> IpNet {
    let random = uuid::Uuid::new_v4().into_bytes();
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&random[..5]);
    Ipv6Net::new_assert(Ipv6Addr::from(octets), 48).into()
}

/// What fits through the interface that the default route goes by.
fn uplink_mtu() -> u32 {
    let mtu = || {
        let interface = Host::default_interface().ok().flatten()?;
        let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?;
        text.trim().parse().ok()
    };
    mtu().unwrap_or(USUAL_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_chosen_that_the_host_does_not_use() {
        let used =
            |text: &[&str]| -> Vec<IpNet> { text.iter().map(|net| net.parse().unwrap()).collect() };
        assert_eq!(free_v4(&[]).to_string(), "10.10.0.0/16");
        let home = used(&["192.168.1.0/24", "10.10.3.0/24", "10.11.0.0/16", "fd00::/8"]);
        assert_eq!(free_v4(&home).to_string(), "10.12.0.0/16");
        assert_eq!(
            free_v4(&used(&["10.0.0.0/8"])).to_string(),
            "192.168.0.0/16"
        );
    }

    #[test]
    fn what_uses_a_range_is_named() {
        let used = |interface: &str| {
            let interface = Some(interface.to_owned());
            let range = "10.0.0.0/24".parse().unwrap();
            in_use(HostRoute { range, interface }).map(|used| used.by)
        };
        assert_eq!(used("brq01234567-89"), None);
        assert!(used("docker0").unwrap().contains("Docker"));
        assert!(used("eth0").unwrap().contains("interface eth0"));
    }

    #[test]
    fn unique_local_ranges_differ() {
        let (one, other) = (unique_local(), unique_local());
        assert!(matches!(one, IpNet::V6(net) if net.addr().octets()[0] == 0xfd));
        assert_ne!(one, other);
    }
}
