//! How each debt is paid: each can be paid any number of times.

use std::sync::Arc;
use std::time::Duration;

use neutron_api::{Network, Port, PortChange, PortId, Resource, Subnet, SubnetPool};
use neutron_client::{Filter, Neutron};
use tokio::time::sleep;

use super::{Debt, Debts, MadePool, is_ours, made_pools, named};
use crate::adopt::port::PortAdoption;
use crate::adopt::python::unmark;
use crate::ask::{EndpointId, NetworkId};
use crate::exposed::{close, delete_groups, open};
use crate::names;
use crate::nested::Guest;
use crate::port_pool::{Used, clean, delete_pool_ports};

/// What has come of an attempt.
pub(super) enum Paid {
    All,
    /// A port that was cleaned is what it has become, if it is still there.
    Cleaned(Option<Box<Port>>),
    /// What is owed is known more exactly now, and is to be noted before anything is done about it.
    Found(Vec<Debt>),
}

/// Pays a debt. Of a port that is `unwritten`, Neutron was told nothing of its last owner.
pub(super) async fn pay(
    debts: &Debts,
    neutron: &Neutron,
    guest: &Arc<Guest>,
    debt: &Debt,
    unwritten: bool,
) -> Result<Paid, neutron_client::Error> {
    let paid = match debt {
        Debt::Recycle {
            port,
            name,
            has_group,
            made,
            ..
        } => {
            let used = Used {
                port: *port,
                has_group: *has_group,
                is_named: !unwritten,
            };
            let cleaned = clean(neutron, guest, used, name, made).await?;
            return Ok(Paid::Cleaned(cleaned.map(Box::new)));
        }
        Debt::DrainPool { name, .. } => delete_pool_ports(neutron, guest, name).await,
        Debt::Label {
            port,
            endpoint,
            name,
            ..
        } => label(neutron, guest, *port, endpoint, name.as_deref()).await,
        Debt::DeletePort {
            port,
            network,
            addresses,
            has_group,
        } => {
            guest
                .expel(neutron, *port, Some((*network, addresses)))
                .await?;
            guest.delete_port(neutron, *port).await?;
            match has_group {
                true => delete_groups(neutron, *port, None).await,
                false => Ok(()),
            }
        }
        Debt::DeleteSwarmPorts { network } => delete_swarm_ports(neutron, *network).await,
        Debt::Open { port, exposed } => {
            let opened = open(debts, neutron, *port, exposed).await;
            debts.tell_let_in(&opened);
            opened.map(drop)
        }
        Debt::Close { port } => close(neutron, *port).await,
        Debt::DeleteStrayGroup { port, except } => delete_groups(neutron, *port, *except).await,
        Debt::PutBack(adoption) => put_back(neutron, adoption).await,
        Debt::DeletePortIfOurs { port, endpoint } => match neutron.find::<Port>(*port).await? {
            Some(found) if is_ours(&found, endpoint.as_str()) => {
                guest.expel(neutron, *port, None).await?;
                guest.delete_port(neutron, *port).await?;
                delete_groups(neutron, *port, None).await
            }
            None => delete_groups(neutron, *port, None).await,
            Some(found) if found.tags.iter().any(|tag| tag == names::EXISTING_PORT) => {
                free(neutron, &found, endpoint).await
            }
            Some(_) => Ok(()),
        },
        Debt::DeletePortsOf { endpoint } => {
            let filter = Filter::new().with("device_id", endpoint);
            for port in neutron.list::<Port>(&filter).await? {
                if is_ours(&port, endpoint.as_str()) {
                    guest.expel(neutron, port.id, None).await?;
                    guest.delete_port(neutron, port.id).await?;
                    delete_groups(neutron, port.id, None).await?;
                }
            }
            Ok(())
        }
        Debt::DeleteNetworkOf {
            container_network,
            pool_prefix,
        } => {
            let found = networks_of(neutron, container_network, pool_prefix).await;
            return found.map(Paid::Found);
        }
        Debt::DeleteNetwork { network, pools } => {
            neutron.delete::<Network>(*network).await?;
            for pool in pools {
                delete_made_pool(neutron, pool).await?;
            }
            Ok(())
        }
        Debt::Unmark {
            network,
            container_network,
            pool_prefix,
        } => match neutron.find::<Network>(*network).await? {
            Some(network) => unmark(neutron, &network, container_network, pool_prefix).await,
            None => Ok(()),
        },
        Debt::DeletePool(pool) => delete_made_pool(neutron, pool).await,
        Debt::DeleteStrayPort { device_id, except } => {
            let filter = Filter::new().with("device_id", device_id);
            delete_all::<Port>(neutron, filter, *except).await
        }
        Debt::DeleteStrayNetwork {
            name,
            description,
            except,
            pools,
        } => {
            delete_all::<Network>(neutron, named(name, description), *except).await?;
            for pool in pools {
                delete_made_pool(neutron, pool).await?;
            }
            Ok(())
        }
        Debt::DeleteStrayPool {
            name,
            description,
            except,
        } => delete_all::<SubnetPool>(neutron, named(name, description), *except).await,
    };
    paid.map(|()| Paid::All)
}

