//! Typed Neutron calls over anything that carries one HTTP exchange.
