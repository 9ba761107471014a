//! Addresses and ranges: pure arithmetic.

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{AllocationPool, IpVersion, MacAddress};

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(number: u128, version: IpVersion) -> IpAddr {
    match version {
        // Numbers of this version come from `number` and stay inside a prefix.
        #[allow(clippy::cast_possible_truncation, reason = "32 bits, see above")]
        IpVersion::V4 => IpAddr::V4((number as u32).into()),
        IpVersion::V6 => IpAddr::V6(number.into()),
    }
}

/// How many bits an address has.
pub(crate) fn width(version: IpVersion) -> u8 {
    match version {
        IpVersion::V4 => 32,
        IpVersion::V6 => 128,
    }
}

pub(crate) fn version(net: IpNet) -> IpVersion {
    IpVersion::of(net.addr())
}

pub(crate) fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// What is left of a range without a part of it.
pub(crate) fn without(net: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&net) {
        return Vec::new();
    }
    match net.subnets(net.prefix_len() + 1) {
        Ok(halves) if net.contains(&hole) => halves.flat_map(|half| without(half, hole)).collect(),
        Ok(_) | Err(_) => vec![net],
    }
}

/// The address after `before`; wraps at the very last one.
pub(crate) fn next(before: IpAddr) -> IpAddr {
    address(number(before).wrapping_add(1), IpVersion::of(before))
}

/// The first and the last address that a port may have by itself.
fn usable(net: IpNet) -> (u128, u128) {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    match version(net) {
        _ if first == last => (first, last),
        IpVersion::V4 if net.prefix_len() <= 30 => (first + 1, last - 1),
        IpVersion::V4 => (first, last),
        IpVersion::V6 => (first + 1, last),
    }
}

/// Whether a pool lies inside what ports of `net` may have.
pub(crate) fn is_within(pool: AllocationPool, net: IpNet) -> bool {
    let (first, last) = usable(net);
    first <= number(pool.start) && number(pool.end) <= last
}

pub(crate) fn contains(pool: AllocationPool, address: IpAddr) -> bool {
    (number(pool.start)..=number(pool.end)).contains(&number(address))
}

/// Everything that ports of `net` may have, but for the gateway.
pub(crate) fn default_pools(net: IpNet, gateway: Option<IpAddr>) -> Vec<AllocationPool> {
    let (first, last) = usable(net);
    let pool = |start: u128, end: u128| AllocationPool {
        start: address(start, version(net)),
        end: address(end, version(net)),
    };
    match gateway.filter(|gateway| net.contains(gateway)).map(number) {
        Some(gateway) if first != last && (first..=last).contains(&gateway) => {
            let before = (first < gateway).then(|| pool(first, gateway - 1));
            let after = (gateway < last).then(|| pool(gateway + 1, last));
            before.into_iter().chain(after).collect()
        }
        _ => vec![pool(first, last)],
    }
}

/// The lowest address of the pools that is neither taken nor among `chosen`.
///
/// `taken` says which addresses of a part are, in order.
pub(crate) fn first_free<T: Iterator<Item = IpAddr>>(
    pools: &[AllocationPool],
    taken: impl Fn(AllocationPool) -> T,
    chosen: &[IpAddr],
) -> Option<IpAddr> {
    pools.iter().find_map(|pool| {
        let version = IpVersion::of(pool.start);
        let mut free = number(pool.start);
        while free <= number(pool.end) {
            let start = address(free, version);
            for used in taken(AllocationPool { start, ..*pool }) {
                if number(used) != free {
                    break;
                }
                free = free.checked_add(1)?;
            }
            let found = address(free, version);
            if contains(*pool, found) && !chosen.contains(&found) {
                return Some(found);
            }
            free = free.checked_add(1)?;
        }
        None
    })
}

/// The lowest range with this prefix length in `prefixes` that overlaps none of `taken`.
pub(crate) fn free_range(prefixes: &[IpNet], taken: &[IpNet], length: u8) -> Option<IpNet> {
    let mut taken = taken.to_vec();
    taken.sort_unstable_by_key(|net| (number(net.network()), net.prefix_len()));
    prefixes
        .iter()
        .filter(|prefix| prefix.prefix_len() <= length)
        .find_map(|prefix| {
            let version = version(*prefix);
            let mut candidate = IpNet::new(prefix.network(), length).ok()?;
            for used in &taken {
                if overlap(*used, candidate) {
                    let after = number(used.broadcast()).max(number(candidate.broadcast()));
                    let after = after.checked_add(1)?;
                    if after > number(prefix.broadcast()) {
                        return None;
                    }
                    candidate = IpNet::new(address(after, version), length).ok()?;
                }
            }
            prefix.contains(&candidate).then_some(candidate)
        })
}

