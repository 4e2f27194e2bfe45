//! Which addresses and names a plugin's grants cover.
//!
//! Owns: the rules as they are asked for each address, and which addresses no name and no wide range
//! covers. It must not know sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::address::{Reach, reach};
use crate::grants::{Ports, SocketRule};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: IpAddr,
    bits: u8,
}

/// Whose addresses a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Range(Range),
    Name(String),
    /// All names that end so, with the dot.
    Below(String),
}

/// A rule that is ready to be asked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As it is written.
    pub written: SocketRule,
    host: Host,
}

impl Rule {
    /// Reads a grant; the error is a sentence.
    pub fn read(rule: &SocketRule) -> Result<Rule, String> {
        let host = host(&rule.host).ok_or_else(|| {
            format!(
                "\"{}\" is no name, address or range of addresses (10.0.0.0/8)",
                rule.host
            )
        })?;
        if rule.listen && !matches!(host, Host::Range(_)) {
            return Err(format!(
                "\"{}\": what listens is granted by address, not by name",
                rule.host
            ));
        }
        Ok(Rule {
            written: rule.clone(),
            host,
        })
    }

    /// Whether a port is one of the rule's.
    pub fn has_port(&self, port: u16) -> bool {
        let Ports { first, last } = self.written.port;
        (first..=last).contains(&port)
    }

    /// Whether it is written for such an address. A special one is only in a range of special ones:
    /// `0.0.0.0/0` means the Internet, not the host's own network.
    pub fn has_address(&self, address: IpAddr) -> bool {
        match self.host {
            Host::Range(range) => {
                range.contains(address) && (!is_special(address) || range.is_special())
            }
            Host::Name(_) | Host::Below(_) => false,
        }
    }

    /// Whether it is for a name, which is in small letters and without a dot at the end.
    pub fn has_name(&self, name: &str) -> bool {
        match &self.host {
            Host::Range(_) => false,
            Host::Name(known) => known == name,
            Host::Below(end) => name.len() > end.len() && name.ends_with(end.as_str()),
        }
    }
}

/// A name as rules know it; none: it is no name.
pub fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (text.len() <= 253 && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
}

fn host(text: &str) -> Option<Host> {
    if let Some((address, bits)) = text.split_once('/') {
        let from: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let whole = if from.is_ipv4() { 32 } else { 128 };
        return (bits <= whole).then_some(Host::Range(Range { from, bits }));
    }
    if let Ok(from) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let bits = if from.is_ipv4() { 32 } else { 128 };
        return Some(Host::Range(Range { from, bits }));
    }
    match text.strip_prefix("*.") {
        Some(end) => Some(Host::Below(format!(".{}", name(end)?))),
        None => name(text).map(Host::Name),
    }
}

impl Range {
    fn contains(self, address: IpAddr) -> bool {
        match (self.from, address) {
            (IpAddr::V4(from), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                let cut = |a: Ipv4Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
                cut(from) == cut(address)
            }
            (IpAddr::V6(from), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                let cut = |a: Ipv6Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
                cut(from) == cut(address)
            }
            _ => false,
        }
    }

    /// Whether all its addresses are special, or it is just one: who writes that one means it.
    fn is_special(self) -> bool {
        let whole = if self.from.is_ipv4() { 32 } else { 128 };
        self.bits == whole
            || SPECIAL
                .iter()
                .any(|&(from, bits)| bits <= self.bits && Range { from, bits }.contains(self.from))
    }
}

/// The ranges of what is not the open Internet (`address`), which an operator may grant as ranges, and
/// each form of IPv6 that carries an address of IPv4 to somewhere.
const SPECIAL: [(IpAddr, u8); 28] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    // Unspecified, loopback, and IPv4 written as IPv6.
    v6([0, 0, 0, 0], 96),
    v6([0, 0, 0, 0xffff], 96),
    v6([0x64, 0xff9b, 0, 0], 96),
    v6([0x64, 0xff9b, 1, 0], 48),
    v6([0x100, 0, 0, 0], 64),
    v6([0x2001, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0], 32),
    v6([0x2002, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0], 20),
    v6([0x5f00, 0, 0, 0], 16),
    v6([0xfc00, 0, 0, 0], 7),
    v6([0xfe80, 0, 0, 0], 9),
    v6([0xff00, 0, 0, 0], 8),
];

