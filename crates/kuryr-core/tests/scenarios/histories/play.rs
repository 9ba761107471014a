//! Plays a history: Docker's calls, their repetition, what goes wrong, and what each must answer.

mod expect;
mod walk;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use kuryr_core::IpVersion;
use neutron_api::PortId;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::audit;
use super::call::Call;
use super::docker::{DockerContainer, DockerNetwork, Thing, range};
use super::others::{self, Others};
use super::script::{Act, Go, History, Ip, Kind, Step, Trouble};
use crate::world::World;
use expect::Must;
use walk::Walk;

/// After any fault.
const REST: Duration = Duration::from_secs(120);

pub(super) struct Play {
    pub(super) world: World,
    pub(super) warm: bool,
    pub(super) kinds: Vec<Kind>,
    pub(super) networks: Vec<DockerNetwork>,
    pub(super) containers: Vec<DockerContainer>,
    pub(super) others: Vec<Option<Others>>,
    /// What went wrong so that nobody can say for two minutes who has what: addresses by their network,
    /// containers for their MAC addresses, networks for their ranges and for what is on them.
    limbo: BTreeSet<(usize, IpAddr)>,
    unsure_macs: BTreeSet<usize>,
    unsure_ranges: BTreeSet<usize>,
    unsure_networks: BTreeSet<usize>,
    looking: JoinHandle<()>,
    told: RefCell<Vec<String>>,
    started: Instant,
}

impl Play {
    pub(super) async fn new(history: &History) -> Self {
        let world = if history.warm {
            World::warm()
        } else {
            World::new()
        };
        let (mut others, mut networks) = (Vec::new(), Vec::new());
        for (i, kind) in history.networks.iter().enumerate() {
            let theirs = Others::make(&world, i, *kind).await;
            networks.push(network(i, *kind, theirs.as_ref()));
            others.push(theirs);
        }
        let container = |(i, wish): (usize, &super::script::Wish)| {
            let mac = format!("02:00:00:00:00:0{i}").parse().unwrap();
            DockerContainer::new(*wish, wish.mac.then_some(mac))
        };
        Self {
            looking: look(&world),
            world,
            warm: history.warm,
            kinds: history.networks.clone(),
            networks,
            containers: history
                .containers
                .iter()
                .enumerate()
                .map(container)
                .collect(),
            others,
            limbo: BTreeSet::new(),
            unsure_macs: BTreeSet::new(),
            unsure_ranges: BTreeSet::new(),
            unsure_networks: BTreeSet::new(),
            told: RefCell::default(),
            started: Instant::now(),
        }
    }

    /// Plays all steps, then removes everything.
    pub(super) async fn play(&mut self, history: &History) -> Result<(), String> {
        for (i, step) in history.steps.iter().enumerate() {
            self.tell(&format!("{i:2}. {step}"));
            self.act(step).await?;
            audit::at_any_moment(self).await?;
            sleep(step.pause).await;
        }
        self.tell("at the end");
        let calm = Step {
            act: Act::Rest,
            times: 1,
            trouble: Trouble::None,
            pause: Duration::ZERO,
        };
        self.act(&calm).await?;
        for i in 0..self.containers.len() {
            self.container(i, Go::Stop, &calm).await?;
        }
        for i in 0..self.networks.len() {
            self.network(i, Go::Stop, &calm).await?;
        }
        self.act(&calm).await?;
        self.looking.abort();
        for others in self.others.iter().flatten() {
            others.remove(&self.world).await;
        }
        self.world.assert_nothing_left("at the end").await;
        Ok(())
    }

    pub(super) fn told(&self) -> String {
        self.told.borrow().join("\n")
    }

    fn tell(&self, what: &str) {
        let at = self.started.elapsed();
        self.told.borrow_mut().push(format!("{at:8.2?} {what}"));
    }

    pub(super) fn is_others(&self, port: PortId) -> bool {
        self.others.iter().flatten().any(|others| others.has(port))
    }

