//! The Linux kernel's own NFS client at work on a share, in guests.

use crate::kernel::{Guest, Mount, NfsVersion};
use crate::scenario::kernel_smb::Settings;
use crate::server::{NFS_PORT, NFS_SHARE};

/// The client asks for attributes where a change could show.
pub const SETTINGS: Settings = Settings {
    nap: "0.01",
    remounts: false,
};

/// The versions that are served.
pub const VERSIONS: [NfsVersion; 3] = [V3, NfsVersion::V4("4.1"), V42];
pub const V42: NfsVersion = NfsVersion::V4("4.2");
pub const V3: NfsVersion = NfsVersion::V3 {
    mount_port: NFS_PORT,
};

/// One line a case that is expected to fail, with the reason.
const LEDGER_3: &str = include_str!("../../pjdfstest-nfs3.tsv");
const LEDGER_4: &str = include_str!("../../pjdfstest-nfs4.tsv");

/// A guest that has the share mounted.
pub fn guest(number: u8, version: NfsVersion) -> Guest {
    Guest {
        mount: Some(Mount::Nfs {
            version,
            port: NFS_PORT,
            export: format!("/{NFS_SHARE}"),
            options: Vec::new(),
        }),
        ..Guest::new(number)
    }
}

/// The cases of pjdfstest that are expected to fail.
pub fn ledger(version: NfsVersion) -> &'static str {
    match version {
        NfsVersion::V3 { .. } => LEDGER_3,
        NfsVersion::V4(_) => LEDGER_4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::kernel_smb;

    #[test]
    fn every_expected_failure_has_its_reason() {
        for version in VERSIONS {
            let cases = kernel_smb::ledger(ledger(version)).unwrap();
            assert!(cases.values().all(|reason| !reason.is_empty()));
        }
    }
}
