//! How each way of plugging is done, and undone when a step of it fails.

use tokio::time::{Instant, timeout_at};

use super::thread::on_thread;
use super::{GRACE, Host};
use crate::kernel::veth::{self, Made, Pair};
use crate::kernel::watch::LinkWatch;
use crate::kernel::{filter, shared};
use crate::notes::Note;
use crate::serial::Held;
use crate::{Attachment, Binding, Error, Filter, IfName, MacAddress, Sharing, Switch, Vif};

impl Host {
    /// Takes the steps of plugging `attachment`, of which a note tells until they are done or undone.
    pub(super) async fn noted(
        &self,
        attachment: &Attachment,
        steps: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        self.notes.write(&Note::of(attachment, false)).await?;
        match steps.await {
            Ok(()) => self.notes.erase(&attachment.host).await,
            refused => self.forget_undone(attachment, refused).await,
        }
    }

    /// Erases the note of what could not be plugged, unless a part of it is still there.
    async fn forget_undone(
        &self,
        attachment: &Attachment,
        refused: Result<(), Error>,
    ) -> Result<(), Error> {
        let host = &attachment.host;
        let outer = match &attachment.switch {
            Switch::Hybrid { filter, .. } => &filter.bridge,
            Switch::OpenVSwitch { .. }
            | Switch::LinuxBridge { .. }
            | Switch::AgentBridge { .. }
            | Switch::Tap
            | Switch::Program(_)
            | Switch::Parent { .. }
            | Switch::Device(_) => host,
        };
        match &refused {
            Err(error)
                if [host, outer]
                    .iter()
                    .any(|it| Self::may_have_left(it, error)) =>
            {
                refused
            }
            Ok(()) | Err(_) => Error::join(refused, self.notes.erase(host).await),
        }
    }

    /// Whether an interface may be there that was being plugged when `error` came.
    fn may_have_left(interface: &IfName, error: &Error) -> bool {
        let is_others = matches!(error, Error::NameTaken { .. });
        !is_others && veth::is_here(interface).unwrap_or(true)
    }

    /// Makes the veth pair of `vif` exist, with its host end up.
    pub(super) async fn ensure_pair(
        &self,
        held: &Held,
        vif: &Vif,
        deadline: Instant,
    ) -> Result<Made, Error> {
        let host = &vif.attachment.host;
        let (vif, made) = (vif.clone(), host.clone());
        let undo = move |outcome| undo(outcome, ("a veth pair", &made), || veth::remove(&made));
        let ensure = move || veth::ensure(&vif);
        on_thread(held, ("create", host), deadline, ensure, undo).await
    }

    /// The row comes after the interface it names, always: ovs-vswitchd that has a port open never
    /// notices that a new interface bears the old name, and the port stays dead without an error.
    ///
    /// Of a pair that is here and up nothing is set again: a warm port is handed over by a look and a row.
    pub(super) async fn plug_into_ovs(
        &self,
        held: &Held,
        vif: &Vif,
        deadline: Instant,
    ) -> Result<(), Error> {
        let host = &vif.attachment.host;
        let ovs = self.ovs(host)?;
        let pair = {
            let vif = vif.clone();
            let look = move || veth::inspect(&vif);
            on_thread(held, ("look up", host), deadline, look, drop).await?
        };
        if pair.is_up() {
            return ovs.ensure(vif, deadline, GRACE).await;
        }
        if pair != Pair::Absent {
            return self.plug_pair_into_ovs(held, vif, deadline).await;
        }
        let steps = async {
            ovs.make_way(&vif.attachment, deadline).await?;
            self.plug_pair_into_ovs(held, vif, deadline).await
        };
        self.noted(&vif.attachment, steps).await
    }

