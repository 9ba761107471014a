//! The one thing that front ends hold.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use kuryr_vif::Plug;
use neutron_client::Neutron;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::address::Reservations;
use crate::adopt::Adoptions;
use crate::ask::{EndpointId, NetworkId, PoolId};
use crate::debt::Debts;
use crate::endpoint::Endpoints;
use crate::journal::Journal;
use crate::keyed::Keyed;
use crate::lease::Leases;
use crate::view::View;

/// How Kuryr is to work on this host.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name that Neutron's agent on this host goes by.
    pub host: String,
    /// Whether Neutron's DHCP serves the subnets that we make.
    pub enable_dhcp: bool,
    /// The name of the subnet pool for IPv4 ranges that the user leaves to us.
    pub default_subnet_pool_v4: String,
    /// The name of the subnet pool for IPv6 ranges that the user leaves to us.
    pub default_subnet_pool_v6: String,
    /// What the names of subnet pools that we make begin with.
    pub subnet_pool_prefix: String,
    /// What interfaces are called in containers, before the number.
    pub interface_prefix: String,
    /// Whether a container must not start on an interface that the switch does not forward for.
    pub plugging_is_fatal: bool,
    /// For how long the switch is waited for; zero means [`Settings::USUAL_PLUGGING_TIMEOUT`].
    pub plugging_timeout: Duration,
}

impl Settings {
    /// For how long the switch is waited for where nobody says: well within a call's deadline.
    pub const USUAL_PLUGGING_TIMEOUT: Duration = Duration::from_secs(15);

    /// Not to wait at all would be to fail wherever plugging is fatal, and to lose first packets
    /// elsewhere.
    pub(crate) fn patience(&self) -> Duration {
        if self.plugging_timeout.is_zero() {
            Self::USUAL_PLUGGING_TIMEOUT
        } else {
            self.plugging_timeout
        }
    }
}

/// Everything that a front end needs; clones share it.
#[derive(Clone)]
pub struct Kuryr(Arc<Shared>);

impl std::ops::Deref for Kuryr {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What all verbs share.
pub struct Shared {
    pub(crate) settings: Settings,
    pub(crate) neutron: Neutron,
    pub(crate) host: Arc<dyn Plug>,
    pub(crate) debts: Debts,
    pub(crate) leases: Leases,
    pub(crate) adoptions: Adoptions,
    pub(crate) view: View,
    pub(crate) reservations: Reservations,
    pub(crate) endpoints: Endpoints,
    pub(crate) network_turns: Keyed<NetworkId>,
    pub(crate) endpoint_turns: Keyed<EndpointId>,
    pub(crate) ranges: Keyed<IpNet>,
    pub(crate) lease_turns: Keyed<PoolId>,
    pub(crate) background: TaskTracker,
}

impl Kuryr {
    /// Joins a Neutron to a host, and takes up what an earlier run has noted in `journal`.
    ///
    /// Must be called within a Tokio runtime; does no I/O but reading the journal.
    pub fn new(
        neutron: Neutron,
        host: Arc<dyn Plug>,
        journal: Journal,
        settings: Settings,
    ) -> Self {
        let kuryr = Self(Arc::new(Shared {
            settings,
            debts: Debts::new(neutron.clone(), journal.clone()),
            adoptions: Adoptions::new(journal.clone()),
            leases: Leases::new(journal),
            neutron,
            host,
            view: View::default(),
            reservations: Reservations::default(),
            endpoints: Endpoints::default(),
            network_turns: Keyed::default(),
            endpoint_turns: Keyed::default(),
            ranges: Keyed::default(),
            lease_turns: Keyed::default(),
            background: TaskTracker::new(),
        }));
        kuryr.debts.resume();
        kuryr.expire_leases();
        kuryr
    }

    /// Waits until nothing is owed to Neutron any more; false if that takes longer than until `by`.
    ///
    /// What is not done by then is noted and done by the next run.
    pub async fn settled(&self, by: Instant) -> bool {
        self.debts.settled(by, |_| true).await
    }
}
