//! SESSION_SETUP (MS-SMB2 3.3.5.5): a first logon, another one of a session that is there, or a further channel.

use std::sync::Arc;

use strongroom_identity::Token;
use strongroom_vfs::{SessionInfo, Sid};

use super::session_bind;
use crate::auth::Step as AuthStep;
use crate::auth::{AcceptState, Accepted, AcceptorConfig, AuthError, IdentityAccounts};
use crate::crypto::SessionKeys;
use crate::server::EncryptionPolicy;
use crate::server::Server;
use crate::server::answer::{Answer, Body, SessionSetup, Step};
use crate::server::connection::Conn;
use crate::server::negotiated::Negotiated;
use crate::server::request::Request;
use crate::server::session::Session;
use crate::server::session_channel::{Logon, SessionChannel};
use crate::server::status::Failure;
use crate::server::who::Who;
use crate::wire::session::{SessionFlags, SessionSetupFlags, SessionSetupRequest};
use crate::wire::{NtStatus, SessionId};

pub(crate) fn run(request: Request) -> Step {
    let (channel, previous) = match find_channel(&request) {
        Ok(found) => found,
        Err(failure) => return failure.into(),
    };
    match advance(&request, &channel) {
        Ok(setup) if setup.more || previous == SessionId(0) => {
            Step::Answer(Ok(Body::SessionSetup(setup)))
        }
        Ok(setup) => Step::Later(Box::pin(async move {
            end_previous(&request.conn.server, &setup.channel.session, previous).await;
            Ok(Body::SessionSetup(setup))
        })),
        Err(failure) => refuse(request, channel, failure),
    }
}

