//! Random days: containers and networks come and go while programs are killed; then an audit.
//!
//! `KURYR_SOAK_SECONDS` says how long, `KURYR_SOAK_SEED` repeats one (`make soak`).

mod dice;

use std::collections::{BTreeMap, BTreeSet};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use neutron_api::Port;

use crate::lab::{Kuryr, lab, on, setting, until};
use crate::traces::list;
use dice::Dice;

/// Enough to see that it works.
const SHORT: u64 = 60;
/// Without anyone's help, after whatever has happened.
const AT_REST: Duration = Duration::from_secs(150);
const HOST: &str = "host1";

#[test]
#[ignore = "needs the lab: make soak"]
fn after_random_days_neutron_has_what_docker_has_and_no_more() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = setting("KURYR_SOAK_SEED").unwrap_or(now.as_secs());
    let seconds = setting("KURYR_SOAK_SECONDS").unwrap_or(SHORT);
    eprintln!("soak: KURYR_SOAK_SEED={seed} KURYR_SOAK_SECONDS={seconds}");
    let mut days = Days::begin(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        days.live_one();
    }
    eprintln!("soak: {}", days.told());
    days.audit();
    days.kuryr.end();
}

struct Days {
    dice: Dice,
    kuryr: Kuryr,
    networks: [String; 2],
    /// What was done, and how often.
    done: BTreeMap<&'static str, u32>,
}

impl Days {
    fn begin(seed: u64) -> Self {
        let kuryr = Kuryr::begin();
        let networks = [
            kuryr.network("--subnet 10.20.0.0/24"),
            kuryr.network("--ipv6 --subnet 10.21.0.0/24 --subnet fd21::/64"),
        ];
        Self {
            dice: Dice::of(seed),
            kuryr,
            networks,
            done: BTreeMap::new(),
        }
    }

    /// Some commands of Docker's side by side, and something that goes wrong meanwhile.
    fn live_one(&mut self) {
        let count = 1 + self.dice.below(4);
        let commands: Vec<String> = (0..count).map(|_| self.command()).collect();
        let all: String = commands
            .iter()
            .map(|command| format!("(timeout 60 docker {command}) & "))
            .collect();
        let moment = Duration::from_millis(self.dice.below(1500));
        scope(|scope| {
            // Any of them may fail: by what goes wrong, or by what the others do to its container.
            scope.spawn(|| on(HOST, &format!("{all} wait")));
            sleep(moment);
            self.trouble();
        });
    }

    fn command(&mut self) -> String {
        let driver = self.kuryr.driver.clone();
        let name = format!("soak-{driver}-{}", self.dice.below(8));
        let network = self.networks[usize::from(self.dice.below(2) == 1)].clone();
        let exposed = ["", "--expose 80"][usize::from(self.dice.below(3) == 0)];
        let third = format!("third-{driver}");
        let (what, command) = match self.dice.below(12) {
            0..4 => (
                "run",
                format!(
                    "run -d --label {driver} --name {name} --network {network} {exposed} bb:1 sleep 3600"
                ),
            ),
            4..6 => ("remove", format!("rm -f {name}")),
            6 => ("restart", format!("restart -t 0 {name}")),
            7 => ("stop", format!("stop -t 0 {name}")),
            8 => ("connect", format!("network connect {network} {name}")),
            9 => (
                "disconnect",
                format!("network disconnect -f {network} {name}"),
            ),
            10 => (
                "create a network",
                format!(
                    "network create -d {driver} --ipam-driver {driver} --subnet 10.22.0.0/24 {third}"
                ),
            ),
            _ => ("remove a network", format!("network rm {third}")),
        };
        *self.done.entry(what).or_default() += 1;
        command
    }

