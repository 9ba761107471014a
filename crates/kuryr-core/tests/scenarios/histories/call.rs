//! Docker's calls, and what comes of them.

use std::net::IpAddr;

use ipnet::IpNet;
use kuryr_core::{
    AddressRequest, Attachment, Caller, EndpointId, Error, ExposedPort, Gateway, Interface,
    Kind as ErrorKind, Kuryr, NetworkId, NewEndpoint, NewNetwork, Pool, PoolId, PoolRequest,
};

use crate::world::soon;

/// One of Docker's calls.
#[derive(Clone, Debug)]
pub(super) enum Call {
    RequestPool(PoolRequest),
    RequestGateway(PoolId),
    RequestAux(PoolId, IpAddr),
    CreateNetwork(NewNetwork),
    DeleteNetwork(NetworkId),
    ReleasePool(PoolId),
    RequestAddress(PoolId, AddressRequest),
    ReleaseAddress(PoolId, IpAddr),
    CreateEndpoint(NewEndpoint),
    Join(NetworkId, EndpointId, Vec<ExposedPort>),
    Leave(NetworkId, EndpointId),
    DeleteEndpoint(NetworkId, EndpointId),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Pool(Pool),
    Gateway(Option<IpNet>),
    Address(IpNet),
    Interface(Interface),
    Attachment(Attachment),
    Done,
}

impl Call {
    pub(super) async fn make(&self, kuryr: &Kuryr, caller: &Caller) -> Result<Answer, Error> {
        let by = soon();
        match self.clone() {
            Self::RequestPool(ask) => kuryr.request_pool(ask, by).await.map(Answer::Pool),
            Self::RequestGateway(pool) => {
                let gateway = kuryr.reserve_gateway(&pool, None, by).await?;
                Ok(Answer::Gateway(match gateway {
                    Gateway::At(address) => Some(address),
                    Gateway::None(_) => None,
                }))
            }
            Self::RequestAux(pool, address) => {
                let ask = AddressRequest {
                    address: Some(address),
                    mac: None,
                };
                let given = kuryr.reserve_address(&pool, ask, by).await;
                given.map(Answer::Address)
            }
            Self::CreateNetwork(new) => done(kuryr.create_network_for(caller, new, by).await),
            Self::DeleteNetwork(id) => gone(kuryr.delete_network(&id, by).await),
            Self::ReleasePool(pool) => gone(kuryr.release_pool(&pool, by).await),
            Self::RequestAddress(pool, ask) => {
                let given = kuryr.reserve_address(&pool, ask, by).await;
                given.map(Answer::Address)
            }
            Self::ReleaseAddress(pool, address) => {
                gone(kuryr.release_address(&pool, address, by).await)
            }
            Self::CreateEndpoint(new) => {
                let made = kuryr.create_endpoint_for(caller, new, by).await;
                made.map(Answer::Interface)
            }
            Self::Join(network, id, exposed) => {
                let joined = kuryr.join(&network, &id, &exposed, by).await;
                joined.map(Answer::Attachment)
            }
            Self::Leave(network, id) => gone(kuryr.leave(&network, &id, by).await),
            Self::DeleteEndpoint(network, id) => {
                gone(kuryr.delete_endpoint(&network, &id, by).await)
            }
        }
    }

    /// Whether making it again is to change nothing.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::RequestPool(_)
            | Self::RequestGateway(_)
            | Self::RequestAux(..)
            | Self::RequestAddress(..) => false,
            Self::CreateNetwork(_)
            | Self::DeleteNetwork(_)
            | Self::ReleasePool(_)
            | Self::ReleaseAddress(..)
            | Self::CreateEndpoint(_)
            | Self::Join(..)
            | Self::Leave(..)
            | Self::DeleteEndpoint(..) => true,
        }
    }
}

fn done(outcome: Result<(), Error>) -> Result<Answer, Error> {
    outcome.map(|()| Answer::Done)
}

/// As the front end answers.
fn gone(outcome: Result<(), Error>) -> Result<Answer, Error> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::Absent => Ok(Answer::Done),
        other => done(other),
    }
}
