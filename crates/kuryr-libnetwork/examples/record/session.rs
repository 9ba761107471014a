//! The commands of a recording.

/// A docker command, and what its recording is called.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) command: &'static str,
}

const fn step(name: &'static str, command: &'static str) -> Step {
    Step { name, command }
}

/// A command that a version of Docker does not know causes no calls, and no recording.
pub(crate) const STEPS: &[Step] = &[
    step(
        "network-create",
        "network create -d DRIVER --ipam-driver DRIVER --subnet 10.231.1.0/24 --gateway 10.231.1.1 \
         --ip-range 10.231.1.128/25 --aux-address printer=10.231.1.9 \
         -o com.example.colour=blue --ipam-opt com.example.shade=dark rec-blue",
    ),
    step(
        "network-create-without-subnet",
        "network create -d DRIVER --ipam-driver DRIVER rec-any",
    ),
    step(
        "network-create-dual-stack",
        "network create -d DRIVER --ipam-driver DRIVER --ipv6 --subnet 10.231.2.0/24 \
         --subnet fd00:231:2::/64 --gateway fd00:231:2::1 rec-dual",
    ),
    step(
        "network-create-ipv6-only",
        "network create -d DRIVER --ipam-driver DRIVER --ipv4=false --ipv6 \
         --subnet fd00:231:3::/64 rec-six",
    ),
    step(
        "network-create-internal",
        "network create -d DRIVER --ipam-driver DRIVER --internal --subnet 10.231.4.0/24 rec-inner",
    ),
    step(
        "network-create-with-dockers-ipam",
        "network create -d DRIVER --subnet 10.231.5.0/24 rec-ours",
    ),
    step(
        "network-create-with-null-ipam",
        "network create -d DRIVER --ipam-driver null rec-null",
    ),
    step(
        "run",
        "run -d --name rec-1 --network rec-blue IMAGE sleep 1d",
    ),
    step(
        "run-with-address",
        "run -d --name rec-2 --network rec-blue --ip 10.231.1.200 IMAGE sleep 1d",
    ),
    step(
        "run-with-mac-address",
        "run -d --name rec-3 --network rec-any --mac-address 02:E7:00:aa:Bb:01 IMAGE sleep 1d",
    ),
    step(
        "run-with-ports",
        "run -d --name rec-4 --network rec-blue -p 18080:80 -p 127.0.0.1:18053:53/udp \
         --expose 443 --expose 132/sctp IMAGE sleep 1d",
    ),
    step(
        "run-with-driver-option",
        "run -d --name rec-5 --network name=rec-blue,driver-opt=com.example.colour=red IMAGE sleep 1d",
    ),
    step(
        "run-dual-stack",
        "run -d --name rec-6 --network rec-dual --ip6 fd00:231:2::66 IMAGE sleep 1d",
    ),
    step(
        "run-ipv6-only",
        "run -d --name rec-7 --network rec-six IMAGE sleep 1d",
    ),
    step(
        "run-internal",
        "run -d --name rec-8 --network rec-inner IMAGE sleep 1d",
    ),
    step(
        "run-with-dockers-ipam",
        "run -d --name rec-9 --network rec-ours IMAGE sleep 1d",
    ),
    step(
        "run-with-null-ipam",
        "run -d --name rec-10 --network rec-null IMAGE sleep 1d",
    ),
    step("network-connect", "network connect rec-any rec-1"),
    step("network-disconnect", "network disconnect rec-any rec-1"),
    step("restart", "restart -t 0 rec-1"),
    step("stop", "stop -t 0 rec-2"),
    step("start", "start rec-2"),
    step("rm", "rm -f rec-1"),
    step("rm-with-address", "rm -f rec-2"),
    step("rm-with-mac-address", "rm -f rec-3"),
    step("rm-with-ports", "rm -f rec-4"),
    step("rm-with-driver-option", "rm -f rec-5"),
    step("rm-dual-stack", "rm -f rec-6"),
    step("rm-ipv6-only", "rm -f rec-7"),
    step("rm-internal", "rm -f rec-8"),
    step("rm-with-dockers-ipam", "rm -f rec-9"),
    step("rm-with-null-ipam", "rm -f rec-10"),
    step("network-rm", "network rm rec-blue"),
    step("network-rm-without-subnet", "network rm rec-any"),
    step("network-rm-dual-stack", "network rm rec-dual"),
    step("network-rm-ipv6-only", "network rm rec-six"),
    step("network-rm-internal", "network rm rec-inner"),
    step("network-rm-with-dockers-ipam", "network rm rec-ours"),
    step("network-rm-with-null-ipam", "network rm rec-null"),
];
