//! What Docker says of endpoints, and is told of them.

use std::net::IpAddr;

use ipnet::IpNet;
use kuryr_core::{
    Attachment, Details, EndpointId, Interface, MacAddress, NetworkId, NewEndpoint, Route,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::text::{null_is_empty, text, text_or_none};

#[derive(Debug, Deserialize)]
pub(crate) struct EndpointRef {
    #[serde(rename = "NetworkID", deserialize_with = "text")]
    pub(crate) network_id: NetworkId,
    #[serde(rename = "EndpointID", deserialize_with = "text")]
    pub(crate) endpoint_id: EndpointId,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CreateEndpoint {
    #[serde(rename = "NetworkID", deserialize_with = "text")]
    network_id: NetworkId,
    #[serde(rename = "EndpointID", deserialize_with = "text")]
    endpoint_id: EndpointId,
    #[serde(rename = "Interface", default, deserialize_with = "null_is_empty")]
    pub(crate) interface: Given,
    #[serde(rename = "Options", default, deserialize_with = "null_is_empty")]
    options: Map<String, Value>,
}

impl From<CreateEndpoint> for NewEndpoint {
    fn from(ask: CreateEndpoint) -> Self {
        Self {
            network: ask.network_id,
            id: ask.endpoint_id,
            addresses: ask.interface.addresses().collect(),
            mac: ask.interface.mac,
            options: ask.options.into_iter().filter_map(of_the_user).collect(),
        }
    }
}

/// Docker mixes what the user gave with `--network name=N,driver-opt=K=V`, always a text, into
/// what it has to say itself.
fn of_the_user((name, value): (String, Value)) -> Option<(String, String)> {
    match value {
        Value::String(value) if !name.starts_with("com.docker.network.") => Some((name, value)),
        Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

/// What Docker, or the user by way of it, has chosen for an endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Given {
    #[serde(rename = "Address", default, deserialize_with = "text_or_none")]
    address: Option<IpNet>,
    #[serde(rename = "AddressIPv6", default, deserialize_with = "text_or_none")]
    address_ipv6: Option<IpNet>,
    #[serde(rename = "MacAddress", default, deserialize_with = "text_or_none")]
    mac: Option<MacAddress>,
}

impl Given {
    /// What Docker is to be told of an endpoint's interface: only what it has not chosen, or else
    /// it takes offence ("driver modified interface").
    pub(super) fn completed_by(self, made: &Interface) -> CreatedEndpoint {
        // Docker switches IPv6 off in the container of an endpoint to which its IPAM driver gave
        // only an IPv4 address; another address would fail the start. Nor is it ever half.
        let new = |wanted: fn(IpAddr) -> bool| {
            let mut addresses = made.addresses.iter();
            let given = self.addresses().next().is_some();
            let address = addresses.find(|address| wanted(address.addr()));
            address.filter(|_| !given).map(IpNet::to_string)
        };
        CreatedEndpoint {
            interface: GivenBack {
                address: new(|address| address.is_ipv4()).unwrap_or_default(),
                address_ipv6: new(|address| address.is_ipv6()).unwrap_or_default(),
                mac: match self.mac {
                    Some(_) => String::new(),
                    None => made.mac.map(|mac| mac.to_string()).unwrap_or_default(),
                },
            },
        }
    }

    fn addresses(self) -> impl Iterator<Item = IpNet> {
        [self.address, self.address_ipv6].into_iter().flatten()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreatedEndpoint {
    interface: GivenBack,
}

#[derive(Debug, Eq, PartialEq, Serialize)]
struct GivenBack {
    #[serde(rename = "Address")]
    address: String,
    #[serde(rename = "AddressIPv6")]
    address_ipv6: String,
    #[serde(rename = "MacAddress")]
    mac: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Information {
    value: Details,
}

impl From<Details> for Information {
    fn from(value: Details) -> Self {
        Self { value }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Joined {
    interface_name: InterfaceName,
    gateway: String,
    #[serde(rename = "GatewayIPv6")]
    gateway_ipv6: String,
    static_routes: Vec<StaticRoute>,
    /// Or else Docker gives the container a second interface, on its own bridge.
    disable_gateway_service: bool,
}

impl From<Attachment> for Joined {
    fn from(attachment: Attachment) -> Self {
        let gateway = |wanted: fn(&IpAddr) -> bool| {
            let mut gateways = attachment.gateways.iter().copied();
            let gateway = gateways.find(wanted);
            gateway.map(|gateway| gateway.to_string())
        };
        Self {
            gateway: gateway(IpAddr::is_ipv4).unwrap_or_default(),
            gateway_ipv6: gateway(IpAddr::is_ipv6).unwrap_or_default(),
            static_routes: attachment.routes.iter().map(StaticRoute::from).collect(),
            disable_gateway_service: true,
            interface_name: InterfaceName {
                src_name: attachment.interface.to_string(),
                dst_prefix: attachment.prefix,
            },
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct InterfaceName {
    src_name: String,
    dst_prefix: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StaticRoute {
    destination: IpNet,
    route_type: u8,
    next_hop: String,
}

impl From<&Route> for StaticRoute {
    /// The numbers are libnetwork's `types.NEXTHOP` and `types.CONNECTED`.
    fn from(route: &Route) -> Self {
        Self {
            destination: route.destination,
            route_type: match route.next_hop {
                Some(_) => 0,
                None => 1,
            },
            next_hop: route
                .next_hop
                .map(|hop| hop.to_string())
                .unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::decode;

    const ADDRESSES: [&str; 2] = ["10.20.0.5/24", "fd00::5/64"];

    fn asked(interface: &Value) -> CreateEndpoint {
        let body = json!({"NetworkID": "n", "EndpointID": "e", "Interface": interface});
        decode(body.to_string().as_bytes()).unwrap()
    }

    /// What is told of an interface with both addresses.
    fn told(interface: &Value) -> Value {
        let made = Interface {
            mac: Some([0xfa, 0x16, 0x3e, 0, 0, 1].into()),
            addresses: ADDRESSES.iter().map(|a| a.parse().unwrap()).collect(),
        };
        serde_json::to_value(asked(interface).interface.completed_by(&made)).unwrap()
    }

    #[test]
    fn what_docker_gave_does_not_come_back() {
        let [address, address_ipv6] = ADDRESSES;
        let given = json!({
            "Address": address, "AddressIPv6": address_ipv6, "MacAddress": "FA:16:3E:00:00:01",
        });
        let nothing = json!({"Address": "", "AddressIPv6": "", "MacAddress": ""});
        assert_eq!(told(&given), json!({"Interface": nothing}));
    }

    #[test]
    fn the_hardware_address_comes_back_where_docker_gave_none() {
        for given in [
            json!({"Address": "10.20.0.5/24", "AddressIPv6": "", "MacAddress": ""}),
            json!({"Address": "10.20.0.5/24"}),
        ] {
            let back = json!({"Address": "", "AddressIPv6": "", "MacAddress": "fa:16:3e:00:00:01"});
            assert_eq!(told(&given), json!({"Interface": back}));
        }
    }

    #[test]
    fn addresses_come_back_where_no_ipam_driver_gave_any() {
        let [address, address_ipv6] = ADDRESSES;
        let all = json!({
            "Address": address, "AddressIPv6": address_ipv6, "MacAddress": "fa:16:3e:00:00:01",
        });
        for given in [
            json!(null),
            json!({}),
            json!({"Address": "", "AddressIPv6": null}),
        ] {
            assert_eq!(told(&given), json!({"Interface": all}));
        }
    }

    #[test]
    fn of_all_options_only_the_users_reach_the_core() {
        let ask: CreateEndpoint = decode(
            br#"{"NetworkID":"n","EndpointID":"e","Options":{
                "com.docker.network.endpoint.exposedports":[{"Proto":6,"Port":80}],
                "com.docker.network.endpoint.name":"web",
                "com.docker.network.portmap":[],
                "neutron.port.name":"blue","other":7}}"#,
        )
        .unwrap();
        let users = [("neutron.port.name".to_owned(), "blue".to_owned())];
        assert_eq!(NewEndpoint::from(ask).options, users.into());
    }

    #[test]
    fn an_address_without_its_prefix_length_is_named() {
        let body = br#"{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"10.1.2"}}"#;
        assert_eq!(
            decode::<CreateEndpoint>(body).unwrap_err(),
            "Interface.Address: \"10.1.2\" is not an address with a prefix length \
             (expected such as 10.20.0.5/24)"
        );
    }

    #[test]
    fn a_sandbox_is_told_its_interface_gateways_and_routes() {
        let attachment = Attachment {
            interface: "t_c0123456789a".parse().unwrap(),
            prefix: "eth".to_owned(),
            gateways: ["fd00::1", "10.20.0.1"].map(|g| g.parse().unwrap()).into(),
            routes: vec![
                Route {
                    destination: "10.30.0.0/24".parse().unwrap(),
                    next_hop: Some("10.20.0.9".parse().unwrap()),
                },
                Route {
                    destination: "10.40.0.0/24".parse().unwrap(),
                    next_hop: None,
                },
            ],
        };
        assert_eq!(
            serde_json::to_value(Joined::from(attachment)).unwrap(),
            json!({
                "InterfaceName": {"SrcName": "t_c0123456789a", "DstPrefix": "eth"},
                "Gateway": "10.20.0.1",
                "GatewayIPv6": "fd00::1",
                "StaticRoutes": [
                    {"Destination": "10.30.0.0/24", "RouteType": 0, "NextHop": "10.20.0.9"},
                    {"Destination": "10.40.0.0/24", "RouteType": 1, "NextHop": ""},
                ],
                "DisableGatewayService": true,
            })
        );
    }
}
