//! Docker's side of the socket, and what is behind it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kuryr_core::{Journal, Kuryr};
use kuryr_libnetwork::Settings;
use kuryr_testkit::faulty::Faulty;
use kuryr_testkit::notebook::Notebook;
use neutron_api::{
    IpVersion, Network, NewNetwork, NewSubnet, Port, Resource, SecurityGroup, Subnet, SubnetPool,
};
use neutron_client::{Failure, Filter, Neutron};
use neutron_embedded::Embedded;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

pub(crate) type Transport = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Failure>;

pub(crate) struct World {
    pub(crate) routes: Router,
    pub(crate) kuryr: Kuryr,
    /// Between Kuryr and Neutron.
    pub(crate) wire: Faulty<Transport>,
    /// Past the wire.
    pub(crate) neutron: Neutron,
    host: Arc<Notebook>,
    _journal: TempDir,
}

/// What Docker gets.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Value,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::slow(settings, Duration::ZERO)
    }

    /// A Neutron that takes its time for everything.
    pub(crate) fn slow(settings: Settings, delay: Duration) -> Self {
        let embedded = Embedded::default().service().map_err(Failure::from);
        let transport = Transport::new(embedded);
        let neutron = Neutron::new(transport.clone());
        let slow = tower::service_fn(move |request| {
            let transport = transport.clone();
            async move {
                tokio::time::sleep(delay).await;
                transport.oneshot(request).await
            }
        });
        let wire = Faulty::new(Transport::new(slow));
        let (host, journal) = (Arc::new(Notebook::default()), tempfile::tempdir().unwrap());
        let kuryr = Kuryr::new(
            Neutron::new(wire.clone()),
            host.clone(),
            None,
            Journal::open(journal.path()).unwrap(),
            core_settings(),
        );
        Self {
            routes: kuryr_libnetwork::routes(kuryr.clone(), settings),
            kuryr,
            wire,
            neutron,
            host,
            _journal: journal,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(body.into()).unwrap();
        let reply: Result<_, Infallible> = self.routes.clone().oneshot(request).await;
        let (parts, body) = reply.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        Answer {
            status: parts.status,
            content_type: content_type.map(|value| value.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    /// What a call that must succeed is answered.
    pub(crate) async fn ask(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {body}: {answer:?}");
        answer.body
    }

    pub(crate) async fn all<R: Resource>(&self) -> Vec<R> {
        self.neutron.list(&Filter::new()).await.unwrap()
    }

    /// A network with one subnet that somebody else has made.
    pub(crate) async fn existing(&self, cidr: &str, gateway: Option<&str>) -> (Network, Subnet) {
        let new = NewNetwork {
            name: "theirs".into(),
            admin_state_up: true,
            ..NewNetwork::default()
        };
        let network = self.neutron.create(&new, &Filter::new()).await.unwrap();
        let new = NewSubnet {
            name: "theirs".into(),
            description: String::new(),
            network_id: network.id,
            ip_version: IpVersion::V4,
            cidr: Some(cidr.parse().unwrap()),
            subnetpool_id: None,
            gateway_ip: Some(gateway.map(|gateway| gateway.parse().unwrap())),
            allocation_pools: None,
            enable_dhcp: true,
        };
        let subnet = self.neutron.create(&new, &Filter::new()).await.unwrap();
        let network = self.neutron.find(network.id).await.unwrap().unwrap();
        (network, subnet)
    }

    /// Fails unless Neutron and the host are as they were at the beginning.
    pub(crate) async fn assert_nothing_left(&self) {
        let in_a_while = Instant::now() + Duration::from_secs(60);
        assert!(self.kuryr.settled(in_a_while).await, "something is owed");
        assert_eq!(self.all::<Port>().await, []);
        assert_eq!(self.all::<Subnet>().await, []);
        assert_eq!(self.all::<Network>().await, []);
        let pools = self.all::<SubnetPool>().await;
        assert!(pools.iter().all(|pool| pool.is_default), "{pools:?}");
        let groups = self.all::<SecurityGroup>().await;
        assert!(
            groups.iter().all(|group| group.name == "default"),
            "{groups:?}"
        );
        assert_eq!(self.plugged(), 0);
    }

    /// How many interfaces there are on the host.
    pub(crate) fn plugged(&self) -> usize {
        self.host.plugged().len()
    }
}

impl Answer {
    /// The text of an error, which is there for the network driver's and for the IPAM driver's
    /// side of Docker.
    pub(crate) fn error(&self) -> &str {
        let error = self.body["Err"].as_str();
        assert_eq!(error, self.body["Error"].as_str());
        error.unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

fn core_settings() -> kuryr_core::Settings {
    kuryr_core::Settings {
        port_pool: kuryr_core::PortPoolSettings {
            enabled: false,
            ..kuryr_core::PortPoolSettings::default()
        },
        plugging_timeout: Duration::from_secs(10),
        ..kuryr_core::Settings::usual("host1")
    }
}