/// The address that a host gives itself in an IPv6 range (RFC 4291, appendix A).
pub(crate) fn self_assigned(net: IpNet, mac: MacAddress) -> IpAddr {
    let [a, b, c, d, e, f] = mac.octets();
    let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    address(number(net.network()) | u128::from(host), IpVersion::V6)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pools(net: &str, gateway: Option<&str>) -> Vec<String> {
        default_pools(net.parse().unwrap(), gateway.map(|ip| ip.parse().unwrap()))
            .iter()
            .map(|pool| format!("{}-{}", pool.start, pool.end))
            .collect()
    }

    #[test]
    fn ports_get_everything_but_the_gateway_and_the_ends() {
        assert_eq!(
            pools("10.0.0.0/29", Some("10.0.0.1")),
            ["10.0.0.2-10.0.0.6"]
        );
        assert_eq!(
            pools("10.0.0.0/29", Some("10.0.0.4")),
            ["10.0.0.1-10.0.0.3", "10.0.0.5-10.0.0.6"]
        );
        assert_eq!(pools("10.0.0.0/29", None), ["10.0.0.1-10.0.0.6"]);
        assert_eq!(
            pools("10.0.0.8/32", Some("10.0.0.8")),
            ["10.0.0.8-10.0.0.8"]
        );
        assert_eq!(
            pools("10.0.0.8/31", Some("10.0.0.9")),
            ["10.0.0.8-10.0.0.8"]
        );
        assert_eq!(pools("fd00::/126", Some("fd00::")), ["fd00::1-fd00::3"]);
        assert_eq!(pools("fd00::/126", Some("fd00::1")), ["fd00::2-fd00::3"]);
    }

    #[test]
    fn a_range_without_a_part_is_the_rest() {
        let left = |net: &str, hole: &str| -> Vec<String> {
            let left = without(net.parse().unwrap(), hole.parse().unwrap());
            left.iter().map(ToString::to_string).collect()
        };
        let rest = ["10.0.0.0/10", "10.64.0.0/11", "10.96.0.0/12"];
        assert_eq!(left("10.0.0.0/8", "10.128.0.0/9").concat(), "10.0.0.0/9");
        assert_eq!(left("10.0.0.0/9", "10.112.0.0/12"), rest);
        assert_eq!(left("10.0.0.0/9", "11.0.0.0/8"), ["10.0.0.0/9"]);
        assert_eq!(left("10.0.0.0/9", "10.0.0.0/8"), [""; 0]);
        assert_eq!(left("fd00::/127", "fd00::1/128"), ["fd00::/128"]);
    }

    #[test]
    fn the_self_assigned_address_is_the_one_of_the_rfc() {
        let mac = MacAddress::from([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(
            self_assigned("fd00::/64".parse().unwrap(), mac).to_string(),
            "fd00::3656:78ff:fe9a:bcde"
        );
    }

    #[test]
    fn the_last_range_of_all_is_found_once() {
        let all = ["255.255.255.0/24".parse().unwrap()];
        let first = free_range(&all, &[], 25).unwrap();
        let second = free_range(&all, &[first], 25).unwrap();
        assert_eq!(second.to_string(), "255.255.255.128/25");
        assert_eq!(free_range(&all, &[first, second], 25), None);
    }

    proptest! {
        #[test]
        fn ranges_of_a_pool_never_overlap(lengths in prop::collection::vec(16_u8..=28, 0..40)) {
            let prefix: [IpNet; 2] = ["10.8.0.0/16".parse().unwrap(), "10.3.0.0/20".parse().unwrap()];
            let mut taken: Vec<IpNet> = Vec::new();
            for length in lengths {
                let Some(range) = free_range(&prefix, &taken, length) else { continue };
                prop_assert!(prefix.iter().any(|prefix| prefix.contains(&range)));
                prop_assert!(!taken.iter().any(|used| overlap(*used, range)), "{range} {taken:?}");
                prop_assert_eq!(range, range.trunc());
                taken.push(range);
            }
        }

        #[test]
        fn an_address_is_free_until_all_are_taken(first in 0_u8..200, size in 1_u8..20) {
            let pool = AllocationPool {
                start: [10, 0, 0, first].into(),
                end: [10, 0, 0, first + size - 1].into(),
            };
            let mut taken: BTreeSet<IpAddr> = BTreeSet::new();
            let mut chosen = Vec::new();
            let free = |taken: &BTreeSet<IpAddr>, chosen: &[IpAddr]| {
                let part = |part: AllocationPool| taken.range(part.start..=part.end).copied();
                first_free(&[pool], part, chosen)
            };
            for count in 0..size {
                let free = free(&taken, &chosen).unwrap();
                prop_assert!(contains(pool, free) && !taken.contains(&free) && !chosen.contains(&free));
                if count % 2 == 0 { taken.insert(free); } else { chosen.push(free); }
            }
            prop_assert_eq!(free(&taken, &chosen), None);
        }
    }
}
