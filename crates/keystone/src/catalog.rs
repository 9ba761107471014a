//! The catalogue in a token: which service is where.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::settings::EndpointChoice;

/// The services that a token knows. Whatever else a cloud puts in is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Catalog(Vec<Entry>);

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type", default)]
    service_type: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default)]
    interface: String,
    region_id: Option<String>,
    /// What `region_id` was called first; some clouds still send only this.
    region: Option<String>,
    #[serde(default)]
    url: String,
}

impl Catalog {
    /// The first endpoint that fits; its URL is not checked.
    ///
    /// The type must match as it is: of the services that Kuryr calls, none has an alias in the
    /// service types authority (os-service-types 1.9).
    pub(crate) fn find(&self, choice: &EndpointChoice) -> Option<&str> {
        self.0
            .iter()
            .filter(|entry| entry.service_type == choice.service_type)
            .flat_map(|entry| &entry.endpoints)
            .filter(|endpoint| endpoint.interface == choice.interface.as_str())
            .find(|endpoint| {
                choice.region.is_none() || endpoint.region() == choice.region.as_deref()
            })
            .map(|endpoint| endpoint.url.as_str())
    }

    /// What there is, for an operator who chose what there is not.
    pub(crate) fn summary(&self) -> String {
        let mut services: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        for entry in &self.0 {
            let regions = services.entry(&entry.service_type).or_default();
            for endpoint in &entry.endpoints {
                let region = endpoint.region().unwrap_or("no region");
                regions
                    .entry(region)
                    .or_default()
                    .insert(&endpoint.interface);
            }
        }
        if services.is_empty() {
            return "no service at all, as for a token without a project".to_owned();
        }
        let services = services.iter().map(|(service, regions)| {
            let regions = regions.iter().map(|(region, interfaces)| {
                let interfaces: Vec<_> = interfaces.iter().copied().collect();
                format!("{region}: {}", interfaces.join(", "))
            });
            format!("{service} ({})", regions.collect::<Vec<_>>().join("; "))
        });
        services.collect::<Vec<_>>().join(", ")
    }
}

impl Endpoint {
    fn region(&self) -> Option<&str> {
        self.region_id.as_deref().or(self.region.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Interface;

    fn catalog() -> Catalog {
        serde_json::from_value(json!([
            { "type": "identity", "name": "keystone", "endpoints": [] },
            { "type": "network", "id": "n", "endpoints": [
                { "interface": "public", "region_id": "One", "region": "One", "url": "http://one" },
                { "interface": "internal", "region_id": "One", "region": "One", "url": "http://one.internal" },
                { "interface": "public", "region": "Two", "url": "http://two" },
            ] },
        ]))
        .unwrap()
    }

    fn choice(region: Option<&str>, interface: Interface) -> EndpointChoice {
        EndpointChoice {
            region: region.map(Into::into),
            interface,
            ..EndpointChoice::default()
        }
    }

    #[test]
    fn region_and_interface_choose_the_endpoint() {
        let catalog = catalog();
        assert_eq!(
            catalog.find(&choice(None, Interface::Public)),
            Some("http://one")
        );
        assert_eq!(
            catalog.find(&choice(None, Interface::Internal)),
            Some("http://one.internal")
        );
        assert_eq!(
            catalog.find(&choice(Some("Two"), Interface::Public)),
            Some("http://two")
        );
        assert_eq!(
            catalog.find(&choice(Some("Two"), Interface::Internal)),
            None
        );
        assert_eq!(catalog.find(&choice(Some("Six"), Interface::Public)), None);
    }

    #[test]
    fn the_summary_names_types_regions_and_interfaces() {
        assert_eq!(
            catalog().summary(),
            "identity (), network (One: internal, public; Two: public)"
        );
    }
}
