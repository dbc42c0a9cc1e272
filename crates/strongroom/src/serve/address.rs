//! What this machine is called and where others reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// This machine's addresses as others on the network see them; the loopback address where there is no network.
pub(crate) fn reachable() -> Vec<IpAddr> {
    let probes: [(IpAddr, SocketAddr); 2] = [
        (
            Ipv4Addr::UNSPECIFIED.into(),
            (Ipv4Addr::new(192, 0, 2, 1), 9).into(),
        ),
        (
            Ipv6Addr::UNSPECIFIED.into(),
            (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
        ),
    ];
    let mut found: Vec<IpAddr> = probes
        .into_iter()
        .filter_map(|(from, to)| source_towards(from, to))
        .collect();
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found
}

/// The address that the kernel would send from towards `to`. Connecting a datagram socket sends nothing, and the
/// targets are documentation addresses (RFC 5737, RFC 3849) that are nobody's.
fn source_towards(from: IpAddr, to: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect(to).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// The machine's name in the form that SMB clients see: at most 15 characters that need no quoting.
pub(crate) fn netbios_name() -> String {
    netbios_form(&host_name())
}

/// The machine's name as its kernel has it.
pub(crate) fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}

fn netbios_form(host: &str) -> String {
    let short = host.split('.').next().unwrap_or_default();
    let name: String = short
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || *character == '-')
        .take(15)
        .collect();
    if name.is_empty() {
        "STRONGROOM".to_owned()
    } else {
        name.to_ascii_uppercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netbios_names_are_short_and_plain() {
        assert_eq!(netbios_form("nas.example.com"), "NAS");
        assert_eq!(netbios_form("büro_server-number-twelve"), "BROSERVER-NUMBE");
        assert_eq!(netbios_form("..."), "STRONGROOM");
    }

    #[test]
    fn there_is_always_an_address() {
        assert!(!reachable().is_empty());
    }
}
