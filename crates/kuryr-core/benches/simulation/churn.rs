//! Containers that come and go on many hosts.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kuryr_core::{
    AddressRequest, EndpointId, Error, Journal, Kuryr, NetworkId, NewEndpoint, NewNetwork, Notes,
    Pool, PoolRequest, PortPoolSettings, Range, Settings,
};
use kuryr_testkit::notebook::Notebook;
use neutron_api::{IpVersion, NewSubnet, Port, Subnet};
use neutron_client::{Filter, Neutron};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::neutron::{Done, Limited};

/// What happens in the simulated cloud.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) hosts: usize,
    /// So many hosts share a network.
    pub(crate) hosts_of_network: usize,
    /// How many calls Neutron works at, at the same time.
    pub(crate) workers: usize,
    pub(crate) passes: Duration,
    /// Between two starts on a host, and how long a container lives, on average.
    pub(crate) between: Duration,
    pub(crate) lives: Duration,
    /// Every so often, each tenth host, always the same, starts so many containers at once.
    pub(crate) rollout_every: Duration,
    pub(crate) rollout: usize,
    pub(crate) seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            hosts: 1000,
            hosts_of_network: 10,
            workers: 16,
            passes: Duration::from_secs(1800),
            between: Duration::from_secs(120),
            lives: Duration::from_secs(240),
            rollout_every: Duration::from_secs(300),
            rollout: 8,
            seed: 1,
        }
    }
}

/// What was seen of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) starts: Vec<Call>,
    pub(crate) stops: Vec<Call>,
    /// The first of the errors, as an example.
    pub(crate) error: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

/// What a container waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Since the beginning.
    pub(crate) at: Duration,
    pub(crate) took: Duration,
    pub(crate) failed: bool,
}

/// What there was at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) done: Done,
    pub(crate) in_pools: usize,
}

const SAMPLED_EVERY: Duration = Duration::from_secs(30);
/// Docker's calls have to end by then.
const DEADLINE: Duration = Duration::from_secs(25);
/// Before anything counts, all hosts ask at the same time.
const AT_FIRST: Duration = Duration::from_secs(3600);

