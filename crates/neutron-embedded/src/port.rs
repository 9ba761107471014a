//! Ports: what they are. How they are bound: `binding`; their addresses: `port_addresses`.

mod binding;

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{
    AddressPair, FixedIp, MacAddress, NetworkId, PortId, PortStatus, QosPolicyId, SecurityGroupId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::address::self_assigned;
use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::host_port::HostPort;
use crate::network::{Network, Segment};
use crate::port_addresses::{Place, Wish};
use crate::port_security::{by_default, check, groups_of, pairs, qos_policy};
use crate::refusal::Refusal;
use crate::resource::{Resource, View};
use crate::security_group::SecurityGroup;
use crate::store::{Common, Key};
use crate::trunk;

pub use binding::bridge_name;

/// A port as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Port {
    #[serde(flatten)]
    pub(crate) common: Common,
    pub(crate) network_id: NetworkId,
    pub(crate) mac_address: MacAddress,
    pub(crate) fixed_ips: Vec<FixedIp>,
    device_id: String,
    device_owner: String,
    pub(crate) status: PortStatus,
    admin_state_up: bool,
    #[serde(rename = "binding:host_id")]
    host_id: String,
    #[serde(rename = "binding:vif_type")]
    vif_type: String,
    #[serde(rename = "binding:vnic_type")]
    vnic_type: String,
    #[serde(rename = "binding:profile")]
    profile: Map<String, Value>,
    pub(crate) security_groups: Vec<SecurityGroupId>,
    pub(crate) allowed_address_pairs: Vec<AddressPair>,
    pub(crate) port_security_enabled: bool,
    #[serde(default)]
    pub(crate) qos_policy_id: Option<QosPolicyId>,
    #[serde(default)]
    dns_name: String,
}

impl Port {
    pub(crate) fn id(&self) -> PortId {
        self.common.id.into()
    }

    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        let text =
            |text: &String, key: fn(String) -> Key| (!text.is_empty()).then(|| key(text.clone()));
        let ips = self.fixed_ips.iter().flat_map(|ip| {
            [
                Key::Address(ip.ip_address),
                Key::Allocation(ip.subnet_id, ip.ip_address),
            ]
        });
        let groups = self.security_groups.iter().copied().map(Key::Member);
        [Key::PortOn(self.network_id), Key::Mac(self.mac_address)]
            .into_iter()
            .chain(text(&self.device_id, Key::Device))
            .chain(text(&self.host_id, Key::Host))
            .chain(ips)
            .chain(groups)
            .collect()
    }

    /// Whether it is Neutron's own, and no reason to keep its network or subnet.
    pub(crate) fn goes_with_network(&self) -> bool {
        matches!(
            self.device_owner.as_str(),
            "network:dhcp" | "network:distributed"
        )
    }

    /// As the agent of its host sees it.
    pub(crate) fn on_host(&self) -> HostPort {
        HostPort {
            id: self.id(),
            network_id: self.network_id,
            mac_address: self.mac_address,
            addresses: self.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
            is_bridged: self.vif_type == "bridge",
            status: self.status,
            admin_state_up: self.admin_state_up,
            security_groups: self.security_groups.clone(),
            allowed_address_pairs: self.allowed_address_pairs.clone(),
            port_security_enabled: self.port_security_enabled,
            binding_profile: self.profile.clone(),
        }
    }

    /// Whether it is the same for the agent of its host: a new name, for one, is not its business.
    pub(crate) fn is_same_on_host(&self, other: &Self) -> bool {
        self.host_id == other.host_id && self.on_host() == other.on_host()
    }

    /// Who uses it; nobody if this is empty.
    pub(crate) fn device_id(&self) -> &str {
        &self.device_id
    }

    fn place(&self) -> Place<'_> {
        Place {
            port: self.id(),
            network: self.network_id,
            mac: self.mac_address,
            owner: &self.device_owner,
        }
    }
}