    /// A container that is to be started and is not yet begins with its network as it is now.
    fn place(&self, container: &mut DockerContainer, go: Go) {
        let number = container.wish.network;
        let network = &self.networks[number];
        if !container.is_gone() || !goes_up(go) || !network.is_usable() {
            return;
        }
        let theirs = self.others[number].is_some();
        let by_user = !matches!(
            self.kinds[number],
            Kind::Default | Kind::DefaultOfBothFamilies
        );
        let host = match container.wish.ip {
            Ip::This(n) => by_user.then_some(200 + usize::from(n)),
            Ip::OfTheirPort => theirs.then_some(others::PORT),
            Ip::OfTheirMachine => theirs.then_some(others::MACHINE),
            Ip::Any => None,
        };
        container.put_on(network, host);
    }

    /// Whether a container has the port that was there before, or may still have it.
    pub(super) fn may_use_port(&self, network: usize) -> bool {
        let wants =
            |one: &DockerContainer| one.wish.network == network && one.wish.ip == Ip::OfTheirPort;
        let used = self
            .containers
            .iter()
            .any(|one| wants(one) && !one.is_gone());
        used || self.limbo.iter().any(|(of, _)| *of == network) || !self.world.notes().is_empty()
    }

    async fn act(&mut self, step: &Step) -> Result<(), String> {
        match step.act {
            Act::Network(i, go) => self.network(i, go, step).await,
            Act::Container(i, go) => self.container(i, go, step).await,
            Act::Two((one, go), (other, also)) => self.two((one, go), (other, also), step).await,
            Act::Restart => {
                self.kill();
                Ok(())
            }
            Act::Rest => self.rest(step).await,
        }
    }

    async fn rest(&mut self, step: &Step) -> Result<(), String> {
        let calm = Step {
            trouble: Trouble::None,
            times: 1,
            ..step.clone()
        };
        for i in 0..self.containers.len() {
            if !self.containers[i].is_settled() {
                self.container(i, Go::Stop, &calm).await?;
            }
        }
        for i in 0..self.networks.len() {
            if !self.networks[i].is_settled() {
                self.network(i, Go::Stop, &calm).await?;
            }
        }
        sleep(REST).await;
        self.limbo.clear();
        self.unsure_macs.clear();
        self.unsure_ranges.clear();
        self.unsure_networks.clear();
        audit::at_rest(self).await
    }

    fn kill(&mut self) {
        // Of a port that was there before the next run does not know which address its container has got.
        for one in &self.containers {
            let number = one.wish.network;
            if one.wish.ip == Ip::OfTheirPort
                && one.interface.is_none()
                && self.kinds[number] == Kind::TheirsOfBothFamilies
            {
                let places = one.addresses.iter().map(|got| (number, got.addr()));
                self.limbo.extend(places);
            }
        }
        self.looking.abort();
        self.world.kill();
        self.looking = look(&self.world);
    }

    async fn network(&mut self, i: usize, go: Go, step: &Step) -> Result<(), String> {
        let is_used = |one: &DockerContainer| one.wish.network == i && !one.is_gone();
        if !goes_up(go) && self.containers.iter().any(is_used) {
            return Ok(());
        }
        let mut network = self.networks[i].clone();
        let trouble = step.trouble;
        let is_unsure = self.unsure_ranges.contains(&i);
        let is_in_limbo = self.unsure_networks.contains(&i);
        let must = |call: &Call| {
            // Ports that Docker has forgotten may still be on it.
            let is_open = (is_unsure && matches!(call, Call::RequestPool(_)))
                || (is_in_limbo && matches!(call, Call::DeleteNetwork(_)));
            if is_open || !trouble.is_passing() {
                Must::Either
            } else {
                Must::Succeed
            }
        };
        if !trouble.is_passing() {
            self.unsure_ranges.insert(i);
        }
        self.begin(trouble);
        let walk = self
            .walk(&format!("network {i}"), &mut network, go, step, &must)
            .await;
        self.end(walk?, &mut network, trouble);
        self.networks[i] = network;
        Ok(())
    }

