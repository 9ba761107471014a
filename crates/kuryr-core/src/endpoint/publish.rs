//! Ports of this host that lead to containers (`docker run -p`), where it is this host that leads.

use kuryr_vif::PublishedPort;
use tokio::time::Instant;

use crate::ask::{EndpointId, NetworkId};
use crate::error::Error;
use crate::kuryr::Kuryr;
use crate::names;

impl Kuryr {
    /// Makes these ports of the host, and no others, lead to an endpoint.
    ///
    /// # Errors
    /// Somebody else has a port, the endpoint is unknown, or the host refuses.
    pub async fn publish(
        &self,
        network: &NetworkId,
        id: &EndpointId,
        ports: &[PublishedPort],
        by: Instant,
    ) -> Result<(), Error> {
        let Some(publisher) = &self.publisher else {
            return Ok(());
        };
        let net = self.network(network, by).await?;
        let endpoint = self.endpoint(&net, id, by).await?;
        let published = publisher.publish(&endpoint.plugged, ports, by).await;
        published.map_err(|source| Error::Publish {
            endpoint: names::head(id.as_str(), 12).to_owned(),
            source: Box::new(source),
        })
    }
}
