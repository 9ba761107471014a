//! The openstack command line on it, over a socket, without Keystone.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use neutron_embedded::{Embedded, EmbeddedSettings};
use serde::Deserialize;
use serde_json::{Value, json};

#[test]
#[ignore = "needs python-openstackclient: make test"]
fn networks_are_made_shown_changed_and_deleted() {
    let mut openstack = Openstack::start();
    let made = openstack.json("network create --mtu 1300 --description d --tag a --tag b one");
    assert_eq!(made["mtu"], 1300);
    assert_eq!(made["tags"], json!(["a", "b"]));
    openstack.run("network set --name two --description e --disable --tag c one");
    openstack.run("network unset --tag a two");
    let shown = openstack.json("network show two");
    assert_eq!(shown["id"], made["id"]);
    assert_eq!(
        (&shown["description"], &shown["admin_state_up"]),
        (&json!("e"), &json!(false))
    );
    assert_eq!(shown["tags"], json!(["b", "c"]));
    openstack.run("network set --no-tag two");
    assert_eq!(openstack.json("network show two")["tags"], json!([]));
    openstack.run("network delete two");
    let said = openstack.refusal("network show two");
    assert!(said.contains("No Network found for two"), "{said}");
}

#[test]
#[ignore = "needs python-openstackclient: make test"]
fn lists_are_filtered_by_tags_sorted_and_read_in_pages() {
    let mut openstack = Openstack::start();
    for (name, tags) in [("c", "--tag x"), ("a", "--tag x --tag y"), ("b", "--tag z")] {
        openstack.run(&format!("network create {tags} {name}"));
    }
    let lists = [
        ("--sort-column Name", vec!["a", "b", "c"]),
        ("--sort-column Name --sort-descending", vec!["c", "b", "a"]),
        ("--sort-column Name --limit 1", vec!["a", "b", "c"]),
        ("--sort-column Name --tags x", vec!["a", "c"]),
        ("--tags x,y", vec!["a"]),
        ("--sort-column Name --any-tags y,z", vec!["a", "b"]),
        ("--sort-column Name --not-tags x,y", vec!["b", "c"]),
        ("--not-any-tags y,z", vec!["c"]),
        ("--name b --internal --enable --no-share", vec!["b"]),
        ("--external", vec![]),
    ];
    for (options, expected) in lists {
        let names = openstack.column(&format!("network list {options}"), "Name");
        assert_eq!(names, expected, "{options}");
    }
    assert_eq!(
        openstack
            .json("network list --max-items 2")
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let long = openstack.json("network list --long --tags z");
    assert_eq!(
        (&long[0]["Status"], &long[0]["Tags"]),
        (&json!("ACTIVE"), &json!(["z"]))
    );
}

#[test]
#[ignore = "needs python-openstackclient: make test"]
fn subnets_come_from_ranges_and_from_pools() {
    let mut openstack = Openstack::start();
    openstack.run(
        "subnet pool create --pool-prefix 10.50.0.0/16 --default-prefix-length 24 \
         --min-prefix-length 20 --max-prefix-length 28 --tag a pool",
    );
    openstack.run("subnet pool set --name lake --pool-prefix 10.51.0.0/16 --tag b pool");
    openstack.run("subnet pool unset --tag a lake");
    let pool = openstack.json("subnet pool show lake");
    assert_eq!(pool["prefixes"], json!(["10.50.0.0/15"]));
    assert_eq!(pool["tags"], json!(["b"]));
    let defaults = openstack.column("subnet pool list --default --sort-column Name", "Name");
    assert_eq!(defaults, ["kuryr", "kuryr6"]);
    assert_eq!(
        openstack.column("subnet pool list --long --tags b", "Name"),
        ["lake"]
    );

    openstack.run("network create one");
    let subnet = openstack.json(
        "subnet create --network one --subnet-pool lake --prefix-length 26 \
         --dns-nameserver 10.1.1.1 --host-route destination=10.9.0.0/16,gateway=10.50.0.5 \
         --tag a first",
    );
    assert_eq!(subnet["cidr"], "10.50.0.0/26");
    assert_eq!(subnet["subnetpool_id"], pool["id"]);
    openstack
        .run("subnet set --no-dhcp --dns-nameserver 10.1.1.2 --no-host-route --gateway none first");
    openstack.run(
        "subnet set --no-allocation-pool --allocation-pool start=10.50.0.9,end=10.50.0.9 first",
    );
    let subnet = openstack.json("subnet show first");
    assert_eq!(
        (&subnet["enable_dhcp"], &subnet["gateway_ip"]),
        (&json!(false), &Value::Null)
    );
    let mut servers: Vec<String> =
        serde_json::from_value(subnet["dns_nameservers"].clone()).unwrap();
    servers.sort_unstable();
    assert_eq!(servers, ["10.1.1.1", "10.1.1.2"]);
    assert_eq!(subnet["host_routes"], json!([]));
    let range = json!([{"start": "10.50.0.9", "end": "10.50.0.9"}]);
    assert_eq!(subnet["allocation_pools"], range);

    openstack.run("subnet create --network one --ip-version 6 --subnet-range fd00:77::/64 six");
    let list = "subnet list --network one --ip-version 6 --subnet-range fd00:77::/64 --long";
    assert_eq!(openstack.column(list, "Name"), ["six"]);
    assert_eq!(
        openstack.column("subnet list --no-dhcp --subnet-pool lake", "Name"),
        ["first"]
    );
    let said = openstack.refusal("subnet create --network one --subnet-range 10.50.0.0/24 other");
    assert!(said.contains("overlaps with another subnet"), "{said}");
    let said = openstack.refusal("subnet pool delete lake");
    assert!(
        said.contains("Subnet pool has existing allocations"),
        "{said}"
    );
    for gone in [
        "subnet delete first six",
        "subnet pool delete lake",
        "network delete one",
    ] {
        openstack.run(gone);
    }
}

#[test]
#[ignore = "needs python-openstackclient: make test"]
fn ports_are_made_bound_changed_and_deleted() {
    let mut openstack = Openstack::start();
    for command in [
        "network create one",
        "subnet create --network one --subnet-range 10.20.0.0/24 sub",
        "security group create web",
    ] {
        openstack.run(command);
    }
    let port = openstack.json(
        "port create --network one --fixed-ip subnet=sub,ip-address=10.20.0.9 \
         --mac-address fa:16:3e:11:22:33 --security-group web --host host1 --device dev \
         --device-owner compute:kuryr --allowed-address ip-address=10.20.0.99 \
         --binding-profile key=value --tag a first",
    );
    assert_eq!(port["fixed_ips"][0]["ip_address"], "10.20.0.9");
    assert_eq!(port["binding_vif_type"], "bridge");
    assert_eq!(port["binding_profile"], json!({"key": "value"}));
    openstack
        .run("port set --name renamed --fixed-ip subnet=sub,ip-address=10.20.0.10 --tag b first");
    openstack.run("port unset --allowed-address ip-address=10.20.0.99,mac-address=fa:16:3e:11:22:33 --tag a renamed");
    openstack.run("port set --no-security-group --disable-port-security renamed");
    let port = openstack.json("port show renamed");
    let addresses = port["fixed_ips"].as_array().unwrap().len();
    assert_eq!((addresses, &port["tags"]), (2, &json!(["b"])));
    assert_eq!(port["allowed_address_pairs"], json!([]));
    assert_eq!(
        (&port["security_group_ids"], &port["port_security_enabled"]),
        (&json!([]), &json!(false))
    );
    for options in [
        "--network one --device-id dev --long",
        "--fixed-ip subnet=sub,ip-address=10.20.0.10",
        "--fixed-ip ip-substring=20.0.1",
        "--mac-address fa:16:3e:11:22:33 --host host1",
        "--device-owner compute:kuryr --tags b",
    ] {
        assert_eq!(
            openstack.column(&format!("port list {options}"), "Name"),
            ["renamed"],
            "{options}"
        );
    }
    let said = openstack.refusal("network delete one");
    assert!(
        said.contains("There are one or more ports still in use"),
        "{said}"
    );
    openstack.run("port unset --host renamed");
    assert_eq!(
        openstack.json("port show renamed")["binding_vif_type"],
        "unbound"
    );
    openstack.run("port delete renamed");
    assert_eq!(openstack.json("port list"), json!([]));
}

#[test]
#[ignore = "needs python-openstackclient: make test"]
fn security_groups_have_rules() {
    let mut openstack = Openstack::start();
    openstack.run("security group create --description d --tag a web");
    openstack.run("security group set --name www --tag b web");
    openstack.run("security group unset --tag a www");
    assert_eq!(
        openstack.column("security group list --tags b", "Name"),
        ["www"]
    );
    for rule in [
        "--protocol tcp --dst-port 80:90 --remote-ip 10.0.0.0/8 --description r",
        "--protocol icmp --icmp-type 8 --icmp-code 0",
        "--egress --ethertype IPv6 --protocol udp --dst-port 53",
        "--remote-group default",
    ] {
        openstack.run(&format!("security group rule create {rule} www"));
    }
    let twice =
        "security group rule create --protocol tcp --dst-port 80:90 --remote-ip 10.0.0.0/8 www";
    let said = openstack.refusal(twice);
    assert!(
        said.contains("Security group rule already exists"),
        "{said}"
    );
    let ranges = openstack.column("security group rule list --protocol tcp www", "Port Range");
    assert_eq!(ranges, ["80:90"]);
    let list = "security group rule list --ingress --long --protocol icmp www";
    let rules = openstack.column(list, "ID");
    assert_eq!(rules.len(), 1);
    openstack.run(&format!("security group rule delete {}", rules[0]));
    assert_eq!(openstack.json(list), json!([]));
    let shown = openstack.json("security group show www");
    assert_eq!(shown["rules"].as_array().unwrap().len(), 5);
    openstack.run("security group delete www");
    assert_eq!(openstack.column("security group list", "Name"), ["default"]);
}

#[test]
fn one_connection_carries_many_exchanges() {
    let address = serve();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    for (path, expected) in [
        ("/", "versions"),
        ("/v2.0/", "resources"),
        ("/v2.0/networks.json", "networks"),
    ] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let body = read_body(&stream);
        assert!(body[expected].is_array(), "{body}");
    }
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let version = &read_body(&stream)["versions"][0];
    let itself = format!("http://{address}/v2.0/");
    assert_eq!(
        (&version["status"], &version["links"][0]["href"]),
        (&json!("CURRENT"), &json!(itself))
    );
}

