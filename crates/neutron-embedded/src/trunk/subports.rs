//! Subports that come and go: `/v2.0/trunks/ID/add_subports`.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use neutron_api::{PortId, Subport};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Trunk, check_in_no_trunk, parent_in_use, parsed};
use crate::body::{self, as_python};
use crate::cloud::{Answer, Ask, Cloud};
use crate::network::Network;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::{Resource, view};

/// A subport as it is asked for: to be removed, it needs no VLAN id.
pub(super) struct Wanted {
    port: PortId,
    details: Map<String, Value>,
}

/// Does what is asked of a trunk's subports.
pub(crate) fn serve(cloud: &mut Cloud, ask: &Ask, id: &str, verb: &str) -> Result<Answer, Refusal> {
    let is_question = verb == "get_subports";
    let method = if is_question {
        Method::GET
    } else {
        Method::PUT
    };
    if ask.method != method {
        return Err(Refusal::no_such_method());
    }
    let trunk = parsed(id).and_then(|id| cloud.store.find::<Trunk>(id));
    let trunk = trunk.cloned().ok_or_else(|| Trunk::missing(id))?;
    if is_question {
        let body = json!({ "sub_ports": trunk.sub_ports });
        return Ok(Answer::with(StatusCode::OK, body));
    }
    let asked = body::subports(&ask.body)?;
    let trunk = if verb == "add_subports" {
        trunk.with(cloud, &wanted(&asked).map_err(Refusal::input)?)?
    } else {
        trunk.check_enabled()?;
        trunk.without(cloud, &wanted(&asked).map_err(Refusal::input)?)?
    };
    let trunk = cloud.store.replace(trunk);
    // Unlike all others, this reply has no key that the object stands under.
    Ok(Answer::with(StatusCode::OK, view(cloud, &trunk).into()))
}

/// Reads subports, and says what is wrong with them as such.
pub(super) fn wanted(asked: &Value) -> Result<Vec<Wanted>, String> {
    let Value::Array(list) = asked else {
        let asked = as_python(asked);
        return Err(format!(
            "Invalid data format for subports: '{asked}' is not a list"
        ));
    };
    let (mut ports, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut all = Vec::new();
    for subport in list {
        let Value::Object(details) = subport else {
            let subport = as_python(subport);
            return Err(format!(
                "Invalid data format for subport: '{subport}' is not a dict"
            ));
        };
        let port = details.get("port_id");
        let port = port.ok_or("A valid port UUID must be specified")?;
        let text = as_python(port);
        let port: Uuid = text
            .parse()
            .map_err(|_| format!("Invalid UUID for subport: '{text}'"))?;
        if !ports.insert(port) {
            return Err(format!("Non unique UUID for subport: '{text}'"));
        }
        if let Some(id) = details.get("segmentation_id")
            && !ids.insert(as_python(id))
        {
            let id = as_python(id);
            return Err(format!("Segmentation ID '{id}' for '{text}' is not unique"));
        }
        all.push(Wanted {
            port: port.into(),
            details: details.clone(),
        });
    }
    Ok(all)
}

impl Wanted {
    fn subport(&self) -> Result<Subport, Refusal> {
        let kind = self.details.get("segmentation_type");
        let id = self.details.get("segmentation_id");
        let (Some(kind), Some(id)) = (kind.and_then(Value::as_str), id) else {
            let details = Value::from(self.details.clone());
            return Err(Refusal::input(format_args!(
                "Invalid subport details '{details}': missing segmentation information. Must specify \
                 both segmentation_id and segmentation_type"
            )));
        };
        let id = as_python(id);
        let number: i64 = id.parse().map_err(|_| {
            Refusal::input(format_args!(
                "Invalid subport details: segmentation_id '{id}' is not an integer"
            ))
        })?;
        if kind != "vlan" {
            let reason = format!("Unknown segmentation_type '{kind}'");
            return Err(Refusal::input(reason));
        }
        match u16::try_from(number) {
            Ok(id) if Subport::IDS.contains(&id) => Ok(Subport::tagged(self.port, id)),
            Ok(_) | Err(_) => Err(Refusal::input(format_args!(
                "Segmentation ID '{id}' is not in range"
            ))),
        }
    }
}

impl Trunk {
    /// The trunk with these subports more, which are changed accordingly.
    pub(super) fn with(mut self, cloud: &mut Cloud, wanted: &[Wanted]) -> Result<Self, Refusal> {
        let mut added = Vec::new();
        for wanted in wanted {
            added.push(self.checked(cloud, wanted)?);
        }
        self.check_enabled()?;
        for subport in added {
            if self.has(&subport) {
                let message = format!(
                    "segmentation_type {} and segmentation_id {} already in use on trunk {}.",
                    subport.segmentation_type,
                    subport.segmentation_id,
                    self.id()
                );
                return Err(Refusal::conflict("DuplicateSubPort", message));
            }
            let parent = cloud.store.find::<Port>(self.port_id).cloned();
            let port = cloud.store.find::<Port>(subport.port_id).cloned();
            if let (Some(parent), Some(port)) = (parent, port) {
                let port = port.reached_by(&parent, subport.segmentation_id, &cloud.settings);
                cloud.store.replace(port);
            }
            self.sub_ports.push(subport);
        }
        Ok(self)
    }

    /// The trunk without these subports, which are changed accordingly.
    fn without(mut self, cloud: &mut Cloud, wanted: &[Wanted]) -> Result<Self, Refusal> {
        for Wanted { port, .. } in wanted {
            let place = self.sub_ports.iter().position(|has| has.port_id == *port);
            let Some(place) = place else {
                let message = format!("SubPort {port} on trunk {} could not be found.", self.id());
                return Err(Refusal::not_found("SubPortNotFound", message));
            };
            self.sub_ports.remove(place);
            free(cloud, *port);
        }
        Ok(self)
    }

    fn has(&self, other: &Subport) -> bool {
        self.sub_ports.iter().any(|subport| {
            subport.segmentation_type == other.segmentation_type
                && subport.segmentation_id == other.segmentation_id
        })
    }

    fn checked(&self, cloud: &Cloud, wanted: &Wanted) -> Result<Subport, Refusal> {
        let id = wanted.port;
        if id == self.port_id {
            return Err(parent_in_use(id));
        }
        let port = cloud.store.find::<Port>(id);
        let mtu = |port: Option<&Port>| {
            let network = cloud.store.find::<Network>(port?.network_id)?;
            Some(network.mtu())
        };
        let own = mtu(cloud.store.find::<Port>(self.port_id));
        if let (Some(mtu), Some(own)) = (mtu(port), own)
            && mtu > own
        {
            // It says trunk, and names the port.
            let message = format!(
                "MTU {mtu} of subport {id} cannot be greater than MTU {own} of trunk {}.",
                self.port_id
            );
            let kind = "SubPortMtuGreaterThanTrunkPortMtu";
            return Err(Refusal::conflict(kind, message));
        }
        let subport = wanted.subport()?;
        check_in_no_trunk(cloud, id)?;
        let port = port.ok_or_else(|| Port::missing(&id.to_string()))?;
        if port.device_id().is_empty() {
            return Ok(subport);
        }
        let message = format!(
            "Unable to complete operation on port {id} for network {}. Port already has an attached device {}.",
            port.network_id,
            port.device_id()
        );
        Err(Refusal::conflict("PortInUse", message))
    }
}

/// A port that is no longer a subport.
pub(super) fn free(cloud: &mut Cloud, port: PortId) {
    if let Some(port) = cloud.store.find::<Port>(port).cloned() {
        cloud.store.replace(port.on_its_own());
    }
}