/// Lets the plan happen on hosts with such pools.
pub(crate) async fn run(plan: &Plan, pool: PortPoolSettings) -> Seen {
    let limited = Limited::new(plan.workers);
    let neutron = limited.neutron();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut making = Vec::new();
    for number in 0..plan.hosts {
        if number % plan.hosts_of_network == 0 {
            make_network(&limited, number / plan.hosts_of_network).await;
        }
        let (neutron, plan) = (neutron.clone(), plan.clone());
        making.push(tokio::spawn(async move {
            Host::new(&neutron, number, &plan, pool).await
        }));
    }
    let mut hosts = Vec::new();
    for host in making {
        hosts.push(Arc::new(host.await.expect("a host")));
    }
    let begin = Instant::now();
    let mut random = StdRng::seed_from_u64(plan.seed);
    let living: Vec<_> = hosts
        .into_iter()
        .enumerate()
        .map(|(number, host)| {
            let chance = StdRng::seed_from_u64(random.random());
            let rolls_out = number % 10 == 0;
            tokio::spawn(live(
                host,
                plan.clone(),
                rolls_out,
                chance,
                begin,
                Arc::clone(&seen),
            ))
        })
        .collect();
    let end = begin + plan.passes;
    let mut at = begin;
    while at <= end {
        sleep_until(at).await;
        let sample = Sample {
            at: at - begin,
            done: limited.done(),
            in_pools: in_pools(&limited).await,
        };
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .samples
            .push(sample);
        at += SAMPLED_EVERY;
    }
    for host in living {
        host.abort();
    }
    std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A tenant's network, past all queues.
async fn make_network(limited: &Limited, number: usize) {
    let neutron = limited.past();
    let new = neutron_api::NewNetwork {
        name: network_name(number),
        description: String::new(),
        admin_state_up: true,
        shared: false,
    };
    let network = neutron
        .create(&new, &Filter::new())
        .await
        .expect("a network");
    let new = NewSubnet {
        name: String::new(),
        description: String::new(),
        network_id: network.id,
        ip_version: IpVersion::V4,
        cidr: Some(range(number).parse().expect("a range")),
        subnetpool_id: None,
        gateway_ip: None,
        allocation_pools: None,
        enable_dhcp: false,
    };
    let _: Subnet = neutron
        .create(&new, &Filter::new())
        .await
        .expect("a subnet");
}

async fn in_pools(limited: &Limited) -> usize {
    let ports = limited.past().list::<Port>(&Filter::new()).await;
    let ports = ports.expect("nothing is between");
    let in_pool = |port: &&Port| port.name.starts_with("kuryr-pool-port-");
    ports.iter().filter(in_pool).count()
}

fn network_name(number: usize) -> String {
    format!("tenant{number}")
}

/// A /21 for each network.
fn range(number: usize) -> String {
    format!("10.{}.{}.0/21", number / 32, number % 32 * 8)
}

/// A host's program, and its one network.
struct Host {
    kuryr: Kuryr,
    network: NetworkId,
    pool: Pool,
}

impl Host {
    async fn new(neutron: &Neutron, number: usize, plan: &Plan, pool: PortPoolSettings) -> Self {
        let settings = Settings {
            port_pool: pool,
            ..Settings::usual(&format!("host{number}"))
        };
        let kuryr = Kuryr::new(
            neutron.clone(),
            Arc::new(Notebook::default()),
            None,
            Journal::of(Memory::default()),
            settings,
        );
        let at_first = Instant::now() + AT_FIRST;
        let of = number / plan.hosts_of_network;
        let cidr = range(of).parse().expect("a range");
        let ask = PoolRequest {
            version: IpVersion::V4,
            cidr: Some(cidr),
            part: None,
            options: BTreeMap::new(),
        };
        let pool = kuryr.request_pool(ask, at_first).await.expect("a pool");
        kuryr
            .reserve_gateway(&pool.id, None, at_first)
            .await
            .expect("a gateway");
        let network: NetworkId = random_id().parse().expect("an id");
        let new = NewNetwork {
            id: network.clone(),
            ranges: vec![Range {
                cidr: pool.cidr,
                gateway: None,
                reserved: vec![],
            }],
            internal: false,
            options: BTreeMap::from([("neutron.net.name".to_owned(), network_name(of))]),
        };
        kuryr
            .create_network(new, at_first)
            .await
            .expect("a network");
        let keeper = kuryr.clone();
        tokio::spawn(async move { keeper.keep_releasing_orphans().await });
        Self {
            kuryr,
            network,
            pool,
        }
    }

    async fn start(
        &self,
        id: &EndpointId,
    ) -> Result<kuryr_core::IpNet, (Option<kuryr_core::IpNet>, Error)> {
        let ask = AddressRequest::default();
        let address = self.kuryr.reserve_address(&self.pool.id, ask, soon()).await;
        let address = address.map_err(|error| (None, error))?;
        let new = NewEndpoint {
            network: self.network.clone(),
            id: id.clone(),
            addresses: vec![address],
            mac: None,
            options: BTreeMap::new(),
        };
        let joined = async {
            self.kuryr.create_endpoint(new, soon()).await?;
            self.kuryr.join(&self.network, id, &[], soon()).await
        };
        match joined.await {
            Ok(_) => Ok(address),
            Err(error) => Err((Some(address), error)),
        }
    }

    async fn stop(&self, id: &EndpointId, address: kuryr_core::IpNet) -> Result<(), Error> {
        self.kuryr.leave(&self.network, id, soon()).await?;
        self.kuryr
            .delete_endpoint(&self.network, id, soon())
            .await?;
        self.kuryr
            .release_address(&self.pool.id, address.addr(), soon())
            .await
    }
}

/// What happens on a host.
async fn live(
    host: Arc<Host>,
    plan: Plan,
    rolls_out: bool,
    mut chance: StdRng,
    begin: Instant,
    seen: Arc<Mutex<Seen>>,
) {
    let mut next = begin + by_chance(&mut chance, plan.between);
    let mut rollout = begin + plan.rollout_every;
    loop {
        let at = next.min(rollout);
        sleep_until(at).await;
        let is_rollout = at == rollout;
        let count = match is_rollout {
            true if rolls_out => plan.rollout,
            true => 0,
            false => 1,
        };
        if is_rollout {
            rollout += plan.rollout_every;
        } else {
            next += by_chance(&mut chance, plan.between);
        }
        for _ in 0..count {
            let lives = by_chance(&mut chance, plan.lives);
            tokio::spawn(container(
                Arc::clone(&host),
                lives,
                begin,
                Arc::clone(&seen),
            ));
        }
    }
}

async fn container(host: Arc<Host>, lives: Duration, begin: Instant, seen: Arc<Mutex<Seen>>) {
    let note = |calls: fn(&mut Seen) -> &mut Vec<Call>, since: Instant, error: Option<&Error>| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        calls(&mut seen).push(Call {
            at: since - begin,
            took: since.elapsed(),
            failed: error.is_some(),
        });
        if let Some(error) = error {
            seen.error.get_or_insert_with(|| error.to_string());
        }
    };
    let id: EndpointId = random_id().parse().expect("an id");
    let since = Instant::now();
    let started = host.start(&id).await;
    note(
        |seen| &mut seen.starts,
        since,
        started.as_ref().err().map(|(_, error)| error),
    );
    let address = match started {
        Ok(address) => {
            sleep(lives).await;
            Some(address)
        }
        Err((address, _)) => address,
    };
    let Some(address) = address else {
        return;
    };
    let since = Instant::now();
    let stopped = host.stop(&id, address).await;
    note(|seen| &mut seen.stops, since, stopped.as_ref().err());
}

/// A time of this length on average, as between things that have nothing to do with each other.
fn by_chance(chance: &mut StdRng, average: Duration) -> Duration {
    let unit: f64 = chance.random_range(0.0..1.0);
    average.mul_f64(-(1.0 - unit).ln())
}

fn soon() -> Instant {
    Instant::now() + DEADLINE
}

fn random_id() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// A journal that no program reads again.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Notes for Memory {
    fn write(&self, key: &str, note: &[u8]) -> io::Result<()> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(key.to_owned(), note.to_vec());
        Ok(())
    }

    fn erase(&self, key: &str, _: bool) -> io::Result<()> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.remove(key);
        Ok(())
    }

    fn read(&self, prefix: &str) -> Vec<(String, io::Result<Vec<u8>>)> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = notes.iter().filter(|(key, _)| key.starts_with(prefix));
        found
            .map(|(key, note)| (key.clone(), Ok(note.clone())))
            .collect()
    }

    fn path(&self, key: &str) -> PathBuf {
        key.into()
    }
}
