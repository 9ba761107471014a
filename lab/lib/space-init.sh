#!/usr/bin/env bash
# Runs as the first process of a space: gives it folders of its own, then sleeps and so holds its namespaces.
set -euo pipefail

name=$1
scratch=$LAB_STATE/$name
root=$scratch/root

# Without -n it would write into the machine's /run/mount.
mount() { command mount -n "$@"; }

# The machine's files shine through; what is written stays in the space.
layer() { # FOLDER
    mkdir -p "$scratch/upper$1" "$scratch/work$1" "$root$1"
    mount -t overlay -o "lowerdir=$1,upperdir=$scratch/upper$1,workdir=$scratch/work$1" "kuryr-lab-$name" "$root$1"
}

# An empty folder, whatever the machine has there.
fresh() { # FOLDER...
    local folder
    for folder; do
        mkdir -p "$scratch/fresh$folder" "$root$folder"
        mount --bind "$scratch/fresh$folder" "$root$folder"
    done
}

# The lab's own folders may lie below /run or /var, and stay the machine's.
keep() { # FOLDER
    [[ $1 =~ ^/(etc|run|var)/ ]] || return 0
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
}

hosts_file() {
    local n
    printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n%s cloud\n' "$CLOUD_ADDRESS"
    for n in 1 2 3 4 5 6 7 8 9; do echo "$MGMT_NET.$((10 + n)) host$n"; done
}

hostname "$name"
mount -t tmpfs -o mode=755 "kuryr-lab-$name" "$scratch"
layer /etc
layer /var
fresh /run /var/log /var/tmp /etc/docker /etc/openvswitch /etc/kuryr /etc/cni /etc/containerd \
    /var/lib/openvswitch /var/lib/ovn /var/lib/kuryr /var/lib/docker /var/lib/containerd /var/lib/mysql /var/lib/nginx
keep "$LAB_CACHE"
keep "$LAB_STATE"
for folder in /etc /var /run; do mount --move "$root$folder" "$folder"; done

chmod 1777 /var/tmp
mkdir -p /run/lock /run/lab/bin /run/openvswitch /run/ovn /run/docker/plugins /var/log/openvswitch /var/log/ovn
hosts_file >/etc/hosts
echo "$name" >/etc/hostname
: >/etc/resolv.conf

# /sys/class/net must show this space's links; the control groups stay the machine's.
mkdir /run/lab/cgroup
mount --rbind /sys/fs/cgroup /run/lab/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/lab/cgroup /sys/fs/cgroup
umount -n -R /run/lab/cgroup

ip link set lo up
cd /
touch "$LAB_STATE/$name.ready"
exec -a "kuryr-lab-$name" sleep infinity
