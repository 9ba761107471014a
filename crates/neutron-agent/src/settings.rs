//! What can be different from one agent to another.

/// What can be different from one agent to another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentSettings {
    /// The host, as ports are bound to it.
    pub host: String,
    /// The name of its two tables, and what the aliases of its bridges begin with; agents side by
    /// side need different ones.
    pub table: String,
}

impl AgentSettings {
    /// The only agent of `host`.
    pub fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            table: "kuryr".to_owned(),
        }
    }
}
