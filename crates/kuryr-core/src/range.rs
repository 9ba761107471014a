//! Arithmetic on ranges of addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::AllocationPool;

/// The first address of a range that a machine can have: Neutron's gateway, and Docker's.
pub(crate) fn first_host(cidr: IpNet) -> IpAddr {
    let (first, _) = hosts(cidr);
    from_number(cidr, first)
}

/// The parts of `part` of `cidr` that are left for containers when `taken` are not for them.
pub(crate) fn allocation_pools(cidr: IpNet, part: IpNet, taken: &[IpAddr]) -> Vec<AllocationPool> {
    let (first, last) = hosts(cidr);
    let start = number(part.network()).max(first);
    let end = number(part.broadcast()).min(last);
    gaps(cidr, start, end, taken)
}

/// What is left of a pool of `cidr` when `taken` are not for containers.
pub(crate) fn without(
    cidr: IpNet,
    whole: &AllocationPool,
    taken: &[IpAddr],
) -> Vec<AllocationPool> {
    gaps(cidr, number(whole.start), number(whole.end), taken)
}

/// An address of these pools of `cidr`: the one that `start` points at, or the next that is not
/// `used`; none if all are.
pub(crate) fn pick(
    cidr: IpNet,
    pools: &[AllocationPool],
    start: u128,
    used: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let sizes = pools
        .iter()
        .map(|pool| number(pool.end) - number(pool.start) + 1);
    let total = sizes.fold(0u128, u128::saturating_add);
    let at = |mut index: u128| {
        for pool in pools {
            let size = number(pool.end) - number(pool.start) + 1;
            if index < size {
                return Some(from_number(cidr, number(pool.start) + index));
            }
            index -= size;
        }
        None
    };
    let start = start.checked_rem(total)?;
    // Of a wide range no more is looked at than anybody has addresses.
    let mut indices = (0..total.min(LOOKED_AT)).map(|step| (start + step) % total);
    indices.find_map(|index| at(index).filter(|address| !used(*address)))
}

fn gaps(cidr: IpNet, mut start: u128, end: u128, taken: &[IpAddr]) -> Vec<AllocationPool> {
    let mut taken: Vec<u128> = taken
        .iter()
        .filter(|address| cidr.contains(*address))
        .map(|address| number(*address))
        .collect();
    taken.sort_unstable();
    let mut pools = Vec::new();
    for gap in taken
        .into_iter()
        .filter(|gap| (start..=end).contains(gap))
        .collect::<Vec<_>>()
    {
        if gap > start {
            pools.push(pool(cidr, start, gap - 1));
        }
        start = start.max(gap + 1);
    }
    if start <= end {
        pools.push(pool(cidr, start, end));
    }
    pools
}

/// The first and the last address that machines can have.
///
/// Without the network's own and, for IPv4, the broadcast address; a range of one or two addresses
/// has none to spare.
fn hosts(cidr: IpNet) -> (u128, u128) {
    let (first, last) = (number(cidr.network()), number(cidr.broadcast()));
    match (cidr, cidr.max_prefix_len() - cidr.prefix_len()) {
        (_, 0 | 1) => (first, last),
        (IpNet::V4(_), _) => (first + 1, last - 1),
        (IpNet::V6(_), _) => (first + 1, last),
    }
}

fn pool(cidr: IpNet, start: u128, end: u128) -> AllocationPool {
    AllocationPool {
        start: from_number(cidr, start),
        end: from_number(cidr, end),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address of `cidr`'s family that has this number.
fn from_number(cidr: IpNet, number: u128) -> IpAddr {
    match cidr {
        IpNet::V4(_) => {
            let [.., a, b, c, d] = number.to_be_bytes();
            IpAddr::from([a, b, c, d])
        }
        IpNet::V6(_) => IpAddr::from(number.to_be_bytes()),
    }
}

/// More addresses than a subnet has ports.
const LOOKED_AT: u128 = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_gateway_and_reserved_addresses_are_left_out() {
        let cidr: IpNet = "10.20.0.0/29".parse().unwrap();
        let taken = ["10.20.0.1", "10.20.0.4"].map(|a| a.parse().unwrap());
        let pools = allocation_pools(cidr, cidr, &taken);
        assert_eq!(
            shown(&pools),
            ["10.20.0.2-10.20.0.3", "10.20.0.5-10.20.0.6"]
        );
    }

    #[test]
    fn a_part_keeps_to_itself() {
        let (cidr, part) = (
            "10.20.0.0/24".parse().unwrap(),
            "10.20.0.128/25".parse().unwrap(),
        );
        let pools = allocation_pools(cidr, part, &["10.20.0.1".parse().unwrap()]);
        assert_eq!(shown(&pools), ["10.20.0.128-10.20.0.254"]);
    }

    #[test]
    fn an_ipv6_range_has_no_broadcast_address() {
        let cidr: IpNet = "fd00::/126".parse().unwrap();
        let pools = allocation_pools(cidr, cidr, &[first_host(cidr)]);
        assert_eq!(shown(&pools), ["fd00::2-fd00::3"]);
    }

    proptest! {
        #[test]
        fn pools_hold_what_is_not_taken(
            bits in 24_u8..=32,
            base: u32,
            taken in proptest::collection::vec(0_u32..256, 0..8),
        ) {
            let cidr = IpNet::new(IpAddr::from(base.to_be_bytes()), bits).unwrap().trunc();
            let network = number(cidr.network());
            let taken: Vec<IpAddr> =
                taken.into_iter().map(|n| from_number(cidr, network + u128::from(n))).collect();
            let pools = allocation_pools(cidr, cidr, &taken);
            for host in cidr.hosts() {
                let held = pools
                    .iter()
                    .filter(|p| (number(p.start)..=number(p.end)).contains(&number(host)))
                    .count();
                prop_assert_eq!(held, usize::from(!taken.contains(&host)), "{}", host);
            }
        }
    }

    fn shown(pools: &[AllocationPool]) -> Vec<String> {
        pools
            .iter()
            .map(|pool| format!("{}-{}", pool.start, pool.end))
            .collect()
    }
}
