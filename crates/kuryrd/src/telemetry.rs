//! What is counted, for Prometheus: Docker's calls, exchanges with Neutron, this process.

mod docker;
mod neutron;
mod process;

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub(crate) use docker::DockerCalls;
pub(crate) use neutron::NeutronExchanges;

/// Seconds: from a cached answer to the longest deadline that makes sense.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Everything that is counted. Clones count together.
pub(crate) struct Telemetry {
    /// Calls from Docker.
    pub(crate) docker: DockerCalls,
    /// Exchanges with Neutron.
    pub(crate) neutron: NeutronExchanges,
    registry: Registry,
}

impl Telemetry {
    /// Counts from zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("kuryr_build", "Which kuryr this is", Info::new(version));
        registry.register_collector(Box::new(process::Process));
        Self {
            docker: DockerCalls::register(&mut registry),
            neutron: NeutronExchanges::register(&mut registry),
            registry,
        }
    }

    /// All of it, in OpenMetrics' text form.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
