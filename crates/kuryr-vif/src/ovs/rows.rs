//! The operations on Open vSwitch's tables (ovs-vswitchd.conf.db(5)), as pure functions.

use serde_json::{Value, json};

use crate::ovsdb::{Row, map, select, uuid};
use crate::{Attachment, Vif};

/// The mark of a row that is ours (`external_ids:owner`).
pub(super) const OWNER: &str = "kuryr";
/// The mark of whom it is plugged for.
pub(super) const ENDPOINT: &str = "vm-uuid";
pub(super) const INTERFACE: &[&str] = &["_uuid", "name", "external_ids", "error", "ofport"];

/// Asks for the bridge, the interfaces of the same name, those of the same id, the port of that name, and
/// the versions.
pub(super) fn ground(attachment: &Attachment) -> [Value; 5] {
    [
        select(
            "Bridge",
            &json!([["name", "==", bridge(attachment)]]),
            &["_uuid", "name"],
        ),
        select("Interface", &same_name(attachment), INTERFACE),
        select("Interface", &same_id(attachment), INTERFACE),
        select("Port", &same_name(attachment), &["_uuid", "interfaces"]),
        select("Open_vSwitch", &json!([]), &["next_cfg", "cur_cfg"]),
    ]
}

/// Adds the interface of `vif` to `bridge`, if both are still as they were seen.
pub(super) fn add(vif: &Vif, bridge: &Row) -> Vec<Value> {
    let name = vif.attachment.in_ovs().as_str();
    let mac = vif.mac.to_string();
    let mut operations = vec![
        json!({
            "op": "wait", "timeout": 0, "table": "Bridge",
            "where": [["_uuid", "==", uuid(bridge.id())]],
            "columns": ["name"], "until": "==", "rows": [{"name": bridge.text("name")}],
        }),
        json!({
            "op": "wait", "timeout": 0, "table": "Interface",
            "where": same_id(&vif.attachment),
            "columns": ["name"], "until": "==", "rows": [],
        }),
        json!({
            "op": "insert", "table": "Interface", "uuid-name": "interface",
            "row": {"name": name, "external_ids": map(marks(vif, &mac))},
        }),
        json!({
            "op": "insert", "table": "Port", "uuid-name": "port",
            "row": {"name": name, "interfaces": ["named-uuid", "interface"]},
        }),
        json!({
            "op": "mutate", "table": "Bridge",
            "where": [["_uuid", "==", uuid(bridge.id())]],
            "mutations": [["ports", "insert", ["named-uuid", "port"]]],
        }),
    ];
    operations.extend(next_version(&format!("kuryr: add {name}")));
    operations
}

/// Removes `ports` (as answered to `ports_of`) from whatever bridges have them; rows that nothing
/// refers to any more go by themselves.
pub(super) fn remove(ports: &[Value]) -> Vec<Value> {
    let ports = ports.iter().flat_map(Row::all_in);
    let mut operations: Vec<Value> = ports
        .map(|port| {
            json!({
                "op": "mutate", "table": "Bridge",
                "where": [["ports", "includes", uuid(port.id())]],
                "mutations": [["ports", "delete", uuid(port.id())]],
            })
        })
        .collect();
    operations.extend(next_version("kuryr: remove ports"));
    operations
}

/// Asks for the ports that `interfaces` belong to.
pub(super) fn ports_of(interfaces: &[Row]) -> Vec<Value> {
    interfaces
        .iter()
        .map(|row| json!([["interfaces", "includes", uuid(row.id())]]))
        .map(|condition| select("Port", &condition, &["_uuid"]))
        .collect()
}

/// Fails unless `bridge` has `port`, and hands `row`, which is that port's, over to whom `vif` is for if it is
/// somebody else's.
pub(super) fn take(vif: &Vif, bridge: &Row, port: &Row, row: &Row) -> Vec<Value> {
    let mut operations = vec![json!({
        "op": "wait", "timeout": 0, "table": "Bridge",
        "where": [["_uuid", "==", uuid(bridge.id())], ["ports", "includes", uuid(port.id())]],
        "columns": ["name"], "until": "==", "rows": [{"name": bridge.text("name")}],
    })];
    if !bears_owner(row, vif) {
        operations.extend(hand_over(row, vif));
    }
    operations
}

/// Whether `row` is marked as the interface of `vif`, for whomever it is plugged.
pub(super) fn bears_marks(row: &Row, vif: &Vif) -> bool {
    let has = row.map("external_ids");
    let mac = vif.mac.to_string();
    let mut marks = marks(vif, &mac).into_iter();
    marks.all(|(key, value)| {
        has.get(key)
            .is_some_and(|text| key == ENDPOINT || text.eq_ignore_ascii_case(value))
    })
}

/// Whether `row` says that it is plugged for whom `vif` is.
pub(super) fn bears_owner(row: &Row, vif: &Vif) -> bool {
    row.map("external_ids").get(ENDPOINT) == Some(&vif.attachment.owner.as_str())
}

/// Makes `row` say so. Inserting alone would leave what a map has.
fn hand_over(row: &Row, vif: &Vif) -> [Value; 2] {
    let owner = vif.attachment.owner.as_str();
    [
        json!({
            "op": "mutate", "table": "Interface",
            "where": [["_uuid", "==", uuid(row.id())]],
            "mutations": [
                ["external_ids", "delete", ["set", [ENDPOINT]]],
                ["external_ids", "insert", map([(ENDPOINT, owner)])],
            ],
        }),
        json!({
            "op": "comment",
            "comment": format!("kuryr: {} is for {owner}", vif.attachment.host),
        }),
    ]
}

/// What switches' controllers know the interface by; nova's and Python Kuryr's set.
fn marks<'a>(vif: &'a Vif, mac: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("attached-mac", mac),
        ("iface-id", &vif.attachment.interface_id),
        (ENDPOINT, &vif.attachment.owner),
        ("iface-status", "active"),
        ("owner", OWNER),
    ]
}

pub(super) fn same_name(attachment: &Attachment) -> Value {
    json!([["name", "==", attachment.in_ovs().as_str()]])
}

pub(super) fn same_id(attachment: &Attachment) -> Value {
    marked([("iface-id", attachment.interface_id.as_str())])
}

/// The condition that a row bears all of `marks`.
pub(super) fn marked<'a>(marks: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    json!([["external_ids", "includes", map(marks)]])
}

pub(super) fn bridge(attachment: &Attachment) -> &str {
    attachment.switch.bridge()
}

/// Tells ovs-vswitchd that there is something to do, and asks for the version that results.
/// `comment` goes into the database's log.
fn next_version(comment: &str) -> [Value; 3] {
    [
        json!({"op": "comment", "comment": comment}),
        json!({
            "op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["next_cfg", "+=", 1]],
        }),
        select("Open_vSwitch", &json!([]), &["next_cfg"]),
    ]
}

/// The rows of `N` `select`s.
pub(super) fn found<const N: usize>(answers: &[Value]) -> [Vec<Row>; N] {
    let mut rows = answers.iter().map(Row::all_in);
    std::array::from_fn(|_| rows.next().unwrap_or_default())
}

/// The version that a transaction with `next_version` at its end has made.
pub(super) fn version_in(answers: &[Value]) -> i64 {
    let last = answers.last().map(Row::all_in).unwrap_or_default();
    version(&last, "next_cfg")
}

pub(super) fn version(rows: &[Row], column: &str) -> i64 {
    rows.first()
        .and_then(|row| row.integer(column))
        .unwrap_or_default()
}