impl Resource for Port {
    const ONE: &'static str = "port";
    const MANY: &'static str = "ports";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        fixed("network_id"),
        settable("mac_address"),
        settable("fixed_ips").unsorted(),
        settable("device_id"),
        settable("device_owner"),
        shown("status"),
        settable("admin_state_up").truth(),
        settable("binding:host_id").of("binding").unsorted(),
        shown("binding:vif_type")
            .of("binding")
            .unfiltered()
            .unsorted(),
        shown("binding:vif_details")
            .of("binding")
            .unfiltered()
            .unsorted(),
        settable("binding:vnic_type")
            .of("binding")
            .unfiltered()
            .unsorted(),
        settable("binding:profile")
            .of("binding")
            .unfiltered()
            .unsorted(),
        settable("security_groups").of("security-group").unsorted(),
        settable("allowed_address_pairs")
            .of("allowed-address-pairs")
            .unfiltered()
            .unsorted(),
        settable("port_security_enabled")
            .of("port-security")
            .unfiltered()
            .unsorted(),
        settable("qos_policy_id").of("qos").unsorted(),
        settable("dns_name").of("dns-integration").unsorted(),
        shown("trunk_details")
            .of("trunk-details")
            .unfiltered()
            .unsorted(),
        fixed("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Port {id} could not be found.");
        Refusal::not_found("PortNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        // Taken and dropped, as the default set of extension drivers does.
        body.take::<Vec<String>>("tags")?;
        let network_id: NetworkId = body.need("network_id")?;
        let network = cloud.store.find::<Network>(network_id);
        let network = network.ok_or_else(|| Network::missing(&network_id.to_string()))?;
        let wish: Option<Vec<Wish>> = body.take("fixed_ips")?;
        let mac: Option<MacAddress> = body.or("mac_address", None)?;
        let id = PortId::from(common.id);
        let device_owner = body.text("device_owner")?.unwrap_or_default();
        let is_secured = body.flag("port_security_enabled")?;
        let is_secured = is_secured.unwrap_or_else(|| by_default(network, &device_owner));
        let wanted_groups = groups_of(cloud, &mut body)?;
        let wants_groups = wanted_groups.is_some();
        let groups = match wanted_groups {
            Some(groups) => groups,
            None if !is_secured => Vec::new(),
            None if device_owner.starts_with("network:") => Vec::new(),
            None => vec![SecurityGroup::ensure_default(
                &mut cloud.store,
                &common.project_id,
            )],
        };
        let host_id: Option<Option<String>> = body.take("binding:host_id")?;
        let port = Self {
            mac_address: mac.unwrap_or_else(|| free_mac(cloud, network_id, id)),
            common,
            network_id,
            fixed_ips: Vec::new(),
            device_id: body.text("device_id")?.unwrap_or_default(),
            device_owner,
            status: PortStatus::Down,
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(true),
            host_id: String::new(),
            vif_type: String::new(),
            vnic_type: binding::vnic_type(&mut body)?.unwrap_or_else(|| "normal".to_owned()),
            profile: body.or("binding:profile", None)?.unwrap_or_default(),
            security_groups: groups,
            allowed_address_pairs: Vec::new(),
            port_security_enabled: is_secured,
            qos_policy_id: qos_policy(cloud, &mut body)?.unwrap_or_default(),
            dns_name: body.text("dns_name")?.unwrap_or_default(),
        };
        port.check_mac(cloud)?;
        let fixed_ips = match wish {
            Some(wish) => port.place().addresses(&cloud.store, &[], &wish)?,
            None => port.place().any_addresses(&cloud.store)?,
        };
        let mac_address = match mac {
            Some(mac) => mac,
            None => steady_mac(cloud, &port, &fixed_ips).unwrap_or(port.mac_address),
        };
        let port = Self {
            mac_address,
            ..port
        };
        let allowed_address_pairs = pairs(&mut body, port.mac_address)?.unwrap_or_default();
        let host_id = host_id.flatten().unwrap_or_default();
        let port = Self {
            fixed_ips,
            allowed_address_pairs,
            ..port
        };
        check(&port, wants_groups)?;
        let segment = port.segment(cloud);
        Ok(port.bound_to(host_id, &segment, &cloud.settings))
    }

    fn update(self, cloud: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        let mac_address: MacAddress = body.or("mac_address", self.mac_address)?;
        if mac_address != self.mac_address && self.is_bound() {
            let message = format!(
                "Unable to complete operation on port {}, port is already bound, port type: {}, \
                 old_mac {}, new_mac {mac_address}.",
                self.common.id, self.vif_type, self.mac_address
            );
            return Err(Refusal::conflict("PortBound", message));
        }
        let host_id: Option<Option<String>> = body.take("binding:host_id")?;
        let wish: Option<Vec<Wish>> = body.take("fixed_ips")?;
        let wanted_groups = groups_of(cloud, &mut body)?;
        let wants_groups = wanted_groups.is_some();
        let vnic_type = self.vnic_type.clone();
        let port = Self {
            mac_address,
            device_id: body.text("device_id")?.unwrap_or(self.device_id),
            device_owner: body.text("device_owner")?.unwrap_or(self.device_owner),
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(self.admin_state_up),
            vnic_type: binding::vnic_type(&mut body)?.unwrap_or(self.vnic_type),
            profile: body
                .or("binding:profile", Some(self.profile))?
                .unwrap_or_default(),
            security_groups: wanted_groups.unwrap_or(self.security_groups),
            allowed_address_pairs: pairs(&mut body, mac_address)?
                .unwrap_or(self.allowed_address_pairs),
            port_security_enabled: body
                .flag("port_security_enabled")?
                .unwrap_or(self.port_security_enabled),
            qos_policy_id: qos_policy(cloud, &mut body)?.unwrap_or(self.qos_policy_id),
            dns_name: body.text("dns_name")?.unwrap_or(self.dns_name),
            ..self
        };
        check(&port, wants_groups)?;
        port.check_mac(cloud)?;
        let fixed_ips = match wish {
            Some(wish) => port
                .place()
                .addresses(&cloud.store, &port.fixed_ips, &wish)?,
            None => port.fixed_ips.clone(),
        };
        let port = Self { fixed_ips, ..port };
        let host_id = host_id.map(Option::unwrap_or_default);
        let host_id = host_id.unwrap_or_else(|| port.host_id.clone());
        if host_id == port.host_id && port.vnic_type == vnic_type {
            return Ok(port);
        }
        let segment = port.segment(cloud);
        Ok(port.bound_to(host_id, &segment, &cloud.settings))
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        trunk::check_unused(cloud, self.id())
    }

