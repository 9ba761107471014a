//! The bridges: made, and removed, as there are networks.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use kuryr_vif::{Bridge, Instant};
use neutron_api::{IpVersion, NetworkId};
use neutron_embedded::Snapshot;

use super::{Converging, PATIENCE};
use crate::model::alias_prefix;
use crate::{AgentError, Model, sysctl};

/// How many bridges are removed before it is looked whether there is something to do.
const FEW: usize = 4;

impl Converging {
    /// The bridges of an agent before this one.
    pub(super) async fn find_bridges(&mut self) -> Result<(), AgentError> {
        let found = self.host.bridges(&alias_prefix(&self.settings)).await;
        for (name, network) in found.map_err(AgentError::listing)? {
            match network.parse() {
                Ok(network) => self.bridges.insert_mut(network, Arc::default()),
                Err(error) => tracing::warn!(bridge = %name, %error, "is not of any network"),
            }
        }
        Ok(())
    }

    pub(super) fn unsettle_all(&mut self, wanted: &Model) {
        let all = wanted.networks.keys().chain(self.bridges.keys());
        self.unsettled.extend(all);
    }

    pub(super) async fn remove_bridges(&mut self, wanted: &Model) -> Result<(), AgentError> {
        let unwanted = |network: &&NetworkId| !wanted.networks.contains_key(network);
        let unwanted: Vec<NetworkId> = self.unsettled.iter().filter(unwanted).copied().collect();
        for network in unwanted {
            self.remove_bridge(network).await?;
            self.unsettled.remove(&network);
        }
        Ok(())
    }

    async fn remove_bridge(&mut self, network: NetworkId) -> Result<(), AgentError> {
        if self.bridges.contains_key(&network) {
            let name = neutron_embedded::bridge_name(network).parse()?;
            let removed = self.host.remove_bridge(&name, Instant::now() + PATIENCE);
            let failure = AgentError::of_bridge("remove the bridge", network);
            removed.await.map_err(failure)?;
            self.bridges.remove_mut(&network);
            self.stray.remove(&network);
        }
        Ok(())
    }

    /// Makes the bridges that are not there; one that can't be made does not keep the others back.
    pub(super) async fn make_bridges(
        &self,
        wanted: &Model,
    ) -> (Vec<(NetworkId, Bridge)>, Result<(), AgentError>) {
        let (mut made, mut outcome) = (Vec::new(), Ok(()));
        for network in self.unsettled.difference(&wanted.leaving) {
            let Some(bridge) = wanted.networks.get(network).map(|part| &part.bridge) else {
                continue;
            };
            let here = self
                .bridges
                .get(network)
                .and_then(|here| here.as_ref().as_ref());
            if here == Some(bridge) {
                made.push((*network, bridge.clone()));
                continue;
            }
            let deadline = Instant::now() + PATIENCE;
            if let Err(source) = self.host.ensure_bridge(bridge, deadline).await {
                outcome = Err(AgentError::of_bridge("make the bridge", *network)(source));
                continue;
            }
            let addresses = bridge.addresses.iter().map(|net| IpVersion::of(net.addr()));
            let versions: BTreeSet<IpVersion> = addresses.collect();
            let routes = |version| versions.contains(&version);
            sysctl::forward(routes(IpVersion::V4), routes(IpVersion::V6));
            made.push((*network, bridge.clone()));
        }
        (made, outcome)
    }

    /// Removes the bridges of networks that are gone whose ranges others have by now.
    pub(super) async fn make_way(
        &mut self,
        snapshot: &Snapshot,
        before: &Model,
    ) -> Result<(), AgentError> {
        let touched = snapshot.touched_since(before.source());
        let touched = touched.unwrap_or_else(|| {
            let all = snapshot.networks.keys().chain(self.bridges.keys());
            all.copied().collect()
        });
        let subnets = touched.iter().filter_map(|id| snapshot.subnets.get(id));
        let ranges: Vec<IpNet> = subnets
            .flat_map(|all| all.iter().map(|it| it.cidr))
            .collect();
        let is_gone = |id: &&NetworkId| !snapshot.networks.contains_key(id);
        let gone: Vec<NetworkId> = touched
            .union(&before.leaving)
            .filter(is_gone)
            .copied()
            .collect();
        for network in gone {
            let bridge = self
                .bridges
                .get(&network)
                .and_then(|bridge| bridge.as_ref().as_ref());
            let overlaps = |net: &IpNet| {
                ranges
                    .iter()
                    .any(|range| range.contains(net) || net.contains(range))
            };
            if bridge.is_some_and(|bridge| bridge.addresses.iter().any(overlaps)) {
                self.remove_bridge(network).await?;
            }
        }
        Ok(())
    }

    /// Removes a few of the bridges that are not wanted any more: for each the kernel takes some tens
    /// of milliseconds, in which others wait.
    pub(super) async fn remove_some_bridges(&mut self) -> Result<(), AgentError> {
        let leaving = self.leaving().take(FEW).collect::<Vec<_>>();
        for network in leaving {
            self.remove_bridge(network).await?;
        }
        Ok(())
    }

    /// The networks that are gone but for their rules, and mostly their bridges.
    pub(super) fn leaving(&self) -> impl Iterator<Item = NetworkId> {
        let applied = self.applied.iter();
        applied.flat_map(|model| model.leaving.iter().copied())
    }
}
