//! What Kuryr relies on any Neutron to do, as tests.
