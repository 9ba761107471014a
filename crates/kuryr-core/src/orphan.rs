//! Orphans: what is ours, has no container, and nobody is going to part with: ports, interfaces, security
//! groups, and networks.
//!
//! A crash between two calls leaves them: the runtime has forgotten its request, and the next run has
//! never heard of it. So does somebody who removes a container's port in Neutron. They are found by
//! comparing what Neutron says is ours with what is plugged here, whoever has plugged it.

mod look;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kuryr_vif::{Attachment as Plugged, IfName};
use neutron_api::{Port, PortId, SecurityGroup, SecurityGroupId};
use tokio::time::{Instant, sleep};

use crate::address::removal_of;
use crate::ask::NetworkId;
use crate::debt::Debt;
use crate::error::Error;
use crate::kuryr::Kuryr;

/// Something of ours that no container has.
#[derive(Clone, Debug)]
pub enum Orphan {
    /// A port of this host.
    Port {
        /// As Neutron has it.
        port: Box<Port>,
        /// What is plugged for it here, if anything is.
        plugged: Option<Plugged>,
    },
    /// An interface on this host whose port is gone, or not bound to this host.
    Interface(Plugged),
    /// The security group of what a container has exposed, whose port is gone or not in it.
    SecurityGroup {
        /// As Neutron has it.
        group: Box<SecurityGroup>,
        /// Whose it was.
        port: PortId,
        /// Whether that is gone.
        gone: bool,
        /// Another one of its name, which its port is in.
        own: Option<SecurityGroupId>,
    },
    /// A network that was made for a runtime that does not know it.
    Network(NetworkId),
}

/// How something is known to be an orphan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Nothing on this host is plugged for the port.
    NotPlugged,
    /// It is plugged, but no container has ever taken the interface, or has it any more.
    NotTaken(IfName),
    /// Neutron has no port that it could be of.
    NoPort(String),
    /// Its port is not in it.
    NotOfPort(PortId),
    /// The runtime was killed when it was told of it.
    Forgotten,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPlugged => write!(f, "nothing on this host is plugged for it"),
            Self::NotTaken(end) => write!(f, "no container has its interface {end}"),
            Self::NoPort(port) => write!(f, "Neutron has no port {port} that it could be of"),
            Self::NotOfPort(port) => write!(f, "port {port} is not in it"),
            Self::Forgotten => write!(
                f,
                "the container runtime does not know it: it ended soon after it had asked for it"
            ),
        }
    }
}

/// As one says it in a sentence.
impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { port, .. } => {
                let addresses = port.fixed_ips.iter().map(|ip| ip.ip_address);
                let addresses: Vec<String> = addresses.map(|ip: IpAddr| ip.to_string()).collect();
                let (id, name, network) = (port.id, &port.name, port.network_id);
                write!(f, "port {id} ({name}) of network {network}")?;
                if addresses.is_empty() {
                    return Ok(());
                }
                write!(f, ", {}", addresses.join(" and "))
            }
            Self::Interface(plugged) => write!(f, "interface {}", plugged.host),
            Self::SecurityGroup { group, .. } => {
                write!(f, "security group {} ({})", group.id, group.name)
            }
            Self::Network(id) => write!(f, "container network {id}"),
        }
    }
}

impl Orphan {
    /// How it is known to be one.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Port { plugged: None, .. } => Reason::NotPlugged,
            Self::Port {
                plugged: Some(plugged),
                ..
            } => Reason::NotTaken(plugged.container.clone()),
            Self::Interface(plugged) => Reason::NoPort(plugged.interface_id.clone()),
            Self::SecurityGroup {
                port, gone: true, ..
            } => Reason::NoPort(port.to_string()),
            Self::SecurityGroup { port, .. } => Reason::NotOfPort(*port),
            Self::Network(_) => Reason::Forgotten,
        }
    }

    fn plugged(&self) -> Option<&Plugged> {
        match self {
            Self::Port { plugged, .. } => plugged.as_ref(),
            Self::Interface(plugged) => Some(plugged),
            Self::SecurityGroup { .. } | Self::Network(_) => None,
        }
    }

    /// Whether nobody has touched it between two looks, and it is an orphan for one reason.
    fn is_still(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Port { port, .. }, Self::Port { port: before, .. }) => {
                port.id == before.id
                    && port.revision_number == before.revision_number
                    && self.reason() == earlier.reason()
            }
            (Self::Interface(plugged), Self::Interface(before)) => plugged == before,
            (Self::SecurityGroup { group, .. }, Self::SecurityGroup { group: before, .. }) => {
                group.id == before.id
                    && group.revision_number == before.revision_number
                    && self.reason() == earlier.reason()
            }
            (Self::Network(id), Self::Network(before)) => id == before,
            _ => false,
        }
    }
}

