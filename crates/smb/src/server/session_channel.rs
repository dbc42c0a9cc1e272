//! One connection's part in a session (Session.ChannelList, MS-SMB2 3.3.1.8).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::session::Session;
use crate::auth::AcceptState;
use crate::crypto::{PreauthHash, SigningAlgorithm, SigningKey};

#[derive(Debug)]
pub(crate) struct SessionChannel {
    pub(crate) session: Arc<Session>,
    pub(crate) logon: Mutex<Option<Logon>>,
    /// Channel.SigningKey, once a logon on this connection succeeded.
    signing: OnceLock<Arc<SigningKey>>,
}

/// A logon under way: the first one, another one of a session that is there already, or that of a further channel.
#[derive(Debug)]
pub(crate) struct Logon {
    pub(crate) acceptor: AcceptState,
    /// Session.PreauthIntegrityHashValue, with dialect 3.1.1.
    pub(crate) preauth: PreauthHash,
    pub(crate) begun: Duration,
}

impl SessionChannel {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            logon: Mutex::default(),
            signing: OnceLock::new(),
        }
    }

    /// A logon succeeded; later ones keep the key of the first.
    pub(crate) fn establish(&self, signing: Arc<SigningKey>) {
        self.signing.get_or_init(|| signing);
    }

    pub(crate) fn is_established(&self) -> bool {
        self.signing.get().is_some()
    }

    /// The key of this channel; until there is one, that of the session which the channel is to join.
    pub(crate) fn signing(&self) -> Option<&SigningKey> {
        let joined = || Some(&self.session.signed_in()?.keys.signing);
        self.signing.get().or_else(joined).map(|key| &**key)
    }

    /// Whether an answer may be signed that shares its message id with another one on this connection.
    ///
    /// AES-GMAC takes its nonce from that id, and a nonce that is used twice gives the key of the hash away. So an interim
    /// response stays unsigned there: the final one has the same id. Binding a further channel does use nonces twice, as
    /// message ids begin anew on each connection; that is the protocol's own, and the client's request has done it before
    /// any answer could.
    pub(crate) fn may_sign_twice(&self) -> bool {
        let algorithm = self.signing().map(SigningKey::algorithm);
        algorithm.is_some_and(|algorithm| algorithm != SigningAlgorithm::AesGmac)
    }
}
