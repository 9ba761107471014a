//! What the user wants of a container's port: the options that begin with `neutron.port.`, of one
//! endpoint (`--network name=N,driver-opt=…`) or as a network's defaults (`-o`).

use std::collections::BTreeMap;

use neutron_api::{AddressPair, QosPolicyId, SecurityGroupId};

use super::{Named, check_known, truth};
use crate::driver::Driver;
use crate::error::Error;

const GROUPS: &str = "neutron.port.security_groups";
const NAME: &str = "neutron.port.name";
const DNS_NAME: &str = "neutron.port.dns_name";
const QOS_POLICY: &str = "neutron.port.qos_policy";
const PORT_SECURITY: &str = "neutron.port.port_security";
const ADDRESS_PAIRS: &str = "neutron.port.allowed_address_pairs";

/// All of them.
pub(super) const ALL: [&str; 6] = [
    GROUPS,
    NAME,
    DNS_NAME,
    QOS_POLICY,
    PORT_SECURITY,
    ADDRESS_PAIRS,
];

/// What the user wants of a port; what is not set is left to the network's defaults and to Neutron.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct PortWishes {
    pub(crate) security_groups: Option<Vec<Named<SecurityGroupId>>>,
    pub(crate) name: Option<String>,
    pub(crate) dns_name: Option<String>,
    pub(crate) qos_policy: Option<Named<QosPolicyId>>,
    pub(crate) port_security: Option<bool>,
    pub(crate) address_pairs: Option<Vec<AddressPair>>,
    /// Only a network's: where its ports are plugged is settled before there are endpoints.
    pub(crate) driver: Option<Driver>,
}

impl PortWishes {
    /// Reads an endpoint's options: there are no others of ours.
    pub(crate) fn of_endpoint(options: &BTreeMap<String, String>) -> Result<Self, Error> {
        check_known(options, ALL.into())?;
        Self::of_network(options)
    }

    /// Reads them out of a network's options.
    pub(crate) fn of_network(options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let text = |option: &str| options.get(option).map(|value| value.trim());
        let wishes = Self {
            security_groups: text(GROUPS).map(groups),
            name: text(NAME).map(name).transpose()?,
            dns_name: text(DNS_NAME).map(dns_name).transpose()?,
            qos_policy: text(QOS_POLICY).map(qos_policy).transpose()?,
            port_security: text(PORT_SECURITY)
                .map(|value| truth(PORT_SECURITY, value))
                .transpose()?,
            address_pairs: text(ADDRESS_PAIRS).map(address_pairs).transpose()?,
            driver: None,
        };
        let is_open = wishes.port_security == Some(false);
        let holds = |list: Option<usize>| list.is_some_and(|length| length > 0);
        if is_open && holds(wishes.security_groups.as_ref().map(Vec::len)) {
            return Err(open_port_with(GROUPS));
        }
        if is_open && holds(wishes.address_pairs.as_ref().map(Vec::len)) {
            return Err(open_port_with(ADDRESS_PAIRS));
        }
        Ok(wishes)
    }
}

/// Docker's own lists are split at commas, so a semicolon will do as well.
fn list(value: &str) -> impl Iterator<Item = &str> {
    let items = value.split([',', ';']).map(str::trim);
    items.filter(|item| !item.is_empty())
}

fn groups(value: &str) -> Vec<Named<SecurityGroupId>> {
    list(value).map(Named::read).collect()
}

fn name(value: &str) -> Result<String, Error> {
    if (1..=255).contains(&value.chars().count()) {
        Ok(value.to_owned())
    } else {
        Err(bad(NAME, value, "1 to 255 characters"))
    }
}

fn dns_name(value: &str) -> Result<String, Error> {
    let is_label = |label: &str| {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let bare = !label.starts_with('-') && !label.ends_with('-');
        (1..=63).contains(&label.len()) && bare && label.chars().all(legal)
    };
    let labels = value.strip_suffix('.').unwrap_or(value);
    if value.len() <= 255 && labels.split('.').all(is_label) {
        Ok(value.to_owned())
    } else {
        Err(bad(
            DNS_NAME,
            value,
            "a name as DNS takes it (letters, digits and '-', at most 63 between dots)",
        ))
    }
}

