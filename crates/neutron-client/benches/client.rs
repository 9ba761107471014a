//! What the client itself costs: `cargo bench -p neutron-client`.
//!
//! From a typed request to a typed answer, by a Neutron that answers at once: the request written, the answer
//! read, all that is done for a retry that is not needed; without tokens, HTTP and a connection.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark fails by panicking, and criterion makes functions of its own"
)]

use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::Response;
use neutron_api::{NewPort, Port};
use neutron_client::{Failure, Filter, Neutron};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tower::service_fn;
use uuid::Uuid;

/// All that a real Neutron with ML2/OVN tells of a port, asked for or not.
fn port() -> Value {
    json!({
        "id": Uuid::new_v4(), "name": "kuryr-unbound-port", "network_id": Uuid::new_v4(),
        "project_id": "8a3b", "tenant_id": "8a3b", "mac_address": "fa:16:3e:11:22:33", "admin_state_up": true,
        "status": "DOWN", "device_id": Uuid::new_v4(), "device_owner": "compute:kuryr",
        "fixed_ips": [{"subnet_id": Uuid::new_v4(), "ip_address": "10.20.0.17"}],
        "allowed_address_pairs": [], "extra_dhcp_opts": [], "security_groups": [Uuid::new_v4()],
        "description": "", "binding:vnic_type": "normal", "binding:profile": {}, "binding:host_id": "host1",
        "binding:vif_type": "ovs", "binding:vif_details": {"port_filter": true, "bridge_name": "br-int"},
        "port_security_enabled": true, "qos_policy_id": null, "qos_network_policy_id": null,
        "resource_request": null, "tags": ["kuryr"], "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "revision_number": 3,
    })
}

fn answering(body: &Value) -> Neutron {
    let body = Bytes::from(body.to_string());
    Neutron::new(service_fn(move |_| {
        ready(Ok::<_, Failure>(Response::new(body.clone())))
    }))
}

fn client(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("client");
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    let neutron = answering(&json!({"port": port()}));
    let new = NewPort {
        network_id: Some(Uuid::new_v4().into()),
        ..NewPort::default()
    };
    let identity = Filter::new().with("device_id", "e1");
    group.bench_function("a port is made", |bencher| {
        bencher.iter(|| runtime.block_on(neutron.create(&new, &identity)).unwrap());
    });
    for count in [1, 100, 1000] {
        let ports: Vec<Value> = (0..count).map(|_| port()).collect();
        let neutron = answering(&json!({"ports": ports}));
        group.bench_function(format!("ports are listed, {count} of them"), |bencher| {
            bencher.iter(|| {
                let listed = runtime.block_on(neutron.list::<Port>(&Filter::new()));
                assert_eq!(listed.unwrap().len(), count);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, client);
criterion_main!(benches);
