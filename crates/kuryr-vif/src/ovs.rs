//! Open vSwitch: the rows that make an interface a port of a bridge.

mod listing;
mod rows;
mod waiting;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use self::rows::{INTERFACE, OWNER};
use self::waiting::is_taken_up;
use crate::ovsdb::{Ovsdb, OvsdbError, Row};
use crate::{Attachment, Error, Vif};

/// The Open vSwitch of this machine.
pub(crate) struct Ovs {
    ovsdb: Ovsdb,
}

/// How often a transaction is made anew because somebody else changed the rows meanwhile.
const ATTEMPTS: usize = 5;

/// What the database has where an interface shall be.
struct Ground {
    bridge: Option<Row>,
    /// Rows with the interface's name or its id.
    interfaces: Vec<Row>,
    /// The port with the interface's name.
    port: Option<Row>,
    /// The version of the configuration that ovs-vswitchd is asked for.
    wanted: i64,
    /// The version that it has acted on.
    current: i64,
}

impl Ovs {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            ovsdb: Ovsdb::new(socket),
        }
    }

    /// Takes away all rows that bear the name or the id of `attachment` and waits until
    /// ovs-vswitchd has let go of them: a row that came back sooner would get the old, dead port.
    pub(crate) async fn make_way(
        &self,
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<(), Error> {
        let ground = self.ground(attachment, deadline).await?;
        self.bridge_of(&ground, attachment)?;
        self.clear(&ground, attachment, deadline).await
    }

    /// Makes `vif` a port of its bridge that ovs-vswitchd has taken up. On failure removes what it
    /// added, for which it has `grace` after the deadline.
    pub(crate) async fn ensure(
        &self,
        vif: &Vif,
        deadline: Instant,
        grace: Duration,
    ) -> Result<(), Error> {
        let attachment = &vif.attachment;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let ground = self.ground(attachment, deadline).await?;
            let bridge = self.bridge_of(&ground, attachment)?;
            if let Some((row, port)) = there(vif, &ground)
                && self.take(vif, (bridge, port, row), deadline).await?
            {
                // What others change meanwhile is not waited for by who gets what is there already.
                let version = match rows::bears_owner(row, vif) {
                    true => ground.wanted,
                    false => 0,
                };
                if ground.current >= version && is_taken_up(row) {
                    return Ok(());
                }
                return self.taken_up(attachment, version, deadline).await;
            }
            if !ground.interfaces.is_empty() {
                self.clear(&ground, attachment, deadline).await?;
            }
            let added = self.ovsdb.transact(&rows::add(vif, bridge), deadline).await;
            let outcome = match added {
                Err(error)
                    if attempts < ATTEMPTS && (error.is_unmet_wait() || error.is_duplicate()) =>
                {
                    tracing::debug!(%error, "the rows changed meanwhile; once more");
                    continue;
                }
                Err(error) => Err(self.failure("add", &attachment.host)(error)),
                Ok(answers) => {
                    let version = rows::version_in(&answers);
                    self.taken_up(attachment, version, deadline).await
                }
            };
            return match outcome {
                Ok(()) => Ok(()),
                // Also when adding itself failed: a lost answer does not say that it was not done.
                Err(error) => {
                    let last = deadline.max(Instant::now() + grace);
                    Error::join(Err(error), self.remove(attachment, last).await)
                }
            };
        }
    }

    /// Removes the rows of `attachment`. It does not wait for ovs-vswitchd: whoever plugs next does.
    pub(crate) async fn remove(
        &self,
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<(), Error> {
        let found = self
            .ovsdb
            .select("Interface", &rows::same_id(attachment), INTERFACE, deadline)
            .await
            .map_err(self.failure("find", &attachment.host))?;
        // Another program may have plugged the same port, under a name of its own.
        let ours: Vec<_> = found
            .into_iter()
            .filter(|row| {
                row.text("name") == attachment.in_ovs().as_str()
                    || row.map("external_ids").get("owner") == Some(&OWNER)
            })
            .collect();
        if !ours.is_empty() {
            self.delete(&ours, attachment, deadline).await?;
        }
        Ok(())
    }

    async fn ground(&self, attachment: &Attachment, deadline: Instant) -> Result<Ground, Error> {
        let answers = self
            .ovsdb
            .transact(&rows::ground(attachment), deadline)
            .await
            .map_err(self.failure("look up", &attachment.host))?;
        let [bridges, mut interfaces, same_id, ports, version] = rows::found(&answers);
        for row in same_id {
            if !interfaces.contains(&row) {
                interfaces.push(row);
            }
        }
        Ok(Ground {
            bridge: bridges.into_iter().next(),
            interfaces,
            port: ports.into_iter().next(),
            wanted: rows::version(&version, "next_cfg"),
            current: rows::version(&version, "cur_cfg"),
        })
    }

    fn bridge_of<'a>(&self, ground: &'a Ground, attachment: &Attachment) -> Result<&'a Row, Error> {
        let bridge = ground.bridge.as_ref();
        bridge.ok_or_else(|| self.no_such_bridge(attachment))
    }

    fn no_such_bridge(&self, attachment: &Attachment) -> Error {
        Error::NoSuchBridge {
            bridge: rows::bridge(attachment).to_owned(),
            socket: self.ovsdb.socket().clone(),
        }
    }

    /// Notes in a row whose it is now, if it was somebody else's and its port is on that bridge; whether it
    /// is. To the switch and to its controller nothing has changed.
    async fn take(
        &self,
        vif: &Vif,
        (bridge, port, row): (&Row, &Row, &Row),
        deadline: Instant,
    ) -> Result<bool, Error> {
        let operations = rows::take(vif, bridge, port, row);
        match self.ovsdb.transact(&operations, deadline).await {
            Err(error) if error.is_unmet_wait() => Ok(false),
            taken => taken
                .map(|_| true)
                .map_err(self.failure("hand over", &vif.attachment.host)),
        }
    }

    /// Removes the rows that are in the way, and waits until ovs-vswitchd has nothing left to do.
    async fn clear(
        &self,
        ground: &Ground,
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<(), Error> {
        if ground.interfaces.is_empty() && ground.current >= ground.wanted {
            return Ok(());
        }
        for row in &ground.interfaces {
            let iface_id = row.map("external_ids").get("iface-id").copied();
            tracing::warn!(
                name = row.text("name"),
                iface_id,
                "removing a stale port of Open vSwitch"
            );
        }
        let version = match ground.interfaces.as_slice() {
            [] => ground.wanted,
            stale => self.delete(stale, attachment, deadline).await?,
        };
        self.acted(attachment, version, deadline).await
    }

    /// Removes the ports of `interfaces` from whatever bridges have them; unreferenced rows go by
    /// themselves. Gives back the version of the configuration without them.
    async fn delete(
        &self,
        interfaces: &[Row],
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<i64, Error> {
        let failure = || self.failure("remove", &attachment.host);
        let asks = rows::ports_of(interfaces);
        let ports = self
            .ovsdb
            .transact(&asks, deadline)
            .await
            .map_err(failure())?;
        let operations = rows::remove(&ports);
        let answers = self
            .ovsdb
            .transact(&operations, deadline)
            .await
            .map_err(failure())?;
        Ok(rows::version_in(&answers))
    }

    fn failure(
        &self,
        action: &'static str,
        object: &impl ToString,
    ) -> impl FnOnce(OvsdbError) -> Error {
        let (object, socket) = (object.to_string(), self.ovsdb.socket().clone());
        move |source| Error::Database {
            action,
            object,
            socket,
            source,
        }
    }
}

/// The row of `vif`, for whomever, without an error, and its port: if there is exactly that.
fn there<'a>(vif: &Vif, ground: &'a Ground) -> Option<(&'a Row, &'a Row)> {
    let [row] = ground.interfaces.as_slice() else {
        return None;
    };
    let right = row.text("name") == vif.attachment.in_ovs().as_str()
        && row.text("error").is_empty()
        && rows::bears_marks(row, vif);
    let port = ground.port.as_ref()?;
    (right && port.uuids("interfaces").any(|id| id == row.id())).then_some((row, port))
}
