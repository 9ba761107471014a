//! Puts the parts together: settings in, routes for Docker and a probe for readiness out.

use std::sync::Arc;

use axum::{Router, middleware};
use bytes::Bytes;
use http::{Request, Response};
use keystone::Session;
use kuryr_core::{Journal, Kuryr, Runtime};
use kuryr_vif::{Host, HostSettings, Plug, Publish};
use neutron_client::{Failure, Neutron};
use neutron_embedded::Embedded;
use tokio_util::task::TaskTracker;
use tower::{Layer, ServiceExt, service_fn};

use crate::config::{CapabilityScope, Drivers, Settings, Standalone};
use crate::engine::Engine;
use crate::readiness::{self, Probe};
use crate::standalone;
use crate::telemetry::{DockerCalls, Telemetry};

/// What the program serves.
pub(crate) struct Wired {
    /// What Docker is answered with.
    pub(crate) routes: Router,
    /// Finds out whether Neutron answers us.
    pub(crate) probe: Probe,
    /// What may still owe Neutron something when all calls have ended.
    pub(crate) kuryr: Kuryr,
    /// The Neutron in this process, if there is one.
    pub(crate) own_neutron: Option<Embedded>,
}

/// Joins the parts. `calls` is to know the calls from Docker that have not ended, `background` what
/// goes on without one.
///
/// Nothing here waits for the network: the first call authenticates and connects.
pub(crate) fn build(
    settings: &Settings,
    telemetry: &Telemetry,
    calls: TaskTracker,
    background: &TaskTracker,
) -> anyhow::Result<Wired> {
    let world = match &settings.standalone {
        Some(own) => World::of_this_host(settings, own, telemetry, background)?,
        None => World::of_a_cloud(settings, telemetry)?,
    };
    // One journal for each driver, so that several instances do not take up each other's debts.
    let journal = Journal::open(&settings.state_path.join(settings.listen.address.driver()))?;
    let kuryr = Kuryr::new(
        world.neutron,
        world.plug,
        world.publish,
        journal,
        of_core(settings)?,
    );
    let count = middleware::from_fn_with_state(telemetry.docker.clone(), DockerCalls::count);
    let routes = kuryr_libnetwork::routes(kuryr.clone(), of_libnetwork(settings, calls));
    Ok(Wired {
        routes: routes.route_layer(count),
        probe: world.probe,
        kuryr,
        own_neutron: world.own,
    })
}

/// The Neutron that the configuration names, for who asks and is not asked.
pub(crate) fn neutron_of(settings: &Settings) -> anyhow::Result<Neutron> {
    Ok(neutron(settings, &Telemetry::new())?.0)
}

