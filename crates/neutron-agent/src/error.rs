//! Why this host could not be made what the embedded Neutron wants.

use std::io;

use kuryr_vif::InvalidIfName;
use neutron_api::NetworkId;

/// Why this host could not be made what the embedded Neutron wants.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no `nft`.
    #[error(
        "could not run nft, which puts security groups and NAT into force: install it \
         (on Debian: apt-get install nftables)"
    )]
    NoNft(#[source] io::Error),
    /// `nft` refused.
    #[error(
        "nft could not change this host's rules: {said}; it needs root (CAP_NET_ADMIN) and a kernel \
         with nftables"
    )]
    Nft {
        /// Its words.
        said: String,
    },
    /// `nft` did not end.
    #[error("nft could not change this host's rules in {seconds} seconds and was ended")]
    NftHangs {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The kernel shows no bridged frames to nftables.
    #[error(
        "this kernel does not show bridged frames to nftables, without which security groups would \
         not hold: load its module (modprobe br_netfilter, and a line br_netfilter in \
         /etc/modules-load.d/kuryr.conf)"
    )]
    NoBridgeNetfilter,
    /// A bridge could not be made or removed.
    #[error("could not {action} of network {network}")]
    Bridge {
        /// What was being done.
        action: &'static str,
        /// The network.
        network: String,
        /// Why.
        source: Box<kuryr_vif::Error>,
    },
    /// What is plugged, or the bridges, could not be listed.
    #[error("could not find what is plugged on this host")]
    Listing(#[source] Box<kuryr_vif::Error>),
    /// An object has an identifier that makes no name for an interface.
    #[error("an object of the embedded Neutron can have no interface")]
    Name(#[from] InvalidIfName),
    /// The Neutron has no such port here.
    #[error("the embedded Neutron has no port {port} that is bound to host {host}")]
    NoSuchPort {
        /// The port.
        port: String,
        /// This host.
        host: String,
    },
    /// What was wanted is not there in time.
    #[error("it took too long{}", last.as_deref().map(|last| format!(": {last}")).unwrap_or_default())]
    TooLate {
        /// What failed last.
        last: Option<String>,
    },
}

impl AgentError {
    pub(crate) fn listing(source: kuryr_vif::Error) -> Self {
        Self::Listing(Box::new(source))
    }

    /// Turns a refusal into what was being done to the bridge of `network`.
    pub(crate) fn of_bridge(
        action: &'static str,
        network: NetworkId,
    ) -> impl FnOnce(kuryr_vif::Error) -> Self {
        move |source| Self::Bridge {
            action,
            network: network.to_string(),
            source: Box::new(source),
        }
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
