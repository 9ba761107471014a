//! What can be different from one Neutron to another.

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
    /// The aliases of the extensions; what belongs to another one is not there.
    pub extensions: Vec<String>,
    /// The hosts that ports can be bound to.
    pub hosts: Hosts,
    /// `binding:vif_type` of a bound port.
    pub vif_type: String,
    /// `binding:vif_details` of a bound port.
    pub vif_details: VifDetails,
    /// Whether a bound port forwards at once, without anybody's [`report`](crate::Embedded::report).
    pub active_when_bound: bool,
    /// The quota of ports.
    pub max_ports: Option<usize>,
    /// How many objects a list is cut after at the latest, as `pagination_max_limit` does.
    pub max_page: Option<usize>,
    /// The subnet pools that are there from the start.
    pub pools: Vec<SharedPool>,
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

/// What a Neutron of 2026.1 with ML2 and OVN lists, as far as it is here.
const EXTENSIONS: [&str; 19] = [
    "agent",
    "allowed-address-pairs",
    "binding",
    "default-subnetpools",
    "empty-string-filtering",
    "filter-validation",
    "ip-substring-filtering",
    "net-mtu",
    "net-mtu-writable",
    "pagination",
    "port-security",
    "project-id",
    "revision-if-match",
    "security-group",
    "sorting",
    "standard-attr-revisions",
    "standard-attr-tag",
    "subnet_allocation",
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
            max_ports: None,
            max_page: None,
            pools: vec![pool("kuryr", kuryr, 24), pool("kuryr6", kuryr6, 64)],
        }
    }
}
