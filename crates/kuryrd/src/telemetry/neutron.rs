//! Counts and times exchanges with Neutron by method, resource and status.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tower::{Layer, Service};

use super::BUCKETS;

/// Exchanges with Neutron. Clones count together.
#[derive(Clone)]
pub(crate) struct NeutronExchanges {
    total: Family<Exchange, Counter>,
    duration: Family<Resource, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exchange {
    method: String,
    resource: &'static str,
    /// The HTTP status, or `none` if there was no reply.
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    method: String,
    resource: &'static str,
}

impl NeutronExchanges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let exchanges = Self {
            total: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        registry.register(
            "kuryr_neutron_exchanges",
            "Exchanges with Neutron, one for each request sent",
            exchanges.total.clone(),
        );
        registry.register(
            "kuryr_neutron_exchange_duration_seconds",
            "How long exchanges with Neutron took",
            exchanges.duration.clone(),
        );
        exchanges
    }

    /// Counts whatever the service under the layer exchanges.
    pub(crate) fn layer(&self) -> NeutronLayer {
        NeutronLayer(self.clone())
    }

    fn note(&self, resource: Resource, status: String, started: Instant) {
        self.duration
            .get_or_create(&resource)
            .observe(started.elapsed().as_secs_f64());
        let exchange = Exchange {
            method: resource.method,
            resource: resource.resource,
            status,
        };
        self.total.get_or_create(&exchange).inc();
    }
}

/// Puts the count around a service that carries HTTP exchanges.
#[derive(Clone)]
pub(crate) struct NeutronLayer(NeutronExchanges);

impl<S> Layer<S> for NeutronLayer {
    type Service = Counted<S>;

    fn layer(&self, carrier: S) -> Counted<S> {
        Counted {
            carrier,
            exchanges: self.0.clone(),
        }
    }
}

/// A service whose exchanges are counted.
#[derive(Clone)]
pub(crate) struct Counted<S> {
    carrier: S,
    exchanges: NeutronExchanges,
}

impl<S> Service<Request<Bytes>> for Counted<S>
where
    S: Service<Request<Bytes>, Response = Response<Bytes>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Bytes>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.carrier.poll_ready(context)
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let resource = Resource {
            method: method(request.method()),
            resource: resource(request.uri().path()),
        };
        let exchanges = self.exchanges.clone();
        let started = Instant::now();
        let exchange = self.carrier.call(request);
        Box::pin(async move {
            let reply = exchange.await;
            let status = reply.as_ref().map_or_else(
                |_| "none".to_owned(),
                |reply| reply.status().as_u16().to_string(),
            );
            exchanges.note(resource, status, started);
            reply
        })
    }
}

fn method(method: &Method) -> String {
    method.as_str().to_owned()
}

/// The first segment after the version, if it is one that Kuryr asks for: never an id.
fn resource(path: &str) -> &'static str {
    const KNOWN: [&str; 10] = [
        "agents",
        "extensions",
        "floatingips",
        "networks",
        "ports",
        "security-group-rules",
        "security-groups",
        "subnetpools",
        "subnets",
        "trunks",
    ];
    let mut segments = path
        .split('/')
        .skip_while(|segment| segment.is_empty() || *segment == "v2.0");
    let first = segments.next().unwrap_or_default();
    KNOWN
        .iter()
        .find(|known| **known == first)
        .copied()
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_never_an_id() {
        assert_eq!(resource("/v2.0/ports/3f0b9f5e"), "ports");
        assert_eq!(resource("/v2.0/networks"), "networks");
        assert_eq!(resource("/3f0b9f5e"), "other");
        assert_eq!(resource("/v2.0/"), "other");
    }
}
