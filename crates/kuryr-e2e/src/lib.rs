//! Kuryr with a real dockerd, a real Neutron and real packets, as tests: see `tests/e2e`.
