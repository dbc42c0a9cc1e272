//! Shares as a client sees them: which it may use, and how.

use std::net::IpAddr;
use std::sync::Arc;

use strongroom_vfs::{Export, Share, ShareId, Squash, Vfs};

/// A share that a client may use.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    /// Read-only where the export is.
    pub(crate) share: Arc<Share>,
    pub(crate) squash: Squash,
}

/// The rule for a client: that of the smallest network which it is in.
pub(crate) fn rule(share: &Share, peer: IpAddr) -> Option<&Export> {
    let matching = share.exports.iter().filter(|export| export.matches(peer));
    matching.max_by_key(|export| (export.address.is_ipv4(), export.prefix))
}

fn exported(share: Arc<Share>, peer: IpAddr) -> Option<Exported> {
    let rule = *rule(&share, peer)?;
    let share = if rule.read_only && !share.read_only {
        Arc::new(Share {
            read_only: true,
            ..(*share).clone()
        })
    } else {
        share
    };
    Some(Exported {
        share,
        squash: rule.squash,
    })
}

pub(crate) fn by_id(vfs: &Vfs, id: ShareId, peer: IpAddr) -> Option<Exported> {
    exported(vfs.share_by_id(id)?, peer)
}

pub(crate) fn by_name(vfs: &Vfs, name: &str, peer: IpAddr) -> Option<Exported> {
    let share = vfs.share(name).filter(|share| share.name == name)?;
    exported(share, peer)
}

/// All that a client may use, by name.
pub(crate) fn all(vfs: &Vfs, peer: IpAddr) -> Vec<Exported> {
    let shares = vfs.shares().into_iter();
    shares.filter_map(|share| exported(share, peer)).collect()
}

#[cfg(test)]
mod tests {
    use strongroom_vfs::{FileTime, Inode};

    use super::*;

    #[test]
    fn the_smallest_network_decides() {
        let share = Share {
            id: ShareId(1),
            name: "s".into(),
            root: Inode(1),
            comment: String::new(),
            read_only: false,
            users: None,
            encrypt: false,
            hide_unreadable: false,
            time_machine: false,
            continuously_available: false,
            exports: ["*:ro", "10.0.0.0/8:rw", "10.0.0.7:ro:all-squash"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            compression: strongroom_store::Compression::Off,
            created: FileTime(0),
        };
        let share = Arc::new(share);
        let of = |peer: &str| exported(Arc::clone(&share), peer.parse().unwrap()).unwrap();
        assert!(of("192.0.2.1").share.read_only);
        assert!(!of("10.2.3.4").share.read_only);
        assert_eq!(of("10.0.0.7").squash, Squash::All);
    }
}
