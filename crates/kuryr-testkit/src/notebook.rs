//! A host that only takes notes of what is plugged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kuryr_vif::{
    Attachment, Error, FreeFunction, IfName, Instant, MacAddress, Plug, Publish, PublishError,
    PublishedPort, Switch, Vif,
};

use crate::pace::Pace;

/// A host without a kernel: plugging is writing down.
#[derive(Debug, Default)]
pub struct Notebook {
    plugged: Mutex<Vec<Vif>>,
    taken: Mutex<BTreeSet<IfName>>,
    published: Mutex<BTreeMap<String, Vec<PublishedPort>>>,
    cards: Mutex<BTreeMap<IfName, Vec<FreeFunction>>>,
    announced: Mutex<Vec<(String, MacAddress)>>,
    trouble: Mutex<Option<Trouble>>,
    pace: OnceLock<Pace>,
}

/// What plugging and unplugging meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// It gets stuck for good before it does anything, as if the program were killed there.
    StuckBefore,
    /// Likewise after it.
    StuckAfter,
    /// It is refused.
    Refusal,
    /// It takes so long.
    Delay(Duration),
}

impl Notebook {
    /// From now on plugging and unplugging meets this, or nothing any more.
    pub fn meet(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// For good: whatever the host is asked pauses before it is done and before that is told.
    pub fn pace(&self, pace: Pace) {
        let _ = self.pace.set(pace);
    }

    async fn pause(&self) {
        if let Some(pace) = self.pace.get() {
            pace.pause().await;
        }
    }

    async fn around(
        &self,
        attachment: &Attachment,
        act: impl FnOnce(&mut Vec<Vif>) + Send,
    ) -> Result<(), Error> {
        let trouble = *self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(Trouble::Refusal) => {
                return Err(Error::NoLinuxBridge {
                    bridge: attachment.host.clone(),
                    interface: attachment.host.clone(),
                });
            }
            Some(Trouble::StuckBefore) => std::future::pending().await,
            Some(Trouble::Delay(time)) => tokio::time::sleep(time).await,
            Some(Trouble::StuckAfter) | None => {}
        }
        self.pause().await;
        act(&mut self.notes());
        self.pause().await;
        if trouble == Some(Trouble::StuckAfter) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// The same host for a program that is started after this one's was killed.
    #[must_use]
    pub fn copy(&self) -> Self {
        fn noted<T: Clone>(notes: &Mutex<T>) -> Mutex<T> {
            let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            Mutex::new(notes.clone())
        }
        Self {
            plugged: noted(&self.plugged),
            taken: noted(&self.taken),
            published: noted(&self.published),
            cards: noted(&self.cards),
            announced: Mutex::default(),
            trouble: Mutex::default(),
            pace: OnceLock::new(),
        }
    }

    /// What is plugged now, in the order of plugging.
    pub fn plugged(&self) -> Vec<Vif> {
        self.notes().clone()
    }

    /// Which Neutron ports' MAC addresses were announced to their neighbours, since this was last asked.
    pub fn announced(&self) -> Vec<(String, MacAddress)> {
        let mut announced = self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut announced)
    }

    /// The ports that lead to the interface of this Neutron port.
    pub fn published(&self, interface_id: &str) -> Vec<PublishedPort> {
        let published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        published.get(interface_id).cloned().unwrap_or_default()
    }

    /// From now on the host has a card with these virtual functions.
    pub fn put_card(&self, card: IfName, functions: Vec<FreeFunction>) {
        let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.insert(card, functions);
    }

    /// A container takes the interface with this host end, or the container ends.
    pub fn take(&self, host: &IfName, taken: bool) {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken {
            all.insert(host.clone());
        } else {
            all.remove(host);
        }
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Vif>> {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Plug for Notebook {
    async fn plug(&self, vif: &Vif, _: Instant) -> Result<(), Error> {
        let plug = |notes: &mut Vec<Vif>| {
            notes.retain(|other| other.attachment.interface_id != vif.attachment.interface_id);
            notes.push(vif.clone());
        };
        self.around(&vif.attachment, plug).await
    }

    async fn unplug(&self, attachment: &Attachment, _: Instant) -> Result<(), Error> {
        let unplug = |notes: &mut Vec<Vif>| notes.retain(|vif| vif.attachment != *attachment);
        self.around(attachment, unplug).await
    }

    async fn wired(&self, _: &Attachment, _: Instant) -> Result<bool, Error> {
        self.pause().await;
        Ok(true)
    }

    async fn announce(
        &self,
        attachment: &Attachment,
        mac: MacAddress,
        _: &[IpAddr],
        _: Instant,
    ) -> Result<(), Error> {
        let mut announced = self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        announced.push((attachment.interface_id.clone(), mac));
        Ok(())
    }

    async fn is_taken(&self, attachment: &Attachment) -> Result<bool, Error> {
        self.pause().await;
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(taken.contains(&attachment.host))
    }

    async fn free_functions(&self, card: &IfName) -> Result<Vec<FreeFunction>, Error> {
        let mut free = {
            let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
            cards.get(card).cloned().unwrap_or_default()
        };
        let plugged = self.plugged();
        let has = |vif: &Vif, function: &FreeFunction| matches!(&vif.attachment.switch, Switch::Device(device) if device.slot == function.slot);
        free.retain(|function| !plugged.iter().any(|vif| has(vif, function)));
        Ok(free)
    }

    async fn attachments(&self, owner: &str) -> Result<Vec<Attachment>, Error> {
        self.pause().await;
        let notes = self.notes();
        let mine = notes.iter().filter(|vif| vif.attachment.owner == owner);
        Ok(mine.map(|vif| vif.attachment.clone()).collect())
    }

    async fn all_attachments(&self) -> Result<Vec<Attachment>, Error> {
        self.pause().await;
        let plugged = self.plugged().into_iter();
        Ok(plugged.map(|vif| vif.attachment).collect())
    }
}

/// A port belongs to who has noted it first.
#[async_trait]
impl Publish for Notebook {
    async fn publish(
        &self,
        attachment: &Attachment,
        ports: &[PublishedPort],
        _: Instant,
    ) -> Result<(), PublishError> {
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut others = published
            .iter()
            .filter(|(id, _)| **id != attachment.interface_id);
        let taken = others.find_map(|(id, theirs)| {
            let port = ports.iter().find(|port| theirs.contains(port))?;
            Some((*port, id.clone()))
        });
        if let Some((port, user)) = taken {
            return Err(PublishError::InUse { port, user });
        }
        published.insert(attachment.interface_id.clone(), ports.to_vec());
        Ok(())
    }
}
