//! Which addresses a webhook may be sent to: public ones, and those that the configuration allows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The rule of one handler.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// Networks that may be reached although they are not public.
    pub(super) allowed: Arc<[IpNet]>,
    /// Whether nothing else may be reached: the line is open.
    pub(super) only_allowed: bool,
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The address is within this machine or network.
    #[error("its address {0} is not a public one; where that is meant, name it in `allow_addresses`")]
    NotPublic(IpAddr),
    /// The line would be open.
    #[error("its address {0} is not in `allow_addresses`, and `http://` is an open line; use https")]
    Open(IpAddr),
    /// The name has no address.
    #[error("its name has no address")]
    Unknown,
}

impl Addresses {
    /// Whether this address may be reached.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.allowed.iter().any(|network| network.contains(&address)) {
            Ok(())
        } else if self.only_allowed {
            Err(Refusal::Open(address))
        } else if is_public(address) {
            Ok(())
        } else {
            Err(Refusal::NotPublic(address))
        }
    }

    /// Those that may be reached; why not, where there are none.
    fn of(&self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refusal> {
        let mut refused = Refusal::Unknown;
        let mut good = Vec::new();
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => good.push(address),
                Err(refusal) => refused = refusal,
            }
        }
        if good.is_empty() { Err(refused) } else { Ok(good) }
    }
}

/// Asked anew for every connection, so that a name that suddenly leads elsewhere does not lead there.
impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let good: Addrs = Box::new(rule.of(found)?.into_iter());
            Ok(good)
        })
    }
}

/// Whether an address is one of the public Internet (IANA's special-purpose registries name the others).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match hidden_v4(address) {
            Some(hidden) => is_public_v4(hidden),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_for_protocols = (first, second, third) == (192, 0, 0);
    let is_for_benchmarks = first == 198 && (18..20).contains(&second);
    let is_old_relay = (first, second, third) == (192, 88, 99);
    !(first == 0
        || first >= 224
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_for_protocols
        || is_for_benchmarks
        || is_old_relay)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Global unicast, without what stands in it for protocols (2001::/23), documentation and 6to4.
    let is_global = first & 0xe000 == 0x2000;
    let is_special = first == 0x2001 && second < 0x0200;
    let is_documentation = (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    is_global && !is_special && !is_documentation
}

/// The IPv4 address that stands in an IPv6 one: mapped, by NAT64, by 6to4.
fn hidden_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let join = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    fn rule(allowed: &[&str], only_allowed: bool) -> Addresses {
        Addresses { allowed: allowed.iter().map(|network| network.parse().unwrap()).collect(), only_allowed }
    }

    #[test]
    fn only_public_addresses_are_reached() {
        let rule = rule(&[], false);
        for address in [
            "127.0.0.1",
            "127.255.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "192.88.99.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2001:1ff::1",
            "3fff::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "100::1",
            "5f00::1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(rule.check(address), Err(Refusal::NotPublic(address)));
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "169.253.255.255",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2a00:1450::1",
            "2606:4700:4700::1111",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert_eq!(rule.check(address.parse().unwrap()), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_the_configuration_names_is_reached_as_well_and_over_an_open_line_nothing_else() {
        let inside = rule(&["10.20.0.0/16", "fd00::/8"], false);
        assert_eq!(inside.check("10.20.3.4".parse().unwrap()), Ok(()));
        assert_eq!(inside.check("fd00::7".parse().unwrap()), Ok(()));
        assert!(inside.check("10.21.0.1".parse().unwrap()).is_err());
        assert_eq!(inside.check("8.8.8.8".parse().unwrap()), Ok(()));
        let open = rule(&["10.20.0.0/16"], true);
        assert_eq!(open.check("10.20.3.4".parse().unwrap()), Ok(()));
        let public = "8.8.8.8".parse().unwrap();
        assert_eq!(open.check(public), Err(Refusal::Open(public)));
    }

    #[test]
    fn of_several_addresses_of_a_name_only_the_good_ones_are_tried() {
        let addresses =
            |list: &[&str]| list.iter().map(|one| SocketAddr::new(one.parse().unwrap(), 0)).collect::<Vec<_>>();
        let found = rule(&[], false).of(addresses(&["10.0.0.1", "8.8.8.8"]).into_iter());
        assert_eq!(found.unwrap(), addresses(&["8.8.8.8"]));
        let bad = rule(&[], false).of(addresses(&["169.254.169.254"]).into_iter());
        assert_eq!(bad, Err(Refusal::NotPublic("169.254.169.254".parse().unwrap())));
    }
}
