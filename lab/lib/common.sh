# shellcheck shell=bash
# Settings and the few words that every other file uses.

LAB_CACHE=${KURYR_LAB_CACHE:-/var/lib/kuryr-lab}
LAB_STATE=${KURYR_LAB_STATE:-/run/kuryr-lab}
LAB_DEADLINE=${KURYR_LAB_DEADLINE:-90}
LAB_VENV=$LAB_CACHE/venv
LAB_PY_VENV=$LAB_CACHE/venv-kuryr-py
export LAB_CACHE LAB_STATE LAB_DEADLINE LAB_VENV LAB_PY_VENV LAB_DIR

# Management network: kernel veths. Tunnel network: Geneve between the hosts' br-phy.
MGMT_NET=10.99.0
TUNNEL_NET=10.98.0
CLOUD_ADDRESS=$MGMT_NET.1
# What a host without a cloud has beyond its default routes.
WORLD_ADDRESS=$MGMT_NET.254
WORLD_ADDRESS6=fd00:99::254
export MGMT_NET TUNNEL_NET CLOUD_ADDRESS WORLD_ADDRESS WORLD_ADDRESS6

CLOUD_PARTS=(mariadb ovn-nb ovn-sb ovn-northd nginx keystone neutron neutron-maintenance nic-agents)
HOST_PARTS=(ovsdb vswitchd ovn-controller containerd dockerd)
# A Docker host without a cloud.
ALONE_PARTS=(containerd dockerd)
export CLOUD_PARTS HOST_PARTS ALONE_PARTS

say() { printf '%s\n' "$*"; }

die() {
    printf 'lab: %s\n' "$*" >&2
    exit 1
}

# The number N of host N: its addresses end in 10+N.
host_number() {
    [[ $1 != alone ]] || { printf 20 && return; }
    [[ $1 =~ ^host([1-9])$ ]] || die "no such host: $1 (host1 to host9, alone)"
    printf '%s' "${BASH_REMATCH[1]}"
}

seconds_since() { # START, as EPOCHREALTIME gave it
    local now=${EPOCHREALTIME/[.,]/} start=${1/[.,]/}
    printf '%d.%d' $(((now - start) / 1000000)) $(((now - start) / 100000 % 10))
}

# Runs one step and prints one line for it; the step's own output goes to a log that is shown when it fails.
# Never call it in a condition: bash would then ignore every error inside the step.
step() { # TITLE COMMAND...
    local title=$1 start=$EPOCHREALTIME log status
    shift
    log=$LAB_STATE/log/step-${title//[^a-zA-Z0-9]/-}.log
    mkdir -p "$LAB_STATE/log"
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    status=$?
    set -e
    if ((status)); then
        printf '  %-34s FAILED after %s s\n' "$title" "$(seconds_since "$start")" >&2
        # Room for the part's own log inside.
        show_tail "$log" 30
        return 1
    fi
    printf '  %-34s %6s s\n' "$title" "$(seconds_since "$start")"
}

show_tail() { # FILE [LINES]
    printf -- '--- the end of %s\n' "$1" >&2
    tail -n "${2:-20}" "$1" >&2 || true
    printf -- '---\n' >&2
}

# Repeats a command until it succeeds, gives up at the deadline, or as soon as the process it waits for is gone.
wait_until() { # PID-or-empty COMMAND...
    local pid=$1 end=$((SECONDS + LAB_DEADLINE))
    shift
    until "$@" >/dev/null 2>&1; do
        if [[ -n $pid && ! -d /proc/$pid ]]; then
            say "process $pid ended before it was ready" >&2
            return 1
        fi
        if ((SECONDS >= end)); then
            say "not ready after $LAB_DEADLINE s: $*" >&2
            return 1
        fi
        sleep 0.1
    done
}

# A cloud on private addresses is never behind the machine's proxy, and the machine's own Docker and OVS are not ours.
forget_machine_settings() {
    unset http_proxy https_proxy ftp_proxy all_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY
    unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
    unset OVS_RUNDIR OVS_DBDIR OVS_LOGDIR OVS_SYSCONFDIR OVN_RUNDIR OVN_DBDIR OVN_LOGDIR
    unset "${!OS_@}"
}

cloud_credentials() {
    export OS_AUTH_URL=http://$CLOUD_ADDRESS:5000/v3 OS_USERNAME=admin OS_PASSWORD=secret OS_PROJECT_NAME=admin
    export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default OS_IDENTITY_API_VERSION=3 OS_REGION_NAME=RegionOne
}
