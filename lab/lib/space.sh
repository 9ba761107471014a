# shellcheck shell=bash
# A space is a network, mount and host-name namespace, held by one sleeping process.
# Nothing of it is bound anywhere on the machine: when its last process ends, all its links and mounts are gone.

space_file() { printf '%s/%s.space' "$LAB_STATE" "$1"; }

space_holder() { # the holder's pid, if it lives
    local pid mnt net
    { read -r pid mnt net <"$(space_file "$1")"; } 2>/dev/null || return 1
    [[ $(readlink "/proc/$pid/ns/mnt") == "$mnt" && $(readlink "/proc/$pid/ns/net") == "$net" ]] || return 1
    printf '%s' "$pid"
}

spaces() { # the names of all spaces that were made and not yet removed
    local file
    for file in "$LAB_STATE"/*.space; do
        [[ -e $file ]] || continue
        file=${file##*/}
        say "${file%.space}"
    done
}

in_space() { # NAME COMMAND... : replaces nothing, keeps stdin, stdout and the exit code
    local pid
    pid=$(space_holder "$1") || die "$1 is not up (lab up $1)"
    shift
    nsenter -t "$pid" -m -n -u -- "$@"
}

space_create() { # NAME
    local name=$1 pid
    mkdir -p "$LAB_STATE/$name" "$LAB_STATE/log/$name" "$LAB_CACHE"
    rm -f "$LAB_STATE/$name.ready"
    unshare -m -n -u --propagation private bash "$LAB_DIR/lib/space-init.sh" "$name" \
        </dev/null >"$LAB_STATE/log/$name/space.log" 2>&1 9>&- &
    pid=$!
    disown "$pid"
    wait_until "$pid" test -e "$LAB_STATE/$name.ready" || {
        show_tail "$LAB_STATE/log/$name/space.log"
        return 1
    }
    space_record "$name" "$pid"
}

space_record() { # NAME PID
    printf '%s %s %s\n' "$2" "$(readlink "/proc/$2/ns/mnt")" "$(readlink "/proc/$2/ns/net")" >"$(space_file "$1")"
}

# Every process in the space's namespaces, and in its containers, which have namespaces of their own.
space_pids() { # NAME
    local pid mnt net folder
    cgroup_folders "$1" | while read -r folder; do cat "$folder/cgroup.procs" 2>/dev/null || true; done
    { read -r pid mnt net <"$(space_file "$1")"; } 2>/dev/null || return 0
    # find fails when a process ends under it.
    find /proc/[0-9]*/ns/mnt /proc/[0-9]*/ns/net -maxdepth 0 \
        \( -lname "${mnt//[/\\[}" -o -lname "${net//[/\\[}" \) 2>/dev/null | cut -d / -f 3 || true
}

# The holders of this lab whose files were lost: they still carry its folder in their environment.
find_lost_spaces() {
    local pid name
    for pid in $(pgrep -f '^kuryr-lab-[a-z0-9]+ infinity$' || true); do
        holder_of "$pid" "LAB_STATE=$LAB_STATE" || continue
        name=$(tr '\0' ' ' <"/proc/$pid/cmdline")
        name=${name#kuryr-lab-}
        space_record "${name%% *}" "$pid"
    done
}

holder_of() { # PID VARIABLE=VALUE
    tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -xF "$2" >/dev/null
}

cgroup_parent() { printf '/%s-%s' "${LAB_STATE##*/}" "$1"; }

cgroup_folders() { # NAME : deepest first
    local root
    for root in /sys/fs/cgroup/*"$(cgroup_parent "$1")" "/sys/fs/cgroup$(cgroup_parent "$1")"; do
        [[ -d $root ]] && find "$root" -depth -type d
    done
    return 0
}

cgroup_remove() { # NAME
    local folder end=$((SECONDS + 10))
    # A group is busy until its last zombie is reaped.
    while [[ -n $(cgroup_folders "$1") ]]; do
        for folder in $(cgroup_folders "$1"); do rmdir "$folder" 2>/dev/null || true; done
        ((SECONDS < end)) || break
        sleep 0.05
    done
}

space_remove() { # NAME
    local name=$1 folder pids end=$((SECONDS + 20))
    # A paused container's processes don't even die.
    for folder in $(cgroup_folders "$name"); do
        [[ ! -e $folder/freezer.state ]] || echo THAWED >"$folder/freezer.state"
        [[ ! -e $folder/cgroup.freeze ]] || echo 0 >"$folder/cgroup.freeze"
    done
    while mapfile -t pids < <(space_pids "$name" | sort -un) && ((${#pids[@]})); do
        kill -KILL "${pids[@]}" 2>/dev/null || true
        ((SECONDS < end)) || die "processes of $name don't end: ${pids[*]}"
        sleep 0.05
    done
    cgroup_remove "$name"
    rm -rf "${LAB_STATE:?}/$name" "$(space_file "$name")" "$LAB_STATE/$name.ready"
}
