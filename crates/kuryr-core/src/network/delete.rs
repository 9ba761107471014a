//! Container networks that go: from Neutron only if we made them, and if nobody else uses them.

use http::StatusCode;
use neutron_api::{Network, Port, SubnetPool};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use crate::address::removal_of;
use crate::ask::NetworkId;
use crate::debt::{Debt, made_pools};
use crate::error::{Error, Kind, told};
use crate::kuryr::Kuryr;
use crate::names;
use crate::view::Net;

impl Kuryr {
    /// Removes a container network from Neutron, with the subnet pools that we made for it.
    ///
    /// A network that is gone is a success; one that Neutron can't be asked about now is removed
    /// as soon as it can.
    ///
    /// # Errors
    /// Others have ports on it: then it is left.
    pub async fn delete_network(&self, id: &NetworkId, by: Instant) -> Result<(), Error> {
        let _turn = self.network_turns.turn(id, by).await?;
        self.delete_network_in_turn(id, by).await
    }

    /// Removes a network that the runtime has forgotten, unless it has named it meanwhile.
    pub(crate) async fn delete_forgotten_network(
        &self,
        id: &NetworkId,
        by: Instant,
    ) -> Result<(), Error> {
        let _turn = self.network_turns.turn(id, by).await?;
        if !self.unconfirmed.has(id) {
            return Ok(());
        }
        self.delete_network_in_turn(id, by).await
    }

    /// The same as [`Kuryr::delete_network`] by whoever has the network's turn.
    pub(super) async fn delete_network_in_turn(
        &self,
        id: &NetworkId,
        by: Instant,
    ) -> Result<(), Error> {
        self.port_defaults.remove(id);
        if let Some(adoption) = self.adoptions.get(id) {
            self.abandon_network(id, adoption, by).await;
            self.unconfirmed.remove(id);
            return Ok(());
        }
        // The runtime forgets the network whatever we answer, and if we do not.
        let whichever = Debt::DeleteNetworkOf {
            container_network: id.clone(),
            pool_prefix: self.settings.subnet_pool_prefix.clone(),
        };
        let draining = self.draining(id, None);
        self.debts.intend(&draining).await;
        self.debts.intend(&whichever).await;
        let deleted = self.delete_found(id, &whichever, by).await;
        self.debts.forgo(&whichever).await;
        self.debts.forgo(&draining).await;
        self.unconfirmed.remove(id);
        deleted
    }

    /// Removes a container network that is not known to be adopted; `whichever` is to be owed if it
    /// can't be known which one that is.
    async fn delete_found(
        &self,
        id: &NetworkId,
        whichever: &Debt,
        by: Instant,
    ) -> Result<(), Error> {
        let net = match self.find_network(id, by).await {
            Ok(Some(net)) => net,
            Ok(None) => return Ok(()),
            // Several are called so: which one it is somebody else must say.
            Err(error @ Error::Ambiguous { .. }) => return Err(error),
            Err(error) => {
                self.debts.owe(whichever.clone()).await;
                self.drain(id, None, by).await;
                if error.kind() != Kind::Unavailable {
                    return Err(error);
                }
                tracing::warn!(error = &error as &dyn std::error::Error, "not done yet");
                return Ok(());
            }
        };
        self.drain(id, Some(net.id), by).await;
        self.view.remove(id);
        if net.is_existing {
            tracing::info!("network {} was there before us and stays", net.id);
            let debt = Debt::Unmark {
                network: net.id,
                container_network: id.clone(),
                pool_prefix: self.settings.subnet_pool_prefix.clone(),
            };
            self.debts.pay(debt, by).await;
            return Ok(());
        }
        self.delete_made(&net, by).await
    }

