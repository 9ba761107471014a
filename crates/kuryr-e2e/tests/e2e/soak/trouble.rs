//! What goes wrong.

use std::thread::sleep;
use std::time::Duration;

use super::Days;
use crate::lab::{Paused, lab};

/// The programs of the cloud and of the host that Kuryr needs.
const PARTS: [&str; 7] = [
    "neutron",
    "keystone",
    "mariadb",
    "nginx",
    "ovsdb@host1",
    "vswitchd@host1",
    "ovn-controller@host1",
];

impl Days {
    /// One thing goes wrong, and ends after a while.
    pub(super) fn trouble(&mut self) {
        let pause = self.pause();
        let part = PARTS[usize::try_from(self.dice.below(7)).unwrap()];
        match self.dice.below(13) {
            0..2 => self.kill_kuryr(pause),
            2 => {
                self.kuryr.stop("-TERM");
                self.kuryr.start();
                self.count("restart kuryr");
            }
            3 => self.lose("dockerd@host1", pause),
            4..7 => self.lose(part, pause),
            7..10 => self.stop_in_its_tracks(part, pause),
            10..12 => self.fill_the_disk(pause),
            _ => self.count("nothing"),
        }
        self.revive();
    }

    /// Mostly what a call outlasts, at times more than it may take.
    fn pause(&mut self) -> Duration {
        let most = [3000, 30_000][usize::from(self.dice.below(8) == 0)];
        Duration::from_millis(self.dice.below(most))
    }

    fn kill_kuryr(&mut self, pause: Duration) {
        self.kuryr.stop("-KILL");
        sleep(pause);
        self.kuryr.start();
        self.count("kill kuryr");
    }

    fn lose(&mut self, part: &str, pause: Duration) {
        lab(&["kill", part]).expect("lab kill");
        self.last(pause);
        lab(&["start", part]).expect("lab start");
        self.count(&format!("kill {part}"));
    }

    fn stop_in_its_tracks(&mut self, part: &'static str, pause: Duration) {
        let paused = Paused::begin(part);
        self.last(pause);
        drop(paused);
        self.count(&format!("pause {part}"));
    }

    fn fill_the_disk(&mut self, pause: Duration) {
        self.kuryr.small_disk().fill();
        self.last(pause);
        self.kuryr.small_disk().make_room();
        self.count("fill the disk");
    }

    /// Starts again what has died of another's trouble, as a service manager would: ovn-controller 23.03
    /// fails an assertion when Open vSwitch has no database.
    fn revive(&mut self) {
        let status = lab(&["status"]).expect("lab status");
        let mut host = "";
        for line in status.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [part, "stopped", _] => {
                    lab(&["start", &format!("{part}@{host}")]).expect("lab start");
                    self.count(&format!("{part} has died"));
                }
                [name, "(namespaces", ..] => host = name,
                _ => {}
            }
        }
    }

    /// Lets a trouble last, at times with a kuryr that is killed meanwhile.
    fn last(&mut self, pause: Duration) {
        if self.dice.below(4) == 0 {
            sleep(pause / 2);
            self.kill_kuryr(pause / 2);
        } else {
            sleep(pause);
        }
    }
}