    async fn container(&mut self, i: usize, go: Go, step: &Step) -> Result<(), String> {
        let mut container = self.containers[i].clone();
        self.place(&mut container, go);
        self.note_limbo(i, &container, step.trouble);
        let must = self.must_of_container(i, None, step.trouble);
        self.begin(step.trouble);
        let who = format!("container {i}");
        let walk = self.walk(&who, &mut container, go, step, &must).await;
        self.end(walk?, &mut container, step.trouble);
        self.containers[i] = container;
        // Whatever it has got by then.
        self.note_limbo(i, &self.containers[i].clone(), step.trouble);
        Ok(())
    }

    async fn two(
        &mut self,
        (i, go): (usize, Go),
        (k, also): (usize, Go),
        step: &Step,
    ) -> Result<(), String> {
        let is_end = matches!(step.trouble, Trouble::HangUp { .. } | Trouble::Kill { .. });
        let trouble = if is_end { Trouble::None } else { step.trouble };
        let step = &Step {
            trouble,
            times: 1,
            ..step.clone()
        };
        let (mut one, mut other) = (self.containers[i].clone(), self.containers[k].clone());
        self.place(&mut one, go);
        self.place(&mut other, also);
        // Nobody can tell whose request for any address of the second family is whose, and a port that
        // was there before keeps its own.
        let may_cross = one.wish.network == other.wish.network
            && self.kinds[one.wish.network] == Kind::TheirsOfBothFamilies
            && [&one, &other]
                .map(|it| it.wish.ip)
                .contains(&Ip::OfTheirPort);
        let unsure = if may_cross { Trouble::Refusal } else { trouble };
        self.note_limbo(i, &one, unsure);
        self.note_limbo(k, &other, unsure);
        let must = self.must_of_container(i, Some(&other), unsure);
        let must_too = self.must_of_container(k, Some(&one), unsure);
        self.begin(trouble);
        let (who, whose) = (format!("container {i}"), format!("container {k}"));
        let (walk, walk_too) = tokio::join!(
            self.walk(&who, &mut one, go, step, &must),
            self.walk(&whose, &mut other, also, step, &must_too)
        );
        walk.and(walk_too)?;
        self.end(Walk::Done, &mut one, trouble);
        (self.containers[i], self.containers[k]) = (one, other);
        for which in [i, k] {
            self.note_limbo(which, &self.containers[which].clone(), unsure);
        }
        Ok(())
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn look(world: &World) -> JoinHandle<()> {
    let kuryr = world.kuryr.clone();
    TaskTracker::new().spawn(async move { kuryr.keep_releasing_orphans().await })
}

fn goes_up(go: Go) -> bool {
    matches!(go, Go::On | Go::Start)
}

fn network(number: usize, kind: Kind, theirs: Option<&Others>) -> DockerNetwork {
    let versions = match kind {
        Kind::Subnet | Kind::Part | Kind::Default | Kind::Theirs => &[IpVersion::V4][..],
        Kind::BothFamilies | Kind::DefaultOfBothFamilies | Kind::TheirsOfBothFamilies => {
            &[IpVersion::V4, IpVersion::V6]
        }
    };
    let part = (kind == Kind::Part).then(|| format!("10.2{number}.0.64/26"));
    let aux = (kind == Kind::Part).then(|| format!("10.2{number}.0.70").parse().unwrap());
    let of_default = matches!(kind, Kind::Default | Kind::DefaultOfBothFamilies);
    let ask = |version: &IpVersion| {
        let cidr = (!of_default).then(|| others::cidr(number, *version));
        range(*version, cidr.as_deref(), part.as_deref())
    };
    let options =
        theirs.map(|theirs| ("neutron.net.uuid".to_owned(), theirs.network.id.to_string()));
    DockerNetwork::new(
        versions.iter().map(ask).collect(),
        aux,
        options.into_iter().collect(),
    )
}
