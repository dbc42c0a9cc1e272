//! NEGOTIATE (MS-SMB2 3.3.5.3, 3.3.5.4).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_device::EnvExt;
use strongroom_vfs::FileTime as VfsTime;

use super::negotiate_contexts::{self, Chosen};
use crate::auth::initial_token;
use crate::crypto::{CipherAlgorithm, PreauthHash, SigningAlgorithm};
use crate::server::answer::{Body, Step};
use crate::server::connection::Conn;
use crate::server::negotiated::{Negotiated, is_smb3};
use crate::server::reply::Reply;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::server::{Disconnect, EncryptionPolicy, ServerConfig};
use crate::wire::header::Header;
use crate::wire::negotiate::{
    Capabilities, Dialect, NegotiateRequest, NegotiateResponse, SecurityMode,
};
use crate::wire::smb1::{DIALECT_SMB_2_002, DIALECT_SMB_2_WILDCARD, Smb1Negotiate};
use crate::wire::{Codec, Command, FileTime, Guid, MessageId, NtStatus};

/// Bytes of a payload where nothing larger was agreed on.
const SMALL_PAYLOAD: u32 = 64 << 10;
/// Best first.
const DIALECTS: [Dialect; 5] = [
    Dialect::Smb311,
    Dialect::Smb302,
    Dialect::Smb300,
    Dialect::Smb210,
    Dialect::Smb202,
];

pub(crate) fn run(request: &Request) -> Step {
    match negotiate(request) {
        Ok(body) => Step::Answer(Ok(Body::Negotiate(body))),
        Err(failure) => failure.into(),
    }
}