    /// The same with a Linux bridge between, whose far end is what Open vSwitch has.
    pub(super) async fn plug_behind(
        &self,
        held: &Held,
        vif: &Vif,
        between: &Filter,
        deadline: Instant,
    ) -> Result<(), Error> {
        let host = &vif.attachment.host;
        let ovs = self.ovs(host)?;
        let (wanted, mtu) = (between.clone(), vif.mtu);
        let look = move || filter::is_here(&wanted, mtu);
        let is_here = on_thread(held, ("look up", host), deadline, look, drop).await?;
        let steps = async {
            if !is_here {
                ovs.make_way(&vif.attachment, deadline).await?;
            }
            self.plug_around(held, vif, between, deadline).await
        };
        self.noted(&vif.attachment, steps).await
    }

    async fn plug_around(
        &self,
        held: &Held,
        vif: &Vif,
        between: &Filter,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mtu = vif.mtu;
        let (wanted, unwanted) = (between.clone(), between.clone());
        let ensure = move || filter::ensure(&wanted, mtu);
        let undo = move |made| {
            undo(made, ("a bridge", &unwanted.bridge), || {
                filter::remove(&unwanted)
            });
        };
        let made = on_thread(held, ("create", &between.bridge), deadline, ensure, undo).await?;
        let plugged = self.plug_pair_into_ovs(held, vif, deadline).await;
        match (made, plugged) {
            (_, Ok(())) => Ok(()),
            (Made::Found, refused) => refused,
            (Made::New, refused) => {
                Error::join(refused, remove_filter(held, between, deadline).await)
            }
        }
    }

    /// Makes the pair, then the row.
    pub(super) async fn plug_pair_into_ovs(
        &self,
        held: &Held,
        vif: &Vif,
        deadline: Instant,
    ) -> Result<(), Error> {
        let host = &vif.attachment.host;
        let made = self.ensure_pair(held, vif, deadline).await?;
        let taken = self.ovs(host)?.ensure(vif, deadline, GRACE).await;
        match (made, taken) {
            (_, Ok(())) => Ok(()),
            (Made::Found, refused) => refused,
            (Made::New, refused) => Error::join(refused, remove(held, host, deadline).await),
        }
    }

    /// Makes the pair, then has its host end bound by a program.
    pub(super) async fn plug_by_program(
        &self,
        held: &Held,
        vif: &Vif,
        binding: &Binding,
        deadline: Instant,
    ) -> Result<(), Error> {
        let attachment = &vif.attachment;
        if self.notes.read(&attachment.host).await?.is_none() {
            self.notes.write(&Note::unbound(attachment)).await?;
        }
        let steps = async {
            let made = self.ensure_pair(held, vif, deadline).await?;
            let is_new = made == Made::New;
            let bound = self.programs.bind(attachment, binding, is_new, deadline);
            match (made, bound.await) {
                (_, Ok(())) => Ok(()),
                (Made::Found, refused) => refused,
                (Made::New, refused) => {
                    Error::join(refused, remove(held, &attachment.host, deadline).await)
                }
            }
        };
        match steps.await {
            Ok(()) => Ok(()),
            refused => self.forget_undone(attachment, refused).await,
        }
    }

    /// Makes an interface that shares `parent`. That it was made stands in a note: in its container it
    /// can't be seen from here.
    pub(super) async fn plug_on(
        &self,
        held: &Held,
        vif: &Vif,
        (parent, sharing): (&IfName, Sharing),
        deadline: Instant,
    ) -> Result<(), Error> {
        let attachment = &vif.attachment;
        let container = &attachment.container;
        let noted = self.notes.read(&attachment.host).await?;
        let is_noted = noted.is_some_and(|note| note.is_bound && note.attachment == *attachment);
        let name = container.clone();
        let look = move || shared::is_here(&name);
        let is_here = on_thread(held, ("look up", container), deadline, look, drop).await?;
        if is_noted && !is_here {
            return Ok(());
        }
        self.notes.write(&Note::of(attachment, false)).await?;
        let (wanted, below, unwanted) = (vif.clone(), parent.clone(), container.clone());
        let ensure = move || shared::ensure(&wanted, &below, sharing);
        let undo = move |made| {
            undo(made, ("an interface", &unwanted), || {
                shared::remove(&unwanted)
            });
        };
        let made = on_thread(held, ("create", container), deadline, ensure, undo).await;
        let noted = match &made {
            Ok(_) => self.notes.write(&Note::of(attachment, true)).await,
            Err(error) if Self::may_have_left(container, error) => Ok(()),
            Err(_) => self.notes.erase(&attachment.host).await,
        };
        match (made, noted) {
            (Ok(Made::New), Err(error)) => {
                let unplugged = self.unplug_from_parent(held, attachment, deadline).await;
                Error::join(Err(error), unplugged)
            }
            (made, noted) => Error::join(made.map(drop), noted),
        }
    }

