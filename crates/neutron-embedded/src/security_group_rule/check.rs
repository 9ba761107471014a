//! What a security group rule must be like.

use neutron_api::{IpVersion, Protocol};

use super::{Ethertype, SecurityGroupRule, read};
use crate::cloud::Cloud;
use crate::refusal::Refusal;

impl SecurityGroupRule {
    /// What means the same is written the same: ICMP for IPv6 has a name and a number of its own,
    /// and all ports are no range of ports.
    pub(super) fn in_canonical_form(self) -> Result<Self, Refusal> {
        let written = self.protocol.as_ref().map(Protocol::as_str);
        let protocol = match (self.ethertype, written) {
            (Ethertype::IPv6, Some("icmp" | "icmpv6")) => Some(read::parsed_protocol("ipv6-icmp")?),
            (Ethertype::IPv6, Some("1")) => Some(read::parsed_protocol("58")?),
            _ => self.protocol,
        };
        let ports = (self.port_range_min, self.port_range_max);
        let (port_range_min, port_range_max) = match ports {
            (Some(1), Some(u16::MAX)) => (None, None),
            ports => ports,
        };
        Ok(Self {
            protocol,
            port_range_min,
            port_range_max,
            ..self
        })
    }

    pub(super) fn check_ports(&self) -> Result<(), Refusal> {
        let ports = (self.port_range_min, self.port_range_max);
        if ports == (None, None) {
            return Ok(());
        }
        let Some(protocol) = &self.protocol else {
            return Err(Refusal::invalid(
                "SecurityGroupProtocolRequiredWithPorts",
                "Must also specify protocol if port range is given.",
            ));
        };
        match (protocol.number(), ports) {
            (number, (Some(0), _) | (_, Some(0))) if HAVE_PORTS.contains(&number) => Err(
                Refusal::invalid("SecurityGroupInvalidPortValue", "Invalid value for port 0"),
            ),
            (number, (Some(min), Some(max))) if HAVE_PORTS.contains(&number) && min <= max => {
                Ok(())
            }
            (number, _) if HAVE_PORTS.contains(&number) => Err(Refusal::invalid(
                "SecurityGroupInvalidPortRange",
                "For TCP/UDP protocols, port_range_min must be <= port_range_max",
            )),
            (Protocol::ICMP | Protocol::ICMP_V6, (None, Some(code))) if code <= 255 => {
                let message = format!(
                    "ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing."
                );
                Err(Refusal::invalid("SecurityGroupMissingIcmpType", message))
            }
            (Protocol::ICMP | Protocol::ICMP_V6, (min, max)) => {
                let fields = [
                    ("type", "port_range_min", min),
                    ("code", "port_range_max", max),
                ];
                let wrong = |value: Option<u16>| value.filter(|value| *value > 255);
                match fields.into_iter().find_map(|(field, attribute, value)| {
                    wrong(value).map(|value| (field, attribute, value))
                }) {
                    None => Ok(()),
                    Some((field, attribute, value)) => {
                        let message = format!(
                            "Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255."
                        );
                        Err(Refusal::invalid("SecurityGroupInvalidIcmpValue", message))
                    }
                }
            }
            (number, _) => {
                let message = format!(
                    "Ports cannot be specified for protocol {number}. Ports are only supported for \
                     DCCP, SCTP, TCP, UDP, UDPLITE."
                );
                Err(Refusal::invalid(
                    "SecurityGroupInvalidProtocolForPort",
                    message,
                ))
            }
        }
    }

    pub(super) fn check_ip_version(&self) -> Result<(), Refusal> {
        let ethertype = self.ethertype;
        let version = IpVersion::from(ethertype);
        if let Some(prefix) = self
            .remote_ip_prefix
            .filter(|prefix| IpVersion::of(prefix.addr()) != version)
        {
            let message = format!("Conflicting value ethertype {ethertype:?} for CIDR {prefix}");
            return Err(Refusal::invalid(
                "SecurityGroupRuleParameterConflict",
                message,
            ));
        }
        match &self.protocol {
            Some(protocol)
                if ethertype == Ethertype::IPv4 && OF_IPV6.contains(&protocol.number()) =>
            {
                let message = format!("Invalid ethertype {ethertype:?} for protocol {protocol}.");
                Err(Refusal::invalid(
                    "SecurityGroupEthertypeConflictWithProtocol",
                    message,
                ))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_duplicate(&self, cloud: &Cloud) -> Result<(), Refusal> {
        match cloud
            .store
            .rules_of(self.security_group_id)
            .find(|rule| rule.says_the_same(self))
        {
            None => Ok(()),
            Some(rule) => {
                let message = format!(
                    "Security group rule already exists. Rule id is {}.",
                    rule.common.id
                );
                Err(Refusal::conflict("SecurityGroupRuleExists", message))
            }
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let number = |rule: &Self| rule.protocol.as_ref().map(Protocol::number);
        // All addresses are no restriction.
        let prefix = |rule: &Self| rule.remote_ip_prefix.filter(|net| net.prefix_len() > 0);
        self.direction == other.direction
            && self.ethertype == other.ethertype
            && number(self) == number(other)
            && self.port_range_min == other.port_range_min
            && self.port_range_max == other.port_range_max
            && prefix(self) == prefix(other)
            && self.remote_group_id == other.remote_group_id
    }
}

/// DCCP, SCTP, TCP, UDP, UDPLITE.
const HAVE_PORTS: [u8; 5] = [33, Protocol::SCTP, Protocol::TCP, Protocol::UDP, 136];

/// What is a protocol of IPv6 only: encapsulation, fragment, ICMP, no next header, options, routing.
const OF_IPV6: [u8; 6] = [41, 44, Protocol::ICMP_V6, 59, 60, 43];
