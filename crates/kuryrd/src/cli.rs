//! The command line, in our own form and as `kuryr-server` took it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{CommandLine, Named};

/// What the program is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Answer Docker.
    Serve(CommandLine),
    /// Say what is wrong with a configuration.
    Check(CommandLine),
    /// Print a configuration to start from.
    Sample,
    /// Say whether all is as a daemon needs it that takes the Python daemon's place.
    UpgradeCheck(CommandLine),
    /// Say which ports no container has, or release them.
    Orphans(CommandLine, bool),
}

const ABOUT: &str = "Gives Docker containers ports on OpenStack Neutron networks";

const LONG_ABOUT: &str = "\
Gives Docker containers ports on OpenStack Neutron networks.

kuryr is a network and IPAM driver for Docker. It listens on a socket in Docker's plugin folder,
carries Docker's requests to Neutron, and plugs containers into this host's Open vSwitch, for OVN
or Neutron's OVS agent. With --standalone it needs neither: it keeps a Neutron of its own, for this
host alone, and plugs containers into bridges of the kernel.";

const SERVE_HELP: &str = "\
Example:
  kuryr serve --config-file /etc/kuryr/kuryr.conf
  docker network create -d kuryr --ipam-driver kuryr --subnet 10.1.0.0/24 --gateway 10.1.0.1 demo

Without a cloud:
  kuryr serve --standalone
  docker network create -d kuryr --ipam-driver kuryr demo

Configuration: without --config-file, the first kuryr.conf and the first kuryr-server.conf found in
~/.kuryr, ~, /etc/kuryr and /etc; without --config-dir, the *.conf files in the first kuryr.conf.d
and the first kuryr-server.conf.d found there. Later files win over earlier ones, variables
OS_<SECTION>__<OPTION> over files, and flags over both.

Signals: TERM and INT finish the calls that are running, then exit; a second one exits at once.
HUP does nothing but write a line to the log: a log file that was moved away is replaced by itself,
and a changed configuration needs a restart.

Exit status: 0 after a signal, 78 if the configuration is wrong, 1 on any other failure.";

const CHECK_HELP: &str = "\
The environment and the default *.conf folders count, as they do for `kuryr serve`. Neither
Keystone nor Neutron is asked, and no file but the configuration is looked at.

Exit status: 0 if kuryr would start with it, 78 if it is wrong.";

const UPGRADE_CHECK_HELP: &str = "\
Example:
  kuryr-status --config-file /etc/kuryr/kuryr.conf upgrade check

Asks Keystone, Neutron and Open vSwitch, and changes nothing. A running daemon is not disturbed.

Exit status, as of other OpenStack programs: 0 if all is well, 1 if something is to be looked at,
2 if Kuryr would not work, 255 if it could not be checked.";

const ORPHANS_HELP: &str = "\
Example:
  kuryr orphans
  kuryr orphans --release

A crash between two of Docker's calls may leave a port in Neutron that Docker has forgotten, and that
a restarted kuryr has never heard of, or a network that dockerd was killed before storing; who removes a
container's port in Neutron leaves its interface and its security group. The running daemon is asked at its admin socket (admin_uri), as
it alone knows what is in use. It releases orphans by itself, soon after its start and every ten
minutes; this is for who wants to see them, or does not want to wait.

Exit status: 0 if the daemon has answered, 78 if the configuration is wrong, 1 on any other failure.";

/// Flags of oslo.log, in pairs of flag and what it sets; without a value, it has no effect here.
const OSLO_FLAGS: &[(&str, Option<(&str, &str)>)] = &[
    ("nodebug", Some(("debug", "false"))),
    ("use-json", Some(("use_json", "true"))),
    ("nouse-json", Some(("use_json", "false"))),
    ("use-journal", Some(("use_journal", "true"))),
    ("nouse-journal", Some(("use_journal", "false"))),
    ("use-syslog", Some(("use_syslog", "true"))),
    ("nouse-syslog", Some(("use_syslog", "false"))),
    ("use-stderr", Some(("use_stderr", "true"))),
    ("nouse-stderr", Some(("use_stderr", "false"))),
    ("verbose", None),
    ("noverbose", None),
    ("watch-log-file", None),
    ("nowatch-log-file", None),
];

/// Options of oslo.log that take a value, which has no effect here.
const OSLO_OPTIONS: &[&str] = &[
    "log-config-append",
    "log-date-format",
    "syslog-log-facility",
];

