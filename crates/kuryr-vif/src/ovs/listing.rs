//! What is plugged here, read off the marks in Open vSwitch's rows.

use serde_json::json;
use tokio::time::Instant;

use super::Ovs;
use super::rows::{self, ENDPOINT, INTERFACE, OWNER};
use crate::ovsdb::{Row, select};
use crate::{Attachment, Datapath, Error, Filter, IfName, Switch};

impl Ovs {
    /// Our attachments for `owner`, or for everybody.
    pub(crate) async fn attachments(
        &self,
        owner: Option<&str>,
        deadline: Instant,
    ) -> Result<Vec<Attachment>, Error> {
        let marks = [("owner", OWNER)];
        let condition = rows::marked(marks.into_iter().chain(owner.map(|id| (ENDPOINT, id))));
        // In one transaction, so that the three fit each other.
        let asks = [
            select("Interface", &condition, INTERFACE),
            select("Port", &json!([]), &["_uuid", "interfaces"]),
            select("Bridge", &json!([]), &["name", "datapath_type", "ports"]),
        ];
        let answers = self
            .ovsdb
            .transact(&asks, deadline)
            .await
            .map_err(self.failure("list", &"our interfaces"))?;
        let [interfaces, ports, bridges] = rows::found(&answers);
        Ok(interfaces
            .iter()
            .filter_map(|interface| {
                let port = having(&ports, "interfaces", interface)?;
                attachment(interface, having(&bridges, "ports", port)?)
            })
            .collect())
    }
}

fn having<'a>(rows: &'a [Row], column: &str, member: &Row) -> Option<&'a Row> {
    rows.iter()
        .find(|row| row.uuids(column).any(|id| id == member.id()))
}

/// Nothing for a row that is marked as ours and lacks what we always write.
fn attachment(interface: &Row, bridge: &Row) -> Option<Attachment> {
    let marks = interface.map("external_ids");
    let port = *marks.get("iface-id")?;
    let datapath = match bridge.text("datapath_type") {
        "netdev" => Datapath::Userspace,
        _ => Datapath::Kernel,
    };
    let bridge = bridge.text("name").to_owned();
    let filter = Filter::of_port(port).ok()?;
    let name: IfName = interface.text("name").parse().ok()?;
    let hybrid = name == filter.far;
    let switch = if hybrid {
        Switch::Hybrid {
            bridge,
            datapath,
            filter,
        }
    } else {
        Switch::OpenVSwitch { bridge, datapath }
    };
    let made = Attachment::of_port(port, marks.get(ENDPOINT)?, switch).ok()?;
    Some(if hybrid {
        made
    } else {
        Attachment { host: name, ..made }
    })
}
