# shellcheck shell=bash
# The Python kuryr-libnetwork: the baseline, beside whatever other driver a host runs.

python_up() { # HOST
    # shellcheck disable=SC2016
    in_space "$1" bash -c '
        mkdir -p /etc/kuryr-py /etc/docker/plugins
        sed "s|@BINDIR@|$LAB_PY_VENV/libexec/kuryr|" "$LAB_DIR/lib/kuryr-py.conf" >/etc/kuryr-py/kuryr.conf
        echo "http://127.0.0.1:23750" >/etc/docker/plugins/kuryr-py.spec'
    part_start kuryr-py "$1"
}

python_down() { # HOST
    part_stop kuryr-py "$1"
    in_space "$1" rm -f /etc/docker/plugins/kuryr-py.spec
}
