//! Which hosts may be reached. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use co_model::{HostRule, RuleDecision};

use super::EgressError;

/// The longest name of a host that there is.
const MAX_HOST: usize = 253;

/// The rules, parsed.
#[derive(Debug)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    host: Pattern,
    port: Option<u16>,
    decision: RuleDecision,
}

#[derive(Debug)]
enum Pattern {
    Name(String),
    /// With the dot before the name: subdomains only.
    Below(String),
    Address(IpAddr),
}

impl Rules {
    pub(crate) fn new(rules: &[HostRule]) -> Result<Self, EgressError> {
        rules
            .iter()
            .map(|rule| {
                let host = Pattern::parse(&rule.host)
                    .ok_or_else(|| EgressError::Rule { host: rule.host.clone() })?;
                Ok(Rule { host, port: rule.port, decision: rule.decision })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What the strictest rule that names the host says; `None` if none does.
    pub(crate) fn of_host(&self, host: &Host, port: u16) -> Option<RuleDecision> {
        self.0
            .iter()
            .filter(|rule| rule.port.is_none_or(|only| only == port) && rule.host.matches(host))
            .map(|rule| rule.decision)
            .max()
    }

    /// Whether an address may be connected to that an allowed host led to.
    ///
    /// An address that a rule forbids stays forbidden under every name. One of this machine or its neighbourhood
    /// must be allowed itself: whoever answers for a name must not choose what is reached with it.
    pub(crate) fn admits(&self, address: IpAddr, port: u16) -> bool {
        match self.of_host(&Host::Address(plain(address)), port) {
            Some(decision) => decision == RuleDecision::Allow,
            None => is_public(address),
        }
    }
}

/// A host as a program names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Reads a name or an address; brackets around an IPv6 address belong to it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().ok().map(|address| Self::Address(plain(address.into())));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Address(plain(address)));
        }
        // A dot at the end says that the name is complete; it is the same host.
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        // Old resolvers read `127.1`, `0x7f.1` and `2130706433` as addresses: a last label that is a number is none.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
        (name.len() <= MAX_HOST && name.split('.').all(is_label) && !is_number).then_some(Self::Name(name))
    }

    /// The host as it is resolved and recorded.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("*.") {
            return match Host::parse(name)? {
                Host::Name(name) => Some(Self::Below(format!(".{name}"))),
                Host::Address(_) => None,
            };
        }
        Host::parse(text).map(|host| match host {
            Host::Name(name) => Self::Name(name),
            Host::Address(address) => Self::Address(address),
        })
    }

    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(wanted), Host::Name(name)) => wanted == name,
            (Self::Below(suffix), Host::Name(name)) => {
                name.len() > suffix.len() && name.ends_with(suffix.as_str())
            }
            (Self::Address(wanted), Host::Address(address)) => wanted == address,
            (Self::Name(_) | Self::Below(_), Host::Address(_)) | (Self::Address(_), Host::Name(_)) => false,
        }
    }
}

/// An IPv4 address in the clothes of IPv6 is the IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whether an address belongs to the open internet. The ranges are those of the IANA registries.
fn is_public(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = a == 192 && b == 0 && c == 0;
    let is_benchmark = a == 198 && (18..20).contains(&b);
    let is_reserved = a == 0 || a >= 240;
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || is_shared
        || is_protocol
        || is_benchmark
        || is_reserved)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Addresses that carry an IPv4 address lead wherever that one does.
    let carried = match segments {
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    };
    let is_global_unicast = segments[0] & 0xe000 == 0x2000 || segments[..2] == [0x64, 0xff9b];
    let is_documentation = segments[..2] == [0x2001, 0xdb8];
    is_global_unicast && !is_documentation && carried.is_none_or(is_public_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(table: &[(&str, Option<u16>, RuleDecision)]) -> Rules {
        let rules: Vec<HostRule> = table
            .iter()
            .map(|&(host, port, decision)| HostRule { host: host.into(), port, decision })
            .collect();
        Rules::new(&rules).unwrap()
    }

    #[test]
    fn the_strictest_rule_that_matches_decides() {
        use RuleDecision::{Allow, Forbidden, Prompt};
        let rules = rules(&[
            ("example.org", None, Allow),
            ("*.example.org", Some(443), Allow),
            ("bad.example.org", None, Forbidden),
            ("ask.example.org", Some(443), Prompt),
            ("192.0.2.7", Some(80), Allow),
            ("::1", None, Allow),
        ]);
        for (host, port, wanted) in [
            ("example.org", 80, Some(Allow)),
            ("EXAMPLE.org.", 80, Some(Allow)),
            ("notexample.org", 80, None),
            ("example.org.evil.net", 80, None),
            ("a.example.org", 443, Some(Allow)),
            ("a.b.example.org", 443, Some(Allow)),
            ("a.example.org", 80, None),
            (".example.org", 443, None),
            ("bad.example.org", 443, Some(Forbidden)),
            ("ask.example.org", 443, Some(Prompt)),
            ("192.0.2.7", 80, Some(Allow)),
            ("192.0.2.7", 81, None),
            ("[::ffff:192.0.2.7]", 80, Some(Allow)),
            ("[::1]", 1, Some(Allow)),
            ("[0:0:0:0:0:0:0:1]", 1, Some(Allow)),
        ] {
            let decided = Host::parse(host).and_then(|host| rules.of_host(&host, port));
            assert_eq!(decided, wanted, "{host}:{port}");
        }
    }

    #[test]
    fn what_is_no_host_is_none() {
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a\nb",
            "127.1",
            "0x7f.1",
            "2130706433",
            "[::1",
            "::1]",
            "[x]",
            "*",
            "a/b",
            "a@b",
        ] {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
        assert_eq!(Host::parse(&"a.".repeat(200)), None);
        for host in ["*", "*.", "*.1.2.3.4", "a*b", ""] {
            let rule = HostRule { host: host.into(), port: None, decision: RuleDecision::Allow };
            assert!(Rules::new(&[rule]).is_err(), "{host:?}");
        }
    }

    #[test]
    fn private_addresses_need_a_rule_of_their_own() {
        let none = rules(&[]);
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "10.1.1.1",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!none.admits(address.parse().unwrap(), 443), "{address}");
        }
        for address in ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808", "100.128.0.1"] {
            assert!(none.admits(address.parse().unwrap(), 443), "{address}");
        }
        let named = rules(&[
            ("127.0.0.1", Some(8080), RuleDecision::Allow),
            ("8.8.8.8", None, RuleDecision::Forbidden),
        ]);
        assert!(named.admits("127.0.0.1".parse().unwrap(), 8080));
        assert!(named.admits("::ffff:127.0.0.1".parse().unwrap(), 8080));
        assert!(!named.admits("127.0.0.1".parse().unwrap(), 8081));
        assert!(!named.admits("8.8.8.8".parse().unwrap(), 53));
    }
}
