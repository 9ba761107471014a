//! A Neutron, and what a test makes in it, which is removed however it ends.

#![allow(
    clippy::disallowed_methods,
    reason = "the environment of the openstack command is what there is"
)]

use std::env::var;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use keystone::{Auth, Domain, EndpointChoice, Project, Scope, Session, Settings, Tls, User};
use kuryr_testkit::faulty::{Fate, Faulty};
use neutron_api::{Create, Network, NetworkId, NewPort, Port, PortId, Resource, Trunk};
use neutron_client::{Failure, Filter, Neutron};
use neutron_embedded::{Embedded, EmbeddedSettings};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

type Transport = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Failure>;

/// What a test may use of a Neutron; clones share it.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) neutron: Neutron,
    transport: Transport,
    networks: Arc<Mutex<Vec<NetworkId>>>,
    refusals: Arc<[AtomicUsize; 2]>,
    /// How long somebody who disturbs rests.
    pub(crate) rest: Duration,
}

/// The physical network that cards are on.
pub(crate) const CARDS: &str = "physnet2";

/// One that takes some milliseconds for each exchange, or nobody would ever meet.
pub(crate) fn embedded() -> Ground {
    let mut settings = EmbeddedSettings {
        cards: vec![CARDS.into()],
        ..EmbeddedSettings::default()
    };
    let trunks = ["trunk", "trunk-details"];
    settings.extensions.extend(trunks.map(str::to_owned));
    let embedded = Embedded::new(settings);
    let slow = Faulty::new(embedded.service().map_err(Failure::from));
    slow.plan(|number, _| Fate::Take(Duration::from_millis(3 + (number as u64 * 7) % 11)));
    Ground::new(BoxCloneSyncService::new(slow), Duration::from_millis(7))
}

/// The cloud that the environment describes.
pub(crate) fn real() -> Ground {
    let needed = |name: &str| var(name).unwrap_or_else(|_| panic!("needs a cloud: no {name}"));
    let domain = || Domain::Id("default".to_owned());
    let settings = Settings {
        auth: Auth::Password {
            auth_url: needed("OS_AUTH_URL").parse().expect("a URL"),
            user: User::Name {
                name: needed("OS_USERNAME"),
                domain: domain(),
            },
            password: needed("OS_PASSWORD").into(),
            scope: Scope::Project(Project::Name {
                name: needed("OS_PROJECT_NAME"),
                domain: domain(),
            }),
        },
        endpoint: EndpointChoice::default(),
        tls: Tls::default(),
        // As many at once as here wait for each other.
        timeout: Some(Duration::from_secs(180)),
        user_agent: "kuryr-cloud-tests".to_owned(),
    };
    let session = Session::new(settings).expect("a session");
    let session = session.map_err(|error| Failure::Passing(error.into()));
    Ground::new(
        BoxCloneSyncService::new(session),
        Duration::from_millis(500),
    )
}

/// Tries something on it, and clears up.
pub(crate) async fn hold<F>(ground: Ground, test: impl FnOnce(Ground) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut trial = JoinSet::new();
    trial.spawn(test(ground.clone()));
    let outcome = trial.join_next().await.unwrap();
    ground.clear().await;
    if let Err(failure) = outcome {
        resume_unwind(failure.into_panic());
    }
}

