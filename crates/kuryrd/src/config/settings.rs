//! The configuration as the program uses it: every value checked, every name resolved.

use std::path::PathBuf;
use std::time::Duration;

use kuryr_core::{Driver, PortPoolSettings};

use super::credentials;
use super::drivers::{self, Drivers};
use super::options::{self as opt, Declared};
use super::sources::Sources;
use super::standalone::{self, Standalone};
use super::value::{Choice, Setting, choices};
use crate::listen::Address;

/// Everything that is configured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where Docker's calls come in.
    pub(crate) listen: Listen,
    /// Where operators ask; `None` is nowhere.
    pub(crate) admin: Option<Address>,
    /// What Docker is told and how long its calls may take.
    pub(crate) docker: Docker,
    /// How interfaces are made on this host.
    pub(crate) binding: Binding,
    /// What Kuryr does with Neutron.
    pub(crate) neutron: Neutron,
    /// How many ports are made before they are needed.
    pub(crate) port_pool: PortPoolSettings,
    /// How to reach Neutron; `None` if no `auth_type` is given, or with `standalone`.
    pub(crate) session: Option<keystone::Settings>,
    /// The Neutron of our own; `None` if somebody else's is used.
    pub(crate) standalone: Option<Standalone>,
    /// The name that Neutron's agent here goes by; `None` is the machine's host name.
    pub(crate) host: Option<String>,
    /// The folder of the journal.
    pub(crate) state_path: PathBuf,
    /// Where the log goes, and how much of it.
    pub(crate) logs: Logs,
}

/// Where Docker's calls come in.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// The socket.
    pub(crate) address: Address,
    /// Set if `address` speaks TLS.
    pub(crate) tls: Option<TlsFiles>,
}

/// The PEM files of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The chain, our own certificate first.
    pub(crate) certificate: PathBuf,
    /// The certificate's key.
    pub(crate) key: PathBuf,
    /// Whose certificates a client must have one of; `None` serves every client.
    pub(crate) client_authorities: Option<PathBuf>,
}

/// What Docker is told and how long its calls may take.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    /// Of our networks.
    pub(crate) scope: CapabilityScope,
    /// For networks of scope local.
    pub(crate) local_address_space: String,
    /// For networks of scope global.
    pub(crate) global_address_space: String,
    /// Whether Docker is to choose MAC addresses.
    pub(crate) requires_mac_address: bool,
    /// The deadline of every call.
    pub(crate) call_timeout: Duration,
    /// The socket of its own API; `None` if it is not to be asked.
    pub(crate) api: Option<PathBuf>,
}

/// How interfaces are made on this host.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// What interfaces are called inside a container, before their number.
    pub(crate) veth_dst_prefix: String,
    /// The socket of Open vSwitch's database; `None` where there is no Open vSwitch.
    pub(crate) ovsdb: Option<PathBuf>,
    /// The folder of programs that bind what is not built in.
    pub(crate) programs: PathBuf,
    /// The ways in which ports are plugged.
    pub(crate) drivers: Drivers,
}

/// What Kuryr does with Neutron.
#[derive(Clone, Debug)]
pub(crate) struct Neutron {
    /// Of the subnets that are created.
    pub(crate) enable_dhcp: bool,
    /// The pool of IPv4 networks that name none.
    pub(crate) default_subnetpool_v4: String,
    /// The pool of IPv6 networks that name none.
    pub(crate) default_subnetpool_v6: String,
    /// What the names of created pools start with.
    pub(crate) subnetpool_name_prefix: String,
    /// Whether an endpoint fails whose port does not become active in time.
    pub(crate) vif_plugging_is_fatal: bool,
    /// Whether exposed ports get security groups.
    pub(crate) opens_exposed_ports: bool,
    /// How long to wait for that; `None` does not wait.
    pub(crate) vif_plugging_timeout: Option<Duration>,
}

/// Where the log goes, and how much of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    /// Whether level DEBUG is included.
    pub(crate) debug: bool,
    /// `None` is a standard stream.
    pub(crate) file: Option<PathBuf>,
    /// The standard error instead of the standard output.
    pub(crate) stderr: bool,
    /// One JSON object per line.
    pub(crate) json: bool,
}

choices! {
    /// How far a driver's networks reach, for Docker.
    CapabilityScope {
        /// One host.
        Local = "local",
        /// A swarm.
        Global = "global",
    }
}

impl Setting for CapabilityScope {
    fn parse(text: &str) -> Result<Self, String> {
        Self::choose(text)
    }
}

impl Setting for Address {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|wrong| {
            format!(
                "`{text}` {wrong}; valid are unix:///PATH, http://HOST:PORT and https://HOST:PORT"
            )
        })
    }
}

/// An address that does not speak TLS.
#[derive(Default)]
struct AdminAddress(Address);

