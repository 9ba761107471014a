//! How each debt is paid: each can be paid any number of times.

use neutron_api::{Network, Port, PortChange, PortId, Resource, Subnet, SubnetPool};
use neutron_client::{Filter, Neutron};

use super::{Debt, MadePool, is_ours, made_pools, named};
use crate::ask::{EndpointId, NetworkId};
use crate::names;

pub(super) async fn pay(neutron: &Neutron, debt: &Debt) -> Result<(), neutron_client::Error> {
    match debt {
        Debt::Label { port, endpoint, .. } => label(neutron, *port, endpoint).await,
        Debt::DeletePort { port, .. } => neutron.delete::<Port>(*port).await.map(drop),
        Debt::DeletePortIfOurs { port, endpoint } => match neutron.find::<Port>(*port).await? {
            Some(found) if is_ours(&found, endpoint) => {
                neutron.delete::<Port>(*port).await.map(drop)
            }
            Some(_) | None => Ok(()),
        },
        Debt::DeletePortsOf { endpoint } => {
            let filter = Filter::new().with("device_id", endpoint);
            for port in neutron.list::<Port>(&filter).await? {
                if is_ours(&port, endpoint) {
                    neutron.delete::<Port>(port.id).await?;
                }
            }
            Ok(())
        }
        Debt::DeleteNetworkOf {
            container_network,
            pool_prefix,
        } => delete_network_of(neutron, container_network, pool_prefix).await,
        Debt::DeleteNetwork { network, pools } => {
            neutron.delete::<Network>(*network).await?;
            for pool in pools {
                delete_made_pool(neutron, pool).await?;
            }
            Ok(())
        }
        Debt::DeletePool(pool) => delete_made_pool(neutron, pool).await,
        Debt::DeleteStrayPort { device_id, except } => {
            let filter = Filter::new().with("device_id", device_id);
            delete_all::<Port>(neutron, filter, *except).await
        }
        Debt::DeleteStrayNetwork {
            name,
            description,
            except,
        } => delete_all::<Network>(neutron, named(name, description), *except).await,
        Debt::DeleteStrayPool {
            name,
            description,
            except,
        } => delete_all::<SubnetPool>(neutron, named(name, description), *except).await,
    }
}

/// A network that was there before us stays, and so does one that nobody has marked as ours.
async fn delete_network_of(
    neutron: &Neutron,
    id: &NetworkId,
    pool_prefix: &str,
) -> Result<(), neutron_client::Error> {
    let filter = Filter::new().tagged(&names::network_tags(id));
    for network in neutron.list::<Network>(&filter).await? {
        let ours = names::is_of(&network.tags, id);
        if !ours || names::is_existing(&network.tags) {
            continue;
        }
        let of_network = Filter::new().with("network_id", network.id);
        let subnets = neutron.list::<Subnet>(&of_network).await?;
        neutron.delete::<Network>(network.id).await?;
        for pool in made_pools(&subnets, pool_prefix) {
            delete_made_pool(neutron, &pool).await?;
        }
    }
    Ok(())
}

/// The user's pools and the default ones have other names, and stay.
async fn delete_made_pool(neutron: &Neutron, made: &MadePool) -> Result<(), neutron_client::Error> {
    match neutron.find::<SubnetPool>(made.id).await? {
        Some(pool) if pool.name == made.name => {
            neutron.delete::<SubnetPool>(made.id).await.map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

async fn delete_all<R: Resource>(
    neutron: &Neutron,
    filter: Filter,
    except: Option<R::Id>,
) -> Result<(), neutron_client::Error> {
    for object in neutron.list::<R>(&filter).await? {
        if Some(object.id()) != except {
            neutron.delete::<R>(object.id()).await?;
        }
    }
    Ok(())
}

/// A port that is gone needs no label.
async fn label(
    neutron: &Neutron,
    port: PortId,
    endpoint: &EndpointId,
) -> Result<(), neutron_client::Error> {
    let change = PortChange {
        name: Some(names::port(endpoint)),
        device_id: Some(endpoint.to_string()),
        ..PortChange::default()
    };
    let labelled = async {
        neutron.update(port, &change).await?;
        neutron
            .replace_tags::<Port>(port, &names::port_tags(endpoint))
            .await
    };
    match labelled.await {
        Err(error) if error.is_absence() => Ok(()),
        other => other,
    }
}
