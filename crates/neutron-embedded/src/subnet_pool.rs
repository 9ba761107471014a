//! Subnet pools.

pub(crate) mod prefixes;

use std::net::IpAddr;

use http::StatusCode;
use ipnet::IpNet;
use neutron_api::{IpVersion, SubnetPoolId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::address::{free_range, overlap, version, width};
use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::settings::SharedPool;
use crate::store::{Common, Key};

/// A subnet pool as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct SubnetPool {
    #[serde(flatten)]
    pub(crate) common: Common,
    prefixes: Vec<IpNet>,
    pub(crate) ip_version: IpVersion,
    #[serde(with = "as_text")]
    default_prefixlen: u8,
    #[serde(with = "as_text")]
    min_prefixlen: u8,
    #[serde(with = "as_text")]
    max_prefixlen: u8,
    default_quota: Option<u64>,
    shared: bool,
    pub(crate) is_default: bool,
    address_scope_id: Option<Uuid>,
}

impl SubnetPool {
    /// One that everyone may use, the default for its IP version.
    pub(crate) fn shared(pool: &SharedPool, project: &str) -> Self {
        let ip_version = version(pool.prefix);
        Self {
            common: Common::new(&pool.name, "", project),
            prefixes: vec![pool.prefix],
            ip_version,
            default_prefixlen: pool.default_prefixlen,
            min_prefixlen: shortest(ip_version).min(pool.default_prefixlen),
            max_prefixlen: width(ip_version),
            default_quota: None,
            shared: true,
            is_default: true,
            address_scope_id: None,
        }
    }

    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        Vec::new()
    }

    pub(crate) fn id(&self) -> SubnetPoolId {
        self.common.id.into()
    }

    /// A range with this or the default prefix length that no subnet has.
    pub(crate) fn any_range(&self, cloud: &Cloud, length: Option<u8>) -> Result<IpNet, Refusal> {
        let length = length.unwrap_or(self.default_prefixlen);
        self.check_length(length)?;
        let mut taken = cloud.store.ranges_from(self.id());
        taken.extend(cloud.ranges_of_others());
        free_range(&self.prefixes, &taken, length).ok_or_else(|| {
            unallocatable(&format!(
                "Insufficient prefix space to allocate subnet size /{length}"
            ))
        })
    }

    /// Refuses a range that is not in the pool, or not free.
    pub(crate) fn check_range(&self, cloud: &Cloud, range: IpNet) -> Result<(), Refusal> {
        self.check_length(range.prefix_len())?;
        let mut taken = cloud.store.ranges_from(self.id()).into_iter();
        let mut prefixes = self.prefixes.iter();
        if prefixes.any(|prefix| prefix.contains(&range)) && !taken.any(|net| overlap(net, range)) {
            return Ok(());
        }
        Err(unallocatable(
            "Cannot allocate requested subnet from the available set of prefixes",
        ))
    }

    /// The range that a gateway lies in, with this or the default prefix length.
    pub(crate) fn range_around(
        &self,
        cloud: &Cloud,
        gateway: IpAddr,
        length: Option<u8>,
    ) -> Result<IpNet, Refusal> {
        let length = length.unwrap_or(self.default_prefixlen);
        let range = IpNet::new(gateway, length).map_err(Refusal::input)?.trunc();
        self.check_range(cloud, range)?;
        Ok(range)
    }

    /// Refuses a range that is more than a project may have of the pool.
    pub(crate) fn check_quota(
        &self,
        cloud: &Cloud,
        range: IpNet,
        project: &str,
    ) -> Result<(), Refusal> {
        let Some(quota) = self.default_quota else {
            return Ok(());
        };
        // In addresses of IPv4, or in /64 of IPv6.
        let unit = match self.ip_version {
            IpVersion::V4 => 32,
            IpVersion::V6 => 64,
        };
        let units = |net: IpNet| 2_f64.powi(unit - i32::from(net.prefix_len()));
        let used: f64 = cloud
            .store
            .subnets_from(self.id())
            .filter(|subnet| subnet.common.project_id == project)
            .map(|subnet| units(subnet.cidr))
            .sum();
        #[allow(
            clippy::cast_precision_loss,
            reason = "a quota is smaller than 2 to the 52"
        )]
        if used + units(range) <= quota as f64 {
            return Ok(());
        }
        let message = "Per-project subnet pool prefix quota exceeded.";
        Err(Refusal::conflict("SubnetPoolQuotaExceeded", message))
    }

    fn check_length(&self, length: u8) -> Result<(), Refusal> {
        let refusal = |kind: &str, bound: &str, limit: u8| {
            let message = format!(
                "Unable to allocate subnet with prefix length {length}, {bound} allowed prefix is {limit}."
            );
            Err(Refusal::invalid(kind, message))
        };
        if length > self.max_prefixlen {
            return refusal(
                "MaxPrefixSubnetAllocationError",
                "maximum",
                self.max_prefixlen,
            );
        }
        if length < self.min_prefixlen {
            return refusal(
                "MinPrefixSubnetAllocationError",
                "minimum",
                self.min_prefixlen,
            );
        }
        Ok(())
    }

    fn checked(self, cloud: &Cloud) -> Result<Self, Refusal> {
        if self
            .prefixes
            .iter()
            .any(|net| version(*net) != self.ip_version)
        {
            let message = "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.";
            return Err(Refusal::invalid("PrefixVersionMismatch", message));
        }
        let (min, max) = (self.min_prefixlen, self.max_prefixlen);
        check_bound(
            "max_prefixlen",
            max,
            "ip_version_max",
            width(self.ip_version),
        )?;
        check_bound("min_prefixlen", min, "max_prefixlen", max)?;
        let default = self.default_prefixlen;
        if default < min {
            return Err(out_of_bounds(
                "default_prefixlen",
                default,
                "min_prefixlen",
                min,
            ));
        }
        check_bound(
            "default_prefixlen",
            self.default_prefixlen,
            "max_prefixlen",
            max,
        )?;
        let mut pools = cloud.store.all::<Self>();
        let rival = |pool: &Self| {
            pool.is_default && pool.ip_version == self.ip_version && pool.id() != self.id()
        };
        if self.is_default && pools.any(rival) {
            return Err(Refusal::input(
                "A default subnetpool for this IP family has already been set. Only one default may exist per IP family",
            ));
        }
        Ok(self)
    }
}

