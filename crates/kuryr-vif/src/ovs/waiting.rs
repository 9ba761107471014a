//! Waits for what others do about a row: ovs-vswitchd, and the controller of the bridge.

use serde_json::json;
use tokio::time::Instant;

use super::{Ovs, rows};
use crate::ovsdb::{Row, select};
use crate::{Attachment, Error};

/// Who makes a bridge forward, and so which sign to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Controller {
    /// ovn-controller: sets the interface's `external_ids:ovn-installed` once its flows are in.
    Ovn,
    /// Neutron's Open vSwitch agent: sets the port's `tag`, first to 4095 (dead) where it isolates.
    Agent,
    /// Nobody: the bridge learns addresses by itself and forwards at once.
    None,
}

/// The VLAN in which the Open vSwitch agent isolates ports it has not wired (`DEAD_VLAN_TAG`).
const DEAD: i64 = 4095;

impl Ovs {
    /// Waits until ovs-vswitchd has acted on `version` of the configuration.
    pub(super) async fn acted(
        &self,
        attachment: &Attachment,
        version: i64,
        deadline: Instant,
    ) -> Result<(), Error> {
        let failure = || self.failure("wait for", &attachment.host);
        let tables = json!({"Open_vSwitch": [{"columns": ["cur_cfg"]}]});
        let mut changes = self
            .ovsdb
            .watch(tables, deadline)
            .await
            .map_err(failure())?;
        loop {
            let now = self
                .ovsdb
                .select("Open_vSwitch", &json!([]), &["cur_cfg"], deadline)
                .await
                .map_err(failure())?;
            if rows::version(&now, "cur_cfg") >= version {
                return Ok(());
            }
            if !changes.next(deadline).await.map_err(failure())? {
                return Err(not_realised(attachment));
            }
        }
    }

    /// Waits until ovs-vswitchd has acted on `version` and made `attachment` a port.
    pub(super) async fn taken_up(
        &self,
        attachment: &Attachment,
        version: i64,
        deadline: Instant,
    ) -> Result<(), Error> {
        let failure = || self.failure("wait for", &attachment.host);
        let mine = rows::same_name(attachment);
        let tables = json!({
            "Open_vSwitch": [{"columns": ["cur_cfg"]}],
            "Interface": [{"columns": ["ofport", "error"], "where": mine}],
        });
        let asks = [
            select("Open_vSwitch", &json!([]), &["cur_cfg"]),
            select("Interface", &mine, &["ofport", "error"]),
        ];
        let mut changes = self
            .ovsdb
            .watch(tables, deadline)
            .await
            .map_err(failure())?;
        loop {
            let answers = self
                .ovsdb
                .transact(&asks, deadline)
                .await
                .map_err(failure())?;
            let [current, interface] = rows::found(&answers);
            let row = interface.first().ok_or_else(|| not_plugged(attachment))?;
            if rows::version(&current, "cur_cfg") >= version {
                match (row.text("error"), row.integer("ofport")) {
                    ("", Some(1..)) => return Ok(()),
                    ("", None) => {}
                    (reason, _) => return Err(rejected(attachment, reason)),
                }
            }
            if !changes.next(deadline).await.map_err(failure())? {
                return Err(not_realised(attachment));
            }
        }
    }

    /// Waits until the bridge forwards for `attachment`; false when the deadline passed first.
    ///
    /// Who decides that is read off the database: OVN has told its controller here where the
    /// southbound database or its bridge is (`external_ids:ovn-remote`, `ovn-bridge`, also with a
    /// chassis name appended); any other controller of a bridge without learning of its own
    /// (`fail_mode` secure, or a controller set) is taken for Neutron's Open vSwitch agent.
    pub(crate) async fn wired(
        &self,
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let failure = || self.failure("wait for", &attachment.host);
        let mine = rows::same_name(attachment);
        let tables = json!({
            "Interface": [{"columns": ["external_ids", "ofport"], "where": mine}],
            "Port": [{"columns": ["tag"], "where": mine}],
        });
        let asks = [
            select("Interface", &mine, &["external_ids", "ofport"]),
            select("Port", &mine, &["tag"]),
            select("Open_vSwitch", &json!([]), &["external_ids"]),
            select(
                "Bridge",
                &json!([["name", "==", rows::bridge(attachment)]]),
                &["fail_mode", "controller"],
            ),
        ];
        // Of a warm port all is there at the first look, before anything is listened for.
        let mut changes = None;
        loop {
            let answers = self
                .ovsdb
                .transact(&asks, deadline)
                .await
                .map_err(failure())?;
            let [interface, port, system, bridges] = rows::found(&answers);
            let bridge = bridges.first();
            let bridge = bridge.ok_or_else(|| self.no_such_bridge(attachment))?;
            let (Some(interface), Some(port)) = (interface.first(), port.first()) else {
                return Err(not_plugged(attachment));
            };
            let controller = Controller::of(bridge, system.first());
            if is_taken_up(interface) && controller.has_wired(interface, port) {
                return Ok(true);
            }
            let Some(changes) = &mut changes else {
                tracing::debug!(?controller, "waiting until the bridge forwards");
                let watch = self.ovsdb.watch(tables.clone(), deadline).await;
                changes = Some(watch.map_err(failure())?);
                continue;
            };
            if !changes.next(deadline).await.map_err(failure())? {
                return Ok(false);
            }
        }
    }
}

impl Controller {
    fn of(bridge: &Row, system: Option<&Row>) -> Self {
        let ovn = system.is_some_and(|system| {
            let says = system.map("external_ids");
            says.keys()
                .any(|key| *key == "ovn-bridge" || key.starts_with("ovn-remote"))
        });
        let controlled =
            bridge.text("fail_mode") == "secure" || bridge.uuids("controller").next().is_some();
        match (controlled, ovn) {
            (_, true) => Self::Ovn,
            (true, false) => Self::Agent,
            (false, false) => Self::None,
        }
    }

    fn has_wired(self, interface: &Row, port: &Row) -> bool {
        match self {
            Self::Ovn => interface.map("external_ids").get("ovn-installed") == Some(&"true"),
            Self::Agent => port.integer("tag").is_some_and(|tag| tag != DEAD),
            Self::None => true,
        }
    }
}

/// Whether ovs-vswitchd has made an interface a port.
pub(super) fn is_taken_up(interface: &Row) -> bool {
    interface.integer("ofport").is_some_and(|number| number > 0)
}

fn not_plugged(attachment: &Attachment) -> Error {
    Error::NotPlugged {
        interface: attachment.in_ovs().clone(),
    }
}

fn not_realised(attachment: &Attachment) -> Error {
    Error::NotRealised {
        interface: attachment.in_ovs().clone(),
        bridge: rows::bridge(attachment).to_owned(),
    }
}

fn rejected(attachment: &Attachment, reason: &str) -> Error {
    Error::Rejected {
        interface: attachment.in_ovs().clone(),
        bridge: rows::bridge(attachment).to_owned(),
        reason: match reason {
            "" => "it gave no reason".to_owned(),
            reason => reason.to_owned(),
        },
    }
}
