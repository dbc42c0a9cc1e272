//! SESSION_SETUP (MS-SMB2 3.3.5.5).

use std::sync::Arc;

use strongroom_vfs::{Credentials, SessionInfo};

use crate::auth::{AcceptState, Accepted, AuthError, IdentityAccounts, Step as AuthStep};
use crate::crypto::SessionKeys;
use crate::server::EncryptionPolicy;
use crate::server::answer::{Answer, Body, SessionSetup, Step};
use crate::server::connection::Conn;
use crate::server::negotiated::Negotiated;
use crate::server::request::Request;
use crate::server::session::{Logon, Session, SignedIn};
use crate::server::status::Failure;
use crate::wire::session::{SessionFlags, SessionSetupFlags, SessionSetupRequest};
use crate::wire::{NtStatus, SessionId};

pub(crate) fn run(request: Request) -> Step {
    let (session, previous) = match find_session(&request) {
        Ok(found) => found,
        Err(failure) => return failure.into(),
    };
    match advance(&request, &session) {
        Ok(setup) if setup.more || previous == SessionId(0) => {
            Step::Answer(Ok(Body::SessionSetup(setup)))
        }
        Ok(setup) => Step::Later(Box::pin(async move {
            end_previous(&request.conn, &setup.session, previous).await;
            Ok(Body::SessionSetup(setup))
        })),
        Err(failure) => refuse(request, session, failure),
    }
}

