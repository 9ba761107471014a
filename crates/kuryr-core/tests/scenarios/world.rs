//! One Kuryr with its Neutron, its host and its journal, and Docker's choreography on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use ipnet::IpNet;
use kuryr_core::{
    AddressRequest, Caller, Drivers, EndpointId, Error, ExposedPort, Gateway, Interface, IpVersion,
    Journal, Kuryr, MacAddress, NetworkId, NewEndpoint, NewNetwork, Pool, PoolRequest,
    PortPoolSettings, Range, Runtime, Settings,
};
use kuryr_testkit::faulty::{Fate, Faulty};
use kuryr_testkit::notebook::{Notebook, Trouble};
use kuryr_testkit::pace::Pace;
use kuryr_vif::Plug as _;
use neutron_api::{Network, Port, PortId, Resource, SecurityGroup, Subnet, SubnetPool};
use neutron_client::{Failure, Filter, Neutron};
use neutron_embedded::{Embedded, EmbeddedSettings};
use tempfile::TempDir;
use tokio::time::Instant;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::paper::{Ink, Paper};

type Transport = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Failure>;

pub(crate) struct World {
    pub(crate) kuryr: Kuryr,
    /// Who makes networks and endpoints.
    pub(crate) caller: Caller,
    pub(crate) host: Arc<Notebook>,
    /// Between Kuryr and Neutron.
    pub(crate) wire: Faulty<Transport>,
    pool: PortPoolSettings,
    /// Who is asked from the next start of the program on.
    pub(crate) runtime: Option<Arc<dyn Runtime>>,
    /// Past the wire, for looking and for what others do.
    pub(crate) neutron: Neutron,
    /// Likewise, as it is.
    transport: Transport,
    journal: TempDir,
    /// What the program writes into it.
    pub(crate) paper: Paper,
}

/// A network as the user wants it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) subnets: Vec<&'static str>,
    /// As many ranges of the default pools as there are versions.
    pub(crate) defaults: Vec<IpVersion>,
    pub(crate) gateway: Option<&'static str>,
    pub(crate) part: Option<&'static str>,
    pub(crate) aux: Vec<&'static str>,
    pub(crate) internal: bool,
    /// `-o`.
    pub(crate) options: Vec<(&'static str, String)>,
    /// `--ipam-opt`.
    pub(crate) ipam_options: Vec<(&'static str, String)>,
}

/// What a container is to have that not all have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want<'a> {
    pub(crate) ip: Option<&'a str>,
    pub(crate) mac: Option<MacAddress>,
    /// `driver-opt`.
    pub(crate) options: Vec<(&'static str, String)>,
    /// `--expose`.
    pub(crate) exposed: Vec<ExposedPort>,
}

impl Want<'static> {
    /// A container that serves HTTP.
    pub(crate) fn exposing() -> Self {
        let exposed = vec![ExposedPort {
            protocol: 6,
            port: 80,
        }];
        Self {
            exposed,
            ..Self::default()
        }
    }
}

/// A network as Docker knows it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) id: NetworkId,
    pub(crate) pools: Vec<Pool>,
    pub(crate) gateways: Vec<Option<IpNet>>,
    pub(crate) aux: Vec<IpAddr>,
}

impl Made {
    pub(crate) fn nothing() -> Self {
        Self {
            id: random_id().parse().unwrap(),
            pools: vec![],
            gateways: vec![],
            aux: vec![],
        }
    }
}

