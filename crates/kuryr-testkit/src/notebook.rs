//! A host that only takes notes of what is plugged.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kuryr_vif::{Attachment, Error, Instant, MacAddress, Plug, Vif};

/// A host without a kernel: plugging is writing down.
#[derive(Debug, Default)]
pub struct Notebook {
    plugged: Mutex<Vec<Vif>>,
}

impl Notebook {
    /// What is plugged now, in the order of plugging.
    pub fn plugged(&self) -> Vec<Vif> {
        self.notes().clone()
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Vif>> {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Plug for Notebook {
    async fn plug(&self, vif: &Vif, _: Instant) -> Result<(), Error> {
        let mut notes = self.notes();
        notes.retain(|other| other.attachment.interface_id != vif.attachment.interface_id);
        notes.push(vif.clone());
        Ok(())
    }

    async fn unplug(&self, attachment: &Attachment, _: Instant) -> Result<(), Error> {
        self.notes().retain(|vif| vif.attachment != *attachment);
        Ok(())
    }

    async fn wired(&self, _: &Attachment, _: Instant) -> Result<bool, Error> {
        Ok(true)
    }

    async fn announce(
        &self,
        _: &Attachment,
        _: MacAddress,
        _: &[IpAddr],
        _: Instant,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn attachments(&self, owner: &str) -> Result<Vec<Attachment>, Error> {
        let notes = self.notes();
        let mine = notes.iter().filter(|vif| vif.attachment.owner == owner);
        Ok(mine.map(|vif| vif.attachment.clone()).collect())
    }

    async fn all_attachments(&self) -> Result<Vec<Attachment>, Error> {
        Ok(self
            .notes()
            .iter()
            .map(|vif| vif.attachment.clone())
            .collect())
    }
}
