//! What client and server agreed on (MS-SMB2 3.3.1.7, the fields set by NEGOTIATE).

use parking_lot::Mutex;

use crate::compress::Form;
use crate::crypto::{CipherAlgorithm, Derivation, PreauthHash, SigningAlgorithm};
use crate::wire::Guid;
use crate::wire::negotiate::{Capabilities, Dialect, SecurityMode};

#[derive(Debug)]
pub(crate) struct Negotiated {
    pub(crate) dialect: Dialect,
    pub(crate) client_guid: Guid,
    pub(crate) client_capabilities: Capabilities,
    pub(crate) client_security_mode: SecurityMode,
    pub(crate) capabilities: Capabilities,
    pub(crate) security_mode: SecurityMode,
    pub(crate) signing: SigningAlgorithm,
    pub(crate) cipher: Option<CipherAlgorithm>,
    /// None: nothing is compressed.
    pub(crate) compression: Option<Form>,
    /// The POSIX extensions.
    pub(crate) posix: bool,
    /// Connection.PreauthIntegrityHashValue: the request, then the response.
    pub(crate) preauth: Mutex<PreauthHash>,
}

pub(crate) fn is_smb3(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Smb300 | Dialect::Smb302 | Dialect::Smb311)
}

impl Negotiated {
    pub(crate) fn is_311(&self) -> bool {
        self.dialect == Dialect::Smb311
    }

    /// Whether sessions may have further channels.
    pub(crate) fn multichannel(&self) -> bool {
        self.capabilities.contains(Capabilities::MULTI_CHANNEL)
    }

    /// Whether requests of more than 64 KiB are paid for with more credits.
    pub(crate) fn large_mtu(&self) -> bool {
        self.capabilities.contains(Capabilities::LARGE_MTU)
    }

    pub(crate) fn leases(&self) -> bool {
        self.capabilities.contains(Capabilities::LEASING)
    }

    pub(crate) fn directory_leases(&self) -> bool {
        self.capabilities.contains(Capabilities::DIRECTORY_LEASING)
    }

    /// Whether opens may outlive the server.
    pub(crate) fn persistent_handles(&self) -> bool {
        self.capabilities.contains(Capabilities::PERSISTENT_HANDLES)
    }

    pub(crate) fn is_smb3(&self) -> bool {
        is_smb3(self.dialect)
    }

    pub(crate) fn hash_response(&self, message: &[u8]) {
        self.preauth.lock().update(message);
    }

    /// How session keys are made; `preauth` is the session's hash.
    pub(crate) fn derivation<'a>(&self, preauth: &'a PreauthHash) -> Derivation<'a> {
        match self.dialect {
            Dialect::Smb311 => Derivation::Smb311(preauth),
            Dialect::Smb300 | Dialect::Smb302 => Derivation::Smb30,
            Dialect::Smb202 | Dialect::Smb210 | Dialect::Wildcard | Dialect::Unknown(_) => {
                Derivation::None
            }
        }
    }
}
