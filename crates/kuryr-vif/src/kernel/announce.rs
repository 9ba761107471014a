//! Tells a network which hardware address has an address now, in the name of an interface that the
//! container runtime has not moved yet. Blocking.
//!
//! Neighbours that have talked to an earlier owner of the address keep that one's hardware address
//! for minutes, and answers to the new owner's first packets would go there and be lost.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pnet_datalink::{Channel, Config, DataLinkSender, NetworkInterface, channel};

use super::{KernelError, veth};
use crate::{Error, IfName, MacAddress};

/// Says on `interface` that `addresses` are at `mac`; an interface that has been moved away says
/// nothing. `bridge_port` is its other end, if that is a port of a Linux bridge.
///
/// The interface is up for that moment, and answers nobody meanwhile. What is returned ends the
/// conversation with the kernel when it is dropped, which takes the kernel some milliseconds.
pub(crate) fn announce(
    interface: &IfName,
    bridge_port: Option<&IfName>,
    mac: MacAddress,
    addresses: &[IpAddr],
) -> Result<Option<Said>, Error> {
    let Some(index) = veth::wake_silently(interface)? else {
        return Ok(None);
    };
    if let Some(port) = bridge_port {
        wait_until_heard(port);
    }
    let said = say(interface, index, mac, addresses).map_err(|source| Error::Kernel {
        action: "announce addresses on",
        interface: interface.clone(),
        source: KernelError::Packets(source),
    });
    let asleep = veth::put_to_sleep(interface);
    match (said, asleep) {
        (Ok(said), Ok(())) => Ok(Some(said)),
        (Ok(_), Err(error)) => Err(error),
        (Err(error), asleep) => Error::join(Err(error), asleep).map(|()| None),
    }
}

/// A port of a Linux bridge hears only some time after its other end came up: the kernel works off
/// such news in a queue of its own. An interface that is never heard speaks all the same.
fn wait_until_heard(port: &IfName) {
    let last = Instant::now() + PATIENCE;
    while veth::is_forwarding(port).is_ok_and(|forwards| !forwards) && Instant::now() < last {
        sleep(Duration::from_millis(1));
    }
}

const PATIENCE: Duration = Duration::from_millis(300);

/// What was said is said; this is only the socket.
pub(crate) struct Said(
    #[expect(dead_code, reason = "held until it is dropped")] Box<dyn DataLinkSender>,
);

fn say(
    interface: &IfName,
    index: u32,
    mac: MacAddress,
    addresses: &[IpAddr],
) -> Result<Said, io::Error> {
    let interface = NetworkInterface {
        name: interface.to_string(),
        description: String::new(),
        index,
        mac: None,
        ips: Vec::new(),
        flags: 0,
    };
    let quietly = Config {
        promiscuous: false,
        ..Config::default()
    };
    let Channel::Ethernet(mut sender, _) = channel(&interface, quietly)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    for address in addresses {
        let frame = match address {
            IpAddr::V4(address) => gratuitous_arp(mac, *address),
            IpAddr::V6(address) => neighbour_advertisement(mac, *address),
        };
        sender
            .send_to(&frame, None)
            .unwrap_or_else(|| Err(io::ErrorKind::WriteZero.into()))?;
    }
    Ok(Said(sender))
}

/// An ARP request of an address for itself (RFC 5227, section 3): whoever knows the address takes
/// over the hardware address, and nobody answers.
fn gratuitous_arp(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    const ETHERNET_IPV4_REQUEST: [u8; 8] = [0, 1, 0x08, 0x00, 6, 4, 0, 1];
    let (mac, address) = (mac.octets(), address.octets());
    let mut frame = ethernet([0xff; 6], mac, 0x0806);
    frame.extend(ETHERNET_IPV4_REQUEST);
    frame.extend(mac);
    frame.extend(address);
    frame.extend([0; 6]);
    frame.extend(address);
    frame
}

/// An unsolicited neighbour advertisement to all nodes, with the override flag (RFC 4861, 4.4).
fn neighbour_advertisement(mac: MacAddress, address: Ipv6Addr) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ICMPV6: u8 = 58;
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
    const LENGTH: u8 = 32;
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_LINK_LAYER_ADDRESS);
    message.extend(mac.octets());
    // The checksum covers the addresses, the length and the protocol too (RFC 8200, 8.1).
    let mut covered = Vec::new();
    covered.extend(address.octets());
    covered.extend(ALL_NODES.octets());
    covered.extend([0, 0, 0, LENGTH, 0, 0, 0, ICMPV6]);
    covered.extend(&message);
    message[2..4].copy_from_slice(&checksum(&covered).to_be_bytes());

    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac.octets(), 0x86dd);
    // Version 6, and the hop limit that neighbours insist on.
    frame.extend([0x60, 0, 0, 0, 0, LENGTH, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: [u8; 6], from: [u8; 6], protocol: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to);
    frame.extend(from);
    frame.extend(protocol.to_be_bytes());
    frame
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}
