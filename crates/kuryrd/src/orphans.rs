//! `kuryr orphans`: what the daemon would release, and why, for people.

use std::fmt::Write;

use anyhow::{Context, bail};
use http::Method;
use kuryr_core::{BETWEEN_LOOKS, Orphan};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Settings;
use crate::exchange::exchange;
use crate::listen::Address;

/// Where the daemon answers.
pub(crate) const PATH: &str = "/orphans";

/// Something that no container has, on the wire of the admin socket.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Listed {
    what: String,
    reason: String,
}

impl From<&Orphan> for Listed {
    fn from(orphan: &Orphan) -> Self {
        Self {
            what: orphan.to_string(),
            reason: orphan.reason().to_string(),
        }
    }
}

/// Asks the daemon that this configuration is of, to look or to release; what to print.
pub(crate) async fn ask(settings: &Settings, release: bool) -> anyhow::Result<String> {
    let Some(address) = &settings.admin else {
        bail!("[DEFAULT] admin_uri is empty, so a running kuryr can't be asked");
    };
    let method = if release { Method::POST } else { Method::GET };
    let asked = async {
        match address {
            Address::Unix(path) => exchange(UnixStream::connect(path).await?, method, PATH).await,
            Address::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                exchange(stream, method, PATH).await
            }
        }
    };
    let orphans: Vec<Listed> = asked
        .await
        .with_context(|| format!("could not ask the kuryr that answers at {address}"))?;
    Ok(told(&orphans, release))
}

fn told(orphans: &[Listed], release: bool) -> String {
    let mut text = String::new();
    for Listed { what, reason } in orphans {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{what}: {reason}");
    }
    let between = BETWEEN_LOOKS.as_secs();
    text.push_str(&match (orphans.len(), release) {
        (0, false) => "nothing of Kuryr's here is without its container\n".to_owned(),
        (0, true) => format!("released nothing: two looks, {between} s apart, found no orphan\n"),
        (_, true) => "released; what Neutron still has of them goes in the background\n".to_owned(),
        (_, false) => format!(
            "\nA container that is just being started looks like this too. What two looks, {between} s \
             apart,\nfind unchanged is released: by the daemon itself, soon after its start and then \
             every ten\nminutes, or now by `kuryr orphans --release`.\n"
        ),
    });
    text
}
