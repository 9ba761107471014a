//! How long our own part of a container's start and end takes.

use std::time::{Duration, Instant};

use kuryr_testkit::netns_test;
use kuryr_testkit::ovs::Ovs;

use super::host::*;

netns_test! {
    async fn plugging_and_unplugging_take_milliseconds() {
        let _ovs = Ovs::start();
        let host = host();
        let (mut plugs, mut unplugs) = (Vec::new(), Vec::new());
        for number in 1..=20 {
            let begun = Instant::now();
            plug(&host, &vif(number)).await;
            plugs.push(begun.elapsed());
        }
        for number in 1..=20 {
            let begun = Instant::now();
            unplug(&host, &vif(number)).await;
            unplugs.push(begun.elapsed());
        }
        println!("plug:   {}", summary(&mut plugs));
        println!("unplug: {}", summary(&mut unplugs));
        assert!(plugs[10] < Duration::from_millis(500), "{plugs:?}");
        assert!(unplugs[10] < Duration::from_millis(500), "{unplugs:?}");
    }
}

fn summary(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let (first, middle, last) = (&times[0], &times[times.len() / 2], &times[times.len() - 1]);
    format!(
        "{:.1} ms, median {:.1}, worst {:.1}",
        ms(first),
        ms(middle),
        ms(last)
    )
}