fn read_body(stream: &std::net::TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut reader, &mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// Where a new one listens, until the tests end.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let embedded = Embedded::new(EmbeddedSettings::standalone("host1", 1500));
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, embedded.router()).await.unwrap();
        });
    });
    address
}

/// The command line, in one process: most of a command's time is its start.
struct Openstack {
    process: Child,
    commands: ChildStdin,
    outcomes: BufReader<ChildStdout>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    code: i32,
    out: String,
    err: String,
}

impl Openstack {
    fn start() -> Self {
        let python = std::env::var_os("KURYR_TEST_OPENSTACK_PYTHON")
            .expect("KURYR_TEST_OPENSTACK_PYTHON is a Python that has python-openstackclient");
        let mut process = Command::new(python)
            .args(["-c", include_str!("openstack.py")])
            .env_clear()
            .env("OS_AUTH_TYPE", "none")
            .env("OS_ENDPOINT", format!("http://{}", serve()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: process.stdin.take().unwrap(),
            outcomes: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    fn outcome(&mut self, command: &str) -> Outcome {
        let words: Vec<&str> = command.split_whitespace().collect();
        writeln!(self.commands, "{}", json!(words)).unwrap();
        let mut line = String::new();
        self.outcomes.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn run(&mut self, command: &str) -> String {
        let outcome = self.outcome(command);
        assert_eq!(outcome.code, 0, "{command}: {outcome:?}");
        outcome.out
    }

    fn json(&mut self, command: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{command} -f json"))).unwrap()
    }

    fn column(&mut self, command: &str, name: &str) -> Vec<String> {
        let rows = self.json(command);
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row[name].as_str().unwrap().to_owned())
            .collect()
    }

    fn refusal(&mut self, command: &str) -> String {
        let outcome = self.outcome(command);
        assert_ne!(outcome.code, 0, "{command}: {outcome:?}");
        outcome.err
    }
}

impl Drop for Openstack {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
