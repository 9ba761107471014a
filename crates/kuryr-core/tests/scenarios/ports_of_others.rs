//! Ports that were there before and that are not for us: refused, and not touched.

use kuryr_core::{AddressRequest, Driver, MacAddress};
use kuryr_vif::Switch;
use neutron_api::{Port, PortChange};
use serde_json::json;

use crate::ports::{ADDRESS, adopted, adopted_with, new_port, now, port, reserved};
use crate::sriov;
use crate::world::soon;

#[tokio::test(start_paused = true)]
async fn a_port_in_use_is_refused_with_whose_it_is_and_not_touched() {
    for (owner, device, host) in [
        ("compute:nova", "a-vm", "host2"),
        ("compute:nova", "a-shelved-vm", ""),
        ("compute:kuryr", "a-container", "host2"),
        ("network:router_interface", "a-router", ""),
        ("", "", "host2"),
    ] {
        let (world, made) = adopted(&["10.50.0.0/24"]).await;
        let port = port(&world, &made, |new| {
            new.device_owner = owner.into();
            new.device_id = device.into();
            new.host_id = Some(host.into());
        })
        .await;
        let before = world.whole(port.id).await;
        let error = world
            .run_with(&made, Some(ADDRESS), None)
            .await
            .unwrap_err();
        let words = error.to_string();
        let id = port.id.to_string();
        for word in [ADDRESS, &id, "theirs", owner, device, host] {
            assert!(words.contains(word), "{word}: {words}");
        }
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(world.whole(port.id).await, before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_a_container_here_has_adopted_is_refused_to_another() {
    for restarted in [false, true] {
        let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
        let port = port(&world, &made, |_| {}).await;
        let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
        let before = world.whole(port.id).await;
        if restarted {
            world.restart();
        }
        let error = world
            .run_with(&made, Some(ADDRESS), None)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(container.id.as_str()), "{error}");
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(world.whole(port.id).await, before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_is_not_adopted_with_another_address_than_its_own() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let other_mac: MacAddress = "02:00:00:00:00:01".parse().unwrap();
    for (address, mac) in [("10.50.0.8", port.mac_address), (ADDRESS, other_mac)] {
        let ask = AddressRequest {
            address: Some(address.parse().unwrap()),
            mac: Some(mac),
        };
        let given = world.kuryr.reserve_address(&made.pools[0].id, ask, soon());
        let error = given.await.unwrap_err().to_string();
        assert!(error.contains(&port.id.to_string()), "{error}");
        assert!(error.contains(ADDRESS), "{error}");
    }
    let late = world
        .run_with(&made, Some(ADDRESS), Some(other_mac))
        .await
        .unwrap_err();
    assert!(
        late.to_string().contains(&port.mac_address.to_string()),
        "{late}"
    );
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
    assert_eq!(world.all::<Port>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_port_of_one_family_is_refused_where_docker_wants_two() {
    let (world, made) = adopted(&["10.50.0.0/24", "fd50::/64"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let error = world
        .run_with(&made, Some(ADDRESS), None)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("keeps its addresses (10.50.0.7)"),
        "{error}"
    );
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
    assert_eq!(world.all::<Port>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_somebody_else_takes_meanwhile_is_theirs() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let new = reserved(&world, &made).await;
    let theirs = PortChange {
        host_id: Some("host2".into()),
        device_owner: Some("compute:nova".into()),
        device_id: Some("a-vm".into()),
        ..PortChange::default()
    };
    world.neutron.update(port.id, &theirs).await.unwrap();
    let taken = world.whole(port.id).await;
    let error = world.kuryr.create_endpoint(new, soon()).await.unwrap_err();
    assert!(error.to_string().contains("a-vm"), "{error}");
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, taken);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_takes_nothing_away_does_not_keep_a_port_from_being_used() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let new = reserved(&world, &made).await;
    let renamed = PortChange {
        name: Some("still theirs".into()),
        ..PortChange::default()
    };
    world.neutron.update(port.id, &renamed).await.unwrap();
    world.kuryr.create_endpoint(new, soon()).await.unwrap();
    assert_eq!(now(&world, &port).await.host_id.as_deref(), Some("host1"));
}

/// Its `binding:vnic_type` counts more than the driver that is configured.
#[tokio::test(start_paused = true)]
async fn a_port_for_another_kind_of_interface_is_refused_and_afterwards_as_before() {
    for driver in [Driver::Veth, Driver::Ipvlan] {
        for kind in ["direct", "macvtap", "direct-physical"] {
            let (mut world, made) = adopted(&["10.50.0.0/24"]).await;
            let port = port(&world, &made, |_| {}).await;
            let change = json!({"port": {"binding:vnic_type": kind}});
            world.put(&format!("ports/{}", port.id), &change).await;
            let before = world.whole(port.id).await;
            world.restart_with(|settings| settings.drivers.default = driver);
            let error = world.run_with(&made, Some(ADDRESS), None).await;
            let error = error.unwrap_err().to_string();
            let said = format!("binding:vnic_type is {kind})");
            assert!(error.contains(&said), "{error}");
            assert!(world.kuryr.settled(soon()).await);
            assert_eq!(world.whole(port.id).await, before);
            assert!(world.host.plugged().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_for_another_kind_of_interface_is_left_to_a_program_that_knows_it() {
    let (world, made) = adopted_with(sriov::neutron(), &["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let change = json!({"port": {"binding:vnic_type": "direct"}});
    world.put(&format!("ports/{}", port.id), &change).await;
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    let [vif] = <[_; 1]>::try_from(world.host.plugged()).unwrap();
    assert!(matches!(vif.attachment.switch, Switch::Program(_)));
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
}

/// At one instant, too, which is when a crowd asks.
#[tokio::test(start_paused = true)]
async fn the_other_address_of_a_port_is_its_own_though_another_container_has_not_asked_for_its_yet()
{
    const ITS_OTHER: &str = "fd50::7";
    for _ in 0..10 {
        let (world, made) = adopted(&["10.50.0.0/24", "fd50::/64"]).await;
        let their = new_port(&world, &made, &[ADDRESS, ITS_OTHER]).await;
        world.make(&their).await;
        let reserve = |pool: usize, address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            let ask = AddressRequest { address, mac: None };
            world
                .kuryr
                .reserve_address(&made.pools[pool].id, ask, soon())
        };
        let first = reserve(0, None).await.unwrap();
        reserve(0, Some(ADDRESS)).await.unwrap();
        let other = reserve(1, None).await.unwrap();
        assert_eq!(other.addr().to_string(), ITS_OTHER);
        let firsts = reserve(1, None).await.unwrap();
        assert!(first != firsts && firsts != other);
    }
}
