//! This machine: plugs through its kernel and its Open vSwitch.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::kernel::announce::announce;
use crate::kernel::veth::{self, Made, Pair};
use crate::ovs::Ovs;
use crate::serial::{Held, Serial};
use crate::{Attachment, Error, IfName, MacAddress, Plug, Vif};

/// Where this machine's parts are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostSettings {
    /// The socket of ovsdb-server.
    pub ovsdb: PathBuf,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            ovsdb: "/run/openvswitch/db.sock".into(),
        }
    }
}

/// This machine. Building it does no I/O; the first verb connects.
pub struct Host {
    ovs: Ovs,
    serial: Serial,
}

/// How long undoing may take when the deadline has passed.
const GRACE: Duration = Duration::from_secs(2);
/// How long listing may take: it has no deadline of its own.
const LISTING: Duration = Duration::from_secs(5);

impl Host {
    /// The machine that `settings` describes.
    pub fn new(settings: HostSettings) -> Self {
        Self {
            ovs: Ovs::new(settings.ovsdb),
            serial: Serial::default(),
        }
    }
}

/// The row comes after the interface it names, always: ovs-vswitchd that has a port open never
/// notices that a new interface bears the old name, and the port stays dead without an error.
#[async_trait]
impl Plug for Host {
    #[tracing::instrument(level = "debug", skip_all, fields(port = vif.attachment.interface_id, host = %vif.attachment.host))]
    async fn plug(&self, vif: &Vif, deadline: Instant) -> Result<(), Error> {
        let host = &vif.attachment.host;
        let held = self.serial.hold("plug", host, deadline).await?;
        let pair = {
            let vif = vif.clone();
            on_thread(
                &held,
                ("look up", host),
                deadline,
                move || veth::inspect(&vif),
                drop,
            )
            .await?
        };
        if pair == Pair::Absent {
            self.ovs.make_way(&vif.attachment, deadline).await?;
        }
        let made = {
            let (vif, made) = (vif.clone(), vif.attachment.host.clone());
            let undo = move |outcome| undo(outcome, &made);
            on_thread(
                &held,
                ("create", host),
                deadline,
                move || veth::ensure(&vif),
                undo,
            )
            .await?
        };
        let taken = self.ovs.ensure(vif, deadline, GRACE).await;
        match (made, taken) {
            (_, Ok(())) => Ok(()),
            (Made::Found, refused) => refused,
            (Made::New, refused) => Error::join(refused, remove(&held, host, deadline).await),
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(port = attachment.interface_id, host = %attachment.host))]
    async fn unplug(&self, attachment: &Attachment, deadline: Instant) -> Result<(), Error> {
        let host = &attachment.host;
        let held = self.serial.hold("unplug", host, deadline).await?;
        let row = self.ovs.remove(attachment, deadline).await;
        let pair = remove(&held, host, deadline).await;
        Error::join(row, pair)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(port = attachment.interface_id, host = %attachment.host))]
    async fn wired(&self, attachment: &Attachment, deadline: Instant) -> Result<bool, Error> {
        self.ovs.wired(attachment, deadline).await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(port = attachment.interface_id, host = %attachment.host))]
    async fn announce(
        &self,
        attachment: &Attachment,
        mac: MacAddress,
        addresses: &[IpAddr],
        deadline: Instant,
    ) -> Result<(), Error> {
        let container = attachment.container.clone();
        let held = self
            .serial
            .hold("announce", &attachment.host, deadline)
            .await?;
        let addresses = addresses.to_vec();
        let said = on_thread(
            &held,
            ("announce addresses on", &attachment.container),
            deadline,
            move || announce(&container, mac, &addresses),
            drop,
        )
        .await?;
        // Closing the socket takes the kernel some milliseconds that nobody needs to wait for.
        spawn_blocking(move || drop(said));
        Ok(())
    }

    #[tracing::instrument(level = "debug", skip(self))]
    async fn attachments(&self, owner: &str) -> Result<Vec<Attachment>, Error> {
        self.ovs
            .attachments(Some(owner), Instant::now() + LISTING)
            .await
    }

    #[tracing::instrument(level = "debug", skip(self))]
    async fn all_attachments(&self) -> Result<Vec<Attachment>, Error> {
        self.ovs.attachments(None, Instant::now() + LISTING).await
    }
}

/// Deletes the pair, also when the deadline has passed: less remains.
async fn remove(held: &Held, host: &IfName, deadline: Instant) -> Result<(), Error> {
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

fn undo(made: Made, host: &IfName) {
    let undone = match made {
        Made::New => veth::remove(host),
        Made::Found => Ok(()),
    };
    if let Err(error) = undone {
        tracing::warn!(%host, %error, "a veth pair remains that was made too late");
    }
}

/// Runs `job` on a thread that may block. A call into the kernel cannot be interrupted: when
/// nobody waits any more for what it made, `undo` gets that, and the interface stays held until then.
async fn on_thread<T: Send + 'static>(
    held: &Held,
    (action, interface): (&'static str, &IfName),
    deadline: Instant,
    job: impl FnOnce() -> Result<T, Error> + Send + 'static,
    undo: impl FnOnce(T) + Send + 'static,
) -> Result<T, Error> {
    let (report, reported) = oneshot::channel();
    let held = held.clone();
    spawn_blocking(move || {
        if let Err(Ok(unwanted)) = report.send(job()) {
            undo(unwanted);
        }
        drop(held);
    });
    match timeout_at(deadline, reported).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => Err(Error::Busy {
            action,
            interface: interface.clone(),
        }),
    }
}
