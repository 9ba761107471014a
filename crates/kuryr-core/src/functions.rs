//! Virtual functions for containers whose ports don't name one: chosen here, and named in their ports.
//!
//! A function is free if nobody on this host uses it and no port in Neutron that is bound here names it.
//! From its choice until its port is in Neutron a claim keeps it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuryr_vif::{FreeFunction, IfName, PciSlot};
use neutron_api::{NetworkId, NewPort, Port, ProviderNetwork};
use neutron_client::Filter;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::binding::SLOT;
use crate::debt::Debt;
use crate::driver::Driver;
use crate::error::{Error, plugging, told};
use crate::keyed::Keyed;
use crate::kuryr::Kuryr;
use crate::view::Net;

/// What is known of this host's functions.
#[derive(Default)]
pub(crate) struct Functions {
    claimed: Arc<Mutex<BTreeSet<PciSlot>>>,
    /// Who chooses does so alone, from the look at what is used until the claim.
    turn: Keyed<&'static str>,
    networks: Mutex<HashMap<NetworkId, Option<String>>>,
}

/// A function that is some port's which is being made.
pub(crate) struct Claim {
    function: FreeFunction,
    /// The physical network that its card is on.
    network: String,
    claimed: Arc<Mutex<BTreeSet<PciSlot>>>,
}

impl Claim {
    /// Makes a new port one for this function.
    pub(crate) fn name_in(&self, port: NewPort) -> NewPort {
        let profile = [
            (SLOT, self.function.slot.to_string()),
            ("pci_vendor_info", self.function.kind.clone()),
            ("physical_network", self.network.clone()),
        ];
        let text = |(key, value): (&str, String)| (key.to_owned(), Value::String(value));
        NewPort {
            vnic_type: Some("direct".to_owned()),
            binding_profile: profile.into_iter().map(text).collect::<Map<_, _>>(),
            ..port
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        locked(&self.claimed).remove(&self.function.slot);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kuryr {
    /// A function for a port that is going to be made on a network, if its ports are to have some.
    ///
    /// # Errors
    /// No card is on the network's physical network, or none of its functions is free.
    pub(crate) async fn claim_function(
        &self,
        net: &Net,
        by: Instant,
    ) -> Result<Option<Claim>, Error> {
        if self.driver_of(net) != Driver::HwVeb {
            return Ok(None);
        }
        let cards = self.cards_of(net, by).await?;
        if let Some(claim) = self.choose(&cards, by).await? {
            return Ok(Some(claim));
        }
        // Containers that have just gone may still have their ports.
        self.debts.settled(by, Debt::may_free_a_port).await;
        if let Some(claim) = self.choose(&cards, by).await? {
            return Ok(Some(claim));
        }
        Err(Error::NoFunction {
            host: self.settings.host.clone(),
            cards: listed(cards.iter().map(|(_, card)| card.to_string())),
        })
    }

    async fn choose(
        &self,
        cards: &[(String, IfName)],
        by: Instant,
    ) -> Result<Option<Claim>, Error> {
        let functions = &self.functions;
        let _turn = functions.turn.turn(&"a virtual function", by).await?;
        // Looked at before Neutron: what is a port's by then is in its list.
        let mut used = locked(&functions.claimed).clone();
        used.extend(self.functions_of_ports(by).await?);
        for (network, card) in cards {
            let free = self.host.free_functions(card).await;
            let free =
                free.map_err(plugging(format!("look at the virtual functions of {card}")))?;
            let is_free = |function: &FreeFunction| !used.contains(&function.slot);
            if let Some(function) = free.into_iter().find(is_free) {
                locked(&functions.claimed).insert(function.slot.clone());
                return Ok(Some(Claim {
                    function,
                    network: network.clone(),
                    claimed: Arc::clone(&functions.claimed),
                }));
            }
        }
        Ok(None)
    }

    /// The functions that ports name which are bound to this host, whosever they are.
    async fn functions_of_ports(&self, by: Instant) -> Result<Vec<PciSlot>, Error> {
        let host = &self.settings.host;
        let filter = Filter::new().with("binding:host_id", host);
        let act = told(format!("look up which devices ports of host {host} have"));
        let ports = self
            .neutron
            .by(by)
            .list::<Port>(&filter)
            .await
            .map_err(act)?;
        let slot = |port: &Port| port.binding_profile.get(SLOT)?.as_str()?.parse().ok();
        Ok(ports.iter().filter_map(slot).collect())
    }

    /// The cards that are on a network's physical network.
    async fn cards_of(&self, net: &Net, by: Instant) -> Result<Vec<(String, IfName)>, Error> {
        let mut cards = self.settings.drivers.cards.clone();
        let mappings = listed(cards.iter().map(|(on, card)| format!("{on}:{card}")));
        let networks: BTreeSet<&String> = cards.iter().map(|(on, _)| on).collect();
        let has_several = networks.len() > 1;
        match self.physical_network(net.id, by).await? {
            Some(network) => {
                cards.retain(|(on, _)| *on == network);
                match cards.is_empty() {
                    true => Err(Error::NoCard {
                        network: net.id,
                        on: network,
                        mappings,
                    }),
                    false => Ok(cards),
                }
            }
            // A card that is on another would put the container there.
            None if has_several => Err(Error::HiddenPhysicalNetwork {
                network: net.id,
                mappings,
            }),
            None => Ok(cards),
        }
    }

    /// The physical network that a network is on; none where that is not shown to us.
    async fn physical_network(&self, id: NetworkId, by: Instant) -> Result<Option<String>, Error> {
        if let Some(known) = locked(&self.functions.networks).get(&id) {
            return Ok(known.clone());
        }
        let act = told(format!("look up which physical network network {id} is on"));
        let found = self.neutron.by(by).find::<ProviderNetwork>(id).await;
        let Some(found) = found.map_err(act)? else {
            return Ok(None);
        };
        if let (Some(kind), None) = (&found.network_type, &found.physical_network) {
            return Err(Error::NoPhysicalNetwork {
                network: id,
                kind: kind.clone(),
            });
        }
        locked(&self.functions.networks).insert(id, found.physical_network.clone());
        Ok(found.physical_network)
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.as_slice() {
        [] => "none".to_owned(),
        some => some.join(", "),
    }
}
