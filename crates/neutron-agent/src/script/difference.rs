//! What changes between two models: elements, and whether more than those.

use std::collections::BTreeSet;
use std::sync::Arc;

use neutron_api::NetworkId;

use crate::element::Element;
use crate::model::{Model, NetworkPart, PortPart};

/// The elements that go, and those that come.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) gone: BTreeSet<Element>,
    pub(crate) come: BTreeSet<Element>,
}

impl Difference {
    pub(crate) fn between(applied: &Model, wanted: &Model) -> Self {
        let touched = wanted.touched_since(applied);
        let old: BTreeSet<Element> = unlike(applied, Some(wanted), touched.as_ref()).collect();
        let new: BTreeSet<Element> = unlike(wanted, Some(applied), touched.as_ref()).collect();
        let gone = old.difference(&new);
        let gone = gone.filter(|element| is_in(applied, element) && is_in(wanted, element));
        let come = new.difference(&old);
        let come = come.filter(|element| is_in(wanted, element));
        let (gone, mut come) = (
            gone.cloned().collect(),
            come.cloned().collect::<BTreeSet<_>>(),
        );
        if !wanted.remotes.is_subset(&applied.remotes) {
            // Sets of members that are new lack also those that have been here before.
            come.extend(all(wanted).filter(|element| !is_in(applied, element)));
        }
        Self { gone, come }
    }
}

/// All elements of a model; made one after the other, as together they take much memory.
pub(super) fn all(model: &Model) -> impl Iterator<Item = Element> {
    unlike(model, None, None).filter(|element| is_in(model, element))
}

/// The elements of `model` but for those of parts that `other` has as well, if there is one; none
/// but the `touched` networks can differ.
fn unlike<'a>(
    model: &'a Model,
    other: Option<&'a Model>,
    touched: Option<&BTreeSet<NetworkId>>,
) -> impl Iterator<Item = Element> + 'a {
    let networks: Vec<(NetworkId, &Arc<NetworkPart>)> = match touched {
        Some(touched) => {
            let ids = touched.iter();
            ids.filter_map(|id| Some((*id, model.networks.get(id)?)))
                .collect()
        }
        None => model
            .networks
            .iter()
            .map(|(id, part)| (*id, part))
            .collect(),
    };
    let networks = networks.into_iter().filter_map(move |(id, part)| {
        let twin = other.and_then(|other| other.networks.get(&id));
        let is_same = twin.is_some_and(|twin| Arc::ptr_eq(part, twin));
        (!is_same).then_some((part, twin))
    });
    let elements = networks.flat_map(|(part, twin)| {
        let ports = part.ports.iter().filter(move |(id, port)| {
            let twin = twin.and_then(|twin| twin.ports.get(id));
            !is_same(port, twin)
        });
        let of_ports = ports.flat_map(|(_, port)| port.own());
        part.own.iter().cloned().chain(of_ports)
    });
    model.shared.iter().cloned().chain(elements)
}

/// Members of groups that no rule names are in no set.
fn is_in(model: &Model, element: &Element) -> bool {
    let group = element.set.group();
    group.is_none_or(|group| model.remotes.contains(&group))
}

fn is_same(port: &Arc<PortPart>, other: Option<&Arc<PortPart>>) -> bool {
    other.is_some_and(|other| Arc::ptr_eq(port, other))
}
