//! Programs of the operator's that bind interfaces in ways that are not built in.
//!
//! `<folder>/<vif type> bind PORT INTERFACE ENDPOINT MAC NETWORK PROJECT DETAILS`, and `unbind PORT
//! INTERFACE ENDPOINT MAC DETAILS NETWORK`: the order is that of the Python daemon, whose programs
//! these are.

mod run;

use std::path::PathBuf;

use tokio::time::Instant;

use crate::notes::{Note, Notes};
use crate::{Attachment, Binding, Error, Switch};

/// The programs of this machine.
pub(crate) struct Programs {
    folder: PathBuf,
    notes: Notes,
}

impl Programs {
    pub(crate) fn new(folder: PathBuf, notes: Notes) -> Self {
        Self { folder, notes }
    }

    /// Has an interface bound that is there, unless just this has been done; `is_new` where it has
    /// just been made. What a failed program has left, it is asked to take back.
    pub(crate) async fn bind(
        &self,
        attachment: &Attachment,
        binding: &Binding,
        is_new: bool,
        deadline: Instant,
    ) -> Result<(), Error> {
        match self.notes.read(&attachment.host).await? {
            Some(note) if note.is_bound && !is_new && note.attachment == *attachment => {
                return Ok(());
            }
            // Bound for another interface of this name, or not wholly.
            Some(note) => self.unbind(&note.attachment, deadline).await?,
            None => {}
        }
        let begun = Note::of(attachment, false);
        self.notes.write(&begun).await?;
        let bound = self
            .run("bind", attachment, bind(attachment, binding), deadline)
            .await;
        let noted = match bound {
            Ok(()) => self.notes.write(&Note::of(attachment, true)).await,
            refused => refused,
        };
        match noted {
            Ok(()) => Ok(()),
            Err(error @ Error::NoProgram { .. }) => {
                let unbound = self.notes.write(&Note::unbound(attachment)).await;
                Error::join(Err(error), unbound)
            }
            Err(error) => {
                let last = deadline.max(Instant::now() + crate::host::GRACE);
                Error::join(Err(error), self.unbind(attachment, last).await)
            }
        }
    }

    /// Has an interface unbound, and notes when that is done. What was never bound is unbound.
    pub(crate) async fn unbind(
        &self,
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<(), Error> {
        let Some(note) = self.notes.read(&attachment.host).await? else {
            return Ok(());
        };
        if let Switch::Program(binding) = &note.attachment.switch {
            let arguments = unbind(&note.attachment, binding);
            self.run("unbind", &note.attachment, arguments, deadline)
                .await?;
            let unbound = Note::unbound(&note.attachment);
            return self.notes.write(&unbound).await;
        }
        Ok(())
    }

    async fn run(
        &self,
        verb: &'static str,
        attachment: &Attachment,
        arguments: Vec<String>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let Switch::Program(binding) = &attachment.switch else {
            return Ok(());
        };
        let program = self.folder.join(binding.program.as_str());
        let fail = |outcome: String, said: String| Error::Program {
            verb,
            interface: attachment.host.clone(),
            program: program.clone(),
            outcome,
            said,
        };
        match run::run(&program, verb, &arguments, deadline).await {
            Ok(()) => Ok(()),
            Err(run::Failure::Start(source)) => Err(Error::NoProgram {
                verb,
                interface: attachment.host.clone(),
                kind: binding.program.to_string(),
                program: program.clone(),
                hint: hint(binding.program.as_str()),
                source,
            }),
            Err(run::Failure::Ended { status, said }) => {
                Err(fail(format!("ended with {status}"), said))
            }
            Err(run::Failure::TooLong { after, said }) => {
                Err(fail(format!("was ended after {after:.1?}"), said))
            }
        }
    }
}

fn bind(attachment: &Attachment, binding: &Binding) -> Vec<String> {
    vec![
        attachment.interface_id.clone(),
        attachment.host.to_string(),
        attachment.owner.clone(),
        binding.mac.to_string(),
        binding.network.clone(),
        binding.project.clone(),
        binding.details.clone(),
    ]
}

fn unbind(attachment: &Attachment, binding: &Binding) -> Vec<String> {
    vec![
        attachment.interface_id.clone(),
        attachment.host.to_string(),
        attachment.owner.clone(),
        binding.mac.to_string(),
        binding.details.clone(),
        binding.network.clone(),
    ]
}

/// What to do where there is no program.
fn hint(kind: &str) -> &'static str {
    match kind {
        "vhostuser" => {
            ": vhost-user gives a virtual machine memory to share, and a container needs an interface of \
             the kernel: have the port bound as ovs by the agent on this host (datapath_type), or install \
             a program of the vendor's"
        }
        "hw_veb" | "hostdev_physical" | "hostdev" | "macvtap" => {
            ": the port is for a device of an SR-IOV card, and its binding:profile does not say which: name one \
             (openstack port set --binding-profile pci_slot=0000:01:10.0 PORT), have Kuryr choose one (driver \
             hw_veb), or install a program of the vendor's"
        }
        _ => {
            ": install the program that the network's vendor has for this (bindir in kuryr.conf), or see \
             why Neutron binds ports of this host like that: which mechanism_drivers has ML2, which \
             agents are alive (openstack network agent list)?"
        }
    }
}
