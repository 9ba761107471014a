//! The one thing that front ends hold.

use std::num::NonZero;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use ipnet::IpNet;
use kuryr_vif::{Plug, Publish};
use neutron_api::PortId;
use neutron_client::Neutron;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::absence::Absence;
use crate::address::{Reservations, Unreleased};
use crate::adopt::Adoptions;
use crate::adopt::port::PortAdoptions;
use crate::ask::{EndpointId, NetworkId, PoolId};
use crate::debt::Debts;
use crate::driver::Drivers;
use crate::endpoint::Endpoints;
use crate::exposed::Exposures;
use crate::functions::Functions;
use crate::journal::Journal;
use crate::keyed::Keyed;
use crate::lease::Leases;
use crate::lull::Lull;
use crate::nested::Guest;
use crate::network::{Runtime, Unconfirmed};
use crate::port_pool::{PortPoolSettings, PortPools};
use crate::port_settings::PortDefaults;
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
    /// Whether what is for a container's exposed ports is let in (`process_external_connectivity`).
    pub opens_exposed_ports: bool,
    /// Whether a container must not start on an interface that the switch does not forward for.
    pub plugging_is_fatal: bool,
    /// How ports are plugged here.
    pub drivers: Drivers,
    /// For how long the switch is waited for; zero means [`Settings::USUAL_PLUGGING_TIMEOUT`].
    pub plugging_timeout: Duration,
    /// How many ports are made before they are needed.
    pub port_pool: PortPoolSettings,
    /// Who knows which networks the runtime knows; without, a network stays that a runtime asks for which is
    /// killed before it notes it.
    pub runtime: Option<Arc<dyn Runtime>>,
}

impl Settings {
    /// For how long the switch is waited for where nobody says: well within a call's deadline.
    pub const USUAL_PLUGGING_TIMEOUT: Duration = Duration::from_secs(15);

    /// As where nobody says anything but which host this is.
    pub fn usual(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            enable_dhcp: true,
            default_subnet_pool_v4: "kuryr".to_owned(),
            default_subnet_pool_v6: "kuryr6".to_owned(),
            subnet_pool_prefix: "kuryrPool".to_owned(),
            interface_prefix: "eth".to_owned(),
            opens_exposed_ports: true,
            plugging_is_fatal: false,
            drivers: Drivers::default(),
            plugging_timeout: Duration::ZERO,
            port_pool: PortPoolSettings::default(),
            runtime: None,
        }
    }

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
    pub(crate) guest: Arc<Guest>,
    pub(crate) publisher: Option<Arc<dyn Publish>>,
    pub(crate) debts: Debts,
    pub(crate) leases: Leases,
    pub(crate) adoptions: Adoptions,
    pub(crate) port_adoptions: PortAdoptions,
    pub(crate) port_defaults: PortDefaults,
    pub(crate) unconfirmed: Unconfirmed,
    pub(crate) port_pools: Arc<PortPools>,
    pub(crate) lull: Arc<Lull>,
    pub(crate) view: View,
    pub(crate) reservations: Reservations,
    pub(crate) unreleased: Unreleased,
    pub(crate) endpoints: Endpoints,
    pub(crate) exposures: Exposures,
    pub(crate) functions: Functions,
    pub(crate) network_turns: Keyed<NetworkId>,
    pub(crate) endpoint_turns: Keyed<EndpointId>,
    pub(crate) ranges: Keyed<IpNet>,
    pub(crate) lease_turns: Keyed<PoolId>,
    pub(crate) exposure_turns: Keyed<PortId>,
    pub(crate) absence: Absence,
    /// Something may have become an orphan.
    pub(crate) suspicion: AtomicBool,
    pub(crate) background: TaskTracker,
}

impl Kuryr {
    /// Joins a Neutron to a host, and takes up what an earlier run has noted in `journal`.
    ///
    /// Without a `publisher`, containers are reached by what Neutron has for that: routers, floating
    /// IPs, load balancers.
    ///
    /// Must be called within a Tokio runtime; does no I/O but reading the journal.
    pub fn new(
        neutron: Neutron,
        host: Arc<dyn Plug>,
        publisher: Option<Arc<dyn Publish>>,
        journal: Journal,
        settings: Settings,
    ) -> Self {
        let guest = Arc::new(Guest::new(&settings.drivers));
        let port_pools = Arc::new(PortPools::new(settings.port_pool));
        let processors = available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let lull = Arc::new(Lull::on(processors));
        let debts = Debts::new(
            neutron.clone(),
            journal.clone(),
            Arc::clone(&guest),
            Arc::clone(&port_pools),
            Arc::clone(&lull),
        );
        let kuryr = Self(Arc::new(Shared {
            settings,
            debts,
            guest,
            port_pools,
            lull,
            adoptions: Adoptions::new(journal.clone()),
            port_adoptions: PortAdoptions::new(journal.clone()),
            port_defaults: PortDefaults::new(journal.clone()),
            unconfirmed: Unconfirmed::new(journal.clone()),
            leases: Leases::new(journal),
            neutron,
            host,
            publisher,
            view: View::default(),
            reservations: Reservations::default(),
            unreleased: Unreleased::default(),
            endpoints: Endpoints::default(),
            exposures: Exposures::default(),
            functions: Functions::default(),
            network_turns: Keyed::default(),
            endpoint_turns: Keyed::default(),
            ranges: Keyed::default(),
            lease_turns: Keyed::default(),
            exposure_turns: Keyed::default(),
            absence: Absence::default(),
            suspicion: AtomicBool::new(false),
            background: TaskTracker::new(),
        }));
        let kept = kuryr.debts.resume(kuryr.settings.opens_exposed_ports);
        kuryr.unplug_kept(kept);
        kuryr.expire_leases();
        kuryr.expire_port_adoptions();
        kuryr
    }

    pub(crate) fn weak(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0)
    }

    /// Unless the program has ended.
    pub(crate) fn upgrade(weak: &Weak<Shared>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    /// Waits until nothing is owed to Neutron any more; false if that takes longer than until `by`.
    ///
    /// What is not done by then is noted and done by the next run.
    pub async fn settled(&self, by: Instant) -> bool {
        self.debts.settled(by, |_| true).await
    }

    /// The same, but for what containers expose and could not be let in, which may be so for days.
    pub async fn finished(&self, by: Instant) -> bool {
        self.debts.finished(by).await
    }
}
