# shellcheck shell=bash
# The commands of `lab`, but for `enter`.

need_root() { ((EUID == 0)) || die "this needs root"; }

# One command changes the lab at a time.
lock() {
    need_root
    mkdir -p "$LAB_STATE" "$LAB_CACHE"
    exec 9>"$LAB_CACHE/lock-${LAB_STATE##*/}"
    flock 9
}

lab_packages() { # PACKAGE...
    PACKAGES+=("$@")
    lock
    install_packages >&2
}

lab_up() {
    local start=$EPOCHREALTIME hosts host
    case ${1-} in
        '') hosts=(host1) ;;
        --all) hosts=(host1 host2) ;;
        *) hosts=("$@") ;;
    esac
    for host in "${hosts[@]}"; do host_number "$host" >/dev/null; done
    lock
    if [[ ${hosts[*]} == alone ]]; then alone_up && return; fi
    if everything_runs cloud "${hosts[@]}"; then
        say "The lab is up: cloud ${hosts[*]}."
        return 0
    fi
    say "Starting the lab: cloud ${hosts[*]}"
    prepare
    step "underlay" underlay_up
    together cloud_up "hosts_up ${hosts[*]}"
    for host in "${hosts[@]}"; do step "$host known to Neutron" host_registered "$host"; done
    say "The lab is up after $(seconds_since "$start") s. Next: $LAB_DIR/lab enter ${hosts[0]}"
}

# A Docker host that needs no cloud; the world beyond its default route is the underlay.
alone_up() {
    local start=$EPOCHREALTIME
    everything_runs alone && say "The host is up: alone." && return
    say "Starting a host without a cloud: alone"
    prepare
    step "underlay" underlay_up
    step "alone: namespaces, links" alone_network
    step "alone: dockerd" host_docker alone
    say "The host is up after $(seconds_since "$start") s. Next: $LAB_DIR/lab enter alone"
}

# Labs that run side by side share the cache.
prepare() {
    exec 8>"$LAB_CACHE/lock"
    flock 8
    [[ -z $(missing_packages) ]] || step "Debian packages" install_packages
    venv_current "$LAB_VENV" "$LAB_DIR/requirements.txt" ||
        step "Python environment" make_venv "$LAB_VENV" "$LAB_DIR/requirements.txt"
    [[ -e $LAB_CACHE/bb.tar ]] || step "container image bb:1" make_image
    exec 8>&-
}

# Runs commands side by side; fails when one of them fails.
together() { # "COMMAND ARGUMENTS"...
    local command pid pids=() failed=0
    for command; do
        # shellcheck disable=SC2086
        (set -- $command && "$@") &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    ((failed == 0)) || die "the lab did not start; what runs now: lab status; clean up: lab down"
}

hosts_up() { # HOST...
    local host
    for host; do
        step "$host: namespaces, links" host_network "$host"
        step "$host: Open vSwitch" host_switch "$host"
        step "$host: ovn-controller" host_controller "$host"
        step "$host: dockerd" host_docker "$host"
    done
}

space_parts() { # SPACE
    case $1 in
        cloud) say "${CLOUD_PARTS[@]}" ;;
        host*) say "${HOST_PARTS[@]}" ;;
        alone) say "${ALONE_PARTS[@]}" ;;
    esac
}

everything_runs() { # SPACE...
    local space part
    for space in underlay "$@"; do
        space_holder "$space" >/dev/null || return 1
        for part in $(space_parts "$space"); do part_pid "$part" "$space" >/dev/null || return 1; done
    done
}

lab_status() {
    local space part pid parts
    [[ -n $(spaces) ]] || say "The lab is down."
    for space in $(spaces); do
        pid=$(space_holder "$space") || pid="gone"
        printf '%s (namespaces of %s)' "$space" "$pid"
        [[ $space != host* && $space != alone || $pid == gone ]] || printf ', Docker %s' "$(docker_flavour "$space")"
        echo
        parts=$(space_parts "$space")
        [[ ! -e $LAB_STATE/$space.kuryr-py.pid ]] || parts+=" kuryr-py"
        for part in $parts; do
            pid=$(part_pid "$part" "$space") || pid="stopped"
            printf '  %-22s %-8s %s\n' "$part" "$pid" "$(part_log "$part" "$space")"
        done
    done
}

lab_check() {
    lab_up --all
    # The check locks for itself where it must.
    exec 9>&-
    bash "$LAB_DIR/lib/check.sh"
}

lab_start() {
    local part space name
    lock
    for name; do
        part_split "$name"
        step "$name" part_restart "$part" "$space"
    done
}

lab_stop() {
    local part space name
    lock
    for name; do
        part_split "$name"
        part_stop "$part" "$space"
    done
}

lab_kill() {
    local part space name
    lock
    for name; do
        part_split "$name"
        part_stop "$part" "$space" KILL
    done
}

lab_pause() { signal_parts STOP "$@"; }

lab_resume() { signal_parts CONT "$@"; }

signal_parts() { # SIGNAL PART...
    local part space name signal=$1
    shift
    lock
    for name; do
        part_split "$name"
        part_signal "$part" "$space" "$signal"
    done
}

lab_pid() {
    local part space
    part_split "$1"
    part_pid "$part" "$space" || die "$1 does not run"
    echo
}

lab_log() {
    local part space
    part_split "$1"
    part_log "$part" "$space"
    echo
}

lab_docker() { # HOST FLAVOUR
    (($# == 2)) || die "usage: lab docker HOST 20|28"
    host_number "$1" >/dev/null
    [[ $2 == 20 || $2 == 28 ]] || die "no such Docker: $2 (20 or 28)"
    lock
    space_holder "$1" >/dev/null || die "$1 is not up (lab up $1)"
    [[ $2 == 20 ]] || cache_docker28
    step "$1: dockerd $2" docker_switch "$1" "$2"
}

lab_fetch() { # 28
    [[ ${1-} == 28 ]] || die "usage: lab fetch 28"
    lock
    cache_docker28
}

cache_docker28() {
    [[ -x $LAB_CACHE/docker28/usr/sbin/dockerd ]] || step "Docker 28 from Debian" fetch_docker28
}

lab_python() { # HOST up|down
    host_number "${1-}" >/dev/null
    case ${2-} in
        up)
            lock
            venv_current "$LAB_PY_VENV" "$LAB_DIR/requirements-kuryr-py.txt" ||
                step "Python environment of kuryr-py" make_venv "$LAB_PY_VENV" "$LAB_DIR/requirements-kuryr-py.txt"
            step "$1: kuryr-py" python_up "$1"
            ;;
        down)
            lock
            python_down "$1"
            ;;
        *) die "usage: lab python HOST up|down" ;;
    esac
}

lab_down() {
    local space
    lock
    find_lost_spaces
    for space in $(spaces); do space_remove "$space"; done
    rm -rf "${LAB_STATE:?}"
    say "The lab is down."
}

lab_purge() {
    local pid
    for pid in $(pgrep -f '^kuryr-lab-[a-z0-9]+ infinity$' || true); do
        ! holder_of "$pid" "LAB_CACHE=$LAB_CACHE" || holder_of "$pid" "LAB_STATE=$LAB_STATE" ||
            die "another lab uses $LAB_CACHE (process $pid)"
    done
    lab_down
    rm -rf "${LAB_CACHE:?}"
}