    pub(super) async fn unplug_from_parent(
        &self,
        held: &Held,
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<(), Error> {
        let container = &attachment.container;
        let name = container.clone();
        let last = deadline.max(Instant::now() + GRACE);
        let delete = move || shared::remove(&name);
        on_thread(held, ("delete", container), last, delete, drop).await?;
        self.notes.erase(&attachment.host).await
    }

    /// The hardware address that an interface's frames have: with `ipvlan` that of its parent.
    pub(super) async fn address_on_wire(
        &self,
        attachment: &Attachment,
        mac: MacAddress,
    ) -> Result<MacAddress, Error> {
        let Switch::Parent {
            parent,
            sharing: Sharing::Ipvlan,
        } = &attachment.switch
        else {
            return Ok(mac);
        };
        let found = shared::address_of(parent)?;
        found.ok_or_else(|| Error::NoParent {
            parent: parent.clone(),
            interface: attachment.container.clone(),
        })
    }

    /// Waits until `look` says yes, asked again whenever any interface has changed; false when the
    /// deadline passed first.
    pub(super) async fn watch_until<F>(
        &self,
        attachment: &Attachment,
        deadline: Instant,
        look: F,
    ) -> Result<bool, Error>
    where
        F: Fn() -> Result<bool, Error> + Clone + Send + 'static,
    {
        let host = &attachment.host;
        let refused = |source| Error::Kernel {
            action: "watch",
            interface: host.clone(),
            source,
        };
        let mut watch = LinkWatch::new().map_err(refused)?;
        loop {
            let held = self.serial.hold("look up", host, deadline).await?;
            match on_thread(&held, ("look up", host), deadline, look.clone(), drop).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // The deadline passed while the kernel was asked.
                Err(Error::Busy { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
            drop(held);
            match timeout_at(deadline, watch.changed()).await {
                Err(_) => return Ok(false),
                Ok(news) => news.map_err(refused)?,
            }
        }
    }
}

/// Deletes the pair, also when the deadline has passed: less remains.
pub(super) async fn remove(held: &Held, host: &IfName, deadline: Instant) -> Result<(), Error> {
    let name = host.clone();
    let last = deadline.max(Instant::now() + GRACE);
    on_thread(
        held,
        ("delete", host),
        last,
        move || veth::remove(&name),
        drop,
    )
    .await
}

pub(super) async fn remove_filter(
    held: &Held,
    between: &Filter,
    deadline: Instant,
) -> Result<(), Error> {
    let unwanted = between.clone();
    let last = deadline.max(Instant::now() + GRACE);
    let remove = move || filter::remove(&unwanted);
    on_thread(held, ("delete", &between.bridge), last, remove, drop).await
}

/// Removes what was made too late for anybody to want it. What was found stays.
fn undo(
    made: Made,
    (what, interface): (&str, &IfName),
    remove: impl FnOnce() -> Result<(), Error>,
) {
    let undone = match made {
        Made::New => remove(),
        Made::Found => Ok(()),
    };
    if let Err(error) = undone {
        tracing::warn!(%interface, %error, "{what} remains that was made too late");
    }
}
