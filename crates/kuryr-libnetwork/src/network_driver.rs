//! Docker's network driver: networks, and the endpoints of containers on them.

mod connect;
mod endpoint;
mod network;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use kuryr_core::Kuryr;
use serde::Serialize;

use crate::call::{By, For};
use crate::failure::gone_is_done;
use crate::wire::{Done, Reply, Wire};
use crate::{Front, Scope, Settings};

pub(crate) use connect::Connect;
pub(crate) use endpoint::{CreateEndpoint, EndpointRef};
pub(crate) use network::{AllocateNetwork, CreateNetwork, GwAllocCheck, NetworkRef};

use endpoint::{CreatedEndpoint, Information, Joined};
use network::SkippedGateways;

pub(crate) fn routes() -> Router<Front> {
    Router::new()
        .route("/NetworkDriver.GetCapabilities", post(get_capabilities))
        .route("/NetworkDriver.GwAllocCheck", post(gw_alloc_check))
        .route("/NetworkDriver.AllocateNetwork", post(allocate_network))
        .route("/NetworkDriver.FreeNetwork", post(free_network))
        .route("/NetworkDriver.CreateNetwork", post(create_network))
        .route("/NetworkDriver.DeleteNetwork", post(delete_network))
        .route("/NetworkDriver.CreateEndpoint", post(create_endpoint))
        .route("/NetworkDriver.EndpointOperInfo", post(endpoint_oper_info))
        .route("/NetworkDriver.DeleteEndpoint", post(delete_endpoint))
        .route("/NetworkDriver.Join", post(join))
        .route("/NetworkDriver.Leave", post(leave))
        .route(
            "/NetworkDriver.ProgramExternalConnectivity",
            post(program_external_connectivity),
        )
        .route(
            "/NetworkDriver.RevokeExternalConnectivity",
            post(revoke_external_connectivity),
        )
        .route("/NetworkDriver.DiscoverNew", post(discover_new))
        .route("/NetworkDriver.DiscoverDelete", post(discover_delete))
}

async fn get_capabilities(State(settings): State<Arc<Settings>>) -> Wire<Capabilities> {
    Wire(Capabilities {
        scope: settings.scope,
        connectivity_scope: settings.scope,
        gw_alloc_checker: true,
    })
}

async fn gw_alloc_check(Wire(ask): Wire<GwAllocCheck>) -> Wire<SkippedGateways> {
    Wire(ask.into())
}

/// The manager of a swarm asks; each node is then sent a CreateNetwork with the options that are
/// answered here, and with no others.
async fn allocate_network(
    State(kuryr): State<Kuryr>,
    For(caller): For,
    By(by): By,
    Wire(ask): Wire<AllocateNetwork>,
) -> Reply<Allocated> {
    let options = kuryr.allocate_network(&caller, ask.into(), by).await?;
    Ok(Wire(Allocated { options }))
}

async fn free_network(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<NetworkRef>,
) -> Reply<Done> {
    gone_is_done(kuryr.free_network(&ask.network_id, by).await)?;
    Ok(Wire(Done {}))
}

async fn create_network(
    State(kuryr): State<Kuryr>,
    For(caller): For,
    By(by): By,
    Wire(ask): Wire<CreateNetwork>,
) -> Reply<Done> {
    kuryr.create_network_for(&caller, ask.into(), by).await?;
    Ok(Wire(Done {}))
}

async fn delete_network(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<NetworkRef>,
) -> Reply<Done> {
    gone_is_done(kuryr.delete_network(&ask.network_id, by).await)?;
    Ok(Wire(Done {}))
}

async fn create_endpoint(
    State(kuryr): State<Kuryr>,
    For(caller): For,
    By(by): By,
    Wire(ask): Wire<CreateEndpoint>,
) -> Reply<CreatedEndpoint> {
    let given = ask.interface;
    let interface = kuryr.create_endpoint_for(&caller, ask.into(), by).await?;
    Ok(Wire(given.completed_by(&interface)))
}

async fn endpoint_oper_info(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<EndpointRef>,
) -> Reply<Information> {
    let details = kuryr.describe_endpoint(&ask.network_id, &ask.endpoint_id, by);
    Ok(Wire(details.await?.into()))
}

async fn delete_endpoint(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<EndpointRef>,
) -> Reply<Done> {
    let outcome = kuryr.delete_endpoint(&ask.network_id, &ask.endpoint_id, by);
    gone_is_done(outcome.await)?;
    Ok(Wire(Done {}))
}

async fn join(State(kuryr): State<Kuryr>, By(by): By, Wire(ask): Wire<Connect>) -> Reply<Joined> {
    let exposed = ask.exposed_ports();
    let attachment = kuryr
        .join(&ask.network_id, &ask.endpoint_id, &exposed, by)
        .await?;
    Ok(Wire(attachment.into()))
}

async fn leave(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<EndpointRef>,
) -> Reply<Done> {
    let outcome = kuryr.leave(&ask.network_id, &ask.endpoint_id, by);
    gone_is_done(outcome.await)?;
    Ok(Wire(Done {}))
}

/// Docker means the endpoint that the container's default route goes through.
async fn program_external_connectivity(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<Connect>,
) -> Reply<Done> {
    // As at Join already; for a Docker that says more here.
    let exposed = ask.exposed_ports();
    kuryr
        .expose(&ask.network_id, &ask.endpoint_id, &exposed, by)
        .await?;
    let ports = ask.published_ports();
    kuryr
        .publish(&ask.network_id, &ask.endpoint_id, &ports, by)
        .await?;
    Ok(Wire(Done {}))
}

async fn revoke_external_connectivity(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<EndpointRef>,
) -> Reply<Done> {
    let outcome = kuryr.publish(&ask.network_id, &ask.endpoint_id, &[], by);
    gone_is_done(outcome.await)?;
    Ok(Wire(Done {}))
}

/// Neutron knows the hosts: what Docker discovers of its cluster is of no use.
async fn discover_new() -> Wire<Done> {
    Wire(Done {})
}

async fn discover_delete() -> Wire<Done> {
    Wire(Done {})
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Capabilities {
    scope: Scope,
    connectivity_scope: Scope,
    gw_alloc_checker: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Allocated {
    options: BTreeMap<String, String>,
}