    fn key(attribute: &str, value: &str) -> Option<Key> {
        match attribute {
            "device_id" if !value.is_empty() => Some(Key::Device(value.to_owned())),
            "mac_address" => value.parse().ok().map(Key::Mac),
            "network_id" => value.parse().ok().map(Key::PortOn),
            "security_groups" => value.parse().ok().map(Key::Member),
            "fixed_ips" => value
                .strip_prefix("ip_address=")?
                .parse()
                .ok()
                .map(Key::Address),
            "binding:host_id" if !value.is_empty() => Some(Key::Host(value.to_owned())),
            _ => None,
        }
    }

    fn decorate(&self, cloud: &Cloud, view: &mut View) {
        let details = self.vif_details(&self.segment(cloud), &cloud.settings);
        view.insert("binding:vif_details".into(), json!(details));
        if let Some(trunk) = cloud.store.trunk_on(self.id()) {
            view.insert("trunk_details".into(), trunk.details(cloud));
        }
    }
}

impl Port {
    /// What its network is on.
    fn segment(&self, cloud: &Cloud) -> Segment {
        let network = cloud.store.find::<Network>(self.network_id);
        network.map_or_else(
            || Segment::by_default(&cloud.settings),
            |network| network.segment(&cloud.settings),
        )
    }

    fn check_mac(&self, cloud: &Cloud) -> Result<(), Refusal> {
        let (network, mac) = (self.network_id, self.mac_address);
        if mac.octets() == [0; 6] {
            return Err(Refusal::bad_request(format!(
                "Invalid input for mac_address. Reason: '{mac}' is not a valid MAC address."
            )));
        }
        if !cloud.store.has_mac(network, mac, self.id()) {
            return Ok(());
        }
        let message = format!(
            "Unable to complete operation for network {network}. The mac address {mac} is in use."
        );
        Err(Refusal::conflict("MacAddressInUse", message))
    }
}

/// A hardware address that follows from the first address, so that a container that comes back to
/// the same address has the same one; in OpenStack's range. None if it is in use, or if an address
/// was made from the one that the port has.
fn steady_mac(cloud: &Cloud, port: &Port, fixed_ips: &[FixedIp]) -> Option<MacAddress> {
    let is_made_from_mac = |ip: &FixedIp| {
        let net = IpNet::new(ip.ip_address, 64);
        net.is_ok_and(|net| self_assigned(net.trunc(), port.mac_address) == ip.ip_address)
    };
    if fixed_ips.iter().any(is_made_from_mac) {
        return None;
    }
    let (a, b, c) = match fixed_ips.first()?.ip_address {
        IpAddr::V4(ip) => (ip.octets()[1], ip.octets()[2], ip.octets()[3]),
        IpAddr::V6(ip) => (ip.octets()[13], ip.octets()[14], ip.octets()[15]),
    };
    let mac = MacAddress::from([0xfa, 0x16, 0x3e, a, b, c]);
    let is_free = !cloud.store.has_mac(port.network_id, mac, port.id());
    is_free.then_some(mac)
}

/// A hardware address that no port of the network has, in OpenStack's range.
fn free_mac(cloud: &Cloud, network: NetworkId, port: PortId) -> MacAddress {
    loop {
        let [a, b, c, ..] = *Uuid::new_v4().as_bytes();
        let mac = MacAddress::from([0xfa, 0x16, 0x3e, a, b, c]);
        if !cloud.store.has_mac(network, mac, port) {
            return mac;
        }
    }
}
