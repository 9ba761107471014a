//! Docker's side, without a socket: containers on warm ports of a Neutron in this process, on a host
//! where plugging is writing down.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each benchmark uses some of it, and fails by panicking"
)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kuryr_core::{Journal, Kuryr, PortPoolSettings};
use kuryr_libnetwork::Settings;
use kuryr_testkit::notebook::Notebook;
use neutron_api::Port;
use neutron_client::{Failure, Filter, Neutron};
use neutron_embedded::Embedded;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tower::{Service, ServiceExt as _};

const NETWORK: &str = "a1";

/// A Docker with one network.
pub(crate) struct Docker {
    routes: Router,
    neutron: Neutron,
    pool: Value,
    _journal: TempDir,
}

/// A container's endpoint and address.
pub(crate) struct Container {
    id: String,
    address: Value,
}

impl Docker {
    /// With so many warm ports, once one container has been there.
    pub(crate) async fn new(warm: usize) -> Self {
        let neutron = Neutron::new(elsewhere());
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let journal = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
        let port_pool = PortPoolSettings {
            enabled: true,
            min: warm,
            max: warm,
            batch: 50,
            ..PortPoolSettings::default()
        };
        let settings = kuryr_core::Settings {
            port_pool,
            ..kuryr_core::Settings::usual("host1")
        };
        let kuryr = Kuryr::new(
            neutron.clone(),
            Arc::new(Notebook::default()),
            None,
            Journal::open(journal.path()).unwrap(),
            settings,
        );
        let mut docker = Self {
            routes: kuryr_libnetwork::routes(kuryr, Settings::default()),
            neutron,
            pool: Value::Null,
            _journal: journal,
        };
        docker.make_network().await;
        let first = docker.start("first").await;
        docker.stop(&first).await;
        docker.warmed(warm).await;
        docker
    }

    async fn make_network(&mut self) {
        let range = "10.16.0.0/14";
        let ask = json!({"AddressSpace": "", "Pool": range, "SubPool": "", "Options": {}});
        self.pool = self.ask("IpamDriver.RequestPool", &ask).await["PoolID"].clone();
        let ask = json!({
            "NetworkID": NETWORK, "Options": {}, "IPv6Data": [],
            "IPv4Data": [{"AddressSpace": "", "Pool": range, "AuxAddresses": {}}],
        });
        self.ask("NetworkDriver.CreateNetwork", &ask).await;
    }

    async fn warmed(&self, count: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        let name = format!("kuryr-pool-port-host1-{NETWORK}");
        let filter = Filter::new().with("name", name);
        while self.neutron.list::<Port>(&filter).await.unwrap().len() < count {
            assert!(Instant::now() < until, "the pool did not fill");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What `docker run` asks for.
    pub(crate) async fn start(&self, id: &str) -> Container {
        let address = self.request_address().await;
        self.create_endpoint(id, &address).await;
        self.join(id).await;
        Container {
            id: id.to_owned(),
            address,
        }
    }

    pub(crate) async fn request_address(&self) -> Value {
        let ask = json!({"PoolID": self.pool, "Address": "", "Options": null});
        self.ask("IpamDriver.RequestAddress", &ask).await["Address"].take()
    }

    pub(crate) async fn create_endpoint(&self, id: &str, address: &Value) {
        let interface = json!({"Address": address, "AddressIPv6": "", "MacAddress": ""});
        let ask = json!({
            "NetworkID": NETWORK, "EndpointID": id, "Interface": interface, "Options": {},
        });
        self.ask("NetworkDriver.CreateEndpoint", &ask).await;
    }

    pub(crate) async fn join(&self, id: &str) {
        let ask = json!({
            "NetworkID": NETWORK, "EndpointID": id, "SandboxKey": "/x", "Options": {},
        });
        self.ask("NetworkDriver.Join", &ask).await;
    }

    /// What `docker rm -f` asks for.
    pub(crate) async fn stop(&self, container: &Container) {
        for verb in ["Leave", "DeleteEndpoint"] {
            self.end(verb, &container.id).await;
        }
        self.release_address(&container.address).await;
    }

    pub(crate) async fn end(&self, verb: &str, id: &str) {
        let it = json!({"NetworkID": NETWORK, "EndpointID": id});
        self.ask(&format!("NetworkDriver.{verb}"), &it).await;
    }

    pub(crate) async fn release_address(&self, address: &Value) {
        let address = address.as_str().unwrap().split('/').next();
        let ask = json!({"PoolID": self.pool, "Address": address});
        self.ask("IpamDriver.ReleaseAddress", &ask).await;
    }

    /// A call that is refused before anybody is asked.
    pub(crate) async fn ask_malformed(&self) {
        let request = Request::post("/NetworkDriver.Join").body(Body::from("{\"NetworkID\": 7}"));
        let reply: Result<_, Infallible> = self.routes.clone().oneshot(request.unwrap()).await;
        let reply = reply.unwrap();
        assert!(reply.status().is_client_error());
        reply.into_body().collect().await.unwrap();
    }

    async fn ask(&self, call: &str, body: &Value) -> Value {
        let request = Request::post(format!("/{call}")).body(Body::from(body.to_string()));
        let reply: Result<_, Infallible> = self.routes.clone().oneshot(request.unwrap()).await;
        let reply = reply.unwrap();
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert!(
            status.is_success(),
            "{call}: {}",
            String::from_utf8_lossy(&body)
        );
        serde_json::from_slice(&body).unwrap()
    }
}

/// A Neutron in a thread of its own: what it does is not what the daemon does.
fn elsewhere() -> impl Service<
    Request<Bytes>,
    Response = Response<Bytes>,
    Error = Failure,
    Future = impl Future<Output = Result<Response<Bytes>, Failure>> + Send,
> + Clone
+ Send
+ Sync {
    let (ask, mut asked) = mpsc::unbounded_channel::<(Request<Bytes>, oneshot::Sender<_>)>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async move {
            let embedded = Embedded::default();
            while let Some((request, answer)) = asked.recv().await {
                let reply = embedded.service().oneshot(request).await;
                let _ = answer.send(reply.map_err(Failure::from));
            }
        });
    });
    tower::service_fn(move |request| {
        let (answer, answered) = oneshot::channel();
        let sent = ask.send((request, answer));
        async move {
            sent.unwrap();
            answered.await.unwrap()
        }
    })
}
