//! What Docker has, and which call it makes next.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use kuryr_core::{
    AddressRequest, EndpointId, ExposedPort, Interface, IpVersion, MacAddress, NetworkId,
    NewEndpoint, NewNetwork, Pool, PoolRequest, Range,
};
use tokio::time::Instant;

use super::call::{Answer, Call};
use super::script::Wish;
use crate::world::random_id;

/// Something that Docker makes and removes by one call after the other.
pub(super) trait Thing {
    /// The next call on the way up or down; none at the end of it.
    fn next(&mut self, up: bool) -> Option<Call>;
    fn hear(&mut self, call: &Call, answer: Result<Answer, String>);
    /// dockerd is killed at this call and starts again.
    fn forget(&mut self, call: &Call);
    /// Neither in the making nor going.
    fn is_settled(&self) -> bool;
    fn is_gone(&self) -> bool;
}

/// From the first call about something to its last, at most: it is given up for lost from then on.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
pub(super) struct DockerNetwork {
    pub(super) id: NetworkId,
    /// What is asked for, one for each range.
    pub(super) asks: Vec<PoolRequest>,
    pub(super) aux: Option<IpAddr>,
    pub(super) options: Vec<(String, String)>,
    pub(super) pools: Vec<HeldRange>,
    pub(super) made: bool,
    going: bool,
    since: Instant,
}

/// A range that Docker has.
#[derive(Clone, Debug)]
pub(super) struct HeldRange {
    pub(super) pool: Pool,
    gateway: Option<Option<IpNet>>,
    aux: Option<IpAddr>,
}

impl DockerNetwork {
    pub(super) fn new(
        asks: Vec<PoolRequest>,
        aux: Option<IpAddr>,
        options: Vec<(String, String)>,
    ) -> Self {
        Self {
            id: random_id().parse().unwrap(),
            asks,
            aux,
            options,
            pools: vec![],
            made: false,
            going: false,
            since: Instant::now(),
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.made && !self.going
    }

    fn start_anew(&mut self) {
        *self = Self::new(
            std::mem::take(&mut self.asks),
            self.aux,
            std::mem::take(&mut self.options),
        );
    }

    fn new_network(&self) -> NewNetwork {
        let range = |held: &HeldRange| Range {
            cidr: held.pool.cidr,
            gateway: held.gateway.flatten().map(|gateway| gateway.addr()),
            reserved: held.aux.into_iter().collect(),
        };
        NewNetwork {
            id: self.id.clone(),
            ranges: self.pools.iter().map(range).collect(),
            internal: false,
            options: self.options.iter().cloned().collect(),
        }
    }
}

impl Thing for DockerNetwork {
    fn next(&mut self, up: bool) -> Option<Call> {
        if self.is_gone() {
            self.since = Instant::now();
        }
        self.going |= !self.made && self.since.elapsed() > PATIENCE;
        if up && !self.going {
            if let Some(last) = self.pools.last() {
                if last.gateway.is_none() {
                    return Some(Call::RequestGateway(last.pool.id.clone()));
                }
                if let (Some(aux), None) = (self.aux, last.aux)
                    && last.pool.cidr.contains(&aux)
                {
                    return Some(Call::RequestAux(last.pool.id.clone(), aux));
                }
            }
            if let Some(ask) = self.asks.get(self.pools.len()) {
                return Some(Call::RequestPool(ask.clone()));
            }
            return (!self.made).then(|| Call::CreateNetwork(self.new_network()));
        }
        if let Some(held) = self.pools.first() {
            self.going = true;
            let id = held.pool.id.clone();
            let reserved = held
                .aux
                .or(held.gateway.flatten().map(|gateway| gateway.addr()));
            return Some(match reserved {
                Some(address) => Call::ReleaseAddress(id, address),
                None => Call::ReleasePool(id),
            });
        }
        if self.made {
            return Some(Call::DeleteNetwork(self.id.clone()));
        }
        self.going.then(|| self.start_anew());
        None
    }

    fn hear(&mut self, call: &Call, answer: Result<Answer, String>) {
        let last = self.pools.last_mut();
        match (call, answer) {
            (Call::RequestPool(_), Ok(Answer::Pool(pool))) => self.pools.push(HeldRange {
                pool,
                gateway: None,
                aux: None,
            }),
            (Call::RequestGateway(_), Ok(Answer::Gateway(gateway))) => {
                last.unwrap().gateway = Some(gateway);
            }
            (Call::RequestAux(_, aux), Ok(_)) => last.unwrap().aux = Some(*aux),
            (Call::CreateNetwork(_), Ok(_)) => self.made = true,
            (Call::ReleaseAddress(..), _) => {
                let held = self.pools.first_mut().unwrap();
                if held.aux.take().is_none() {
                    held.gateway = None;
                }
            }
            (Call::ReleasePool(_), _) => drop(self.pools.remove(0)),
            (Call::DeleteNetwork(_), _) => self.made = false,
            _ => self.going = true,
        }
        if self.going && self.is_gone() {
            self.start_anew();
        }
    }

    fn forget(&mut self, call: &Call) {
        // It is marked when it goes, and removed by the dockerd that is started next.
        if !(self.made && (self.going || matches!(call, Call::DeleteNetwork(_)))) {
            self.start_anew();
        }
    }

    fn is_settled(&self) -> bool {
        !self.going && (self.made || self.pools.is_empty())
    }

