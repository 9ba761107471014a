//! Base URLs, and how a request's path is joined to one.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::InvalidUri;

/// The base URL of a service: `http` or `https`, a host, perhaps a port and a path; nothing more.
///
/// A URL that carries a user name and password is refused, so that one can always be logged.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Url(String);

impl Url {
    /// The base URL as text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends `path_and_query`, which starts with a slash.
    ///
    /// Where both the base's last segment and the path's first one are versions, the path's
    /// stands: catalogues list Neutron with and without `/v2.0`, and users write `auth_url` with
    /// and without `/v3`.
    pub(crate) fn join(&self, path_and_query: &str) -> Result<Uri, InvalidUri> {
        let asked = path_and_query.trim_start_matches('/');
        let asked = asked.split(['/', '?']).next().unwrap_or_default();
        let base = match self.0.rsplit_once('/') {
            Some((parent, last)) if is_version(last) && is_version(asked) => {
                // A host may be called `v3` too.
                if parent.ends_with('/') {
                    &self.0
                } else {
                    parent
                }
            }
            _ => &self.0,
        };
        format!("{base}{path_and_query}").parse()
    }
}

/// `v3`, `v2.0`.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| {
        number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let uri: Uri = text.parse()?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BadUrl::NotHttp);
        };
        if !matches!(scheme, "http" | "https") || authority.host().is_empty() {
            return Err(BadUrl::NotHttp);
        }
        if authority.as_str().contains('@') {
            return Err(BadUrl::Password);
        }
        // The parser drops a fragment without a word.
        if uri.query().is_some() || text.contains('#') {
            return Err(BadUrl::Query);
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self(format!("{scheme}://{authority}{path}")))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is not the base URL of a service.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    /// It is no URL at all.
    #[error("not a URL")]
    Syntax(#[from] InvalidUri),
    /// It has another scheme, or no host.
    #[error("not a URL that starts with http:// or https:// and a host")]
    NotHttp,
    /// It has a user name or password in it, which would end up in logs.
    #[error("a URL here must not contain a user name or password")]
    Password,
    /// It has something behind the path.
    #[error("a URL here must not have a query or a fragment")]
    Query,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(base: &str, path: &str) -> String {
        base.parse::<Url>().unwrap().join(path).unwrap().to_string()
    }

    #[test]
    fn a_version_is_never_doubled() {
        for base in [
            "http://n:9696",
            "http://n:9696/",
            "http://n:9696/v2.0",
            "http://n:9696/v2.0/",
        ] {
            assert_eq!(
                joined(base, "/v2.0/ports?fields=id"),
                "http://n:9696/v2.0/ports?fields=id"
            );
        }
    }

    #[test]
    fn a_path_prefix_is_kept() {
        assert_eq!(
            joined("https://cloud/networking/", "/v2.0/ports"),
            "https://cloud/networking/v2.0/ports"
        );
        assert_eq!(
            joined("https://cloud/networking/v2.0", "/v2.0/ports"),
            "https://cloud/networking/v2.0/ports"
        );
        assert_eq!(
            joined("https://cloud/identity/v3/", "/v3/auth/tokens"),
            "https://cloud/identity/v3/auth/tokens"
        );
        assert_eq!(
            joined("https://cloud/identity", "/v3/auth/tokens"),
            "https://cloud/identity/v3/auth/tokens"
        );
    }

    #[test]
    fn a_host_is_not_a_version() {
        assert_eq!(
            joined("http://v3", "/v3/auth/tokens"),
            "http://v3/v3/auth/tokens"
        );
    }

    #[test]
    fn what_only_looks_like_a_version_is_kept() {
        assert_eq!(
            joined("http://n/vnet", "/v2.0/ports"),
            "http://n/vnet/v2.0/ports"
        );
        assert_eq!(joined("http://n/v2.0", "/ports"), "http://n/v2.0/ports");
        assert_eq!(joined("http://n/v2.0", "/"), "http://n/v2.0/");
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for text in [
            "",
            "n:9696",
            "/v2.0",
            "ftp://n/",
            "http://",
            "http://u:p@n/",
            "http://n/?a=b",
            "http://n/#a",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_joined_url_is_the_base_then_the_path(
            host in "[a-z][a-z0-9]{0,8}(:[1-9][0-9]{0,3})?",
            prefix in "(/[a-z][a-z0-9]{1,5}){0,3}",
            version in prop::sample::select(vec!["", "/v2.0", "/v2", "/v3"]),
            slashes in "/{0,3}",
            rest in "(/[a-z0-9-]{1,8}){1,3}(\\?[a-z]=[a-z%0-9]{0,3})?",
        ) {
            prop_assume!(!prefix.split('/').any(is_version));
            let base = format!("http://{host}{prefix}{version}{slashes}");
            prop_assert_eq!(
                joined(&base, &format!("/v2.0{rest}")),
                format!("http://{host}{prefix}/v2.0{rest}")
            );
        }

        #[test]
        fn parsing_never_panics_and_what_parsed_parses_again(text in "\\PC{0,40}") {
            if let Ok(url) = text.parse::<Url>() {
                prop_assert_eq!(url.as_str().parse::<Url>().unwrap(), url);
            }
        }
    }
}