/// From the first look that finds an orphan to the one that releases it: what is under way is over by
/// then, as no call takes longer.
pub const BETWEEN_LOOKS: Duration = Duration::from_secs(45);
/// How often an orphan is looked for when the last look found none, no address or endpoint is known to wait
/// in vain and nothing could not be unplugged: only what comes from outside can make one then.
const QUIET: Duration = Duration::from_secs(600);
/// How often it is looked while one is known: others may become orphans meanwhile, and none is to wait
/// for another's time.
const WATCHING: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_secs(10);
/// How many are released after one look: if ever this judges wrongly, there is time to notice.
const AT_MOST: usize = 20;
/// From the start to the first look: the runtime repeats what the end of the last run has cut short.
const AT_START: Duration = Duration::from_secs(15);
const ONE_LOOK: Duration = Duration::from_secs(30);

impl Kuryr {
    /// Looks again, and releases those of `seen` that are still orphans and that nobody has touched
    /// since: interfaces at once, what Neutron has in the background. At most 20 at a time.
    ///
    /// # Errors
    /// Neutron or this host can't be asked. An interface that can't be unplugged is told of in the
    /// log, and its port stays.
    pub async fn release_orphans(
        &self,
        seen: &[Orphan],
        by: Instant,
    ) -> Result<Vec<Orphan>, Error> {
        let again = self.orphans(by).await?;
        let still = again
            .into_iter()
            .filter(|orphan| seen.iter().any(|earlier| orphan.is_still(earlier)));
        Ok(self.release(still, by).await)
    }

    /// Releases what two looks have found; those that it has.
    async fn release(&self, orphans: impl Iterator<Item = Orphan>, by: Instant) -> Vec<Orphan> {
        let mut released = Vec::new();
        for orphan in orphans.take(AT_MOST) {
            // From here on no endpoint is made of it, and no container joins it.
            if let Orphan::Port { port, .. } = &orphan
                && !(self.reservations.let_go(port.id) && self.endpoints.let_go(port.id))
            {
                continue;
            }
            let reason = orphan.reason();
            if let Some(plugged) = orphan.plugged()
                && let Err(error) = self.host.unplug(plugged, by).await
            {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "{orphan} stays, although {reason}");
                continue;
            }
            tracing::warn!("releasing {orphan}: {reason}");
            match &orphan {
                Orphan::Port { port, .. } if self.port_adoptions.has(port.id) => {
                    self.abandon_port(port.id).await;
                }
                Orphan::Port { port, .. } => {
                    self.debts.owe(removal_of(port, true)).await;
                }
                Orphan::Interface(plugged) => {
                    // Its port may have been adopted again, for a container that never came.
                    if let Ok(port) = plugged.interface_id.parse()
                        && self.reservations.let_go(port)
                    {
                        self.abandon_port(port).await;
                    }
                }
                // A port is not taken out of one: it may have come into it just now.
                Orphan::SecurityGroup { port, own, .. } => {
                    let (port, except) = (*port, *own);
                    self.debts
                        .owe(Debt::DeleteStrayGroup { port, except })
                        .await;
                }
                Orphan::Network(id) => {
                    if let Err(error) = self.delete_forgotten_network(id, by).await {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "{orphan} is not removed");
                        continue;
                    }
                }
            }
            released.push(orphan);
        }
        released
    }

    /// Whether something of this run, and not only what comes from outside, may have become one.
    async fn may_have_orphans(&self) -> bool {
        self.reservations.has_forgotten()
            || self.endpoints.have_forgotten()
            || self.suspicion.swap(false, Relaxed)
            || !self.forgotten_networks().await.is_empty()
    }

    /// Looks for orphans, now and then, and releases those that looks have found for a while. Never
    /// ends.
    pub async fn keep_releasing_orphans(&self) {
        let mut seen: Vec<(Instant, Orphan)> = Vec::new();
        sleep(AT_START).await;
        loop {
            let now = Instant::now();
            let pause = match self.look(now + ONE_LOOK).await {
                Ok(look) => {
                    for label in look.unlabelled {
                        self.debts.owe(label).await;
                    }
                    let since = |orphan: &Orphan| {
                        let before = seen.iter().find(|(_, before)| orphan.is_still(before));
                        before.map_or(now, |(since, _)| *since)
                    };
                    let found = look.orphans.into_iter();
                    let found = found.map(|orphan| (since(&orphan), orphan));
                    let (ripe, young) =
                        found.partition::<Vec<_>, _>(|(since, _)| now - *since >= BETWEEN_LOOKS);
                    seen = young;
                    let ripe = ripe.into_iter().map(|(_, orphan)| orphan);
                    let released = self.release(ripe, now + ONE_LOOK).await.len();
                    match (released, seen.is_empty()) {
                        (AT_MOST.., _) => BETWEEN_LOOKS,
                        (_, false) => WATCHING,
                        (_, true) => QUIET,
                    }
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "not looked");
                    WATCHING
                }
            };
            let next = Instant::now() + pause;
            loop {
                sleep(GLANCE.min(next - Instant::now())).await;
                let is_time = Instant::now() >= next;
                if is_time || (pause == QUIET && self.may_have_orphans().await) {
                    break;
                }
            }
        }
    }
}
