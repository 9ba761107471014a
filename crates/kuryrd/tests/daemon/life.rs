//! Starting, ending, and everything in between that is not a call.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::subject::{Place, ask, assert_activated, run};

#[test]
fn sigterm_ends_it_with_success_and_removes_its_sockets() {
    let place = Place::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = place.start("kuryr", "");
        assert_activated(&daemon.activate());
        daemon.signal(signal);
        assert_eq!(daemon.notification(), "STOPPING=1");
        assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log());
        assert!(!daemon.socket.exists());
        assert!(!daemon.admin.exists());
    }
}

#[test]
fn after_kill_it_starts_again() {
    let place = Place::new();
    let mut daemon = place.start("kuryr", "");
    daemon.kill();
    assert!(daemon.socket.exists(), "or the test proves nothing");
    assert_activated(&place.start("kuryr", "").activate());
}

#[test]
fn sighup_does_no_harm() {
    let place = Place::new();
    let mut daemon = place.start("kuryr", "");
    daemon.signal(Signal::HUP);
    assert_activated(&daemon.activate());
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn a_running_call_is_waited_for_unless_a_second_sigterm_comes() {
    let place = Place::new();
    let silent = "[neutron]\nauth_type = none\nendpoint = http://192.0.2.1:9696\n";
    let mut daemon = place.start("kuryr", silent);
    let _running = daemon.request_pool();
    std::thread::sleep(Duration::from_millis(300));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.notification(), "STOPPING=1");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.child.try_wait().unwrap(), None, "{}", daemon.log());
    assert_eq!(daemon.terminate().code(), Some(1), "{}", daemon.log());
}

#[test]
fn an_idle_connection_neither_times_out_nor_delays_the_end() {
    let place = Place::new();
    let mut daemon = place.start("kuryr", "");
    let mut idle = UnixStream::connect(&daemon.socket).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    idle.write_all(b"POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut buffer = [0; 512];
    let length = idle.read(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"HTTP/1.1 200"));
    let asked = Instant::now();
    assert_eq!(daemon.terminate().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[test]
fn docker_is_answered_at_once_although_nothing_can_be_reached() {
    let place = Place::new();
    // Addresses for documentation: nobody answers, and nobody refuses either.
    let neutron = "[neutron]\nauth_type = password\nauth_url = http://192.0.2.1:5000\n\
        username = u\nuser_domain_id = d\npassword = p\nproject_id = p\n";
    let command = place.command("kuryr", neutron);
    let started = Instant::now();
    let daemon = place.start_command("kuryr", command);
    assert_activated(&daemon.activate());
    // 50 ms is what it must take; the rest is for unoptimised code on a busy machine.
    let limit = if cfg!(debug_assertions) { 1500 } else { 250 };
    let took = started.elapsed();
    assert!(took < Duration::from_millis(limit), "{took:?}");
}

#[test]
fn two_drivers_live_side_by_side_under_two_names() {
    let place = Place::new();
    let first = place.start("kuryr", "");
    let mut second = place.start("other", "");
    assert_activated(&first.activate());
    assert_activated(&second.activate());
    assert_eq!(second.terminate().code(), Some(0));
    assert_activated(&first.activate());
}

#[test]
fn an_unknown_method_is_answered_404_and_a_wrong_verb_405() {
    let place = Place::new();
    let daemon = place.start("kuryr", "");
    let asked = |method: &str, path: &str| {
        ask(UnixStream::connect(&daemon.socket).unwrap(), method, path).status
    };
    assert_eq!(asked("POST", "/NetworkDriver.NoSuchThing"), 404);
    assert_eq!(asked("GET", "/Plugin.Activate"), 405);
}

#[test]
fn a_journal_of_a_newer_version_is_refused_with_what_to_do_and_left_alone() {
    let place = Place::new();
    let mut daemon = place.start("kuryr", "");
    assert_eq!(daemon.terminate().code(), Some(0));
    let journal = place.path("kuryr.state/kuryr");
    std::fs::write(journal.join("version"), "1000\n").unwrap();
    std::fs::write(journal.join("debt-port-1.json"), "what only that one knows").unwrap();
    let content = || {
        let files = std::fs::read_dir(&journal).unwrap();
        let mut files: Vec<_> = files
            .map(|file| file.unwrap())
            .map(|file| (file.file_name(), std::fs::read(file.path()).unwrap()))
            .collect();
        files.sort_unstable();
        files
    };
    let before = content();
    let (code, said) = run(place.command("kuryr", "use_stderr = yes\n"));
    assert_eq!(code, Some(1), "{said}");
    let expected = format!(
        "{} was written by a newer Kuryr (version 1000, this one knows up to 1): start that one",
        journal.display()
    );
    assert!(said.contains(&expected), "{said}");
    assert_eq!(content(), before);
    assert!(
        !place.path("kuryr.sock").exists(),
        "Docker would be answered"
    );
}
