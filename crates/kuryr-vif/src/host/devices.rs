//! How a device of a card goes into a container, and how it comes back.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::thread::on_thread;
use super::{GRACE, Host};
use crate::kernel::device::{self, Before, Place};
use crate::kernel::watch::LinkWatch;
use crate::notes::Note;
use crate::serial::Held;
use crate::{Attachment, Device, DeviceTrouble, Error, FreeFunction, IfName, PciSlot, Switch, Vif};

/// How long a device may take to come back from a container that has ended: the runtime brings it, or
/// the kernel, when it takes the container's network down.
const RETURN: Duration = Duration::from_secs(5);

impl Host {
    /// Makes a device ready for its container. What it was before stands in a note: in its container
    /// it can't be seen from here.
    pub(super) async fn plug_device(
        &self,
        held: &Held,
        vif: &Vif,
        device: &Device,
        deadline: Instant,
    ) -> Result<(), Error> {
        let attachment = &vif.attachment;
        let _turn = self.turn_of(&device.slot, deadline).await?;
        let noted = self.notes.read(&attachment.host).await?;
        let noted = match noted {
            // The port had another device before.
            Some(note) if slot_of(&note.attachment) != Some(&device.slot) => {
                self.unplug_noted(held, &note, deadline).await?;
                None
            }
            other => other,
        };
        if let Some(note) = noted.as_ref().filter(|note| note.is_bound)
            && self.is_away(device).await?
        {
            return match note.attachment.owner == attachment.owner {
                true => Ok(()),
                false => Err(taken(device, note.attachment.clone())),
            };
        }
        if let Some(other) = self.notes.user_of(&device.slot).await?
            && other.interface_id != attachment.interface_id
        {
            return Err(taken(device, other));
        }
        let before = match noted.and_then(|note| note.before) {
            Some(before) => before,
            None => {
                let wanted = device.clone();
                let look = move || device::free(&wanted);
                let container = &attachment.container;
                on_thread(held, ("look up", container), deadline, look, drop).await?
            }
        };
        let begun = Note::of_device(attachment, Some(&before), false);
        self.notes.write(&begun).await?;
        let done = self.ensure_device(held, vif, device, &before, deadline);
        let noted = match done.await {
            Ok(()) => {
                let done = Note::of_device(attachment, Some(&before), true);
                self.notes.write(&done).await
            }
            refused => refused,
        };
        match noted {
            Ok(()) => Ok(()),
            refused => Error::join(refused, self.unplug_noted(held, &begun, deadline).await),
        }
    }

    async fn ensure_device(
        &self,
        held: &Held,
        vif: &Vif,
        device: &Device,
        before: &Before,
        deadline: Instant,
    ) -> Result<(), Error> {
        let container = &vif.attachment.container;
        let (wanted, of) = (vif.clone(), device.clone());
        let (name, unwanted, before) = (container.clone(), device.clone(), before.clone());
        let ensure = move || device::ensure(&wanted, &of);
        // Its note stays: who finds that tries again.
        let undo = move |()| {
            if let Err(error) = device::release(&name, &unwanted, Some(&before)) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "a device remains set up that was so too late");
            }
        };
        on_thread(held, ("set up", container), deadline, ensure, undo).await
    }

    /// Takes a device back, once its container has given it up.
    pub(super) async fn unplug_device(
        &self,
        held: &Held,
        attachment: &Attachment,
        device: &Device,
        deadline: Instant,
    ) -> Result<(), Error> {
        let last = deadline.max(Instant::now() + GRACE);
        let _turn = self.turn_of(&device.slot, last).await?;
        match self.notes.read(&attachment.host).await? {
            Some(note) => self.unplug_noted(held, &note, deadline).await,
            // Somebody else may have the device by now.
            None => Ok(()),
        }
    }

    async fn unplug_noted(&self, held: &Held, note: &Note, deadline: Instant) -> Result<(), Error> {
        let attachment = &note.attachment;
        if let Switch::Device(device) = &attachment.switch {
            let container = &attachment.container;
            self.wait_for_return(device, deadline.min(Instant::now() + RETURN))
                .await?;
            let last = deadline.max(Instant::now() + GRACE);
            let (name, device, before) = (container.clone(), device.clone(), note.before.clone());
            let release = move || device::release(&name, &device, before.as_ref());
            on_thread(held, ("take back", container), last, release, drop).await?;
        }
        self.notes.erase(&attachment.host).await
    }

    /// Whether it comes, the next step sees.
    async fn wait_for_return(&self, device: &Device, until: Instant) -> Result<(), Error> {
        let mut watch = LinkWatch::new().map_err(Error::Listing)?;
        while self.is_away(device).await? {
            match timeout_at(until, watch.changed()).await {
                Err(_) => break,
                Ok(news) => news.map_err(Error::Listing)?,
            }
        }
        Ok(())
    }

    /// Whether the interface of a device is in another network namespace.
    pub(super) async fn is_away(&self, device: &Device) -> Result<bool, Error> {
        let slot = device.slot.clone();
        let look = tokio::task::spawn_blocking(move || device::place(&slot)).await;
        let place = look.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        Ok(place? == Place::Away)
    }

    /// The virtual functions of a card that nobody uses, here or in a container.
    pub(super) async fn functions_without_user(
        &self,
        card: &IfName,
    ) -> Result<Vec<FreeFunction>, Error> {
        let card = card.clone();
        let look = tokio::task::spawn_blocking(move || device::free_functions(&card)).await;
        let found = look.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let plugged = self.notes.attachments(None).await?;
        let is_free = |function: &FreeFunction| {
            let mut slots = plugged.iter().filter_map(slot_of);
            !slots.any(|slot| *slot == function.slot)
        };
        Ok(found.into_iter().filter(is_free).collect())
    }

    /// One verb at a time on one device, whichever ports it is for.
    async fn turn_of(&self, slot: &PciSlot, deadline: Instant) -> Result<Held, Error> {
        let slot = IfName::of_slot(slot);
        self.serial.hold("use", &slot, deadline).await
    }
}

fn slot_of(attachment: &Attachment) -> Option<&PciSlot> {
    let Switch::Device(device) = &attachment.switch else {
        return None;
    };
    Some(&device.slot)
}

fn taken(device: &Device, other: Attachment) -> Error {
    Error::Device {
        action: "plug",
        slot: device.slot.clone(),
        source: Box::new(DeviceTrouble::Taken {
            port: other.interface_id,
            owner: other.owner,
        }),
    }
}
