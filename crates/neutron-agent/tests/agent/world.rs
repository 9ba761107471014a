//! A host with an embedded Neutron and its agent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use kuryr_testkit::netns::Container;
use kuryr_testkit::run;
use kuryr_vif::{Attachment, Host, HostSettings, Plug, PublishedPort, Switch, Transport, Vif};
use neutron_agent::{Agent, AgentSettings};
use neutron_embedded::{Embedded, EmbeddedSettings};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::machine::{Machine, soon};

/// The host, the Neutron and the agent.
pub(crate) struct World {
    pub(crate) neutron: Embedded,
    /// None while it is being replaced.
    agent: Option<Arc<Agent>>,
    pub(crate) machine: Machine,
    tracker: TaskTracker,
}

impl World {
    pub(crate) async fn new() -> Self {
        let machine = Machine::new();
        // The agent is to find out by itself that a host must forward.
        run(
            "sysctl",
            "-q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0",
        );
        let neutron = Embedded::new(EmbeddedSettings::standalone("here", 1500));
        let tracker = TaskTracker::new();
        let agent = Some(start(&neutron, &tracker));
        Self {
            neutron,
            agent,
            machine,
            tracker,
        }
    }

    /// Another process with the same Neutron.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.tracker = TaskTracker::new();
        self.agent = Some(start(&self.neutron, &self.tracker));
    }

    /// The process ends.
    pub(crate) async fn stop(&mut self) {
        self.agent = None;
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_deref().unwrap()
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://neutron/v2.0/{path}"))
            .header("content-type", "application/json")
            .body(Bytes::from(if body.is_null() {
                String::new()
            } else {
                body.to_string()
            }))
            .unwrap();
        let reply = self.neutron.service().oneshot(request).await.unwrap();
        let (head, body) = reply.into_parts();
        assert!(head.status.is_success(), "{path}: {} {body:?}", head.status);
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// Makes an object and gives it back.
    pub(crate) async fn make(&self, kind: &str, fields: Value) -> Value {
        let path = format!("{kind}s").replace('-', "_");
        let name = kind.replace('-', "_");
        let made = self
            .ask(
                Method::POST,
                &path.replace('_', "-"),
                json!({&name: fields}),
            )
            .await;
        made[&name].clone()
    }

    /// A network with subnets; its id.
    pub(crate) async fn network(&self, ranges: &[&str]) -> String {
        let network = text(&self.make("network", json!({"name": "net"})).await["id"]);
        for range in ranges {
            let version = if range.contains(':') { 6 } else { 4 };
            self.make(
                "subnet",
                json!({"network_id": network, "cidr": range, "ip_version": version}),
            )
            .await;
        }
        network
    }

    /// A port that is bound here.
    pub(crate) async fn port(&self, network: &str) -> Value {
        self.make("port", json!({"network_id": network, "binding:host_id": "here", "device_id": "endpoint-of-a-container", "admin_state_up": true})).await
    }

    pub(crate) async fn plug(&self, port: &Value) -> Vif {
        let vif = vif(port);
        self.agent()
            .plug(&vif, soon())
            .await
            .unwrap_or_else(|error| panic!("plug: {error:?}"));
        vif
    }

    /// A container on a port of network 10.0.x.0/24.
    pub(crate) async fn start(&self, name: &str, port: &Value) -> Container {
        let vif = self.plug(port).await;
        let container = Container::new(name);
        let addresses = addresses(port);
        container.run(
            "sysctl",
            "-q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0",
        );
        run(
            "ip",
            &format!("link set {} netns {name}", vif.attachment.container),
        );
        container.run(
            "ip",
            &format!("link set {} name eth0", vif.attachment.container),
        );
        container.run("ip", "link set eth0 up");
        for address in &addresses {
            let rest = if address.contains(':') {
                "/64 dev eth0 nodad"
            } else {
                "/24 dev eth0"
            };
            container.run("ip", &format!("addr add {address}{rest}"));
            // As a Neutron chooses it: IPv6's is the network's own address.
            let (network, _) = address.rsplit_once(['.', ':']).unwrap();
            let gateway = if address.contains(':') {
                "fd00:1::".to_owned()
            } else {
                format!("{network}.1")
            };
            container.run("ip", &format!("route add default via {gateway}"));
        }
        container
    }

    pub(crate) async fn status(&self, port: &Value) -> String {
        let path = format!("ports/{}", text(&port["id"]));
        text(&self.ask(Method::GET, &path, Value::Null).await["port"]["status"])
    }
}

fn start(neutron: &Embedded, tracker: &TaskTracker) -> Arc<Agent> {
    let host = Arc::new(Host::new(HostSettings {
        ovsdb: None,
        ..HostSettings::default()
    }));
    let settings = AgentSettings::new("here");
    Agent::start(neutron.clone(), host, settings, tracker)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(crate) fn addresses(port: &Value) -> Vec<String> {
    let ips = port["fixed_ips"].as_array().unwrap().iter();
    ips.map(|ip| text(&ip["ip_address"])).collect()
}

/// The IPv4 address of a port.
pub(crate) fn address(port: &Value) -> String {
    addresses(port)
        .into_iter()
        .find(|ip| ip.contains('.'))
        .unwrap()
}

pub(crate) fn vif(port: &Value) -> Vif {
    let bridge = text(&port["binding:vif_details"]["bridge_name"])
        .parse()
        .unwrap();
    Vif {
        attachment: Attachment::of_port(
            &text(&port["id"]),
            "endpoint",
            Switch::LinuxBridge { bridge },
        )
        .unwrap(),
        mac: text(&port["mac_address"]).parse().unwrap(),
        mtu: 1500,
    }
}

pub(crate) fn tcp(host_port: u16, container_port: u16) -> PublishedPort {
    PublishedPort {
        transport: Transport::Tcp,
        host_ip: None,
        host_port,
        host_port_end: host_port,
        container_port,
    }
}

/// Waits until it is so, for five seconds.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..100 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not in five seconds: {what}");
}
