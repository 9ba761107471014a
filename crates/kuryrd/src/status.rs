//! `kuryr-status upgrade check`: whether this host, its configuration and its Neutron are as a
//! daemon that takes another's place needs them. In the form and with the codes of oslo.upgradecheck.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use kuryr_core::Driver;
use kuryr_vif::{Host, Plug};
use neutron_api::{Agent, Network, Port, SubnetPool};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use crate::causes::with_causes;
use crate::config::{Loaded, Mistakes, Settings};
use crate::wiring;

/// How a check ended; the worst of all is the exit code.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Outcome {
    Success,
    Warning,
    Failure,
}

struct Check {
    name: &'static str,
    outcome: Outcome,
    details: String,
}

/// For how long all of Neutron's answers are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without these nothing works.
const NEEDED: [&str; 4] = [
    "binding",
    "standard-attr-tag",
    "subnet_allocation",
    "port-security",
];

/// Makes all checks that can be made.
pub(crate) async fn checks(loaded: Result<Loaded, Mistakes>) -> (String, ExitCode) {
    let mut all = vec![configuration(&loaded)];
    if let Ok(loaded) = loaded {
        all.push(switch(&loaded.settings).await);
        match wiring::neutron_of(&loaded.settings) {
            Ok(neutron) => all.extend(of_neutron(&neutron, &loaded.settings).await),
            Err(error) => all.push(failure("Neutron", format!("{error:#}"))),
        }
    }
    report(&all)
}

fn configuration(loaded: &Result<Loaded, Mistakes>) -> Check {
    const NAME: &str = "Configuration";
    match loaded {
        Err(mistakes) => failure(NAME, mistakes.to_string()),
        Ok(loaded) => {
            let told = [loaded.dangers.as_slice(), loaded.warnings.as_slice()].concat();
            match told.as_slice() {
                [] => success(NAME, "nothing to say"),
                lines => warning(NAME, lines.join("\n")),
            }
        }
    }
}

/// Whether containers can be plugged here, and what is plugged already.
async fn switch(settings: &Settings) -> Check {
    const NAME: &str = "Open vSwitch";
    let host = Host::new(wiring::this_machine(settings));
    match host.all_attachments().await {
        Ok(plugged) => success(
            NAME,
            format!("{} interfaces of containers are plugged", plugged.len()),
        ),
        Err(error) => failure(NAME, with_causes(&error)),
    }
}

async fn of_neutron(neutron: &Neutron, settings: &Settings) -> Vec<Check> {
    let neutron = neutron.by(Instant::now() + PATIENCE);
    let first = extensions(&neutron, settings).await;
    if first.outcome == Outcome::Failure {
        return vec![first];
    }
    let host = wiring::host_of(settings);
    vec![
        first,
        told("Rights", rights(&neutron).await),
        told("Host", agent(&neutron, &host).await),
        told("Default subnet pools", pools(&neutron, settings).await),
        told("What there is", objects(&neutron, &host).await),
    ]
}

/// The first that is asked: it says whether Neutron answers at all.
async fn extensions(neutron: &Neutron, settings: &Settings) -> Check {
    const NAME: &str = "Neutron";
    let mut lacks = Vec::new();
    let enabled = &settings.binding.drivers.enabled;
    let trunk = enabled.contains(&Driver::Vlan).then_some("trunk");
    for extension in NEEDED.into_iter().chain(trunk) {
        match neutron.has_extension(extension).await {
            Ok(true) => {}
            Ok(false) => lacks.push(extension),
            Err(error) => return failure(NAME, with_causes(&error)),
        }
    }
    if !lacks.is_empty() {
        return failure(NAME, format!("it lacks extensions: {}", lacks.join(", ")));
    }
    let groups = neutron.has_extension("security-group").await;
    if settings.neutron.opens_exposed_ports && !groups.unwrap_or_default() {
        let details = "it has no security groups: set process_external_connectivity = false";
        return warning(NAME, details);
    }
    success(NAME, "it answers, and has the extensions that Kuryr needs")
}

type Told = Result<(Outcome, String), neutron_client::Error>;

/// Neutron hides how ports are bound from who may not bind them.
async fn rights(neutron: &Neutron) -> Told {
    // Any port will do: ours, and those that Neutron has on each network.
    let mut filter = Filter::new();
    for owner in ["compute:kuryr", "network:distributed", "network:dhcp"] {
        filter = filter.with("device_owner", owner);
    }
    let ports = neutron.list::<Port>(&filter).await?;
    Ok(match ports.first() {
        Some(port) if port.vif_type.is_some() => {
            (Outcome::Success, "it shows how ports are bound".to_owned())
        }
        Some(_) => (
            Outcome::Failure,
            "it hides how ports are bound: Kuryr's user needs the role service, or admin".to_owned(),
        ),
        None => (
            Outcome::Warning,
            "there is no port yet, so it can't be seen whether Kuryr's user may bind ports (it needs \
             the role service, or admin)"
                .to_owned(),
        ),
    })
}

async fn agent(neutron: &Neutron, host: &str) -> Told {
    let agents = neutron
        .list::<Agent>(&Filter::new().with("host", host))
        .await?;
    Ok(match agents.as_slice() {
        [] => (
            Outcome::Warning,
            format!(
                "no agent is called {host:?}, or it is not shown to Kuryr's user: if openstack network \
                 agent list has this machine under another name, set host in [DEFAULT] to that"
            ),
        ),
        agents if agents.iter().any(|agent| agent.alive) => {
            (Outcome::Success, format!("an agent is alive on {host}"))
        }
        _ => (Outcome::Failure, format!("no agent is alive on {host}")),
    })
}

