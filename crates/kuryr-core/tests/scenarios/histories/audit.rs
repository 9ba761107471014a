//! Compares Neutron, the host and the journal with what Docker has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use kuryr_vif::Vif;
use neutron_api::{Network, Port, SecurityGroup, SubnetPool};

use super::docker::{DockerContainer, Thing as _};
use super::play::Play;
use super::script::{Ip, Kind};

macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

/// What holds at any moment: nothing is used twice, every endpoint has what it was promised, and what
/// is others' is as it was.
pub(super) async fn at_any_moment(play: &Play) -> Result<(), String> {
    let ports = ports(play).await;
    let (mut addresses, mut macs) = (BTreeSet::new(), BTreeSet::new());
    for container in play.containers.iter().filter(|one| one.is_live()) {
        let port = endpoint(play, &ports, container)?;
        for address in &container.addresses {
            let place = (container.wish.network, address.addr());
            ensure!(addresses.insert(place), "{address} is given to two");
        }
        let mac = (container.wish.network, port.mac_address.to_string());
        ensure!(macs.insert(mac), "{} is given to two", port.mac_address);
    }
    for (i, others) in play.others.iter().enumerate() {
        let Some(others) = others else { continue };
        others.check(&play.world, play.may_use_port(i)).await?;
    }
    Ok(())
}

/// What holds in addition two minutes after anything went wrong: there is no more than that.
pub(super) async fn at_rest(play: &Play) -> Result<(), String> {
    at_any_moment(play).await?;
    let mut ports = ports(play).await;
    let mut plugged = plugged(play);
    let mut exposing = BTreeSet::new();
    for container in play.containers.iter().filter(|one| !one.is_gone()) {
        let port = endpoint(play, &ports, container)?.clone();
        ports.remove(&port.id.to_string());
        plugged.remove(&port.id.to_string());
        let adopted = play.is_others(port.id);
        let name = format!("{}-port", container.id);
        ensure!(adopted || port.name == name, "its name: {port:?}");
        if container.wish.exposes && !adopted {
            exposing.insert(format!("{}-exposed_ports", port.id));
            ensure!(port.security_groups.len() == 2, "its groups: {port:?}");
        }
    }
    for (id, port) in &ports {
        if play.is_others(port.id) {
            continue;
        }
        let is_warm = play.warm && port.name.starts_with("kuryr-pool-port-host1-");
        ensure!(is_warm, "a port is left: {port:?}");
        let interface = plugged.remove(id);
        // One that was made just before a kill is plugged when the network is used next.
        let is_its_own = interface.is_none_or(|vif| vif.attachment.owner == port.name);
        ensure!(is_its_own, "somebody else has the interface of {port:?}");
        let of_network = |network: &&super::docker::DockerNetwork| {
            network.made && port.name.ends_with(network.id.as_str())
        };
        ensure!(
            play.networks.iter().any(|n| of_network(&n)),
            "a warm port of no network is left: {port:?}"
        );
    }
    ensure!(plugged.is_empty(), "interfaces are left: {plugged:?}");
    let groups = play.world.all::<SecurityGroup>().await.into_iter();
    let groups = groups.map(|group| group.name);
    let groups: BTreeSet<_> = groups
        .filter(|name| name.ends_with("exposed_ports"))
        .collect();
    ensure!(
        groups == exposing,
        "groups are {groups:?}, not {exposing:?}"
    );
    networks(play).await?;
    notes(play)
}

async fn networks(play: &Play) -> Result<(), String> {
    let (mut wanted, mut pools) = (BTreeSet::new(), 0);
    for (i, network) in play.networks.iter().enumerate() {
        let (others, kind) = (&play.others[i], play.kinds[i]);
        if let Some(others) = others {
            wanted.insert(others.network.name.clone());
        } else if network.made {
            wanted.insert(format!("kuryr-net-{}", &network.id.as_str()[..8]));
        }
        let of_default = matches!(kind, Kind::Default | Kind::DefaultOfBothFamilies);
        if network.made && !of_default {
            pools += network.asks.len();
        }
    }
    let there = play.world.all::<Network>().await.into_iter();
    let there: BTreeSet<_> = there.map(|network| network.name).collect();
    ensure!(there == wanted, "networks are {there:?}, not {wanted:?}");
    let there = play.world.all::<SubnetPool>().await;
    let ours = there.iter().filter(|pool| !pool.is_default).count();
    ensure!(ours == pools, "subnet pools are {there:?}, not {pools}");
    Ok(())
}

/// Nothing is owed any more, and only what is adopted is noted.
fn notes(play: &Play) -> Result<(), String> {
    let is_adopted = |i: &usize| play.others[*i].is_some() && play.networks[*i].made;
    let adopted = (0..play.networks.len()).filter(is_adopted).count();
    let on_port = |container: &&DockerContainer| {
        let theirs = play.others[container.wish.network].is_some();
        theirs && container.wish.ip == Ip::OfTheirPort && !container.is_gone()
    };
    let ports = play.containers.iter().filter(on_port).count();
    let notes = play.world.notes();
    let of = |prefix: &str| notes.iter().filter(|note| note.starts_with(prefix)).count();
    ensure!(of("debt-") == 0, "something is still owed: {notes:?}");
    ensure!(of("lease-") == 0, "a lease is left: {notes:?}");
    ensure!(
        of("adoption-") == adopted,
        "{adopted} are adopted: {notes:?}"
    );
    ensure!(of("port-") == ports, "{ports} ports are adopted: {notes:?}");
    Ok(())
}

/// The port of an endpoint, with the interface that it has here, if all is as Docker was told.
fn endpoint<'a>(
    play: &Play,
    ports: &'a BTreeMap<String, Port>,
    container: &DockerContainer,
) -> Result<&'a Port, String> {
    let owner = container.id.as_str();
    let plugged = plugged(play).into_values();
    let mine: Vec<Vif> = plugged
        .filter(|vif| vif.attachment.owner == owner)
        .collect();
    ensure!(
        mine.len() == 1,
        "an endpoint has these interfaces: {mine:?}"
    );
    let port = ports.get(&mine[0].attachment.interface_id);
    let Some(port) = port else {
        return Err(format!("an endpoint has no port: {mine:?}"));
    };
    let has: BTreeSet<IpAddr> = port.fixed_ips.iter().map(|ip| ip.ip_address).collect();
    let promised: BTreeSet<IpAddr> = container.addresses.iter().map(IpNet::addr).collect();
    ensure!(has == promised, "promised were {promised:?}: {port:?}");
    let interface = container.interface.as_ref().unwrap();
    ensure!(
        interface.mac == Some(port.mac_address),
        "{interface:?} and {port:?}"
    );
    ensure!(
        port.host_id.as_deref() == Some("host1"),
        "its host: {port:?}"
    );
    Ok(port)
}

async fn ports(play: &Play) -> BTreeMap<String, Port> {
    let ports = play.world.all::<Port>().await.into_iter();
    ports.map(|port| (port.id.to_string(), port)).collect()
}

fn plugged(play: &Play) -> BTreeMap<String, Vif> {
    let plugged = play.world.host.plugged().into_iter();
    plugged
        .map(|vif| (vif.attachment.interface_id.clone(), vif))
        .collect()
}
