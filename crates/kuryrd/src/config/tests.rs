//! What a configuration comes to, from the files to the settings.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use keystone::{Auth, Domain, Project, Scope, User};
use proptest::prelude::*;
use secrecy::ExposeSecret;

use kuryr_core::Driver;

use super::options::{self, Kind};
use super::*;
use crate::listen::Address;

/// Loads these files, in their order, under this environment.
fn load_with(files: &[&str], environment: &[(&str, &str)]) -> Result<Loaded, String> {
    let temp = tempfile::tempdir().unwrap();
    let mut command_line = CommandLine::default();
    for (number, text) in files.iter().enumerate() {
        let path = temp.path().join(format!("{number}.conf"));
        write_for_its_group(&path, text);
        command_line.named.push(Named::File(path));
    }
    let environment = environment
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    load(command_line, environment, temp.path()).map_err(|mistakes| {
        let folder = format!("{}/", temp.path().display());
        mistakes.to_string().replace(&folder, "")
    })
}

/// With a mode that nobody is warned of.
fn write_for_its_group(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
}

fn loaded(text: &str) -> Loaded {
    load_with(&[text], &[]).unwrap()
}

fn refusal(text: &str) -> String {
    load_with(&[text], &[]).unwrap_err()
}

const PASSWORD: &str = "[neutron]\nauth_type = password\nauth_url = http://keystone:5000\n\
    username = kuryr\npassword = hunter2\nuser_domain_name = Default\n\
    project_name = service\nproject_domain_id = default\n";

#[test]
fn nothing_configured_is_the_default_of_every_option() {
    let loaded = load_with(&[], &[]).unwrap();
    let settings = loaded.settings;
    assert_eq!(loaded.dangers, Vec::<String>::new());
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(settings.listen.address, Address::default());
    assert_eq!(settings.docker.call_timeout, Duration::from_secs(25));
    assert_eq!(settings.neutron.vif_plugging_timeout, None);
    assert_eq!(
        settings.binding.ovsdb,
        Some(PathBuf::from("/run/openvswitch/db.sock"))
    );
    assert!(settings.session.is_none());
}

#[test]
fn the_command_line_beats_the_environment_beats_a_later_file_beats_an_earlier_one() {
    let earlier = "[DEFAULT]\nhost = a\nsubnetpool_name_prefix = a\n[neutron]\nregion_name = a\n";
    let later = "[DEFAULT]\nhost = b\nsubnetpool_name_prefix = b\n";
    let environment = [("OS_DEFAULT__HOST", "c")];
    let settings = load_with(&[earlier, later], &environment).unwrap().settings;
    assert_eq!(settings.host.as_deref(), Some("c"));
    assert_eq!(settings.neutron.subnetpool_name_prefix, "b");

    let command_line = CommandLine {
        values: BTreeMap::from([(("DEFAULT", "host"), "d".to_owned())]),
        ..CommandLine::default()
    };
    let environment = BTreeMap::from([("OS_DEFAULT__HOST".to_owned(), "c".to_owned())]);
    let temp = tempfile::tempdir().unwrap();
    let settings = load(command_line, environment, temp.path())
        .unwrap()
        .settings;
    assert_eq!(settings.host.as_deref(), Some("d"));
}

#[test]
fn the_variables_of_the_python_daemon_are_honoured() {
    let environment = [
        ("OS_KURYR_URI", "http://127.0.0.1:1"),
        ("CAPABILITY_SCOPE", "global"),
    ];
    let settings = load_with(&[], &environment).unwrap().settings;
    assert_eq!(settings.listen.address.to_string(), "http://127.0.0.1:1");
    assert_eq!(settings.docker.scope, CapabilityScope::Global);
}

