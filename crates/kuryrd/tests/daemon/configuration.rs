//! What is said of a configuration, right or wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::subject::{Place, program, run};

#[test]
fn all_mistakes_are_told_at_once() {
    let place = Place::new();
    let lines = "capability_scope = swarm\ndebug = perhaps\nnonsense\n\
        [neutron]\nauth_type = password\nauth_url = http://k\npassword = hunter2$nobody\n";
    let mut command = place.command("kuryr", lines);
    command.env("OS_BINDING__DEFAULT_DRIVER", "tap");
    let (code, said) = run(command);
    assert_eq!(code, Some(78));
    let said = said.replace(&place.dir.path().display().to_string(), "DIR");
    insta::assert_snapshot!(said, @r"
    kuryr: the configuration has 6 mistakes:
      DIR/kuryr.conf:5: [DEFAULT] capability_scope: `swarm` is not valid; valid are local, global
      DIR/kuryr.conf:6: [DEFAULT] debug: `perhaps` is not a switch; valid are true, false, yes, no, on, off, 1, 0
      DIR/kuryr.conf:7: neither `key = value`, a [section] nor a # comment
      DIR/kuryr.conf:11: [neutron] password: a `$` in it refers to no option that can be used; a dollar sign itself is written `$$`
      environment OS_BINDING__DEFAULT_DRIVER: [binding] default_driver: `tap` is not valid; valid are veth, macvlan, ipvlan, ipvlan_l3, vlan, hw_veb
      configuration: [neutron] username: neither username nor user_id is set
    ");
}

#[test]
fn a_missing_file_is_a_mistake() {
    let mut command = program();
    command.args(["serve", "--config-file", "/nonexistent/kuryr.conf"]);
    let (code, said) = run(command);
    assert_eq!(code, Some(78));
    assert!(
        said.contains("/nonexistent/kuryr.conf: cannot be read"),
        "{said}"
    );
}

#[test]
fn a_stranger_is_told_what_it_is() {
    let help = program().arg("--help").output().unwrap();
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("network and IPAM driver for Docker"),
        "{help}"
    );
    let version = program().arg("--version").output().unwrap();
    assert!(
        String::from_utf8(version.stdout)
            .unwrap()
            .starts_with("kuryr 0.")
    );
}

#[test]
fn it_answers_to_the_name_of_its_forerunner() {
    let place = Place::new();
    let forerunner = place.path("kuryr-server");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kuryr"), &forerunner).unwrap();
    let mut command = std::process::Command::new(forerunner);
    command.env_clear().env("HOME", place.dir.path());
    command
        .arg("--config-file")
        .arg(place.configure("kuryr", ""));
    command.args(["--debug", "--verbose"]);
    let daemon = place.start_command("kuryr", command);
    assert_eq!(daemon.activate().status, 200);
    assert!(daemon.log().contains(" DEBUG kuryr."), "{}", daemon.log());
}

#[test]
fn a_danger_is_told_on_the_standard_error_too_where_the_log_is_a_file() {
    let place = Place::new();
    let log = place.path("kuryr.log");
    let lines = format!(
        "kuryr_uri = http://0.0.0.0:0\nallow_insecure_tcp = true\nlog_file = {}\n",
        log.display()
    );
    let daemon = place.start("kuryr", &lines);
    let expected = "anyone who reaches http://0.0.0.0:0 can drive this host's networks";
    let said = daemon.log();
    assert!(said.starts_with(&format!("kuryr: {expected}")), "{said}");
    let logged = fs::read_to_string(log).unwrap();
    let of_error = |line: &str| line.contains(" ERROR ") && line.contains(expected);
    assert!(logged.lines().any(of_error), "{logged}");
}

#[test]
fn a_password_that_everyone_can_read_is_warned_of_at_start_and_by_a_check() {
    let place = Place::new();
    let neutron = "[neutron]\nauth_type = password\nauth_url = http://127.0.0.1:1\n\
        username = u\nuser_domain_id = d\npassword = hunter2\nproject_id = p\n";
    let conf = place.configure("kuryr", neutron);
    let path = conf.display();
    let expected = format!(
        "{path}: everyone on this host can read password in it (mode 644): run `chmod 640 {path}`"
    );
    for (mode, warned) in [(0o644, true), (0o640, false)] {
        fs::set_permissions(&conf, Permissions::from_mode(mode)).unwrap();
        let mut check = program();
        let output = check.args(["config", "check"]).arg(&conf).output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            said.contains(&format!("warning: {expected}\n")),
            warned,
            "{said}"
        );
        let mut serve = program();
        serve.arg("serve").arg("--config-file").arg(&conf);
        let log = place.start_command("kuryr", serve).log();
        let of_warning = |line: &str| line.contains(" WARNING ") && line.contains(&expected);
        assert_eq!(log.lines().any(of_warning), warned, "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[test]
fn the_sample_is_a_configuration_that_starts() {
    let sample = program().args(["config", "sample"]).output().unwrap();
    assert!(sample.status.success());
    let text = String::from_utf8(sample.stdout).unwrap();
    assert!(text.contains("[DEFAULT]") && text.contains("[neutron]"));
    // With every default taken at its word, too; what has none stays out.
    let defaults: String = text
        .lines()
        .filter(|line| !line.starts_with("# "))
        .filter(|line| !line.ends_with(" ="))
        .map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line)))
        .collect();
    assert!(defaults.contains("\nenable_dhcp = True\n"), "{defaults}");
    let place = Place::new();
    for text in [text, defaults] {
        let file = place.path("sample.conf");
        fs::write(&file, text).unwrap();
        let mut check = program();
        check.args(["config", "check"]).arg(&file);
        let (code, said) = run(check);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn a_file_is_checked_without_starting() {
    let place = Place::new();
    let file = place.path("wrong.conf");
    fs::write(&file, "[DEFAULT]\ndebug = perhaps\nno_such = 1\n").unwrap();
    let check = |file: &std::path::Path| {
        let mut check = program();
        check.args(["config", "check"]).arg(file);
        check.output().unwrap()
    };
    let wrong = check(&file);
    assert_eq!(wrong.status.code(), Some(78));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        said.contains("wrong.conf:2: [DEFAULT] debug: `perhaps`"),
        "{said}"
    );
    fs::write(&file, "[DEFAULT]\nhots = 1\nverbose = 1\n").unwrap();
    let right = check(&file);
    assert_eq!(right.status.code(), Some(0));
    let said = String::from_utf8(right.stdout).unwrap();
    for expected in ["read ", "warning: ", "hots", "note: ", "would start"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
