//! host1 with Docker's plugin `kuryr-py`, which one of the two daemons serves at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use neutron_api::Port;
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{enter, lab, mend, on, program, until, within};
use crate::traces::{Traces, list, sweep};

const HOST: &str = "host1";
/// The name that `lab python` gives to the plugin, its socket and its configuration.
const PLUGIN: &str = "kuryr-py";
/// What a script for one container begins with: its network and number, and how it is connected.
const OF_CONTAINER: &str = "set -e; c=$0; net=${c%-*}; n=${c#*-}; at=; \
    test $net != dual || at=\"--ip 10.22.0.10$n --ip6 fd22::10$n\"; \
    peer=$net-0; test $n != 0 || peer=$net-1; \
    address() { docker inspect -f \"{{(index .NetworkSettings.Networks \\\"$net\\\").$1}}\" $peer; }; ";
const NEUTRON: &str = "http://10.99.0.1:9696/v2.0";
const FIVE_A_SECOND: &str = "-i 0.2";

pub(super) struct Place {
    before: Option<Traces>,
    kuryr: Option<Child>,
    folder: TempDir,
    token: String,
}

/// All that there is in Neutron, with all its fields but those that count and date changes.
pub(super) type Cloud = BTreeMap<String, Value>;

impl Place {
    pub(super) fn begin() -> Self {
        let token = on(HOST, "openstack token issue -f value -c id");
        Self {
            before: Some(Traces::now(HOST)),
            kuryr: None,
            folder: tempfile::tempdir().unwrap(),
            token: token.expect("openstack token issue"),
        }
    }

    pub(super) fn start_python(&self) {
        lab(&["python", HOST, "up"]).expect("lab python up");
    }

    pub(super) fn stop_python(&self) {
        lab(&["stop", &format!("{PLUGIN}@{HOST}")]).expect("lab stop kuryr-py");
    }

    /// With the configuration of the Python daemon, as it is.
    pub(super) fn start_kuryr(&mut self) {
        self.start_kuryr_with("");
    }

    /// The same without ports that no container has: the Python daemon would leave them where they are.
    pub(super) fn start_kuryr_without_pool(&mut self) {
        let more = self.folder.path().join("no-pool.conf");
        std::fs::write(&more, "[port_pool]\nenabled = false\n").unwrap();
        self.start_kuryr_with(&format!("--config-file {}", more.display()));
        within(Duration::from_secs(180), "no warm ports", || {
            let mut ports = list::<Port>().into_iter();
            // The ends that containers have are not on the host.
            ports.all(|port| !port.name.starts_with("kuryr-pool-port-"))
                && on(HOST, "! ip -o link | grep -q ' t_c'").ok
        });
    }

    fn start_kuryr_with(&mut self, more: &str) {
        let serve = format!(
            "exec {} serve --config-file /etc/{PLUGIN}/kuryr.conf {more} --debug",
            program().display()
        );
        let log = File::create(self.folder.path().join("log")).unwrap();
        let child = enter(HOST, &serve)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.kuryr = Some(child.expect("lab/lab"));
        let activate = "curl -sf -X POST http://127.0.0.1:23750/Plugin.Activate";
        within(Duration::from_secs(10), "Kuryr's socket", || {
            on(HOST, activate).ok
        });
    }

    pub(super) fn stop_kuryr(&mut self) {
        let Some(mut kuryr) = self.kuryr.take() else {
            return;
        };
        // The child is the program itself: every shell on the way has exec'd.
        let _ = Command::new("kill").arg(kuryr.id().to_string()).status();
        assert!(kuryr.wait().unwrap().success(), "{}", self.log());
    }

    /// Docker asks a driver what it wants only once; with `live-restore` its containers go on.
    pub(super) fn restart_docker(&self) {
        let dockerd = format!("dockerd@{HOST}");
        lab(&["stop", &dockerd]).expect("lab stop dockerd");
        lab(&["start", &dockerd]).expect("lab start dockerd");
    }

    /// Whether containers outlive their dockerd.
    pub(super) fn live_restore(&self, is_on: bool) {
        let write = format!("echo '{{\"live-restore\": {is_on}}}' >/etc/docker/daemon.json");
        on(HOST, &write).expect("daemon.json");
        let pid = lab(&["pid", &format!("dockerd@{HOST}")]).expect("lab pid dockerd");
        let hup = Command::new("kill").args(["-HUP", pid.trim()]).status();
        assert!(hup.unwrap().success());
        within(Duration::from_secs(10), "live-restore", || {
            let now = on(HOST, "docker info -f '{{.LiveRestoreEnabled}}'");
            now.text == is_on.to_string()
        });
    }

