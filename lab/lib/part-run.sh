#!/usr/bin/env bash
# Runs inside a space and becomes one part: every part stays in the foreground and logs to its standard error.
set -euo pipefail

db=/var/lib/mysql
neutron_config=(--config-file /etc/neutron/neutron.conf --config-file /etc/neutron/ml2_conf.ini)

ovn_database() { # nb|sb TABLE-OF-CONNECTIONS
    exec ovsdb-server -vconsole:info -vsyslog:off --remote="punix:/run/ovn/ovn$1_db.sock" --remote="db:$2,connections" \
        --unixctl="/run/ovn/ovn$1_db.ctl" --pidfile="/run/ovn/ovn$1_db.pid" "/var/lib/ovn/ovn$1_db.db"
}

uwsgi() { # keystone|neutron
    cd "/etc/$1"
    export OS_KEYSTONE_CONFIG_DIR=/etc/keystone PYTHONWARNINGS=ignore
    exec "$LAB_VENV/bin/uwsgi" --ini "/etc/$1/uwsgi.ini" --venv "$LAB_VENV" --set "start-time=$(date +%s)"
}

# Debian 12's Docker is installed; another one is unpacked in the cache.
docker_path() {
    flavour=$(cat /run/lab/docker)
    [[ $flavour == 20 ]] || PATH=$LAB_CACHE/docker$flavour/usr/sbin:$LAB_CACHE/docker$flavour/usr/bin:$PATH
}

# A program of its own, as systemd would start it: it and the containers outlive dockerd.
containerd() {
    docker_path
    mkdir -p /etc/containerd
    printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >/etc/containerd/config.toml
    exec containerd --root "/var/lib/containerd/$flavour" --state /run/containerd --address /run/containerd/containerd.sock
}

dockerd() {
    docker_path
    # A killed dockerd leaves it, and for dockerd a zombie with that pid still runs.
    rm -f /var/run/docker.pid
    exec dockerd --data-root "/var/lib/docker/$flavour" --containerd /run/containerd/containerd.sock \
        --cgroup-parent "$LAB_CGROUP" --exec-opt native.cgroupdriver=cgroupfs --userland-proxy-path "$(command -v docker-proxy)"
}

case $1 in
    mariadb)
        # At each commit the log is the kernel's: a killed database has lost nothing of what it confirmed.
        mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld
        exec mariadbd --no-defaults --user=mysql --datadir=$db --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid \
            --bind-address=127.0.0.1 --port=3306 --max-connections=500 --character-set-server=utf8mb4 \
            --collation-server=utf8mb4_general_ci --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=2
        ;;
    ovn-nb) ovn_database nb OVN_Northbound,NB_Global ;;
    ovn-sb) ovn_database sb OVN_Southbound,SB_Global ;;
    ovn-northd)
        exec ovn-northd -vconsole:info -vsyslog:off --pidfile=/run/ovn/ovn-northd.pid \
            --ovnnb-db=unix:/run/ovn/ovnnb_db.sock --ovnsb-db=unix:/run/ovn/ovnsb_db.sock
        ;;
    nginx) exec nginx -c /etc/nginx/lab.conf ;;
    keystone | neutron) uwsgi "$1" ;;
    neutron-maintenance)
        export PYTHONWARNINGS=ignore
        exec "$LAB_VENV/bin/neutron-ovn-maintenance-worker" "${neutron_config[@]}"
        ;;
    nic-agents)
        export PYTHONWARNINGS=ignore
        exec "$LAB_VENV/bin/python" "$LAB_DIR/lib/nic-agents.py" "${neutron_config[@]}"
        ;;
    ovsdb)
        exec ovsdb-server -vconsole:info -vsyslog:off --remote=punix:/run/openvswitch/db.sock \
            --remote=db:Open_vSwitch,Open_vSwitch,manager_options --pidfile=/run/openvswitch/ovsdb-server.pid /etc/openvswitch/conf.db
        ;;
    vswitchd)
        exec ovs-vswitchd -vconsole:info -vsyslog:off --pidfile=/run/openvswitch/ovs-vswitchd.pid unix:/run/openvswitch/db.sock
        ;;
    ovn-controller)
        exec ovn-controller -vconsole:info -vsyslog:off --pidfile=/run/ovn/ovn-controller.pid unix:/run/openvswitch/db.sock
        ;;
    containerd | dockerd) "$1" ;;
    kuryr-py)
        export PYTHONWARNINGS=ignore PATH=$LAB_PY_VENV/bin:$PATH
        exec "$LAB_PY_VENV/bin/kuryr-server" --config-file /etc/kuryr-py/kuryr.conf
        ;;
    *)
        echo "no such part: $1" >&2
        exit 1
        ;;
esac
