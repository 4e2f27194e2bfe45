//! Which addresses are public.
//!
//! Owns: the special ranges of IPv4 and IPv6, those that carry an address of the other family
//! included, and what a grant of private addresses opens. It must not know names, rules or sockets.
//!
//! Ranges: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is to whoever guards a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anybody's: no grant is needed besides the rule.
    Public,
    /// Of this host or its network: loopback, private, shared, link-local. The rule says whether.
    Private,
    /// Of nobody that a name may stand for: metadata services, groups, ranges that are no single
    /// host's. Only a rule that names the very address opens it.
    Special,
}

/// Services by which a virtual machine learns its own credentials.
const METADATA_V4: [Ipv4Addr; 7] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// What an address is, also when another one is written in it.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    if METADATA_V4.contains(&address) {
        return Reach::Special;
    }
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        // This network, groups, reserved with broadcast.
        (0 | 224.., _, _) => Reach::Special,
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => {
            Reach::Special
        }
        (10 | 127, _, _)
        | (100, 64..=127, _)
        | (169, 254, _)
        | (172, 16..=31, _)
        | (192, 168, _) => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if METADATA_V6.contains(&address) {
        return Reach::Special;
    }
    if address == Ipv6Addr::LOCALHOST {
        return Reach::Private;
    }
    let segments = address.segments();
    match segments {
        // Mapped: the system dials the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] => reach_v4(joined(high, low)),
        // Unspecified, compatible, translated.
        [0, 0, 0, 0, ..] => Reach::Special,
        // NAT64 and 6to4 reach what is written in them, through a gateway.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            reach_v4(joined(high, low))
        }
        [0x64, 0xff9b, ..] => Reach::Special,
        // Discard, Teredo and other protocols, documentation, segment routing.
        [0x100, ..] | [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] | [0x5f00, ..] => Reach::Special,
        [0x3fff, 0..0x1000, ..] => Reach::Special,
        // Unique local, link-local, site-local.
        [0xfc00..0xfe00, ..] | [0xfe80..0xff00, ..] => Reach::Private,
        // What is handed out to hosts of the Internet, RFC 4291; the rest is reserved or a group.
        [0x2000..0x4000, ..] => Reach::Public,
        _ => Reach::Special,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn all(expected: Reach, addresses: &[&str]) {
        for text in addresses {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(reach(address), expected, "{text}");
        }
    }

    #[test]
    fn what_belongs_to_this_host_or_its_network_is_private() {
        all(
            Reach::Private,
            &[
                "127.0.0.1",
                "127.255.255.254",
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "100.127.255.255",
                "169.254.0.1",
                "::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "fec0::1",
                "::ffff:127.0.0.1",
                "::ffff:10.1.2.3",
                "64:ff9b::10.0.0.1",
                "64:ff9b::7f00:1",
                "2002:7f00:1::1",
                "2002:c0a8:101::",
            ],
        );
    }

    #[test]
    fn what_no_name_may_stand_for_is_special() {
        all(
            Reach::Special,
            &[
                "169.254.169.254",
                "169.254.170.2",
                "100.100.100.200",
                "168.63.129.16",
                "169.254.42.42",
                "169.254.0.23",
                "::ffff:169.254.42.42",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fd00:42::42",
                "fe80::a9fe:a9fe",
                "::ffff:169.254.169.254",
                "::ffff:a9fe:a9fe",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::",
                "0.0.0.0",
                "0.1.2.3",
                "192.0.0.192",
                "192.0.2.1",
                "198.18.0.1",
                "198.51.100.7",
                "203.0.113.9",
                "192.88.99.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::7f00:1",
                "::ffff:0:7f00:1",
                "64:ff9b:1::1",
                "100::1",
                "2001::1",
                "2001:1ff::1",
                "2001:db8::1",
                "3fff::1",
                "5f00::1",
                "4000::1",
                "ff02::1",
                "::ffff:224.0.0.1",
                "::ffff:0.0.0.0",
            ],
        );
    }

    #[test]
    fn what_is_anybodys_is_public() {
        all(
            Reach::Public,
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.1",
                "100.63.255.255",
                "100.128.0.1",
                "126.0.0.1",
                "128.0.0.1",
                "169.253.0.1",
                "172.15.0.1",
                "172.32.0.1",
                "192.167.0.1",
                "198.17.0.1",
                "223.255.255.255",
                "2606:4700:4700::1111",
                "2a00::1",
                "2001:200::1",
                "3ffe::1",
                "::ffff:8.8.8.8",
                "64:ff9b::8.8.8.8",
                "2002:808:808::1",
            ],
        );
    }
}