impl Setting for AdminAddress {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Address::Tcp { tls: true, .. }) => Err("is not served with TLS"),
            Ok(address) => Ok(Self(address)),
            Err(wrong) => Err(wrong),
        }
        .map_err(|wrong| {
            format!(
                "`{text}` {wrong}; valid are unix:///PATH, http://HOST:PORT, \
                 and nothing, which turns it off"
            )
        })
    }
}

/// A socket that somebody else serves.
#[derive(Default)]
struct SocketPath(PathBuf);

impl Setting for SocketPath {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Address::Unix(path)) => Ok(Self(path)),
            Ok(Address::Tcp { .. }) => Err("is not on this machine alone"),
            Err(wrong) => Err(wrong),
        }
        .map_err(|wrong| {
            format!("`{text}` {wrong}; valid are unix:///PATH, and nothing: Docker is not asked")
        })
    }
}

impl Default for Address {
    fn default() -> Self {
        Self::Unix(PathBuf::from("/run/docker/plugins/kuryr.sock"))
    }
}

/// Reads every option, noting mistakes; what is returned is good only if there are none.
pub(crate) fn read(sources: &mut Sources) -> Settings {
    let session = credentials::read(sources);
    let standalone = standalone::read(sources);
    let binding = binding(sources);
    if standalone.is_some() && binding.drivers.enabled != [Driver::Veth] {
        let wrong = "a Neutron of the program's own has no guests' ports; valid is veth";
        sources.mistake(&opt::ENABLED_PORT_DRIVERS, wrong);
    }
    Settings {
        listen: listen(sources),
        admin: sources
            .read::<Option<AdminAddress>>(&opt::ADMIN_URI)
            .map(|admin| admin.0),
        docker: docker(sources),
        binding,
        neutron: neutron(sources),
        port_pool: port_pool(sources),
        session: session.filter(|_| standalone.is_none()),
        standalone,
        host: sources.read(&opt::HOST),
        state_path: sources.read(&opt::STATE_PATH),
        logs: logs(sources),
    }
}

fn listen(sources: &mut Sources) -> Listen {
    let mut address: Address = sources.read(&opt::KURYR_URI);
    let enabled: bool = sources.read(&opt::ENABLE_SSL);
    let files = TlsFiles {
        certificate: sources.read(&opt::SSL_CERT_FILE),
        key: sources.read(&opt::SSL_KEY_FILE),
        client_authorities: sources.read(&opt::SSL_CA_FILE),
    };
    match &mut address {
        Address::Tcp { tls, .. } => *tls |= enabled,
        Address::Unix(path) if enabled => {
            let wrong = format!(
                "TLS needs an http:// or https:// kuryr_uri, and that is unix://{}",
                path.display()
            );
            sources.mistake(&opt::ENABLE_SSL, wrong);
        }
        Address::Unix(_) => {}
    }
    let tls = matches!(address, Address::Tcp { tls: true, .. }).then_some(files);
    let insecure: bool = sources.read(&opt::ALLOW_INSECURE_TCP);
    let certificates: bool = sources.read(&opt::SSL_REQUIRE_CLIENT_CERT);
    let open = format!("anyone who reaches {address} can drive this host's networks");
    match &tls {
        _ if address.is_local() => {}
        None if insecure => sources.dangers.push(format!(
            "{open}, and read and change what Docker asks: allow_insecure_tcp is on"
        )),
        None => sources.mistake(
            &opt::KURYR_URI,
            format!(
                "{open}, and read and change what Docker asks; valid are unix://, https:// with \
                 ssl_ca_file, http:// at a loopback address, and any with allow_insecure_tcp = true"
            ),
        ),
        Some(files) if files.client_authorities.is_some() => {}
        Some(_) if certificates => sources.mistake(
            &opt::KURYR_URI,
            format!(
                "{open}: set ssl_ca_file to the authority of Docker's certificate, or \
                 ssl_require_client_cert = false"
            ),
        ),
        Some(_) => {
            sources
                .warnings
                .insert(format!("{open}: ssl_require_client_cert is off"));
        }
    }
    Listen { address, tls }
}

fn docker(sources: &mut Sources) -> Docker {
    let call_timeout: Duration = sources.read(&opt::DOCKER_CALL_TIMEOUT);
    if call_timeout.is_zero() {
        sources.mistake(
            &opt::DOCKER_CALL_TIMEOUT,
            "no call succeeds in no time; valid is more than 0",
        );
    }
    Docker {
        scope: sources.read(&opt::CAPABILITY_SCOPE),
        local_address_space: sources.read(&opt::LOCAL_DEFAULT_ADDRESS_SPACE),
        global_address_space: sources.read(&opt::GLOBAL_DEFAULT_ADDRESS_SPACE),
        requires_mac_address: sources.read(&opt::REQUIRES_MAC_ADDRESS),
        call_timeout,
        api: sources
            .read::<Option<SocketPath>>(&opt::DOCKER_URI)
            .map(|path| path.0),
    }
}

