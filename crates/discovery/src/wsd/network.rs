//! The networks that the server is in.

use std::net::{IpAddr, Ipv4Addr};

use if_addrs::{IfAddr, IfOperStatus, get_if_addrs};

/// One of the server's addresses and the network around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: Ipv4Addr,
    mask: Ipv4Addr,
}

impl Network {
    pub(super) fn holds(&self, other: Ipv4Addr) -> bool {
        let net = |address: Ipv4Addr| address.to_bits() & self.mask.to_bits();
        net(self.address) == net(other)
    }
}

/// Those by which a server that listens at `listening` is reached from other machines.
pub(super) fn networks(listening: IpAddr) -> Vec<Network> {
    let all = get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list the network's interfaces");
        Vec::new()
    });
    all.into_iter()
        .filter(|interface| interface.oper_status != IfOperStatus::Down && !interface.is_loopback())
        .filter_map(|interface| match interface.addr {
            IfAddr::V4(found) => Some(Network {
                address: found.ip,
                mask: found.netmask,
            }),
            IfAddr::V6(_) => None,
        })
        .filter(|network| listening.is_unspecified() || listening == IpAddr::V4(network.address))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_ends_at_its_mask() {
        let network = Network {
            address: Ipv4Addr::new(192, 0, 2, 17),
            mask: Ipv4Addr::new(255, 255, 255, 240),
        };
        assert!(network.holds(Ipv4Addr::new(192, 0, 2, 30)));
        assert!(!network.holds(Ipv4Addr::new(192, 0, 2, 32)));
        assert!(!network.holds(Ipv4Addr::new(198, 51, 100, 17)));
    }
}
