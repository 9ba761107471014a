//! Port drivers and binding drivers: which there are, and which go together.

use kuryr_core::Driver;
use kuryr_vif::IfName;

use super::options::{self as opt, Declared};
use super::sources::Sources;
use super::value::{Choice, Setting, choices};

/// The ways in which ports are plugged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Drivers {
    /// Where a network names none.
    pub(crate) default: Driver,
    /// Those that a network may name.
    pub(crate) enabled: Vec<Driver>,
    /// The interface that containers share; `None` leaves the choice to what Neutron knows.
    pub(crate) link_iface: Option<IfName>,
    /// The cards that Kuryr may give virtual functions of, with the physical networks that they are on.
    pub(crate) cards: Vec<(String, IfName)>,
}

choices! {
    /// How an interface is made.
    BindingDriver {
        /// A pair, one end of which goes into the container.
        Veth = "veth",
        /// A second MAC address on an interface of the host.
        Macvlan = "macvlan",
        /// A second IP address on an interface of the host.
        Ipvlan = "ipvlan",
        /// Likewise, routed by the host.
        IpvlanL3 = "ipvlan_l3",
        /// A tagged interface on an interface of the host.
        Vlan = "vlan",
        /// A virtual function behind a hardware switch.
        HwVeb = "hw_veb",
    }
}

choices! {
    /// How a port is attached.
    PortDriver {
        /// On this host's switch.
        Veth = "veth",
        /// Through the port of the virtual machine that this is.
        Nested = "nested",
        /// As a subport of that port's trunk.
        Vlan = "vlan",
        /// As a virtual function.
        Sriov = "sriov",
    }
}

impl PortDriver {
    /// The binding driver's port driver.
    fn of(binding: BindingDriver) -> Self {
        match binding {
            BindingDriver::Veth => Self::Veth,
            BindingDriver::Macvlan | BindingDriver::Ipvlan | BindingDriver::IpvlanL3 => {
                Self::Nested
            }
            BindingDriver::Vlan => Self::Vlan,
            BindingDriver::HwVeb => Self::Sriov,
        }
    }
}

impl From<BindingDriver> for Driver {
    fn from(binding: BindingDriver) -> Self {
        match binding {
            BindingDriver::Veth => Self::Veth,
            BindingDriver::Macvlan => Self::Macvlan,
            BindingDriver::Ipvlan => Self::Ipvlan,
            BindingDriver::IpvlanL3 => Self::IpvlanL3,
            BindingDriver::Vlan => Self::Vlan,
            BindingDriver::HwVeb => Self::HwVeb,
        }
    }
}

/// What goes together, for messages.
const VALID: &str = "valid are default_port_driver = veth with default_driver = veth, default_port_driver = nested with \
     default_driver = macvlan, ipvlan or ipvlan_l3, default_port_driver = vlan with default_driver = vlan, and \
     default_port_driver = sriov with default_driver = hw_veb";

/// A driver by name, or by its Python module, whose last part is the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Named<T>(T);

impl<T: Choice + Default> Setting for Named<T> {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.rsplit_once('.').map_or(text, |(_, name)| name);
        T::choose(name).map(Self)
    }
}

impl<T: Choice + Default> Setting for Vec<Named<T>> {
    fn parse(text: &str) -> Result<Self, String> {
        let names = Vec::<String>::parse(text)?;
        names.iter().map(|name| Named::parse(name)).collect()
    }
}

/// Reads them, noting what does not go together.
pub(super) fn read(sources: &mut Sources) -> Drivers {
    let port: Named<PortDriver> = sources.read(&opt::DEFAULT_PORT_DRIVER);
    let ports = enabled::<PortDriver>(sources, &opt::ENABLED_PORT_DRIVERS);
    let binding: Named<BindingDriver> = sources.read(&opt::DEFAULT_DRIVER);
    let bindings = enabled::<BindingDriver>(sources, &opt::ENABLED_DRIVERS);
    let default = default(sources, port.0, &ports, binding.0, &bindings);
    let usable: Vec<Driver> = bindings
        .iter()
        .filter(|binding| ports.contains(&PortDriver::of(**binding)))
        .map(|binding| Driver::from(*binding))
        .collect();
    if [Driver::Ipvlan, Driver::IpvlanL3]
        .iter()
        .all(|driver| usable.contains(driver))
    {
        let wrong = "ipvlan and ipvlan_l3 do not go together: all ipvlan interfaces on one other have the same mode; \
                     valid is one of the two";
        sources.mistake(&opt::ENABLED_DRIVERS, wrong);
    }
    Drivers {
        default,
        link_iface: link_iface(sources, &usable),
        cards: cards(sources, &usable),
        enabled: usable,
    }
}