#[test]
fn a_password_becomes_a_session() {
    let session = loaded(PASSWORD).settings.session.unwrap();
    let Auth::Password {
        auth_url,
        user,
        password,
        scope,
    } = session.auth
    else {
        panic!("{session:?}")
    };
    assert_eq!(auth_url.as_str(), "http://keystone:5000");
    assert_eq!(password.expose_secret(), "hunter2");
    assert_eq!(
        user,
        User::Name {
            name: "kuryr".into(),
            domain: Domain::Name("Default".into())
        }
    );
    assert_eq!(
        scope,
        Scope::Project(Project::Name {
            name: "service".into(),
            domain: Domain::Id("default".into())
        })
    );
}

#[test]
fn of_a_domains_id_and_its_name_the_id_counts() {
    let both = "user_domain_id = u\nproject_domain_name = Other\n";
    let session = loaded(&format!("{PASSWORD}{both}")).settings.session;
    let Auth::Password { user, scope, .. } = session.unwrap().auth else {
        panic!("no password")
    };
    let User::Name { domain, .. } = user else {
        panic!("{user:?}")
    };
    assert_eq!(domain, Domain::Id("u".into()));
    let Scope::Project(Project::Name { domain, .. }) = scope else {
        panic!("{scope:?}")
    };
    assert_eq!(domain, Domain::Id("default".into()));
}