fn qos_policy(value: &str) -> Result<Named<QosPolicyId>, Error> {
    if value.is_empty() {
        return Err(bad(
            QOS_POLICY,
            value,
            "the name or the UUID of a QoS policy",
        ));
    }
    Ok(Named::read(value))
}

fn address_pairs(value: &str) -> Result<Vec<AddressPair>, Error> {
    let pair = |item: &str| {
        let (range, mac) = match item.split_once('=') {
            Some((range, mac)) => (range.trim(), Some(mac.trim().parse().ok()?)),
            None => (item, None),
        };
        let pair = AddressPair {
            ip_address: range.to_owned(),
            mac_address: mac,
        };
        pair.range().is_some().then_some(pair)
    };
    let wrong = || {
        bad(
            ADDRESS_PAIRS,
            value,
            "a list of addresses or ranges, each with a MAC address or none \
             (such as 10.20.0.100;10.20.1.0/24=02:00:00:00:00:01)",
        )
    };
    list(value)
        .map(|item| pair(item).ok_or_else(wrong))
        .collect()
}

fn open_port_with(option: &'static str) -> Error {
    bad(
        PORT_SECURITY,
        "false",
        match option {
            GROUPS => "possible together with neutron.port.security_groups",
            _ => "possible together with neutron.port.allowed_address_pairs",
        },
    )
}

fn bad(option: &'static str, value: &str, expected: &'static str) -> Error {
    Error::BadOption {
        option,
        value: value.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<PortWishes, Error> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        PortWishes::of_endpoint(&pairs.collect())
    }

    #[test]
    fn lists_are_split_at_commas_and_semicolons() {
        let id = "00000000-0000-0000-0000-000000000001";
        let wishes = read(&[
            (GROUPS, &format!("web servers; {id},")),
            (ADDRESS_PAIRS, "10.1.0.0/16, fd00::5=02:00:00:00:00:01"),
        ])
        .unwrap();
        let groups = wishes.security_groups.unwrap();
        assert_eq!(groups[0], Named::Name("web servers".into()));
        assert_eq!(groups[1], Named::Id(id.parse().unwrap()));
        let pairs = wishes.address_pairs.unwrap();
        assert_eq!(pairs[0].ip_address, "10.1.0.0/16");
        assert_eq!(
            pairs[1].mac_address,
            Some("02:00:00:00:00:01".parse().unwrap())
        );
    }

    #[test]
    fn an_empty_list_is_none_and_not_the_default() {
        let wishes = read(&[(GROUPS, ""), (ADDRESS_PAIRS, " ")]).unwrap();
        assert_eq!(wishes.security_groups, Some(vec![]));
        assert_eq!(wishes.address_pairs, Some(vec![]));
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_valid() {
        for (option, value, valid) in [
            (NAME, "", "1 to 255"),
            (DNS_NAME, "under_score", "letters, digits"),
            (DNS_NAME, "a..b", "letters, digits"),
            (DNS_NAME, "-a", "letters, digits"),
            (QOS_POLICY, " ", "name or the UUID"),
            (PORT_SECURITY, "perhaps", "true or false"),
            (ADDRESS_PAIRS, "10.0.0.300", "10.20.0.100"),
            (ADDRESS_PAIRS, "10.0.0.3=x", "10.20.0.100"),
            ("neutron.port.colour", "red", "neutron.port.qos_policy"),
            ("neutron.net.name", "blue", "neutron.port.qos_policy"),
        ] {
            let error = read(&[(option, value)]).unwrap_err().to_string();
            assert!(error.contains(valid), "{error}");
            assert!(error.contains(option), "{error}");
        }
        let both = [(PORT_SECURITY, "no"), (GROUPS, "web")];
        let error = read(&both).unwrap_err().to_string();
        assert!(error.contains(GROUPS), "{error}");
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let wishes = read(&[("com.example.colour", "red")]).unwrap();
        assert_eq!(wishes, PortWishes::default());
    }
}
