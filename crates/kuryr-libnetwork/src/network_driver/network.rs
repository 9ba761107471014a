//! What Docker says of networks.

use std::collections::BTreeMap;

use ipnet::IpNet;
use kuryr_core::{NetworkId, NewNetwork, Range};
use serde::{Deserialize, Serialize};

use crate::text::{flag, null_is_empty, options, text, text_or_none, texts};

#[derive(Debug, Deserialize)]
pub(crate) struct NetworkRef {
    #[serde(rename = "NetworkID", deserialize_with = "text")]
    pub(crate) network_id: NetworkId,
}

/// Here the user's options stand by themselves.
#[derive(Debug, Deserialize)]
pub(crate) struct AllocateNetwork {
    #[serde(rename = "NetworkID", deserialize_with = "text")]
    network_id: NetworkId,
    #[serde(rename = "Options", default, deserialize_with = "options")]
    options: BTreeMap<String, String>,
    #[serde(rename = "IPv4Data", default, deserialize_with = "null_is_empty")]
    ipv4_data: Vec<IpamData>,
    #[serde(rename = "IPv6Data", default, deserialize_with = "null_is_empty")]
    ipv6_data: Vec<IpamData>,
}

impl From<AllocateNetwork> for NewNetwork {
    fn from(ask: AllocateNetwork) -> Self {
        Self {
            id: ask.network_id,
            ranges: ranges(ask.ipv4_data, ask.ipv6_data),
            // Each node learns of that by itself.
            internal: false,
            options: ask.options,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct CreateNetwork {
    #[serde(rename = "NetworkID", deserialize_with = "text")]
    network_id: NetworkId,
    #[serde(rename = "Options", default, deserialize_with = "null_is_empty")]
    options: NetworkOptions,
    #[serde(rename = "IPv4Data", default, deserialize_with = "null_is_empty")]
    ipv4_data: Vec<IpamData>,
    #[serde(rename = "IPv6Data", default, deserialize_with = "null_is_empty")]
    ipv6_data: Vec<IpamData>,
}

impl From<CreateNetwork> for NewNetwork {
    fn from(ask: CreateNetwork) -> Self {
        Self {
            id: ask.network_id,
            ranges: ranges(ask.ipv4_data, ask.ipv6_data),
            internal: ask.options.internal,
            options: ask.options.generic,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct NetworkOptions {
    /// What the user gave with `-o`.
    #[serde(
        rename = "com.docker.network.generic",
        default,
        deserialize_with = "options"
    )]
    generic: BTreeMap<String, String>,
    #[serde(
        rename = "com.docker.network.internal",
        default,
        deserialize_with = "flag"
    )]
    internal: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IpamData {
    #[serde(default, deserialize_with = "text_or_none")]
    pool: Option<IpNet>,
    #[serde(default, deserialize_with = "text_or_none")]
    gateway: Option<IpNet>,
    #[serde(default, deserialize_with = "texts")]
    aux_addresses: Vec<IpNet>,
}

fn ranges(v4: Vec<IpamData>, v6: Vec<IpamData>) -> Vec<Range> {
    let data = v4.into_iter().chain(v6);
    data.filter_map(IpamData::range).collect()
}

impl IpamData {
    /// None for what Docker's "null" IPAM driver gives: no range at all, written as `0.0.0.0/0`.
    fn range(self) -> Option<Range> {
        let cidr = self.pool.filter(|pool| pool.prefix_len() > 0)?;
        let gateway = self.gateway.map(|gateway| gateway.addr());
        Some(Range {
            cidr: cidr.trunc(),
            gateway: gateway.filter(|gateway| !gateway.is_unspecified()),
            reserved: self.aux_addresses.iter().map(IpNet::addr).collect(),
        })
    }
}

/// Asked from Docker 28 on, before it reserves gateways.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GwAllocCheck {
    #[serde(default, deserialize_with = "null_is_empty")]
    options: NetworkOptions,
}

#[derive(Debug, Serialize)]
pub(super) struct SkippedGateways {
    #[serde(rename = "SkipIPv4")]
    ipv4: bool,
    #[serde(rename = "SkipIPv6")]
    ipv6: bool,
}

impl From<GwAllocCheck> for SkippedGateways {
    fn from(ask: GwAllocCheck) -> Self {
        Self {
            ipv4: ask.options.internal,
            ipv6: ask.options.internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::wire::decode;

    fn network(body: &str) -> NewNetwork {
        decode::<CreateNetwork>(body.as_bytes()).unwrap().into()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_its_ranges_gateways_and_options() {
        let network = network(
            r#"{
                "NetworkID": "5b1e5c3c",
                "Options": {
                    "com.docker.network.enable_ipv4": true,
                    "com.docker.network.enable_ipv6": true,
                    "com.docker.network.internal": true,
                    "com.docker.network.generic": {"neutron.net.name": "blue", "n": 7, "no": null}
                },
                "IPv4Data": [{
                    "AddressSpace": "no_address_space",
                    "Pool": "10.20.0.0/24",
                    "Gateway": "10.20.0.1/24",
                    "AuxAddresses": {"printer": "10.20.0.9/24", "none": "<nil>"}
                }],
                "IPv6Data": [{"AddressSpace": "", "Pool": "fd00::/64", "Gateway": "fd00::1/64"}]
            }"#,
        );
        let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            network,
            NewNetwork {
                id: "5b1e5c3c".parse().unwrap(),
                ranges: vec![
                    Range {
                        cidr: "10.20.0.0/24".parse().unwrap(),
                        gateway: Some(address("10.20.0.1")),
                        reserved: vec![address("10.20.0.9")],
                    },
                    Range {
                        cidr: "fd00::/64".parse().unwrap(),
                        gateway: Some(address("fd00::1")),
                        reserved: vec![],
                    },
                ],
                internal: true,
                options: [option("neutron.net.name", "blue"), option("n", "7")].into(),
            }
        );
    }

    #[test]
    fn every_way_to_say_that_there_is_no_gateway_is_understood() {
        for gateway in [
            r#""Gateway": "0.0.0.0/0","#,
            r#""Gateway": "","#,
            r#""Gateway": null,"#,
            r#""Gateway": "<nil>","#,
            "",
        ] {
            let network = network(&format!(
                r#"{{"NetworkID":"n","IPv4Data":[{{{gateway}"Pool":"10.0.0.0/24"}}],"IPv6Data":null}}"#
            ));
            assert_eq!(network.ranges.len(), 1, "{gateway}");
            assert_eq!(network.ranges[0].gateway, None, "{gateway}");
        }
    }

    #[test]
    fn dockers_null_ipam_gives_no_range() {
        let network = network(
            r#"{"NetworkID":"n","Options":null,
                "IPv4Data":[{"Pool":"0.0.0.0/0","Gateway":"0.0.0.0/0"},{}]}"#,
        );
        assert_eq!(network.ranges, []);
    }

    #[test]
    fn a_wrong_gateway_is_named() {
        let body = br#"{"NetworkID":"n","IPv4Data":[{"Pool":"10.0.0.0/24","Gateway":"10.1"}]}"#;
        assert_eq!(
            decode::<CreateNetwork>(body).unwrap_err(),
            "IPv4Data[0].Gateway: \"10.1\" is not an address with a prefix length \
             (expected such as 10.20.0.5/24)"
        );
    }

    #[test]
    fn an_internal_network_needs_no_gateways() {
        for (internal, skip) in [("true", true), ("\"true\"", true), ("false", false)] {
            let body = format!(r#"{{"Options":{{"com.docker.network.internal":{internal}}}}}"#);
            let answer: SkippedGateways = decode::<GwAllocCheck>(body.as_bytes()).unwrap().into();
            assert_eq!((answer.ipv4, answer.ipv6), (skip, skip), "{internal}");
        }
    }
}
