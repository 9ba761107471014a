//! The subports of a trunk: many in one request, all or none.

use std::collections::HashMap;

use neutron_api::{PortId, Subport, TrunkId};
use serde::Serialize;

use crate::Neutron;
use crate::call::Call;
use crate::error::{Act, Error};

impl Neutron {
    /// Has ports be reached by way of a trunk.
    ///
    /// A repeated request whose first reply was lost is refused, as the ports are in use by then.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn add_subports(&self, trunk: TrunkId, subports: &[Subport]) -> Result<(), Error> {
        let ports: Vec<PortId> = subports.iter().map(|subport| subport.port_id).collect();
        let act = Act::new("add", format!("{} to trunk {trunk}", listed(&ports)));
        self.change_subports(trunk, "add_subports", &subports, &act)
            .await
    }

    /// Has ports no longer be reached by way of a trunk. If one of them is not, none is removed.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn remove_subports(&self, trunk: TrunkId, ports: &[PortId]) -> Result<(), Error> {
        let act = Act::new("remove", format!("{} from trunk {trunk}", listed(ports)));
        let ports: Vec<_> = ports
            .iter()
            .map(|port| HashMap::from([("port_id", port)]))
            .collect();
        self.change_subports(trunk, "remove_subports", &ports, &act)
            .await
    }

    async fn change_subports(
        &self,
        trunk: TrunkId,
        verb: &str,
        subports: &impl Serialize,
        act: &Act,
    ) -> Result<(), Error> {
        let call = Call::subports(trunk, verb, subports, act)?;
        self.repeat(act, &call).await.map(drop)
    }
}

fn listed(ports: &[PortId]) -> String {
    match ports {
        [port] => format!("subport {port}"),
        many => format!("{} subports", many.len()),
    }
}
