//! Kuryr as a plugin that Docker manages, and what a swarm does with it.

use std::fs;
use std::time::Duration;

use neutron_api::Network;
use tempfile::TempDir;

use crate::lab::{mend, neutron_section, on, program, until, within};
use crate::traces::{Traces, list, port_at};

const NODES: [(&str, &str); 2] = [("host1", "10.99.0.11"), ("host2", "10.99.0.12")];

#[test]
#[ignore = "needs the lab: make test"]
fn the_containers_of_a_stack_reach_each_other_on_all_nodes_of_a_swarm() {
    let swarm = Swarm::begin();
    let name = &swarm.name;
    let file = format!(
        r#"version: "3.8"
services:
  box:
    image: bb:1
    command: sleep 3600
    networks: [all]
    deploy:
      replicas: 2
      endpoint_mode: dnsrr
      placement: {{max_replicas_per_node: 1}}
networks:
  all:
    driver: {name}:latest
    driver_opts: {{neutron.port.name: of-the-stack}}
    ipam:
      driver: {name}:latest
      config: [{{subnet: 10.27.0.0/24}}]
"#
    );
    let path = swarm.folder.path().join("stack.yml");
    fs::write(&path, file).unwrap();
    let deploy = format!(
        "docker stack deploy --resolve-image never -c {} {name}",
        path.display()
    );
    on("host1", &deploy).expect("docker stack deploy");
    let containers = swarm.containers();
    let addresses = [0, 1].map(|node| address(node, &containers[node]));
    let networks = list::<Network>().into_iter();
    let made = networks.filter(|network| network.name.starts_with("kuryr-net-"));
    assert_eq!(made.count(), 1, "one network for all nodes");
    for (node, address) in addresses.iter().enumerate() {
        assert_eq!(port_at(address).host_id.as_deref(), Some(NODES[node].0));
        let (other, asker) = (NODES[1 - node].0, &containers[1 - node]);
        let ping = format!("docker exec {asker} ping -c 1 -W 10 {address}");
        on(other, &ping).expect("a ping from node to node");
    }
    // The manager's program is restarted: addresses of tasks that run stay theirs.
    let restart = format!("docker plugin disable -f {name} && docker plugin enable {name}");
    on("host1", &restart).expect("a restart");
    let update = format!("docker service update --force --detach=false {name}_box");
    on("host1", &update).expect("new containers");
    let renewed = swarm.containers();
    assert_ne!(renewed, containers);
    for node in [0, 1] {
        let address = address(node, &renewed[node]);
        assert_eq!(port_at(&address).host_id.as_deref(), Some(NODES[node].0));
    }
    // Docker refuses the network as long as a task of it has not ended.
    let remove = format!("docker stack rm {name}");
    within(Duration::from_secs(60), "docker stack rm", || {
        on("host1", &remove).ok
    });
    swarm.end();
}

/// The address of a node's container.
fn address(node: usize, container: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let inspect = format!("docker inspect -f '{format}' {container}");
    on(NODES[node].0, &inspect).expect("docker inspect")
}

/// Two hosts that are a swarm, each with the plugin.
struct Swarm {
    /// The plugin's name, and what the names of all else begin with.
    name: String,
    folder: TempDir,
    before: [Traces; 2],
    ended: bool,
}

impl Swarm {
    fn begin() -> Self {
        let swarm = Self {
            name: format!("kuryr{}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
            before: NODES.map(|(host, _)| Traces::now(host)),
            ended: false,
        };
        let make = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/plugin");
        let (name, program) = (&swarm.name, program());
        for (host, _) in NODES {
            let folder = swarm.folder.path().join(host);
            let (config, state) = (folder.join("config"), folder.join("state"));
            fs::create_dir_all(&config).unwrap();
            fs::create_dir_all(&state).unwrap();
            let text = format!(
                "[DEFAULT]\nadmin_uri =\ncapability_scope = global\n{}",
                neutron_section(host)
            );
            fs::write(config.join("kuryr.conf"), text).unwrap();
            let (config, state) = (config.display(), state.display());
            let commands = [
                format!("{make} {} {name}", program.display()),
                format!("docker plugin set {name} config.source={config} state.source={state}"),
                format!("docker plugin enable {name}"),
            ];
            for command in commands {
                on(host, &command).expect(&command);
            }
        }
        let [(manager, address), (node, _)] = NODES;
        let init = format!("docker swarm init --advertise-addr {address}");
        on(manager, &init).expect("docker swarm init");
        let token = on(manager, "docker swarm join-token -q worker").expect("a token");
        let join = format!("docker swarm join --token {token} {address}:2377");
        on(node, &join).expect("docker swarm join");
        swarm
    }

    /// The one container of the stack on each node.
    fn containers(&self) -> [String; 2] {
        let running = format!("docker ps -q --filter name={}_box", self.name);
        NODES.map(|(host, _)| {
            within(Duration::from_secs(90), "a container on each node", || {
                on(host, &running).text.lines().count() == 1
            });
            on(host, &running).text
        })
    }

    /// Ends the swarm, and fails unless both hosts and the cloud are as before.
    fn end(mut self) {
        self.clear();
        for ((host, _), before) in NODES.iter().zip(&self.before) {
            let left = before.left_on(host, Duration::from_secs(30));
            assert!(left.is_empty(), "left behind on {host}: {left}");
        }
        self.ended = true;
    }

    fn clear(&self) {
        let name = &self.name;
        on("host1", &format!("docker stack rm {name}"));
        let networks = format!("docker network ls -q --filter driver={name}:latest");
        for (host, _) in NODES {
            // Nodes leave a network after its last container.
            until(Duration::from_secs(60), || {
                on(host, &networks).text.is_empty()
            });
        }
        for (host, _) in NODES.iter().rev() {
            for command in [
                "docker swarm leave --force".to_owned(),
                "docker network rm docker_gwbridge".to_owned(),
                // What is owed to Neutron is done by then.
                format!("docker plugin disable -f {name}"),
                format!("docker plugin rm -f {name}"),
            ] {
                on(host, &command);
            }
        }
    }
}

impl Drop for Swarm {
    /// After a failure: clears up for the tests that follow.
    fn drop(&mut self) {
        if !self.ended {
            mend();
            self.clear();
            crate::traces::sweep();
        }
    }
}
