//! This machine: plugs through its kernel, its Open vSwitch and its programs.

mod devices;
mod thread;
mod ways;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use self::thread::{listed, on_thread};
use crate::kernel::announce::announce;
use crate::kernel::{bridge, route, shared, veth};
use crate::notes::{Note, Notes};
use crate::ovs::Ovs;
use crate::program::Programs;
use crate::serial::Serial;
use crate::{
    Attachment, Bridge, Error, FreeFunction, HostRoute, IfName, MacAddress, Part, Plug, Sharing,
    Switch, Vif,
};

/// Where this machine's parts are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostSettings {
    /// The socket of ovsdb-server; `None` where there is no Open vSwitch.
    pub ovsdb: Option<PathBuf>,
    /// The folder of programs for what is not built in.
    pub programs: PathBuf,
    /// The folder of notes of what is plugged and can't be seen, which should not outlive the kernel.
    pub notes: PathBuf,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            ovsdb: Some("/run/openvswitch/db.sock".into()),
            programs: "/usr/libexec/kuryr".into(),
            notes: "/run/kuryr/plugged".into(),
        }
    }
}

/// This machine. Building it does no I/O; the first verb connects.
pub struct Host {
    ovs: Option<Ovs>,
    programs: Programs,
    notes: Notes,
    serial: Serial,
}

/// How long undoing may take when the deadline has passed.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// How long listing may take: it has no deadline of its own.
const LISTING: Duration = Duration::from_secs(5);

impl Host {
    /// The same, if this version can work with what is plugged. Blocks, while it reads the notes.
    ///
    /// # Errors
    /// [`Error::NewerNote`].
    pub fn open(settings: HostSettings) -> Result<Self, Error> {
        let host = Self::new(settings);
        host.notes.check()?;
        Ok(host)
    }

    /// The machine that `settings` describes.
    pub fn new(settings: HostSettings) -> Self {
        let notes = Notes::new(settings.notes);
        Self {
            ovs: settings.ovsdb.map(Ovs::new),
            programs: Programs::new(settings.programs, notes.clone()),
            notes,
            serial: Serial::default(),
        }
    }
}

impl Host {
    /// Makes `bridge` exist as it is described, up and with its addresses.
    ///
    /// # Errors
    /// [`Error::NameTaken`] when there is an interface of that name which is something else, and
    /// the kernel's refusals.
    pub async fn ensure_bridge(&self, bridge: &Bridge, deadline: Instant) -> Result<(), Error> {
        let held = self.serial.hold("make", &bridge.name, deadline).await?;
        let wanted = bridge.clone();
        let make = move || bridge::ensure(&wanted);
        on_thread(&held, ("make", &bridge.name), deadline, make, drop).await
    }

    /// Makes the bridge `name` not exist. Its ports stay, wired into nothing.
    ///
    /// # Errors
    /// [`Error::NameTaken`] when it is no bridge, and the kernel's refusals.
    pub async fn remove_bridge(&self, name: &IfName, deadline: Instant) -> Result<(), Error> {
        let held = self.serial.hold("delete", name, deadline).await?;
        let unwanted = name.clone();
        let delete = move || bridge::remove(&unwanted);
        on_thread(&held, ("delete", name), deadline, delete, drop).await
    }

    /// The bridges whose alias begins with `prefix`, with what follows it.
    ///
    /// # Errors
    /// [`Error::Listing`].
    pub async fn bridges(&self, prefix: &str) -> Result<Vec<(IfName, String)>, Error> {
        let prefix = prefix.to_owned();
        listed(move || bridge::marked(&prefix)).await
    }

    /// The ranges that this host knows a way to, but for the rest of the world and for neighbours.
    ///
    /// Blocks, for less than a millisecond for some hundreds of routes.
    ///
    /// # Errors
    /// [`Error::Listing`].
    pub fn routes() -> Result<Vec<HostRoute>, Error> {
        route::routes().map_err(Error::Listing)
    }

    /// The interface that the default route goes by. Blocks as [`Host::routes`] does.
    ///
    /// # Errors
    /// [`Error::Listing`].
    pub fn default_interface() -> Result<Option<String>, Error> {
        route::default_interface().map_err(Error::Listing)
    }

    /// All interfaces of this host that frames go out by, with their hardware addresses. Blocks as
    /// [`Host::routes`] does.
    ///
    /// # Errors
    /// [`Error::Listing`].
    pub fn interfaces() -> Result<Vec<(IfName, MacAddress)>, Error> {
        shared::parents().map_err(Error::Listing)
    }

