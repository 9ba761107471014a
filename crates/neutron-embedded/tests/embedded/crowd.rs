//! What much costs: what one container does must not depend on how many others there are.

use std::time::{Duration, Instant};

use http::Method;
use neutron_embedded::{Embedded, Snapshot};
use serde_json::{Value, json};

use crate::{exchange, made, text};

#[tokio::test]
async fn an_attach_costs_no_more_with_ten_thousand_ports_than_with_ten() {
    let mut few = Crowd::of(1, 10).await;
    let mut many = Crowd::of(1000, 10).await;
    // In turns, so that whatever else the machine does happens to both.
    let mut costs = Vec::new();
    for _ in 0..100 {
        costs.push((few.attach().await, many.attach().await));
    }
    let (few, many): (Vec<Duration>, Vec<Duration>) = costs.into_iter().unzip();
    let (few, many) = (median(few), median(many));
    assert!(many < few * 3 / 2, "{few:?} with ten, {many:?} with all");
}

/// A Neutron with networks and ports on them, and an agent that looks at each change.
struct Crowd {
    embedded: Embedded,
    seen: Snapshot,
    network: Value,
}

impl Crowd {
    async fn of(networks: usize, ports: usize) -> Self {
        let embedded = Embedded::default();
        let mut network = Value::Null;
        for number in 0..networks {
            let body = json!({"network": {"name": format!("network-{number}")}});
            network = made(&embedded, "networks", body).await;
            let subnet = json!({"subnet": {
                "network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/16",
            }});
            made(&embedded, "subnets", subnet).await;
            let port = json!({"network_id": network["id"], "binding:host_id": "host1"});
            let body = json!({"ports": vec![port; ports]});
            exchange(&embedded, Method::POST, "ports", body).await;
        }
        Self {
            seen: embedded.snapshot(),
            embedded,
            network,
        }
    }

    /// What Kuryr does for one container: find the network, make a port, name and tag it, find it,
    /// remove it.
    async fn attach(&mut self) -> Duration {
        let begun = Instant::now();
        let (network, name) = (text(&self.network["id"]), text(&self.network["name"]));
        let found = self.ask(&format!("networks?name={name}")).await;
        assert_eq!(found["networks"][0]["id"], network);
        self.ask(&format!("subnets?network_id={network}")).await;
        let port = json!({"port": {
            "network_id": network, "binding:host_id": "host1", "device_id": "endpoint",
        }});
        let port = made(&self.embedded, "ports", port).await;
        self.look();
        let path = format!("ports/{}", text(&port["id"]));
        let change = json!({"port": {"name": "endpoint"}});
        exchange(&self.embedded, Method::PUT, &path, change).await;
        let tags = json!({"tags": ["a"]});
        exchange(&self.embedded, Method::PUT, &format!("{path}/tags"), tags).await;
        self.look();
        let found = self.ask("ports?device_id=endpoint&tags=a").await;
        assert_eq!(found["ports"][0]["id"], port["id"]);
        exchange(&self.embedded, Method::DELETE, &path, Value::Null).await;
        self.look();
        begun.elapsed()
    }

    async fn ask(&self, path: &str) -> Value {
        exchange(&self.embedded, Method::GET, path, Value::Null)
            .await
            .1
    }

    fn look(&mut self) {
        self.seen = self.embedded.snapshot();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
