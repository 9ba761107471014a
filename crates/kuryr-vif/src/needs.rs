//! What each way of plugging needs of an interface.

use crate::{Datapath, Switch};

/// What a way of plugging needs of the container end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Needs {
    /// Whether it computes its checksums itself. Where the next thing that reads them is another
    /// program and not this kernel, a checksum left to the device is never computed.
    pub(crate) own_checksums: bool,
}

/// The table. MTU: that of the network, on both ends and on all that is between; with a parent, at most
/// the parent's; a card refuses what it can't. Queues: one each, as no way here spreads a container's packets over several.
pub(crate) fn of(switch: &Switch) -> Needs {
    let own_checksums = match switch {
        // Hardware that forwards for the kernel's datapath (hw-offload) gets the packets of a veth
        // from that, with checksums; only a card's own interfaces are offloaded.
        Switch::OpenVSwitch { datapath, .. } | Switch::Hybrid { datapath, .. } => match datapath {
            Datapath::Kernel => false,
            Datapath::Userspace => true,
        },
        Switch::LinuxBridge { .. } | Switch::AgentBridge { .. } | Switch::Tap => false,
        // The parent's driver, or the card's, says what it can, and the kernel computes the rest.
        Switch::Parent { .. } | Switch::Device(_) => false,
        // Who knows what is behind it; computing them costs little, leaving them out costs TCP.
        Switch::Program(_) => true,
    };
    Needs { own_checksums }
}