/// Without any, only ports that name a device have one.
fn cards(sources: &mut Sources, usable: &[Driver]) -> Vec<(String, IfName)> {
    let option = &opt::PHYSICAL_DEVICE_MAPPINGS;
    let named: Vec<String> = sources.read(option);
    let mut cards = Vec::new();
    for mapping in &named {
        let parts = mapping
            .split_once(':')
            .map(|(on, card)| (on.trim(), card.trim()));
        match parts.map(|(on, card)| (on, card.parse())) {
            Some((on, Ok(card))) if !on.is_empty() => cards.push((on.to_owned(), card)),
            _ => sources.mistake(
                option,
                format!("`{mapping}` is not valid; valid is PHYSICAL_NETWORK:INTERFACE, such as physnet2:ens1f0"),
            ),
        }
    }
    let is_used = usable.contains(&Driver::HwVeb);
    if is_used && named.is_empty() {
        let wrong = "is needed with hw_veb, and not set: name the cards, such as physnet2:ens1f0, or leave hw_veb out \
                     (ports that name a device by pci_slot need no driver)";
        sources.mistake(option, wrong);
    } else if !is_used && !named.is_empty() {
        sources.warnings.insert(format!(
            "[{}] {} has no effect: hw_veb is not enabled (enabled_drivers, enabled_port_drivers)",
            option.group, option.name
        ));
    }
    cards
}

/// A list of drivers; an empty one is the default's.
fn enabled<T: Choice + Default>(sources: &mut Sources, option: &'static Declared) -> Vec<T>
where
    Vec<Named<T>>: Setting,
{
    let named: Vec<Named<T>> = sources.read(option);
    if named.is_empty() {
        return vec![T::default()];
    }
    named.into_iter().map(|driver| driver.0).collect()
}

fn default(
    sources: &mut Sources,
    port: PortDriver,
    ports: &[PortDriver],
    binding: BindingDriver,
    bindings: &[BindingDriver],
) -> Driver {
    if PortDriver::of(binding) != port {
        let wrong = format!("default_driver in [binding] does not go with it; {VALID}");
        sources.mistake(&opt::DEFAULT_PORT_DRIVER, wrong);
    } else if !ports.contains(&port) {
        let wrong =
            "the default is not among enabled_port_drivers; valid is one of those, or add it there";
        sources.mistake(&opt::DEFAULT_PORT_DRIVER, wrong);
    } else if !bindings.contains(&binding) {
        let wrong =
            "the default is not among enabled_drivers; valid is one of those, or add it there";
        sources.mistake(&opt::DEFAULT_DRIVER, wrong);
    }
    binding.into()
}

fn link_iface(sources: &mut Sources, usable: &[Driver]) -> Option<IfName> {
    let name: Option<String> = sources.read(&opt::LINK_IFACE);
    let name = name.filter(|name| !name.is_empty())?;
    if !usable.iter().any(|driver| driver.is_in_guest()) {
        sources.warnings.insert(format!(
            "[{}] {} has no effect: neither macvlan, ipvlan, ipvlan_l3 nor vlan is enabled (enabled_drivers, enabled_port_drivers)",
            opt::LINK_IFACE.group,
            opt::LINK_IFACE.name
        ));
    }
    match name.parse() {
        Ok(name) => Some(name),
        Err(wrong) => {
            sources.mistake(&opt::LINK_IFACE, wrong.to_string());
            None
        }
    }
}
