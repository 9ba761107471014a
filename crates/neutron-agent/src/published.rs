//! Published ports, as they are kept in a port's `binding:profile`: the store has them, and they go
//! with the port.

use std::net::IpAddr;

use kuryr_vif::{PublishedPort, Transport};
use neutron_embedded::HostPort;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key in `binding:profile`.
pub(crate) const KEY: &str = "published_ports";

/// A published port as it is kept.
#[derive(Deserialize, Serialize)]
struct Kept {
    protocol: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_ip: Option<IpAddr>,
    host_port: u16,
    container_port: u16,
}

/// The published ports of a port; what can't be read is not published.
pub(crate) fn of_port(port: &HostPort) -> Vec<PublishedPort> {
    let kept = port.binding_profile.get(KEY).and_then(Value::as_array);
    let kept = kept.into_iter().flatten();
    kept.filter_map(|value| {
        let kept = Kept::deserialize(value).ok()?;
        Some(PublishedPort {
            transport: Transport::of_number(kept.protocol)?,
            host_ip: kept.host_ip,
            host_port: kept.host_port,
            host_port_end: kept.host_port,
            container_port: kept.container_port,
        })
    })
    .collect()
}

/// As they are kept; null when there are none, which removes the key.
pub(crate) fn to_be_kept(ports: &[PublishedPort]) -> Value {
    let kept = |port: &PublishedPort| {
        serde_json::json!(Kept {
            protocol: port.transport.number(),
            host_ip: port.host_ip,
            host_port: port.host_port,
            container_port: port.container_port,
        })
    };
    match ports {
        [] => Value::Null,
        ports => ports.iter().map(kept).collect(),
    }
}
