//! What a crash, a full disk or an older version may have left in the journal: files, each with its name
//! on a line of its own. Kuryr starts on it, serves Docker, and starts again.
#![no_main]

use std::fs;
use std::time::Duration;

use kuryr_fuzz::{Host, first_line, messages, runtime};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::Instant;

fuzz_target!(|input: &[u8]| {
    let mut host = Host::new();
    let mut unreadable = Vec::new();
    for message in messages(input) {
        let (name, text) = first_line(message);
        if name.is_empty() || name.contains(['/', '.']) || name.len() > 100 {
            continue;
        }
        let path = host.journal.path().join(format!("{name}.json"));
        fs::write(&path, text).expect("a note");
        unreadable.retain(|(known, _)| *known != path);
        // What Kuryr does not look for in a note is passed over, and may even be no text.
        if serde_json::from_slice::<IgnoredAny>(text).is_err() {
            unreadable.push((path, text));
        }
    }
    for _ in 0..2 {
        runtime().block_on(live(&mut host));
    }
    // Somebody may want to see what was in there.
    for (path, text) in unreadable {
        assert_eq!(
            fs::read(&path).expect("what was not read"),
            text,
            "{}",
            path.display()
        );
    }
});

async fn live(host: &mut Host) {
    let run = host.start();
    let network = json!({
        "NetworkID": "n1", "IPv4Data": [{"Pool": "10.20.0.0/24", "Gateway": "10.20.0.1/24"}],
    });
    let calls = [
        ("IpamDriver.RequestPool", json!({"Pool": "10.20.0.0/24"})),
        ("NetworkDriver.CreateNetwork", network),
        (
            "IpamDriver.RequestAddress",
            json!({"PoolID": "$PoolID", "Address": ""}),
        ),
        ("NetworkDriver.DeleteNetwork", json!({"NetworkID": "n1"})),
        ("IpamDriver.ReleasePool", json!({"PoolID": "$PoolID"})),
    ];
    host.ask_all(&run, calls).await;
    run.kuryr
        .settled(Instant::now() + Duration::from_secs(60))
        .await;
}