impl Ground {
    fn new(transport: Transport, rest: Duration) -> Self {
        let refusals = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = Arc::clone(&refusals);
        let transport = transport.map_response(move |reply: Response<Bytes>| {
            let statuses = [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
            for (status, count) in statuses.iter().zip(counted.iter()) {
                if reply.status() == *status {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            reply
        });
        let transport = BoxCloneSyncService::new(transport);
        Self {
            neutron: Neutron::new(transport.clone()),
            transport,
            networks: Arc::default(),
            refusals,
            rest,
        }
    }

    /// How often Neutron has answered 409 and 412: so often two have met.
    pub(crate) fn refusals(&self) -> [usize; 2] {
        self.refusals
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// A network with a subnet; `more` says what is special of it.
    pub(crate) async fn network(&self, cidr: &str, more: Value) -> NetworkId {
        let mut network = json!({"name": "kuryr-cloud-test"});
        let special = more.as_object().unwrap().clone();
        network.as_object_mut().unwrap().extend(special);
        let made = self.post("networks", json!({"network": network})).await;
        let id: NetworkId = made["network"]["id"]
            .as_str()
            .expect("an id")
            .parse()
            .unwrap();
        self.networks.lock().unwrap().push(id);
        let subnet = json!({"subnet": {
            "network_id": id, "ip_version": 4, "cidr": cidr, "enable_dhcp": false,
        }});
        self.post("subnets", subnet).await;
        id
    }

    /// A network on the physical network of cards, with this VLAN.
    pub(crate) async fn network_on_cards(&self, cidr: &str) -> (NetworkId, u16) {
        let on = json!({"provider:network_type": "vlan", "provider:physical_network": CARDS});
        let id = self.network(cidr, on).await;
        let shown = self
            .ask(Method::GET, &format!("networks/{id}"), Value::Null)
            .await;
        let vlan = shown["network"]["provider:segmentation_id"].as_u64();
        (id, u16::try_from(vlan.expect("a VLAN")).unwrap())
    }

    /// Somebody else's port.
    pub(crate) async fn port(&self, network: NetworkId, more: NewPort) -> Port {
        let new = NewPort {
            network_id: Some(network),
            admin_state_up: true,
            ..more
        };
        self.make(&new).await
    }

    pub(crate) async fn make<C: Create>(&self, new: &C) -> C::Made {
        self.neutron.create(new, &Filter::new()).await.unwrap()
    }

    pub(crate) async fn now<R: Resource>(&self, id: R::Id) -> R {
        self.neutron
            .find::<R>(id)
            .await
            .unwrap()
            .expect("it is there")
    }

    /// The ports on these networks that are Kuryr's.
    pub(crate) async fn ports(&self) -> Vec<Port> {
        let mut ports = self.all_ports().await;
        ports.retain(|port| {
            port.device_owner == "compute:kuryr" || port.device_owner == "trunk:subport"
        });
        ports
    }

    /// A port with all its fields but those that count and date its changes.
    pub(crate) async fn whole(&self, port: PortId) -> Value {
        let path = format!("ports/{port}");
        let mut whole = self.ask(Method::GET, &path, Value::Null).await["port"].take();
        let fields = whole.as_object_mut().expect("a port");
        fields.retain(|field, _| field != "revision_number" && field != "updated_at");
        whole
    }

    async fn all_ports(&self) -> Vec<Port> {
        let networks = self.networks.lock().unwrap().clone();
        let on = |filter: Filter, network: &NetworkId| filter.with("network_id", network);
        let filter = networks.iter().fold(Filter::new(), on);
        self.neutron.list(&filter).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body).await
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v2.0/{path}"))
            .header("content-type", "application/json");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request.body(Bytes::from(body)).unwrap();
        let reply = self.transport.clone().oneshot(request).await.unwrap();
        let body: Value = serde_json::from_slice(reply.body()).unwrap_or_default();
        assert!(reply.status().is_success(), "{path}: {body}");
        body
    }

    async fn clear(&self) {
        let ports = self.all_ports().await;
        for trunk in self.neutron.list::<Trunk>(&Filter::new()).await.unwrap() {
            if ports.iter().any(|port| port.id == trunk.port_id) {
                self.neutron.delete::<Trunk>(trunk.id).await.unwrap();
            }
        }
        for port in ports {
            self.neutron.delete::<Port>(port.id).await.unwrap();
        }
        let networks = std::mem::take(&mut *self.networks.lock().unwrap());
        for network in networks {
            self.neutron.delete::<Network>(network).await.unwrap();
        }
    }
}
