//! What comes back from Neutron, or from whatever is in its place.
//!
//! `raw` and replies: each is what some request is answered, `STATUS`, headers, an empty line, a body.
//! Otherwise edits of a working Neutron's replies while a container starts and stops: the number of an
//! exchange, a JSON pointer and the value that is to be there, or `status` and a number.
#![no_main]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use kuryr_fuzz::{Host, first_line, lying, messages, runtime};
use libfuzzer_sys::fuzz_target;
use neutron_api::{
    Agent, FloatingIp, Network, NetworkChange, NewNetwork, Port, QosPolicy, Resource,
    SecurityGroup, SecurityGroupRule, Subnet, SubnetPool, Trunk,
};
use neutron_client::{Failure, Filter, Neutron};
use serde_json::{Value, json};
use tokio::time::Instant;

fuzz_target!(|input: &[u8]| {
    let (line, rest) = first_line(input);
    if line == "raw" {
        runtime().block_on(read(rest));
    } else {
        runtime().block_on(live_with(input));
    }
});

/// Each reply once, for every kind of request.
async fn read(input: &[u8]) {
    let replies: Vec<_> = messages(input).filter_map(reply).collect();
    let next = Arc::new(Mutex::new(replies.into_iter().cycle().take(200)));
    let neutron = Neutron::new(tower::service_fn(move |_| {
        let reply = next.lock().expect("the replies").next();
        async move { reply.ok_or_else(|| Failure::Lasting("nobody answers".into())) }
    }));
    let neutron = neutron.by(Instant::now() + Duration::from_secs(10));
    look::<Network>(&neutron).await;
    look::<Subnet>(&neutron).await;
    look::<SubnetPool>(&neutron).await;
    look::<Port>(&neutron).await;
    look::<SecurityGroup>(&neutron).await;
    look::<Trunk>(&neutron).await;
    look::<QosPolicy>(&neutron).await;
    look::<Agent>(&neutron).await;
    look::<FloatingIp>(&neutron).await;
    look::<SecurityGroupRule>(&neutron).await;
    let new = NewNetwork {
        name: "a".into(),
        ..NewNetwork::default()
    };
    told(
        neutron
            .create(&new, &Filter::new())
            .await
            .map(|network| network.id),
    );
    told(
        neutron
            .create_all(&[new])
            .await
            .map(|networks| networks.len()),
    );
    let id: neutron_api::NetworkId = "00000000-0000-0000-0000-000000000001"
        .parse()
        .expect("an id");
    told(
        neutron
            .update_at(id, &NetworkChange::default(), Some(1))
            .await
            .map(|network| network.id),
    );
    told(neutron.delete::<Network>(id).await);
    told(neutron.replace_tags::<Network>(id, &[]).await);
    told(neutron.remove_tag::<Network>(id, "a").await);
    told(neutron.has_extension("subnet_allocation").await);
}

async fn look<R: Resource>(neutron: &Neutron) {
    told(neutron.list::<R>(&Filter::new()).await.map(|all| all.len()));
}

/// An error has words.
fn told<T>(outcome: Result<T, neutron_client::Error>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}

fn reply(message: &[u8]) -> Option<Response<Bytes>> {
    let (status, mut rest) = first_line(message);
    let mut reply = Response::builder().status(status);
    loop {
        let (line, after) = first_line(rest);
        rest = after;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        reply = reply.header(name, value.trim());
    }
    reply.body(Bytes::copy_from_slice(rest)).ok()
}

/// A container starts and stops, on a Neutron whose replies are edited.
async fn live_with(input: &[u8]) {
    let edits: Vec<Edit> = messages(input).filter_map(edit).collect();
    let tamper = move |number, reply| {
        let mine = edits.iter().filter(|edit| edit.exchange == number);
        mine.fold(reply, |reply, edit| edit.of(reply))
    };
    let mut host = Host::with(lying(Arc::new(tamper)));
    let run = host.start();
    host.ask_all(&run, choreography()).await;
    run.kuryr
        .settled(Instant::now() + Duration::from_secs(60))
        .await;
}

struct Edit {
    exchange: usize,
    /// Where; nothing is the status.
    pointer: Option<String>,
    value: Value,
}

fn edit(message: &[u8]) -> Option<Edit> {
    let (line, value) = first_line(message);
    let (exchange, place) = line.split_once(' ')?;
    Some(Edit {
        exchange: exchange.parse().ok()?,
        pointer: (place != "status").then(|| place.to_owned()),
        value: serde_json::from_slice(value).ok()?,
    })
}

impl Edit {
    fn of(&self, mut reply: Response<Bytes>) -> Response<Bytes> {
        let Some(pointer) = &self.pointer else {
            let status = self
                .value
                .as_u64()
                .and_then(|code| u16::try_from(code).ok());
            if let Some(Ok(status)) = status.map(StatusCode::from_u16) {
                *reply.status_mut() = status;
            }
            return reply;
        };
        let mut body: Value = serde_json::from_slice(reply.body()).unwrap_or_default();
        if let Some(place) = body.pointer_mut(pointer) {
            *place = self.value.clone();
        }
        *reply.body_mut() = body.to_string().into();
        reply
    }
}

fn choreography() -> [(&'static str, Value); 9] {
    let endpoint = json!({"NetworkID": "n1", "EndpointID": "e1"});
    let exposed = json!({"com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}]});
    [
        ("IpamDriver.RequestPool", json!({"Pool": "10.20.0.0/24"})),
        (
            "NetworkDriver.CreateNetwork",
            json!({
                "NetworkID": "n1", "IPv4Data": [{"Pool": "10.20.0.0/24", "Gateway": "10.20.0.1/24"}],
            }),
        ),
        (
            "IpamDriver.RequestAddress",
            json!({"PoolID": "$PoolID", "Address": ""}),
        ),
        (
            "NetworkDriver.CreateEndpoint",
            json!({
                "NetworkID": "n1", "EndpointID": "e1", "Options": exposed, "Interface": {"Address": "$Address"},
            }),
        ),
        (
            "NetworkDriver.Join",
            json!({"NetworkID": "n1", "EndpointID": "e1", "SandboxKey": "/s"}),
        ),
        ("NetworkDriver.Leave", endpoint.clone()),
        ("NetworkDriver.DeleteEndpoint", endpoint),
        ("NetworkDriver.DeleteNetwork", json!({"NetworkID": "n1"})),
        ("IpamDriver.ReleasePool", json!({"PoolID": "$PoolID"})),
    ]
}
