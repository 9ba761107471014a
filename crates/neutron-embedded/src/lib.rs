//! A Neutron in this process.
