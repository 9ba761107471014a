//! Programs of the operator's: real ones, written in shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use kuryr_testkit::{netns_test, run};
use kuryr_vif::{Attachment, Binding, Error, Host, HostSettings, Instant, Plug, Switch, Vif};

use super::host::*;

const FOLDER: &str = "/run/programs";
const SAID: &str = "/run/said";
const NOTES: &str = "/run/kuryr/plugged";

fn host() -> Host {
    Host::new(HostSettings {
        ovsdb: None,
        programs: FOLDER.into(),
        notes: NOTES.into(),
    })
}

fn midonet(number: u8) -> Vif {
    let vif = vif(number);
    let Attachment {
        interface_id,
        owner,
        ..
    } = &vif.attachment;
    let switch = Switch::Program(Binding {
        program: "midonet".parse().unwrap(),
        mac: vif.mac,
        network: "network-1".into(),
        project: String::new(),
        details: r#""{'port_filter': True, 'a': 'b c; $(id) "}'}""#.into(),
    });
    let attachment = Attachment::of_port(interface_id, owner, switch).unwrap();
    Vif { attachment, ..vif }
}

/// A program that writes down its arguments, one a line, and then does as `script` says.
fn install(script: &str) {
    fs::create_dir_all(FOLDER).unwrap();
    let program = format!("{FOLDER}/midonet");
    let text =
        format!("#!/bin/sh\nfor word in \"$@\"; do echo \"$word\" >>{SAID}; done\n{script}\n");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What the program was told since the last time.
fn told() -> Vec<String> {
    let said = fs::read_to_string(SAID).unwrap_or_default();
    let _ = fs::remove_file(SAID);
    said.lines().map(str::to_owned).collect()
}

fn notes() -> usize {
    fs::read_dir(NOTES).map_or(0, Iterator::count)
}

const BIND: [&str; 8] = [
    "bind",
    "00000001-4e5f-6071-8293-a4b5c6d7e8f9",
    "tap00000001-4e",
    "endpoint-1",
    "fa:16:3e:00:00:01",
    "network-1",
    "",
    r#""{'port_filter': True, 'a': 'b c; $(id) "}'}""#,
];
const UNBIND: [&str; 7] = [
    "unbind",
    "00000001-4e5f-6071-8293-a4b5c6d7e8f9",
    "tap00000001-4e",
    "endpoint-1",
    "fa:16:3e:00:00:01",
    r#""{'port_filter': True, 'a': 'b c; $(id) "}'}""#,
    "network-1",
];

netns_test! {
    async fn a_program_is_told_what_the_python_daemon_told_it() {
        // It finds the interface there, up.
        install("[ $1 = unbind ] || ip link show $3 | grep -q ,UP");
        let vif = midonet(1);
        plug(&host(), &vif).await;
        assert_eq!(told(), BIND);
        assert!(host().wired(&vif.attachment, within(1)).await.unwrap());
        plug(&host(), &vif).await;
        assert_eq!(told(), [""; 0], "plugging twice is plugging once");
        let found = host().attachments("endpoint-1").await.unwrap();
        assert_eq!(found, std::slice::from_ref(&vif.attachment));
        assert_eq!(host().attachments("endpoint-2").await.unwrap(), []);
        unplug(&host(), &vif).await;
        assert_eq!(told(), UNBIND);
        unplug(&host(), &vif).await;
        assert_eq!(told(), [""; 0], "what is gone is gone");
        assert!(veths().is_empty(), "{:?}", veths());
        assert_eq!(notes(), 0);
    }
}

netns_test! {
    async fn an_interface_that_vanished_is_bound_anew() {
        install("true");
        let vif = midonet(1);
        plug(&host(), &vif).await;
        told();
        run("ip", "link delete tap00000001-4e");
        plug(&host(), &vif).await;
        assert_eq!(told(), [UNBIND.as_slice(), BIND.as_slice()].concat());
        // Without its interface it is unbound all the same.
        run("ip", "link delete tap00000001-4e");
        let found = host().all_attachments().await.unwrap();
        unplug(&host(), &Vif { attachment: found[0].clone(), ..vif }).await;
        assert_eq!(told(), UNBIND);
    }
}

netns_test! {
    async fn a_programs_failure_is_believed_shown_and_undone() {
        install("echo working\necho 'no such \"host\" in the zone' >&2\n[ $1 = unbind ] || exit 3");
        let vif = midonet(1);
        let error = host().plug(&vif, within(10)).await.unwrap_err();
        let said = chain(&error);
        for part in ["could not bind tap00000001-4e", "/run/programs/midonet", "exit status: 3", "working / no such \"host\" in the zone"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(told(), [BIND.as_slice(), UNBIND.as_slice()].concat());
        assert!(veths().is_empty(), "{:?}", veths());
        assert_eq!(notes(), 0);
    }
}

netns_test! {
    async fn what_could_not_be_unbound_is_unbound_later() {
        install("[ $1 = bind ]");
        let vif = midonet(1);
        plug(&host(), &vif).await;
        let error = host().unplug(&vif.attachment, within(10)).await.unwrap_err();
        assert!(error.to_string().contains("could not unbind") && error.to_string().contains("said nothing"), "{error}");
        assert!(veths().is_empty(), "the rest is done: {:?}", veths());
        install("true");
        told();
        let found = host().attachments("endpoint-1").await.unwrap();
        assert_eq!(found, std::slice::from_ref(&vif.attachment));
        unplug(&host(), &vif).await;
        assert_eq!(told(), UNBIND);
        assert_eq!(notes(), 0);
    }
}

netns_test! {
    async fn a_program_that_hangs_is_ended_with_all_its_children() {
        install("[ $1 = unbind ] && exit 0\nsleep 1000 &\necho waiting >&2\nsleep 1000");
        let begun = Instant::now();
        let error = host().plug(&midonet(1), begun + Duration::from_secs(1)).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        let said = chain(&error);
        assert!(said.contains("was ended after ") && said.contains(": waiting"), "{said}");
        let running = run("busybox", "ps");
        assert!(!running.contains("sleep 1000"), "{running}");
        assert!(veths().is_empty(), "{:?}", veths());
    }
}

netns_test! {
    async fn a_program_that_leaves_a_daemon_behind_keeps_nobody_waiting() {
        install("[ $1 = unbind ] || setsid sleep 30 &");
        let begun = Instant::now();
        plug(&host(), &midonet(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

netns_test! {
    async fn a_program_does_not_see_the_daemons_environment() {
        install("env >/run/environment; env | grep -q CARGO && exit 4; exit 0");
        plug(&host(), &midonet(1)).await;
        let environment = fs::read_to_string("/run/environment").unwrap();
        let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{environment}");
    }
}

netns_test! {
    async fn a_missing_program_is_named_with_what_to_do_and_leaves_nothing() {
        let vif = midonet(1);
        let error = host().plug(&vif, within(5)).await.unwrap_err();
        assert!(matches!(error, Error::NoProgram { .. }), "{}", chain(&error));
        let said = chain(&error);
        for part in ["/run/programs/midonet", "bindir", "mechanism_drivers", "No such file"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(veths().is_empty(), "{:?}", veths());
        assert_eq!(notes(), 0);
        let mut vhost = vif;
        if let Switch::Program(binding) = &mut vhost.attachment.switch {
            binding.program = "vhostuser".parse().unwrap();
        }
        let said = chain(&host().plug(&vhost, within(5)).await.unwrap_err());
        assert!(said.contains("interface of the kernel"), "{said}");
        assert!(veths().is_empty(), "{:?}", veths());
    }
}
