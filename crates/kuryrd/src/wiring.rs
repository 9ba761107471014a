//! Puts the parts together: settings in, routes for Docker and a probe for readiness out.

use std::sync::Arc;

use axum::{Router, middleware};
use bytes::Bytes;
use http::{Request, Response};
use keystone::Session;
use kuryr_core::{Journal, Kuryr};
use kuryr_vif::{Host, HostSettings};
use neutron_client::{Failure, Neutron};
use tokio_util::task::TaskTracker;
use tower::{Layer, ServiceExt, service_fn};

use crate::config::{CapabilityScope, Settings};
use crate::readiness::{self, Probe};
use crate::telemetry::{DockerCalls, Telemetry};

/// What the program serves.
pub(crate) struct Wired {
    /// What Docker is answered with.
    pub(crate) routes: Router,
    /// Finds out whether Neutron answers us.
    pub(crate) probe: Probe,
    /// What may still owe Neutron something when all calls have ended.
    pub(crate) kuryr: Kuryr,
}

/// Joins the parts. `calls` is to know the calls from Docker that have not ended.
///
/// Nothing here waits for anything: the first call authenticates and connects.
pub(crate) fn build(
    settings: &Settings,
    telemetry: &Telemetry,
    calls: TaskTracker,
) -> anyhow::Result<Wired> {
    let (neutron, probe) = neutron(settings, telemetry)?;
    let host = Host::new(HostSettings {
        ovsdb: settings.binding.ovsdb.clone(),
    });
    // One journal for each driver, so that several instances do not take up each other's debts.
    let journal = Journal::open(&settings.state_path.join(settings.listen.address.driver()))?;
    let kuryr = Kuryr::new(neutron, Arc::new(host), journal, of_core(settings));
    let count = middleware::from_fn_with_state(telemetry.docker.clone(), DockerCalls::count);
    let routes = kuryr_libnetwork::routes(kuryr.clone(), of_libnetwork(settings, calls));
    Ok(Wired {
        routes: routes.route_layer(count),
        probe,
        kuryr,
    })
}

/// Without credentials the program still answers, with what is missing.
fn neutron(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<(Neutron, Probe)> {
    const MISSING: &str =
        "there is no Neutron to ask: auth_type is not set in [neutron] of kuryr.conf";
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

fn of_core(settings: &Settings) -> kuryr_core::Settings {
    let (neutron, binding) = (&settings.neutron, &settings.binding);
    kuryr_core::Settings {
        host: settings.host.clone().unwrap_or_else(host_name),
        enable_dhcp: neutron.enable_dhcp,
        default_subnet_pool_v4: neutron.default_subnetpool_v4.clone(),
        default_subnet_pool_v6: neutron.default_subnetpool_v6.clone(),
        subnet_pool_prefix: neutron.subnetpool_name_prefix.clone(),
        interface_prefix: binding.veth_dst_prefix.clone(),
        plugging_is_fatal: neutron.vif_plugging_is_fatal,
        plugging_timeout: neutron.vif_plugging_timeout.unwrap_or_default(),
    }
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

/// What this machine calls itself.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
