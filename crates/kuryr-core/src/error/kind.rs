//! What kinds of failures there are.

use http::StatusCode;
use kuryr_vif::PublishError;

use super::{Error, PortError};

/// What kind of failure it is, for a front end's status code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The request can't be carried out as it stands: the user must change it.
    Invalid,
    /// Something else has what was asked for.
    Conflict,
    /// What the request is about does not exist.
    Absent,
    /// Neutron or the host can't be reached now.
    Unavailable,
    /// It should have worked.
    Failed,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::UnknownNetwork(_) | Self::UnknownEndpoint(_) | Self::UnknownPool(_) => {
                Kind::Absent
            }
            Self::OutsideRange { .. }
            | Self::ReservedTwice { .. }
            | Self::OtherGateway { .. }
            | Self::RangeVersion { .. }
            | Self::PartOutside { .. }
            | Self::NoDefaultPool { .. }
            | Self::DefaultPoolVersion { .. }
            | Self::NoSubnet { .. }
            | Self::NoSuchNetwork(_)
            | Self::NoSuchRange { .. }
            | Self::AdoptionNeedsSubnet { .. }
            | Self::NoSuchSubnet(_)
            | Self::NoSuchPool(_)
            | Self::NoSuchObject { .. }
            | Self::NoExtension { .. }
            | Self::OtherRange { .. }
            | Self::SubnetElsewhere { .. }
            | Self::NoGateway { .. }
            | Self::OtherSharing { .. }
            | Self::OtherPool { .. }
            | Self::MisplacedOption { .. }
            | Self::UnknownOption { .. }
            | Self::BadOption { .. }
            | Self::DriverNotEnabled { .. }
            | Self::NoCard { .. }
            | Self::HiddenPhysicalNetwork { .. }
            | Self::NoPhysicalNetwork { .. }
            | Self::NoAddressGiven(_) => Kind::Invalid,
            Self::Ambiguous { .. }
            | Self::NoFunction { .. }
            | Self::PartFull { .. }
            | Self::OtherRanges { .. }
            | Self::NetworkInUse { .. }
            | Self::NetworkShared { .. } => Kind::Conflict,
            Self::Port(error) => error.kind(),
            Self::Busy { .. } | Self::NotWired { .. } => Kind::Unavailable,
            Self::Neutron { source, .. } if source.is_passing() => Kind::Unavailable,
            Self::Neutron { source, .. } if source.status() == Some(StatusCode::CONFLICT) => {
                Kind::Conflict
            }
            Self::Publish { source, .. } if matches!(**source, PublishError::InUse { .. }) => {
                Kind::Conflict
            }
            Self::Neutron { .. }
            | Self::Publish { .. }
            | Self::Host { .. }
            | Self::NoAddress { .. }
            | Self::Journal { .. }
            | Self::Unnoted(_)
            | Self::Binding { .. }
            | Self::Bug(_) => Kind::Failed,
        }
    }

    /// Whether Neutron does not know what we take for granted: what we know of it is old.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Neutron { source, .. } if source.is_absence())
    }

    /// Whether another port has the MAC address that was asked for.
    pub(crate) fn is_mac_in_use(&self) -> bool {
        matches!(self, Self::Neutron { source, .. } if source.fault() == Some("MacAddressInUse"))
    }

    /// Whether Neutron has no address left, or not the one that was asked for.
    pub(crate) fn is_shortage(&self) -> bool {
        let is_full = matches!(self, Self::PartFull { .. })
            || matches!(self, Self::Neutron { source, .. }
                if source.fault() == Some("IpAddressGenerationFailure"));
        is_full || self.is_taken()
    }

    /// Whether the project may have no more of what was to be made.
    pub(crate) fn is_over_quota(&self) -> bool {
        matches!(self, Self::Neutron { source, .. } if source.fault() == Some("OverQuota"))
    }

    /// Whether another port has the address that was asked for, and that is, or may be, a warm one of `host`.
    pub(crate) fn is_in_use_by_pool_of(&self, host: &str) -> bool {
        let is_whose = |error: &PortError| matches!(error, PortError::AddressInUse { whose, .. } if whose.is_pool_of(host));
        self.is_taken() || matches!(self, Self::Port(error) if is_whose(error))
    }

    /// Whether Neutron says that another port has the address that was asked for.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Neutron { source, .. }
            if matches!(source.fault(), Some("IpAddressAlreadyAllocated" | "IpAddressInUse")))
    }
}