/// Without credentials the program still answers, with what is missing.
fn neutron(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<(Neutron, Probe)> {
    const MISSING: &str = "there is no Neutron to ask: auth_type is not set in [neutron] of kuryr.conf \
         (kuryr serve --standalone needs none)";
    let Some(session) = &settings.session else {
        let refusing = service_fn(async |_: Request<Bytes>| {
            Err::<Response<Bytes>, _>(Failure::Lasting(MISSING.into()))
        });
        return Ok((Neutron::new(refusing), readiness::never_ready(MISSING)));
    };
    let session = telemetry
        .neutron
        .layer()
        .layer(Session::new(session.clone())?);
    let neutron = Neutron::new(session.clone().map_err(failure));
    Ok((neutron, readiness::ask_neutron(session)))
}

/// What is on the other sides of the core.
struct World {
    neutron: Neutron,
    probe: Probe,
    plug: Arc<dyn Plug>,
    publish: Option<Arc<dyn Publish>>,
    own: Option<Embedded>,
}

impl World {
    fn of_a_cloud(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<Self> {
        let (neutron, probe) = neutron(settings, telemetry)?;
        let host = Host::open(this_machine(settings))?;
        Ok(Self {
            neutron,
            probe,
            plug: Arc::new(host),
            publish: None,
            own: None,
        })
    }

    /// A Neutron in this process, and an agent for it that works on this host.
    fn of_this_host(
        settings: &Settings,
        own: &Standalone,
        telemetry: &Telemetry,
        background: &TaskTracker,
    ) -> anyhow::Result<Self> {
        let embedded = standalone::open(settings, own)?;
        let agent = standalone::agent(settings, &embedded, background)?;
        let service = telemetry.neutron.layer().layer(embedded.service());
        Ok(Self {
            neutron: Neutron::new(service.clone().map_err(Failure::from)),
            probe: readiness::ask_neutron(service),
            plug: agent.clone(),
            publish: Some(agent),
            own: Some(embedded),
        })
    }
}

/// Where this machine's parts are.
pub(crate) fn this_machine(settings: &Settings) -> HostSettings {
    HostSettings {
        ovsdb: settings.binding.ovsdb.clone(),
        programs: settings.binding.programs.clone(),
        ..HostSettings::default()
    }
}

/// A transport that broke may mend itself; credentials and catalogues do not.
fn failure(error: keystone::Error) -> Failure {
    let passing = match &error {
        keystone::Error::Unreachable { .. } => true,
        keystone::Error::KeystoneSaid { status, .. } => status.is_server_error(),
        keystone::Error::Tls { .. }
        | keystone::Error::Unauthorized { .. }
        | keystone::Error::NoEndpoint { .. }
        | keystone::Error::BadEndpoint { .. }
        | keystone::Error::BadReply { .. }
        | keystone::Error::NotAPath(_) => false,
    };
    if passing {
        Failure::Passing(error.into())
    } else {
        Failure::Lasting(error.into())
    }
}

fn of_core(settings: &Settings) -> anyhow::Result<kuryr_core::Settings> {
    let (neutron, binding) = (&settings.neutron, &settings.binding);
    Ok(kuryr_core::Settings {
        host: host_of(settings),
        enable_dhcp: neutron.enable_dhcp,
        default_subnet_pool_v4: neutron.default_subnetpool_v4.clone(),
        default_subnet_pool_v6: neutron.default_subnetpool_v6.clone(),
        subnet_pool_prefix: neutron.subnetpool_name_prefix.clone(),
        interface_prefix: binding.veth_dst_prefix.clone(),
        plugging_is_fatal: neutron.vif_plugging_is_fatal,
        opens_exposed_ports: neutron.opens_exposed_ports,
        plugging_timeout: neutron.vif_plugging_timeout.unwrap_or_default(),
        drivers: drivers(&binding.drivers)?,
        runtime: runtime(settings),
        port_pool: kuryr_core::PortPoolSettings {
            // The Neutron in this process makes a port in no time.
            enabled: settings.port_pool.enabled && settings.standalone.is_none(),
            ..settings.port_pool
        },
    })
}

/// Docker itself, where its networks are this host's alone: a swarm's are not all known to each node.
fn runtime(settings: &Settings) -> Option<Arc<dyn Runtime>> {
    let socket = settings.docker.api.clone()?;
    let driver = settings.listen.address.driver();
    match settings.docker.scope {
        CapabilityScope::Local => Some(Arc::new(Engine::at(socket, driver))),
        CapabilityScope::Global => None,
    }
}

/// With the interfaces by which a guest may reach its networks, as they are now.
fn drivers(configured: &Drivers) -> anyhow::Result<kuryr_core::Drivers> {
    let is_guest = configured.enabled.iter().any(|driver| driver.is_in_guest());
    let mut interfaces = if is_guest {
        Host::interfaces()?
    } else {
        Vec::new()
    };
    if let Some(link) = configured.link_iface.as_ref().filter(|_| is_guest) {
        interfaces.retain(|(name, _)| name == link);
        anyhow::ensure!(
            !interfaces.is_empty(),
            "this machine has no interface {link} ([binding] link_iface)"
        );
    }
    let interfaces = interfaces.into_iter();
    Ok(kuryr_core::Drivers {
        default: configured.default,
        enabled: configured.enabled.clone(),
        cards: configured.cards.clone(),
        interfaces: interfaces
            .map(|(name, mac)| (name, mac.octets().into()))
            .collect(),
    })
}

fn of_libnetwork(settings: &Settings, calls: TaskTracker) -> kuryr_libnetwork::Settings {
    let docker = &settings.docker;
    kuryr_libnetwork::Settings {
        call_deadline: docker.call_timeout,
        scope: match docker.scope {
            CapabilityScope::Local => kuryr_libnetwork::Scope::Local,
            CapabilityScope::Global => kuryr_libnetwork::Scope::Global,
        },
        local_default_address_space: docker.local_address_space.clone(),
        global_default_address_space: docker.global_address_space.clone(),
        requires_mac_address: docker.requires_mac_address,
        calls,
    }
}

/// What Neutron knows this host by: as the machine calls itself, if nobody says otherwise.
pub(crate) fn host_of(settings: &Settings) -> String {
    if settings.standalone.is_some() {
        return standalone::host(settings).to_owned();
    }
    settings.host.clone().unwrap_or_else(|| {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    })
}