    /// Removes a network that we made, unless somebody else uses it.
    async fn delete_made(&self, net: &Net, by: Instant) -> Result<(), Error> {
        let neutron = self.neutron.by(by);
        // Containers that have just gone may still have their ports.
        self.debts.addresses_freed(net.id, None, by).await;
        // Another host, or another network of this one, may be on it without any container now.
        let is_alone = match self.pools_of_others(&neutron, net).await {
            Ok(pools) if !pools.is_empty() => {
                let network = net.id;
                return Err(Error::NetworkShared { network, pools });
            }
            Ok(_) => true,
            Err(_) => false,
        };
        let pools = made_pools(&net.subnets, &self.settings.subnet_pool_prefix);
        let debt = Debt::DeleteNetwork {
            network: net.id,
            pools: pools.clone(),
        };
        // Without its network nobody would find a pool again.
        self.debts.intend(&debt).await;
        let mut deleted = neutron.delete::<Network>(net.id).await;
        if deleted.as_ref().is_err_and(is_conflict)
            && is_alone
            && self.let_go_forgotten(net, by).await
        {
            deleted = neutron.delete::<Network>(net.id).await;
        }
        let Err(refused) = deleted else {
            for pool in pools {
                self.debts.pay(Debt::DeletePool(pool), by).await;
            }
            self.debts.forgo(&debt).await;
            return Ok(());
        };
        let others = self.ports_of_others(&neutron, net).await;
        if is_conflict(&refused) && !others.is_empty() {
            self.debts.forgo(&debt).await;
            let (network, source) = (net.id, Box::new(refused));
            return Err(Error::NetworkInUse {
                network,
                ports: others,
                source,
            });
        }
        self.debts.owe(debt).await;
        let passing = refused.is_passing();
        let error = told(format!("remove network {} now; it is tried again", net.id))(refused);
        if passing {
            tracing::warn!(error = &error as &dyn std::error::Error, "not done yet");
            return Ok(());
        }
        Err(error)
    }

    /// Parts with ports that we have made on a network and that no endpoint has: the runtime, which removes the
    /// network, has forgotten that it asked for their addresses. Whether there were any.
    async fn let_go_forgotten(&self, net: &Net, by: Instant) -> bool {
        let filter = Filter::new().with("network_id", net.id);
        let ports = self.neutron.by(by).list::<Port>(&filter).await;
        let mut found = false;
        for port in ports.unwrap_or_default() {
            if !self.reservations.is_claimed(port.id)
                && !self.endpoints.have(port.id)
                && self.is_left_over(&port).await.unwrap_or(false)
            {
                self.reservations.remove(port.id);
                self.debts.owe(removal_of(&port, true)).await;
                found = true;
            }
        }
        found && self.debts.addresses_freed(net.id, None, by).await
    }

    /// The subnet pools by which other container networks know a network's subnets.
    async fn pools_of_others(
        &self,
        neutron: &Neutron,
        net: &Net,
    ) -> Result<Vec<String>, neutron_client::Error> {
        let ids: Vec<String> = net.subnets.iter().map(|s| s.id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let filter = Filter::new().with("tags-any", ids.join(","));
        let pools = neutron.list::<SubnetPool>(&filter).await?;
        let shown = |pool: &SubnetPool| format!("{} ({})", pool.id, pool.name);
        Ok(pools.iter().map(shown).collect())
    }

    /// The ports on a network that are neither ours nor Neutron's own.
    async fn ports_of_others(&self, neutron: &Neutron, net: &Net) -> Vec<String> {
        let filter = Filter::new().with("network_id", net.id);
        let ports = neutron.list::<Port>(&filter).await.unwrap_or_default();
        let here = self.settings.host.as_str();
        let foreign = ports
            .iter()
            .filter(|port| match port.device_owner.as_str() {
                "network:dhcp" | "network:distributed" => false,
                // Another host's Kuryr may use the network that this one has made.
                names::DEVICE_OWNER => port
                    .host_id
                    .as_deref()
                    .is_some_and(|host| !host.is_empty() && host != here),
                _ => true,
            });
        foreign
            .map(|port| format!("{} ({} {})", port.id, port.device_owner, port.device_id))
            .collect()
    }
}

/// Whether Neutron refuses to remove what is in use.
fn is_conflict(refusal: &neutron_client::Error) -> bool {
    refusal.status() == Some(StatusCode::CONFLICT)
}