const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> (IpAddr, u8) {
    (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits)
}

/// Of the first three groups and the sixth.
const fn v6([a, b, c, f]: [u16; 4], bits: u8) -> (IpAddr, u8) {
    (IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, f, 0, 0)), bits)
}

/// Whether an address is the host's own, of its network, a group's or nobody's.
pub fn is_special(address: IpAddr) -> bool {
    reach(address) != Reach::Public
        || SPECIAL
            .iter()
            .any(|&(from, bits)| Range { from, bits }.contains(address))
}

/// An address as it is written in a grant, and its port.
pub fn written(address: SocketAddr) -> (String, u16) {
    (address.ip().to_canonical().to_string(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, port: (u16, u16)) -> Rule {
        Rule::read(&SocketRule {
            host: host.into(),
            port: Ports {
                first: port.0,
                last: port.1,
            },
            listen: false,
        })
        .expect("a rule")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_range_has_its_addresses_and_no_other() {
        let ten = rule("10.0.0.0/8", (1, 2));
        assert!(ten.has_address(ip("10.255.0.1")) && !ten.has_address(ip("11.0.0.1")));
        assert!(ten.has_port(1) && ten.has_port(2) && !ten.has_port(3) && !ten.has_port(0));
        let one = rule("[2606:4700::1]", (1, 1));
        assert!(one.has_address(ip("2606:4700::1")) && !one.has_address(ip("2606:4700::2")));
        assert!(!one.has_address(ip("1.1.1.1")));
        assert!(rule("fd00::/8", (1, 1)).has_address(ip("fd12::1")));
    }

    #[test]
    fn the_whole_internet_is_not_the_own_network() {
        let all = [rule("0.0.0.0/0", (1, 1)), rule("::/0", (1, 1))];
        for special in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fec0::1",
            "fd00:ec2::254",
            "ff02::1",
            "168.63.129.16",
            "4000::1",
        ] {
            assert!(is_special(ip(special)), "{special}");
            assert!(!all.iter().any(|r| r.has_address(ip(special))), "{special}");
        }
        for open in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1"] {
            assert!(!is_special(ip(open)), "{open}");
            assert!(all[0].has_address(ip(open)), "{open}");
        }
        assert!(all[1].has_address(ip("2606:4700::1")));
        assert!(!all[1].has_address(ip("fd00::1")));
        assert!(rule("127.0.0.1", (1, 1)).has_address(ip("127.0.0.1")));
        assert!(rule("168.63.129.16", (1, 1)).has_address(ip("168.63.129.16")));
        assert!(rule("169.254.169.254/32", (1, 1)).has_address(ip("169.254.169.254")));
    }

    #[test]
    fn names_are_whole_labels() {
        assert!(rule("DB.Example.com.", (1, 1)).has_name("db.example.com"));
        let below = rule("*.example.com", (1, 1));
        assert!(below.has_name("a.example.com") && below.has_name("a.b.example.com"));
        for other in [
            "example.com",
            "aexample.com",
            ".example.com",
            "example.com.a",
        ] {
            assert!(!below.has_name(other), "{other}");
        }
        assert_eq!(name("A.b-C_d."), Some("a.b-c_d".into()));
        for none in ["", ".", "a..b", "a b", "a/b", "a:1", "b\u{fc}cher.de"] {
            assert_eq!(name(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "",
            "*",
            "a*.b",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "x/8",
            "a:80",
        ] {
            let written = SocketRule {
                host: host.into(),
                port: Ports { first: 1, last: 1 },
                listen: false,
            };
            assert!(Rule::read(&written).is_err(), "{host:?}");
        }
        let name = SocketRule {
            host: "localhost".into(),
            port: Ports { first: 1, last: 1 },
            listen: true,
        };
        assert!(Rule::read(&name).is_err());
    }
}