/// Reads the arguments, the program's own name first. An error is also what `--help` prints.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Order, clap::Error> {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    if program.is_some_and(|name| name == "kuryr-server") {
        let server = serve("kuryr-server").version(env!("CARGO_PKG_VERSION"));
        return Ok(Order::Serve(read(&server.try_get_matches_from(arguments)?)));
    }
    if program.is_some_and(|name| name == "kuryr-status") {
        let status = status("kuryr-status").version(env!("CARGO_PKG_VERSION"));
        return Ok(upgrade_check(&status.try_get_matches_from(arguments)?));
    }
    let matches = Command::new("kuryr")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("`kuryr serve --help` tells where the configuration is looked for.")
        .subcommand(serve("serve"))
        .subcommand(config())
        .subcommand(status("status"))
        .subcommand(orphans())
        .try_get_matches_from(arguments)?;
    if let Some(status) = matches.subcommand_matches("status") {
        return Ok(upgrade_check(status));
    }
    if let Some(orphans) = matches.subcommand_matches("orphans") {
        return Ok(Order::Orphans(named(orphans), orphans.get_flag("release")));
    }
    let config = matches.subcommand_matches("config");
    Ok(match config.and_then(ArgMatches::subcommand) {
        Some(("check", check)) => Order::Check(CommandLine {
            named: check
                .get_many::<PathBuf>("file")
                .into_iter()
                .flatten()
                .map(|file| Named::File(file.clone()))
                .collect(),
            values: BTreeMap::new(),
        }),
        Some(_) => Order::Sample,
        None => Order::Serve(
            matches
                .subcommand_matches("serve")
                .map(read)
                .unwrap_or_default(),
        ),
    })
}

fn upgrade_check(status: &ArgMatches) -> Order {
    Order::UpgradeCheck(named(status))
}

/// The configuration that `--config-file` and `--config-dir` name.
fn named(matches: &ArgMatches) -> CommandLine {
    let of = |kind: &str, named: fn(PathBuf) -> Named| {
        let given = matches.get_many::<PathBuf>(kind).into_iter().flatten();
        given.cloned().map(named).collect::<Vec<_>>()
    };
    CommandLine {
        named: [of("config-file", Named::File), of("config-dir", Named::Dir)].concat(),
        values: BTreeMap::new(),
    }
}

/// An option of `kuryr serve` that other orders take too.
fn config_path(id: &'static str, metavar: &'static str) -> Arg {
    Arg::new(id)
        .long(id)
        .value_name(metavar)
        .value_parser(value_parser!(PathBuf))
        .action(ArgAction::Append)
        .help("As for `kuryr serve`")
}

fn orphans() -> Command {
    Command::new("orphans")
        .about("Lists ports of this host that no container has, and why, or releases them")
        .after_help(ORPHANS_HELP)
        .arg(
            Arg::new("release")
                .long("release")
                .action(ArgAction::SetTrue)
                .help("Look twice, and release what both looks have found"),
        )
        .arg(config_path("config-file", "FILE"))
        .arg(config_path("config-dir", "DIR"))
}

/// As programs of OpenStack have it: `upgrade check`, with the files named before it.
fn status(name: &'static str) -> Command {
    let check = Command::new("check")
        .about("Tells whether configuration, Neutron and this host are as Kuryr needs them")
        .after_help(UPGRADE_CHECK_HELP);
    Command::new(name)
        .about("Tells whether a host is ready for this Kuryr")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(config_path("config-file", "FILE"))
        .arg(config_path("config-dir", "DIR"))
        .subcommand(
            Command::new("upgrade")
                .about("Before this Kuryr takes the place of the Python one, or of an older one")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(check),
        )
}

fn config() -> Command {
    Command::new("config")
        .about("Helps to write kuryr.conf")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("sample")
                .about("Prints a kuryr.conf with every option, what it is for and its default"),
        )
        .subcommand(
            Command::new("check")
                .about("Tells everything that is wrong with a configuration, without starting")
                .after_help(CHECK_HELP)
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .action(ArgAction::Append)
                        .help("As if named by --config-file; without it, what `kuryr serve` reads"),
                ),
        )
}

fn serve(name: &'static str) -> Command {
    let path = |id: &'static str, metavar: &'static str, help: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name(metavar)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    Command::new(name)
        .about("Answers Docker until told to stop")
        .after_help(SERVE_HELP)
        .arg(
            path(
                "config-file",
                "FILE",
                "Read this file; may be repeated, the last one wins",
            )
            .action(ArgAction::Append),
        )
        .arg(
            path(
                "config-dir",
                "DIR",
                "Read the *.conf files of this folder; may be repeated",
            )
            .action(ArgAction::Append),
        )
        .arg(
            Arg::new("standalone")
                .long("standalone")
                .action(ArgAction::SetTrue)
                .help("Use no cloud but a Neutron of our own, for this host alone"),
        )
        .arg(
            Arg::new("neutron-listen")
                .long("neutron-listen")
                .value_name("ADDRESS:PORT")
                .help("Serve that Neutron at this loopback address, too"),
        )
        .arg(
            Arg::new("debug")
                .long("debug")
                .short('d')
                .action(ArgAction::Count)
                .help("Log more than usual"),
        )
        .arg(path("log-dir", "DIR", "Log to a file in this folder").alias("logdir"))
        .arg(
            path(
                "log-file",
                "FILE",
                "Log to this file instead of the standard output",
            )
            .alias("logfile"),
        )
        .args(OSLO_FLAGS.iter().map(|(flag, _)| {
            let arg = Arg::new(*flag)
                .long(*flag)
                .action(ArgAction::Count)
                .hide(true);
            if *flag == "verbose" {
                arg.short('v')
            } else {
                arg
            }
        }))
        .args(
            OSLO_OPTIONS
                .iter()
                .map(|option| Arg::new(*option).long(*option).hide(true)),
        )
}