/// The session that the request goes on with, or a new one; and the one that it replaces.
fn find_session(request: &Request) -> Result<(Arc<Session>, SessionId), Failure> {
    let setup: SessionSetupRequest<'_> = request.decode()?;
    let negotiated = request
        .conn
        .negotiated
        .get()
        .ok_or(NtStatus::INVALID_PARAMETER)?;
    if setup.flags.contains(SessionSetupFlags::BINDING) {
        return Err(refuse_binding(request, negotiated));
    }
    let required = request.conn.server.config.encryption == EncryptionPolicy::Required;
    if required && negotiated.cipher.is_none() {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let previous = setup.previous_session_id;
    if request.header.session_id == SessionId(0) {
        return Ok((begin(&request.conn)?, previous));
    }
    let session = request
        .any_session()
        .ok_or(NtStatus::USER_SESSION_DELETED)?;
    let encrypts = session.encrypts() && !request.encrypted;
    if encrypts && session.signed_in().is_some() {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    Ok((Arc::clone(session), previous))
}

/// One connection a session: no second channel is bound (MS-SMB2 3.3.5.5, steps 3 and 4).
fn refuse_binding(request: &Request, negotiated: &Negotiated) -> Failure {
    let id = request.header.session_id;
    if !negotiated.is_smb3() {
        return NtStatus::REQUEST_NOT_ACCEPTED.into();
    }
    match request.conn.server.find_session(id) {
        None => NtStatus::USER_SESSION_DELETED.into(),
        Some(_) => NtStatus::REQUEST_NOT_ACCEPTED.into(),
    }
}

fn begin(conn: &Arc<Conn>) -> Result<Arc<Session>, Failure> {
    let session = conn.server.new_session(conn);
    if conn.add_session(&session) {
        return Ok(session);
    }
    conn.server.forget_session(session.id);
    Err(NtStatus::REQUEST_NOT_ACCEPTED.into())
}

/// Gives the acceptor the client's token.
fn advance(request: &Request, session: &Arc<Session>) -> Result<SessionSetup, Failure> {
    let setup: SessionSetupRequest<'_> = request.decode()?;
    let negotiated = request
        .conn
        .negotiated
        .get()
        .ok_or(NtStatus::INVALID_PARAMETER)?;
    let server = &request.conn.server;
    let mut slot = session.logon.lock();
    let now = server.env.monotonic();
    let timeout = server.config.limits.logon_timeout;
    if slot
        .as_ref()
        .is_some_and(|logon| now.saturating_sub(logon.begun) > timeout)
    {
        return Err(NtStatus::IO_TIMEOUT.into());
    }
    let logon = slot.get_or_insert_with(|| Logon {
        acceptor: AcceptState::new(Arc::clone(&server.acceptor)),
        preauth: negotiated.preauth.lock().clone(),
        begun: now,
    });
    logon.preauth.update(request.message());
    let accounts = IdentityAccounts {
        identity: &server.identity,
        address: session.peer.ip(),
        now: server.env.now(),
    };
    let mut entropy = |buffer: &mut [u8]| server.env.fill_random(buffer);
    let token = setup.security_buffer;
    let step = logon
        .acceptor
        .step(token, server.env.now(), &mut entropy, &accounts);
    match step.map_err(|error| refusal(session, &error))? {
        AuthStep::Continue(token) => Ok(SessionSetup {
            session: Arc::clone(session),
            more: true,
            flags: SessionFlags::NONE,
            token,
        }),
        AuthStep::Done(accepted) => {
            let logon = slot.take().ok_or(NtStatus::INTERNAL_ERROR)?;
            drop(slot);
            finish(request, session, negotiated, &logon, accepted)
        }
    }
}

fn refusal(session: &Session, error: &AuthError) -> Failure {
    tracing::info!(peer = %session.peer, %error, "a logon was refused");
    match error {
        AuthError::Malformed(_) => NtStatus::INVALID_PARAMETER.into(),
        AuthError::Unsupported(_)
        | AuthError::Denied(_)
        | AuthError::Throttled(_)
        | AuthError::Anonymous
        | AuthError::Integrity => NtStatus::LOGON_FAILURE.into(),
    }
}

/// The client proved who it is (MS-SMB2 3.3.5.5.3).
fn finish(
    request: &Request,
    session: &Arc<Session>,
    negotiated: &Negotiated,
    logon: &Logon,
    accepted: Accepted,
) -> Result<SessionSetup, Failure> {
    let name = accepted.account.ok_or(NtStatus::LOGON_FAILURE)?.user;
    let server = &request.conn.server;
    let user = server
        .identity
        .user_by_name(&name)
        .ok_or(NtStatus::LOGON_FAILURE)?;
    let token = server
        .identity
        .token(&user.sid)
        .ok_or(NtStatus::LOGON_FAILURE)?;
    if let Some(before) = session.signed_in() {
        // Another logon of the same user keeps the session's keys.
        if before.credentials.user != user.sid {
            return Err(NtStatus::ACCESS_DENIED.into());
        }
    } else {
        let derivation = negotiated.derivation(&logon.preauth);
        let (signing, cipher) = (negotiated.signing, negotiated.cipher);
        let keys = SessionKeys::derive(&accepted.session_key, derivation, signing, cipher);
        let info = SessionInfo {
            user: user.sid,
            user_name: user.name.clone(),
            address: session.peer.ip().to_string(),
            protocol: format!("SMB {}", negotiated.dialect_name()),
        };
        let credentials = Credentials {
            user: token.user,
            primary_group: primary_group(&token.groups, &token.user),
            groups: token.groups,
            admin: token.admin,
            session: server.vfs.begin_session(&info)?,
        };
        let encrypt = server.config.encryption == EncryptionPolicy::Required;
        session.sign_in(
            SignedIn {
                name: user.name,
                credentials,
                keys,
            },
            encrypt,
        );
    }
    let flags = if session.encrypts() {
        SessionFlags::ENCRYPT_DATA
    } else {
        SessionFlags::NONE
    };
    Ok(SessionSetup {
        session: Arc::clone(session),
        more: false,
        flags,
        token: accepted.token,
    })
}

/// The built-in Users group owns what a user makes, where there is no better one.
fn primary_group(
    groups: &[strongroom_vfs::Sid],
    user: &strongroom_vfs::Sid,
) -> strongroom_vfs::Sid {
    let users = strongroom_vfs::Sid::USERS;
    if groups.contains(&users) {
        users
    } else {
        *user
    }
}

/// A refused logon leaves no session, neither a new one nor the one that was to be renewed.
fn refuse(request: Request, session: Arc<Session>, failure: Failure) -> Step {
    Step::Later(Box::pin(async move {
        if request.conn.remove_session(session.id).is_some() {
            session.tear_down(&request.conn.server).await;
        }
        Answer::Err(failure)
    }))
}

/// A client that lost its connection ends the session that it had there (MS-SMB2 3.3.5.5.3).
async fn end_previous(conn: &Conn, session: &Session, previous: SessionId) {
    if previous == session.id {
        return;
    }
    let Some(old) = conn.server.find_session(previous) else {
        return;
    };
    let user = |session: &Session| session.signed_in().map(|user| user.credentials.user);
    if user(&old).is_none() || user(&old) != user(session) {
        return;
    }
    if let Some(old_conn) = old.conn.upgrade()
        && old_conn.remove_session(previous).is_some()
    {
        old.tear_down(&conn.server).await;
    }
}
