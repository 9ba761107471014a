//! What plugging costs, printed; and that it does not grow with what there is.

use std::time::{Duration, Instant};

use kuryr_vif::Plug;
use serde_json::json;

use crate::machine::soon;
use crate::packets;
use crate::world::{World, vif};

/// The median time from a port that is bound to a port that is plugged, of `times`.
async fn median(world: &World, network: &str, times: usize) -> Duration {
    let mut took = Vec::new();
    for _ in 0..times {
        let port = world.port(network).await;
        let begun = Instant::now();
        let vif = world.plug(&port).await;
        took.push(begun.elapsed());
        world.agent().unplug(&vif.attachment, soon()).await.unwrap();
        let path = format!("ports/{}", port["id"].as_str().unwrap());
        world.ask(http::Method::DELETE, &path, json!(null)).await;
    }
    took.sort_unstable();
    took[times / 2]
}

packets! {
    async fn plugging_costs_no_more_with_many_ports_and_rules() {
        let world = World::new().await;
        let network = world.network(&["10.0.0.0/16"]).await;
        let first = world.port(&network).await;
        let few = median(&world, &network, 50).await;
        let group = &first["security_groups"][0];
        for port in 1..=1000 {
            let rule = json!({"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": port, "port_range_max": port});
            world.make("security-group-rule", rule).await;
        }
        let rules = median(&world, &network, 50).await;
        for other in 1..=100 {
            let network = world.network(&[&format!("10.1.{other}.0/24")]).await;
            let ports = vec![json!({"network_id": network, "binding:host_id": "here"}); 100];
            world.ask(http::Method::POST, "ports", json!({"ports": ports})).await;
        }
        world.plug(&first).await;
        let many = median(&world, &network, 50).await;
        world.agent().unplug(&vif(&first).attachment, soon()).await.unwrap();
        println!("plugging: {few:?}; with 1,000 rules {rules:?}; with 10,000 ports on 100 other networks as well {many:?}");
        assert!(rules < few * 2 + Duration::from_millis(5), "{few:?}, {rules:?}");
        assert!(many < few * 2 + Duration::from_millis(10), "{few:?}, {many:?}");
    }
}
