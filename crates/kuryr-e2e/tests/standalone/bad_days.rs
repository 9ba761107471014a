//! What goes wrong, and what is said of it.

use std::fs;
use std::time::Duration;

use crate::alone::{Kuryr, here, until, within};

#[test]
#[ignore = "needs the lab: make test"]
fn ranges_in_use_are_refused_by_name() {
    let kuryr = Kuryr::begin();
    let name = kuryr.network("--subnet 10.79.0.0/24");
    for (range, user) in [
        ("10.79.0.0/25", "kuryr-net-"),
        ("172.17.1.0/24", "docker0"),
        ("10.99.0.0/16", "mgmt0"),
    ] {
        let refused = kuryr.try_network(&format!("--subnet {range}"));
        let said = refused.expect_failure(range);
        assert!(
            said.contains(user) && said.contains("choose another range"),
            "{said}"
        );
    }
    // Nothing of them is left.
    let networks = kuryr
        .openstack("network list -f value -c ID")
        .expect("openstack");
    assert_eq!(networks.lines().count(), 1, "{networks} {name}");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_firewall_that_is_flushed_and_a_bridge_that_is_deleted_are_made_again() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.80.0.0/24");
    let (one, two) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let ping = format!("ping -c 1 -W 1 {}", kuryr.address(&two, "IPAddress"));
    let driver = &kuryr.driver;
    let forged = format!("ip addr replace 10.80.0.99/24 dev eth0; {ping} -I 10.80.0.99");
    for table in ["inet", "bridge"] {
        here(&format!("nft delete table {table} {driver}")).expect("nft");
        within(Duration::from_secs(5), "the table is back", || {
            here(&format!("nft list table {table} {driver}")).ok
        });
        kuryr.inside(&one, &ping).expect("a ping after that");
        kuryr
            .inside(&one, &forged)
            .expect_failure("a forged ping after that");
    }
    // With Docker's rules, in which we have ours, flushed as well.
    here("iptables -F DOCKER-USER").expect("iptables");
    within(
        Duration::from_secs(5),
        "packets pass Docker's firewall",
        || kuryr.inside(&one, &ping).ok,
    );
    here("iptables -A DOCKER-USER -j RETURN").expect("iptables");
    here("ip link del $(ls /sys/class/net | grep ^brq)").expect("ip link del");
    within(Duration::from_secs(10), "the bridge is back", || {
        kuryr.inside(&one, &ping).ok
    });
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn two_daemons_do_not_share_a_database() {
    let kuryr = Kuryr::begin();
    let folder = kuryr.folder.path().display();
    let second = format!(
        "{} serve --standalone --config-file /dev/null --config-dir {folder}/none 2>&1",
        std::env::var("KURYR_TEST_PROGRAM").unwrap()
    );
    fs::create_dir(kuryr.folder.path().join("none")).unwrap();
    let said = here(&format!(
        "OS_DEFAULT__KURYR_URI=unix://{folder}/second.sock OS_DEFAULT__ADMIN_URI= \
         OS_DEFAULT__STATE_PATH={folder}/state {second}"
    ));
    let said = said.expect_failure("a second daemon");
    assert!(said.contains("is in use by another process"), "{said}");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_database_that_cannot_be_used_is_refused_with_what_to_do_and_left_alone() {
    let mut kuryr = Kuryr::begin();
    kuryr.stop("-TERM");
    let state = kuryr.folder.path().join("state");
    let database = state.join("neutron.db");
    let good = fs::read(&database).unwrap();
    let start = format!(
        "{} serve --config-file {}/kuryr.conf 2>&1",
        std::env::var("KURYR_TEST_PROGRAM").unwrap(),
        kuryr.folder.path().display()
    );
    fs::write(
        &database,
        b"this is no database, but some other file of the user's",
    )
    .unwrap();
    let said = here(&start).expect_failure("a damaged database");
    assert!(said.contains("is damaged"), "{said}");
    assert!(fs::read(&database).unwrap().starts_with(b"this is no"));
    fs::write(&database, &good).unwrap();
    let newer = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version = 999'); c.commit()";
    here(&format!("python3 -c \"{newer}\" {}", database.display())).expect("python3");
    let said = here(&start).expect_failure("a newer database");
    assert!(said.contains("newer Kuryr"), "{said}");
    fs::write(&database, &good).unwrap();
    for name in ["neutron.db-wal", "neutron.db-shm"] {
        let _ = fs::remove_file(state.join(name));
    }
    kuryr.start();
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_full_disk_refuses_networks_and_containers_and_breaks_nothing() {
    let mut kuryr = Kuryr::begin();
    kuryr.stop("-TERM");
    let small = kuryr.folder.path().join("small");
    fs::create_dir(&small).unwrap();
    let small = small.display().to_string();
    here(&format!("mount -t tmpfs -o size=1m tmpfs {small}")).expect("mount");
    kuryr.configure(&format!("database = {small}/neutron.db"));
    kuryr.start();
    let network = kuryr.network("--subnet 10.81.0.0/24");
    let one = kuryr.sleeper(&network, "");
    here(&format!(
        "dd if=/dev/zero of={small}/full bs=4k >/dev/null 2>&1; true"
    ))
    .expect("dd");
    let refused = kuryr
        .try_network("--subnet 10.82.0.0/24")
        .expect_failure("a network");
    assert!(refused.contains("disk is full"), "{refused}");
    kuryr
        .inside(&one, "ping -c 1 -W 1 10.81.0.1")
        .expect("what was there works");
    here(&format!("rm {small}/full")).expect("rm");
    assert!(
        until(Duration::from_secs(10), || kuryr
            .try_network("--subnet 10.82.0.0/24")
            .ok),
        "with room again, it goes on"
    );
    // Its file must be let go before the folder can.
    let driver = kuryr.driver.clone();
    here(&format!(
        "docker rm -f {one}; docker network ls -q --filter driver={driver} | xargs docker network rm"
    ))
    .expect("docker");
    within(Duration::from_secs(10), "all is gone", || {
        !here("ls /sys/class/net | grep -q ^brq").ok
    });
    kuryr.stop("-TERM");
    here(&format!("umount {small}")).expect("umount");
    kuryr.configure("");
    kuryr.start();
    kuryr.end();
}

/// How the program starts by hand, for three seconds at most.
fn start(kuryr: &Kuryr) -> String {
    let program = std::env::var("KURYR_TEST_PROGRAM").unwrap();
    let folder = kuryr.folder.path().display();
    format!("timeout 3 {program} serve --config-file {folder}/kuryr.conf 2>&1")
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_state_directory_that_cannot_be_written_is_refused_by_name() {
    let mut kuryr = Kuryr::begin();
    kuryr.stop("-TERM");
    let state = kuryr.folder.path().join("state").display().to_string();
    let mount = format!("mount --bind {state} {state} && mount -o remount,bind,ro {state}");
    here(&mount).expect("mount");
    let said = here(&start(&kuryr));
    here(&format!("umount {state}")).expect("umount");
    let said = said.expect_failure("a read-only state directory");
    let named = said.contains(&state) && !said.contains("answering Docker");
    assert!(named && said.contains("Read-only file system"), "{said}");
    kuryr.start();
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn without_nft_the_log_says_so_at_once_and_docker_when_a_container_starts() {
    let mut kuryr = Kuryr::begin();
    let network = kuryr.network("");
    kuryr.stop("-TERM");
    here("mount --bind /dev/null /usr/sbin/nft").expect("mount");
    kuryr.start();
    let told = until(Duration::from_secs(5), || {
        kuryr.log().contains("apt-get install nftables")
    });
    let refused = kuryr.try_run(&network, "", "true");
    here("umount /usr/sbin/nft").expect("umount");
    assert!(told, "{}", kuryr.log());
    let refused = refused.expect_failure("a container that nothing protects");
    assert!(refused.contains("apt-get install nftables"), "{refused}");
    within(Duration::from_secs(40), "with nft, it goes on", || {
        kuryr.try_run(&network, "", "true").ok
    });
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn what_the_kernel_lacks_or_refuses_is_in_the_log_at_once() {
    let mut kuryr = Kuryr::begin();
    kuryr.stop("-TERM");
    let weak = format!("setpriv --bounding-set -net_admin {}", start(&kuryr));
    let said = here(&weak).text;
    assert!(said.contains("CAP_NET_ADMIN"), "{said}");
    let empty = kuryr.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let mount = format!("mount --bind {} /proc/sys/net/bridge", empty.display());
    here(&mount).expect("mount");
    let said = here(&start(&kuryr)).text;
    here("umount /proc/sys/net/bridge").expect("umount");
    assert!(said.contains("modprobe br_netfilter"), "{said}");
    kuryr.start();
    kuryr.end();
}
