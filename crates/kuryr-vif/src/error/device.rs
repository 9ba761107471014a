//! What keeps a device of a card from going into a container, or from coming back.

use crate::IfName;

/// What keeps a device of a card from going into a container, or from coming back.
#[derive(Debug, thiserror::Error)]
pub enum DeviceTrouble {
    /// There is no such device.
    #[error(
        "this host has none there: does the port's binding:profile name one of another host, or have the card's \
         virtual functions not been made (/sys/class/net/CARD/device/sriov_numvfs)?"
    )]
    Absent,
    /// It is no virtual function.
    #[error(
        "it is no virtual function, but a card of its own: name a virtual function in the port's binding:profile, \
         or make the port with --vnic-type direct-physical"
    )]
    NoFunction,
    /// It is no card.
    #[error(
        "it is a virtual function, and the port (direct-physical) is for a whole card: name the card in the port's \
         binding:profile, or make the port with --vnic-type direct"
    )]
    NoCard,
    /// The card itself has no interface here.
    #[error(
        "its card {card} has no network interface here, by which it could be set up: is the card itself given away?"
    )]
    CardWithoutInterface {
        /// The card's place.
        card: String,
    },
    /// It has no network interface.
    #[error(
        "it has no network interface: {}", no_interface(.driver.as_deref())
    )]
    NoInterface {
        /// The driver that it is bound to, if any.
        driver: Option<String>,
    },
    /// Another port of ours has it.
    #[error("port {port} has it already, for {owner}")]
    Taken {
        /// The other port.
        port: String,
        /// Whom it is plugged for.
        owner: String,
    },
    /// This host uses it.
    #[error(
        "this host itself uses its interface {interface}, which {how}: name another device, or free this one"
    )]
    InUse {
        /// The interface.
        interface: IfName,
        /// How it shows.
        how: &'static str,
    },
    /// The card does not do a setting.
    #[error("its card {card} refused {setting}: {advice}")]
    Refused {
        /// The card's interface.
        card: IfName,
        /// What was to be set.
        setting: String,
        /// What to do.
        advice: &'static str,
        /// The kernel's answer.
        #[source]
        source: crate::KernelError,
    },
    /// Its driver does not take the address.
    #[error(
        "its interface {interface} did not take the address {wanted} and kept {has}: does the card let the function have \
         it (ip link show CARD)?"
    )]
    OtherAddress {
        /// The interface.
        interface: IfName,
        /// What was to be set.
        wanted: crate::MacAddress,
        /// What it has.
        has: crate::MacAddress,
    },
    /// A container still has it.
    #[error("a container still has its interface; it comes back when that has ended")]
    Away,
}

fn no_interface(driver: Option<&str>) -> String {
    match driver {
        None => "no driver is bound to it. Load the card's driver for virtual functions (such as igbvf or iavf)".into(),
        Some(driver) if is_for_guests(driver) => format!(
            "it is bound to {driver}, which keeps it for virtual machines. Bind it to its network driver (driverctl, or \
             the device's driver_override in sysfs), or name another device"
        ),
        Some(driver) => format!(
            "its driver is {driver}, and its interface is not in this host's network: another container, or somebody \
             else, has it"
        ),
    }
}

/// Drivers that make no network interface.
pub(crate) fn is_for_guests(driver: &str) -> bool {
    driver.contains("vfio") || driver.contains("uio") || driver == "pci-stub"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_interface_says_what_to_do() {
        for (driver, said) in [
            (None, "igbvf"),
            (Some("vfio-pci"), "bound to vfio-pci"),
            (Some("mlx5_vfio_pci"), "driverctl"),
            (Some("uio_pci_generic"), "virtual machines"),
            (Some("igbvf"), "another container"),
        ] {
            let driver = driver.map(str::to_owned);
            let shown = DeviceTrouble::NoInterface { driver }.to_string();
            assert!(shown.contains(said), "{shown}");
        }
    }
}
