//! Devices of a real SR-IOV card, as far as QEMU's igb is one: in a machine of its own (`tools/kernel
//! --sriov`), where this is the first network namespace, to which devices come back. The machine has two
//! cards, of which the first has four virtual functions.

use std::fs;

use kuryr_testkit::netns::Container;
use kuryr_testkit::{netns_test, run};
use kuryr_vif::{
    Attachment, Device, DeviceTrouble, Error, FunctionSettings, Host, Part, PciSlot, Plug, Rates,
    Switch, Vif,
};

use super::host::*;
use super::steps::{Fate, acts, at_each_step};

const PLAIN: FunctionSettings = FunctionSettings {
    vlan: 0,
    spoof_check: true,
    trusted: false,
    rates: None,
};

fn in_vlan(vlan: u16) -> FunctionSettings {
    FunctionSettings { vlan, ..PLAIN }
}

/// The card with virtual functions, and the one without.
fn cards() -> [String; 2] {
    let mut cards: Vec<String> = fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| fs::exists(format!("/sys/class/net/{name}/device/sriov_numvfs")).unwrap())
        .collect();
    let functions = |card: &String| fs::exists(format!("/sys/class/net/{card}/device/virtfn0"));
    cards.sort_by_key(|card| !functions(card).unwrap());
    cards.try_into().unwrap()
}

