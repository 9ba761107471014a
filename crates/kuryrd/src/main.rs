//! The program `kuryr`: carries Docker's network requests to OpenStack Neutron.

fn main() {}