    fn is_gone(&self) -> bool {
        !self.made && self.pools.is_empty()
    }
}

#[derive(Clone, Debug)]
pub(super) struct DockerContainer {
    pub(super) wish: Wish,
    pub(super) mac: Option<MacAddress>,
    /// What it asks for as `--ip`, on the network that it is on.
    pub(super) ip: Option<IpAddr>,
    /// The network as it was when it was started.
    pub(super) on: Option<(NetworkId, Vec<Pool>)>,
    pub(super) id: EndpointId,
    pub(super) addresses: Vec<IpNet>,
    pub(super) interface: Option<Interface>,
    pub(super) joined: bool,
    going: bool,
    since: Instant,
}

impl DockerContainer {
    pub(super) fn new(wish: Wish, mac: Option<MacAddress>) -> Self {
        Self {
            wish,
            mac,
            ip: None,
            on: None,
            id: random_id().parse().unwrap(),
            addresses: vec![],
            interface: None,
            joined: false,
            going: false,
            since: Instant::now(),
        }
    }

    /// Docker is going to start it there, with the host of this number as `--ip`.
    pub(super) fn put_on(&mut self, network: &DockerNetwork, host: Option<usize>) {
        let pools: Vec<Pool> = network.pools.iter().map(|held| held.pool.clone()).collect();
        self.ip = host.and_then(|host| pools[0].cidr.hosts().nth(host - 1));
        self.on = Some((network.id.clone(), pools));
        self.since = Instant::now();
    }

    fn start_anew(&mut self) {
        *self = Self::new(self.wish, self.mac);
    }

    /// Whether an endpoint is to be there as it was promised.
    pub(super) fn is_live(&self) -> bool {
        self.interface.is_some() && !self.going && (self.joined || self.is_fresh())
    }

    /// Whether it has been given an address of one family, and not yet asked for one of the other.
    pub(super) fn is_between_families(&self) -> bool {
        !self.going && self.addresses.len() == 1
    }

    /// Whether its endpoint has gone, and Docker is still to release its addresses: others may be given them
    /// already.
    pub(super) fn has_only_addresses(&self) -> bool {
        self.going && !self.joined && self.interface.is_none()
    }

    /// Whether Docker has not taken longer than it ever does.
    pub(super) fn is_fresh(&self) -> bool {
        self.since.elapsed() < PATIENCE
    }

    fn endpoint(&self, network: &NetworkId) -> NewEndpoint {
        NewEndpoint {
            network: network.clone(),
            id: self.id.clone(),
            addresses: self.addresses.clone(),
            mac: self.mac,
            options: Default::default(),
        }
    }
}

impl Thing for DockerContainer {
    fn next(&mut self, up: bool) -> Option<Call> {
        let (network, pools) = self.on.clone()?;
        let id = self.id.clone();
        if up && !self.going {
            if let Some(pool) = pools.get(self.addresses.len()) {
                let of_pool = self.ip.filter(|ip| pool.cidr.contains(ip));
                let ask = AddressRequest {
                    address: of_pool,
                    mac: None,
                };
                return Some(Call::RequestAddress(pool.id.clone(), ask));
            }
            if self.interface.is_none() {
                return Some(Call::CreateEndpoint(self.endpoint(&network)));
            }
            let exposed = self.wish.exposes.then_some(ExposedPort {
                protocol: 6,
                port: 80,
            });
            let exposed = exposed.into_iter().collect();
            return (!self.joined).then_some(Call::Join(network, id, exposed));
        }
        self.going = true;
        if self.joined {
            return Some(Call::Leave(network, id));
        }
        if self.interface.is_some() {
            return Some(Call::DeleteEndpoint(network, id));
        }
        let Some(address) = self.addresses.first().map(IpNet::addr) else {
            self.start_anew();
            return None;
        };
        let pool = pools.iter().find(|pool| pool.cidr.contains(&address));
        Some(Call::ReleaseAddress(pool.unwrap().id.clone(), address))
    }

    fn hear(&mut self, call: &Call, answer: Result<Answer, String>) {
        match (call, answer) {
            (Call::RequestAddress(..), Ok(Answer::Address(address))) => {
                self.addresses.push(address);
            }
            (Call::CreateEndpoint(_), Ok(Answer::Interface(interface))) => {
                self.interface = Some(interface);
            }
            (Call::Join(..), answer) => {
                // Docker leaves what it could not join.
                self.joined = true;
                self.going |= answer.is_err();
            }
            (Call::Leave(..), _) => self.joined = false,
            (Call::DeleteEndpoint(..), _) => self.interface = None,
            (Call::ReleaseAddress(..), _) => drop(self.addresses.remove(0)),
            _ => self.going = true,
        }
        if self.going && !self.joined && self.interface.is_none() && self.addresses.is_empty() {
            self.start_anew();
        }
    }

    fn forget(&mut self, call: &Call) {
        if matches!(call, Call::Join(..) | Call::Leave(..)) {
            // The endpoint is written down by now, and removed by the dockerd that is started next.
            self.joined = true;
            self.going = true;
        } else {
            self.start_anew();
        }
    }

    fn is_settled(&self) -> bool {
        self.on.is_none() || (self.joined && !self.going)
    }

    fn is_gone(&self) -> bool {
        self.on.is_none()
    }
}

/// A request for a range of this version.
pub(super) fn range(version: IpVersion, cidr: Option<&str>, part: Option<&str>) -> PoolRequest {
    PoolRequest {
        version,
        cidr: cidr.map(|cidr| cidr.parse().unwrap()),
        part: part.map(|part| part.parse().unwrap()),
        options: Default::default(),
    }
}