/// A port that its owner has deleted meanwhile needs nothing.
async fn put_back(neutron: &Neutron, adoption: &PortAdoption) -> Result<(), neutron_client::Error> {
    let Some(now) = neutron.find::<Port>(adoption.port).await? else {
        return Ok(());
    };
    let change = adoption.change_back(&now);
    if change == PortChange::default() {
        return Ok(());
    }
    match neutron.update(adoption.port, &change).await {
        Err(error) if !error.is_absence() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Of a port that the Python daemon has adopted it is not known how it was, but for its marks.
async fn free(
    neutron: &Neutron,
    port: &Port,
    endpoint: &EndpointId,
) -> Result<(), neutron_client::Error> {
    let marks = names::port_tags(endpoint.as_str());
    let theirs = |tag: &&String| *tag != names::EXISTING_PORT && !marks.contains(tag);
    let tags: Vec<String> = port.tags.iter().filter(theirs).cloned().collect();
    let of_it = port.device_id == endpoint.as_str();
    let change = PortChange {
        host_id: Some(String::new()),
        device_owner: Some(String::new()),
        device_id: of_it.then(String::new),
        ..PortChange::default()
    };
    let freed = async {
        neutron.update(port.id, &change).await?;
        neutron.replace_tags::<Port>(port.id, &tags).await
    };
    match freed.await {
        Err(error) if error.is_absence() => Ok(()),
        other => other,
    }
}

/// A network that was there before us stays, and so does one that nobody has marked as ours.
///
/// Without its network nobody would find a pool again: so it is noted which are to go.
async fn networks_of(
    neutron: &Neutron,
    id: &NetworkId,
    pool_prefix: &str,
) -> Result<Vec<Debt>, neutron_client::Error> {
    let mut found = Vec::new();
    let filter = Filter::new().tagged(&names::network_tags(id));
    for network in neutron.list::<Network>(&filter).await? {
        let ours = names::is_of(&network.tags, id);
        if !ours {
            continue;
        }
        if names::is_existing(&network.tags) {
            unmark(neutron, &network, id, pool_prefix).await?;
            continue;
        }
        let network = network.id;
        if names::is_of_manager(id) {
            found.push(Debt::DeleteSwarmPorts { network });
        }
        let of_network = Filter::new().with("network_id", network);
        let subnets = neutron.list::<Subnet>(&of_network).await?;
        let pools = made_pools(&subnets, pool_prefix);
        found.push(Debt::DeleteNetwork { network, pools });
    }
    Ok(found)
}

async fn delete_swarm_ports(
    neutron: &Neutron,
    network: neutron_api::NetworkId,
) -> Result<(), neutron_client::Error> {
    let filter = Filter::new()
        .with("network_id", network)
        .with("name", names::SWARM_PORT);
    delete_all::<Port>(neutron, filter, None).await
}

/// The user's pools and the default ones have other names, and stay.
pub(crate) async fn delete_made_pool(
    neutron: &Neutron,
    made: &MadePool,
) -> Result<(), neutron_client::Error> {
    match neutron.find::<SubnetPool>(made.id).await? {
        Some(pool)
            if pool.name == made.name
                && !pool.tags.iter().any(|tag| tag == names::EXISTING_POOL) =>
        {
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

/// Some Neutrons write of a new subport whose it is so soon after they have answered.
const AFTER_ANSWER: Duration = Duration::from_secs(2);

/// A port that is gone needs no label.
async fn label(
    neutron: &Neutron,
    guest: &Guest,
    port: PortId,
    endpoint: &EndpointId,
    name: Option<&str>,
) -> Result<(), neutron_client::Error> {
    let change = PortChange {
        name: Some(name.map_or_else(|| names::port(endpoint), str::to_owned)),
        device_id: Some(endpoint.to_string()),
        ..PortChange::default()
    };
    let labelled = async {
        // A port that the user has named is known as ours by its tags alone.
        let tags = names::port_tags(endpoint.as_str());
        if name.is_some() {
            neutron.replace_tags::<Port>(port, &tags).await?;
        }
        let labelled = neutron.update(port, &change).await?;
        if guest.put_back_on_trunk(neutron, &labelled).await? {
            sleep(AFTER_ANSWER).await;
            neutron.update(port, &change).await?;
        }
        match name {
            Some(_) => Ok(()),
            None => neutron.replace_tags::<Port>(port, &tags).await,
        }
    };
    match labelled.await {
        Err(error) if error.is_absence() => Ok(()),
        // Tagging what is gone is to Neutron an error of its own (HTTP 500).
        Err(error) if name.is_some() && error.status().is_some() => {
            match neutron.find::<Port>(port).await? {
                Some(_) => Err(error),
                None => Ok(()),
            }
        }
        other => other,
    }
}