fn read(matches: &ArgMatches) -> CommandLine {
    let mut named: Vec<(usize, Named)> = Vec::new();
    for (id, kind) in [
        ("config-file", Named::File as fn(PathBuf) -> Named),
        ("config-dir", Named::Dir),
    ] {
        let paths = matches.get_many::<PathBuf>(id).into_iter().flatten();
        let places = matches.indices_of(id).into_iter().flatten();
        named.extend(places.zip(paths.cloned().map(kind)));
    }
    named.sort_by_key(|(place, _)| *place);

    let mut values = BTreeMap::new();
    if matches.get_flag("standalone") {
        values.insert(("standalone", "enabled"), "true".to_owned());
    }
    if let Some(address) = matches.get_one::<String>("neutron-listen") {
        values.insert(("standalone", "neutron_listen"), address.clone());
    }
    let mut set = |name, value: &str| values.insert(("DEFAULT", name), value.to_owned());
    for (id, name) in [("log-dir", "log_dir"), ("log-file", "log_file")] {
        if let Some(path) = matches.get_one::<PathBuf>(id) {
            // A `$` in a path of a shell's making is meant as it is.
            set(name, &path.to_string_lossy().replace('$', "$$"));
        }
    }
    for (flag, value) in OSLO_FLAGS {
        if let Some((name, value)) = value.filter(|_| matches.get_count(flag) > 0) {
            set(name, value);
        }
    }
    if matches.get_count("debug") > 0 {
        set("debug", "true");
    }
    CommandLine {
        named: named.into_iter().map(|(_, name)| name).collect(),
        values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<CommandLine, clap::Error> {
        match parse(line.split_whitespace().map(OsString::from).collect())? {
            Order::Serve(line)
            | Order::Check(line)
            | Order::UpgradeCheck(line)
            | Order::Orphans(line, _) => Ok(line),
            Order::Sample => Ok(CommandLine::default()),
        }
    }

    #[test]
    fn files_to_check_are_as_if_named_by_config_file() {
        let named = parsed("kuryr config check a b").unwrap().named;
        assert_eq!(named, [Named::File("a".into()), Named::File("b".into())]);
    }

    #[test]
    fn files_and_folders_keep_their_order() {
        let line = "kuryr serve --config-dir=d --config-file a --config-file b --config-dir e";
        assert_eq!(
            parsed(line).unwrap().named,
            [
                Named::Dir("d".into()),
                Named::File("a".into()),
                Named::File("b".into()),
                Named::Dir("e".into()),
            ]
        );
    }

    #[test]
    fn an_upgrade_check_is_called_by_either_name() {
        for line in [
            "kuryr-status --config-file a upgrade check",
            "/usr/bin/kuryr status --config-file a upgrade check",
        ] {
            assert_eq!(
                parsed(line).unwrap().named,
                [Named::File("a".into())],
                "{line}"
            );
        }
    }

    #[test]
    fn kuryr_server_takes_the_flags_it_took() {
        let line = "/usr/bin/kuryr-server --config-file f -d -v --nouse-syslog --logdir /l --log-date-format x";
        let values = parsed(line).unwrap().values;
        assert_eq!(values[&("DEFAULT", "debug")], "true");
        assert_eq!(values[&("DEFAULT", "use_syslog")], "false");
        assert_eq!(values[&("DEFAULT", "log_dir")], "/l");
    }

    #[test]
    fn standalone_is_a_flag_or_two() {
        let values = parsed("kuryr serve --standalone --neutron-listen [::1]:9696")
            .unwrap()
            .values;
        assert_eq!(values[&("standalone", "enabled")], "true");
        assert_eq!(values[&("standalone", "neutron_listen")], "[::1]:9696");
        assert!(parsed("kuryr serve").unwrap().values.is_empty());
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        for line in [
            "kuryr",
            "kuryr serve --bogus",
            "kuryr-server serve",
            "kuryr-server --bogus",
            "kuryr config",
            "kuryr status",
            "kuryr-status upgrade",
            "kuryr config bogus",
            "kuryr config sample extra",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help_promises_only_what_is_there() {
        let help = parsed("kuryr --help").unwrap_err().to_string();
        assert!(help.contains("Open vSwitch"), "{help}");
        let help = parsed("kuryr serve --help").unwrap_err().to_string();
        assert!(help.contains("HUP does nothing but"), "{help}");
    }

    #[test]
    fn help_fits_a_terminal_and_tells_where_the_configuration_is() {
        let help = parsed("kuryr serve --help").unwrap_err().to_string();
        assert!(help.contains("/etc/kuryr"), "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
}