fn negotiate(request: &Request) -> Result<Vec<u8>, Failure> {
    let conn = &request.conn;
    if conn.negotiated.get().is_some() {
        // A second NEGOTIATE ends the connection without an answer (MS-SMB2 3.3.5.4).
        conn.close();
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let wanted: NegotiateRequest<'_> = request.decode()?;
    if wanted.dialects.is_empty() {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let common = DIALECTS
        .into_iter()
        .find(|dialect| wanted.dialects.contains(dialect));
    let dialect = common.ok_or(NtStatus::NOT_SUPPORTED)?;
    let config = &conn.server.config;
    let chosen = negotiate_contexts::choose(config, dialect, &wanted)?;
    let mut preauth = PreauthHash::new();
    preauth.update(request.message());
    let negotiated = agree(config, dialect, &wanted, &chosen, preauth);
    let body = response(conn, &negotiated, &chosen);
    if conn.negotiated.set(negotiated).is_err() {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    conn.server.client_is_known(conn, wanted.client_guid);
    Ok(body)
}

fn agree(
    config: &ServerConfig,
    dialect: Dialect,
    wanted: &NegotiateRequest<'_>,
    chosen: &Chosen,
    preauth: PreauthHash,
) -> Negotiated {
    let cipher = cipher_of(config, dialect, wanted, chosen);
    Negotiated {
        dialect,
        client_guid: wanted.client_guid,
        client_capabilities: wanted.capabilities,
        client_security_mode: wanted.security_mode,
        capabilities: capabilities(dialect, cipher, wanted.capabilities),
        security_mode: security_mode(config),
        signing: signing_of(dialect, chosen),
        cipher,
        compression: chosen.compression.clone(),
        posix: chosen.posix,
        preauth: Mutex::new(preauth),
    }
}

/// 3.1.1 has it in a context, 3.0 in a capability and then with one cipher only.
fn cipher_of(
    config: &ServerConfig,
    dialect: Dialect,
    wanted: &NegotiateRequest<'_>,
    chosen: &Chosen,
) -> Option<CipherAlgorithm> {
    let asked = wanted.capabilities.contains(Capabilities::ENCRYPTION);
    match dialect {
        Dialect::Smb311 => chosen.cipher,
        Dialect::Smb300 | Dialect::Smb302
            if asked && config.encryption != EncryptionPolicy::Off =>
        {
            Some(CipherAlgorithm::Aes128Ccm)
        }
        _ => None,
    }
}

fn signing_of(dialect: Dialect, chosen: &Chosen) -> SigningAlgorithm {
    match dialect {
        Dialect::Smb311 => chosen.signing.unwrap_or(SigningAlgorithm::AesCmac),
        Dialect::Smb300 | Dialect::Smb302 => SigningAlgorithm::AesCmac,
        _ => SigningAlgorithm::HmacSha256,
    }
}

fn capabilities(
    dialect: Dialect,
    cipher: Option<CipherAlgorithm>,
    asked: Capabilities,
) -> Capabilities {
    let mut capabilities = Capabilities::NONE;
    if dialect != Dialect::Smb202 {
        capabilities |= Capabilities::LARGE_MTU | Capabilities::LEASING;
    }
    if !matches!(dialect, Dialect::Smb202 | Dialect::Smb210) {
        capabilities |= asked & Capabilities::DIRECTORY_LEASING;
    }
    if dialect != Dialect::Smb311 && cipher.is_some() {
        capabilities |= Capabilities::ENCRYPTION;
    }
    if is_smb3(dialect) {
        capabilities |= asked & Capabilities::MULTI_CHANNEL;
        capabilities |= asked & Capabilities::PERSISTENT_HANDLES;
    }
    capabilities
}

fn security_mode(config: &ServerConfig) -> SecurityMode {
    if config.signing_required {
        SecurityMode::SIGNING_ENABLED | SecurityMode::SIGNING_REQUIRED
    } else {
        SecurityMode::SIGNING_ENABLED
    }
}

/// The largest payloads that the dialect and the settings allow.
pub(crate) fn payload_max(negotiated: &Negotiated, configured: u32) -> u32 {
    if negotiated.large_mtu() {
        configured
    } else {
        configured.min(SMALL_PAYLOAD)
    }
}

fn response(conn: &Conn, negotiated: &Negotiated, chosen: &Chosen) -> Vec<u8> {
    let config = &conn.server.config;
    let salt = conn.server.env.random_u64().to_le_bytes();
    let contexts = chosen.contexts(negotiated, &salt);
    let response = NegotiateResponse {
        contexts,
        ..frame_of(conn, negotiated.dialect)
    };
    let response = NegotiateResponse {
        capabilities: negotiated.capabilities,
        max_transact_size: payload_max(negotiated, config.max_transact_size),
        max_read_size: payload_max(negotiated, config.max_read_size),
        max_write_size: payload_max(negotiated, config.max_write_size),
        ..response
    };
    let token = initial_token(&conn.server.acceptor);
    NegotiateResponse {
        security_buffer: &token,
        ..response
    }
    .to_vec()
}

/// What all NEGOTIATE responses share.
fn frame_of(conn: &Conn, dialect: Dialect) -> NegotiateResponse<'static> {
    let config = &conn.server.config;
    NegotiateResponse {
        security_mode: security_mode(config),
        dialect,
        server_guid: Guid(config.guid),
        capabilities: Capabilities::NONE,
        max_transact_size: config.max_transact_size.min(SMALL_PAYLOAD),
        max_read_size: config.max_read_size.min(SMALL_PAYLOAD),
        max_write_size: config.max_write_size.min(SMALL_PAYLOAD),
        system_time: FileTime(VfsTime::from(conn.server.env.now()).0),
        server_start_time: FileTime(0),
        security_buffer: &[],
        contexts: Vec::new(),
    }
}

/// An SMB1 NEGOTIATE that offers SMB2 as well (MS-SMB2 3.3.5.3.1, 3.3.5.3.2). SMB1 itself is not spoken.
pub(crate) fn multi_protocol(conn: &Arc<Conn>, frame: &[u8]) -> Result<(), Disconnect> {
    let offer = Smb1Negotiate::decode(frame).map_err(|_| Disconnect::Malformed)?;
    if conn.negotiated.get().is_some() || !conn.window.lock().consume(0, 1) {
        return Err(Disconnect::Negotiation);
    }
    let dialect = if offer.offers(DIALECT_SMB_2_WILDCARD) {
        Dialect::Wildcard
    } else if offer.offers(DIALECT_SMB_2_002) {
        Dialect::Smb202
    } else {
        return Err(Disconnect::Negotiation);
    };
    if dialect == Dialect::Smb202 {
        settle_202(conn)?;
    }
    answer_multi_protocol(conn, dialect);
    Ok(())
}

/// With 2.0.2 nothing is left to negotiate.
fn settle_202(conn: &Conn) -> Result<(), Disconnect> {
    let negotiated = Negotiated {
        dialect: Dialect::Smb202,
        client_guid: Guid::default(),
        client_capabilities: Capabilities::NONE,
        client_security_mode: SecurityMode::SIGNING_ENABLED,
        capabilities: Capabilities::NONE,
        security_mode: security_mode(&conn.server.config),
        signing: SigningAlgorithm::HmacSha256,
        cipher: None,
        compression: None,
        posix: false,
        preauth: Mutex::default(),
    };
    conn.negotiated
        .set(negotiated)
        .map_err(|_| Disconnect::Negotiation)
}

fn answer_multi_protocol(conn: &Conn, dialect: Dialect) {
    let mut reply = Reply::new(512);
    let credits = conn.window.lock().answer(1, 1);
    let header = Header::request(Command::Negotiate, MessageId(0));
    let begun = reply.begin(&header.response(NtStatus::SUCCESS, credits));
    let token = initial_token(&conn.server.acceptor);
    NegotiateResponse {
        security_buffer: &token,
        ..frame_of(conn, dialect)
    }
    .encode(reply.body());
    reply.complete(begun, None);
    reply.send(&conn.outbox, None);
}
