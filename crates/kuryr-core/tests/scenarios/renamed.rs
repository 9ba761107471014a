//! A host that has another name than before: what it had made under the old one may be another host's by now.

use std::time::Duration;

use neutron_api::Port;

use crate::world::{World, subnet};

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Orphans of the old name included, until the host has that name again.
#[tokio::test(start_paused = true)]
async fn a_renamed_host_keeps_its_containers_and_touches_nothing_of_its_old_name() {
    for (mut world, warm) in [(World::new(), false), (World::warm(), true)] {
        let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
        let running = world.runs(&made).await;
        let forgotten = world.reserve(&made).await;
        let its = world.port_of(&running).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.restart_with(|settings| "renamed".clone_into(&mut settings.host));
        let mut before = world.all::<Port>().await;
        world.passes(TEN_MINUTES).await;
        assert_eq!(world.all::<Port>().await, before);

        let second = world.run(&made).await.unwrap();
        let port = world.port_of(&second).await;
        assert_eq!(port.host_id.as_deref(), Some("renamed"));
        world.stop(&made, &second).await;
        world.stop(&made, &running).await;
        world.passes(TEN_MINUTES).await;
        let mut left = world.all::<Port>().await;
        left.retain(|port| port.host_id.as_deref() == Some("host1"));
        before.retain(|port| port.id != its.id);
        assert_eq!(left, before, "the container's port alone has gone");
        let at = |port: &Port| port.fixed_ips[0].ip_address;
        assert!(
            left.iter()
                .any(|port| at(port) == forgotten.addresses[0].addr())
        );

        if warm {
            // Each name has its pool, as two hosts have.
            assert!(left.len() > 1, "{left:?}");
            continue;
        }
        world.restart();
        world.passes(TEN_MINUTES).await;
        world.delete_network(&made).await;
        world.assert_nothing_left("after both names").await;
    }
}
