//! Ports that no container has.

use crate::alone::{Kuryr, here};

#[test]
#[ignore = "needs the lab: make test"]
fn a_port_that_no_container_has_is_listed_and_released_and_no_other() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.30.0.0/24");
    let a = kuryr.sleeper(&network, "");
    let orphans = |options: &str| {
        let folder = kuryr.folder.path().display();
        let program = std::env::var("KURYR_TEST_PROGRAM").expect("make test sets it");
        here(&format!(
            "{program} orphans --config-file {folder}/kuryr.conf {options}"
        ))
        .expect("kuryr orphans")
    };
    assert_eq!(
        orphans(""),
        "nothing of Kuryr's here is without its container"
    );
    // As a crash leaves it between Docker's request for an address and the one for an endpoint.
    let of = "port list --device-owner compute:kuryr -f value -c";
    let id = kuryr
        .openstack("network list -f value -c ID")
        .expect("list");
    let port = kuryr.openstack(&format!("{of} ID")).expect("list");
    let host = kuryr
        .openstack(&format!("port show {port} -f value -c binding_host_id"))
        .expect("show");
    let orphan = kuryr
        .openstack(&format!(
            "port create --network {id} --host {host} --device-owner compute:kuryr \
             -f value -c id kuryr-unbound-port"
        ))
        .expect("port create");
    let said = orphans("");
    assert!(said.contains(&orphan) && !said.contains(&port), "{said}");
    assert!(said.contains("nothing on this host is plugged"), "{said}");
    let said = orphans("--release");
    assert!(said.contains(&orphan) && !said.contains(&port), "{said}");
    crate::alone::within(std::time::Duration::from_secs(10), "its end", || {
        kuryr.openstack(&format!("{of} ID")).text == port
    });
    let address = kuryr.address(&a, "IPAddress");
    here(&format!("ping -c 1 -W 2 {address}")).expect("the container goes on");
    kuryr.end();
}