/// A container as Docker knows it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: EndpointId,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) interface: Interface,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(EmbeddedSettings::default())
    }

    /// One that makes ports before they are needed.
    pub(crate) fn warm() -> Self {
        let mut world = Self::new().with_warm_ports();
        world.restart();
        world
    }

    /// The same world, in which ports are kept warm from the next start of the program on.
    pub(crate) fn with_warm_ports(mut self) -> Self {
        self.pool.enabled = true;
        self
    }

    /// One in which a seed decides which of several calls gets on first, wherever they wait.
    pub(crate) fn at(pace: &Pace, warm: bool) -> Self {
        let mut world = Self::new();
        world.pool.enabled = warm;
        world.wire.pace(pace.clone());
        world.host.pace(pace.clone());
        world.paper = Paper::new(world.journal.path()).at(Some(pace.clone()));
        world.start(|_| ());
        world
    }

    pub(crate) fn with(neutron: EmbeddedSettings) -> Self {
        let embedded = Embedded::new(neutron);
        let transport = BoxCloneSyncService::new(embedded.service().map_err(Failure::from));
        let wire = Faulty::new(transport.clone());
        let (host, journal) = (Arc::new(Notebook::default()), folder());
        let paper = Paper::new(journal.path());
        let kuryr = start(&wire, &host, &paper, settings());
        Self {
            kuryr,
            caller: Caller::default(),
            host,
            wire,
            pool: no_pool(),
            runtime: None,
            neutron: Neutron::new(transport.clone()),
            transport,
            journal,
            paper,
        }
    }

    /// Lets a project have no more than `limit` objects of a kind.
    pub(crate) async fn limit(&self, project: &str, kind: &str, limit: usize) {
        let body = serde_json::json!({"quota": {kind: limit}}).to_string();
        let request = Request::put(format!("http://neutron/v2.0/quotas/{project}"));
        let request = request.header("content-type", "application/json");
        let request = request.body(Bytes::from(body)).unwrap();
        let reply = self.transport.clone().oneshot(request).await.unwrap();
        assert_eq!(reply.status(), 200);
    }

    /// Another host, with the same Neutron.
    pub(crate) fn beside(&self, name: &str) -> Self {
        let wire = Faulty::new(self.transport.clone());
        let (host, journal) = (Arc::new(Notebook::default()), folder());
        let settings = Settings {
            host: name.to_owned(),
            port_pool: self.pool,
            ..settings()
        };
        let neutron = Neutron::new(wire.clone());
        let paper = Paper::new(journal.path());
        let notes = Journal::of(paper.clone());
        Self {
            kuryr: Kuryr::new(neutron, host.clone(), None, notes, settings),
            caller: Caller::default(),
            host,
            wire,
            pool: self.pool,
            runtime: None,
            neutron: self.neutron.clone(),
            transport: self.transport.clone(),
            journal,
            paper,
        }
    }

    /// No note can be written, as on a full disk, until what is returned is called.
    pub(crate) fn break_disk(&self) -> impl FnOnce() + use<> {
        let (folder, aside) = (
            self.journal.path().to_owned(),
            self.journal.path().with_extension("aside"),
        );
        std::fs::rename(&folder, &aside).unwrap();
        move || std::fs::rename(aside, folder).unwrap()
    }

    /// The program is killed and starts again.
    pub(crate) fn restart(&mut self) {
        self.restart_with(|_| ());
    }

    /// The same, and nothing that the killed one has begun gets any further: Neutron, host and
    /// journal are from now on others, as it has left them.
    pub(crate) fn kill(&mut self) {
        self.wire.plan(|_, _| Fate::LoseRequest);
        self.wire = Faulty::new(self.transport.clone());
        self.host = Arc::new(self.host.copy());
        let journal = folder();
        for note in std::fs::read_dir(self.journal.path()).unwrap() {
            let note = note.unwrap();
            std::fs::copy(note.path(), journal.path().join(note.file_name())).unwrap();
        }
        self.journal = journal;
        self.restart();
    }

    /// The program dies before or after it writes or erases the note of this number, and has no effect on
    /// anything from then on; [`World::kill`] starts it again.
    pub(crate) fn die_at_note(&self, number: usize, ink: Ink) {
        const FOR_EVER: Duration = Duration::from_secs(86_400);
        let (wire, host) = (self.wire.clone(), Arc::clone(&self.host));
        let decide = move |note| if note == number { ink } else { Ink::Holds };
        self.paper.plan(decide, move || {
            wire.plan(|_, _| Fate::Take(FOR_EVER));
            host.meet(Some(Trouble::StuckBefore));
        });
    }

    /// What Docker hears of a call: nothing where the program has died meanwhile.
    async fn heard<T>(&self, call: impl Future<Output = T>) -> T {
        let answer = call.await;
        if self.paper.is_dead() {
            std::future::pending::<()>().await;
        }
        answer
    }

    /// The names of what is noted in the journal.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = std::fs::read_dir(self.journal.path()).unwrap();
        let name = |note: std::io::Result<std::fs::DirEntry>| note.unwrap().file_name();
        notes
            .map(|note| name(note).into_string().unwrap())
            .filter(|name| name.ends_with(".json"))
            .collect()
    }

    /// The program is started on the state that another one has left.
    pub(crate) fn restart_on(&mut self, state: &std::path::Path) {
        std::fs::remove_file(self.journal.path().join("version")).unwrap();
        for note in std::fs::read_dir(state).unwrap() {
            let note = note.unwrap();
            std::fs::copy(note.path(), self.journal.path().join(note.file_name())).unwrap();
        }
        self.restart();
    }

    /// What the journal says of adopted ports is lost.
    pub(crate) fn forget_adopted_ports(&self) {
        for note in std::fs::read_dir(self.journal.path()).unwrap() {
            let name = note.unwrap().file_name();
            let of_port = name.to_str().unwrap().starts_with("port-");
            if of_port {
                std::fs::remove_file(self.journal.path().join(name)).unwrap();
            }
        }
    }

    /// The machine was switched off: Open vSwitch has forgotten what was plugged.
    pub(crate) async fn forget_plugged(&self) {
        for vif in self.host.plugged() {
            self.host.unplug(&vif.attachment, soon()).await.unwrap();
        }
    }

    /// The program starts again with other settings.
    pub(crate) fn restart_with(&mut self, change: impl FnOnce(&mut Settings)) {
        self.paper = Paper::new(self.journal.path());
        self.start(change);
    }

    fn start(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings {
            port_pool: self.pool,
            runtime: self.runtime.clone(),
            ..settings()
        };
        change(&mut settings);
        self.kuryr = start(&self.wire, &self.host, &self.paper, settings);
    }

    /// The program starts anew on a host of this name, with these drivers.
    pub(crate) fn restart_as(&mut self, name: &str, drivers: Drivers) {
        self.restart_with(|settings| {
            name.clone_into(&mut settings.host);
            settings.drivers = drivers;
        });
    }

    /// `docker network create`, with the clean-up that Docker does when it fails.
    pub(crate) async fn create_network(&self, plan: &Plan) -> Result<Made, Error> {
        self.create_network_after(plan, Duration::ZERO).await
    }

    /// The same by a Docker that rests between its last two calls.
    pub(crate) async fn create_network_after(
        &self,
        plan: &Plan,
        rest: Duration,
    ) -> Result<Made, Error> {
        let mut made = Made::nothing();
        let outcome = self.try_create_network(plan, rest, &mut made).await;
        if outcome.is_err() {
            self.give_back(&made).await;
        }
        outcome.map(|()| made)
    }

    /// The program is killed in the middle of `docker network create`, which fails, or is repeated where
    /// Docker `repeats` its last call: then the network is removed. False if it was not in time, and the
    /// network is removed.
    pub(crate) async fn kill_creating(
        &mut self,
        plan: &Plan,
        moment: Duration,
        repeats: bool,
    ) -> bool {
        let mut made = Made::nothing();
        let create = self.try_create_network(plan, Duration::ZERO, &mut made);
        let killed = tokio::time::timeout(moment, create).await;
        self.kill();
        match killed {
            Ok(outcome) => {
                outcome.unwrap();
                self.delete_network(&made).await;
                false
            }
            Err(_) => {
                let has_all = made.gateways.len() == plan.subnets.len() + plan.defaults.len();
                if repeats && has_all && self.create(plan, &made).await.is_ok() {
                    self.delete_network(&made).await;
                } else {
                    self.give_back(&made).await;
                }
                true
            }
        }
    }

    /// The program is killed in the middle of `docker network rm`; false if it was not in time. Docker
    /// has forgotten the network either way.
    pub(crate) async fn kill_deleting(&mut self, made: &Made, moment: Duration) -> bool {
        let delete = self.delete_network(made);
        let killed = tokio::time::timeout(moment, delete).await;
        self.kill();
        killed.is_err()
    }

    /// The program is killed a moment after `docker run` began. Docker clears up unless it `forgets`,
    /// killed at the same time; a container that has started it removes in either case.
    pub(crate) async fn kill_starting(
        &mut self,
        made: &Made,
        want: &Want<'_>,
        moment: Duration,
        forgets: bool,
    ) {
        let id: EndpointId = random_id().parse().unwrap();
        let mut addresses = Vec::new();
        let mut outcome = None;
        let start = async {
            outcome = Some(self.try_run(made, &id, want, &mut addresses).await);
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout(moment, start).await;
        self.kill();
        if let Some(started) = &outcome {
            let well = started.as_ref().map(drop).map_err(ToString::to_string);
            let is_unnoted = |error: &String| error.contains("note");
            assert!(
                well.is_ok() || well.is_err_and(|e| is_unnoted(&e)),
                "what is slow does not fail"
            );
        }
        if outcome.is_some() || !forgets {
            self.stop_endpoint(made, &id, &addresses).await;
        }
    }

    /// The program is killed a moment after `docker rm -f` began, which Docker does not repeat.
    pub(crate) async fn kill_stopping(
        &mut self,
        made: &Made,
        container: &Container,
        moment: Duration,
    ) {
        let stop = async {
            self.stop(made, container).await;
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout(moment, stop).await;
        self.kill();
    }

    async fn try_create_network(
        &self,
        plan: &Plan,
        rest: Duration,
        made: &mut Made,
    ) -> Result<(), Error> {
        self.set_aside(plan, made).await?;
        tokio::time::sleep(rest).await;
        self.create(plan, made).await
    }

    /// All of `docker network create` but its last call.
    pub(crate) async fn set_aside(&self, plan: &Plan, made: &mut Made) -> Result<(), Error> {
        let explicit = plan
            .subnets
            .iter()
            .map(|subnet| Some(subnet.parse::<IpNet>().unwrap()));
        let defaults = plan.defaults.iter().map(|version| (None, *version));
        let wanted = explicit.map(|cidr| (cidr, IpVersion::of(cidr.unwrap().addr())));
        for (cidr, version) in wanted.chain(defaults) {
            let part = plan.part.map(|part| part.parse().unwrap());
            let ask = PoolRequest {
                version,
                cidr,
                part,
                options: texts(&plan.ipam_options),
            };
            let pool = self.heard(self.kuryr.request_pool(ask, soon())).await?;
            made.pools.push(pool.clone());
            let gateway = plan.gateway.map(|gateway| gateway.parse().unwrap());
            let gateway = self.kuryr.reserve_gateway(&pool.id, gateway, soon());
            let gateway = self.heard(gateway).await?;
            made.gateways.push(match gateway {
                Gateway::At(address) => Some(address),
                Gateway::None(_) => None,
            });
            let aux = plan.aux.iter().map(|aux| aux.parse::<IpAddr>().unwrap());
            for address in aux.filter(|aux| pool.cidr.contains(aux)) {
                let ask = AddressRequest {
                    address: Some(address),
                    mac: None,
                };
                let given = self.kuryr.reserve_address(&pool.id, ask, soon());
                self.heard(given).await?;
                made.aux.push(address);
            }
        }
        Ok(())
    }

    pub(crate) async fn create(&self, plan: &Plan, made: &Made) -> Result<(), Error> {
        let new = new_network(made, plan);
        let create = self.kuryr.create_network_for(&self.caller, new, soon());
        self.heard(create).await
    }

    /// `docker network rm`.
    pub(crate) async fn delete_network(&self, made: &Made) {
        self.give_back(made).await;
        let delete = self.kuryr.delete_network(&made.id, soon());
        let _ = self.heard(delete).await;
    }

    pub(crate) async fn give_back(&self, made: &Made) {
        for (i, pool) in made.pools.iter().enumerate() {
            for aux in &made.aux {
                let release = self.kuryr.release_address(&pool.id, *aux, soon());
                let _ = self.heard(release).await;
            }
            if let Some(Some(gateway)) = made.gateways.get(i) {
                let address = gateway.addr();
                let release = self.kuryr.release_address(&pool.id, address, soon());
                let _ = self.heard(release).await;
            }
            let _ = self.heard(self.kuryr.release_pool(&pool.id, soon())).await;
        }
    }

    pub(crate) async fn run(&self, made: &Made) -> Result<Container, Error> {
        self.run_with(made, None, None).await
    }

    /// `docker run`, with the clean-up that Docker does when it fails.
    pub(crate) async fn run_with(
        &self,
        made: &Made,
        ip: Option<&str>,
        mac: Option<MacAddress>,
    ) -> Result<Container, Error> {
        let want = Want {
            ip,
            mac,
            ..Want::default()
        };
        self.run_as(made, &want).await
    }

    pub(crate) async fn run_as(&self, made: &Made, want: &Want<'_>) -> Result<Container, Error> {
        let id: EndpointId = random_id().parse().unwrap();
        let mut addresses = Vec::new();
        let outcome = self.try_run(made, &id, want, &mut addresses).await;
        if outcome.is_err() {
            self.stop_endpoint(made, &id, &addresses).await;
        }
        outcome.map(|interface| Container {
            id,
            addresses,
            interface,
        })
    }

    async fn try_run(
        &self,
        made: &Made,
        id: &EndpointId,
        want: &Want<'_>,
        addresses: &mut Vec<IpNet>,
    ) -> Result<Interface, Error> {
        let wanted: Option<IpAddr> = want.ip.map(|ip| ip.parse().unwrap());
        for pool in &made.pools {
            let of_pool = |ip: &IpAddr| ip.is_ipv4() == pool.cidr.addr().is_ipv4();
            let address = wanted.filter(of_pool);
            let ask = AddressRequest { address, mac: None };
            let given = self.kuryr.reserve_address(&pool.id, ask, soon());
            addresses.push(self.heard(given).await?);
        }
        let new = NewEndpoint {
            network: made.id.clone(),
            id: id.clone(),
            addresses: addresses.clone(),
            mac: want.mac,
            options: texts(&want.options),
        };
        let endpoint = self.kuryr.create_endpoint_for(&self.caller, new, soon());
        let interface = self.heard(endpoint).await?;
        let join = self.kuryr.join(&made.id, id, &want.exposed, soon());
        self.heard(join).await?;
        Ok(interface)
    }

    /// An endpoint that Docker has addresses for and has not made yet.
    pub(crate) async fn reserve(&self, made: &Made) -> NewEndpoint {
        let mut new = endpoint_on(made);
        for pool in &made.pools {
            let given = self
                .kuryr
                .reserve_address(&pool.id, AddressRequest::default(), soon());
            new.addresses.push(given.await.unwrap());
        }
        new
    }

    /// `docker rm -f`.
    pub(crate) async fn stop(&self, made: &Made, container: &Container) {
        self.stop_endpoint(made, &container.id, &container.addresses)
            .await;
    }

    pub(crate) async fn stop_endpoint(&self, made: &Made, id: &EndpointId, addresses: &[IpNet]) {
        let _ = self.heard(self.kuryr.leave(&made.id, id, soon())).await;
        let delete = self.kuryr.delete_endpoint(&made.id, id, soon());
        let _ = self.heard(delete).await;
        for (address, pool) in addresses.iter().zip(&made.pools) {
            let address = address.addr();
            let release = self.kuryr.release_address(&pool.id, address, soon());
            let _ = self.heard(release).await;
        }
    }

    pub(crate) async fn all<R: Resource>(&self) -> Vec<R> {
        self.neutron.list(&Filter::new()).await.unwrap()
    }

    pub(crate) async fn port_of(&self, container: &Container) -> Port {
        assert!(self.kuryr.settled(soon()).await, "labels are written");
        let filter = Filter::new().with("device_id", &container.id);
        let ports = self.neutron.list::<Port>(&filter).await.unwrap();
        <[Port; 1]>::try_from(ports)
            .expect("one port")
            .into_iter()
            .next()
            .unwrap()
    }

    /// The port with a container's address, whoever's name it bears.
    pub(crate) async fn port_at(&self, container: &Container) -> Port {
        let address = container.addresses.first().unwrap().addr();
        let has_it = |port: &Port| port.fixed_ips.iter().any(|ip| ip.ip_address == address);
        self.all().await.into_iter().find(has_it).unwrap()
    }

    /// Makes something past the wire.
    pub(crate) async fn make<C: neutron_api::Create>(&self, new: &C) -> C::Made {
        self.neutron.create(new, &Filter::new()).await.unwrap()
    }

    /// A network with one subnet of another project's.
    pub(crate) async fn network_of(&self, tenant: &str, cidr: &str) -> Network {
        let body = serde_json::json!({"network": {"name": tenant, "project_id": tenant}});
        let network = self.post("networks", &body).await["network"]["id"].clone();
        let body = serde_json::json!({"subnet": {
            "network_id": network, "ip_version": 4, "cidr": cidr, "project_id": tenant,
        }});
        self.post("subnets", &body).await;
        let id = network.as_str().unwrap().parse().unwrap();
        self.neutron.find(id).await.unwrap().unwrap()
    }

    async fn post(&self, what: &str, body: &serde_json::Value) -> serde_json::Value {
        self.send(http::Method::POST, what, body).await
    }

    /// Changes something past the wire, in ways that Kuryr never does.
    pub(crate) async fn put(&self, what: &str, body: &serde_json::Value) {
        self.send(http::Method::PUT, what, body).await;
    }

    /// Asks for something past the wire.
    pub(crate) async fn send(
        &self,
        method: http::Method,
        what: &str,
        body: &serde_json::Value,
    ) -> serde_json::Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v2.0/{what}"));
        let request = request.body(body.to_string().into()).unwrap();
        let reply = self.transport.clone().oneshot(request).await.unwrap();
        serde_json::from_slice(reply.body()).unwrap()
    }

    /// A port with all its fields but those that count and date its changes.
    pub(crate) async fn whole(&self, port: PortId) -> serde_json::Value {
        let request = Request::get(format!("/v2.0/ports/{port}"));
        let request = request.body(Bytes::new()).unwrap();
        let reply = self.transport.clone().oneshot(request).await.unwrap();
        let mut whole: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
        let fields = whole["port"].as_object_mut().unwrap();
        fields.retain(|field, _| field != "revision_number" && field != "updated_at");
        whole
    }

    /// Fails unless Neutron and the host are as they were at the beginning.
    pub(crate) async fn assert_nothing_left(&self, when: &str) {
        let in_a_while = Instant::now() + Duration::from_secs(600);
        assert!(
            self.kuryr.settled(in_a_while).await,
            "{when}: something is still owed"
        );
        // What a lost reply may have announced is looked for for a minute.
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert_eq!(self.all::<Port>().await, [], "{when}");
        assert_eq!(self.all::<Subnet>().await, [], "{when}");
        assert_eq!(self.all::<Network>().await, [], "{when}");
        let pools = self.all::<SubnetPool>().await;
        assert!(
            pools.iter().all(|pool| pool.is_default),
            "{when}: {pools:?}"
        );
        let groups = self.all::<SecurityGroup>().await;
        let made = groups.iter().find(|group| group.name.contains("exposed"));
        assert_eq!(made, None, "{when}");
        assert!(
            self.host.plugged().is_empty(),
            "{when}: {:?}",
            self.host.plugged()
        );
        let notes = self.notes();
        assert!(notes.is_empty(), "{when}: notes in the journal: {notes:?}");
    }
}