    fn trouble(&mut self) {
        let pause = Duration::from_millis(self.dice.below(3000));
        let what = match self.dice.below(12) {
            0..3 => {
                self.kuryr.stop("-KILL");
                sleep(pause);
                self.kuryr.start();
                "kill kuryr"
            }
            3 => {
                self.kuryr.stop("-TERM");
                self.kuryr.start();
                "restart kuryr"
            }
            4 => {
                self.lose("dockerd@host1", pause);
                "kill dockerd"
            }
            5 => {
                self.lose("nginx", pause);
                "kill nginx, before Keystone and Neutron"
            }
            6 => {
                self.lose("neutron", pause);
                "kill neutron"
            }
            7 => {
                self.lose("ovsdb@host1", pause);
                "kill ovsdb-server"
            }
            _ => "nothing",
        };
        *self.done.entry(what).or_default() += 1;
    }

    fn lose(&self, part: &str, pause: Duration) {
        lab(&["kill", part]).expect("lab kill");
        sleep(pause);
        lab(&["start", part]).expect("lab start");
    }

    fn told(&self) -> String {
        let done = self
            .done
            .iter()
            .map(|(what, count)| format!("{what} {count}"));
        done.collect::<Vec<_>>().join(", ")
    }

    /// Neutron's and the host's are exactly Docker's, after a while; and packets go.
    fn audit(&self) {
        let mut wrong = String::new();
        let right = until(AT_REST, || {
            wrong = self.difference();
            wrong.is_empty()
        });
        assert!(right, "{wrong}\n{}", self.kuryr.log());
        for network in &self.networks {
            let boxes = self.containers(network);
            for pair in boxes.windows(2) {
                let address = self.kuryr.address(&pair[1], network, "IPAddress");
                let ping = format!("ping -c 1 -W 5 {address}");
                let reached = until(Duration::from_secs(10), || {
                    self.kuryr.inside(&pair[0], &ping).ok
                });
                assert!(reached, "{} {ping}\n{}", pair[0], self.kuryr.log());
            }
        }
    }

    fn difference(&self) -> String {
        let endpoints = self.endpoints();
        let ports: Vec<Port> = list::<Port>()
            .into_iter()
            .filter(|port| port.device_owner == "compute:kuryr")
            .collect();
        let devices: BTreeSet<String> = ports.iter().map(|it| it.device_id.clone()).collect();
        let interfaces = on(HOST, "ovs-vsctl --bare --columns=name list Interface").text;
        let plugged: BTreeSet<&str> = interfaces
            .lines()
            .filter(|name| name.starts_with("tap"))
            .collect();
        let links = on(HOST, "ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1").text;
        let links: BTreeSet<&str> = links
            .lines()
            .filter(|name| name.starts_with("tap"))
            .collect();
        let mut wrong = String::new();
        if devices != endpoints || ports.len() != endpoints.len() {
            wrong += &format!("ports of {devices:?}, endpoints {endpoints:?}\n");
        }
        let ends: BTreeSet<String> = ports.iter().map(host_end).collect();
        let ends: BTreeSet<&str> = ends.iter().map(String::as_str).collect();
        if plugged != ends || links != ends {
            wrong += &format!("ports {ends:?}, in the switch {plugged:?}, links {links:?}\n");
        }
        wrong
    }

    /// Of containers that run, on all of this Kuryr's networks.
    fn endpoints(&self) -> BTreeSet<String> {
        let networks = format!("docker network ls -q --filter driver={}", self.kuryr.driver);
        let ids = "{{range .Containers}}{{.EndpointID}} {{end}}";
        let inspect = format!("docker network inspect -f '{ids}' $({networks})");
        let text = on(HOST, &inspect).expect("docker network inspect");
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn containers(&self, network: &str) -> Vec<String> {
        let names = "{{range .Containers}}{{.Name}} {{end}}";
        let said = self
            .kuryr
            .docker(&format!("network inspect -f '{names}' {network}"));
        let text = said.expect("docker network inspect");
        text.split_whitespace().map(str::to_owned).collect()
    }
}

/// The name of the interface that a port's container has on the host.
fn host_end(port: &Port) -> String {
    format!("tap{}", &port.id.to_string()[..11])
}
