//! What Docker says of the ports of a container: those that it serves, and those of the host that
//! are to lead to them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kuryr_core::{EndpointId, ExposedPort, NetworkId, PublishedPort, Transport};
use serde::Deserialize;

use crate::text::{null_is_empty, text, text_or_none};

/// What `Join` and `ProgramExternalConnectivity` ask for: each list in any order, or empty.
#[derive(Debug, Deserialize)]
pub(crate) struct Connect {
    #[serde(rename = "NetworkID", deserialize_with = "text")]
    pub(crate) network_id: NetworkId,
    #[serde(rename = "EndpointID", deserialize_with = "text")]
    pub(crate) endpoint_id: EndpointId,
    #[serde(rename = "Options", default, deserialize_with = "null_is_empty")]
    options: ConnectivityOptions,
}

#[derive(Debug, Default, Deserialize)]
struct ConnectivityOptions {
    /// Every port that a container serves, also those of `portmap`, as Docker has it.
    #[serde(
        rename = "com.docker.network.endpoint.exposedports",
        default,
        deserialize_with = "null_is_empty"
    )]
    exposed: Vec<TransportPort>,
    #[serde(
        rename = "com.docker.network.portmap",
        default,
        deserialize_with = "null_is_empty"
    )]
    portmap: Vec<PortBinding>,
}

/// Docker's `types.TransportPort`.
#[derive(Debug, Deserialize)]
struct TransportPort {
    #[serde(rename = "Proto")]
    proto: u8,
    #[serde(rename = "Port", default)]
    port: u16,
}

/// Docker's `types.PortBinding`. The container's address in it is none at this time.
#[derive(Debug, Deserialize)]
struct PortBinding {
    #[serde(rename = "Proto")]
    proto: u8,
    #[serde(rename = "Port", default)]
    port: u16,
    #[serde(rename = "HostIP", default, deserialize_with = "text_or_none")]
    host_ip: Option<IpAddr>,
    #[serde(rename = "HostPort", default)]
    host_port: u16,
    #[serde(rename = "HostPortEnd", default)]
    host_port_end: u16,
}

impl Connect {
    /// The ports that others are to reach the container at (`EXPOSE`, `--expose`, `-p`), in order.
    pub(super) fn exposed_ports(&self) -> Vec<ExposedPort> {
        let exposed = self.options.exposed.iter().map(|it| (it.proto, it.port));
        let published = self.options.portmap.iter().map(|it| (it.proto, it.port));
        let all: BTreeSet<_> = exposed.chain(published).collect();
        let port = |(protocol, port)| ExposedPort { protocol, port };
        all.into_iter().map(port).collect()
    }

    /// The ports that the user publishes (`docker run -p`). Docker itself knows no other protocols.
    pub(super) fn published_ports(&self) -> Vec<PublishedPort> {
        let bindings = self.options.portmap.iter();
        let ports = bindings.filter_map(|binding| {
            Some(PublishedPort {
                transport: Transport::of_number(binding.proto)?,
                host_ip: binding.host_ip,
                host_port: binding.host_port,
                host_port_end: binding.host_port_end.max(binding.host_port),
                container_port: binding.port,
            })
        });
        ports.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode;

    #[test]
    fn a_port_is_exposed_once_in_whatever_order_docker_names_it() {
        for exposed in [
            r#"[{"Proto":6,"Port":443},{"Proto":132,"Port":132},{"Proto":6,"Port":80},{"Proto":17,"Port":53}]"#,
            r#"[{"Proto":17,"Port":53},{"Proto":6,"Port":80},{"Proto":6,"Port":443},{"Proto":132,"Port":132}]"#,
        ] {
            let body = format!(
                r#"{{"NetworkID":"n","EndpointID":"e","SandboxKey":"/x","Options":{{
                    "com.docker.network.endpoint.exposedports":{exposed},
                    "com.docker.network.portmap":[{{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":18080,"HostPortEnd":18080}}]}}}}"#
            );
            let ask: Connect = decode(body.as_bytes()).unwrap();
            let ports = ask.exposed_ports();
            let ports: Vec<_> = ports.iter().map(|it| (it.protocol, it.port)).collect();
            assert_eq!(ports, [(6, 80), (6, 443), (17, 53), (132, 132)]);
        }
    }

    #[test]
    fn published_ports_come_as_docker_binds_them() {
        let ask: Connect = decode(
            br#"{"NetworkID":"n","EndpointID":"e","Options":{
                "com.docker.network.endpoint.exposedports":[{"Proto":6,"Port":80}],
                "com.docker.network.portmap":[
                    {"Proto":6,"IP":"","Port":80,"HostIP":"127.0.0.1","HostPort":8080,"HostPortEnd":8090},
                    {"Proto":132,"IP":"","Port":7,"HostIP":"","HostPort":0,"HostPortEnd":0}]}}"#,
        )
        .unwrap();
        let tcp = PublishedPort {
            transport: Transport::Tcp,
            host_ip: Some([127, 0, 0, 1].into()),
            host_port: 8080,
            host_port_end: 8090,
            container_port: 80,
        };
        let sctp = PublishedPort {
            transport: Transport::Sctp,
            host_ip: None,
            host_port: 0,
            host_port_end: 0,
            container_port: 7,
        };
        assert_eq!(ask.published_ports(), [tcp, sctp]);
        for nothing in ["null", "{}", r#"{"com.docker.network.portmap":null}"#] {
            let body = format!(r#"{{"NetworkID":"n","EndpointID":"e","Options":{nothing}}}"#);
            let ask: Connect = decode(body.as_bytes()).unwrap();
            assert_eq!(ask.published_ports(), []);
            assert_eq!(ask.exposed_ports(), []);
        }
    }
}
