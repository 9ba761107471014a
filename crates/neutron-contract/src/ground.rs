//! Where a promise is tried: objects under one name that nobody else uses, removed at the end.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use ipnet::IpNet;
use neutron_api::{
    Create, IpVersion, MacAddress, Network, NewNetwork, NewPort, NewSubnet, NewSubnetPool, Port,
    QosPolicy, Resource, SecurityGroup, Subnet, SubnetPool, Trunk,
};
use neutron_client::{Error, Failure, Filter, Neutron};
use serde_json::Value;
use tokio::task::JoinSet;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use uuid::Uuid;

/// A Neutron to be held to the contract.
#[derive(Clone)]
pub struct Subject {
    exchange: BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Failure>,
    host: String,
    cards: String,
}

impl Subject {
    /// The Neutron behind a service; `host` is one that ports can be bound to, and `cards` the physical network
    /// that SR-IOV cards of its are on.
    pub fn new<S>(exchange: S, host: &str, cards: &str) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<Failure>,
        S::Future: Send + 'static,
    {
        Self {
            exchange: BoxCloneSyncService::new(exchange.map_err(Into::into)),
            host: host.to_owned(),
            cards: cards.to_owned(),
        }
    }
}

/// Tries a promise, cleans up, and then fails if the promise did.
pub async fn hold<P, F>(subject: Subject, promise: P)
where
    P: FnOnce(Ground) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let ground = Ground::new(subject);
    let mut trial = JoinSet::new();
    trial.spawn(promise(ground.clone()));
    let outcome = trial.join_next().await.expect("a trial");
    ground.clear().await;
    if let Err(failure) = outcome {
        resume_unwind(failure.into_panic());
    }
}

/// What a promise may build on.
#[derive(Clone)]
pub struct Ground {
    /// The Neutron, by its typed calls.
    pub neutron: Neutron,
    /// The name of everything made here.
    pub name: String,
    /// A host that ports can be bound to.
    pub host: String,
    /// The physical network that its SR-IOV cards are on.
    pub cards: String,
    exchange: BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Failure>,
}

/// A reply as it came.
#[derive(Debug)]
pub struct Reply {
    /// HTTP's status.
    pub status: StatusCode,
    /// The body; null if it is none.
    pub body: Value,
    /// Neutron's name for the exchange.
    pub request_id: Option<String>,
}

impl Reply {
    /// The name of Neutron's exception.
    pub fn fault(&self) -> &str {
        self.body["NeutronError"]["type"].as_str().unwrap_or("")
    }
}

impl Ground {
    fn new(subject: Subject) -> Self {
        Self {
            neutron: Neutron::new(subject.exchange.clone()),
            name: unique("contract"),
            host: subject.host,
            cards: subject.cards,
            exchange: subject.exchange,
        }
    }

    /// A network.
    pub async fn network(&self) -> Network {
        let new = NewNetwork {
            name: self.name.clone(),
            admin_state_up: true,
            ..NewNetwork::default()
        };
        self.make(&new).await
    }

    /// What a subnet without DHCP would be.
    pub fn new_subnet(&self, network: &Network, cidr: &str) -> NewSubnet {
        let cidr: IpNet = cidr.parse().expect("a range");
        NewSubnet {
            cidr: Some(cidr),
            ip_version: IpVersion::of(cidr.addr()),
            ..self.any_subnet(network)
        }
    }

    /// What an IPv4 subnet of no certain range would be.
    pub fn any_subnet(&self, network: &Network) -> NewSubnet {
        NewSubnet {
            name: self.name.clone(),
            description: String::new(),
            network_id: network.id,
            ip_version: IpVersion::V4,
            cidr: None,
            subnetpool_id: None,
            gateway_ip: None,
            allocation_pools: None,
            enable_dhcp: false,
        }
    }

    /// A subnet without DHCP.
    pub async fn subnet(&self, network: &Network, cidr: &str) -> Subnet {
        self.make(&self.new_subnet(network, cidr)).await
    }

    /// A network with one subnet.
    pub async fn network_with(&self, cidr: &str) -> (Network, Subnet) {
        let network = self.network().await;
        let subnet = self.subnet(&network, cidr).await;
        (network, subnet)
    }

    /// A subnet pool whose subnets are /24 if they don't say.
    pub async fn pool(&self, prefix: &str) -> SubnetPool {
        let new = NewSubnetPool {
            name: self.name.clone(),
            description: String::new(),
            prefixes: vec![prefix.parse().expect("a range")],
            default_prefixlen: Some(24),
            min_prefixlen: None,
        };
        self.make(&new).await
    }

    /// What a port with an identity of its own would be.
    pub fn new_port(&self, network: &Network) -> NewPort {
        NewPort {
            name: self.name.clone(),
            network_id: Some(network.id),
            device_id: unique("device"),
            device_owner: "compute:kuryr".to_owned(),
            admin_state_up: true,
            ..NewPort::default()
        }
    }

    /// A port.
    pub async fn port(&self, network: &Network) -> Port {
        self.make(&self.new_port(network)).await
    }

    /// Anything.
    pub async fn make<C: Create>(&self, new: &C) -> C::Made {
        match self.try_to_make(new).await {
            Ok(made) => made,
            Err(error) => panic!("{error}"),
        }
    }

    /// Anything, or Neutron's refusal.
    pub async fn try_to_make<C: Create>(&self, new: &C) -> Result<C::Made, Error> {
        let identity = Filter::new().with("name", &self.name);
        self.neutron.create(new, &identity).await
    }