fn binding(sources: &mut Sources) -> Binding {
    let ovsdb: String = sources.read(&opt::OVSDB_CONNECTION);
    let ovsdb = ovsdb.strip_prefix("unix:").unwrap_or(&ovsdb).to_owned();
    if !ovsdb.is_empty() && !ovsdb.starts_with('/') {
        let wrong = format!(
            "`{ovsdb}` is not valid; valid are unix:/PATH, /PATH, and nothing where there is no Open vSwitch"
        );
        sources.mistake(&opt::OVSDB_CONNECTION, wrong);
    }
    let veth_dst_prefix: String = sources.read(&opt::VETH_DST_PREFIX);
    if veth_dst_prefix.is_empty() || veth_dst_prefix.len() > 12 {
        let wrong = format!("`{veth_dst_prefix}` is not valid; valid are 1 to 12 bytes");
        sources.mistake(&opt::VETH_DST_PREFIX, wrong);
    }
    let drivers = drivers::read(sources);
    // A guest's switch is elsewhere.
    let is_used = drivers.enabled.contains(&Driver::Veth) || sources.is_set(&opt::OVSDB_CONNECTION);
    Binding {
        veth_dst_prefix,
        ovsdb: (is_used && !ovsdb.is_empty()).then(|| PathBuf::from(ovsdb)),
        programs: sources.read(&opt::BINDIR),
        drivers,
    }
}

fn neutron(sources: &mut Sources) -> Neutron {
    let seconds: i64 = sources.read(&opt::VIF_PLUGGING_TIMEOUT);
    let timeout = u64::try_from(seconds).unwrap_or_else(|_| {
        let wrong = format!("`{seconds}` is not valid; valid are 0 and more");
        sources.mistake(&opt::VIF_PLUGGING_TIMEOUT, wrong);
        0
    });
    Neutron {
        enable_dhcp: sources.read(&opt::ENABLE_DHCP),
        default_subnetpool_v4: sources.read(&opt::DEFAULT_SUBNETPOOL_V4),
        default_subnetpool_v6: sources.read(&opt::DEFAULT_SUBNETPOOL_V6),
        subnetpool_name_prefix: sources.read(&opt::SUBNETPOOL_NAME_PREFIX),
        vif_plugging_is_fatal: sources.read(&opt::VIF_PLUGGING_IS_FATAL),
        opens_exposed_ports: sources.read(&opt::PROCESS_EXTERNAL_CONNECTIVITY),
        vif_plugging_timeout: (timeout > 0).then(|| Duration::from_secs(timeout)),
    }
}

fn port_pool(sources: &mut Sources) -> PortPoolSettings {
    let min = count(sources, &opt::PORT_POOL_MIN, 0);
    let max = count(sources, &opt::PORT_POOL_MAX, 0);
    if min > max {
        let wrong = format!("`{min}` is more than max, which is {max}");
        sources.mistake(&opt::PORT_POOL_MIN, wrong);
    }
    let idle: Duration = sources.read(&opt::PORT_POOL_IDLE);
    if idle < Duration::from_secs(1) {
        let wrong = "is not valid; valid are 1 and more".to_owned();
        sources.mistake(&opt::PORT_POOL_IDLE, wrong);
    }
    PortPoolSettings {
        enabled: sources.read(&opt::PORT_POOL),
        min,
        max,
        batch: count(sources, &opt::PORT_POOL_BATCH, 1),
        idle,
    }
}

/// A number of ports, of at least `least`.
fn count(sources: &mut Sources, option: &'static Declared, least: usize) -> usize {
    const MOST: i64 = 1000;
    let number: i64 = sources.read(option);
    match usize::try_from(number) {
        Ok(count) if count >= least && number <= MOST => count,
        _ => {
            let wrong = format!("`{number}` is not valid; valid are {least} to {MOST}");
            sources.mistake(option, wrong);
            least
        }
    }
}

fn logs(sources: &mut Sources) -> Logs {
    for option in [&opt::USE_JOURNAL, &opt::USE_SYSLOG] {
        if sources.read(option) {
            sources.warnings.insert(format!(
                "[DEFAULT] {} is not supported: the log goes to a standard stream, \
                 which systemd keeps in its journal",
                option.name
            ));
        }
    }
    let dir: Option<PathBuf> = sources.read(&opt::LOG_DIR);
    let file: Option<String> = sources.read(&opt::LOG_FILE);
    let file = match (dir, file) {
        (Some(dir), Some(file)) => Some(dir.join(file)),
        (Some(dir), None) => Some(dir.join("kuryr.log")),
        (None, file) => file.map(PathBuf::from),
    };
    Logs {
        debug: sources.read(&opt::DEBUG),
        file,
        stderr: sources.read(&opt::USE_STDERR),
        json: sources.read(&opt::USE_JSON),
    }
}
