#!/usr/bin/env bash
# Plugs ports by hand and sends packets: two containers on host1, one on host2. Runs outside the spaces.
set -euo pipefail
shopt -s inherit_errexit
lab=$LAB_DIR/lab
network=lab-check-$$

host() { "$lab" enter "$@"; }

cleanup() {
    local name
    for name in a b c; do
        host "$(host_of $name)" -- docker rm -f "check-$name" >/dev/null 2>&1 || true
        host "$(host_of $name)" -- ovs-vsctl --if-exists del-port "check-$name" || true
        host "$(host_of $name)" -- ip link delete "check-$name" 2>/dev/null || true
        host cloud -- openstack port delete "$network-$name" 2>/dev/null || true
    done
    host cloud -- openstack network delete "$network" || true
}

host_of() { if [[ $1 == c ]]; then echo host2; else echo host1; fi; }

plug() { # NAME
    local name=$1 on id mac ip
    on=$(host_of "$name")
    read -r id mac ip < <(host cloud -- openstack port create --network "$network" --host "$on" "$network-$name" -f json |
        python3 -c 'import json, sys; p = json.load(sys.stdin); print(p["id"], p["mac_address"], p["fixed_ips"][0]["ip_address"])')
    # shellcheck disable=SC2016
    host "$on" -- bash -c '
        set -e
        name=$1 id=$2 mac=$3 ip=$4
        docker run -d --network none --name "$name" bb:1 httpd -f -p 80 -h /etc >/dev/null
        pid=$(docker inspect -f "{{.State.Pid}}" "$name")
        ip link add "$name" type veth peer name eth0 netns "$pid"
        ip link set "$name" mtu 1442 up
        inside() { nsenter -t "$pid" -n "$@"; }
        inside ip link set eth0 address "$mac" mtu 1442 up
        inside ethtool -K eth0 tx off >/dev/null
        inside ip address add "$ip/24" dev eth0
        ovs-vsctl add-port br-int "$name" -- set interface "$name" external-ids:iface-id="$id" \
            external-ids:attached-mac="$mac" external-ids:iface-status=active' - "check-$name" "$id" "$mac" "$ip"
    wait_active "$id"
    echo "$ip"
}

wait_active() { # PORT
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [[ $(host cloud -- openstack port show "$1" -f value -c status) != ACTIVE ]] || return 0
    done
    failed "port $1 is not ACTIVE"
}

reach() { # FROM ADDRESS
    host host1 -- docker exec "check-$1" ping -c 5 -w 20 "$2" >/dev/null || failed "no ping from $1 to $2"
    host host1 -- docker exec "check-$1" timeout 10 wget -q -O - "http://$2/passwd" >/dev/null || failed "no HTTP from $1 to $2"
}

failed() {
    echo "lab check: $1" >&2
    exit 1
}

trap cleanup EXIT
for on in host1 host2; do host "$on" -- docker run --rm bb:1 true; done
echo "  containers run on both hosts"
host cloud -- openstack network create "$network" >/dev/null
host cloud -- openstack subnet create --network "$network" --subnet-range 10.77.0.0/24 "$network" >/dev/null
a=$(plug a)
b=$(plug b)
c=$(plug c)
echo "  ports $a and $b (host1) and $c (host2) are ACTIVE"
reach a "$b"
echo "  ping and HTTP on host1"
reach a "$c"
echo "  ping and HTTP from host1 to host2"
host cloud -- openstack network agent list -f value -c Host -c Alive | sed 's/^/  agent alive: /'
