//! Which machines may use a share on their own word about who their users are, and what becomes of those users.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::rows::{Reader, Writer};
use crate::{Result, VfsError};

/// Users of the machine that are somebody else here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Squash {
    /// Its root is nobody.
    #[default]
    Root,
    None,
    /// All of its users are nobody.
    All,
}

/// One rule: machines, and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Export {
    /// The network's address, or that of one machine.
    pub address: IpAddr,
    /// Bits of the address that count.
    pub prefix: u8,
    pub read_only: bool,
    pub squash: Squash,
}

const READ_ONLY: u8 = 1;

impl Export {
    pub(crate) fn is_valid(&self) -> bool {
        u32::from(self.prefix) <= bits(&self.address)
    }

    /// Whether a machine is meant. One of the fourth version may show in its form of the sixth.
    pub fn matches(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(peer)) => same_prefix(
                network.to_bits(),
                peer.to_bits(),
                32 - u32::from(self.prefix),
            ),
            (IpAddr::V6(network), IpAddr::V6(peer)) => {
                let left = 128 - u32::from(self.prefix);
                let differ = network.to_bits() ^ peer.to_bits();
                left >= 128 || differ >> left == 0
            }
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(_)) => self.prefix == 0,
            _ => false,
        }
    }

    pub(crate) fn encode(&self, row: &mut Writer) {
        let squash = match self.squash {
            Squash::Root => 0,
            Squash::None => 1,
            Squash::All => 2,
        };
        let address = match self.address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        row.u8(self.prefix)
            .u8(if self.read_only { READ_ONLY } else { 0 })
            .u8(squash)
            .u8(if self.address.is_ipv4() { 4 } else { 6 })
            .bytes(&address.octets());
    }

    pub(crate) fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<Self>> {
        let count = reader.u16()?;
        (0..count).map(|_| Self::decode(reader)).collect()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let (prefix, flags, squash, family) =
            (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        let corrupt = || VfsError::Corrupt("a row of shares is not well formed".into());
        let octets: [u8; 16] = reader.bytes(16)?.try_into().map_err(|_| corrupt())?;
        let six = Ipv6Addr::from(octets);
        let address = match family {
            4 => IpAddr::V4(six.to_ipv4_mapped().ok_or_else(corrupt)?),
            _ => IpAddr::V6(six),
        };
        Ok(Self {
            address,
            prefix,
            read_only: flags & READ_ONLY != 0,
            squash: match squash {
                1 => Squash::None,
                2 => Squash::All,
                _ => Squash::Root,
            },
        })
    }
}

fn bits(address: &IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_prefix(a: u32, b: u32, left: u32) -> bool {
    left >= 32 || (a ^ b) >> left == 0
}

/// `HOST` or `NET/BITS`, then `:rw` or `:ro`, then `:root-squash`, `:no-root-squash` or `:all-squash`. An address of the
/// sixth version stands in brackets; `*` is every machine.
impl FromStr for Export {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (network, options) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
                let (prefix, options) = rest.split_once(':').unwrap_or((rest, ""));
                (format!("{address}{prefix}"), options)
            }
            None => {
                let (network, options) = text.split_once(':').unwrap_or((text, ""));
                (network.to_owned(), options)
            }
        };
        let (address, prefix) = parse_network(&network)?;
        let mut export = Self {
            address,
            prefix,
            read_only: false,
            squash: Squash::default(),
        };
        for option in options.split(':').filter(|option| !option.is_empty()) {
            match option {
                "rw" => export.read_only = false,
                "ro" => export.read_only = true,
                "root-squash" => export.squash = Squash::Root,
                "no-root-squash" => export.squash = Squash::None,
                "all-squash" => export.squash = Squash::All,
                other => return Err(format!("{other:?} is no option of an export")),
            }
        }
        Ok(export)
    }
}

fn parse_network(text: &str) -> std::result::Result<(IpAddr, u8), String> {
    if text == "*" {
        return Ok((IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0));
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let wrong = || format!("{text:?} is neither an address nor a network such as 192.168.1.0/24");
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let all = bits(&address);
    let prefix = match prefix {
        Some(prefix) => prefix.parse().map_err(|_| wrong())?,
        None => u8::try_from(all).unwrap_or(u8::MAX),
    };
    if u32::from(prefix) > all {
        return Err(wrong());
    }
    Ok((address, prefix))
}

impl fmt::Display for Export {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = u32::from(self.prefix) == bits(&self.address);
        match self.address {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if self.prefix == 0 => write!(out, "*")?,
            IpAddr::V4(address) => write!(out, "{address}")?,
            IpAddr::V6(address) => write!(out, "[{address}]")?,
        }
        let every = self.prefix == 0 && self.address == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if !whole && !every {
            write!(out, "/{}", self.prefix)?;
        }
        let access = if self.read_only { "ro" } else { "rw" };
        let squash = match self.squash {
            Squash::Root => "root-squash",
            Squash::None => "no-root-squash",
            Squash::All => "all-squash",
        };
        write!(out, ":{access}:{squash}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(export: &str, peer: &str) -> bool {
        let export: Export = export.parse().unwrap();
        export.matches(peer.parse().unwrap())
    }

    #[test]
    fn texts_come_back() {
        for text in [
            "10.0.0.1:rw:root-squash",
            "10.0.0.0/8:ro:all-squash",
            "[fd00::]/8:rw:no-root-squash",
            "[fd00::1]:rw:root-squash",
            "*:ro:root-squash",
            "0.0.0.0/0:rw:root-squash",
        ] {
            let export: Export = text.parse().unwrap();
            assert_eq!(export.to_string(), text);
            let mut row = Writer::default();
            export.encode(&mut row);
            assert_eq!(
                Export::decode(&mut Reader::new(&row.0, "test")).unwrap(),
                export
            );
        }
    }

    #[test]
    fn machines_match_by_the_bits_that_count() {
        assert!(matches("10.1.0.0/16", "10.1.200.3"));
        assert!(matches("10.1.0.0/16", "::ffff:10.1.2.3"));
        assert!(!matches("10.1.0.0/16", "10.2.0.1"));
        assert!(matches("10.1.2.3", "10.1.2.3"));
        assert!(!matches("10.1.2.3", "10.1.2.4"));
        assert!(matches("0.0.0.0/0", "192.0.2.1"));
        assert!(!matches("0.0.0.0/0", "fd00::1"));
        assert!(matches("[fd00::]/8", "fd12::1"));
        assert!(matches("*", "fd00::1") && matches("*", "192.0.2.1"));
    }

    #[test]
    fn what_is_no_export_is_refused() {
        for text in [
            "",
            "host.example",
            "10.0.0.0/33",
            "10.0.0.1:rx",
            "[fd00::",
            "10.0.0.0/x",
        ] {
            assert!(text.parse::<Export>().is_err(), "{text}");
        }
    }
}