/// The channel on which the request goes on, or a new one; and the session that it replaces.
fn find_channel(request: &Request) -> Result<(Arc<SessionChannel>, SessionId), Failure> {
    let setup: SessionSetupRequest<'_> = request.decode()?;
    let negotiated = negotiated(&request.conn)?;
    let previous = setup.previous_session_id;
    if setup.flags.contains(SessionSetupFlags::BINDING) {
        return Ok((session_bind::find_channel(request, negotiated)?, previous));
    }
    let config = &request.conn.server.config;
    if config.encryption == EncryptionPolicy::Required && negotiated.cipher.is_none() {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    if request.header.session_id == SessionId(0) {
        return Ok((begin(&request.conn, negotiated)?, previous));
    }
    let first = |channel: &&Arc<SessionChannel>| channel.session.signed_in().is_none();
    let known = request.any_channel();
    let channel = known.filter(|channel| channel.is_established() || first(channel));
    let channel = channel.ok_or(NtStatus::USER_SESSION_DELETED)?;
    check_protection(request, channel)?;
    Ok((Arc::clone(channel), previous))
}

pub(super) fn negotiated(conn: &Conn) -> Result<&Negotiated, Failure> {
    let negotiated = conn.negotiated.get();
    negotiated.ok_or_else(|| NtStatus::INVALID_PARAMETER.into())
}

/// Another logon of an established session is protected as all its requests are (MS-SMB2 3.3.5.2.4).
fn check_protection(request: &Request, channel: &SessionChannel) -> Result<(), Failure> {
    let required = request.conn.server.config.signing_required;
    let bare = channel.session.encrypts() || (required && !request.signed);
    if channel.is_established() && !request.encrypted && bare {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    Ok(())
}

fn begin(conn: &Arc<Conn>, negotiated: &Negotiated) -> Result<Arc<SessionChannel>, Failure> {
    let session = conn.server.new_session(conn, negotiated);
    let channel = Arc::new(SessionChannel::new(session));
    if conn.add_channel(&channel) {
        return Ok(channel);
    }
    conn.server.forget_session(channel.session.id);
    Err(NtStatus::REQUEST_NOT_ACCEPTED.into())
}

/// Gives the acceptor the client's token.
fn advance(request: &Request, channel: &Arc<SessionChannel>) -> Result<SessionSetup, Failure> {
    let setup: SessionSetupRequest<'_> = request.decode()?;
    let negotiated = negotiated(&request.conn)?;
    let server = &request.conn.server;
    let mut slot = channel.logon.lock();
    let now = server.env.monotonic();
    let timeout = server.config.limits.logon_timeout;
    let late = |logon: &Logon| now.saturating_sub(logon.begun) > timeout;
    if slot.as_ref().is_some_and(late) {
        return Err(NtStatus::IO_TIMEOUT.into());
    }
    let logon = slot.get_or_insert_with(|| Logon {
        acceptor: AcceptState::new(acceptor_for(server, channel)),
        preauth: negotiated.preauth.lock().clone(),
        begun: now,
    });
    logon.preauth.update(request.message());
    let address = request.conn.peer.ip();
    let accounts = IdentityAccounts {
        identity: &server.identity,
        address,
        now: server.env.now(),
    };
    let mut entropy = |buffer: &mut [u8]| server.env.fill_random(buffer);
    let token = setup.security_buffer;
    let step = logon
        .acceptor
        .step(token, server.env.now(), &mut entropy, &accounts);
    match step.map_err(|error| refusal(request, &error))? {
        AuthStep::Continue(token) => Ok(answer(channel, true, token)),
        AuthStep::Done(accepted) => {
            let logon = slot.take().ok_or(NtStatus::INTERNAL_ERROR)?;
            drop(slot);
            finish(request, channel, negotiated, &logon, &accepted)?;
            request.conn.has_signed_in();
            Ok(answer(channel, false, accepted.token))
        }
    }
}

/// An established session may be given up to nobody in particular, which takes rights away and gives none.
fn acceptor_for(server: &Server, channel: &SessionChannel) -> Arc<AcceptorConfig> {
    let acceptor = if channel.is_established() {
        &server.acceptor_again
    } else {
        &server.acceptor
    };
    Arc::clone(acceptor)
}

fn answer(channel: &Arc<SessionChannel>, more: bool, token: Vec<u8>) -> SessionSetup {
    let mut flags = SessionFlags::NONE;
    if !more && channel.session.encrypts() {
        flags |= SessionFlags::ENCRYPT_DATA;
    }
    if !more && channel.session.who().is_some_and(|who| who.anonymous) {
        flags |= SessionFlags::IS_NULL;
    }
    SessionSetup {
        channel: Arc::clone(channel),
        more,
        flags,
        token,
    }
}

fn refusal(request: &Request, error: &AuthError) -> Failure {
    tracing::info!(peer = %request.conn.peer, %error, "a logon was refused");
    match error {
        AuthError::Malformed(_) => NtStatus::INVALID_PARAMETER.into(),
        AuthError::Unsupported(_)
        | AuthError::Denied(_)
        | AuthError::Throttled(_)
        | AuthError::Anonymous
        | AuthError::Integrity
        | AuthError::Ticket(_) => NtStatus::LOGON_FAILURE.into(),
    }
}

/// Somebody with an account, and its rights.
pub(super) struct Proved {
    pub(super) name: String,
    pub(super) token: Token,
    /// What a ticket gives on top of it.
    pub(super) groups: Vec<Sid>,
    /// From before the rights were looked up.
    pub(super) revision: u64,
}

impl Proved {
    fn who(self, session: strongroom_vfs::SessionId) -> Who {
        Who::new(self.name, self.token, session, self.revision).with_groups(self.groups)
    }

    /// None for a client that named nobody.
    fn of(server: &Server, accepted: &Accepted) -> Result<Option<Self>, Failure> {
        let Some(account) = &accepted.account else {
            return Ok(None);
        };
        let revision = server.identity.revision();
        let user = server.identity.user_by_name(&account.user);
        let user = user.ok_or(NtStatus::LOGON_FAILURE)?;
        let token = server.identity.token(&user.sid);
        let token = token.ok_or(NtStatus::LOGON_FAILURE)?;
        let name = user.name;
        Ok(Some(Self {
            name,
            token,
            groups: accepted.groups.clone(),
            revision,
        }))
    }
}

/// The client proved who it is (MS-SMB2 3.3.5.5.3).
fn finish(
    request: &Request,
    channel: &Arc<SessionChannel>,
    negotiated: &Negotiated,
    logon: &Logon,
    accepted: &Accepted,
) -> Result<(), Failure> {
    let proved = Proved::of(&request.conn.server, accepted)?;
    if channel.is_established() {
        return again(request, &channel.session, proved);
    }
    let proved = proved.ok_or(NtStatus::LOGON_FAILURE)?;
    let derivation = negotiated.derivation(&logon.preauth);
    let (signing, cipher) = (negotiated.signing, negotiated.cipher);
    let keys = SessionKeys::derive(&accepted.session_key, derivation, signing, cipher);
    if channel.session.signed_in().is_some() {
        return session_bind::finish(request, channel, &proved, &keys);
    }
    let signing = Arc::clone(&keys.signing);
    let who = record(request, &channel.session, Some(proved))?;
    let encrypt = request.conn.server.config.encryption == EncryptionPolicy::Required;
    channel.session.sign_in(keys, who, encrypt);
    channel.establish(signing);
    Ok(())
}

/// Another logon of an established session: the keys stay, the rights are new (MS-SMB2 3.3.5.5.2).
fn again(request: &Request, session: &Session, proved: Option<Proved>) -> Result<(), Failure> {
    let user = session.signed_in().ok_or(NtStatus::USER_SESSION_DELETED)?;
    let before = user.who.load_full();
    let record_of_before = before.credentials.session;
    let who = match proved {
        Some(proved) if proved.token.user == before.credentials.user => {
            proved.who(record_of_before)
        }
        proved => record(request, session, proved)?,
    };
    user.who.store(Arc::new(who));
    Ok(())
}

/// Notes in the pool who came, from where and when.
fn record(request: &Request, session: &Session, proved: Option<Proved>) -> Result<Who, Failure> {
    let server = &request.conn.server;
    let (user, user_name) = match &proved {
        Some(proved) => (proved.token.user, proved.name.clone()),
        None => (Sid::ANONYMOUS, "ANONYMOUS LOGON".to_owned()),
    };
    let info = SessionInfo {
        user,
        user_name,
        address: request.conn.peer.ip().to_string(),
        protocol: format!("SMB {}", session.dialect.name()),
    };
    let record = server.vfs.begin_session(&info)?;
    session.keep_record(record);
    Ok(match proved {
        Some(proved) => proved.who(record),
        None => Who::nobody(record, server.identity.revision()),
    })
}

/// A refused logon leaves no session, neither a new one nor the one that was to be renewed. A further channel that does
/// not come to be harms its session in no way.
fn refuse(request: Request, channel: Arc<SessionChannel>, failure: Failure) -> Step {
    if session_bind::is_binding(&channel) {
        request.conn.drop_channel(channel.session.id);
        return failure.into();
    }
    Step::Later(Box::pin(async move {
        channel.session.end(&request.conn.server).await;
        Answer::Err(failure)
    }))
}

/// A client that lost its connection ends the session that it had there (MS-SMB2 3.3.5.5.3).
async fn end_previous(server: &Arc<Server>, session: &Session, previous: SessionId) {
    if previous == session.id {
        return;
    }
    let Some(old) = server.find_session(previous) else {
        return;
    };
    let user = |session: &Session| session.who().map(|who| who.credentials.user);
    if user(&old).is_some() && user(&old) == user(session) {
        old.end(server).await;
    }
}
