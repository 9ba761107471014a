//! What Neutron says on the wire: types, no I/O.