    pub(super) fn network(&self, name: &str, options: &str) {
        let create = "docker network create --driver kuryr-py --ipam-driver kuryr-py";
        on(HOST, &format!("{create} {options} {name}")).expect("docker network create");
    }

    /// Where the switch would not live through it, takes the security groups from the containers to be
    /// on networks that were not there before.
    ///
    /// ovs-vswitchd 3.1.0 dies of an assertion in its connection tracking (conntrack.c:1063) when many
    /// containers with security groups reconnect, whoever plugs them; without them nothing is tracked.
    pub(super) fn spare_switch(&self, before: &Cloud) {
        let version = on(HOST, "ovs-vswitchd --version").expect("ovs-vswitchd");
        if !version.contains(" 3.1.0") {
            return;
        }
        let now = self.cloud();
        let new = now.iter().filter(|(key, _)| !before.contains_key(*key));
        for (_, network) in new.filter(|(key, _)| key.starts_with("networks ")) {
            let url = format!("{NEUTRON}/networks/{}", network["id"].as_str().unwrap());
            let put = "-X PUT -d '{\"network\": {\"port_security_enabled\": false}}'";
            on(HOST, &format!("{} {put} {url}", self.curl())).expect("no port security");
        }
    }

    /// `NETWORK-0`, `NETWORK-1` and so on, with these MAC addresses if there are any.
    pub(super) fn run(&self, network: &str, count: usize, macs: &[String]) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|n| format!("{network}-{n}")).collect();
        for (n, mac) in macs.iter().enumerate() {
            let write = format!("echo --mac-address={mac} >/run/lab/{network}-{n}.mac");
            on(HOST, &write).expect("a MAC address");
        }
        let run = "docker run -d --name $c --label takeover --network $net $at \
                   $(cat /run/lab/$c.mac 2>/dev/null) bb:1 sleep 3600";
        self.each(&names, run);
        names
    }

    /// Each container pings another one of its network, five times a second, in each family.
    pub(super) fn ping(&self, boxes: &[String]) {
        let ping = format!(
            "a=$(address IPAddress); docker exec $c ping -c 1 -W 10 $a; \
             docker exec -d $c sh -c \"exec ping {FIVE_A_SECOND} $a >/tmp/pings4\"; \
             b=$(address GlobalIPv6Address); test -z \"$b\" && exit; \
             docker exec $c ping -6 -c 1 -W 10 $b; \
             docker exec -d $c sh -c \"exec ping -6 {FIVE_A_SECOND} $b >/tmp/pings6\""
        );
        self.each(boxes, &ping);
    }

    /// Ends the pings of these containers: not one is without its answer.
    pub(super) fn assert_answered(&self, boxes: &[String], at_least: usize) {
        for container in boxes {
            let end = "killall -INT ping; sleep 1; for f in /tmp/pings*; do echo $f; cat $f; done";
            let said = on(HOST, &format!("docker exec {container} sh -c '{end}'"));
            let text = said.expect("the pings");
            for pings in text.split("/tmp/").skip(1) {
                let answers = pings.lines().filter_map(|line| {
                    let (_, rest) = line.split_once("seq=")?;
                    rest.split(' ').next()?.parse::<usize>().ok()
                });
                let answers: Vec<usize> = answers.collect();
                let all: Vec<usize> = (0..answers.len()).collect();
                assert_eq!(answers, all, "{container}: {pings}\n{}", self.log());
                assert!(answers.len() >= at_least, "{container}: {pings}");
                // The last one may be on its way.
                let sent = format!("{} packets transmitted", answers.len());
                let one_more = format!("{} packets transmitted", answers.len() + 1);
                let stopped = pings.contains(&sent) || pings.contains(&one_more);
                assert!(stopped, "{container}: {pings}");
            }
        }
    }

    pub(super) fn stop_and_start(&self, boxes: &[String]) {
        let again = "docker stop -t 0 $c; docker start $c; \
                     docker exec $c ping -c 1 -W 10 $(address IPAddress)";
        self.each(boxes, again);
    }

    pub(super) fn reconnect(&self, boxes: &[String]) {
        let again = "docker network disconnect $net $c; docker network connect $at $net $c; \
                     docker exec $c ping -c 1 -W 10 $(address IPAddress)";
        self.each(boxes, again);
    }

    pub(super) fn remove_containers(&self) {
        let ids = "ids=$(docker ps -aq --filter label=takeover)";
        let remove = format!("{ids}; test -z \"$ids\" || docker rm -f $ids; rm -f /run/lab/*.mac");
        on(HOST, &remove).expect("docker rm");
    }

    pub(super) fn remove_networks(&self) {
        let ids = format!("ids=$(docker network ls -q --filter driver={PLUGIN})");
        let remove = format!("{ids}; test -z \"$ids\" || docker network rm $ids");
        on(HOST, &remove).expect("docker network rm");
    }

    /// A script for each of some containers, a few at a time.
    fn each(&self, boxes: &[String], script: &str) {
        let file = self.folder.path().join("script");
        std::fs::write(&file, format!("{OF_CONTAINER}{script}")).unwrap();
        let names = boxes.join(" ");
        let run = format!(
            "printf '%s\\n' {names} | xargs -P 4 -I @ sh -c \"$(cat {})\" @",
            file.display()
        );
        let said = on(HOST, &run);
        assert!(said.ok, "{script}: {}\n{}", said.text, self.log());
    }

    pub(super) fn cloud(&self) -> Cloud {
        let mut cloud = Cloud::new();
        for kind in [
            "networks",
            "subnets",
            "subnetpools",
            "ports",
            "security-groups",
        ] {
            let said = on(HOST, &format!("{} {NEUTRON}/{kind}", self.curl())).expect(kind);
            let list: Value = serde_json::from_str(&said).unwrap();
            for mut object in list[kind.replace('-', "_")].as_array().unwrap().clone() {
                let fields = object.as_object_mut().unwrap();
                fields.retain(|field, _| field != "revision_number" && field != "updated_at");
                // Neutron gives them in any order.
                for field in ["tags", "security_group_rules"] {
                    if let Some(all) = fields.get_mut(field).and_then(Value::as_array_mut) {
                        all.sort_by_key(ToString::to_string);
                    }
                }
                cloud.insert(
                    format!("{kind} {} {}", object["id"], object["name"]),
                    object,
                );
            }
        }
        cloud
    }

    fn curl(&self) -> String {
        format!("curl -sf -H 'X-Auth-Token: {}'", self.token)
    }

    /// Neutron is, or will be in a moment, as it was before, as far as it `matters`.
    pub(super) fn assert_cloud(&self, before: &Cloud, when: &str, matters: impl Fn(&str) -> bool) {
        let of = |cloud: &Cloud| -> Cloud {
            let all = cloud.clone().into_iter();
            all.filter(|(key, _)| matters(key)).collect()
        };
        let (before, mut now) = (of(before), Cloud::new());
        // Twenty ports are put back one by one, by a Neutron that has two cores.
        let same = until(Duration::from_secs(120), || {
            now = of(&self.cloud());
            now == before
        });
        let changed = |a: &Cloud, b: &Cloud| -> Vec<String> {
            let all = a.iter().filter(|(key, value)| b.get(*key) != Some(value));
            all.map(|(key, value)| format!("{key}: {value}")).collect()
        };
        let (was, is) = (changed(&before, &now), changed(&now, &before));
        assert!(same, "{when}\nwas {was:#?}\nis {is:#?}\n{}", self.log());
    }

    /// Fails unless the host is as it was before.
    pub(super) fn end(mut self) {
        self.stop_kuryr();
        lab(&["python", HOST, "down"]).expect("lab python down");
        self.live_restore(false);
        let before = self.before.as_ref().unwrap();
        let left = before.left_on(HOST, Duration::from_secs(20));
        assert!(left.is_empty(), "left behind:\n{left}\n{}", self.log());
        self.before = None;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Place {
    /// After a failure: clears up for the tests that follow.
    fn drop(&mut self) {
        let Some(_) = self.before.take() else { return };
        mend();
        if self.kuryr.is_none() {
            let _ = lab(&["python", HOST, "up"]);
        }
        self.remove_containers();
        super::remove_theirs();
        let ids = format!("docker network ls -q --filter driver={PLUGIN}");
        on(HOST, &format!("{ids} | xargs -r docker network rm"));
        if let Some(mut kuryr) = self.kuryr.take() {
            let _ = Command::new("kill").arg(kuryr.id().to_string()).status();
            let _ = kuryr.wait();
        }
        let _ = lab(&["python", HOST, "down"]);
        on(HOST, "rm -f /etc/docker/daemon.json");
        sweep();
    }
}
