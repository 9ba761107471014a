//! Containers and networks that come and go, and what each must have meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use kuryr_core::{Error, ExposedPort, Interface, NewEndpoint};
use kuryr_testkit::pace::Pace;
use neutron_api::{Port, PortId};
use tokio::time::{Duration, sleep};

use crate::ports::{self, ADDRESS};
use crate::world::{Made, Plan, World, dual_stack, endpoint_on, new_network, soon, subnet};

/// Addresses that several containers ask for.
const CONTESTED: [&str; 2] = ["10.20.0.200", "10.20.0.201"];
/// Ranges that several networks ask for.
const RANGES: [&str; 2] = ["10.30.0.0/24", "10.31.0.0/24"];

const EXPOSED: [ExposedPort; 1] = [ExposedPort {
    protocol: 6,
    port: 80,
}];

pub(super) struct Crowd {
    world: World,
    pace: Pace,
    /// With both families, and somebody else's with a port on it that was there before.
    own: Made,
    theirs: Made,
    port: Port,
    before: serde_json::Value,
    model: Mutex<Model>,
}

/// What Docker has.
#[derive(Default)]
struct Model {
    /// Given to containers now.
    addresses: BTreeSet<(String, IpNet)>,
    /// Attempts at an address, and containers with it, by their numbers; and those of them that have met another.
    wanted: BTreeMap<&'static str, BTreeSet<usize>>,
    crossed: BTreeSet<usize>,
    count: usize,
}

impl Crowd {
    pub(super) async fn new(pace: Pace, warm: bool) -> Self {
        let (world, theirs) = ports::adopted_in(World::at(&pace, warm), &["10.50.0.0/24"]).await;
        let port = ports::port(&world, &theirs, |_| {}).await;
        Self {
            own: world.create_network(&dual_stack()).await.unwrap(),
            before: world.whole(port.id).await,
            world,
            pace,
            theirs,
            port,
            model: Mutex::default(),
        }
    }

    /// One comes and goes, on a network that others are on.
    pub(super) async fn container(&self) {
        let (made, ip) = match self.pace.number(6) {
            0 => (&self.theirs, Some(ADDRESS)),
            1 => (&self.theirs, None),
            2 | 3 => (
                &self.own,
                Some(CONTESTED[self.pace.number(CONTESTED.len())]),
            ),
            _ => (&self.own, None),
        };
        let number = self.come(ip);
        let new = self.start(made, ip).await;
        match new {
            Ok(new) => {
                self.is_as_promised(&new).await;
                sleep(Duration::from_millis(self.pace.number(300) as u64)).await;
                self.is_as_promised(&new).await;
                self.stop(made, &new).await;
            }
            Err(error) => assert!(self.has_crossed(number), "{ip:?}: {error:?}"),
        }
        self.go(ip, number);
    }

    /// One is made and removed, by two calls at once each, with a container of its own.
    pub(super) async fn network(&self) {
        let range = RANGES[self.pace.number(RANGES.len())];
        let plan = match self.pace.number(3) {
            0 => Plan {
                defaults: vec![kuryr_core::IpVersion::V4],
                ..Plan::default()
            },
            _ => subnet(range),
        };
        let mut made = Made::nothing();
        self.world.set_aside(&plan, &mut made).await.unwrap();
        let create = || {
            let new = new_network(&made, &plan);
            self.world.kuryr.create_network(new, soon())
        };
        let (one, other) = tokio::join!(create(), create());
        one.and(other).expect("it is made");
        let new = self.start(&made, None).await.unwrap();
        self.is_as_promised(&new).await;
        self.stop(&made, &new).await;
        // Its warm ports may be on their way by then.
        sleep(Duration::from_millis(self.pace.number(3000) as u64)).await;
        let delete = || self.world.delete_network(&made);
        tokio::join!(delete(), delete(), self.late(&made));
    }

    /// A container that comes while its network goes: Docker asks for its address before it counts it, and
    /// then gives that back.
    async fn late(&self, made: &Made) {
        for pool in &made.pools {
            let ask = kuryr_core::AddressRequest::default();
            let reserve = self.world.kuryr.reserve_address(&pool.id, ask, soon());
            if let Ok(given) = reserve.await {
                let release = self
                    .world
                    .kuryr
                    .release_address(&pool.id, given.addr(), soon());
                release.await.unwrap();
            }
        }
    }

    /// `docker run`, with every call about the endpoint made twice at once.
    async fn start(&self, made: &Made, ip: Option<&str>) -> Result<NewEndpoint, Error> {
        let mut new = endpoint_on(made);
        let started = self.try_start(made, ip, &mut new).await;
        if started.is_err() {
            self.world
                .stop_endpoint(made, &new.id, &new.addresses)
                .await;
        }
        started.map(|_| new)
    }

