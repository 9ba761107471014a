#!/usr/bin/env bash
# Runs inside a host of the lab, and becomes a systemd that has nothing to do but packaging/kuryr.service:
# systemd.sh FOLDER-OF-UNITS PROGRAM GROUP
set -euo pipefail
units=$1 program=$2 group=$3

# Without -n it would write into the machine's /run/mount.
mount() { command mount -n "$@"; }

if [[ ${4-} != inside ]]; then
    groups=/sys/fs/cgroup
    [[ -e $groups/cgroup.controllers ]] || groups=$groups/systemd
    mkdir -p "$groups/$group"
    echo $$ >"$groups/$group/cgroup.procs"
    exec unshare --mount --propagation private --pid --fork --kill-child --cgroup --uts --mount-proc \
        bash "$0" "$@" inside
fi

# It sees its own control group as the root, and of the older kind no hierarchy but the one for names.
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    mount --bind /dev/null /proc/cgroups
fi
# Whoever finds files here takes the machine for one that systemd has started.
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd

# The program under test, where the unit says that it is.
place=$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$units/kuryr.service")
mount --bind "$program" "$units/program"
mount -t tmpfs tmpfs "${place%/*}"
: >"$place"
mount --move "$units/program" "$place"

exec env -i container=lab PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH="$units" \
    /lib/systemd/systemd --system --unit=kuryr.service --log-target=null \
    systemd.legacy_systemd_cgroup_controller=1
