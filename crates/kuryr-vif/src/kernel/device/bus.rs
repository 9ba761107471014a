//! What sysfs says of PCI devices.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{IfName, PciSlot};

/// The devices of this machine.
pub(crate) struct Bus {
    /// Where sysfs is.
    root: PathBuf,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            root: "/sys".into(),
        }
    }
}

impl Bus {
    pub(crate) fn has(&self, slot: &PciSlot) -> bool {
        self.device(slot).exists()
    }

    /// Whether a device is a virtual function.
    pub(crate) fn is_function(&self, slot: &PciSlot) -> bool {
        self.card(slot).is_some()
    }

    /// The card that a virtual function is of.
    pub(crate) fn card(&self, slot: &PciSlot) -> Option<PciSlot> {
        linked(&self.device(slot).join("physfn"))
    }

    /// Which of its card's virtual functions a device is.
    pub(crate) fn number(&self, slot: &PciSlot) -> Option<u32> {
        let functions = self.numbered(&self.device(&self.card(slot)?));
        let found = functions.into_iter().find(|(_, other)| other == slot)?;
        Some(found.0)
    }

    /// The virtual functions of the card that an interface is of, in order.
    pub(crate) fn functions(&self, card: &IfName) -> Vec<PciSlot> {
        let device = self
            .root
            .join("class/net")
            .join(card.as_str())
            .join("device");
        let functions = self.numbered(&device).into_iter();
        functions.map(|(_, slot)| slot).collect()
    }

    fn numbered(&self, device: &Path) -> Vec<(u32, PciSlot)> {
        let links = fs::read_dir(device).into_iter().flatten().flatten();
        let mut functions: Vec<(u32, PciSlot)> = links
            .filter_map(|link| {
                let name = link.file_name().into_string().ok()?;
                let number = name.strip_prefix("virtfn")?.parse().ok()?;
                Some((number, linked(&link.path())?))
            })
            .collect();
        functions.sort_unstable();
        functions
    }

    /// The device's interface in this network namespace; of several, the card's own and no
    /// representative of its functions.
    pub(crate) fn interface(&self, slot: &PciSlot) -> Option<IfName> {
        let folder = fs::read_dir(self.device(slot).join("net"));
        let mut names: Vec<IfName> = folder
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !stands_for_another(&entry.path()))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        names.sort_unstable();
        names.into_iter().next()
    }

    /// The driver that a device is bound to.
    pub(crate) fn driver(&self, slot: &PciSlot) -> Option<String> {
        let link = fs::read_link(self.device(slot).join("driver")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }

    /// Who made a device and what it is, such as `8086:10ca`.
    pub(crate) fn kind(&self, slot: &PciSlot) -> String {
        let read = |file| {
            let text = fs::read_to_string(self.device(slot).join(file)).unwrap_or_default();
            text.trim().trim_start_matches("0x").to_owned()
        };
        format!("{}:{}", read("vendor"), read("device"))
    }

    fn device(&self, slot: &PciSlot) -> PathBuf {
        self.root.join("bus/pci/devices").join(slot.as_str())
    }
}

fn linked(link: &Path) -> Option<PciSlot> {
    fs::read_link(link)
        .ok()?
        .file_name()?
        .to_str()?
        .parse()
        .ok()
}

/// Where a card's switch is left to the host, the card has an interface for each of its functions.
fn stands_for_another(interface: &Path) -> bool {
    let port = fs::read_to_string(interface.join("phys_port_name"));
    port.is_ok_and(|name| name.contains("vf") || name.contains("sf"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const CARD: &str = "0000:01:00.0";

    fn slot(text: &str) -> PciSlot {
        text.parse().unwrap()
    }

    /// A card with virtual functions `0000:01:10.N`, of which the first has an interface.
    fn bus(functions: usize) -> (tempfile::TempDir, Bus) {
        let root = tempfile::tempdir().unwrap();
        let devices = root.path().join("bus/pci/devices");
        let card = devices.join(CARD);
        fs::create_dir_all(card.join("net/ens1f0")).unwrap();
        fs::create_dir_all(root.path().join("class/net/ens1f0")).unwrap();
        symlink(&card, root.path().join("class/net/ens1f0/device")).unwrap();
        for number in 0..functions {
            let name = format!("0000:01:10.{number:x}");
            let function = devices.join(&name);
            fs::create_dir_all(&function).unwrap();
            symlink(format!("../{CARD}"), function.join("physfn")).unwrap();
            symlink(format!("../{name}"), card.join(format!("virtfn{number}"))).unwrap();
            fs::write(function.join("vendor"), "0x8086\n").unwrap();
            fs::write(function.join("device"), "0x10ca\n").unwrap();
        }
        fs::create_dir_all(devices.join("0000:01:10.0/net/ens1f0v0")).unwrap();
        let bus = Bus {
            root: root.path().to_owned(),
        };
        (root, bus)
    }

    #[test]
    fn functions_are_in_the_cards_order_and_know_their_number() {
        let (_root, bus) = bus(12);
        let functions = bus.functions(&"ens1f0".parse().unwrap());
        assert_eq!(functions.len(), 12);
        for (number, function) in functions.iter().enumerate() {
            assert_eq!(bus.number(function), Some(u32::try_from(number).unwrap()));
            assert_eq!(bus.card(function), Some(slot(CARD)));
        }
        assert!(!bus.is_function(&slot(CARD)));
        assert_eq!(bus.number(&slot(CARD)), None);
        assert_eq!(bus.functions(&"eth0".parse().unwrap()), []);
    }

    #[test]
    fn a_device_is_known_by_its_interface_its_driver_and_its_maker() {
        let (root, bus) = bus(2);
        let (one, other) = (slot("0000:01:10.0"), slot("0000:01:10.1"));
        assert_eq!(bus.interface(&one), "ens1f0v0".parse().ok());
        assert_eq!(bus.interface(&other), None);
        assert_eq!(bus.kind(&one), "8086:10ca");
        assert_eq!(bus.driver(&other), None);
        let driver = root.path().join("bus/pci/devices/0000:01:10.1/driver");
        symlink("../../../../bus/pci/drivers/vfio-pci", driver).unwrap();
        assert_eq!(bus.driver(&other).as_deref(), Some("vfio-pci"));
        assert!(!bus.has(&slot("0000:01:10.7")));
    }

    #[test]
    fn a_representative_of_a_function_is_not_the_card() {
        let (root, bus) = bus(1);
        let card = root.path().join("bus/pci/devices").join(CARD).join("net");
        fs::create_dir_all(card.join("a-first")).unwrap();
        fs::write(card.join("a-first/phys_port_name"), "pf0vf1\n").unwrap();
        fs::write(card.join("ens1f0/phys_port_name"), "p0\n").unwrap();
        assert_eq!(bus.interface(&slot(CARD)), "ens1f0".parse().ok());
    }
}
