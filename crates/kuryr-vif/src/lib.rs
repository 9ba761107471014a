//! Plugs interfaces into this host; knows neither Neutron nor Docker.