impl Resource for SubnetPool {
    const ONE: &'static str = "subnetpool";
    const MANY: &'static str = "subnetpools";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        settable("prefixes").unfiltered().unsorted(),
        shown("ip_version"),
        settable("default_prefixlen").number(),
        settable("min_prefixlen").number(),
        settable("max_prefixlen").number(),
        settable("default_quota").number(),
        fixed("shared").truth().unsorted(),
        settable("is_default").truth(),
        settable("address_scope_id"),
        shown("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Subnet pool {id} could not be found.");
        Refusal::not_found("SubnetPoolNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        if common.name.is_empty() {
            let message = "Failed to parse request. Required attribute 'name' not specified";
            return Err(Refusal::bad_request(message));
        }
        let prefixes = IpNet::aggregate(&body.need("prefixes")?);
        let Some(first) = prefixes.first() else {
            let message = "Empty subnet pool prefix list.";
            return Err(Refusal::invalid("EmptySubnetPoolPrefixList", message));
        };
        let ip_version = version(*first);
        refuse_scope(&mut body)?;
        let min_prefixlen = body
            .number("min_prefixlen")?
            .unwrap_or(shortest(ip_version));
        let pool = Self {
            common,
            prefixes,
            ip_version,
            default_prefixlen: body.number("default_prefixlen")?.unwrap_or(min_prefixlen),
            min_prefixlen,
            max_prefixlen: body.number("max_prefixlen")?.unwrap_or(width(ip_version)),
            default_quota: body.number("default_quota")?,
            shared: body.flag("shared")?.unwrap_or(false),
            is_default: body.flag("is_default")?.unwrap_or(false),
            address_scope_id: None,
        };
        pool.checked(cloud)
    }

    fn update(self, cloud: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        refuse_scope(&mut body)?;
        let prefixes: Vec<IpNet> = body.or("prefixes", self.prefixes.clone())?;
        let kept = |old: &IpNet| prefixes.iter().any(|new| new.contains(old));
        if !self.prefixes.iter().all(kept) {
            let message = "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.";
            return Err(Refusal::invalid("IllegalSubnetPoolPrefixUpdate", message));
        }
        let pool = Self {
            prefixes: IpNet::aggregate(&prefixes),
            default_prefixlen: body
                .number("default_prefixlen")?
                .unwrap_or(self.default_prefixlen),
            min_prefixlen: body.number("min_prefixlen")?.unwrap_or(self.min_prefixlen),
            max_prefixlen: body.number("max_prefixlen")?.unwrap_or(self.max_prefixlen),
            default_quota: body.number("default_quota")?.or(self.default_quota),
            is_default: body.flag("is_default")?.unwrap_or(self.is_default),
            ..self
        };
        pool.checked(cloud)
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        if cloud.store.ranges_from(self.id()).is_empty() {
            return Ok(());
        }
        let message = "Unable to delete subnet pool: Subnet pool has existing allocations.";
        Err(Refusal::invalid("SubnetPoolDeleteError", message))
    }
}

/// There are no address scopes.
fn refuse_scope(body: &mut Body) -> Result<(), Refusal> {
    match body.or::<Option<Uuid>>("address_scope_id", None)? {
        None => Ok(()),
        Some(id) => {
            let message = format!("Address scope {id} could not be found.");
            Err(Refusal::not_found("AddressScopeNotFound", message))
        }
    }
}

/// Neutron writes these numbers as strings.
mod as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(length: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(length)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The shortest prefix that a subnet may have by itself, in bits: Neutron's defaults.
fn shortest(version: IpVersion) -> u8 {
    match version {
        IpVersion::V4 => 8,
        IpVersion::V6 => 64,
    }
}

fn check_bound(what: &str, length: u8, base: &str, limit: u8) -> Result<(), Refusal> {
    if length <= limit {
        return Ok(());
    }
    Err(out_of_bounds(what, length, base, limit))
}

fn out_of_bounds(what: &str, length: u8, base: &str, limit: u8) -> Refusal {
    let message = format!("Illegal prefix bounds: {what}={length}, {base}={limit}.");
    Refusal::invalid("IllegalSubnetPoolPrefixBounds", message)
}

/// The one refusal that Neutron answers with a server's error (no status is mapped to it).
fn unallocatable(reason: &str) -> Refusal {
    let message = format!("Failed to allocate subnet: {reason}.");
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refusal::new(status, "SubnetAllocationError", message)
}
