//! Docker's IPAM driver: ranges of addresses, and addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use ipnet::IpNet;
use kuryr_core::{
    AddressRequest, Gateway, IpVersion, Kuryr, MacAddress, Pool, PoolId, PoolRequest,
};
use serde::{Deserialize, Serialize};

use crate::call::By;
use crate::failure::{Failure, gone_is_done};
use crate::text::{null_is_empty, options, text, text_or_none};
use crate::wire::{Done, Reply, Wire};
use crate::{Front, Settings};

pub(crate) fn routes() -> Router<Front> {
    Router::new()
        .route("/IpamDriver.GetCapabilities", post(get_capabilities))
        .route(
            "/IpamDriver.GetDefaultAddressSpaces",
            post(get_default_address_spaces),
        )
        .route("/IpamDriver.RequestPool", post(request_pool))
        .route("/IpamDriver.ReleasePool", post(release_pool))
        .route("/IpamDriver.RequestAddress", post(request_address))
        .route("/IpamDriver.ReleaseAddress", post(release_address))
}

async fn get_capabilities(State(settings): State<Arc<Settings>>) -> Wire<Capabilities> {
    Wire(Capabilities {
        requires_mac_address: settings.requires_mac_address,
        requires_request_replay: false,
    })
}

async fn get_default_address_spaces(State(settings): State<Arc<Settings>>) -> Wire<AddressSpaces> {
    Wire(AddressSpaces {
        local_default_address_space: settings.local_default_address_space.clone(),
        global_default_address_space: settings.global_default_address_space.clone(),
    })
}

async fn request_pool(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<RequestPool>,
) -> Reply<GivenPool> {
    let pool = kuryr.request_pool(ask.try_into()?, by).await?;
    Ok(Wire(pool.into()))
}

async fn release_pool(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<ReleasePool>,
) -> Reply<Done> {
    gone_is_done(kuryr.release_pool(&ask.pool_id, by).await)?;
    Ok(Wire(Done {}))
}

async fn request_address(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<RequestAddress>,
) -> Reply<GivenAddress> {
    let RequestAddress {
        pool_id,
        address,
        options,
    } = ask;
    let address = match (options.is_gateway(), address) {
        // `--gateway 0.0.0.0`, and what Docker says after a restart of a network without one.
        (true, Some(address)) if address.is_unspecified() => no_gateway(IpVersion::of(address)),
        (true, wanted) => match kuryr.reserve_gateway(&pool_id, wanted, by).await? {
            Gateway::At(address) => address,
            Gateway::None(version) => no_gateway(version),
        },
        (false, address) => {
            let mac = options.mac;
            let ask = AddressRequest { address, mac };
            kuryr.reserve_address(&pool_id, ask, by).await?
        }
    };
    Ok(Wire(address.into()))
}

async fn release_address(
    State(kuryr): State<Kuryr>,
    By(by): By,
    Wire(ask): Wire<ReleaseAddress>,
) -> Reply<Done> {
    if let Some(address) = ask.address.filter(|address| !address.is_unspecified()) {
        gone_is_done(kuryr.release_address(&ask.pool_id, address, by).await)?;
    }
    Ok(Wire(Done {}))
}

