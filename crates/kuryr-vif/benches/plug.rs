//! What plugging and unplugging cost: `cargo bench -p kuryr-vif`, as root, with Open vSwitch installed.
//!
//! Fails where plug and unplug of a veth pair into a real ovs-vswitchd take more than 15 ms of our own
//! time, or fifty at once more than ten times as long as one. Our own time is the processors' time of
//! this process, in the kernel too; the rest of what passes is waited for: Open vSwitch, and the kernel
//! where it waits for its own readers to be done.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and prints what it has measured"
)]

use std::env;
use std::time::{Duration, Instant};

use kuryr_testkit::netns::isolate_program;
use kuryr_testkit::ovs::Ovs;
use kuryr_vif::{Attachment, Datapath, Host, HostSettings, Plug, Switch, Vif};
use rustix::time::{ClockId, clock_gettime};

const TURNS: usize = 30;
const AT_ONCE: u8 = 50;
/// The bars.
const OWN_TIME: Duration = Duration::from_millis(15);
const AT_MOST_TIMES: f64 = 10.0;
/// Between two turns: ovs-vswitchd is busy with ports that have gone for longer than anybody waits.
const REST: Duration = Duration::from_secs(1);

fn main() {
    // Where benchmarks are only built and tried, there is nothing to try.
    if env::args().any(|arg| arg == "--bench") {
        isolate_program(&["--bench"], measure);
    }
}

async fn measure() {
    let _ovs = Ovs::start();
    let host = Host::new(HostSettings::default());
    println!("plug and unplug, {TURNS} turns; ms: least, median, most; our own: median");
    // Connections are made, memory is had.
    for _ in 0..3 {
        turn(&host, &[into_ovs(1)]).await;
    }
    let alone = series(&host, "a veth pair alone", &[vif(1, Switch::Tap)], REST).await;
    let one = series(&host, "into Open vSwitch", &[into_ovs(1)], REST).await;
    let fifty: Vec<Vif> = (1..=AT_ONCE).map(into_ovs).collect();
    let many = series(&host, "50 at once", &fifty, REST).await;
    series(&host, "50 at once, without a rest", &fifty, Duration::ZERO).await;
    let times = many.passed.as_secs_f64() / one.passed.as_secs_f64();
    println!("50 at once take {times:.1} times as long as one");
    assert!(alone.own <= OWN_TIME, "a pair alone: {:?}", alone.own);
    assert!(one.own <= OWN_TIME, "into Open vSwitch: {:?}", one.own);
    assert!(times <= AT_MOST_TIMES, "50 at once: {times:.1} times");
}

/// The medians of a series.
struct Cost {
    passed: Duration,
    own: Duration,
}

async fn series(host: &Host, what: &str, vifs: &[Vif], rest: Duration) -> Cost {
    let (mut passed, mut own) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        tokio::time::sleep(rest).await;
        let cost = turn(host, vifs).await;
        passed.push(cost.passed);
        own.push(cost.own);
    }
    passed.sort_unstable();
    own.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{what:<28} {:6.1} {:6.1} {:6.1}   {:6.2}",
        ms(passed[0]),
        ms(passed[TURNS / 2]),
        ms(passed[TURNS - 1]),
        ms(own[TURNS / 2]),
    );
    Cost {
        passed: passed[TURNS / 2],
        own: own[TURNS / 2],
    }
}

async fn turn(host: &Host, vifs: &[Vif]) -> Cost {
    let (begun, before) = (Instant::now(), own_time());
    // Each waits for no other, as containers do.
    let each = vifs.iter().map(|vif| async move {
        let by = kuryr_vif::Instant::now() + Duration::from_secs(30);
        host.plug(vif, by).await.expect("plugged");
        host.unplug(&vif.attachment, by).await.expect("unplugged");
    });
    futures_util::future::join_all(each).await;
    Cost {
        passed: begun.elapsed(),
        own: own_time().saturating_sub(before),
    }
}

fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn into_ovs(number: u8) -> Vif {
    let switch = Switch::OpenVSwitch {
        bridge: "br-int".into(),
        datapath: Datapath::Userspace,
    };
    vif(number, switch)
}

fn vif(number: u8, switch: Switch) -> Vif {
    let port = format!("{number:08x}-4e5f-6071-8293-a4b5c6d7e8f9");
    Vif {
        attachment: Attachment::of_port(&port, &format!("endpoint-{number}"), switch).unwrap(),
        mac: [0xfa, 0x16, 0x3e, 0, 0, number].into(),
        mtu: 1442,
    }
}
