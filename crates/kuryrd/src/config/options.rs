//! Every option of kuryr.conf, declared once: name, kind, default, former names, what it is for.

/// An option as declared; what was configured for it is looked up in `Sources`.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The section, in its canonical spelling.
    pub(crate) group: &'static str,
    /// With underscores.
    pub(crate) name: &'static str,
    /// What its text must be.
    pub(crate) kind: Kind,
    /// As it would be written in the file; `None` is "unset".
    pub(crate) default: Option<&'static str>,
    /// Names in the same section that are still honoured, with a warning.
    pub(crate) formerly: &'static [&'static str],
    /// A variable that is read when `OS_<GROUP>__<OPTION>` is not set.
    pub(crate) variable: Option<&'static str>,
    /// One or more sentences for the sample file.
    pub(crate) doc: &'static str,
}

/// What the text of an option must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything.
    Text,
    /// Anything, and never shown.
    Secret,
    /// 1, yes, true, on, 0, no, false, off, in any case.
    Flag,
    /// A whole number.
    Integer,
    /// A number, with or without a fraction.
    Number,
    /// Comma-separated.
    List,
    /// Accepted for the sake of existing files, without effect.
    Ignored,
}

macro_rules! declare {
    ($($(#[doc = $doc:literal])+ $constant:ident = [$group:literal] $name:literal $kind:ident
       $(= $default:literal)? $(, formerly $($former:literal)+)? $(, variable $variable:literal)?;)+) => {
        $(
            $(#[doc = $doc])+
            pub(crate) static $constant: Declared = Declared {
                group: $group,
                name: $name,
                kind: Kind::$kind,
                default: declare!(@option $($default)?),
                formerly: &[$($($former),+)?],
                variable: declare!(@option $($variable)?),
                doc: concat!($($doc),+),
            };
        )+
        /// All of them, in the order in which a sample file shows them.
        pub(crate) static ALL: &[&Declared] = &[$(&$constant),+];
    };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
}

/// The option of that section and name. Former names are not looked at.
pub(crate) fn find(group: &str, name: &str) -> Option<&'static Declared> {
    ALL.iter()
        .find(|option| option.group == group && option.name == name)
        .copied()
}

declare! {
    /// Where Docker's calls come in: unix://PATH, http://HOST:PORT or https://HOST:PORT.
    /// The name of the socket's file is the driver's name for Docker.
    KURYR_URI = ["DEFAULT"] "kuryr_uri" Text = "unix:///run/docker/plugins/kuryr.sock",
        variable "OS_KURYR_URI";
    /// What Docker is told of this driver's networks: local (one host) or global (a swarm).
    CAPABILITY_SCOPE = ["DEFAULT"] "capability_scope" Text = "local", variable "CAPABILITY_SCOPE";
    /// The address space that Docker is given for networks of scope local.
    LOCAL_DEFAULT_ADDRESS_SPACE = ["DEFAULT"] "local_default_address_space" Text = "no_address_space";
    /// The address space that Docker is given for networks of scope global.
    GLOBAL_DEFAULT_ADDRESS_SPACE = ["DEFAULT"] "global_default_address_space" Text = "no_address_space";
    /// Whether a container's exposed and published ports are opened by a security group.
    PROCESS_EXTERNAL_CONNECTIVITY = ["DEFAULT"] "process_external_connectivity" Flag = "true";
    /// Whether Docker is to choose every container's MAC address. Neutron's port is then given it.
    REQUIRES_MAC_ADDRESS = ["DEFAULT"] "requires_mac_address" Flag = "false";
    /// The longest that one call from Docker may take, in seconds.
    DOCKER_CALL_TIMEOUT = ["DEFAULT"] "docker_call_timeout" Number = "25";
    /// Whether an http:// kuryr_uri speaks TLS. https:// says the same.
    ENABLE_SSL = ["DEFAULT"] "enable_ssl" Flag = "false";
    /// The certificate chain that is shown to Docker, PEM.
    SSL_CERT_FILE = ["DEFAULT"] "ssl_cert_file" Text = "/var/lib/kuryr/certs/cert.pem";
    /// The certificate's private key, PEM.
    SSL_KEY_FILE = ["DEFAULT"] "ssl_key_file" Text = "/var/lib/kuryr/certs/key.pem";
    /// Authorities, PEM: when set, only clients with a certificate of theirs are served.
    SSL_CA_FILE = ["DEFAULT"] "ssl_ca_file" Text;
    /// Whether a kuryr_uri that others than this host can reach needs an ssl_ca_file.
    SSL_REQUIRE_CLIENT_CERT = ["DEFAULT"] "ssl_require_client_cert" Flag = "true";
    /// Whether a kuryr_uri that others than this host can reach may do without TLS: then everyone
    /// who reaches it drives this host's networks.
    ALLOW_INSECURE_TCP = ["DEFAULT"] "allow_insecure_tcp" Flag = "false";
    /// Where /metrics, /healthz and /readyz are answered: unix://PATH, http://127.0.0.1:PORT,
    /// or nothing to turn it off.
    ADMIN_URI = ["DEFAULT"] "admin_uri" Text = "unix:///run/kuryr/admin.sock";
    /// Where Docker's own API is, unix://PATH, or nothing. It is asked which networks it knows when the dockerd
    /// that had a network made ended within a minute.
    DOCKER_URI = ["DEFAULT"] "docker_uri" Text = "unix:///var/run/docker.sock";
    /// The name that Neutron's agent on this host goes by. Without it, the machine's host name.
    HOST = ["DEFAULT"] "host" Text;
    /// The folder of the journal.
    STATE_PATH = ["DEFAULT"] "state_path" Text = "/var/lib/kuryr";
    /// How a port is attached: veth, on this host's switch; nested or vlan, by the port of the guest
    /// that this host is; sriov, as a virtual function of a card. default_driver must go with it.
    DEFAULT_PORT_DRIVER = ["DEFAULT"] "default_port_driver" Text = "veth";
    /// The ways in which a port may be attached.
    ENABLED_PORT_DRIVERS = ["DEFAULT"] "enabled_port_drivers" List = "veth";
    /// The folder of programs that bind vif types which are not built in.
    BINDIR = ["DEFAULT"] "bindir" Text = "/usr/libexec/kuryr";
    /// What the names of the subnet pools that are created start with.
    SUBNETPOOL_NAME_PREFIX = ["DEFAULT"] "subnetpool_name_prefix" Text = "kuryrPool";
    /// Whether to log at level DEBUG.
    DEBUG = ["DEFAULT"] "debug" Flag = "false";
    /// The folder of a relative log_file; alone, the log goes to kuryr.log in it.
    LOG_DIR = ["DEFAULT"] "log_dir" Text, formerly "logdir";
    /// The file to log to, which is reopened when it has been rotated.
    LOG_FILE = ["DEFAULT"] "log_file" Text, formerly "logfile";
    /// Whether to log to the standard error instead of the standard output.
    USE_STDERR = ["DEFAULT"] "use_stderr" Flag = "false";
    /// Whether to log one JSON object per line.
    USE_JSON = ["DEFAULT"] "use_json" Flag = "false";
    /// Not supported: systemd keeps the standard output in its journal anyway.
    USE_JOURNAL = ["DEFAULT"] "use_journal" Flag = "false";
    /// Not supported: the log goes to the standard output instead.
    USE_SYSLOG = ["DEFAULT"] "use_syslog" Flag = "false";
    /// Former name of default_port_driver, already without effect before.
    PORT_DRIVER = ["DEFAULT"] "port_driver" Ignored;
    /// Of the Python daemon.
    PYBASEDIR = ["DEFAULT"] "pybasedir" Ignored;
    /// Of the Python daemon.
    DEPLOYMENT_TYPE = ["DEFAULT"] "deployment_type" Ignored;
    /// Of oslo.log.
    LOG_CONFIG_APPEND = ["DEFAULT"] "log_config_append" Ignored;
    /// Of oslo.log.
    LOG_DATE_FORMAT = ["DEFAULT"] "log_date_format" Ignored;
    /// Of oslo.log.
    DEFAULT_LOG_LEVELS = ["DEFAULT"] "default_log_levels" Ignored;
    /// Of oslo.log.
    SYSLOG_LOG_FACILITY = ["DEFAULT"] "syslog_log_facility" Ignored;
    /// Of oslo.log: rotated files are always noticed.
    WATCH_LOG_FILE = ["DEFAULT"] "watch_log_file" Ignored;
    /// Of oslo.log.
    VERBOSE = ["DEFAULT"] "verbose" Ignored;

    /// What interfaces are called inside a container, before their number.
    VETH_DST_PREFIX = ["binding"] "veth_dst_prefix" Text = "eth";
    /// How an interface is made where a network does not say otherwise: veth; with the port driver
    /// nested, macvlan, ipvlan or ipvlan_l3; with vlan, vlan; with sriov, hw_veb.
    DEFAULT_DRIVER = ["binding"] "default_driver" Text = "veth", formerly "driver";
    /// The ways in which an interface may be made, and which a network may ask for (kuryr.driver).
    ENABLED_DRIVERS = ["binding"] "enabled_drivers" List = "veth";
    /// The interface of this host that macvlan, ipvlan and vlan share; without it, the one whose MAC
    /// address Neutron has on the container's network, or on a port that carries a trunk.
    LINK_IFACE = ["binding"] "link_iface" Text;
    /// Where Open vSwitch's database is: unix:PATH or a path, or nothing where there is no Open vSwitch.
    OVSDB_CONNECTION = ["binding"] "ovsdb_connection" Text = "unix:/run/openvswitch/db.sock";

    /// Whether the subnets that are created have DHCP.
    ENABLE_DHCP = ["neutron"] "enable_dhcp" Flag = "True";
    /// The name of the subnet pool of IPv4 networks that name none.
    DEFAULT_SUBNETPOOL_V4 = ["neutron"] "default_subnetpool_v4" Text = "kuryr";
    /// The name of the subnet pool of IPv6 networks that name none.
    DEFAULT_SUBNETPOOL_V6 = ["neutron"] "default_subnetpool_v6" Text = "kuryr6";
    /// Whether an endpoint fails whose port does not become active in time.
    VIF_PLUGGING_IS_FATAL = ["neutron"] "vif_plugging_is_fatal" Flag = "false";
    /// How many seconds to wait for a port to become active; 0 means 15.
    VIF_PLUGGING_TIMEOUT = ["neutron"] "vif_plugging_timeout" Integer = "0";
    /// The region whose Neutron is used; without it, the catalogue's first.
    REGION_NAME = ["neutron"] "region_name" Text;
    /// Which of Neutron's endpoints is used: public, internal or admin.
    ENDPOINT_TYPE = ["neutron"] "endpoint_type" Text = "public";
    /// Neutron's URL, in place of the catalogue's.
    ENDPOINT_OVERRIDE = ["neutron"] "endpoint_override" Text;
    /// The authorities trusted for Keystone and Neutron, PEM; without it, the system's.
    CAFILE = ["neutron"] "cafile" Text;
    /// The certificate shown to Keystone and Neutron, PEM.
    CERTFILE = ["neutron"] "certfile" Text;
    /// Its private key, PEM; without it, in certfile.
    KEYFILE = ["neutron"] "keyfile" Text;
    /// Whether to talk to Keystone and Neutron without checking who they are.
    INSECURE = ["neutron"] "insecure" Flag = "false";
    /// The longest that one exchange with Keystone or Neutron may take, in seconds.
    TIMEOUT = ["neutron"] "timeout" Number;
    /// The section that holds the credentials, if it is not this one.
    AUTH_SECTION = ["neutron"] "auth_section" Text;
    /// password, v3password, token, v3token, v3applicationcredential, none or http_basic.
    AUTH_TYPE = ["neutron"] "auth_type" Text, formerly "auth_plugin";
    /// Keystone's URL, with or without /v3.
    AUTH_URL = ["neutron"] "auth_url" Text;
    /// The user's name.
    USERNAME = ["neutron"] "username" Text, formerly "user_name";
    /// The user's id.
    USER_ID = ["neutron"] "user_id" Text;
    /// The id of the user's domain; it wins over the name.
    USER_DOMAIN_ID = ["neutron"] "user_domain_id" Text;
    /// The name of the user's domain.
    USER_DOMAIN_NAME = ["neutron"] "user_domain_name" Text;
    /// The user's password.
    PASSWORD = ["neutron"] "password" Secret;
    /// The project's id.
    PROJECT_ID = ["neutron"] "project_id" Text, formerly "tenant_id";
    /// The project's name.
    PROJECT_NAME = ["neutron"] "project_name" Text, formerly "tenant_name";
    /// The id of the project's domain; it wins over the name.
    PROJECT_DOMAIN_ID = ["neutron"] "project_domain_id" Text;
    /// The name of the project's domain.
    PROJECT_DOMAIN_NAME = ["neutron"] "project_domain_name" Text;
    /// The domain to act in, by id.
    DOMAIN_ID = ["neutron"] "domain_id" Text;
    /// The domain to act in, by name.
    DOMAIN_NAME = ["neutron"] "domain_name" Text;
    /// `all` to act on the whole system.
    SYSTEM_SCOPE = ["neutron"] "system_scope" Text;
    /// The trust to act under.
    TRUST_ID = ["neutron"] "trust_id" Text;
    /// The domain of user and project where they name none, by id.
    DEFAULT_DOMAIN_ID = ["neutron"] "default_domain_id" Text;
    /// The domain of user and project where they name none, by name.
    DEFAULT_DOMAIN_NAME = ["neutron"] "default_domain_name" Text;
    /// A token of Keystone's to start from.
    TOKEN = ["neutron"] "token" Secret;
    /// The application credential's id.
    APPLICATION_CREDENTIAL_ID = ["neutron"] "application_credential_id" Text;
    /// The application credential's name, which needs a user.
    APPLICATION_CREDENTIAL_NAME = ["neutron"] "application_credential_name" Text;
    /// The application credential's secret.
    APPLICATION_CREDENTIAL_SECRET = ["neutron"] "application_credential_secret" Secret;
    /// Neutron's URL for auth_type none and http_basic.
    ENDPOINT = ["neutron"] "endpoint" Text;
    /// Of keystonemiddleware.
    AUTH_URI = ["neutron"] "auth_uri" Ignored;
    /// Of keystonemiddleware.
    WWW_AUTHENTICATE_URI = ["neutron"] "www_authenticate_uri" Ignored;
    /// Of keystonemiddleware; endpoint_type is the one that counts.
    INTERFACE = ["neutron"] "interface" Ignored;
    /// Of keystonemiddleware.
    MEMCACHED_SERVERS = ["neutron"] "memcached_servers" Ignored;
    /// Of keystonemiddleware.
    SIGNING_DIR = ["neutron"] "signing_dir" Ignored;
    /// Of keystoneauth.
    COLLECT_TIMING = ["neutron"] "collect_timing" Ignored;
    /// Of keystoneauth.
    SPLIT_LOGGERS = ["neutron"] "split_loggers" Ignored;

    /// The SR-IOV cards whose virtual functions containers get with hw_veb, each with the physical
    /// network that it is on, as Neutron's agent has it: physnet2:ens1f0.
    PHYSICAL_DEVICE_MAPPINGS = ["sriov"] "physical_device_mappings" List;

    /// Whether ports are made, bound and plugged before a container asks for one, on networks that are
    /// in use on this host. `-o kuryr.pool=off` does without on one network.
    PORT_POOL = ["port_pool"] "enabled" Flag = "true";
    /// How many such ports a network has at least.
    PORT_POOL_MIN = ["port_pool"] "min" Integer = "2";
    /// How many it has at most, and never more than an eighth of its subnet's addresses. In between,
    /// as many as containers were started within a few seconds lately.
    PORT_POOL_MAX = ["port_pool"] "max" Integer = "64";
    /// How many are made in one request.
    PORT_POOL_BATCH = ["port_pool"] "batch" Integer = "10";
    /// After how many seconds without as many starts half of them are given back.
    PORT_POOL_IDLE = ["port_pool"] "idle_time" Number = "600";

    /// Whether to use a Neutron of this program's own, for this host alone, in place of a cloud's.
    STANDALONE = ["standalone"] "enabled" Flag = "false";
    /// The file that this Neutron keeps everything in.
    DATABASE = ["standalone"] "database" Text = "$state_path/neutron.db";
    /// Where this Neutron's API listens, as ADDRESS:PORT of the loopback interface; empty is nowhere.
    NEUTRON_LISTEN = ["standalone"] "neutron_listen" Text;
    /// What IPv4 networks without --subnet get their ranges from; read when the database is made.
    /// Without it, a range is chosen that is free on this host.
    POOL_PREFIX_V4 = ["standalone"] "subnetpool_v4_prefix" Text;
    /// What IPv6 networks without --subnet get their ranges from; read when the database is made.
    /// Without it, a random unique local range (RFC 4193) is made up.
    POOL_PREFIX_V6 = ["standalone"] "subnetpool_v6_prefix" Text;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_declared_twice() {
        let mut names: Vec<_> = ALL
            .iter()
            .flat_map(|o| o.formerly.iter().chain([&o.name]).map(|n| (o.group, *n)))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
