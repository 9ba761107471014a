//! Two hosts, one Neutron.

use std::time::Duration;

use crate::lab::{Kuryr, on, until};
use crate::traces::{port_at, ports_at};

#[test]
#[ignore = "needs the lab: make test"]
fn containers_on_two_hosts_reach_each_other_through_the_tunnel() {
    let here = Kuryr::begin();
    let there = Kuryr::begin_on("host2", "");
    let one = here.network("--subnet 10.20.0.0/24");
    let a = here.sleeper(&one, "");
    let id = port_at(&here.address(&a, &one, "IPAddress")).network_id;
    let two = there.network(&format!("--subnet 10.20.0.0/24 -o neutron.net.uuid={id}"));
    let b = there.sleeper(&two, "");
    let address = there.address(&b, &two, "IPAddress");
    assert_eq!(port_at(&address).host_id.as_deref(), Some("host2"));
    here.inside(&a, &format!("ping -c 1 -W 2 {address}"))
        .expect("the first packet");
    super::containers::assert_tcp_between(&here, &a, &there, &b, &address);
    let tunnels = on("host1", "ovs-vsctl --bare --columns=type list Interface").text;
    assert!(tunnels.contains("geneve"), "{tunnels}");
    there.clear();
    // Its port goes after Docker has its answer, and while it is there the network is in use.
    assert!(until(Duration::from_secs(10), || ports_at(&address).is_empty()));
    here.clear();
    there.end();
    here.end();
}
