//! FSCTL_VALIDATE_NEGOTIATE_INFO (MS-SMB2 3.3.5.15.12): was the negotiation tampered with on its way?

use super::Output;
use crate::server::request::Request;
use crate::wire::fscc::fsctl::{ValidateNegotiateRequest, ValidateNegotiateResponse};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::negotiate::Dialect;
use crate::wire::{Codec, Guid, NtStatus};

/// Bytes of the answer.
const RESPONSE_LEN: u32 = 24;

pub(super) fn run(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let negotiated = request
        .conn
        .negotiated
        .get()
        .ok_or(NtStatus::INVALID_PARAMETER)?;
    let told = ValidateNegotiateRequest::decode(wanted.input);
    // 3.1.1 protects its negotiation otherwise; asking there is a sign of an attack.
    let expected = !negotiated.is_311();
    let Some(told) = told
        .ok()
        .filter(|_| expected && wanted.max_output_response >= RESPONSE_LEN)
    else {
        return tampered(request);
    };
    let same = told.client_guid == negotiated.client_guid
        && told.capabilities == negotiated.client_capabilities
        && told.security_mode == negotiated.client_security_mode
        && greatest(&told.dialects) == Some(negotiated.dialect);
    if !same {
        return tampered(request);
    }
    let response = ValidateNegotiateResponse {
        capabilities: negotiated.capabilities.bits(),
        server_guid: Guid(request.conn.server.config.guid),
        security_mode: negotiated.security_mode.bits(),
        dialect: negotiated.dialect.to_wire(),
    };
    Ok((NtStatus::SUCCESS, response.to_vec()))
}

/// The connection ends without an answer.
fn tampered(request: &Request) -> Output {
    tracing::warn!(peer = %request.conn.peer, "a negotiation did not validate; the connection ends");
    request.conn.close();
    Err(NtStatus::ACCESS_DENIED.into())
}

fn greatest(dialects: &[Dialect]) -> Option<Dialect> {
    let known = |dialect: &&Dialect| !matches!(dialect, Dialect::Unknown(_) | Dialect::Wildcard);
    dialects
        .iter()
        .filter(known)
        .max_by_key(|dialect| dialect.to_wire())
        .copied()
}
