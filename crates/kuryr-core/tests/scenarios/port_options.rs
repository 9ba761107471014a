//! What the user wants of a container's port: of one, or of all on a network.

use neutron_api::{NewQosPolicy, NewSecurityGroup, Port, SecurityGroup};
use neutron_embedded::EmbeddedSettings;
use serde_json::json;

use crate::ports::{ADDRESS, adopted, port};
use crate::world::{Plan, Want, World, soon, subnet};

#[tokio::test(start_paused = true)]
async fn a_containers_port_is_as_its_options_say() {
    let world = World::with(everything());
    let (web, db) = (group(&world, "web").await, group(&world, "db").await);
    let gold = world
        .make(&NewQosPolicy {
            name: "gold".into(),
        })
        .await;
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let want = Want {
        options: vec![
            ("neutron.port.security_groups", format!("web;{}", db.id)),
            ("neutron.port.name", "front".into()),
            ("neutron.port.dns_name", "front-1".into()),
            ("neutron.port.qos_policy", "gold".into()),
            ("neutron.port.port_security", "Yes".into()),
            (
                "neutron.port.allowed_address_pairs",
                "10.20.0.100=02:00:00:00:00:01".into(),
            ),
        ],
        ..Want::default()
    };
    let container = world.run_as(&made, &want).await.unwrap();
    let id = world.port_of(&container).await.id;
    let whole = world.whole(id).await;
    let has = &whole["port"];
    assert_eq!(has["security_groups"], json!([web.id, db.id]));
    assert_eq!(has["name"], "front");
    assert_eq!(has["dns_name"], "front-1");
    assert_eq!(has["qos_policy_id"], json!(gold.id));
    assert_eq!(has["port_security_enabled"], true);
    let pairs = json!([{"ip_address": "10.20.0.100", "mac_address": "02:00:00:00:00:01"}]);
    assert_eq!(has["allowed_address_pairs"], pairs);
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<Port>().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_networks_options_are_its_ports_defaults_also_after_a_restart() {
    let mut world = World::with(everything());
    let (web, db) = (group(&world, "web").await, group(&world, "db").await);
    let plan = Plan {
        options: vec![
            ("neutron.port.security_groups", "web".into()),
            ("neutron.port.name", "front".into()),
            ("neutron.port.dns_name", "front-1".into()),
        ],
        ..subnet("10.20.0.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    for _ in 0..2 {
        world.wire.plan(|_, _| kuryr_testkit::faulty::Fate::Pass);
        let container = world.run(&made).await.unwrap();
        let whole = world.whole(world.port_of(&container).await.id).await;
        assert_eq!(whole["port"]["security_groups"], json!([web.id]));
        assert_eq!(whole["port"]["name"], "front");
        assert_eq!(whole["port"]["dns_name"], "front-1");
        world.stop(&made, &container).await;
        world.restart();
    }
    let want = Want {
        options: vec![("neutron.port.security_groups", "db".into())],
        ..Want::default()
    };
    let container = world.run_as(&made, &want).await.unwrap();
    let port = world.port_of(&container).await;
    assert_eq!(
        (port.security_groups, port.name.as_str()),
        (vec![db.id], "front")
    );
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    world
        .assert_nothing_left("after a network with defaults")
        .await;
}

/// Neutron refuses groups on such a port, and gives it the project's default one.
#[tokio::test(start_paused = true)]
async fn a_port_that_is_to_be_open_has_no_groups() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let open = vec![("neutron.port.port_security", "false".to_owned())];
    let want = Want {
        options: open.clone(),
        ..Want::default()
    };
    let by_itself = world.run_as(&made, &want).await.unwrap();
    let plan = Plan {
        options: open,
        ..subnet("10.30.0.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    let by_network = world.run(&made).await.unwrap();
    for container in [by_itself, by_network] {
        let port = world.port_of(&container).await;
        assert_eq!(
            (port.port_security_enabled, port.security_groups),
            (Some(false), vec![])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_the_user_has_named_is_still_known_as_ours() {
    for restarted in [false, true] {
        for unplugged in [false, true] {
            let mut world = World::new();
            let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
            let want = Want {
                options: vec![("neutron.port.name", "front".into())],
                ..Want::default()
            };
            let container = world.run_as(&made, &want).await.unwrap();
            let port = world.port_of(&container).await;
            assert_eq!(port.name, "front");
            assert_eq!(port.device_id, container.id.as_str());
            if unplugged {
                world.forget_plugged().await;
            }
            if restarted {
                world.restart();
            }
            world.stop(&made, &container).await;
            world.delete_network(&made).await;
            world.assert_nothing_left("after a named port").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_option_can_not_mean_is_said_and_nothing_stays() {
    let world = World::with(everything());
    let twice = [group(&world, "twice").await, group(&world, "twice").await];
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    for (option, value, words) in [
        (
            "neutron.port.security_groups",
            "twice",
            twice[0].id.to_string(),
        ),
        (
            "neutron.port.security_groups",
            "twice",
            twice[1].id.to_string(),
        ),
        (
            "neutron.port.security_groups",
            "nobody's",
            "no security group".into(),
        ),
        (
            "neutron.port.qos_policy",
            "nobody's",
            "no QoS policy".into(),
        ),
        (
            "neutron.port.port_security",
            "perhaps",
            "true or false".into(),
        ),
        ("neutron.port.colour", "red", "neutron.port.dns_name".into()),
    ] {
        let want = Want {
            options: vec![(option, value.into())],
            ..Want::default()
        };
        let error = world.run_as(&made, &want).await.unwrap_err().to_string();
        assert!(error.contains(&words), "{words}: {error}");
        let plan = Plan {
            options: want.options,
            ..subnet("10.30.0.0/24")
        };
        let error = world.create_network(&plan).await.unwrap_err().to_string();
        assert!(error.contains(&words), "{words}: {error}");
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after bad options").await;
}

#[tokio::test(start_paused = true)]
async fn what_this_neutron_can_not_do_is_said_with_the_extension_that_it_lacks() {
    let mut settings = EmbeddedSettings::default();
    let lacks = ["port-security", "allowed-address-pairs", "security-group"];
    settings
        .extensions
        .retain(|has| !lacks.contains(&has.as_str()));
    let world = World::with(settings);
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    for (option, value, extension) in [
        ("neutron.port.dns_name", "a", "dns-integration"),
        ("neutron.port.qos_policy", "a", "qos"),
        ("neutron.port.port_security", "no", "port-security"),
        (
            "neutron.port.allowed_address_pairs",
            "10.0.0.1",
            "allowed-address-pairs",
        ),
        ("neutron.port.security_groups", "a", "security-group"),
    ] {
        let want = Want {
            options: vec![(option, value.into())],
            ..Want::default()
        };
        let error = world.run_as(&made, &want).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("extension {extension} is not")),
            "{error}"
        );
        assert!(error.contains(option), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn options_are_refused_for_an_adopted_port_and_defaults_pass_it_by() {
    let (world, made) = adopted(&["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let before = world.whole(port.id).await;
    let want = Want {
        ip: Some(ADDRESS),
        options: vec![("neutron.port.name", "ours".into())],
        ..Want::default()
    };
    let error = world.run_as(&made, &want).await.unwrap_err().to_string();
    assert!(error.contains(&port.id.to_string()), "{error}");
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
    let plan = Plan {
        options: vec![
            ("neutron.net.name", "theirs".into()),
            ("neutron.port.name", "ours".into()),
            ("neutron.port.port_security", "false".into()),
        ],
        ..subnet("10.50.0.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
    let now = world.whole(port.id).await;
    assert_eq!(now["port"]["name"], "theirs");
    assert_eq!(now["port"]["port_security_enabled"], true);
    world.stop(&made, &container).await;
}

/// A Neutron that has all that the options ask for.
fn everything() -> EmbeddedSettings {
    let mut settings = EmbeddedSettings::default();
    let more = ["qos", "dns-integration"].map(str::to_owned);
    settings.extensions.extend(more);
    settings
}

async fn group(world: &World, name: &str) -> SecurityGroup {
    let new = NewSecurityGroup {
        name: name.into(),
        ..NewSecurityGroup::default()
    };
    world.make(&new).await
}
