//! The program `kuryr`: carries Docker's network requests to OpenStack Neutron.

mod admin;
mod causes;
mod cli;
mod config;
mod daemon;
mod engine;
mod exchange;
mod listen;
mod logs;
mod orphans;
mod readiness;
mod serve;
mod standalone;
mod status;
mod telemetry;
mod wiring;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cli::Order;

/// `EX_CONFIG` of sysexits.h, for `RestartPreventExitStatus=` in a unit.
const WRONG_CONFIGURATION: u8 = 78;

/// What oslo.upgradecheck ends with when it could not check.
const UNEXPECTED: u8 = 255;

/// What blocks is file and kernel work, a few pieces at a time.
const BLOCKING_THREADS: usize = 16;

/// The program: does what its arguments say.
pub fn run() -> ExitCode {
    let order = match cli::parse(std::env::args_os().collect()) {
        Ok(order) => order,
        Err(told) => {
            // Help that nobody reads any more is no failure.
            let _ = told.print();
            return u8::try_from(told.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match order {
        Order::Serve(command_line) => serve(command_line),
        Order::Check(command_line) => check(command_line),
        Order::Sample => print(&config::sample()),
        Order::UpgradeCheck(command_line) => upgrade_check(command_line),
        Order::Orphans(command_line, release) => ask_for_orphans(command_line, release),
    }
}

/// Says all that would be said of the configuration at start.
fn check(command_line: config::CommandLine) -> ExitCode {
    match load(command_line, environment()) {
        Ok(loaded) => print(&said_of(&loaded)),
        Err(code) => code,
    }
}

/// What `kuryr config check` says of the files below `root`, without environment and flags.
///
/// # Errors
/// All that is wrong with them.
pub fn check_configuration(root: &Path) -> Result<String, String> {
    let command_line = config::CommandLine::default();
    match config::load(command_line, BTreeMap::new(), root) {
        Ok(loaded) => Ok(said_of(&loaded)),
        Err(mistakes) => Err(mistakes.to_string()),
    }
}

fn said_of(loaded: &config::Loaded) -> String {
    let mut text = match loaded.files.as_slice() {
        [] => "read no file: none is in the usual places\n".to_owned(),
        files => files
            .iter()
            .map(|file| format!("read {}\n", file.display()))
            .collect(),
    };
    for (kind, lines) in [
        ("danger", &loaded.dangers),
        ("warning", &loaded.warnings),
        ("note", &loaded.ignored),
    ] {
        text.extend(lines.iter().map(|line| format!("{kind}: {line}\n")));
    }
    text.push_str("kuryr would start with this configuration\n");
    text
}

/// Asks Neutron and Open vSwitch, and changes nothing.
fn upgrade_check(command_line: config::CommandLine) -> ExitCode {
    let loaded = config::load(command_line, environment(), Path::new("/"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (text, code) = match runtime {
        Ok(runtime) => runtime.block_on(status::checks(loaded)),
        Err(error) => {
            say(&format!("kuryr: could not start: {error}"));
            return ExitCode::from(UNEXPECTED);
        }
    };
    print(&text);
    code
}

/// Asks the running daemon, which alone knows what is in use.
fn ask_for_orphans(command_line: config::CommandLine, release: bool) -> ExitCode {
    let loaded = match load(command_line, environment()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let told = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(orphans::ask(&loaded.settings, release)));
    match told {
        Ok(text) => print(&text),
        Err(error) => {
            say(&format!("kuryr: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(command_line: config::CommandLine) -> ExitCode {
    let environment = environment();
    let filter = environment.get("KURYR_LOG").cloned();
    let loaded = match load(command_line, environment) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let hidden = loaded.settings.logs.file.is_some();
    let lived = logs::start(&loaded.settings.logs, filter.as_deref())
        .map_err(|error| say(&format!("kuryr: {error:#}")))
        .map(|()| {
            if hidden {
                for danger in &loaded.dangers {
                    say(&format!("kuryr: {danger}"));
                }
            }
            live(loaded)
        });
    match lived {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!("{error:#}");
            if hidden {
                say(&format!("kuryr: {error:#}"));
            }
            ExitCode::FAILURE
        }
        Err(()) => ExitCode::FAILURE,
    }
}

/// One thread serves all: that is faster than several up to thousands of calls a second.
fn live(loaded: config::Loaded) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let lived = runtime.block_on(daemon::run(loaded));
    runtime.shutdown_timeout(Duration::from_secs(1));
    lived
}

/// The configuration; if it is wrong, all that is wrong is said.
fn load(
    command_line: config::CommandLine,
    environment: BTreeMap<String, String>,
) -> Result<config::Loaded, ExitCode> {
    config::load(command_line, environment, Path::new("/")).map_err(|mistakes| {
        say(&format!("kuryr: {mistakes}"));
        ExitCode::from(WRONG_CONFIGURATION)
    })
}

/// Variables that are not UTF-8 are none of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// What was asked for, to whoever asked. A reader that stops early is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!(
                "kuryr: could not write to the standard output: {error}"
            ));
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// To whoever started us, before there is a log.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
