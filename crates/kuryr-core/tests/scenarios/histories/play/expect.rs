//! What a call must answer, by what Docker has.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::super::call::Call;
use super::super::docker::{DockerContainer, Thing};
use super::super::script::{Ip, Kind, Trouble};
use super::Play;

/// What a call has to answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Must {
    Succeed,
    Fail,
    Either,
}

impl Play {
    pub(super) fn note_limbo(&mut self, i: usize, container: &DockerContainer, trouble: Trouble) {
        if trouble.is_passing() {
            return;
        }
        let addresses = container.addresses.iter().map(ipnet::IpNet::addr);
        for address in addresses.chain(container.ip) {
            self.limbo.insert((container.wish.network, address));
        }
        self.unsure_macs.insert(i);
        self.unsure_networks.insert(container.wish.network);
    }

    /// What the calls about a container must answer, as `beside` is started or stopped at the same time.
    pub(super) fn must_of_container(
        &self,
        i: usize,
        beside: Option<&DockerContainer>,
        trouble: Trouble,
    ) -> impl Fn(&Call) -> Must + use<> {
        let me = &self.containers[i];
        let network = me.wish.network;
        let here = |one: &&DockerContainer| one.wish.network == network && !one.is_gone();
        let others = self.containers.iter().enumerate();
        let others = others.filter(|(k, _)| *k != i).map(|(_, one)| one);
        let others: Vec<DockerContainer> = others.filter(here).cloned().collect();
        let (giving_up, keeping) = others
            .iter()
            .partition::<Vec<_>, _>(|one| one.has_only_addresses());
        let addresses = |of: Vec<&DockerContainer>| -> BTreeSet<IpAddr> {
            let all = of.into_iter().flat_map(|one| one.addresses.iter());
            all.map(ipnet::IpNet::addr).collect()
        };
        let held = addresses(keeping);
        let mut unsure: BTreeSet<IpAddr> = self
            .limbo
            .iter()
            .filter(|(of, _)| *of == network)
            .map(|(_, address)| *address)
            .collect();
        unsure.extend(addresses(giving_up));
        if let Some(beside) = beside.filter(|beside| beside.wish.network == network) {
            unsure.extend(beside.ip);
            unsure.extend(beside.addresses.iter().map(ipnet::IpNet::addr));
        }
        let is_theirs = self.others[network].is_some();
        // Docker does not say whose address of the second family it asks for: where another start comes in
        // between the two requests of one, either may be refused.
        let mut all = [me].into_iter().chain(&others);
        let may_cross = self.kinds[network] == Kind::TheirsOfBothFamilies
            && all.clone().any(DockerContainer::is_between_families)
            && all.any(|one| one.wish.ip == Ip::OfTheirPort);
        let wish = me.wish;
        let of_their_port = is_theirs && wish.ip == Ip::OfTheirPort;
        let has_unsure_mac = self.unsure_macs.contains(&i);
        let fresh_until = if me.is_gone() {
            Instant::now() + Duration::from_secs(40)
        } else if me.is_fresh() {
            Instant::now() + Duration::from_secs(5)
        } else {
            Instant::now() - Duration::from_secs(1)
        };
        move |call| {
            let is_fresh = Instant::now() <= fresh_until;
            let must = if let Call::RequestAddress(_, ask) = call {
                match ask.address {
                    Some(_) if is_theirs && wish.ip == Ip::OfTheirMachine => Must::Fail,
                    Some(address) if unsure.contains(&address) => Must::Either,
                    Some(address) if held.contains(&address) => Must::Fail,
                    _ => Must::Succeed,
                }
            } else if let Call::CreateEndpoint(new) = call {
                let is_unsure = |one: &ipnet::IpNet| unsure.contains(&one.addr());
                match &new.mac {
                    Some(_) if of_their_port => Must::Fail,
                    Some(_) if has_unsure_mac => Must::Either,
                    _ if !is_fresh || new.addresses.iter().any(is_unsure) => Must::Either,
                    _ => Must::Succeed,
                }
            } else if matches!(call, Call::Join(..)) && !is_fresh {
                Must::Either
            } else {
                Must::Succeed
            };
            if must == Must::Succeed && (may_cross || !trouble.is_passing()) {
                Must::Either
            } else {
                must
            }
        }
    }
}
