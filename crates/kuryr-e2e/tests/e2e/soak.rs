//! Random days: containers and networks come and go while programs are killed, or stop in their
//! tracks, and the disk is full; then an audit.
//!
//! `KURYR_SOAK_SECONDS` says how long, `KURYR_SOAK_SEED` repeats one (`make soak`): with an odd one
//! ports are kept warm.

mod audit;
mod dice;
mod ground;
mod trouble;

use std::collections::BTreeMap;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lab::{Kuryr, on, setting};
use dice::Dice;
use ground::Ground;

/// Enough to see that it works.
const SHORT: u64 = 60;
const HOST: &str = "host1";
/// Of a size that changes while the soak lasts.
const COLD: &str = "[port_pool]\nenabled = false";
const WARM: &str = "[port_pool]\nidle_time = 20";

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
    /// As it was before them.
    ground: Ground,
    /// What was done, and how often.
    done: BTreeMap<String, u32>,
}

impl Days {
    fn begin(seed: u64) -> Self {
        let warm = [COLD, WARM][usize::from(seed % 2 == 1)];
        let mut kuryr = Kuryr::begin_on(HOST, warm);
        kuryr.move_to_small_disk();
        let ground = Ground::now();
        let networks = [
            kuryr.network("--subnet 10.20.0.0/24"),
            kuryr.network("--ipv6 --subnet 10.21.0.0/24 --subnet fd21::/64"),
        ];
        Self {
            dice: Dice::of(seed),
            kuryr,
            networks,
            ground,
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
        self.count(what);
        command
    }

    fn count(&mut self, what: &str) {
        *self.done.entry(what.to_owned()).or_default() += 1;
    }

    fn told(&self) -> String {
        let done = self
            .done
            .iter()
            .map(|(what, count)| format!("{what} {count}"));
        done.collect::<Vec<_>>().join(", ")
    }
}