/// What Docker takes for the gateway of a network without one.
fn no_gateway(version: IpVersion) -> IpNet {
    let address: IpAddr = match version {
        IpVersion::V4 => Ipv4Addr::UNSPECIFIED.into(),
        IpVersion::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    IpNet::new_assert(address, 0)
}

#[derive(Serialize)]
struct Capabilities {
    #[serde(rename = "RequiresMACAddress")]
    requires_mac_address: bool,
    #[serde(rename = "RequiresRequestReplay")]
    requires_request_replay: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddressSpaces {
    local_default_address_space: String,
    global_default_address_space: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestPool {
    #[serde(default, deserialize_with = "text_or_none")]
    pool: Option<IpNet>,
    #[serde(default, deserialize_with = "text_or_none")]
    sub_pool: Option<IpNet>,
    #[serde(default, deserialize_with = "options")]
    options: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    v6: bool,
}

impl TryFrom<RequestPool> for PoolRequest {
    type Error = Failure;

    fn try_from(ask: RequestPool) -> Result<Self, Failure> {
        let version = match (ask.pool, ask.v6) {
            (Some(pool), _) => IpVersion::of(pool.addr()),
            (None, true) => IpVersion::V6,
            (None, false) => IpVersion::V4,
        };
        let cidr = match ask.pool {
            Some(any) if any.addr().is_unspecified() && any.prefix_len() == 0 => None,
            // From Docker 29 on, `--subnet 0.0.0.0/24` means any range of this size.
            Some(sized) if sized.addr().is_unspecified() => {
                return Err(Failure::malformed(format!(
                    "RequestPool: Pool: a range of any address and of size /{} can't be asked for: \
                     name its address, or leave its size to the subnet pool",
                    sized.prefix_len()
                )));
            }
            other => other.map(|pool| pool.trunc()),
        };
        Ok(Self {
            version,
            cidr,
            part: ask.sub_pool.map(|part| part.trunc()),
            options: ask.options,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GivenPool {
    #[serde(rename = "PoolID")]
    pool_id: String,
    pool: IpNet,
    data: BTreeMap<String, String>,
}

impl From<Pool> for GivenPool {
    fn from(pool: Pool) -> Self {
        Self {
            pool_id: pool.id.to_string(),
            pool: pool.cidr,
            data: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReleasePool {
    #[serde(rename = "PoolID", deserialize_with = "text")]
    pool_id: PoolId,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestAddress {
    #[serde(rename = "PoolID", deserialize_with = "text")]
    pool_id: PoolId,
    #[serde(default, deserialize_with = "text_or_none")]
    address: Option<IpAddr>,
    #[serde(default, deserialize_with = "null_is_empty")]
    options: AddressOptions,
}

#[derive(Debug, Default, Deserialize)]
struct AddressOptions {
    #[serde(rename = "RequestAddressType", default)]
    kind: Option<String>,
    #[serde(
        rename = "com.docker.network.endpoint.macaddress",
        default,
        deserialize_with = "text_or_none"
    )]
    mac: Option<MacAddress>,
}

impl AddressOptions {
    fn is_gateway(&self) -> bool {
        self.kind.as_deref() == Some("com.docker.network.gateway")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GivenAddress {
    address: IpNet,
    data: BTreeMap<String, String>,
}

impl From<IpNet> for GivenAddress {
    fn from(address: IpNet) -> Self {
        Self {
            address,
            data: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReleaseAddress {
    #[serde(rename = "PoolID", deserialize_with = "text")]
    pool_id: PoolId,
    #[serde(default, deserialize_with = "text_or_none")]
    address: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode;

    fn pool(body: &str) -> Result<PoolRequest, Failure> {
        decode::<RequestPool>(body.as_bytes()).unwrap().try_into()
    }

    #[test]
    fn a_pool_request_has_its_range_its_part_and_the_users_options() {
        let ask = pool(
            r#"{"AddressSpace":"no_address_space","Pool":"10.20.0.0/24","SubPool":"10.20.0.128/25",
                "Options":{"neutron.pool.name":"blue"},"V6":false}"#,
        );
        let options = [("neutron.pool.name".to_owned(), "blue".to_owned())].into();
        assert_eq!(
            ask.unwrap(),
            PoolRequest {
                version: IpVersion::V4,
                cidr: Some("10.20.0.0/24".parse().unwrap()),
                part: Some("10.20.0.128/25".parse().unwrap()),
                options,
            }
        );
    }

    #[test]
    fn a_pool_request_may_leave_everything_to_us_but_the_version() {
        for pool_text in [r#""""#, "null", r#""0.0.0.0/0""#] {
            let body = format!(r#"{{"Pool":{pool_text},"SubPool":"","Options":null}}"#);
            let ask = pool(&body).unwrap();
            assert_eq!(
                (ask.version, ask.cidr, ask.part),
                (IpVersion::V4, None, None)
            );
        }
        for body in [r#"{"V6":true}"#, r#"{"Pool":"::/0","V6":true}"#] {
            let ask = pool(body).unwrap();
            assert_eq!((ask.version, ask.cidr), (IpVersion::V6, None));
        }
    }

    #[test]
    fn a_range_of_any_address_is_not_mistaken_for_a_range() {
        let error = pool(r#"{"Pool":"0.0.0.0/24"}"#).unwrap_err();
        assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
    }

    #[test]
    fn an_address_request_tells_gateways_from_endpoints() {
        let ask: RequestAddress = decode(
            br#"{"PoolID":"p","Address":"","Options":{
                "RequestAddressType":"com.docker.network.gateway"}}"#,
        )
        .unwrap();
        assert!(ask.options.is_gateway());
        let ask: RequestAddress = decode(
            br#"{"PoolID":"p","Address":"10.20.0.5","Options":{
                "com.docker.network.endpoint.macaddress":"FA:16:3e:00:00:01"}}"#,
        )
        .unwrap();
        assert!(!ask.options.is_gateway());
        assert_eq!(ask.options.mac, Some([0xfa, 0x16, 0x3e, 0, 0, 1].into()));
        assert_eq!(ask.address, Some("10.20.0.5".parse().unwrap()));
    }

    #[test]
    fn a_network_without_a_gateway_is_told_as_docker_expects() {
        assert_eq!(no_gateway(IpVersion::V4).to_string(), "0.0.0.0/0");
        assert_eq!(no_gateway(IpVersion::V6).to_string(), "::/0");
    }
}
