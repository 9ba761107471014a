//! What Docker, or whoever reaches the socket, sends: some requests in turn, `METHOD PATH` and a body.
#![no_main]

use kuryr_fuzz::{Host, first_line, messages, runtime};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    runtime().block_on(async {
        let mut host = Host::new();
        let run = host.start();
        for message in messages(input) {
            let (line, body) = first_line(message);
            let (method, path) = line.split_once(' ').unwrap_or(("POST", line));
            host.ask(&run, method, path, body).await;
        }
    });
});
