//! Beside others on the same machine: firewalld, and a Docker that somebody uses.

use std::time::Duration;

use crate::alone::{Kuryr, here, outside, traces, within};
use crate::networks::{HOST, ask, ask_inside};

/// As firewalld keeps its rules: a table of its own, with chains of the same hooks.
const FIREWALLD: &str = "table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        iifname \"lo\" accept
        ct state invalid drop
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct state invalid drop
    }
    chain nat_POSTROUTING {
        type nat hook postrouting priority srcnat + 10; policy accept;
        oifname \"none\" masquerade
    }
}";

#[test]
#[ignore = "needs the lab: make test"]
fn firewallds_table_is_left_alone_and_packets_pass_beside_it() {
    here(&format!("echo '{FIREWALLD}' | nft -f -")).expect("nft");
    let rules = || here("nft list table inet firewalld").expect("firewalld's table");
    let before = rules();
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.85.0.0/24");
    let server = kuryr.server(&network, "-p 8087:80");
    let client = kuryr.sleeper(&network, "");
    let address = kuryr.address(&server, "IPAddress");
    kuryr
        .inside(&client, &ask_inside(&address, 80))
        .expect("on the network");
    kuryr
        .inside(&client, "ping -c 1 -W 1 10.99.0.254")
        .expect("the world");
    outside(&ask(HOST, 8087)).expect("a published port");
    assert_eq!(rules(), before);
    // firewalld drops what is not of a zone that forwards, and we can't overrule it.
    here("nft insert rule inet firewalld filter_FORWARD iifname 'brq*' oifname 'mgmt0' drop")
        .expect("nft");
    kuryr
        .inside(&client, "ping -c 1 -W 1 10.99.0.254")
        .expect_failure("what firewalld drops");
    here("nft flush chain inet firewalld filter_FORWARD").expect("nft");
    // As firewall-cmd --reload does.
    here(&format!(
        "nft delete table inet firewalld; echo '{FIREWALLD}' | nft -f -"
    ))
    .expect("nft");
    within(Duration::from_secs(5), "packets pass again", || {
        kuryr.inside(&client, "ping -c 1 -W 1 10.99.0.254").ok
    });
    kuryr.end();
    assert_eq!(rules(), before);
    here("nft delete table inet firewalld").expect("nft");
}

#[test]
#[ignore = "needs the lab: make test"]
fn the_demo_works_on_a_docker_that_is_in_use_and_leaves_it_as_it_was() {
    here("docker network create mine && docker run -d --name mine --network mine bb:1 sleep 3600")
        .expect("a container of the user's");
    let all = || {
        let images = here("docker image ls --format '{{.Repository}}:{{.Tag}}'").text;
        format!("{}\n{images}", traces())
    };
    let before = all();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/demo");
    let shown = here(demo);
    let after = all();
    let runs = here("docker inspect -f '{{.State.Running}}' mine").text;
    here("docker rm -f mine && docker network rm mine").expect("docker rm");
    let shown = shown.expect("make demo");
    assert!(
        shown.contains("hello from web") && shown.contains("This machine's Docker"),
        "{shown}"
    );
    assert_eq!(after, before);
    assert_eq!(runs, "true");
}

#[test]
#[ignore = "needs the lab: make test"]
fn where_docker_drops_what_is_forwarded_packets_pass_and_only_its_chain_for_others_has_changed() {
    let policy = here("iptables -S FORWARD").expect("iptables");
    assert!(policy.contains("-P FORWARD DROP"), "{policy}");
    let kuryr = Kuryr::begin();
    let comment = format!("--comment {}", kuryr.driver);
    let rules = "for c in iptables ip6tables; do $c -S; $c -t nat -S; done";
    let others = || {
        here(&format!(
            "({rules}) | grep -v -e '{comment}' | grep -e ^- | sort"
        ))
    };
    let before = others().expect("iptables");
    let network = kuryr.network("--ipv6 --subnet 10.86.0.0/24 --subnet fd00:86::/64");
    let server = kuryr.server(&network, "-p 8088:80");
    for world in ["10.99.0.254", "fd00:99::254"] {
        kuryr
            .inside(&server, &format!("ping -c 1 -W 2 {world}"))
            .expect(world);
    }
    outside(&ask(HOST, 8088)).expect("a published port");
    outside(&ask("fd00:99::30", 8088)).expect("a published port by IPv6");
    assert_eq!(others().expect("iptables"), before);
    let ours = || here(&format!("iptables -S DOCKER-USER | grep -c -e '{comment}'")).text;
    assert_eq!(ours(), "4");
    // Somebody removes them, as iptables-restore does.
    here("iptables -F DOCKER-USER; iptables -A DOCKER-USER -j RETURN").expect("iptables");
    within(Duration::from_secs(5), "they are back", || ours() == "4");
    outside(&ask(HOST, 8088)).expect("a published port");
    kuryr.end();
}
