//! What Kuryr does, for any front end: keeps container networks and endpoints in step with
//! Neutron's networks and ports, and this host's interfaces in step with both.
//!
//! Every verb takes the instant by which it must have ended, converges (asking twice is asking
//! once), and undoes its own steps when a later one fails.

mod absence;
mod address;
mod adopt;
mod ask;
mod binding;
mod debt;
mod driver;
mod endpoint;
mod error;
mod exposed;
mod functions;
mod journal;
mod keyed;
mod kuryr;
mod lease;
mod lull;
mod names;
mod nested;
mod network;
mod options;
mod orphan;
mod pool;
mod port_pool;
mod port_settings;
mod program;
mod range;
mod rates;
mod swarm;
mod view;

pub use ask::{
    AddressRequest, Attachment, Caller, Details, EndpointId, ExposedPort, Gateway, Interface,
    InvalidId, NetworkId, NewEndpoint, NewNetwork, Pool, PoolId, PoolRequest, Range, Route,
};
pub use driver::{Driver, Drivers, UnknownDriver};
pub use error::{Error, Kind, PortError, Whose};
pub use ipnet::IpNet;
pub use journal::{Folder, Journal, JournalError, Notes, Written};
pub use kuryr::{Kuryr, Settings};
pub use kuryr_vif::{IfName, PublishedPort, Transport};
pub use network::Runtime;
pub use neutron_api::{IpVersion, MacAddress};
pub use orphan::{BETWEEN_LOOKS, Orphan, Reason};
pub use port_pool::PortPoolSettings;
pub use program::Program;
