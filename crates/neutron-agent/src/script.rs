//! The script for nft that makes what is wanted from what is there: a pure function.

mod difference;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use neutron_api::{Direction, IpVersion, SecurityGroupId};

use crate::element::{Element, Family, Set};
use crate::group::{self, Groups};
use crate::model::Model;

pub(crate) use difference::Difference;

/// The set that every batch leaves its number in, by which the agent knows its own changes.
pub(crate) const BATCHES: &str = "batches";

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];
const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// Names one batch of changes to the tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batch<'a> {
    /// The name of both tables.
    pub table: &'a str,
    /// Its number; not the one of the batch before.
    pub number: u32,
}

/// The script that leads from `applied` to `wanted`; without `applied` it makes both tables anew,
/// whatever is there. None if there is nothing to do.
pub fn script(applied: Option<&Model>, wanted: &Model, batch: Batch<'_>) -> Option<String> {
    let anew = applied.is_none().then(|| tables::anew(batch.table));
    let mut script = Script {
        table: batch.table,
        text: anew.unwrap_or_default(),
    };
    let empty = script.text.len();
    script.change(applied, wanted);
    let Batch { table, number } = batch;
    (applied.is_none() || script.text.len() > empty).then(|| {
        format!(
            "{}flush set inet {table} {BATCHES}\nadd element inet {table} {BATCHES} {{ {number} }}\n",
            script.text
        )
    })
}

/// The script that takes both tables away, whether they are there or not.
pub fn removal(table: &str) -> String {
    [Family::Inet, Family::Bridge]
        .map(|family| format!("add table {family} {table}\ndelete table {family} {table}\n"))
        .concat()
}

struct Script<'a> {
    table: &'a str,
    text: String,
}

impl Script<'_> {
    /// What is named comes before what names it, and goes after it.
    fn change(&mut self, known: Option<&Model>, wanted: &Model) {
        let nothing = Model::default();
        let applied = known.unwrap_or(&nothing);
        for group in wanted.remotes.difference(&applied.remotes) {
            self.members("add set", *group, true);
        }
        for group in wanted
            .sets
            .difference(&applied.sets)
            .filter_map(Groups::only)
        {
            self.ports("add set", group, true);
        }
        let (old, new) = (chains(applied), chains(wanted));
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            self.line(&format!("add chain inet {} {name}", self.table));
        }
        for (name, rules) in &new {
            let before = old.get(name);
            if before.is_some_and(|before| before.is_same(rules)) {
                continue;
            }
            if before.is_some() {
                self.line(&format!("flush chain inet {} {name}", self.table));
            }
            for rule in rules.text() {
                self.line(&format!("add rule inet {} {name} {rule}", self.table));
            }
        }
        if known.is_some() {
            let Difference { gone, come } = Difference::between(applied, wanted);
            self.elements("delete", gone);
            self.elements("add", come);
        } else {
            self.elements("add", difference::all(wanted));
        }
        let unused = || old.keys().filter(|name| !new.contains_key(*name));
        for name in unused() {
            self.line(&format!("flush chain inet {} {name}", self.table));
        }
        for name in unused() {
            self.line(&format!("delete chain inet {} {name}", self.table));
        }
        for group in applied.remotes.difference(&wanted.remotes) {
            self.members("delete set", *group, false);
        }
        for group in applied
            .sets
            .difference(&wanted.sets)
            .filter_map(Groups::only)
        {
            self.ports("delete set", group, false);
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn members(&mut self, verb: &str, group: SecurityGroupId, declared: bool) {
        for version in VERSIONS {
            let set = Set::Members(group, version);
            let elements = match version {
                IpVersion::V4 => "type ipv4_addr",
                IpVersion::V6 => "type ipv6_addr",
            };
            self.set(verb, set, declared.then_some(elements));
        }
    }

    /// The sets of the ports that have this one group.
    fn ports(&mut self, verb: &str, group: SecurityGroupId, declared: bool) {
        let sets = [
            (Set::From(group), "typeof iifname . ether saddr"),
            (Set::To(group, IpVersion::V4), "typeof oifname . ip daddr"),
            (Set::To(group, IpVersion::V6), "typeof oifname . ip6 daddr"),
        ];
        for (set, elements) in sets {
            self.set(verb, set, declared.then_some(elements));
        }
    }

    /// Adds or deletes a set; one that is added says what its elements are.
    fn set(&mut self, verb: &str, set: Set, elements: Option<&str>) {
        let declaration = elements.map(|elements| format!(" {{ {elements}; }}"));
        let declaration = declaration.unwrap_or_default();
        self.line(&format!("{verb} inet {} {set}{declaration}", self.table));
    }

    fn elements(&mut self, verb: &str, elements: impl IntoIterator<Item = Element>) {
        let mut lists = BTreeMap::<Set, String>::new();
        for element in elements {
            let list = lists.entry(element.set).or_default();
            let separator = if list.is_empty() { "" } else { ", " };
            list.push_str(separator);
            list.push_str(&element.to_string());
        }
        for (set, list) in lists {
            let family = set.family();
            self.line(&format!(
                "{verb} element {family} {} {set} {{ {list} }}",
                self.table
            ));
        }
    }
}

/// The rules of a chain.
enum Rules<'a> {
    /// Those of a group.
    Of(&'a [String]),
    /// Those of a set of groups: they follow from its name.
    Fixed(Vec<String>),
}

impl Rules<'_> {
    fn is_same(&self, other: &Self) -> bool {
        self.text() == other.text()
    }

    fn text(&self) -> &[String] {
        match self {
            Self::Of(rules) => rules,
            Self::Fixed(rules) => rules,
        }
    }
}

fn chains(model: &Model) -> BTreeMap<String, Rules<'_>> {
    let mut chains = BTreeMap::new();
    for direction in DIRECTIONS {
        for (id, part) in &model.groups {
            let rules = Rules::Of(part.rules(direction));
            chains.insert(group::chain(*id, direction), rules);
        }
        for set in &model.sets {
            let rules = Rules::Fixed(set.rules(direction));
            chains.insert(set.chain(direction), rules);
        }
        let of_ports = model.sets.iter().flat_map(|set| dispatch(set, direction));
        let name = match direction {
            Direction::Egress => "from_groups",
            Direction::Ingress => "to_groups",
        };
        chains.insert(name.to_owned(), Rules::Fixed(of_ports.collect()));
    }
    chains
}

/// What leads the ports that have one group alone to its chain; other ports are in the maps.
fn dispatch(set: &Groups, direction: Direction) -> Vec<String> {
    let chain = set.chain(direction);
    let rules = |group| match direction {
        Direction::Egress => vec![format!(
            "iifname . ether saddr @{} goto {chain}",
            Set::From(group)
        )],
        Direction::Ingress => vec![
            format!(
                "oifname . ip daddr @{} goto {chain}",
                Set::To(group, IpVersion::V4)
            ),
            format!(
                "oifname . ip6 daddr @{} goto {chain}",
                Set::To(group, IpVersion::V6)
            ),
        ],
    };
    set.only().map(rules).unwrap_or_default()
}

/// Whether two models have the same chains and sets, so that elements are all that may differ.
pub(crate) fn differ_in_elements_only(applied: &Model, wanted: &Model) -> bool {
    applied.remotes == wanted.remotes
        && applied.sets == wanted.sets
        && applied.groups.len() == wanted.groups.len()
        && applied
            .groups
            .iter()
            .zip(&wanted.groups)
            .all(|((id, before), (other, after))| id == other && Arc::ptr_eq(before, after))
}
