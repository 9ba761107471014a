# shellcheck shell=bash
# The underlay, and hosts on it.

space_up() { # NAME : makes the space anew unless it lives
    space_holder "$1" >/dev/null && return 0
    space_remove "$1"
    space_create "$1"
}

# The bridges have a namespace of their own: beside a dockerd, br_netfilter and Docker's FORWARD policy drop the tunnels' packets.
# Without it every other space is cut off, and begins anew.
underlay_up() {
    local bridge space
    space_holder underlay >/dev/null || for space in $(spaces); do space_remove "$space"; done
    space_up underlay
    for bridge in mgmt tunnel; do
        in_space underlay ip link show "$bridge" >/dev/null 2>&1 && continue
        in_space underlay ip link add "$bridge" type bridge mcast_snooping 0
        in_space underlay ip link set "$bridge" up
    done
}

# A veth from an underlay bridge to a space; checksum offload is off because a userspace switch forwards what it gets.
attach() { # SPACE BRIDGE INTERFACE
    local space=$1 bridge=$2 interface=$3 holder
    in_space "$space" ip link show "$interface" >/dev/null 2>&1 && return 0
    holder=$(space_holder "$space")
    in_space underlay ip link add "$space-$bridge" type veth peer name "$interface" netns "$holder"
    in_space underlay ethtool -K "$space-$bridge" tx off
    in_space "$space" ethtool -K "$interface" tx off
    in_space underlay ip link set "$space-$bridge" master "$bridge" up
    in_space "$space" ip link set "$interface" up
}

host_network() { # HOST
    local number
    number=$(host_number "$1")
    space_up "$1"
    attach "$1" mgmt mgmt0
    attach "$1" tunnel tunnel0
    # Else the kernel answers ARP for br-phy's address with the veth's MAC, and the peer's tunnel packets go nowhere.
    in_space "$1" ip link set tunnel0 arp off addrgenmode none
    in_space "$1" ip address replace "$MGMT_NET.$((10 + number))/24" dev mgmt0
    link_tools "$1"
}

# The world: what is not on the host's own networks, and answers it.
alone_network() {
    in_space underlay ip address replace "$WORLD_ADDRESS/24" dev mgmt
    in_space underlay ip address replace "$WORLD_ADDRESS6/64" dev mgmt nodad
    space_up alone
    attach alone mgmt mgmt0
    in_space alone ip address replace "$MGMT_NET.30/24" dev mgmt0
    in_space alone ip address replace "${WORLD_ADDRESS6%::*}::30/64" dev mgmt0 nodad
    in_space alone ip route replace default via "$WORLD_ADDRESS"
    in_space alone ip route replace default via "$WORLD_ADDRESS6"
    link_tools alone
}

# What `lab enter` finds first on its PATH.
link_tools() { # SPACE
    local tool
    for tool in openstack neutron-db-manage keystone-manage neutron-ovn-db-sync-util; do
        in_space "$1" ln -sfn "$LAB_VENV/bin/$tool" "/run/lab/bin/$tool"
    done
}

host_switch() { # HOST
    in_space "$1" test -e /etc/openvswitch/conf.db ||
        in_space "$1" ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
    part_start ovsdb "$1"
    local number
    number=$(host_number "$1")
    in_space "$1" ovs-vsctl --no-wait init -- set open . external-ids:system-id="$1" external-ids:hostname="$1" \
        external-ids:ovn-remote="tcp:$CLOUD_ADDRESS:6642" external-ids:ovn-encap-type=geneve \
        external-ids:ovn-encap-ip="$TUNNEL_NET.$((10 + number))" external-ids:ovn-bridge-datapath-type=netdev \
        external-ids:ovn-remote-probe-interval=60000 external-ids:ovn-openflow-probe-interval=60 \
        external-ids:ovn-cms-options=enable-chassis-as-gw external-ids:ovn-bridge-mappings=physnet1:br-ex
    part_start vswitchd "$1"
    host_bridges "$1" "$number"
}

# Userspace tunnels leave through a bridge that has the tunnel's address: br-phy, which holds the veth.
host_bridges() { # HOST NUMBER
    in_space "$1" ovs-vsctl --timeout=30 \
        --may-exist add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure -- \
        --may-exist add-br br-ex -- set bridge br-ex datapath_type=netdev -- \
        --may-exist add-br br-phy -- set bridge br-phy datapath_type=netdev other-config:hwaddr="02:00:00:98:00:0$2" -- \
        --may-exist add-port br-phy tunnel0
    in_space "$1" ip address replace "$TUNNEL_NET.$((10 + $2))/24" dev br-phy
    in_space "$1" ip link set br-phy up
    host_neighbours "$1" "$2"
}

# The switch drops what comes while it resolves a tunnel's far end, so the neighbours are told in advance.
host_neighbours() { # HOST NUMBER
    # shellcheck disable=SC2016
    in_space "$1" bash -c '
        set -e
        ovs-appctl tnl/neigh/aging 3600
        for n in 1 2 3 4 5 6 7 8 9; do
            ((n == $1)) || ovs-appctl tnl/neigh/set br-phy "$2.$((10 + n))" "02:00:00:98:00:0$n"
        done' - "$2" "$TUNNEL_NET"
}

host_controller() { # HOST
    part_start ovn-controller "$1"
}

# The host as Neutron sees it: an OVN chassis by that name, and an agent of its SR-IOV cards.
host_registered() { # HOST
    wait_until '' chassis_known "$1"
    wait_until '' in_space cloud test -e "/run/lab/nic-agents/$1"
}

chassis_known() { [[ -n $(in_space cloud ovn-sbctl --timeout=2 --bare --columns=name find chassis name="$1") ]]; }

host_docker() { # HOST
    in_space "$1" test -e /run/lab/docker || docker_flavour "$1" 20
    docker_client "$1"
    part_start containerd "$1"
    part_start dockerd "$1"
    in_space "$1" /run/lab/bin/docker image inspect bb:1 >/dev/null 2>&1 ||
        in_space "$1" /run/lab/bin/docker import "$LAB_CACHE/bb.tar" bb:1
}

docker_flavour() { # HOST [FLAVOUR] : tells or sets which Docker the host runs
    if (($# == 1)); then
        in_space "$1" cat /run/lab/docker
    else
        in_space "$1" tee /run/lab/docker <<<"$2" >/dev/null
    fi
}

docker_client() { # HOST
    local flavour client=/usr/bin/docker
    flavour=$(docker_flavour "$1")
    [[ $flavour == 20 ]] || client=$LAB_CACHE/docker$flavour/usr/bin/docker
    in_space "$1" ln -sfn "$client" /run/lab/bin/docker
}

# Restarts the host's dockerd as the other version, on a data folder of that version's own.
docker_switch() { # HOST FLAVOUR
    docker_empty "$1"
    part_stop dockerd "$1"
    part_stop containerd "$1"
    docker_flavour "$1" "$2"
    host_docker "$1"
}

# Containers and networks of the version that goes would be nobody's afterwards.
docker_empty() { # HOST
    part_pid dockerd "$1" >/dev/null || return 0
    # shellcheck disable=SC2016
    in_space "$1" bash -c '
        PATH=/run/lab/bin:$PATH
        docker ps -aq | xargs -r docker rm -f
        docker network ls -q --filter type=custom | xargs -r docker network rm
        true'
}
