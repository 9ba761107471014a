//! What the Python daemon leaves in Neutron for a network that it has adopted: taken away when its
//! container network goes, so that the network is what it was before.

use http::StatusCode;
use neutron_api::{Network, Subnet, SubnetPool, SubnetPoolId};
use neutron_client::{Filter, Neutron};
use uuid::Uuid;

use crate::ask::NetworkId;
use crate::debt::delete_made_pool;
use crate::names::{self, EXISTING_POOL};

/// Takes away the marks of one container network, and with the last one's what was made for all.
///
/// The network's own marks go last: by them it is found if this is cut short.
pub(crate) async fn unmark(
    neutron: &Neutron,
    network: &Network,
    id: &NetworkId,
    pool_prefix: &str,
) -> Result<(), neutron_client::Error> {
    let marks = names::adoption_marks(id);
    let (marks, others): (Vec<&String>, Vec<&String>) =
        network.tags.iter().partition(|tag| marks.contains(tag));
    if !names::is_of_any(&others) {
        let of_network = Filter::new().with("network_id", network.id);
        for subnet in neutron.list::<Subnet>(&of_network).await? {
            forget_pools(neutron, &subnet, pool_prefix).await?;
        }
    }
    for mark in marks {
        neutron.remove_tag::<Network>(network.id, mark).await?;
    }
    Ok(())
}

/// Towards the container runtime a subnet's pool is the one that a tag of the subnet names.
async fn forget_pools(
    neutron: &Neutron,
    subnet: &Subnet,
    prefix: &str,
) -> Result<(), neutron_client::Error> {
    for id in subnet.tags.iter().filter_map(|tag| tag.parse().ok()) {
        let id: SubnetPoolId = Uuid::into(id);
        // If there is none, an attempt before this one has removed it.
        if let Some(pool) = neutron.find::<SubnetPool>(id).await? {
            let made = pool.name == names::subnet_pool(prefix, subnet.cidr);
            let holds = subnet.subnetpool_id == Some(id);
            if made && holds && subnet.name == names::subnet(subnet.cidr) {
                if is_removed(neutron, subnet, &pool).await? {
                    delete_made_pool(neutron, &pool.into()).await?;
                }
                continue;
            }
            if !is_of_others(neutron, subnet, id).await? {
                match made {
                    true => delete_made_pool(neutron, &pool.into()).await?,
                    false => neutron.remove_tag::<SubnetPool>(id, EXISTING_POOL).await?,
                }
            }
        }
        let tag = id.to_string();
        neutron.remove_tag::<Subnet>(subnet.id, &tag).await?;
    }
    Ok(())
}

/// Removes a subnet that the Python daemon has added to the network, unless somebody uses it.
async fn is_removed(
    neutron: &Neutron,
    subnet: &Subnet,
    pool: &SubnetPool,
) -> Result<bool, neutron_client::Error> {
    let adopted = Filter::new().tagged(&[subnet.id.to_string()]);
    let mut pools = neutron.list::<SubnetPool>(&adopted).await?;
    pools.retain(|other| other.id != pool.id);
    if !pools.is_empty() {
        tracing::info!(
            "subnet {} is left: other container networks use it",
            subnet.id
        );
        return Ok(false);
    }
    match neutron.delete::<Subnet>(subnet.id).await {
        Err(error) if error.status() == Some(StatusCode::CONFLICT) => {
            tracing::info!("subnet {} is left: there are ports on it", subnet.id);
            Ok(false)
        }
        other => other.map(|_| true),
    }
}

/// Whether other subnets have this pool: the Python daemon makes one for all of one range.
async fn is_of_others(
    neutron: &Neutron,
    subnet: &Subnet,
    pool: SubnetPoolId,
) -> Result<bool, neutron_client::Error> {
    let tagged = Filter::new().tagged(&[pool.to_string()]);
    let subnets = neutron.list::<Subnet>(&tagged).await?;
    Ok(subnets.iter().any(|other| other.id != subnet.id))
}
