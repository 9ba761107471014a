"""Fills a new cloud: the service catalogue, the users, the default subnet pools."""

import openstack

NEUTRON = "http://10.99.0.1:9696"


def catalogue(cloud):
    service = cloud.identity.create_service(name="neutron", type="network")
    for interface in ("public", "internal", "admin"):
        cloud.identity.create_endpoint(
            service_id=service.id, interface=interface, url=NEUTRON, region_id="RegionOne"
        )


def user(cloud, name, project, roles):
    account = cloud.identity.create_user(name=name, password="secret", domain_id="default", default_project_id=project.id)
    for role in roles:
        cloud.identity.assign_project_role_to_user(project, account, cloud.identity.find_role(role))


def main():
    cloud = openstack.connect()
    service = cloud.identity.create_project(name="service", domain_id="default")
    demo = cloud.identity.create_project(name="demo", domain_id="default")
    user(cloud, "neutron", service, ["admin", "service"])
    # What Kuryr needs and no more: `member` to make networks and ports, `service` to bind ports and to see binding:*.
    user(cloud, "kuryr", service, ["member", "service"])
    user(cloud, "demo", demo, ["member"])
    catalogue(cloud)
    # Only the catalogue of a new token knows the endpoints that were just made.
    network = openstack.connect().network
    for name, prefix, length in (("kuryr", "10.10.0.0/16", 24), ("kuryr6", "fd00:10::/48", 64)):
        network.create_subnet_pool(
            name=name, prefixes=[prefix], default_prefixlen=length, is_shared=True, is_default=True
        )


main()