pub(crate) fn new_network(made: &Made, plan: &Plan) -> NewNetwork {
    let range = |(pool, gateway): (&Pool, &Option<IpNet>)| Range {
        cidr: pool.cidr,
        gateway: gateway.map(|gateway| gateway.addr()),
        reserved: made
            .aux
            .iter()
            .copied()
            .filter(|aux| pool.cidr.contains(aux))
            .collect(),
    };
    NewNetwork {
        id: made.id.clone(),
        ranges: made.pools.iter().zip(&made.gateways).map(range).collect(),
        internal: plan.internal,
        options: texts(&plan.options),
    }
}

fn texts(options: &[(&'static str, String)]) -> BTreeMap<String, String> {
    let text = |(key, value): &(&'static str, String)| ((*key).to_owned(), value.clone());
    options.iter().map(text).collect()
}

/// An endpoint that Docker has no addresses for yet.
pub(crate) fn endpoint_on(made: &Made) -> NewEndpoint {
    NewEndpoint {
        network: made.id.clone(),
        id: random_id().parse().unwrap(),
        addresses: Vec::new(),
        mac: None,
        options: BTreeMap::new(),
    }
}

pub(crate) fn subnet(cidr: &'static str) -> Plan {
    Plan {
        subnets: vec![cidr],
        ..Plan::default()
    }
}

pub(crate) fn dual_stack() -> Plan {
    Plan {
        subnets: vec!["10.20.0.0/24", "fd20::/64"],
        ..Plan::default()
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(25)
}

fn start(
    wire: &Faulty<Transport>,
    host: &Arc<Notebook>,
    paper: &Paper,
    settings: Settings,
) -> Kuryr {
    let journal = Journal::of(paper.clone());
    Kuryr::new(
        Neutron::new(wire.clone()),
        host.clone(),
        Some(host.clone()),
        journal,
        settings,
    )
}

/// For a journal: in memory where that can be, as every note waits until it is on the disk.
fn folder() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

fn settings() -> Settings {
    Settings {
        plugging_timeout: Duration::from_secs(10),
        port_pool: no_pool(),
        ..Settings::usual("host1")
    }
}

/// Most scenarios are about single ports.
fn no_pool() -> PortPoolSettings {
    PortPoolSettings {
        enabled: false,
        ..PortPoolSettings::default()
    }
}

pub(crate) fn random_id() -> String {
    format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    )
}
