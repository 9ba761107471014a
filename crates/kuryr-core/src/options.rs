//! Which of Neutron's objects the user wants: the options that begin with `neutron.`, of `-o` and
//! of `--ipam-opt`.

mod port;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use neutron_api::{IpVersion, NetworkId as NeutronNetworkId, SubnetId, SubnetPoolId};

use crate::driver::Driver;
use crate::error::Error;

pub(crate) use port::PortWishes;

/// An object of Neutron's, as a user names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Named<Id> {
    Id(Id),
    Name(String),
}

impl<Id: FromStr> Named<Id> {
    /// What is no identifier is a name.
    fn read(text: &str) -> Self {
        match text.parse() {
            Ok(id) => Self::Id(id),
            Err(_) => Self::Name(text.to_owned()),
        }
    }
}

impl<Id: fmt::Display> fmt::Display for Named<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// What the user wants used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wishes {
    pub(crate) network: Option<Named<NeutronNetworkId>>,
    /// Whether the network is shared with other projects, or to be.
    pub(crate) shared: Option<bool>,
    /// Whether it has warm ports, where the user says.
    pub(crate) pool: Option<bool>,
    /// What the ports of its containers are to be like.
    pub(crate) ports: PortWishes,
    v4: RangeWishes,
    v6: RangeWishes,
}

/// What the user wants used for the range of one IP version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct RangeWishes {
    pub(crate) subnet: Option<Named<SubnetId>>,
    pub(crate) pool: Option<Named<SubnetPoolId>>,
}

const NETWORK: [&str; 2] = ["neutron.net.uuid", "neutron.net.name"];
const SHARED: &str = "neutron.net.shared";
const WARM: &str = "kuryr.pool";
const SUBNET_V4: [&str; 2] = ["neutron.subnet.uuid", "neutron.subnet.name"];
const SUBNET_V6: [&str; 2] = ["neutron.subnet.v6.uuid", "neutron.subnet.v6.name"];
const POOL_V4: [&str; 2] = ["neutron.pool.uuid", "neutron.pool.name"];
const POOL_V6: [&str; 2] = ["neutron.pool.v6.uuid", "neutron.pool.v6.name"];
/// How the ports of a network are plugged on this host.
const DRIVER: &str = "kuryr.driver";
/// The prefix of options that are for us.
const OURS: &str = "neutron.";

/// The options of a network that is to be adopted which was made with these.
pub(crate) fn adopting(
    mut options: BTreeMap<String, String>,
    network: NeutronNetworkId,
) -> BTreeMap<String, String> {
    let [uuid, name] = NETWORK;
    options.remove(name);
    options.insert(uuid.to_owned(), network.to_string());
    options
}

impl Wishes {
    /// Reads what the user gave with `-o`.
    pub(crate) fn of_network(options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let known = [NETWORK, SUBNET_V4, SUBNET_V6, POOL_V4, POOL_V6];
        check_known(
            options,
            [known.as_flattened(), &[SHARED], &port::ALL].concat(),
        )?;
        let ports = PortWishes::of_network(options)?;
        let driver = options.get(DRIVER).map(|name| driver(name)).transpose()?;
        let ports = PortWishes { driver, ..ports };
        let wishes = Self::read(options)?;
        let pool = options.get(WARM).map(|value| truth(WARM, value));
        let pool = pool.transpose()?;
        Ok(Self {
            ports,
            pool,
            ..wishes
        })
    }

    /// Reads what the user gave with `--ipam-opt`: Docker shows each of the two to one side only.
    pub(crate) fn of_pool(options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut elsewhere = NETWORK.iter().chain(&port::ALL);
        if let Some(option) = elsewhere.find(|name| options.contains_key(**name)) {
            return Err(Error::MisplacedOption { option });
        }
        let known = [SUBNET_V4, SUBNET_V6, POOL_V4, POOL_V6];
        check_known(options, [known.as_flattened(), &[SHARED]].concat())?;
        Self::read(options)
    }

