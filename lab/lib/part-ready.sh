#!/usr/bin/env bash
# Runs inside a space: succeeds when the part answers.
set -euo pipefail

answers() { curl -sf -m 5 -o /dev/null "$1"; }

case $1 in
    mariadb) mariadb-admin --no-defaults --socket=/run/mysqld/mysqld.sock ping ;;
    ovn-nb) ovn-nbctl --timeout=2 get-connection ;;
    ovn-sb) ovn-sbctl --timeout=2 get-connection ;;
    ovn-northd) ovn-appctl --timeout=2 -t ovn-northd status ;;
    nginx) (: <"/dev/tcp/$CLOUD_ADDRESS/9696") ;;
    keystone) answers "http://$CLOUD_ADDRESS:5000/v3" ;;
    neutron) answers "http://$CLOUD_ADDRESS:9696/" ;;
    nic-agents) [[ -d /run/lab/nic-agents ]] ;;
    ovsdb) ovs-vsctl --timeout=2 --no-wait show ;;
    vswitchd) ovs-appctl --timeout=2 -t ovs-vswitchd version && ovs-vsctl --timeout=2 --no-wait get open . db_version ;;
    ovn-controller) ovn-appctl --timeout=2 -t ovn-controller version ;;
    containerd) ctr --connect-timeout 2s version ;;
    dockerd) curl -sf -m 5 -o /dev/null --unix-socket /run/docker.sock http://docker/_ping ;;
    kuryr-py) curl -sf -m 5 -o /dev/null -X POST http://127.0.0.1:23750/Plugin.Activate ;;
esac
