# shellcheck shell=bash
# A part is one long-running program of the lab, named PART@SPACE; the cloud's parts go by PART alone.

part_split() { # NAME : sets $part and $space
    part=${1%@*} space=cloud
    [[ $1 == *@* ]] && space=${1#*@}
    case " ${CLOUD_PARTS[*]} " in
        *" $part "*) [[ $space == cloud ]] && return 0 ;;
    esac
    case " ${HOST_PARTS[*]} kuryr-py " in
        *" $part "*) [[ $space == host[1-9] || $space == alone ]] && return 0 ;;
    esac
    die "no such part: $1 (${CLOUD_PARTS[*]}; on a host: ${HOST_PARTS[*]/%/@HOST} kuryr-py@HOST)"
}

part_log() { printf '%s/log/%s/%s.log' "$LAB_STATE" "$2" "$1"; }

part_pid() { # PART SPACE : its pid, if it lives
    local pid started
    { read -r pid started <"$LAB_STATE/$2.$1.pid"; } 2>/dev/null || return 1
    [[ $(process_start "$pid") == "$started" ]] || return 1
    printf '%s' "$pid"
}

process_start() { # PID : tells a process from a later one with the same pid, and is empty for a zombie
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    stat=${stat##*) }
    [[ $stat == Z* ]] || cut -d ' ' -f 20 <<<"$stat"
}

part_start() { # PART SPACE : and waits until it answers
    local part=$1 space=$2 pid holder log
    part_pid "$part" "$space" >/dev/null && return 0
    holder=$(space_holder "$space") || die "$space is not up"
    log=$(part_log "$part" "$space")
    mkdir -p "${log%/*}"
    LAB_CGROUP=$(cgroup_parent "$space") nsenter -t "$holder" -m -n -u -- \
        setsid bash "$LAB_DIR/lib/part-run.sh" "$part" </dev/null >>"$log" 2>&1 9>&- &
    pid=$!
    disown "$pid"
    printf '%s %s\n' "$pid" "$(process_start "$pid")" >"$LAB_STATE/$space.$part.pid"
    wait_until "$pid" nsenter -t "$holder" -m -n -u -- bash "$LAB_DIR/lib/part-ready.sh" "$part" || {
        show_tail "$log"
        return 1
    }
}

# What a part needs done after it has been away.
part_restart() { # PART SPACE
    part_start "$1" "$2"
    # The userspace switch takes its bridges' interfaces, and their addresses, with it when it ends.
    [[ $1 != vswitchd ]] || host_bridges "$2" "$(host_number "$2")"
}

part_stop() { # PART SPACE [SIGNAL]
    local pid
    pid=$(part_pid "$1" "$2") || return 0
    # With its workers: nginx's would go on answering, and keep its addresses from the next one.
    if [[ ${3-} == KILL ]]; then pid=-$pid; fi
    kill -"${3:-TERM}" -- "$pid" 2>/dev/null || true
    wait_until '' part_gone "$1" "$2" || die "$1@$2 (pid $pid) does not end"
    rm -f "$LAB_STATE/$2.$1.pid"
}

# The part and its workers: they are a process group.
part_signal() { # PART SPACE SIGNAL
    local pid
    pid=$(part_pid "$1" "$2") || die "$1@$2 does not run"
    kill -"$3" -- "-$pid"
}

part_gone() { ! part_pid "$1" "$2"; }
