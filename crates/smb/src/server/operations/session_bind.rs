//! Further channels of a session: SESSION_SETUP with SMB2_SESSION_FLAG_BINDING (MS-SMB2 3.3.5.5, 3.3.5.5.3).

use std::sync::Arc;

use super::session_setup::Proved;
use crate::crypto::{SessionKeys, SigningAlgorithm};
use crate::server::negotiated::Negotiated;
use crate::server::request::Request;
use crate::server::session::{Session, SignedIn};
use crate::server::session_channel::SessionChannel;
use crate::server::status::Failure;
use crate::wire::NtStatus;

/// STATUS_REQUEST_OUT_OF_SEQUENCE (MS-ERREF).
const REQUEST_OUT_OF_SEQUENCE: NtStatus = NtStatus(0xC000_042A);

/// The channel that is to be, from its first request to the end of its logon.
pub(super) fn is_binding(channel: &SessionChannel) -> bool {
    !channel.is_established() && channel.session.signed_in().is_some()
}

/// The channel that the request goes on with, or a new one of a session that another connection brought.
pub(super) fn find_channel(
    request: &Request,
    negotiated: &Negotiated,
) -> Result<Arc<SessionChannel>, Failure> {
    let session = request.conn.server.find_session(request.header.session_id);
    if !negotiated.is_smb3() {
        let user = session.as_ref().and_then(|session| session.signed_in());
        let needs_gmac = user.is_some_and(signs_with_gmac);
        return Err(if needs_gmac {
            REQUEST_OUT_OF_SEQUENCE.into()
        } else {
            NtStatus::REQUEST_NOT_ACCEPTED.into()
        });
    }
    let session = session.ok_or(NtStatus::USER_SESSION_DELETED)?;
    let user = session.signed_in().ok_or(NtStatus::REQUEST_NOT_ACCEPTED)?;
    check_agreement(request, negotiated, &session, user)?;
    if user.who.load().anonymous {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    match request.any_channel() {
        Some(channel) if is_binding(channel) => Ok(Arc::clone(channel)),
        Some(_) => Err(NtStatus::REQUEST_NOT_ACCEPTED.into()),
        None => begin(request, session),
    }
}

fn signs_with_gmac(user: &SignedIn) -> bool {
    user.keys.signing.algorithm() == SigningAlgorithm::AesGmac
}

/// Both connections sign and encrypt alike, and the request proves to come from who has the session's key.
///
/// The clients' GUIDs may differ: MS-SMB2 leaves it open, and the key is the better proof.
fn check_agreement(
    request: &Request,
    negotiated: &Negotiated,
    session: &Session,
    user: &SignedIn,
) -> Result<(), Failure> {
    let (ours, theirs) = (negotiated.signing, user.keys.signing.algorithm());
    if ours != theirs && signs_with_gmac(user) {
        return Err(REQUEST_OUT_OF_SEQUENCE.into());
    }
    if ours != theirs && ours == SigningAlgorithm::AesGmac {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    let cipher = user.keys.cipher.as_ref().map(|cipher| cipher.algorithm());
    let alike = session.dialect == negotiated.dialect && cipher == negotiated.cipher;
    if !request.signed || !alike {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok(())
}

fn begin(request: &Request, session: Arc<Session>) -> Result<Arc<SessionChannel>, Failure> {
    let channel = Arc::new(SessionChannel::new(session));
    if request.conn.add_channel(&channel) {
        Ok(channel)
    } else {
        Err(NtStatus::REQUEST_NOT_ACCEPTED.into())
    }
}

/// The user of the session has logged on here too: the channel gets a signing key of its own.
pub(super) fn finish(
    request: &Request,
    channel: &SessionChannel,
    proved: &Proved,
    keys: &SessionKeys,
) -> Result<(), Failure> {
    let who = channel.session.who();
    let who = who.ok_or(NtStatus::USER_SESSION_DELETED)?;
    if who.credentials.user != proved.token.user {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    if !channel.session.join(&request.conn) {
        return Err(NtStatus::INSUFFICIENT_RESOURCES.into());
    }
    channel.establish(Arc::clone(&keys.signing));
    Ok(())
}