    fn read(options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let shared = options.get(SHARED).map(|value| truth(SHARED, value));
        Ok(Self {
            network: named(options, NETWORK)?,
            shared: shared.transpose()?,
            pool: None,
            ports: PortWishes::default(),
            v4: RangeWishes {
                subnet: named(options, SUBNET_V4)?,
                pool: named(options, POOL_V4)?,
            },
            v6: RangeWishes {
                subnet: named(options, SUBNET_V6)?,
                pool: named(options, POOL_V6)?,
            },
        })
    }

    /// What is wanted for the range of one IP version.
    pub(crate) fn of_version(&self, version: IpVersion) -> &RangeWishes {
        match version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        }
    }
}

fn check_known(options: &BTreeMap<String, String>, known: Vec<&'static str>) -> Result<(), Error> {
    let mut ours = options.keys().filter(|key| key.starts_with(OURS));
    match ours.find(|key| !known.contains(&key.as_str())) {
        Some(option) => Err(Error::UnknownOption {
            option: option.clone(),
            known,
        }),
        None => Ok(()),
    }
}

/// Where both are given the identifier counts: it can mean one object only.
fn named<Id: FromStr>(
    options: &BTreeMap<String, String>,
    [by_id, by_name]: [&'static str; 2],
) -> Result<Option<Named<Id>>, Error> {
    match (options.get(by_id), options.get(by_name)) {
        (Some(id), _) => match id.parse() {
            Ok(id) => Ok(Some(Named::Id(id))),
            Err(_) => Err(Error::BadOption {
                option: by_id,
                value: id.clone(),
                expected: "a UUID",
            }),
        },
        (None, Some(name)) => Ok(Some(Named::Name(name.clone()))),
        (None, None) => Ok(None),
    }
}

fn driver(name: &str) -> Result<Driver, Error> {
    name.trim().parse().map_err(|_| Error::BadOption {
        option: DRIVER,
        value: name.to_owned(),
        expected: "veth, macvlan, ipvlan, ipvlan_l3, vlan or hw_veb",
    })
}

/// A truth value as oslo.utils reads it.
fn truth(option: &'static str, value: &str) -> Result<bool, Error> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
        _ => Err(Error::BadOption {
            option,
            value: value.to_owned(),
            expected: "true or false",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn each_option_of_the_python_daemon_is_known_by_id_and_by_name() {
        let id = "00000000-0000-0000-0000-000000000001";
        for (kind, of_pool) in [
            ("net", false),
            ("subnet", true),
            ("subnet.v6", true),
            ("pool", true),
            ("pool.v6", true),
        ] {
            for (how, value) in [("uuid", id), ("name", "blue")] {
                let option = format!("neutron.{kind}.{how}");
                let given = options([(option.as_str(), value)]);
                let wishes = Wishes::of_network(&given).unwrap();
                assert_ne!(wishes, Wishes::default(), "{option}");
                match Wishes::of_pool(&given) {
                    Ok(same) => assert_eq!(same, wishes),
                    Err(error) => assert!(!of_pool, "{option}: {error}"),
                }
            }
        }
    }

    #[test]
    fn truth_is_written_in_every_way_that_the_python_daemon_takes() {
        for (value, want) in [
            ("1", true),
            ("T", true),
            ("True", true),
            ("ON", true),
            ("y", true),
            ("Yes", true),
            ("False", false),
            ("0", false),
            ("no", false),
        ] {
            let wishes = Wishes::of_network(&options([(SHARED, value)])).unwrap();
            assert_eq!(wishes.shared, Some(want), "{value}");
        }
        let error = Wishes::of_network(&options([(SHARED, "perhaps")])).unwrap_err();
        assert!(error.to_string().contains("true or false"), "{error}");
    }

    #[test]
    fn a_network_named_where_addresses_are_asked_for_is_told_where_it_belongs() {
        let error = Wishes::of_pool(&options([("neutron.net.name", "blue")])).unwrap_err();
        assert!(error.to_string().contains("-o"), "{error}");
    }

    #[test]
    fn an_unknown_option_is_refused_with_those_that_there_are() {
        let given = options([("neutron.subnet.colour", "red"), ("other", "x")]);
        for read in [Wishes::of_network, Wishes::of_pool] {
            let error = read(&given).unwrap_err().to_string();
            assert!(error.contains("neutron.subnet.colour"), "{error}");
            assert!(error.contains("neutron.subnet.v6.uuid"), "{error}");
        }
    }
}
