# shellcheck shell=bash
# Keystone, Neutron and OVN's databases. Migrations are slow, so the finished databases are kept in the cache
# and every later start begins from that copy.

base_folder() { # named after everything that shapes it
    local sum
    sum=$(cat "$LAB_DIR"/requirements.txt "$LAB_DIR"/etc/*/* "$LAB_DIR"/lib/seed.py "$LAB_DIR"/lib/cloud.sh | sha256sum)
    printf '%s/base-%s' "$LAB_CACHE" "${sum:0:12}"
}

cloud_network() {
    space_up cloud
    attach cloud mgmt mgmt0
    in_space cloud ip address replace "$CLOUD_ADDRESS/24" dev mgmt0
    cloud_configuration
    link_tools cloud
}

cloud_configuration() {
    # shellcheck disable=SC2016
    in_space cloud bash -c '
        mkdir -p /etc/keystone /etc/neutron /var/lib/keystone /var/lib/neutron/lock /var/log/nginx
        cp -r "$LAB_VENV/etc/neutron/." /etc/neutron/
        cp -r "$LAB_DIR/etc/." /etc/'
}

cloud_restore() {
    in_space cloud cp -a --sparse=always "$(base_folder)/." /var/lib/
}

# --- the first time: everything from nothing

databases_create() {
    in_space cloud bash -c '
        mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld /var/lib/mysql
        mariadb-install-db --no-defaults --user=mysql --datadir=/var/lib/mysql --skip-test-db --auth-root-authentication-method=socket
        mkdir -p /var/lib/ovn
        ovsdb-tool create /var/lib/ovn/ovnnb_db.db /usr/share/ovn/ovn-nb.ovsschema'
    part_start mariadb cloud
    local database
    for database in keystone neutron; do
        in_space cloud mariadb --no-defaults --socket=/run/mysqld/mysqld.sock -e "
            CREATE DATABASE $database;
            CREATE USER '$database'@'127.0.0.1' IDENTIFIED BY 'secret', '$database'@'localhost' IDENTIFIED BY 'secret';
            GRANT ALL ON $database.* TO '$database'@'127.0.0.1', '$database'@'localhost';"
    done
}

keystone_create() {
    # shellcheck disable=SC2016
    in_space cloud bash -c '
        set -e
        export PYTHONWARNINGS=ignore
        mkdir -p /var/lib/keystone/fernet /var/lib/keystone/credential
        manage() { "$LAB_VENV/bin/keystone-manage" --config-file /etc/keystone/keystone.conf "$@"; }
        manage db_sync
        manage fernet_setup --keystone-user root --keystone-group root
        manage credential_setup --keystone-user root --keystone-group root
        url=http://$CLOUD_ADDRESS:5000/v3/
        manage bootstrap --bootstrap-password secret --bootstrap-region-id RegionOne \
            --bootstrap-admin-url $url --bootstrap-internal-url $url --bootstrap-public-url $url'
}

neutron_create() {
    # shellcheck disable=SC2016
    in_space cloud bash -c 'PYTHONWARNINGS=ignore "$LAB_VENV/bin/neutron-db-manage" --config-file /etc/neutron/neutron.conf \
        --config-file /etc/neutron/ml2_conf.ini upgrade heads'
}

cloud_seed() {
    cloud_credentials
    in_space cloud "$LAB_VENV/bin/python" -W ignore "$LAB_DIR/lib/seed.py"
}

cloud_save() {
    local base part
    for part in neutron-maintenance neutron keystone ovn-northd ovn-nb ovn-sb mariadb; do part_stop "$part" cloud; done
    base=$(base_folder)
    find "$LAB_CACHE" -maxdepth 1 -name 'base-*' -mtime +7 -exec rm -rf {} +
    [[ ! -e $base ]] || return 0
    rm -rf "$base.new"
    # shellcheck disable=SC2016
    in_space cloud bash -c '
        set -e
        mkdir -p "$1.new/ovn"
        cp -a --sparse=always /var/lib/mysql /var/lib/keystone "$1.new/"
        cp -a /var/lib/ovn/ovnnb_db.db "$1.new/ovn/"
        rm -f /var/lib/ovn/ovnsb_db.db
        mv "$1.new" "$1"' - "$base"
}

cloud_first_time() {
    step "empty databases" databases_create
    step "Keystone's tables" keystone_create
    step "Neutron's tables" neutron_create
    cloud_parts
    step "users, endpoints, subnet pools" cloud_seed
    step "copy kept for later starts" cloud_save
}

# --- every time

ovn_up() {
    part_start ovn-nb cloud
    in_space cloud ovn-nbctl --inactivity-probe=60000 set-connection ptcp:6641:127.0.0.1
    in_space cloud test -e /var/lib/ovn/ovnsb_db.db ||
        in_space cloud ovsdb-tool create /var/lib/ovn/ovnsb_db.db /usr/share/ovn/ovn-sb.ovsschema
    part_start ovn-sb cloud
    in_space cloud ovn-sbctl --inactivity-probe=60000 set-connection ptcp:6642:0.0.0.0
    part_start ovn-northd cloud
}

cloud_parts() {
    step "MariaDB" part_start mariadb cloud
    step "OVN databases and northd" ovn_up
    step "nginx" part_start nginx cloud
    step "Keystone" part_start keystone cloud &
    local keystone=$!
    step "Neutron" part_start neutron cloud
    wait "$keystone"
    step "Neutron maintenance worker" part_start neutron-maintenance cloud
}

cloud_up() {
    step "cloud: namespaces, links" cloud_network
    in_space cloud test -e /run/lab/restored || cloud_databases
    cloud_parts
    step "SR-IOV agents' reports" part_start nic-agents cloud
}

cloud_databases() {
    if in_space cloud test -e /run/lab/begun; then # and not finished
        step "cloud: what an interrupted start left" space_remove cloud
        step "cloud: namespaces, links again" cloud_network
    fi
    in_space cloud touch /run/lab/begun
    [[ -d $(base_folder) ]] || cloud_first_time
    step "databases from the kept copy" cloud_restore
    in_space cloud touch /run/lab/restored
}