fn linked(link: &str) -> PciSlot {
    let to = fs::read_link(link).unwrap();
    to.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// The place of the first card's virtual function of this number.
fn slot(function: usize) -> PciSlot {
    let [card, _] = cards();
    linked(&format!("/sys/class/net/{card}/device/virtfn{function}"))
}

/// The name of the interface of a device.
fn interface(slot: &PciSlot) -> String {
    let mut names = fs::read_dir(format!("/sys/bus/pci/devices/{slot}/net")).unwrap();
    names
        .next()
        .unwrap()
        .unwrap()
        .file_name()
        .into_string()
        .unwrap()
}

fn on(number: u8, slot: PciSlot, part: Part) -> Vif {
    let vif = vif(number);
    let switch = Switch::Device(Device { slot, part });
    let (port, owner) = (&vif.attachment.interface_id, &vif.attachment.owner);
    let attachment = Attachment::of_port(port, owner, switch).unwrap();
    Vif { attachment, ..vif }
}

/// The `number`th interface, on the virtual function before that number.
fn function(number: u8, settings: FunctionSettings) -> Vif {
    let slot = slot(usize::from(number) - 1);
    on(number, slot, Part::Function(settings))
}

fn container(vif: &Vif, number: u8) -> Container {
    let container = Container::new(&format!("c{number}"));
    let name = vif.attachment.container.as_str();
    container.take(name, &format!("10.0.0.{number}/24"));
    // As Docker does, which is told the address.
    container.run("ip", &format!("link set eth0 address {}", vif.mac));
    container
}

/// What the first card does for one of its virtual functions.
fn said_of(function: usize) -> String {
    let [card, _] = cards();
    let said = run("ip", &format!("link show {card}"));
    let start = format!("vf {function} ");
    let line = said.lines().find(|line| line.trim().starts_with(&start));
    line.unwrap().trim().to_owned()
}

/// All that plugging may change: the interfaces, what the card does for its functions, notes.
fn everything() -> Vec<String> {
    let [card, _] = cards();
    let mut all: Vec<String> = run("ip", "-oneline link")
        .lines()
        .map(interface_in)
        .collect();
    let functions = run("ip", &format!("link show {card}"));
    let functions = functions.lines().map(str::trim);
    all.extend(
        functions
            .filter(|line| line.starts_with("vf "))
            .map(str::to_owned),
    );
    let notes = fs::read_dir("/run/kuryr/plugged").into_iter().flatten();
    all.extend(notes.map(|note| format!("note {:?}", note.unwrap().file_name())));
    all.sort_unstable();
    all
}

/// Its name, whether it is up, its MTU and its address, of what `ip` says in a line.
fn interface_in(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |word: &str| {
        let place = words.iter().position(|other| *other == word).unwrap();
        words[place + 1]
    };
    let up = words[2]
        .trim_matches(['<', '>'])
        .split(',')
        .any(|flag| flag == "UP");
    let kind = words.iter().find(|word| word.starts_with("link/")).unwrap();
    format!(
        "{} up: {up} mtu: {} {kind} {}",
        words[1],
        after("mtu"),
        after(kind)
    )
}

async fn refusal(host: &Host, vif: &Vif) -> DeviceTrouble {
    match host.plug(vif, within(20)).await {
        Err(Error::Device { source, .. }) => *source,
        other => panic!("{other:?}"),
    }
}

netns_test! {
    async fn a_card_does_for_a_function_what_its_port_is_to_have_and_nothing_afterwards() {
        let before = everything();
        let settings = FunctionSettings {
            vlan: 100,
            spoof_check: false,
            trusted: true,
            rates: Some(Rates { least: 0, most: 200 }),
        };
        let (host, vif) = (host_without_ovs(), function(1, settings));
        plug(&host, &vif).await;
        let said = said_of(0);
        for word in ["fa:16:3e:00:00:01", "vlan 100", "spoof checking off", "trust on", "200 (Mbps)"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let link = run("ip", "link show t_c00000001-4e");
        assert!(link.contains("fa:16:3e:00:00:01") && link.contains("mtu 1442"), "{link}");
        assert!(!link.contains(",UP"), "{link}");
        let all = everything();
        plug(&host_without_ovs(), &vif).await;
        assert_eq!(everything(), all, "plugging twice is plugging once");
        let found = host_without_ovs().attachments("endpoint-1").await.unwrap();
        assert_eq!(found, std::slice::from_ref(&vif.attachment));
        assert!(host.wired(&vif.attachment, within(1)).await.unwrap());
        assert!(!host.is_taken(&vif.attachment).await.unwrap());
        unplug(&host, &vif).await;
        assert_eq!(everything(), before);
        unplug(&host, &vif).await;
        assert_eq!(everything(), before);
        let gone = host.wired(&vif.attachment, within(1)).await;
        assert!(matches!(gone, Err(Error::NotPlugged { .. })), "{gone:?}");
    }
}

netns_test! {
    async fn containers_reach_each_other_in_their_vlan_and_none_beyond() {
        let before = everything();
        let host = host_without_ovs();
        let vifs = [function(1, in_vlan(100)), function(2, in_vlan(100)), function(3, in_vlan(200))];
        let mut containers = Vec::new();
        for (number, vif) in (1..).zip(&vifs) {
            plug(&host, vif).await;
            containers.push(container(vif, number));
        }
        let [one, other, stranger] = containers.as_slice() else { unreachable!() };
        let reach = |from: &Container, to: &str| (0..5).any(|_| from.reaches(to));
        assert!(reach(one, "10.0.0.2"), "{}", one.run("ip", "-stats link"));
        assert!(reach(other, "10.0.0.1"));
        assert!(!stranger.reaches("10.0.0.1") && !one.reaches("10.0.0.3"));
        assert!(host.is_taken(&vifs[0].attachment).await.unwrap());
        // One in its container is left there.
        plug(&host_without_ovs(), &vifs[0]).await;
        assert!(one.reaches("10.0.0.2"));
        for name in ["c1", "c2", "c3"] {
            run("ip", &format!("netns delete {name}"));
        }
        for vif in &vifs {
            unplug(&host, vif).await;
        }
        assert_eq!(everything(), before);
    }
}

netns_test! {
    async fn a_function_comes_back_from_a_container_whose_network_was_destroyed_or_that_gave_it_up() {
        let before = everything();
        let (host, vif) = (host_without_ovs(), function(1, in_vlan(7)));
        for destroyed in [true, false] {
            plug(&host, &vif).await;
            let container = container(&vif, 1);
            if destroyed {
                run("ip", "netns delete c1");
            } else {
                // As Docker does when a container leaves.
                container.run("ip", "link set eth0 down");
                container.run("ip", "link set eth0 name t_c00000001-4e");
                container.run("ip", "link set t_c00000001-4e netns 1");
                run("ip", "netns delete c1");
            }
            let found = host_without_ovs().all_attachments().await.unwrap();
            assert_eq!(found, std::slice::from_ref(&vif.attachment));
            host_without_ovs().unplug(&found[0], within(20)).await.unwrap();
            assert_eq!(everything(), before, "destroyed: {destroyed}");
        }
    }
}

netns_test! {
    async fn a_function_that_a_container_still_has_is_taken_back_when_that_has_ended() {
        let before = everything();
        let (host, vif) = (host_without_ovs(), function(1, in_vlan(7)));
        plug(&host, &vif).await;
        let container = container(&vif, 1);
        let refused = host.unplug(&vif.attachment, within(1)).await.unwrap_err();
        assert!(chain(&refused).contains("a container still has"), "{}", chain(&refused));
        assert!(said_of(0).contains("vlan 7"), "{}", said_of(0));
        let found = host.all_attachments().await.unwrap();
        assert_eq!(found, std::slice::from_ref(&vif.attachment));
        drop(container);
        run("ip", "netns delete c1");
        unplug(&host, &vif).await;
        assert_eq!(everything(), before);
    }
}

netns_test! {
    async fn a_macvtap_has_a_function_to_itself() {
        let before = everything();
        let host = host_without_ovs();
        let vif = on(1, slot(0), Part::Macvtap(in_vlan(100)));
        plug(&host, &vif).await;
        plug(&host, &vif).await;
        let link = run("ip", "-details link show t_c00000001-4e");
        assert!(link.contains("macvtap mode passthru"), "{link}");
        assert!(link.contains("fa:16:3e:00:00:01") && link.contains("mtu 1442"), "{link}");
        assert!(!host.is_taken(&vif.attachment).await.unwrap());
        let below = interface(&slot(0));
        let ipv6 = format!("/proc/sys/net/ipv6/conf/{below}/disable_ipv6");
        assert_eq!(fs::read_to_string(&ipv6).unwrap(), "1\n");
        assert_eq!(run("ip", &format!("-6 -oneline address show dev {below}")), "");
        let other = function(2, in_vlan(100));
        plug(&host, &other).await;
        let (one, _two) = (container(&vif, 1), container(&other, 2));
        assert!(host.is_taken(&vif.attachment).await.unwrap());
        assert!((0..5).any(|_| one.reaches("10.0.0.2")));
        for name in ["c1", "c2"] {
            run("ip", &format!("netns delete {name}"));
        }
        unplug(&host, &vif).await;
        unplug(&host, &other).await;
        assert_eq!(everything(), before);
        assert_eq!(fs::read_to_string(&ipv6).unwrap(), "0\n");
    }
}

netns_test! {
    async fn a_whole_card_goes_into_a_container_and_comes_back() {
        let before = everything();
        let [_, card] = cards();
        let slot = linked(&format!("/sys/class/net/{card}/device"));
        let (host, vif) = (host_without_ovs(), on(1, slot, Part::Card));
        plug(&host, &vif).await;
        let inside = container(&vif, 1);
        let link = inside.run("ip", "link show eth0");
        assert!(link.contains("fa:16:3e:00:00:01") && link.contains("mtu 1442"), "{link}");
        drop(inside);
        run("ip", "netns delete c1");
        unplug(&host, &vif).await;
        run("ip", &format!("link set {card} up"));
        assert_eq!(everything(), before);
    }
}

netns_test! {
    async fn what_can_not_be_had_says_why_and_nothing_changes() {
        let before = everything();
        let host = host_without_ovs();
        let [card, other] = cards();
        let place = |name: &str| linked(&format!("/sys/class/net/{name}/device"));
        let absent = on(1, "0000:7f:00.0".parse().unwrap(), Part::Function(PLAIN));
        assert!(matches!(refusal(&host, &absent).await, DeviceTrouble::Absent));
        let whole = on(1, place(&other), Part::Function(PLAIN));
        assert!(matches!(refusal(&host, &whole).await, DeviceTrouble::NoFunction));
        let part = on(1, slot(0), Part::Card);
        assert!(matches!(refusal(&host, &part).await, DeviceTrouble::NoCard));
        run("ip", &format!("address add 10.9.9.9/24 dev {}", interface(&slot(0))));
        let used = refusal(&host, &function(1, PLAIN)).await;
        assert!(matches!(used, DeviceTrouble::InUse { how: "has addresses", .. }), "{used:?}");
        run("ip", &format!("address flush dev {}", interface(&slot(0))));
        run("ip", "link add br0 type bridge");
        run("ip", &format!("link set {other} master br0"));
        let used = refusal(&host, &on(1, place(&other), Part::Card)).await;
        assert!(matches!(used, DeviceTrouble::InUse { .. }), "{used:?}");
        run("ip", "link delete br0");
        // QEMU's igb is one that promises no rate: the kernel answers EINVAL.
        let promised = FunctionSettings {
            vlan: 9,
            rates: Some(Rates { least: 10, most: 20 }),
            ..PLAIN
        };
        let refused = refusal(&host, &function(1, promised)).await;
        assert!(matches!(&refused, DeviceTrouble::Refused { .. }), "{refused:?}");
        let said = chain(&refused);
        assert!(said.contains(&card) && said.contains("QoS policy") && said.contains("Invalid argument"), "{said}");
        assert_eq!(everything(), before);
        assert_eq!(host.all_attachments().await.unwrap(), []);
    }
}

netns_test! {
    async fn a_function_is_one_ports_and_counts_as_free_when_it_is_nobodys() {
        let before = everything();
        let (host, vif) = (host_without_ovs(), function(1, PLAIN));
        let card = cards()[0].parse().unwrap();
        let free = async || {
            let free = host_without_ovs().free_functions(&card).await.unwrap();
            free.into_iter().map(|function| function.slot).collect::<Vec<_>>()
        };
        assert_eq!(free().await, [0, 1, 2, 3].map(slot));
        let found = host.free_functions(&card).await.unwrap();
        assert_eq!(found[0].kind, "8086:10ca");
        plug(&host, &vif).await;
        assert_eq!(free().await, [1, 2, 3].map(slot));
        let second = refusal(&host, &on(2, slot(0), Part::Function(PLAIN))).await;
        assert!(matches!(second, DeviceTrouble::Taken { .. }), "{second:?}");
        let both = [on(2, slot(1), Part::Function(PLAIN)), on(3, slot(1), Part::Function(PLAIN))];
        let (one, other) = tokio::join!(host.plug(&both[0], within(20)), host.plug(&both[1], within(20)));
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        for vif in both.iter().chain([&vif]) {
            unplug(&host, vif).await;
        }
        assert_eq!(free().await, [0, 1, 2, 3].map(slot));
        assert_eq!(everything(), before);
    }
}

netns_test! {
    async fn a_function_that_is_kept_for_virtual_machines_is_told_from_one_without_a_driver() {
        let place = slot(3);
        let device = format!("/sys/bus/pci/devices/{place}");
        fs::write(format!("{device}/driver/unbind"), place.as_str()).unwrap();
        let host = host_without_ovs();
        let error = host.plug(&function(4, PLAIN), within(20)).await.unwrap_err();
        assert!(chain(&error).contains("no driver is bound"), "{}", chain(&error));
        fs::write(format!("{device}/driver_override"), "pci-stub").unwrap();
        fs::write("/sys/bus/pci/drivers_probe", place.as_str()).unwrap();
        let error = host.plug(&function(4, PLAIN), within(20)).await.unwrap_err();
        assert!(chain(&error).contains("bound to pci-stub"), "{}", chain(&error));
        assert_eq!(host.all_attachments().await.unwrap(), []);
        fs::write(format!("{device}/driver/unbind"), place.as_str()).unwrap();
        fs::write(format!("{device}/driver_override"), "\n").unwrap();
        fs::write("/sys/bus/pci/drivers_probe", place.as_str()).unwrap();
        let vif = function(4, PLAIN);
        plug(&host, &vif).await;
        unplug(&host, &vif).await;
    }
}

netns_test! {
    async fn a_function_killed_or_refused_at_any_step_is_as_before() {
        let vif = function(1, in_vlan(100));
        if acts(host_without_ovs, &vif).await {
            return;
        }
        let path = concat!(module_path!(), "::a_function_killed_or_refused_at_any_step_is_as_before");
        let before = everything();
        let left = async || {
            let mut left = everything();
            left.retain(|line| !before.contains(line));
            left
        };
        let fates = [Fate::KilledAfter, Fate::Refused];
        at_each_step(path, (host_without_ovs, &vif), &fates, left).await;
    }
}
