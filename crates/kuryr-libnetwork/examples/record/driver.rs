//! A driver that says yes to everything and gives containers an interface that leads nowhere.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::any;
use http::{HeaderMap, Uri};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::{Call, Calls};

/// What the driver remembers.
#[derive(Default)]
pub(crate) struct Driver {
    /// By pool id: the range, and how many addresses were taken.
    pools: HashMap<String, (IpNet, u32)>,
    /// By network id: the gateways.
    gateways: HashMap<String, [String; 2]>,
}

#[derive(Clone)]
struct Recorder {
    driver: Arc<Mutex<Driver>>,
    calls: Calls,
}

impl Driver {
    /// Answers everything, and notes it in `calls`.
    pub(crate) fn routes(calls: Calls) -> Router {
        let driver = Arc::default();
        Router::new()
            .fallback(any(record))
            .with_state(Recorder { driver, calls })
    }

    fn answer(&mut self, verb: &str, ask: &Value) -> Value {
        let text = |name: &str| ask[name].as_str().unwrap_or_default();
        match verb {
            "/Plugin.Activate" => json!({"Implements": ["NetworkDriver", "IpamDriver"]}),
            "/NetworkDriver.GetCapabilities" => {
                json!({"Scope": "local", "ConnectivityScope": "local", "GwAllocChecker": true})
            }
            "/NetworkDriver.GwAllocCheck" => {
                let internal = ask["Options"]["com.docker.network.internal"] == true;
                json!({"SkipIPv4": internal, "SkipIPv6": internal})
            }
            "/NetworkDriver.CreateNetwork" => {
                let gateways = ["IPv4Data", "IPv6Data"].map(|data| {
                    let gateway = ask[data][0]["Gateway"].as_str().unwrap_or_default();
                    let gateway = gateway.split('/').next().unwrap_or_default();
                    gateway.trim_start_matches("0.0.0.0").to_owned()
                });
                self.gateways.insert(text("NetworkID").to_owned(), gateways);
                json!({})
            }
            "/NetworkDriver.CreateEndpoint" => match ask["Interface"]["MacAddress"].as_str() {
                None | Some("") => json!({"Interface": {"MacAddress": mac(text("EndpointID"))}}),
                Some(_) => json!({"Interface": {}}),
            },
            "/NetworkDriver.EndpointOperInfo" => json!({"Value": {"recorded": "yes"}}),
            "/NetworkDriver.Join" => {
                let [tap, container] = names(text("EndpointID"));
                ip(&format!("link add {tap} type veth peer name {container}"));
                ip(&format!("link set {tap} up"));
                let [four, six] = self.gateways[text("NetworkID")].clone();
                json!({
                    "InterfaceName": {"SrcName": container, "DstPrefix": "eth"},
                    "Gateway": four,
                    "GatewayIPv6": six,
                    "DisableGatewayService": true,
                })
            }
            "/NetworkDriver.DeleteEndpoint" => {
                ip(&format!("link del {}", names(text("EndpointID"))[0]));
                json!({})
            }
            "/IpamDriver.GetCapabilities" => json!({"RequiresMACAddress": false}),
            "/IpamDriver.GetDefaultAddressSpaces" => json!({
                "LocalDefaultAddressSpace": "no_address_space",
                "GlobalDefaultAddressSpace": "no_address_space",
            }),
            "/IpamDriver.RequestPool" => {
                let number = u8::try_from(self.pools.len()).unwrap_or(u8::MAX);
                let range = text("Pool")
                    .parse()
                    .unwrap_or_else(|_| match ask["V6"] == true {
                        true => IpNet::new_assert(
                            Ipv6Addr::new(0xfd00, 0x232, number.into(), 0, 0, 0, 0, 0).into(),
                            64,
                        ),
                        false => IpNet::new_assert(Ipv4Addr::new(10, 232, number, 0).into(), 24),
                    });
                let id = format!("pool-{number}");
                self.pools.insert(id.clone(), (range, 1));
                json!({"PoolID": id, "Pool": range, "Data": {}})
            }
            "/IpamDriver.RequestAddress" => {
                let Some((range, taken)) = self.pools.get_mut(text("PoolID")) else {
                    return json!({"Error": "no such pool"});
                };
                let gateway = ask["Options"]["RequestAddressType"] == "com.docker.network.gateway";
                let address = text("Address").parse().unwrap_or_else(|_| {
                    *taken += 1;
                    nth(range, if gateway { 1 } else { 0x80 + *taken })
                });
                json!({"Address": format!("{address}/{}", range.prefix_len()), "Data": {}})
            }
            _ => json!({}),
        }
    }
}

async fn record(
    State(recorder): State<Recorder>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> String {
    let ask = serde_json::from_slice(&body).unwrap_or_default();
    let mut driver = recorder
        .driver
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let answer = driver.answer(uri.path(), &ask);
    let text = answer.to_string();
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}: {value}")
    });
    let call = Call {
        path: uri.path().to_owned(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        answer,
    };
    let mut calls = recorder
        .calls
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    calls.push(call);
    text
}

fn nth(range: &IpNet, n: u32) -> IpAddr {
    match range {
        IpNet::V4(range) => Ipv4Addr::from_bits(range.network().to_bits() + n).into(),
        IpNet::V6(range) => Ipv6Addr::from_bits(range.network().to_bits() + u128::from(n)).into(),
    }
}

fn mac(endpoint: &str) -> String {
    let digits: Vec<&str> = (0..5)
        .filter_map(|i| endpoint.get(2 * i..2 * i + 2))
        .collect();
    format!("02:{}", digits.join(":"))
}

/// The two ends of an endpoint's interface.
fn names(endpoint: &str) -> [String; 2] {
    let short = endpoint.get(..10).unwrap_or(endpoint);
    [format!("rec{short}"), format!("r_c{short}")]
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("ip {words} failed");
    }
}
