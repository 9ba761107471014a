//! Finds the process that has a port of this host.

use std::fs;

use kuryr_vif::{PublishedPort, Transport};

/// The program that has `port`, for people; none if it is in another namespace, or hidden from us.
pub(crate) fn of(port: &PublishedPort) -> Option<String> {
    let protocol = match port.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => return None,
    };
    let tables = ["", "6"].map(|version| format!("/proc/net/{protocol}{version}"));
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes_of(&table, port.host_port, port.transport))
        .collect();
    let sockets: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let id = ids.find(|id| has_any(*id, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    Some(format!("{} (process {id})", name.trim()))
}

fn has_any(process: u32, sockets: &[String]) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd"))
        .into_iter()
        .flatten();
    files.flatten().any(|file| {
        fs::read_link(file.path()).is_ok_and(|target| {
            sockets
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
    })
}

/// The inodes of the sockets that are bound to `port` and not connected, in a table of `/proc/net`.
fn inodes_of(table: &str, port: u16, transport: Transport) -> Vec<String> {
    let unconnected = if transport == Transport::Tcp {
        "0A"
    } else {
        "07"
    };
    let hex = format!(":{port:04X}");
    let lines = table.lines().skip(1);
    let rows = lines.filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        (local.ends_with(&hex) && *state == unconnected).then(|| (*inode).to_owned())
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_is_told_from_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
            2: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(inodes_of(table, 8080, Transport::Tcp), ["111"]);
    }
}
