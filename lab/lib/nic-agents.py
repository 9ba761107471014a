"""Says of each host what Neutron's SR-IOV agent says of one, so that Neutron binds ports to cards.

The agent itself needs a card, and a message broker. Its reports end in the same function of Neutron's.
"""

import pathlib
import subprocess
import sys
import time

from neutron.common import config
from neutron.db import agents_db
from neutron_lib import constants, context

KNOWN = pathlib.Path("/run/lab/nic-agents")
# As `report_interval` is for agents.
INTERVAL = 30


def hosts():
    """Those that OVN knows."""
    names = subprocess.run(
        ["ovn-sbctl", "--timeout=5", "--bare", "--columns=name", "list", "chassis"],
        stdout=subprocess.PIPE, text=True,
    )
    return names.stdout.split()


def report(plugin, host, is_new):
    state = {
        "agent_type": constants.AGENT_TYPE_NIC_SWITCH,
        "binary": "neutron-sriov-nic-agent",
        "host": host,
        "topic": constants.L2_AGENT_TOPIC,
        "configurations": {
            "device_mappings": {"physnet2": ["ens1f0"]},
            "devices": 0,
            "extensions": [],
            "resource_provider_bandwidths": {},
            "resource_provider_hypervisors": {"ens1f0": host},
            "resource_provider_inventory_defaults": {},
        },
    }
    if is_new:
        state["start_flag"] = True
    plugin.create_or_update_agent(context.get_admin_context(), state)
    (KNOWN / host).touch()


def main():
    config.register_common_config_options()
    config.init(sys.argv[1:])
    KNOWN.mkdir(exist_ok=True)
    plugin = agents_db.AgentDbMixin()
    reported = {}
    while True:
        for host in hosts():
            if time.monotonic() - reported.get(host, -INTERVAL) < INTERVAL:
                continue
            try:
                report(plugin, host, host not in reported)
                reported[host] = time.monotonic()
            except Exception as error:  # The database may be away, as an agent's server may be.
                print(f"{host}: {error}", file=sys.stderr, flush=True)
        time.sleep(1)


main()
