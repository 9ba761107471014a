//! A host with a Kuryr that takes notes of what it plugs, and Docker's calls to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ipnet::IpNet;
use kuryr_core::{
    AddressRequest, Driver, Drivers, EndpointId, Gateway, IfName, Interface, IpVersion, Journal,
    Kuryr, MacAddress, NetworkId, NewEndpoint, NewNetwork, Pool, PoolRequest, PortPoolSettings,
    Range, Settings,
};
use kuryr_testkit::notebook::Notebook;
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

use crate::ground::Ground;

pub(crate) struct Host {
    pub(crate) kuryr: Kuryr,
    pub(crate) notes: Arc<Notebook>,
    _journal: TempDir,
}

/// A Docker network on a host.
pub(crate) struct OnNetwork {
    id: NetworkId,
    pool: Pool,
    gateway: IpNet,
}

/// A container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: EndpointId,
    pub(crate) address: IpNet,
    pub(crate) interface: Interface,
}

impl Host {
    /// One whose containers are plugged in one way.
    pub(crate) fn new(ground: &Ground, name: &str, driver: Driver) -> Self {
        Self::with(ground, name, driver, |_| {})
    }

    /// A guest whose only interface has this MAC address.
    pub(crate) fn guest(ground: &Ground, name: &str, driver: Driver, mac: MacAddress) -> Self {
        Self::with(ground, name, driver, |drivers| {
            drivers.interfaces = vec![("ens3".parse().unwrap(), mac)];
        })
    }

    /// One with a card.
    pub(crate) fn with_card(ground: &Ground, name: &str, on: &str, card: &IfName) -> Self {
        Self::with(ground, name, Driver::HwVeb, |drivers| {
            drivers.cards = vec![(on.to_owned(), card.clone())];
        })
    }

    fn with(
        ground: &Ground,
        name: &str,
        driver: Driver,
        change: impl FnOnce(&mut Drivers),
    ) -> Self {
        let mut drivers = Drivers {
            default: driver,
            enabled: vec![driver],
            interfaces: vec![],
            cards: vec![],
        };
        change(&mut drivers);
        let settings = Settings {
            drivers,
            port_pool: PortPoolSettings {
                enabled: false,
                ..PortPoolSettings::default()
            },
            // No port is forwarded for: there is no switch.
            plugging_timeout: Duration::from_millis(1),
            ..Settings::usual(name)
        };
        let (notes, journal) = (Arc::new(Notebook::default()), tempfile::tempdir().unwrap());
        let neutron = ground.neutron.clone();
        let kept = Journal::open(journal.path()).unwrap();
        Self {
            kuryr: Kuryr::new(neutron, notes.clone(), None, kept, settings),
            notes,
            _journal: journal,
        }
    }

    /// `docker network create -o neutron.net.uuid=`.
    pub(crate) async fn adopt(&self, network: neutron_api::NetworkId, cidr: &str) -> OnNetwork {
        let ask = PoolRequest {
            version: IpVersion::V4,
            cidr: Some(cidr.parse().unwrap()),
            part: None,
            options: BTreeMap::new(),
        };
        let pool = self.kuryr.request_pool(ask, soon()).await.unwrap();
        let gateway = self.kuryr.reserve_gateway(&pool.id, None, soon()).await;
        let Gateway::At(gateway) = gateway.unwrap() else {
            panic!("no gateway");
        };
        let made = OnNetwork {
            id: random_id().parse().unwrap(),
            pool,
            gateway,
        };
        let uuid = ("neutron.net.uuid".to_owned(), network.to_string());
        let new = NewNetwork {
            id: made.id.clone(),
            ranges: vec![Range {
                cidr: made.pool.cidr,
                gateway: Some(gateway.addr()),
                reserved: vec![],
            }],
            internal: false,
            options: BTreeMap::from([uuid]),
        };
        self.kuryr.create_network(new, soon()).await.unwrap();
        made
    }

    /// `docker run`, with this address if it is one.
    pub(crate) async fn run(&self, on: &OnNetwork, address: Option<&str>) -> Container {
        let ask = AddressRequest {
            address: address.map(|address| address.parse().unwrap()),
            mac: None,
        };
        let address = self.kuryr.reserve_address(&on.pool.id, ask, soon()).await;
        let (id, address): (EndpointId, _) = (random_id().parse().unwrap(), told(address));
        let new = NewEndpoint {
            network: on.id.clone(),
            id: id.clone(),
            addresses: vec![address],
            mac: None,
            options: BTreeMap::new(),
        };
        let interface = told(self.kuryr.create_endpoint(new, soon()).await);
        told(self.kuryr.join(&on.id, &id, &[], soon()).await);
        Container {
            id,
            address,
            interface,
        }
    }

    /// `docker rm -f`.
    pub(crate) async fn stop(&self, on: &OnNetwork, container: &Container) {
        told(self.kuryr.leave(&on.id, &container.id, soon()).await);
        told(
            self.kuryr
                .delete_endpoint(&on.id, &container.id, soon())
                .await,
        );
        let address = container.address.addr();
        told(
            self.kuryr
                .release_address(&on.pool.id, address, soon())
                .await,
        );
    }

    /// `docker network rm`, and nothing is owed any more.
    pub(crate) async fn leave(&self, on: &OnNetwork) {
        let gateway = on.gateway.addr();
        told(
            self.kuryr
                .release_address(&on.pool.id, gateway, soon())
                .await,
        );
        told(self.kuryr.release_pool(&on.pool.id, soon()).await);
        told(self.kuryr.delete_network(&on.id, soon()).await);
        self.settle().await;
    }

    pub(crate) async fn settle(&self) {
        assert!(self.kuryr.settled(soon()).await, "something is owed");
    }
}

/// Starts `count` containers at once, in turns on these; which is where.
pub(crate) async fn start(hosts: &[(Host, OnNetwork)], turns: &[usize]) -> Vec<Vec<Container>> {
    let starts = turns.iter().map(async |host| {
        let (at, on) = &hosts[*host];
        (*host, at.run(on, None).await)
    });
    let mut running = vec![Vec::new(); hosts.len()];
    for (host, container) in join_all(starts).await {
        running[host].push(container);
    }
    running
}

/// Stops all at once, and then the hosts leave the network.
pub(crate) async fn stop(hosts: &[(Host, OnNetwork)], running: &[Vec<Container>]) {
    let all = hosts.iter().zip(running);
    let stops = all.flat_map(|((host, on), its)| its.iter().map(move |it| host.stop(on, it)));
    join_all(stops).await;
    join_all(hosts.iter().map(|(host, on)| host.leave(on))).await;
}

/// More than Docker's calls have: how long it takes is for benchmarks to say.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(180)
}

/// A result, or its error with all its causes.
#[track_caller]
fn told<T>(outcome: Result<T, kuryr_core::Error>) -> T {
    outcome.unwrap_or_else(|error| {
        let mut cause = std::error::Error::source(&error);
        let mut said = error.to_string();
        while let Some(error) = cause {
            said = format!("{said}: {error}");
            cause = error.source();
        }
        panic!("{said}")
    })
}

fn random_id() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
