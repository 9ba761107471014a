//! Devices of SR-IOV cards: those that ports name which were there before.

use kuryr_core::Driver;
use kuryr_vif::{Device, FunctionSettings, Part, Switch, Vif};
use neutron_api::{Port, VifDetails};
use neutron_embedded::EmbeddedSettings;
use serde_json::json;

use crate::ports::{ADDRESS, adopted_with, now, port};
use crate::world::{Made, World, soon};

/// A Neutron that binds all ports to a card that tags their frames with this VLAN.
fn neutron() -> EmbeddedSettings {
    EmbeddedSettings {
        vif_type: "hw_veb".into(),
        vif_details: VifDetails {
            rest: [("vlan".to_owned(), json!("100"))].into_iter().collect(),
            ..VifDetails::default()
        },
        ..EmbeddedSettings::default()
    }
}

/// A port of an administrator's for the virtual function at `slot`.
async fn port_at(slot: &str) -> (World, Made, Port) {
    let (world, made) = adopted_with(neutron(), &["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let profile = json!({
        "pci_slot": slot,
        "pci_vendor_info": "8086:10ca",
        "physical_network": "physnet1",
        "trusted": "true",
    });
    let change = json!({"port": {"binding:vnic_type": "direct", "binding:profile": profile}});
    world.put(&format!("ports/{}", port.id), &change).await;
    (world, made, port)
}

fn devices(world: &World) -> Vec<Device> {
    let plugged = world.host.plugged().into_iter();
    let device = |vif: Vif| {
        let Switch::Device(device) = vif.attachment.switch else {
            return None;
        };
        Some(device)
    };
    plugged.filter_map(device).collect()
}

#[tokio::test(start_paused = true)]
async fn a_port_that_names_a_function_has_that_whatever_driver_is_configured() {
    for driver in [Driver::Veth, Driver::Ipvlan, Driver::Vlan] {
        let (mut world, made, port) = port_at("0000:01:10.0").await;
        world.restart_with(|settings| settings.drivers.default = driver);
        let before = world.whole(port.id).await;
        let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
        let settings = FunctionSettings {
            vlan: 100,
            spoof_check: true,
            trusted: true,
            rates: None,
        };
        let device = Device {
            slot: "0000:01:10.0".parse().unwrap(),
            part: Part::Function(settings),
        };
        assert_eq!(devices(&world), [device]);
        assert_eq!(container.interface.mac, Some(port.mac_address));
        assert_eq!(now(&world, &port).await.host_id.as_deref(), Some("host1"));
        // Another run finds it again by what is plugged.
        world.restart_with(|settings| settings.drivers.default = driver);
        world.stop(&made, &container).await;
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(world.whole(port.id).await, before);
        assert!(world.host.plugged().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_whose_function_has_no_place_that_can_be_is_refused_and_afterwards_as_before() {
    let (world, made, port) = port_at("01:10.0").await;
    let before = world.whole(port.id).await;
    let error = world
        .run_with(&made, Some(ADDRESS), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("0000:01:10.0"), "{error}");
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
    assert!(world.host.plugged().is_empty());
}
