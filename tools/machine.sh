# shellcheck shell=bash
# A machine with a kernel of Debian's and files of this one's, in QEMU: for tools/kernel and tools/guest.
#
# Kernel and QEMU are unpacked into the lab's cache and not installed. QEMU emulates: KVM is often
# absent, or broken, in a virtual machine.

cache=${KURYR_LAB_CACHE:-/var/lib/kuryr-lab}/kernel
# The kernel's package, and the suite that QEMU is from, if not this machine's.
kernel=linux-image-cloud-amd64
suite=

say() { printf '%s\n' "$*" >&2; }

# --- what is cached

# Complete once its name has no ".new": a run that was cut short begins anew.
ensure_packages() { # sets root
    local image
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    image=$(image) || { apt-get update -q >&2 && image=$(image); }
    root=$cache/$image
    [[ -d $root ]] || fetch_packages "$image"
    exec 9>&-
}

fetch_packages() { # IMAGE
    local image=$1 new package missing
    # Those of other kernels, and what was cut short.
    rm -rf "$cache"/linux-image-*
    new=$(mktemp -d "$cache/$image.new.XXXXXX")
    say "fetching $image and QEMU${suite:+ of $suite}"
    mkdir "$new/packages"
    [[ -z $suite ]] || know_suite
    # What is on this machine already of what QEMU needs is not fetched.
    mapfile -t missing < <(missing_for qemu-system-x86)
    (cd "$new/packages" && apt download -q "$image" "${missing[@]}" >&2)
    rm -rf "$cache/apt"
    for package in "$new"/packages/*.deb; do dpkg -x "$package" "$new"; done
    rm -r "$new/packages"
    depmod -b "$new" "$(basename "$new"/lib/modules/*)"
    mv -T "$new" "$root"
}

image() { # the kernel's package, whose name has its version
    apt-cache depends "$kernel" 2>/dev/null | awk '$1 == "Depends:" { print $2; found = 1; exit } END { exit !found }'
}

missing_for() { # PACKAGE
    apt install -s --no-install-recommends "$1" | awk '$1 == "Inst" { print $2 }'
}

# Lists of this machine's suites and of one more, which the machine itself needs not know.
know_suite() {
    local apt=$cache/apt mirror
    rm -rf "$apt"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/parts"
    cp /etc/apt/sources.list.d/*.{list,sources} "$apt/parts" 2>/dev/null || true
    cp /etc/apt/sources.list "$apt/parts/machine.list" 2>/dev/null || true
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $3 == "main" && $1 !~ /security/ { print $1; exit }')
    [[ -n $mirror ]] || { say "apt knows no Debian mirror on this machine" && exit 1; }
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" >"$apt/parts/suite.list"
    apt update -q >&2
}

apt() {
    local options=()
    if [[ -n $suite ]]; then
        options=(-t "$suite" -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$cache/apt/parts"
            -o "Dir::State::lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt" -o APT::Sandbox::User=root
            -o Acquire::Languages=none)
    fi
    apt-get "${options[@]}" "$@"
}

# --- the machine's files

make_files() { # DIRECTORY PROGRAM... : with these programs of this machine's, and busybox's applets
    local files=$1 applet program
    shift
    mkdir -p "$files"/{bin,dev,etc,proc,run,sys,tmp,usr/{bin,sbin,lib},var/log}
    ln -s /run "$files/var/run"
    ln -s usr/sbin "$files/sbin"
    for applet in $(busybox --list); do ln -s busybox "$files/bin/$applet"; done
    for program in busybox "$@"; do add_program "$program" "$files"; done
    echo 'root:x:0:0::/:/bin/sh' >"$files/etc/passwd"
}

add_program() { # NAME DIRECTORY
    local path
    path=$(type -P "$1") || { say "$1 is not installed" && exit 1; }
    # Whatever links there are to it, it is found under its own name.
    rm -f "$2/bin/$1"
    cp -L "$path" "$2/bin/$1"
    add_libraries "$path" "$2"
}

add_libraries() { # PROGRAM DIRECTORY
    local library
    for library in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' || true); do
        mkdir -p "$2${library%/*}"
        cp -Lu "$library" "$2$library"
    done
}

add_modules() { # DIRECTORY MODULE...
    local files=$1 version kept module
    shift
    version=$(basename "$root"/lib/modules/*)
    kept=lib/modules/$version
    mkdir -p "$files/$kept"
    cp "$root/$kept"/modules.{builtin,builtin.modinfo,order} "$files/$kept/"
    for module; do
        modprobe -d "$root" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r module; do
        mkdir -p "$files$(dirname "${module#"$root"}")"
        cp "$module" "$files${module#"$root"}"
    done
    depmod -b "$files" "$version"
}

# The first process: it loads the modules, then does what standard input says.
make_init() { # DIRECTORY MODULE...
    local files=$1
    shift
    {
        cat <<INIT
#!/bin/sh
export PATH=/bin HOME=/ LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
for module in $*; do modprobe \$module || echo "no module \$module"; done
ip link set lo up
INIT
        cat
    } >"$files/init"
    chmod +x "$files/init"
}

# The files as the kernel unpacks them; they are removed.
pack() { # DIRECTORY
    (cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1
    rm -rf "$1"
}

# --- running

# The command that runs it, but for what differs: the console is its standard output.
emulator() { # INITRAMFS : sets emulator
    emulator=(env
        "LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu"
        "QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu"
        "$root/usr/bin/qemu-system-x86_64" -accel "tcg,thread=multi"
        -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -L "$root/usr/lib/ipxe/qemu"
        -machine q35 -cpu max -nodefaults -no-reboot -nographic -serial stdio
        -kernel "$root"/boot/vmlinuz-* -initrd "$1" -append "console=ttyS0 quiet panic=-1")
}
