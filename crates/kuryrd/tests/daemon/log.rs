//! The log, as a collector and a person find it.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::subject::{Daemon, Place, assert_activated};

#[test]
fn a_log_file_has_oslo_logs_lines() {
    let place = Place::new();
    let lines = format!("log_dir = {}\n", place.dir.path().display());
    let mut daemon = place.start("kuryr", &lines);
    assert_activated(&daemon.activate());
    let process = daemon.child.id().to_string();
    daemon.terminate();
    let log = fs::read_to_string(place.path("kuryr.log")).unwrap();
    assert!(log.lines().count() >= 3, "{log}");
    assert!(log.contains("[req-"), "{log}");
    for line in log.lines() {
        let mut words = line.splitn(7, ' ');
        let mut word = || words.next().unwrap();
        assert!(is_like(word(), "0000-00-00"), "{line}");
        assert!(is_like(word(), "00:00:00.000"), "{line}");
        assert_eq!(word(), process, "{line}");
        assert!(["INFO", "WARNING"].contains(&word()), "{line}");
        assert!(word().starts_with("kuryr"), "{line}");
        let request = word();
        let of_call = request.starts_with("[req-") && request.ends_with(']');
        assert!(request == "[-]" || of_call, "{line}");
        assert_ne!(word(), "", "{line}");
    }
}

/// Digits where the pattern has them, and the same characters elsewhere.
fn is_like(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text
            .chars()
            .zip(pattern.chars())
            .all(|(t, p)| if p == '0' { t.is_ascii_digit() } else { t == p })
}

#[test]
fn a_rotated_log_file_is_followed_by_a_new_one() {
    let place = Place::new();
    let log = place.path("k.log");
    let mut daemon = place.start("kuryr", &format!("log_file = {}\n", log.display()));
    fs::rename(&log, place.path("k.log.1")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.terminate();
    let new = fs::read_to_string(&log).unwrap();
    assert!(new.contains("SIGTERM"), "{new}");
}

#[test]
fn json_is_one_object_per_line() {
    let place = Place::new();
    let mut daemon = place.start("kuryr", "use_json = yes\n");
    daemon.terminate();
    for line in daemon.log().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["level"].is_string(), "{line}");
    }
}

#[test]
fn no_secret_is_logged_at_any_level() {
    let place = Place::new();
    let neutron = "[neutron]\nauth_type = password\nauth_url = http://127.0.0.1:1\n\
        username = kuryr\nuser_domain_id = d\npassword = hunter2-hunter2\nproject_id = p\n\
        token = hunter3-hunter3\napplication_credential_secret = hunter4-hunter4\n\
        passwort = hunter5-hunter5\n";
    let mut command = place.command("kuryr", neutron);
    command.env("KURYR_LOG", "trace");
    let mut daemon: Daemon = place.start_command("kuryr", command);
    assert_activated(&daemon.activate());
    assert_eq!(daemon.operator_asks("/readyz").status, 503);
    assert_eq!(daemon.terminate().code(), Some(0));
    let log = daemon.log();
    assert!(log.contains("did you mean password?"), "{log}");
    assert!(
        log.contains("127.0.0.1:1"),
        "or the password was never used: {log}"
    );
    for secret in ["hunter2", "hunter3", "hunter4", "hunter5"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}
