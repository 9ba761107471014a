//! What users write in `-o`, `--ipam-opt` and `driver-opt`: lines of `name=value`, the same everywhere.
#![no_main]

use std::collections::BTreeMap;

use kuryr_fuzz::{Host, runtime};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|input: &str| {
    let options: BTreeMap<&str, Value> = input
        .split('\n')
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .map(|(name, value)| (name, value_of(value)))
        .collect();
    runtime().block_on(start_a_container(options));
});

/// Docker passes on what is JSON to its API as it is.
fn value_of(text: &str) -> Value {
    let json = text
        .starts_with(['{', '['])
        .then(|| serde_json::from_str(text).ok());
    json.flatten().unwrap_or_else(|| text.into())
}

async fn start_a_container(options: BTreeMap<&str, Value>) {
    let mut host = Host::new();
    let run = host.start();
    let mut with = options.clone();
    with.insert("com.docker.network.generic", json!(options));
    let calls = [
        (
            "IpamDriver.RequestPool",
            json!({"Pool": "10.20.0.0/24", "Options": options}),
        ),
        (
            "NetworkDriver.CreateNetwork",
            json!({
                "NetworkID": "n1", "Options": with,
                "IPv4Data": [{"Pool": "10.20.0.0/24", "Gateway": "10.20.0.1/24"}],
            }),
        ),
        (
            "IpamDriver.RequestAddress",
            json!({"PoolID": "$PoolID", "Address": "", "Options": with}),
        ),
        (
            "NetworkDriver.CreateEndpoint",
            json!({
                "NetworkID": "n1", "EndpointID": "e1", "Options": with, "Interface": {"Address": "$Address"},
            }),
        ),
        (
            "NetworkDriver.Join",
            json!({
                "NetworkID": "n1", "EndpointID": "e1", "SandboxKey": "/s", "Options": with,
            }),
        ),
        (
            "NetworkDriver.ProgramExternalConnectivity",
            json!({
                "NetworkID": "n1", "EndpointID": "e1", "Options": with,
            }),
        ),
        (
            "NetworkDriver.Leave",
            json!({"NetworkID": "n1", "EndpointID": "e1"}),
        ),
        (
            "NetworkDriver.DeleteEndpoint",
            json!({"NetworkID": "n1", "EndpointID": "e1"}),
        ),
        ("NetworkDriver.DeleteNetwork", json!({"NetworkID": "n1"})),
        ("IpamDriver.ReleasePool", json!({"PoolID": "$PoolID"})),
    ];
    host.ask_all(&run, calls).await;
}
