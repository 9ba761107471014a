//! Where a server listens, as written in a `*_uri` option.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of an `http://` or `https://` address that names none, as it always was.
const DEFAULT_PORT: u16 = 23750;

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `unix://PATH`
    Unix(PathBuf),
    /// `http://HOST:PORT` or `https://HOST:PORT`
    Tcp {
        /// An IP address, or a name that is looked up when the socket is opened.
        host: String,
        /// The port; 0 lets the kernel choose.
        port: u16,
        /// Whether it is `https`.
        tls: bool,
    },
}

impl Address {
    /// The name that Docker knows the driver by, where the address tells: the socket's file name.
    pub(crate) fn driver(&self) -> String {
        match self {
            Self::Unix(path) => path.file_stem().map_or_else(
                || "kuryr".to_owned(),
                |stem| stem.to_string_lossy().into_owned(),
            ),
            Self::Tcp { host, port, .. } => format!("{}-{port}", host.replace(':', "-")),
        }
    }

    /// Whether only this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => host
                .parse::<IpAddr>()
                .map_or(host == "localhost", |ip| ip.is_loopback()),
        }
    }
}

impl FromStr for Address {
    /// What is wrong: the end of a sentence that the text begins.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match path {
                "" | "/" => Err("names no file"),
                path if !path.starts_with('/') => Err("has no absolute path"),
                path if path.len() > 107 => {
                    Err("is too long: the kernel takes 107 bytes as a socket's path")
                }
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err("is not an address to listen at");
        };
        let authority: http::uri::Authority = rest
            .trim_end_matches('/')
            .parse()
            .map_err(|_| "has no host and port")?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let after = &authority.as_str()[authority.host().len()..];
        let port = match after.strip_prefix(':') {
            None if after.is_empty() => Some(DEFAULT_PORT),
            None => None,
            Some(port) => port.parse().ok(),
        };
        match port {
            _ if authority.as_str().contains('@') => Err("has a user name"),
            _ if host.is_empty() => Err("has no host"),
            None => Err("has no port between 0 and 65535"),
            Some(port) => Ok(Self::Tcp {
                host: host.to_owned(),
                port,
                tls,
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    write!(out, "{scheme}://[{host}]:{port}")
                } else {
                    write!(out, "{scheme}://{host}:{port}")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_shown_as_they_are_written() {
        for text in [
            "unix:///run/docker/plugins/kuryr.sock",
            "http://127.0.0.1:23750",
            "https://[::1]:8443",
            "http://node.example:1",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(
            "http://[::]/".parse::<Address>().unwrap().to_string(),
            "http://[::]:23750"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "unix://",
            "unix:///",
            "unix://run/x",
            "tcp://1.2.3.4:5",
            "http://",
            "http://:5",
            "http://h:99999",
            "http://u@h:5",
            "http://h:5/path",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_an_address_never_panics(text in "(unix|https?)://[ -~]*|\\PC*") {
            let _ = text.parse::<Address>();
        }
    }
}
