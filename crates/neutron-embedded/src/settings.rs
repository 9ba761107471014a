//! What can be different from one Neutron to another.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use neutron_api::VifDetails;
use serde_json::{Map, json};

/// What an embedded Neutron is like.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// The project that everything belongs to.
    pub project_id: String,
    /// The largest IP packet that fits into a network, in bytes.
    pub mtu: u32,
    /// `provider:network_type` of a network of which nobody has said it.
    pub network_type: String,
    /// `provider:physical_network` likewise.
    pub physical_network: Option<String>,
    /// The physical networks that SR-IOV cards of the hosts are on: ports can be bound to devices there, and
    /// only there.
    pub cards: Vec<String>,
    /// The aliases of the extensions; what belongs to another one is not there.
    pub extensions: Vec<String>,
    /// The hosts that ports can be bound to.
    pub hosts: Hosts,
    /// `binding:vif_type` of a bound port that is not for a device of a card.
    pub vif_type: String,
    /// `binding:vif_details` likewise.
    pub vif_details: VifDetails,
    /// Whether a bound port forwards at once, without anybody's [`report`](crate::Embedded::report).
    pub active_when_bound: bool,
    /// How many objects of a kind, such as `port`, a project may have that has no quota of its own;
    /// of a kind that is not here, any number.
    pub quotas: BTreeMap<String, u32>,
    /// How many objects a list is cut after at the latest, as `pagination_max_limit` does.
    pub max_page: Option<usize>,
    /// The subnet pools that are there from the start.
    pub pools: Vec<SharedPool>,
    /// Whether a range may be in one network only, as where one host routes between all of them.
    pub one_routing_table: bool,
    /// Where else ranges are in use; only asked with `one_routing_table`.
    pub ranges_in_use: Option<Arc<dyn RangesInUse>>,
}

/// Says which ranges no subnet may have, because something else on the host uses them.
#[async_trait]
pub trait RangesInUse: Debug + Send + Sync {
    /// All of them, but for those of the subnets themselves; asked for each subnet to be made.
    async fn list(&self) -> Vec<RangeInUse>;
}

/// A range that is in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RangeInUse {
    /// The range; all addresses, as in a default route, are not a range in use.
    pub range: IpNet,
    /// What uses it, as it goes after "in use by": `Docker's network bridge`.
    pub by: String,
}

/// The hosts that ports can be bound to; binding to another gives `binding_failed`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hosts {
    /// Whatever host is named.
    Any,
    /// These.
    These(Vec<String>),
}

impl Hosts {
    pub(crate) fn has(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(hosts) => hosts.iter().any(|known| known == host),
        }
    }
}

/// A subnet pool for everyone, the default for its IP version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedPool {
    /// Its name.
    pub name: String,
    /// Its range.
    pub prefix: IpNet,
    /// How long the prefix of a subnet is that does not say, in bits.
    pub default_prefixlen: u8,
}

impl EmbeddedSettings {
    /// The one Neutron of a host without a cloud: its ports are plugged into a Linux bridge for each
    /// network, named by [`bridge_name`](crate::bridge_name).
    pub fn standalone(host: &str, mtu: u32) -> Self {
        Self {
            mtu,
            // What Neutron calls a network that does not leave its host.
            network_type: "local".to_owned(),
            hosts: Hosts::These(vec![host.to_owned()]),
            one_routing_table: true,
            vif_type: "bridge".to_owned(),
            vif_details: VifDetails {
                rest: Map::from_iter([
                    ("port_filter".to_owned(), json!(true)),
                    ("connectivity".to_owned(), json!("l2")),
                    ("bound_drivers".to_owned(), json!({"0": "linuxbridge"})),
                ]),
                ..VifDetails::default()
            },
            ..Self::default()
        }
    }
}

/// What a Neutron of 2026.1 with ML2 and OVN lists, as far as it is here.
const EXTENSIONS: [&str; 30] = [
    "allowed-address-pairs",
    "binding",
    "default-subnetpools",
    "empty-string-filtering",
    "external-net",
    "filter-validation",
    "ip-substring-filtering",
    "net-mtu",
    "net-mtu-writable",
    "pagination",
    "port-security",
    "project-id",
    "provider",
    "quota-check-limit",
    "quota-check-limit-default",
    "quota_details",
    "quotas",
    "revision-if-match",
    "security-group",
    "security-groups-normalized-cidr",
    "security-groups-rules-belongs-to-default-sg",
    "sorting",
    "standard-attr-description",
    "standard-attr-revisions",
    "standard-attr-tag",
    "standard-attr-timestamp",
    "stateful-security-group",
    "subnet_allocation",
    "subnetpool-prefix-ops",
    "tag-creation",
];

impl Default for EmbeddedSettings {
    fn default() -> Self {
        let pool = |name: &str, prefix: IpNet, default_prefixlen| SharedPool {
            name: name.to_owned(),
            prefix,
            default_prefixlen,
        };
        let kuryr = IpNet::new_assert([10, 10, 0, 0].into(), 16);
        let kuryr6 = IpNet::new_assert([0xfd00, 0x10, 0, 0, 0, 0, 0, 0].into(), 48);
        Self {
            project_id: "6f6c1f3a5b1d4f0c9d4a3f1e2b7c8d90".to_owned(),
            mtu: 1442,
            network_type: "geneve".to_owned(),
            physical_network: None,
            cards: Vec::new(),
            extensions: EXTENSIONS.map(str::to_owned).into(),
            hosts: Hosts::Any,
            vif_type: "ovs".to_owned(),
            vif_details: VifDetails {
                bridge_name: Some("br-int".to_owned()),
                datapath_type: Some("system".to_owned()),
                ovs_hybrid_plug: None,
                rest: Map::from_iter([
                    ("port_filter".to_owned(), json!(true)),
                    ("connectivity".to_owned(), json!("l2")),
                    ("bound_drivers".to_owned(), json!({"0": "ovn"})),
                ]),
            },
            active_when_bound: false,
            quotas: BTreeMap::new(),
            max_page: None,
            pools: vec![pool("kuryr", kuryr, 24), pool("kuryr6", kuryr6, 64)],
            one_routing_table: false,
            ranges_in_use: None,
        }
    }
}
