//! Objects that are made so that none is left of which nobody knows.

use neutron_api::{Create, Resource};
use neutron_client::{Filter, Neutron};

use super::{Debt, Debts};

impl Debts {
    /// Makes an object in Neutron. What a lost reply may have left, but for that object, is owed: `stray`.
    pub(crate) async fn make<C: Create>(
        &self,
        neutron: &Neutron,
        new: &C,
        identity: &Filter,
        stray: impl Fn(Option<<C::Made as Resource>::Id>) -> Debt,
    ) -> Result<C::Made, neutron_client::Error> {
        match neutron.create_counted(new, identity).await {
            Ok(created) => {
                if created.repeated {
                    self.owe(stray(Some(created.object.id()))).await;
                }
                Ok(created.object)
            }
            Err(error) => {
                if error.may_be_done() {
                    self.owe(stray(None)).await;
                }
                Err(error)
            }
        }
    }
}