async fn pools(neutron: &Neutron, settings: &Settings) -> Told {
    let mut missing = Vec::new();
    for name in [
        &settings.neutron.default_subnetpool_v4,
        &settings.neutron.default_subnetpool_v6,
    ] {
        let filter = Filter::new().with("name", name);
        match neutron.list::<SubnetPool>(&filter).await?.len() {
            0 => missing.push(format!("{name} is not there: networks need --subnet")),
            1 => {}
            several => missing.push(format!(
                "there are {several} called {name}: only one may be"
            )),
        }
    }
    Ok(match missing.as_slice() {
        [] => (Outcome::Success, "both are there".to_owned()),
        lines => (Outcome::Warning, lines.join("\n")),
    })
}

/// What this daemon takes over, as it is marked in Neutron.
async fn objects(neutron: &Neutron, host: &str) -> Told {
    let of_host = Filter::new()
        .with("device_owner", "compute:kuryr")
        .with("binding:host_id", host);
    let ports = neutron.list::<Port>(&of_host).await?;
    let networks = neutron.list::<Network>(&Filter::new()).await?;
    let is_marked = |network: &&Network| {
        let mut tags = network.tags.iter();
        tags.any(|tag| tag.starts_with("kuryr.net.uuid."))
    };
    let networks: Vec<_> = networks.iter().filter(is_marked).collect();
    let crowded = networks
        .iter()
        .filter(|network| network.tags.len() > MANY_TAGS);
    let crowded: Vec<_> = crowded.map(|network| network.id.to_string()).collect();
    let count = format!(
        "{} networks of containers, {} ports of containers on this host",
        networks.len(),
        ports.len()
    );
    Ok(match crowded.as_slice() {
        [] => (Outcome::Success, count),
        // The Python daemon has put them there; this one adds none.
        some => (
            Outcome::Warning,
            format!("{count}; near the limit of 50 tags: {}", some.join(", ")),
        ),
    })
}

const MANY_TAGS: usize = 44;

fn told(name: &'static str, told: Told) -> Check {
    match told {
        Ok((outcome, details)) => Check {
            name,
            outcome,
            details,
        },
        Err(error) => failure(name, with_causes(&error)),
    }
}

fn success(name: &'static str, details: impl Into<String>) -> Check {
    told(name, Ok((Outcome::Success, details.into())))
}

fn warning(name: &'static str, details: impl Into<String>) -> Check {
    told(name, Ok((Outcome::Warning, details.into())))
}

fn failure(name: &'static str, details: impl Into<String>) -> Check {
    told(name, Ok((Outcome::Failure, details.into())))
}

/// A box for each check, as wide as the widest line needs it to be.
fn report(checks: &[Check]) -> (String, ExitCode) {
    let mut boxes = vec![vec!["Upgrade Check Results".to_owned()]];
    for check in checks {
        let mut lines = vec![
            format!("Check: {}", check.name),
            format!("Result: {:?}", check.outcome),
        ];
        let details = format!("Details: {}", check.details);
        lines.extend(details.lines().flat_map(wrapped));
        boxes.push(lines);
    }
    let width = boxes
        .iter()
        .flatten()
        .map(|line| line.chars().count())
        .max();
    let width = width.unwrap_or_default();
    let rule = format!("+{}+\n", "-".repeat(width + 2));
    let mut text = rule.clone();
    for lines in boxes {
        for line in lines {
            let _ = writeln!(text, "| {line:width$} |");
        }
        text.push_str(&rule);
    }
    let worst = checks.iter().map(|check| check.outcome).max();
    let code = match worst {
        Some(Outcome::Failure) => 2,
        Some(Outcome::Warning) => 1,
        Some(Outcome::Success) | None => 0,
    };
    (text, ExitCode::from(code))
}

/// Lines that fit a terminal, broken between words.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        if let Some(last) = lines.last_mut() {
            let fits = last.is_empty() || last.chars().count() + word.chars().count() < WIDTH;
            if fits {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(word);
                continue;
            }
        }
        lines.push(format!("  {word}"));
    }
    lines
}

const WIDTH: usize = 76;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_result_is_the_exit_code() {
        for (outcomes, code) in [
            (vec![], 0),
            (vec![Outcome::Success, Outcome::Success], 0),
            (vec![Outcome::Success, Outcome::Warning], 1),
            (vec![Outcome::Failure, Outcome::Warning], 2),
        ] {
            let check = |outcome| told("x", Ok((outcome, String::new())));
            let checks: Vec<Check> = outcomes.into_iter().map(check).collect();
            assert_eq!(
                format!("{:?}", report(&checks).1),
                format!("{:?}", ExitCode::from(code))
            );
        }
    }

    #[test]
    fn a_report_is_a_box_that_fits_a_terminal() {
        let long = "a word and another ".repeat(20);
        let (text, _) = report(&[success("Neutron", long.trim()), warning("Host", "none")]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert!(
            widths
                .iter()
                .all(|width| *width == widths[0] && *width <= 80),
            "{text}"
        );
        assert!(text.contains("| Result: Warning"), "{text}");
    }
}
