//! The addresses that clients may open more connections to (SMB multichannel).

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use if_addrs::{IfOperStatus, get_if_addrs};
use strongroom_smb::{Interface, Interfaces};

/// Taken where the kernel does not know an interface's speed, as for virtual ones.
const USUAL_BITS_PER_SECOND: u64 = 1_000_000_000;
const KERNEL: &str = "/sys/class/net";

/// Those by which a listener at `listening` is reached. They are looked up whenever they are asked for.
pub(super) fn of(listening: SocketAddr) -> Interfaces {
    Interfaces::new(move || list(listening))
}

fn list(listening: SocketAddr) -> Vec<Interface> {
    let all = get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list the network's interfaces");
        Vec::new()
    });
    let reached = |interface: &&if_addrs::Interface| {
        let up = interface.oper_status != IfOperStatus::Down;
        up && is_reached(interface.ip(), interface.is_link_local(), listening)
    };
    all.iter().filter(reached).map(describe).collect()
}

/// A listener at one address is reached there alone. One at all addresses is reached from outside at those that are
/// good for more than the machine itself or one wire.
fn is_reached(address: IpAddr, link_local: bool, listening: SocketAddr) -> bool {
    if listening.ip().is_unspecified() {
        let family = address.is_ipv4() || listening.is_ipv6();
        family && !address.is_loopback() && !link_local
    } else {
        address == listening.ip()
    }
}

fn describe(found: &if_addrs::Interface) -> Interface {
    let kernel = Path::new(KERNEL).join(&found.name);
    Interface {
        index: found.index.unwrap_or(0),
        address: found.ip(),
        bits_per_second: speed(&kernel),
        receive_scaling: receive_queues(&kernel) > 1,
    }
}

/// The kernel counts in megabits, and says -1 where it does not know.
fn speed(kernel: &Path) -> u64 {
    let said = fs::read_to_string(kernel.join("speed")).unwrap_or_default();
    let megabits = said
        .trim()
        .parse()
        .ok()
        .filter(|megabits: &u64| *megabits > 0);
    megabits.map_or(USUAL_BITS_PER_SECOND, |megabits| megabits * 1_000_000)
}

fn receive_queues(kernel: &Path) -> usize {
    let queues: PathBuf = kernel.join("queues");
    let Ok(entries) = fs::read_dir(queues) else {
        return 0;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("rx-"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_at_one_address_is_reached_there_alone() {
        let at = |text: &str| -> IpAddr { text.parse().unwrap() };
        let one = SocketAddr::from(([192, 0, 2, 1], 445));
        assert!(is_reached(at("192.0.2.1"), false, one));
        assert!(!is_reached(at("192.0.2.2"), false, one));
        let all = SocketAddr::from(([0, 0, 0, 0], 445));
        assert!(is_reached(at("192.0.2.2"), false, all));
        assert!(!is_reached(at("127.0.0.1"), false, all));
        assert!(!is_reached(at("169.254.1.1"), true, all));
        assert!(!is_reached(at("2001:db8::1"), false, all));
        let both = "[::]:445".parse().unwrap();
        assert!(is_reached(at("2001:db8::1"), false, both));
        assert!(is_reached(at("192.0.2.2"), false, both));
    }

    #[test]
    fn the_loopback_interface_is_found_with_a_speed() {
        let found = list(SocketAddr::from(([127, 0, 0, 1], 445)));
        assert!(!found.is_empty());
        assert!(found.iter().all(|interface| interface.bits_per_second > 0));
    }
}