    /// Says whether frames may go back out of the tap that they came in by, as they do where a
    /// container reaches itself by way of the host. A tap that is gone is left alone.
    ///
    /// # Errors
    /// The kernel's refusals.
    pub async fn set_hairpin(
        &self,
        tap: &IfName,
        allowed: bool,
        deadline: Instant,
    ) -> Result<(), Error> {
        let held = self.serial.hold("set up", tap, deadline).await?;
        let name = tap.clone();
        let set = move || veth::set_hairpin(&name, allowed);
        on_thread(&held, ("set up", tap), deadline, set, drop).await
    }

    fn ovs(&self, interface: &IfName) -> Result<&Ovs, Error> {
        self.ovs.as_ref().ok_or_else(|| Error::NoOpenVSwitch {
            interface: interface.clone(),
        })
    }
}

#[async_trait]
impl Plug for Host {
    #[tracing::instrument(level = "debug", skip_all, fields(port = vif.attachment.interface_id, host = %vif.attachment.host))]
    async fn plug(&self, vif: &Vif, deadline: Instant) -> Result<(), Error> {
        let host = &vif.attachment.host;
        let held = self.serial.hold("plug", host, deadline).await?;
        match &vif.attachment.switch {
            Switch::OpenVSwitch { .. } => self.plug_into_ovs(&held, vif, deadline).await,
            Switch::Hybrid { filter, .. } => self.plug_behind(&held, vif, filter, deadline).await,
            Switch::LinuxBridge { .. } | Switch::AgentBridge { .. } | Switch::Tap => {
                let pair = async { self.ensure_pair(&held, vif, deadline).await.map(drop) };
                self.noted(&vif.attachment, pair).await
            }
            Switch::Program(binding) => self.plug_by_program(&held, vif, binding, deadline).await,
            Switch::Parent { parent, sharing } => {
                self.plug_on(&held, vif, (parent, *sharing), deadline).await
            }
            Switch::Device(device) => self.plug_device(&held, vif, device, deadline).await,
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(port = attachment.interface_id, host = %attachment.host))]
    async fn unplug(&self, attachment: &Attachment, deadline: Instant) -> Result<(), Error> {
        let host = &attachment.host;
        let held = self.serial.hold("unplug", host, deadline).await?;
        if matches!(attachment.switch, Switch::Parent { .. }) {
            return self.unplug_from_parent(&held, attachment, deadline).await;
        }
        if let Switch::Device(device) = &attachment.switch {
            let unplugged = self.unplug_device(&held, attachment, device, deadline);
            return unplugged.await;
        }
        let switch = match &attachment.switch {
            Switch::OpenVSwitch { .. } | Switch::Hybrid { .. } => {
                let ovs = self.ovs(host)?;
                // Without the row nothing would tell of the pair.
                if let Err(error) = self.notes.write(&Note::of(attachment, false)).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "what a crash now would leave, nobody would find");
                }
                ovs.remove(attachment, deadline).await
            }
            Switch::Program(_) => self.programs.unbind(attachment, deadline).await,
            Switch::LinuxBridge { .. }
            | Switch::AgentBridge { .. }
            | Switch::Tap
            | Switch::Parent { .. }
            | Switch::Device(_) => Ok(()),
        };
        let pair = ways::remove(&held, host, deadline).await;
        let between = match &attachment.switch {
            Switch::Hybrid { filter, .. } => ways::remove_filter(&held, filter, deadline).await,
            Switch::OpenVSwitch { .. }
            | Switch::LinuxBridge { .. }
            | Switch::AgentBridge { .. }
            | Switch::Tap
            | Switch::Program(_)
            | Switch::Parent { .. }
            | Switch::Device(_) => Ok(()),
        };
        Error::join(Error::join(switch, pair), between)?;
        self.notes.erase(host).await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(port = attachment.interface_id, host = %attachment.host))]
    async fn wired(&self, attachment: &Attachment, deadline: Instant) -> Result<bool, Error> {
        let host = &attachment.host;
        match &attachment.switch {
            Switch::OpenVSwitch { .. } => self.ovs(host)?.wired(attachment, deadline).await,
            Switch::Hybrid { filter, .. } => {
                let near = filter.near.clone();
                let forwards = move || veth::is_forwarding(&near);
                Ok(self.ovs(host)?.wired(attachment, deadline).await?
                    && self.watch_until(attachment, deadline, forwards).await?)
            }
            // The kernel forwards for a port from the moment that it is one.
            Switch::AgentBridge { .. } => {
                let name = host.clone();
                let look = move || veth::is_bridge_port(&name);
                self.watch_until(attachment, deadline, look).await
            }
            // Parent and card forward; what others let it send there is no sign of here.
            Switch::Parent { .. } | Switch::Device(_) => match self.notes.read(host).await? {
                Some(note) if note.is_bound => Ok(true),
                Some(_) | None => Err(Error::NotPlugged {
                    interface: attachment.container.clone(),
                }),
            },
            // Of what others do with an interface there is no sign here.
            Switch::LinuxBridge { .. } | Switch::Tap | Switch::Program(_) => {
                let held = self.serial.hold("look up", host, deadline).await?;
                let name = host.clone();
                let look = move || veth::is_bridge_port(&name);
                let joined = on_thread(&held, ("look up", host), deadline, look, drop).await?;
                Ok(joined || attachment.switch.joined().is_none())
            }
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(port = attachment.interface_id, host = %attachment.host))]
    async fn announce(
        &self,
        attachment: &Attachment,
        mac: MacAddress,
        addresses: &[IpAddr],
        deadline: Instant,
    ) -> Result<(), Error> {
        if let Switch::Parent {
            sharing: Sharing::IpvlanL3,
            ..
        } = attachment.switch
        {
            // This machine routes, and the neighbours know its own address.
            return Ok(());
        }
        if let Switch::Device(_) = attachment.switch {
            // A card takes its time until a function has a carrier: what is said before is lost.
            return Ok(());
        }
        let container = attachment.container.clone();
        let mac = self.address_on_wire(attachment, mac).await?;
        let held = self
            .serial
            .hold("announce", &attachment.host, deadline)
            .await?;
        let port = match attachment.switch {
            Switch::OpenVSwitch { .. }
            | Switch::Tap
            | Switch::Program(_)
            | Switch::Parent { .. }
            | Switch::Device(_) => None,
            Switch::LinuxBridge { .. } | Switch::AgentBridge { .. } | Switch::Hybrid { .. } => {
                Some(attachment.host.clone())
            }
        };
        let addresses = addresses.to_vec();
        let said = on_thread(
            &held,
            ("announce addresses on", &attachment.container),
            deadline,
            move || announce(&container, port.as_ref(), mac, &addresses),
            drop,
        )
        .await?;
        // Closing the socket takes the kernel some milliseconds that nobody needs to wait for.
        spawn_blocking(move || drop(said));
        Ok(())
    }

    async fn is_taken(&self, attachment: &Attachment) -> Result<bool, Error> {
        if let Switch::Device(device) = &attachment.switch
            && !matches!(device.part, Part::Macvtap(_))
        {
            return self.is_away(device).await;
        }
        let attachment = attachment.clone();
        // No turn is taken: this only looks.
        let look = spawn_blocking(move || match &attachment.switch {
            // It has no end that stays: what is not here may be in a container.
            Switch::Parent { .. } | Switch::Device(_) => Ok(!veth::is_here(&attachment.container)?),
            Switch::OpenVSwitch { .. }
            | Switch::Hybrid { .. }
            | Switch::LinuxBridge { .. }
            | Switch::AgentBridge { .. }
            | Switch::Tap
            | Switch::Program(_) => veth::is_taken(&attachment.host),
        });
        let look = look.await;
        look.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    #[tracing::instrument(level = "debug", skip_all, fields(port = vif.attachment.interface_id, host = %vif.attachment.host))]
    async fn take_back(&self, vif: &Vif, deadline: Instant) -> Result<bool, Error> {
        let host = &vif.attachment.host;
        // Of the other ways it is not known what a container can leave behind.
        let Switch::OpenVSwitch { .. } = vif.attachment.switch else {
            return Ok(false);
        };
        let held = self.serial.hold("take back", host, deadline).await?;
        let as_new = {
            let vif = vif.clone();
            let look = move || veth::is_as_new(&vif);
            on_thread(&held, ("look up", host), deadline, look, drop).await?
        };
        if !as_new {
            return Ok(false);
        }
        // Also what is offloaded is set again, as a container may have changed it.
        self.plug_pair_into_ovs(&held, vif, deadline).await?;
        Ok(true)
    }

    async fn free_functions(&self, card: &IfName) -> Result<Vec<FreeFunction>, Error> {
        self.functions_without_user(card).await
    }

    #[tracing::instrument(level = "debug", skip(self))]
    async fn attachments(&self, owner: &str) -> Result<Vec<Attachment>, Error> {
        self.plugged(Some(owner)).await
    }

    #[tracing::instrument(level = "debug", skip(self))]
    async fn all_attachments(&self) -> Result<Vec<Attachment>, Error> {
        self.plugged(None).await
    }
}

impl Host {
    async fn plugged(&self, owner: Option<&str>) -> Result<Vec<Attachment>, Error> {
        let whose = owner.map(str::to_owned);
        let mut noted = self.notes.attachments(owner).await?;
        let mut found = listed(move || veth::attachments(whose.as_deref())).await?;
        if let Some(ovs) = &self.ovs {
            found.extend(ovs.attachments(owner, Instant::now() + LISTING).await?);
        }
        // What is plugged may still be noted from when it was not.
        noted.retain(|noted| found.iter().all(|seen| seen.host != noted.host));
        found.extend(noted);
        Ok(found)
    }
}
