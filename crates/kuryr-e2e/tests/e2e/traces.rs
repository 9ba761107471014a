//! What anything that ran here can leave behind: in Neutron, in Open vSwitch, in the kernel, in
//! Docker.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use keystone::{Auth, Domain, EndpointChoice, Project, Scope, Session, Settings, Tls, User};
use neutron_api::{Network, Port, Resource, SecurityGroup, Subnet, SubnetPool};
use neutron_client::{Failure, Filter, Neutron};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::lab::{on, until};

/// Everything that there is on a host and in Neutron.
#[derive(Debug)]
pub(crate) struct Traces(BTreeSet<String>);

impl Traces {
    pub(crate) fn now(host: &str) -> Self {
        let mut all = BTreeSet::new();
        for (kind, command) in [
            ("link", "ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1"),
            ("route", "ip route; ip -6 route | grep -v ^fe80"),
            ("OVS port", "ovs-vsctl list-ports br-int | grep -v ^ovn-"),
            (
                "OVS row",
                "ovs-vsctl --bare --columns=name list Interface | grep ^tap",
            ),
            (
                "Docker network",
                "docker network ls --format '{{.Name}} {{.Driver}}'",
            ),
            ("container", "docker ps -a --format '{{.Names}}'"),
        ] {
            all.extend(
                on(host, command)
                    .text
                    .lines()
                    .map(|line| format!("{kind} {line}")),
            );
        }
        all.extend(neutron_objects());
        // Made with a network's first port on a host, and gone some time after its last.
        all.retain(|trace| !trace.contains("ovnmeta") && !trace.contains("link ovn-"));
        Self(all)
    }

    /// What differs on a host from these once it has had so much time to come to rest.
    pub(crate) fn left_on(&self, host: &str, patience: Duration) -> String {
        let mut left = String::new();
        until(patience, || {
            left = self.difference(&Self::now(host));
            left.is_empty()
        });
        left
    }

    /// What is there later and was not, and the other way round; empty if all is the same.
    pub(crate) fn difference(&self, later: &Self) -> String {
        let added = later
            .0
            .difference(&self.0)
            .map(|trace| format!("+ {trace}\n"));
        let removed = self
            .0
            .difference(&later.0)
            .map(|trace| format!("- {trace}\n"));
        added.chain(removed).collect()
    }
}

fn neutron_objects() -> Vec<String> {
    let mut all = Vec::new();
    all.extend(
        list::<Network>()
            .into_iter()
            .map(|n| format!("network {} {}", n.id, n.name)),
    );
    all.extend(
        list::<Subnet>()
            .into_iter()
            .map(|s| format!("subnet {} {}", s.id, s.name)),
    );
    all.extend(
        list::<SubnetPool>()
            .into_iter()
            .map(|p| format!("subnet pool {} {}", p.id, p.name)),
    );
    let exposed = list::<SecurityGroup>().into_iter();
    let exposed = exposed.filter(|group| group.name.ends_with("-exposed_ports"));
    all.extend(exposed.map(|group| format!("security group {} {}", group.id, group.name)));
    let ports = list::<Port>().into_iter();
    all.extend(ports.map(|p| format!("port {} {} {}", p.id, p.device_owner, p.name)));
    all
}

/// Removes what a failed test has left in Neutron.
pub(crate) fn sweep() {
    wait(async {
        let neutron = neutron();
        for port in list_of::<Port>(&neutron).await {
            if port.device_owner == "compute:kuryr" {
                let _ = neutron.delete::<Port>(port.id).await;
            }
        }
        for network in list_of::<Network>(&neutron).await {
            if network.name.starts_with("kuryr-net-") {
                let _ = neutron.delete::<Network>(network.id).await;
            }
        }
        for pool in list_of::<SubnetPool>(&neutron).await {
            if pool.name.starts_with("kuryrPool-") {
                let _ = neutron.delete::<SubnetPool>(pool.id).await;
            }
        }
    });
}

/// All objects of a kind, as the cloud's administrator sees them.
pub(crate) fn list<R: Resource>() -> Vec<R> {
    wait(list_of(&neutron()))
}

/// The port of a container's endpoint.
pub(crate) fn port_at(address: &str) -> Port {
    <[Port; 1]>::try_from(ports_at(address))
        .expect("one port")
        .into_iter()
        .next()
        .unwrap()
}

/// The ports with an address, of all networks.
pub(crate) fn ports_at(address: &str) -> Vec<Port> {
    let filter = Filter::new().at(address.parse().unwrap());
    wait(neutron().list(&filter)).unwrap()
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    RUNTIME.get_or_init(build).block_on(future)
}

async fn list_of<R: Resource>(neutron: &Neutron) -> Vec<R> {
    neutron.list(&Filter::new()).await.unwrap()
}

pub(crate) fn neutron() -> Neutron {
    static NEUTRON: OnceLock<Neutron> = OnceLock::new();
    NEUTRON
        .get_or_init(|| Neutron::new(session().map_err(failure)))
        .clone()
}

/// The lab's cloud, as its administrator.
fn session() -> Session {
    let environment = on("host1", "env").text;
    let value = |name: &str| {
        let line = environment
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("the lab sets no {name}"))
            .to_owned()
    };
    let user = User::Name {
        name: value("OS_USERNAME"),
        domain: Domain::Name(value("OS_USER_DOMAIN_NAME")),
    };
    let project = Project::Name {
        name: value("OS_PROJECT_NAME"),
        domain: Domain::Name(value("OS_PROJECT_DOMAIN_NAME")),
    };
    let settings = Settings {
        auth: Auth::Password {
            auth_url: value("OS_AUTH_URL").parse().unwrap(),
            user,
            password: value("OS_PASSWORD").into(),
            scope: Scope::Project(project),
        },
        endpoint: EndpointChoice::default(),
        tls: Tls::default(),
        timeout: None,
        user_agent: "kuryr-e2e".to_owned(),
    };
    Session::new(settings).unwrap()
}

fn failure(error: keystone::Error) -> Failure {
    Failure::Passing(Box::new(error))
}