#[test]
fn old_names_count_and_are_warned_of() {
    let text = "[neutron]\nauth_plugin = v3password\nauth_url = http://k\nuser-name = u\n\
        password = p\nuser_domain_id = d\ntenant_id = t\n[binding]\ndriver = kuryr.lib.binding.drivers.veth\n";
    let loaded = loaded(text);
    assert!(loaded.settings.session.is_some());
    insta::assert_snapshot!(loaded.warnings.join("\n"), @r"
    [binding] driver is deprecated: call it default_driver
    [neutron] auth_plugin is deprecated: call it auth_type
    [neutron] tenant_id is deprecated: call it project_id
    [neutron] user_name is deprecated: call it username
    ");
}

#[test]
fn credentials_may_stand_in_a_section_of_their_own() {
    let text = "[neutron]\nauth_section = Keystone\nregion_name = One\n[keystone]\n\
        auth_type = v3applicationcredential\nauth_url = http://k/v3\n\
        application_credential_id = i\napplication_credential_secret = s\n";
    let loaded = loaded(text);
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let session = loaded.settings.session.unwrap();
    assert_eq!(session.endpoint.region.as_deref(), Some("One"));
    assert!(matches!(session.auth, Auth::ApplicationCredential { .. }));
}

#[test]
fn a_neutron_without_keystone_needs_an_endpoint() {
    let none = loaded("[neutron]\nauth_type = none\nendpoint_override = http://n:9696\n");
    assert!(matches!(
        none.settings.session.unwrap().auth,
        Auth::None { .. }
    ));
    let basic =
        "[neutron]\nauth_type = http_basic\nendpoint = http://n\nusername = u\npassword = p";
    assert!(loaded(basic).settings.session.is_some());
    assert!(refusal("[neutron]\nauth_type = none\n").contains("[neutron] endpoint: is needed"));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = "stray = 1\n[DEFAULT]\nkuryr_uri = tcp://1.2.3.4\ncapability_scope = swarm\n\
        enabled_port_drivers = veth, kuryr_libnetwork.port_driver.drivers.vhost\n\
        docker_call_timeout = soon\ndebug = maybe\nbindir = here\nno assignment\n\
        host = $nothing\nsubnetpool_name_prefix = $subnetpool_name_prefix\n\
        [binding]\nveth_dst_prefix = longer-than-twelve\novsdb_connection = tcp:1.2.3.4:6640\n\
        [neutron]\nauth_type = password\nauth_url = keystone:5000\nusername = kuryr\n\
        vif_plugging_timeout = -1\nendpoint_type = secret\ntimeout = nan\ntrust_id = t\n";
    insta::assert_snapshot!(refusal(text), @r"
    the configuration has 19 mistakes:
      0.conf:1: an option needs a [section] line above it
      0.conf:3: [DEFAULT] kuryr_uri: `tcp://1.2.3.4` is not an address to listen at; valid are unix:///PATH, http://HOST:PORT and https://HOST:PORT
      0.conf:4: [DEFAULT] capability_scope: `swarm` is not valid; valid are local, global
      0.conf:5: [DEFAULT] enabled_port_drivers: `vhost` is not valid; valid are veth, nested, vlan, sriov
      0.conf:6: [DEFAULT] docker_call_timeout: `soon` is not a number of seconds; valid are 0 and more
      0.conf:7: [DEFAULT] debug: `maybe` is not a switch; valid are true, false, yes, no, on, off, 1, 0
      0.conf:8: [DEFAULT] bindir: `here` is not an absolute path
      0.conf:9: neither `key = value`, a [section] nor a # comment
      0.conf:10: [DEFAULT] host: `$nothing` names no option; a dollar sign itself is written `$$`
      0.conf:11: [DEFAULT] subnetpool_name_prefix: `$subnetpool_name_prefix` leads back to where it is used, by way of subnetpool_name_prefix
      0.conf:13: [binding] veth_dst_prefix: `longer-than-twelve` is not valid; valid are 1 to 12 bytes
      0.conf:14: [binding] ovsdb_connection: `tcp:1.2.3.4:6640` is not valid; valid are unix:/PATH, /PATH, and nothing where there is no Open vSwitch
      0.conf:17: [neutron] auth_url: this is not a URL to use: not a URL that starts with http:// or https:// and a host
      0.conf:18: [neutron] username: is unique in a domain only: give user_domain_name or user_domain_id too
      0.conf:19: [neutron] vif_plugging_timeout: `-1` is not valid; valid are 0 and more
      0.conf:20: [neutron] endpoint_type: `secret` is not valid; valid are public, internal, admin
      0.conf:21: [neutron] timeout: `nan` is not a number of seconds; valid are 0 and more
      0.conf:22: [neutron] trust_id: trusts are not supported
      configuration: [neutron] password: is needed with this auth_type, and not set
    ");
}

#[test]
fn half_a_set_of_credentials_is_a_mistake() {
    let text = PASSWORD.replace("auth_type = password\n", "");
    insta::assert_snapshot!(refusal(&text), @r"
    the configuration has a mistake:
      configuration: [neutron] auth_type: is not set; valid are password, v3password, token, v3token, v3applicationcredential, none, http_basic
    ");
}

#[test]
fn a_wrong_variable_is_named() {
    insta::assert_snapshot!(load_with(&[], &[("OS_DEFAULT__DEBUG", "2")]).unwrap_err(), @r"
    the configuration has a mistake:
      environment OS_DEFAULT__DEBUG: [DEFAULT] debug: `2` is not a switch; valid are true, false, yes, no, on, off, 1, 0
    ");
}

#[test]
fn what_nothing_reads_is_warned_of_once_and_the_rest_is_accepted() {
    let text = "[DEFAULT]\nkuryr_url = x\npybasedir = /usr\n[neutron]\nauth_uri = http://k\n\
        [default]\na = b\nc = d\n[oslo_concurrency]\nlock_path = /l\n";
    let loaded = loaded(text);
    let strip = |lines: Vec<String>| -> String {
        let cut = |line: &String| line[line.find("0.conf").unwrap()..].to_owned();
        lines.iter().map(cut).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(strip(loaded.warnings), @r"
    0.conf:2: [DEFAULT] kuryr_url is not an option of kuryr and is ignored (did you mean kuryr_uri?)
    0.conf:6: [default] is not a section of kuryr and is ignored (did you mean [DEFAULT]?)
    0.conf:9: [oslo_concurrency] is not a section of kuryr and is ignored
    ");
    insta::assert_snapshot!(strip(loaded.ignored), @r"
    0.conf:3: [DEFAULT] pybasedir has no effect here
    0.conf:5: [neutron] auth_uri has no effect here
    ");
}

#[test]
fn drivers_that_go_together_are_taken() {
    let drivers = |content: &str| {
        let loaded = loaded(content);
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{content}");
        loaded.settings.binding.drivers
    };
    let plain = Drivers {
        default: Driver::Veth,
        enabled: vec![Driver::Veth],
        link_iface: None,
        cards: vec![],
    };
    assert_eq!(drivers(""), plain);
    let full_paths = "[DEFAULT]\ndefault_port_driver = kuryr_libnetwork.port_driver.drivers.veth\nenabled_port_drivers = veth\n\
        [binding]\ndefault_driver = kuryr.lib.binding.drivers.veth\nenabled_drivers =\nlink_iface =\n";
    assert_eq!(drivers(full_paths), plain);
    let nested = "[DEFAULT]\ndefault_port_driver = nested\nenabled_port_drivers = nested\n\
        [binding]\ndefault_driver = kuryr.lib.binding.drivers.macvlan\nenabled_drivers = macvlan, ipvlan, veth\nlink_iface = ens3\n";
    assert_eq!(
        drivers(nested),
        Drivers {
            default: Driver::Macvlan,
            // No port driver is enabled for the third.
            enabled: vec![Driver::Macvlan, Driver::Ipvlan],
            link_iface: Some("ens3".parse().unwrap()),
            cards: vec![],
        }
    );
    let trunk = "[DEFAULT]\ndefault_port_driver = vlan\nenabled_port_drivers = vlan\n\
        [binding]\ndefault_driver = vlan\nenabled_drivers = vlan\nlink_iface = ens3\n";
    let vlan = vec![Driver::Vlan];
    assert_eq!(
        (drivers(trunk).default, drivers(trunk).enabled),
        (Driver::Vlan, vlan)
    );
    let sriov = "[DEFAULT]\ndefault_port_driver = sriov\nenabled_port_drivers = veth, sriov\n\
        [binding]\ndefault_driver = kuryr.lib.binding.drivers.hw_veb\nenabled_drivers = veth, hw_veb\n\
        [sriov]\nphysical_device_mappings = physnet2:ens1f0, physnet3:ens1f1\n";
    let card = |on: &str, card: &str| (on.to_owned(), card.parse().unwrap());
    assert_eq!(
        drivers(sriov),
        Drivers {
            default: Driver::HwVeb,
            enabled: vec![Driver::Veth, Driver::HwVeb],
            link_iface: None,
            cards: vec![card("physnet2", "ens1f0"), card("physnet3", "ens1f1")],
        }
    );
}

#[test]
fn drivers_that_do_not_go_together_are_refused_with_those_that_do() {
    let nested = "[DEFAULT]\ndefault_port_driver = nested\nenabled_port_drivers = veth, nested\n";
    for (content, mistakes) in [
        (
            "[binding]\ndefault_driver = macvlan\nenabled_drivers = macvlan\n",
            "default_port_driver = nested with default_driver = macvlan, ipvlan or ipvlan_l3",
        ),
        (
            nested,
            "default_port_driver = veth with default_driver = veth",
        ),
        (
            "[DEFAULT]\ndefault_port_driver = nested\n[binding]\ndefault_driver = ipvlan\nenabled_drivers = ipvlan\n",
            "not among enabled_port_drivers",
        ),
        (
            &format!(
                "{nested}[binding]\ndefault_driver = ipvlan_l3\nenabled_drivers = ipvlan, ipvlan_l3\n"
            ),
            "ipvlan and ipvlan_l3 do not go together",
        ),
        (
            &format!("{nested}[binding]\ndefault_driver = macvlan\n"),
            "not among enabled_drivers",
        ),
        (
            "[DEFAULT]\ndefault_port_driver = sriov\n[binding]\ndefault_driver = macvlan\n",
            "default_port_driver = sriov with default_driver = hw_veb",
        ),
        (
            "[DEFAULT]\ndefault_port_driver = sriov\nenabled_port_drivers = sriov\n[binding]\n\
             default_driver = hw_veb\nenabled_drivers = hw_veb\n",
            "[sriov] physical_device_mappings: is needed with hw_veb",
        ),
        (
            "[sriov]\nphysical_device_mappings = ens1f0\n",
            "valid is PHYSICAL_NETWORK:INTERFACE",
        ),
        (
            "[DEFAULT]\ndefault_port_driver = nested\n[binding]\ndefault_driver = vlan\n",
            "default_port_driver = vlan with default_driver = vlan",
        ),
        (
            &format!(
                "{nested}[binding]\ndefault_driver = macvlan\nenabled_drivers = macvlan\nlink_iface = a/b\n"
            ),
            "not an interface name",
        ),
        (
            &format!(
                "{nested}[binding]\ndefault_driver = macvlan\nenabled_drivers = macvlan\n[standalone]\nenabled = true\n"
            ),
            "valid is veth",
        ),
    ] {
        let told = refusal(content);
        assert!(told.contains(mistakes), "{content}: {told}");
    }
}

#[test]
fn what_has_no_effect_without_a_driver_is_told() {
    let content = "[DEFAULT]\nenabled_port_drivers = veth, sriov\n[binding]\nenabled_drivers = veth, vlan\nlink_iface = eth0\n\
        [sriov]\nphysical_device_mappings = physnet2:ens1f0\n";
    insta::assert_snapshot!(loaded(content).warnings.join("\n"), @r"
    [binding] link_iface has no effect: neither macvlan, ipvlan, ipvlan_l3 nor vlan is enabled (enabled_drivers, enabled_port_drivers)
    [sriov] physical_device_mappings has no effect: hw_veb is not enabled (enabled_drivers, enabled_port_drivers)
    ");
}

#[test]
fn a_host_without_open_vswitch_says_so() {
    let settings = loaded("[binding]\novsdb_connection =\n").settings;
    assert_eq!(settings.binding.ovsdb, None);
}

#[test]
fn open_vswitch_is_looked_for_in_a_guest_only_where_it_is_said_to_be() {
    let of = |ports: &str, drivers: &str, more: &str| {
        let text = format!(
            "[DEFAULT]\ndefault_port_driver = vlan\nenabled_port_drivers = {ports}\n\
             [binding]\ndefault_driver = vlan\nenabled_drivers = {drivers}\n{more}"
        );
        loaded(&text).settings.binding.ovsdb
    };
    let usual = Some(PathBuf::from("/run/openvswitch/db.sock"));
    assert_eq!(of("vlan", "vlan", ""), None);
    assert_eq!(of("vlan", "vlan, veth", ""), None);
    assert_eq!(of("vlan, veth", "vlan, veth", ""), usual);
    let said = of("vlan", "vlan", "ovsdb_connection = /run/ovs/db.sock\n");
    assert_eq!(said, Some(PathBuf::from("/run/ovs/db.sock")));
}

#[test]
fn a_value_may_refer_to_another() {
    let text = "[DEFAULT]\nhost = node-${binding.veth_dst_prefix}$$\nstate_path = /s/$host\n\
        [neutron]\nregion_name = $capability_scope\n";
    let settings = loaded(text).settings;
    assert_eq!(settings.host.as_deref(), Some("node-eth$"));
    assert_eq!(settings.state_path, PathBuf::from("/s/node-eth$"));
}

#[test]
fn tls_needs_a_socket_that_can_speak_it() {
    let settings = loaded("[DEFAULT]\nkuryr_uri = http://127.0.0.1:1\nenable_ssl = yes").settings;
    assert!(settings.listen.tls.is_some());
    assert!(refusal("[DEFAULT]\nenable_ssl = yes").contains("[DEFAULT] enable_ssl: TLS needs"));
}

/// Python defect 29: it served TCP to everyone.
#[test]
fn an_address_that_others_can_reach_needs_their_certificates_or_the_users_word() {
    for open in ["http://0.0.0.0:1", "http://[::]:1", "http://node.example:1"] {
        let lines = format!("[DEFAULT]\nkuryr_uri = {open}\n");
        let told = refusal(&lines);
        let expected = format!("0.conf:2: [DEFAULT] kuryr_uri: anyone who reaches {open} can");
        assert!(told.contains(&expected), "{told}");
        let danger = loaded(&format!("{lines}allow_insecure_tcp = true\n")).dangers;
        assert!(danger.join("").contains("allow_insecure_tcp is on"));
    }
    let encrypted = "[DEFAULT]\nkuryr_uri = http://0.0.0.0:1\nenable_ssl = yes\n";
    let told = refusal(encrypted);
    assert!(told.contains("set ssl_ca_file"), "{told}");
    let encrypted = loaded(&format!("{encrypted}ssl_require_client_cert = no\n"));
    assert_eq!(encrypted.dangers, Vec::<String>::new());
    assert!(
        encrypted
            .warnings
            .concat()
            .contains("ssl_require_client_cert is off")
    );
}

#[test]
fn an_address_that_only_this_host_or_the_certified_reach_is_no_danger() {
    for closed in [
        "https://0.0.0.0:1\nssl_ca_file = /ca.pem",
        "http://127.0.0.2:1",
        "https://127.0.0.1:1",
        "http://[::1]:1",
        "http://localhost:1",
        "unix:///run/x.sock",
    ] {
        let loaded = loaded(&format!("[DEFAULT]\nkuryr_uri = {closed}\n"));
        let told = (loaded.dangers.concat(), loaded.warnings.concat());
        assert_eq!(told, (String::new(), String::new()), "{closed}");
    }
}

#[test]
fn operators_are_not_promised_a_secure_connection() {
    let refused = |uri: &str| refusal(&format!("[DEFAULT]\nadmin_uri = {uri}\n"));
    insta::assert_snapshot!(refused("https://127.0.0.1:1"), @r"
    the configuration has a mistake:
      0.conf:2: [DEFAULT] admin_uri: `https://127.0.0.1:1` is not served with TLS; valid are unix:///PATH, http://HOST:PORT, and nothing, which turns it off
    ");
    insta::assert_snapshot!(refused("admin.sock"), @r"
    the configuration has a mistake:
      0.conf:2: [DEFAULT] admin_uri: `admin.sock` is not an address to listen at; valid are unix:///PATH, http://HOST:PORT, and nothing, which turns it off
    ");
    let admin = |uri: &str| {
        loaded(&format!("[DEFAULT]\nadmin_uri = {uri}\n"))
            .settings
            .admin
    };
    assert_eq!(admin(""), None);
    assert!(admin("http://127.0.0.1:1").is_some());
}

#[test]
fn a_neutron_of_our_own_is_off_unless_asked_for() {
    assert!(
        loaded("[standalone]\nneutron_listen = 127.0.0.1:9696\n")
            .settings
            .standalone
            .is_none()
    );
    let settings = loaded("[DEFAULT]\nstate_path = /s\n[standalone]\nenabled = yes\n").settings;
    let standalone = settings.standalone.unwrap();
    assert_eq!(standalone.database, PathBuf::from("/s/neutron.db"));
    assert_eq!(standalone.listen, None);
}

#[test]
fn there_is_one_neutron() {
    let both = format!("{PASSWORD}[standalone]\nenabled = true\n");
    insta::assert_snapshot!(refusal(&both), @r"
    the configuration has a mistake:
      0.conf:10: [standalone] enabled: auth_type in [neutron] names another Neutron: leave one of the two away
    ");
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kuryr.conf");
    write_for_its_group(&path, PASSWORD);
    let flag = CommandLine {
        named: vec![Named::File(path)],
        values: BTreeMap::from([(("standalone", "enabled"), "true".to_owned())]),
    };
    let loaded = load(flag, BTreeMap::new(), temp.path()).unwrap();
    assert!(loaded.settings.standalone.is_some() && loaded.settings.session.is_none());
    insta::assert_snapshot!(loaded.warnings.join("\n"), @"[neutron] auth_type has no effect: --standalone takes a Neutron of the program's own");
}

#[test]
fn a_secret_is_exposed_by_a_file_that_everyone_can_read_and_that_gives_one() {
    const NONE: &str = "[neutron]\nauth_type = none\nendpoint = http://n\n";
    let warnings = |text: &str, mode: u32| {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("kuryr.conf");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let named = CommandLine {
            named: vec![Named::File(path)],
            values: BTreeMap::new(),
        };
        let loaded = load(named, BTreeMap::new(), temp.path()).unwrap();
        let folder = format!("{}/", temp.path().display());
        loaded.warnings.join("\n").replace(&folder, "")
    };
    insta::assert_snapshot!(warnings(PASSWORD, 0o644), @"kuryr.conf: everyone on this host can read password in it (mode 644): run `chmod 640 kuryr.conf`");
    for mode in [0o600, 0o640, 0o660] {
        assert_eq!(warnings(PASSWORD, mode), "", "{mode:o}");
    }
    let elsewhere = PASSWORD.replace("[neutron]", "[neutron]\nauth_section = Cloud\n[CLOUD]");
    for given in [elsewhere.as_str(), &format!("{NONE}token = t\n")] {
        let told = warnings(given, 0o604);
        assert!(
            told.contains("can read") && told.contains("mode 604"),
            "{told}"
        );
    }
    for none in [
        "[DEFAULT]\nhost = h\n",
        &format!("{NONE}token =\n"),
        "# password = x\n",
    ] {
        assert_eq!(warnings(none, 0o644), "", "{none}");
    }
}

#[test]
fn a_log_folder_alone_is_enough() {
    let logs = |text: &str| loaded(&format!("[DEFAULT]\n{text}")).settings.logs.file;
    assert_eq!(logs("log_dir = /l"), Some(PathBuf::from("/l/kuryr.log")));
    assert_eq!(
        logs("log_dir = /l\nlog_file = f"),
        Some(PathBuf::from("/l/f"))
    );
    assert_eq!(logs("logfile = /f"), Some(PathBuf::from("/f")));
}

#[test]
fn settings_never_show_a_secret() {
    let shown = format!("{:?}", loaded(PASSWORD));
    assert!(!shown.contains("hunter2"), "{shown}");
    let wrong = refusal(&PASSWORD.replace("hunter2", "hunter2$oops"));
    assert!(
        !wrong.contains("hunter2") && !wrong.contains("oops"),
        "{wrong}"
    );
}

#[test]
fn every_option_is_documented() {
    for option in options::ALL {
        let doc = option.doc.trim();
        assert!(doc.ends_with('.'), "{}: {doc}", option.name);
        let secret = ["password", "secret", "token"]
            .iter()
            .any(|word| option.name.ends_with(word));
        assert_eq!(secret, option.kind == Kind::Secret, "{}", option.name);
    }
}

proptest! {
    #[test]
    fn no_file_makes_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("kuryr.conf");
        fs::write(&path, bytes).unwrap();
        let command_line = CommandLine { named: vec![Named::File(path)], ..CommandLine::default() };
        let _ = load(command_line, BTreeMap::new(), temp.path());
    }

    #[test]
    fn no_value_makes_reading_panic(
        option in prop::sample::select(options::ALL),
        value in "\\PC*|[a-z$.{}:/0-9,-]*",
    ) {
        let environment = BTreeMap::from([(
            format!("OS_{}__{}", option.group, option.name).to_uppercase(),
            value,
        )]);
        let _ = load(CommandLine::default(), environment, Path::new("/nonexistent"));
    }
}

#[test]
fn docker_is_asked_on_this_machine_or_not_at_all() {
    let api = |uri: &str| {
        let settings = loaded(&format!("[DEFAULT]\ndocker_uri = {uri}\n")).settings;
        settings.docker.api
    };
    let usual = loaded("").settings.docker.api;
    assert_eq!(usual, Some(PathBuf::from("/var/run/docker.sock")));
    assert_eq!(
        api("unix:///run/other.sock"),
        Some(PathBuf::from("/run/other.sock"))
    );
    assert_eq!(api(""), None);
    insta::assert_snapshot!(refusal("[DEFAULT]\ndocker_uri = http://10.0.0.1:2375\n"), @r"
    the configuration has a mistake:
      0.conf:2: [DEFAULT] docker_uri: `http://10.0.0.1:2375` is not on this machine alone; valid are unix:///PATH, and nothing: Docker is not asked
    ");
}