    async fn try_start(
        &self,
        made: &Made,
        ip: Option<&str>,
        new: &mut NewEndpoint,
    ) -> Result<Interface, Error> {
        for (i, pool) in made.pools.iter().enumerate() {
            let address = ip.filter(|_| i == 0).map(|ip| ip.parse().unwrap());
            let ask = kuryr_core::AddressRequest { address, mac: None };
            let given = self
                .world
                .kuryr
                .reserve_address(&pool.id, ask, soon())
                .await?;
            new.addresses.push(given);
        }
        for address in &new.addresses {
            let place = (made.id.to_string(), *address);
            let is_free = self.model().addresses.insert(place);
            assert!(is_free, "{address} is given to two");
        }
        let create = || self.world.kuryr.create_endpoint(new.clone(), soon());
        let made_twice = tokio::join!(create(), create());
        let interface = match made_twice {
            (Ok(one), Ok(other)) => {
                assert_eq!(one, other, "two answers");
                one
            }
            (one, other) => panic!("{one:?} and {other:?}"),
        };
        let exposed = &EXPOSED[..self.pace.number(2)];
        let join = || self.world.kuryr.join(&made.id, &new.id, exposed, soon());
        let (one, other) = tokio::join!(join(), join());
        one.and(other).map(|_| interface)
    }

    /// `docker rm -f`, likewise.
    async fn stop(&self, made: &Made, new: &NewEndpoint) {
        // From here on others may be given its addresses, also before Docker has released them.
        for address in &new.addresses {
            let place = (made.id.to_string(), *address);
            self.model().addresses.remove(&place);
        }
        let kuryr = &self.world.kuryr;
        kuryr.leave(&made.id, &new.id, soon()).await.unwrap();
        let delete = || kuryr.delete_endpoint(&made.id, &new.id, soon());
        let (one, other) = tokio::join!(delete(), delete());
        one.and(other).expect("it goes");
        for (address, pool) in new.addresses.iter().zip(&made.pools) {
            let release = kuryr.release_address(&pool.id, address.addr(), soon());
            release.await.unwrap();
        }
    }

    /// A container that is there has one interface, and a port with its addresses and no others.
    async fn is_as_promised(&self, new: &NewEndpoint) {
        let plugged = self.world.host.plugged().into_iter();
        let mine: Vec<String> = plugged
            .filter(|vif| vif.attachment.owner == new.id.as_str())
            .map(|vif| vif.attachment.interface_id)
            .collect();
        let [id] = &mine[..] else {
            panic!("{new:?} has {mine:?}");
        };
        let port = self.world.neutron.find(id.parse::<PortId>().unwrap()).await;
        let port: Port = port.unwrap().expect("its port");
        let has: BTreeSet<_> = port.fixed_ips.iter().map(|ip| ip.ip_address).collect();
        let promised = new.addresses.iter().map(IpNet::addr).collect();
        assert_eq!(has, promised, "{port:?}");
    }

    /// Everybody has gone.
    pub(super) async fn end(&self) -> Vec<String> {
        assert!(
            self.world.kuryr.settled(soon()).await,
            "something is still owed"
        );
        assert_eq!(self.world.whole(self.port.id).await, self.before);
        self.world.delete_network(&self.own).await;
        self.world.delete_network(&self.theirs).await;
        let log = self.world.wire.log();
        ports::forget_theirs(&self.world).await;
        self.world.assert_nothing_left("when all have gone").await;
        let without_ids = |line: String| {
            let parts = line
                .split('/')
                .map(|part| if part.len() == 36 { "*" } else { part });
            parts.collect::<Vec<_>>().join("/")
        };
        log.into_iter().map(without_ids).collect()
    }

    /// Somebody begins to want an address; who wants one that nobody else does is number 0.
    fn come(&self, ip: Option<&'static str>) -> usize {
        let Some(ip) = ip else { return 0 };
        let mut model = self.model();
        model.count += 1;
        let number = model.count;
        let all = model.wanted.entry(ip).or_default();
        all.insert(number);
        if all.len() > 1 {
            let all = all.clone();
            model.crossed.extend(all);
        }
        number
    }

    fn go(&self, ip: Option<&'static str>, number: usize) {
        if let Some(ip) = ip {
            self.model().wanted.entry(ip).or_default().remove(&number);
        }
    }

    fn has_crossed(&self, number: usize) -> bool {
        self.model().crossed.contains(&number)
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
