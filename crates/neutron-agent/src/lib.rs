//! Neutron's agent on this host, for the embedded Neutron: bridges, security groups, NAT.
//!
//! `model` says what is to be here, a pure function of what the Neutron has; `script` says how nft
//! gets there from what is here, another one. `agent` puts it into force, again and again: it looks
//! when the Neutron has changed, and when somebody else has changed what is here (`monitor`).

mod agent;
mod direct;
mod docker;
mod element;
mod error;
mod group;
mod held;
mod model;
mod monitor;
mod nft;
mod published;
mod script;
mod settings;
mod sysctl;
mod user;

pub use agent::Agent;
pub use element::{Element, Family, Set};
pub use error::AgentError;
pub use group::{GroupPart, Groups};
pub use model::{Bridges, Model, NetworkPart, PortPart};
pub use script::{Batch, removal, script};
pub use settings::AgentSettings;
