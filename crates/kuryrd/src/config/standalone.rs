//! `[standalone]`: the Neutron that runs in this process, for this host alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::mistakes::Origin;
use super::options::{self as opt, Declared};
use super::sources::Sources;
use super::value::Setting;

/// The Neutron that runs in this process.
#[derive(Clone, Debug)]
pub(crate) struct Standalone {
    /// The file that it keeps everything in.
    pub(crate) database: PathBuf,
    /// Where its API listens; `None` is nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// Of the default subnet pool when it is made; `None` leaves the choice to the program.
    pub(crate) prefix_v4: Option<IpNet>,
    /// The same for IPv6.
    pub(crate) prefix_v6: Option<IpNet>,
}

/// An address that only this machine reaches.
struct Loopback(SocketAddr);

impl Default for Loopback {
    fn default() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

impl Setting for Loopback {
    fn parse(text: &str) -> Result<Self, String> {
        let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
        let address: SocketAddr = numeric.parse().map_err(|_| {
            format!("`{text}` is not an address with a port; valid is such as 127.0.0.1:9696")
        })?;
        if address.ip().is_loopback() {
            Ok(Self(address))
        } else {
            Err(format!(
                "`{text}` can be reached by others, and this Neutron asks nobody who they are; \
                 valid is a loopback address, such as 127.0.0.1:9696"
            ))
        }
    }
}

/// A range that networks get theirs from.
#[derive(Default)]
struct Prefix<T>(Option<T>);

impl Setting for Prefix<Ipv4Net> {
    fn parse(text: &str) -> Result<Self, String> {
        prefix(text, 24, "10.10.0.0/16")
    }
}

impl Setting for Prefix<Ipv6Net> {
    fn parse(text: &str) -> Result<Self, String> {
        prefix(text, 64, "fd00:10::/48")
    }
}

fn prefix<T>(text: &str, longest: u8, example: &str) -> Result<Prefix<T>, String>
where
    T: Copy + Into<IpNet> + std::str::FromStr,
{
    if text.trim().is_empty() {
        return Ok(Prefix(None));
    }
    let wrong = || {
        format!(
            "`{text}` is not a range of at most /{longest}, as each network gets a /{longest} of it; \
             valid is such as {example}"
        )
    };
    let range: T = text.trim().parse().map_err(|_| wrong())?;
    let net: IpNet = range.into();
    (net.prefix_len() <= longest && net == net.trunc())
        .then_some(Prefix(Some(range)))
        .ok_or_else(wrong)
}

/// `None` unless it is switched on.
pub(super) fn read(sources: &mut Sources) -> Option<Standalone> {
    let on: bool = sources.read(&opt::STANDALONE);
    let database = sources.read(&opt::DATABASE);
    let listen: Option<Loopback> = sources.read(&opt::NEUTRON_LISTEN);
    let v4: Prefix<Ipv4Net> = sources.read(&opt::POOL_PREFIX_V4);
    let v6: Prefix<Ipv6Net> = sources.read(&opt::POOL_PREFIX_V6);
    if !on {
        if listen.is_some() && is_flag(sources, &opt::NEUTRON_LISTEN) {
            let wrong = "only a Neutron of the program's own can listen; give --standalone too";
            sources.mistake(&opt::NEUTRON_LISTEN, wrong);
        }
        return None;
    }
    one_neutron(sources);
    Some(Standalone {
        database,
        listen: listen.map(|listen| listen.0),
        prefix_v4: v4.0.map(IpNet::V4),
        prefix_v6: v6.0.map(IpNet::V6),
    })
}

/// A file that names two Neutrons says of no network in which of them it is to be.
fn one_neutron(sources: &mut Sources) {
    let auth = sources.auth_group().to_owned();
    if sources.find(&auth, &opt::AUTH_TYPE).is_none() {
        return;
    }
    if is_flag(sources, &opt::STANDALONE) {
        sources.warnings.insert(format!(
            "[{auth}] auth_type has no effect: --standalone takes a Neutron of the program's own"
        ));
    } else {
        let wrong =
            format!("auth_type in [{auth}] names another Neutron: leave one of the two away");
        sources.mistake(&opt::STANDALONE, wrong);
    }
}

fn is_flag(sources: &Sources, option: &'static Declared) -> bool {
    sources
        .find(option.group, option)
        .is_some_and(|found| found.origin == Origin::CommandLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_listened_at() {
        for good in [
            "127.0.0.1:9696",
            "127.9.9.9:1",
            "[::1]:9696",
            "localhost:9696",
        ] {
            Loopback::parse(good).unwrap();
        }
        for open in ["0.0.0.0:9696", "[::]:9696", "192.0.2.1:9696"] {
            let refused = Loopback::parse(open).err().unwrap();
            assert!(refused.contains("can be reached by others"), "{refused}");
        }
        for none in [
            "127.0.0.1",
            "9696",
            ":9696",
            "http://127.0.0.1:9696",
            "host:1",
        ] {
            let refused = Loopback::parse(none).err().unwrap();
            assert!(refused.contains("not an address"), "{refused}");
        }
    }

    #[test]
    fn a_pool_holds_whole_ranges_of_its_family() {
        let v4 = |text| Prefix::<Ipv4Net>::parse(text).map(|prefix| prefix.0);
        assert_eq!(v4("10.1.0.0/16"), Ok("10.1.0.0/16".parse().ok()));
        assert_eq!(v4(""), Ok(None));
        for wrong in ["10.1.0.0/25", "10.1.0.1/16", "fd00::/48", "10.1.0.0"] {
            assert!(v4(wrong).unwrap_err().contains("is not a range"), "{wrong}");
        }
        assert!(Prefix::<Ipv6Net>::parse("fd00:1::/48").is_ok());
        assert!(Prefix::<Ipv6Net>::parse("fd00:1::/80").is_err());
    }
}
