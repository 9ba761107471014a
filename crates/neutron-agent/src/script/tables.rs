//! Both tables without what ports and networks add to them.
//!
//! Frames that stay on a bridge pass the hooks of IP, too (`br_netfilter`). There a packet shows
//! its bridge, never its tap: so the table `bridge` sees to it that MAC and IP addresses can be
//! relied on, and the table `inet` matches by them.

use crate::script::BATCHES;

/// Makes both tables anew, in one go.
///
/// A verdict ends the chain of its hook only. So what leaves a port and what arrives at one are
/// chains of their own: a packet from one port to another must pass both.
pub(super) fn anew(table: &str) -> String {
    let removal = super::removal(table);
    format!(
        "{removal}table bridge {table} {{{BRIDGE}}}\ntable inet {table} {{
    set {BATCHES} {{
        type mark
    }}{INET}}}\n"
    )
}

const BRIDGE: &str = "
    set taps {
        type ifname
    }
    set any_target {
        type ifname
    }
    set senders {
        typeof iifname . ether saddr . arp saddr ether . arp saddr ip
    }
    set sender_ranges {
        typeof iifname . ether saddr . arp saddr ether . arp saddr ip
        flags interval
    }
    set sources4 {
        typeof iifname . ether saddr . ip saddr
    }
    set source_ranges4 {
        typeof iifname . ether saddr . ip saddr
        flags interval
    }
    set sources6 {
        typeof iifname . ether saddr . ip6 saddr
    }
    set source_ranges6 {
        typeof iifname . ether saddr . ip6 saddr
        flags interval
    }
    set targets {
        typeof iifname . @th,64,128
    }
    chain prerouting {
        # Before br_netfilter shows the frame to IP.
        type filter hook prerouting priority -310
        iifname @taps goto from_tap
    }
    chain from_tap {
        iifname . ether saddr . ip saddr @sources4 goto from_address
        ether type arp goto from_arp
        icmpv6 type { nd-router-advert, nd-redirect } drop
        icmpv6 type nd-neighbor-advert iifname @any_target goto from_address6
        icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets drop
        ether type ip6 goto from_address6
        iifname . ether saddr . ip saddr @source_ranges4 goto from_address
        drop
    }
    chain from_arp {
        iifname . ether saddr . arp saddr ether . arp saddr ip @senders accept
        iifname . ether saddr . arp saddr ether . arp saddr ip @sender_ranges accept
        drop
    }
    chain from_address6 {
        iifname . ether saddr . ip6 saddr @sources6 goto from_address
        iifname . ether saddr . ip6 saddr @source_ranges6 goto from_address
        drop
    }
    chain from_address {
        # No DHCP servers.
        udp sport { 67, 547 } drop
        accept
    }
";

const INET: &str = "
    set bridges {
        type ifname
    }
    set pairs {
        typeof iifname . oifname
    }
    set routed {
        type ifname
    }
    # Each port with several groups. Those with one, mostly all, are in a set for each group: when
    # an element of a map of verdicts is added, the kernel looks at all that it has.
    map from_port {
        typeof iifname . ether saddr : verdict
    }
    map to_port4 {
        typeof oifname . ip daddr : verdict
    }
    map to_ranges4 {
        typeof oifname . ip daddr : verdict
        flags interval
    }
    map to_port6 {
        typeof oifname . ip6 daddr : verdict
    }
    map to_ranges6 {
        typeof oifname . ip6 daddr : verdict
        flags interval
    }
    set open {
        typeof oifname . ether daddr
    }
    set subnets4 {
        type ipv4_addr
        flags interval
    }
    set subnets6 {
        type ipv6_addr
        flags interval
    }
    map published4 {
        type inet_proto . inet_service : ipv4_addr . inet_service
    }
    map published_at4 {
        type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    }
    map published6 {
        type inet_proto . inet_service : ipv6_addr . inet_service
    }
    map published_at6 {
        type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
    }
    set hairpin4 {
        typeof ip saddr . ip daddr
    }
    set hairpin6 {
        typeof ip6 saddr . ip6 daddr
    }
    chain loopback {
        # Our bridges route 127.0.0.0/8 (route_localnet), for published ports. From containers the
        # services of this host that only it shall reach must be out of reach all the same.
        type filter hook prerouting priority -310
        iifname @bridges ip daddr 127.0.0.0/8 drop
    }
    chain egress {
        type filter hook forward priority -152
        ct state established,related accept
        iifname != @bridges accept
        ct state invalid drop
        iifname . oifname @pairs goto leaving
        iifname != @routed drop
        ct status dnat goto leaving
        oifname @bridges drop
        goto leaving
    }
    chain input {
        type filter hook input priority -152
        ct state established,related accept
        iifname != @bridges accept
        ct state invalid drop
        goto leaving
    }
    chain from_groups {
    }
    chain to_groups {
    }
    chain leaving {
        # Without neighbour discovery there is no IPv6.
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-report, mld-listener-done, mld2-listener-report } accept
        jump from_groups
        iifname . ether saddr vmap @from_port
        drop
    }
    chain ingress {
        type filter hook forward priority -151
        ct state established,related accept
        oifname != @bridges accept
        ct state invalid drop
        ct status dnat accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld-listener-report, mld-listener-done, mld2-listener-report } accept
        jump to_groups
        oifname . ip daddr vmap @to_port4
        oifname . ip6 daddr vmap @to_port6
        iifname . oifname @pairs oifname . ether daddr @open accept
        oifname . ip daddr vmap @to_ranges4
        oifname . ip6 daddr vmap @to_ranges6
        drop
    }
    chain prerouting {
        type nat hook prerouting priority -101
        jump published
    }
    chain output {
        type nat hook output priority -101
        jump published
    }
    chain published {
        fib daddr type != local return
        # No packet from ::1 leaves its interface: the agent carries on such connections itself.
        ip6 daddr ::1 return
        dnat ip to ip daddr . meta l4proto . th dport map @published_at4
        dnat ip to meta l4proto . th dport map @published4
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @published_at6
        dnat ip6 to meta l4proto . th dport map @published6
    }
    chain postrouting {
        type nat hook postrouting priority 101
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
        oifname @bridges ip saddr . ip daddr @hairpin4 masquerade
        oifname @bridges ip6 saddr . ip6 daddr @hairpin6 masquerade
        oifname @bridges accept
        ip saddr @subnets4 masquerade
        ip6 saddr @subnets6 masquerade
    }
";