    /// The status and the exception's name of Neutron's refusal.
    pub async fn refusal<C: Create>(&self, new: &C) -> (u16, String) {
        refusal(self.try_to_make(new).await)
    }

    /// One exchange, without the client's types and retries; `path` follows `/v2.0/`.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> Reply {
        self.ask_if(method, path, body, None).await
    }

    /// One exchange, if the object has this revision.
    pub async fn ask_if(
        &self,
        method: Method,
        path: &str,
        body: Value,
        revision: Option<u64>,
    ) -> Reply {
        let bytes = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(method, path, bytes, revision).await
    }

    /// One exchange, with any bytes as its body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
        revision: Option<u64>,
    ) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v2.0/{path}"))
            .header("content-type", "application/json");
        if let Some(revision) = revision {
            request = request.header("if-match", format!("revision_number={revision}"));
        }
        let request = request.body(Bytes::from(body)).expect("a request");
        let reply = self.exchange.clone().oneshot(request).await;
        let reply = reply.expect("a reply");
        let id = reply.headers().get("x-openstack-request-id");
        Reply {
            status: reply.status(),
            request_id: id.and_then(|id| id.to_str().ok()).map(str::to_owned),
            body: serde_json::from_slice(reply.body()).unwrap_or_default(),
        }
    }

    /// The object that comes of a request with these attributes.
    pub async fn made<R: Resource>(&self, path: &str, object: Value) -> R {
        let reply = self.ask(Method::POST, path, body::<R>(object)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        serde_json::from_value(reply.body[R::ONE].clone()).expect("an object")
    }

    /// That each of these is refused so, as an object like the first one but for what it says.
    pub async fn refused<R: Resource>(
        &self,
        path: &str,
        like: &Value,
        refusals: &[(Value, u16, &str)],
    ) {
        for (other, status, fault) in refusals {
            let mut object = like.clone();
            for (key, value) in other.as_object().expect("attributes") {
                object[key] = value.clone();
            }
            let reply = self.ask(Method::POST, path, body::<R>(object)).await;
            let outcome = (reply.status.as_u16(), reply.fault());
            assert_eq!(outcome, (*status, *fault), "{other}: {reply:?}");
        }
    }

    /// Gives an object these tags and no others.
    pub async fn tag<R: Resource>(&self, object: &R, tags: &[&str]) {
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let outcome = self.neutron.replace_tags::<R>(object.id(), &tags).await;
        outcome.expect("tags");
    }

    /// An object as it is now.
    pub async fn again<R: Resource>(&self, object: &R) -> R {
        let found = self.neutron.find::<R>(object.id()).await;
        found.expect("an answer").expect("the object")
    }

    /// The identifiers that a list has, in order.
    pub async fn ids<R: Resource>(&self, filter: Filter) -> Vec<String> {
        let filter = filter.with("name", &self.name);
        let list = self.neutron.list::<R>(&filter).await.expect("a list");
        sorted(list.iter().map(|object| object.id().to_string()))
    }

    /// Removes all that has the name, and what is on it.
    async fn clear(&self) {
        let mine = Filter::new().with("name", &self.name);
        if self
            .neutron
            .has_extension("trunk")
            .await
            .expect("extensions")
        {
            for trunk in self.left::<Trunk>(&mine).await {
                self.remove(&trunk).await;
            }
        }
        for network in self.left::<Network>(&mine).await {
            let on_it = Filter::new().with("network_id", network.id);
            for port in self.left::<Port>(&on_it).await {
                // Neutron's own go with the network.
                if !port.device_owner.starts_with("network:") {
                    self.remove(&port).await;
                }
            }
            self.remove(&network).await;
        }
        for pool in self.left::<SubnetPool>(&mine).await {
            self.remove(&pool).await;
        }
        for group in self.left::<SecurityGroup>(&mine).await {
            self.remove(&group).await;
        }
        for policy in self.left::<QosPolicy>(&mine).await {
            self.remove(&policy).await;
        }
    }

    async fn left<R: Resource>(&self, filter: &Filter) -> Vec<R> {
        self.neutron.list(filter).await.expect("a list to clean up")
    }

    async fn remove<R: Resource>(&self, object: &R) {
        let outcome = self.neutron.delete::<R>(object.id()).await;
        outcome.expect("clean ground");
    }
}

/// The status and the exception's name of Neutron's refusal.
pub(crate) fn refusal<T>(outcome: Result<T, Error>) -> (u16, String) {
    match outcome {
        Ok(_) => panic!("not refused"),
        Err(error) => match (error.status(), error.fault()) {
            (Some(status), Some(fault)) => (status.as_u16(), fault.to_owned()),
            _ => panic!("{error}"),
        },
    }
}

/// A refusal as it is expected.
pub(crate) fn named(status: u16, fault: &str) -> (u16, String) {
    (status, fault.to_owned())
}

/// A name that nobody else uses.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{}", Uuid::new_v4())
}

/// A hardware address that nobody else uses.
pub(crate) fn unique_mac() -> MacAddress {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let [.., a, b] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [c, d, ..] = *Uuid::new_v4().as_bytes();
    MacAddress::from([0x02, c, d, 0x42, a, b])
}

pub(crate) fn sorted(list: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut list: Vec<String> = list.into_iter().collect();
    list.sort_unstable();
    list
}

/// The body of a request about one object.
pub(crate) fn body<R: Resource>(object: Value) -> Value {
    Value::from_iter([(R::ONE.to_owned(), object)])
}
