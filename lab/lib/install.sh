# shellcheck shell=bash
# What must be on the machine or in the cache before anything starts. Installing starts and enables no service.

PACKAGES=(docker.io containerd runc iptables iproute2 openvswitch-switch openvswitch-common ovn-central ovn-host
    mariadb-server mariadb-client nginx-light busybox-static ethtool curl iperf3 tcpdump conntrack nftables
    python3-venv python3-dev gcc)
DOCKER28_SUITES=(forky sid)

missing_packages() {
    local package
    for package in "${PACKAGES[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) == ii* ]] || say "$package"
    done
}

# Debian's maintainer scripts ask /usr/sbin/policy-rc.d whether they may start a service: 101 is "no".
# The file is covered in a mount namespace of its own, so a crash leaves nothing behind.
without_service_starts() { # COMMAND...
    local policy=/usr/sbin/policy-rc.d made='' status=0
    printf '#!/bin/sh\nexit 101\n' >"$LAB_CACHE/policy-rc.d"
    chmod 755 "$LAB_CACHE/policy-rc.d"
    if [[ ! -e $policy ]]; then
        cp "$LAB_CACHE/policy-rc.d" "$policy"
        made=$policy
    fi
    # shellcheck disable=SC2016
    unshare -m --propagation private bash -c 'mount --bind "$1" "$2" && shift 2 && exec "$@"' - \
        "$LAB_CACHE/policy-rc.d" "$policy" "$@" || status=$?
    [[ -z $made ]] || rm -f "$made"
    return "$status"
}

# A package that this run brought must not start its service at the machine's next boot either.
disable_services() { # PACKAGE...
    local units
    command -v systemctl >/dev/null || return 0
    mapfile -t units < <(dpkg -L "$@" | sed -nE 's|^/(usr/)?lib/systemd/system/([^/@]+\.(service\|socket))$|\2|p')
    ((${#units[@]} == 0)) || systemctl disable "${units[@]}" || true
}

install_packages() {
    local missing installed
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    mkdir -p "$LAB_CACHE"
    installed=$(dpkg-query -W -f '${Package}\n')
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 update -q
    without_service_starts apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends "${missing[@]}"
    mapfile -t missing < <(comm -13 <(sort <<<"$installed") <(dpkg-query -W -f '${Package}\n' | sort))
    disable_services "${missing[@]}"
}

venv_current() { # VENV REQUIREMENTS
    cmp -s "$2" "$1/requirements.txt"
}

make_venv() { # VENV REQUIREMENTS
    venv_current "$1" "$2" && return 0
    rm -rf "$1"
    /usr/bin/python3 -m venv "$1"
    "$1/bin/pip" install --disable-pip-version-check --no-deps -r "$2"
    cp "$2" "$1/requirements.txt"
}

# bb:1 is busybox and a link for each of its applets.
make_image() {
    local root applet
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,etc,proc,sys,dev,tmp,run}
    cp /bin/busybox "$root/bin/"
    for applet in $(/bin/busybox --list); do [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"; done
    printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"
    tar -C "$root" --owner=0 --group=0 -cf "$LAB_CACHE/bb.tar.new" .
    mv "$LAB_CACHE/bb.tar.new" "$LAB_CACHE/bb.tar"
    rm -rf "$root"
}

# The Debian mirror that this machine already uses.
debian_mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $3 == "main" && $1 !~ /security/ { print $1; exit }'
}

# Docker 28 from a later Debian suite: fetched by apt with lists of its own, unpacked, never installed.
fetch_docker28() {
    local target=$LAB_CACHE/docker28 apt=$LAB_CACHE/docker28-apt mirror suite
    [[ -x $target/usr/sbin/dockerd ]] && return 0
    mirror=$(debian_mirror)
    [[ -n $mirror ]] || die "apt knows no Debian mirror on this machine"
    for suite in "${DOCKER28_SUITES[@]}"; do
        rm -rf "$apt"
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" >"$apt/sources.list"
        private_apt "$apt" update -q
        (cd "$apt/debs" && private_apt "$apt" download docker.io docker-cli containerd)
        compgen -G "$apt/debs/docker.io_28*" >/dev/null && break
    done
    compgen -G "$apt/debs/docker.io_28*" >/dev/null || die "no Docker 28 in ${DOCKER28_SUITES[*]}"
    rm -rf "$target.new"
    for suite in "$apt"/debs/*.deb; do dpkg -x "$suite" "$target.new"; done
    mv "$target.new" "$target"
    rm -rf "$apt"
}

private_apt() { # FOLDER ARGUMENTS...
    local apt=$1
    shift
    apt-get -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$apt/cache" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}
