//! How much a virtual function may send, as its port's QoS policy says: Neutron's agents hold none to it
//! whose interface is in a container.

use kuryr_vif::{Device, Part, Rates};
use neutron_api::{Port, QosPolicy, QosRule};
use tokio::time::Instant;

use crate::error::{Error, told};
use crate::kuryr::Kuryr;

impl Kuryr {
    /// Has a device's card hold it to what its port's QoS policy says, if it has one.
    pub(crate) async fn limit(
        &self,
        device: &mut Device,
        port: &Port,
        by: Instant,
    ) -> Result<(), Error> {
        let (Part::Function(settings) | Part::Macvtap(settings)) = &mut device.part else {
            return Ok(());
        };
        let Some(id) = port.qos_policy_id.or(port.qos_network_policy_id) else {
            return Ok(());
        };
        let act = told(format!("look up the QoS policy of port {}", port.id));
        let policy = self.neutron.by(by).find::<QosPolicy>(id).await;
        match policy.map_err(act)? {
            Some(policy) => settings.rates = Some(rates(&policy.rules)),
            None => tracing::warn!(
                port = %port.id,
                "its QoS policy {id} is hidden from Kuryr's user: the card holds it to nothing"
            ),
        }
        Ok(())
    }
}

/// In Mbit/s, which is what cards know: at least 1.
fn rates(rules: &[QosRule]) -> Rates {
    let egress = |rule: &&QosRule| rule.direction.as_deref().is_none_or(|way| way == "egress");
    let of = |kind: &str, value: fn(&QosRule) -> Option<u64>| {
        let rule = rules.iter().filter(egress).find(|rule| rule.kind == kind);
        rule.and_then(value).map_or(0, in_mbps)
    };
    Rates {
        least: of("minimum_bandwidth", |rule| rule.min_kbps),
        most: of("bandwidth_limit", |rule| rule.max_kbps),
    }
}

/// 0 is no limit at all.
fn in_mbps(kbps: u64) -> u32 {
    let rounded = (kbps + 500) / 1000;
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: &str, direction: Option<&str>, kbps: u64) -> QosRule {
        QosRule {
            kind: kind.into(),
            direction: direction.map(str::to_owned),
            max_kbps: (kind == "bandwidth_limit").then_some(kbps),
            min_kbps: (kind == "minimum_bandwidth").then_some(kbps),
        }
    }

    #[test]
    fn what_a_port_may_send_counts_in_whole_mbits() {
        let rules = [
            rule("dscp_marking", None, 9),
            rule("bandwidth_limit", Some("ingress"), 9_000),
            rule("bandwidth_limit", None, 1_600),
            rule("minimum_bandwidth", Some("egress"), 3),
        ];
        assert_eq!(rates(&rules), Rates { least: 1, most: 2 });
        assert_eq!(rates(&rules[..2]), Rates::default());
    }
}
