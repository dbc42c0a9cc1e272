//! Replies (RFC 5531, 9).

use super::auth::BODY_MAX;
use crate::xdr::{Decoder, Encoder, Opaque, Result, Xdr, XdrError};

const REPLY: u32 = 1;
const ACCEPTED: u32 = 0;
const DENIED: u32 = 1;
const RPC_MISMATCH: u32 = 0;
const AUTH_ERROR: u32 = 1;
const RPC_VERSION: u32 = 2;

/// What became of an accepted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptStat {
    Success,
    ProgramUnavailable,
    ProgramMismatch { low: u32, high: u32 },
    ProcedureUnavailable,
    GarbageArguments,
    SystemError,
}

/// Why a credential was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthStat {
    BadCredential = 1,
    TooWeak = 5,
}

/// The heads of replies.
#[derive(Debug)]
pub struct Reply;

impl Reply {
    /// Of an accepted call; its results follow a success.
    pub fn accepted(to: &mut Encoder, xid: u32, stat: AcceptStat) {
        // An empty verifier.
        to.u32(xid).u32(REPLY).u32(ACCEPTED).u32(0).u32(0);
        match stat {
            AcceptStat::Success => to.u32(0),
            AcceptStat::ProgramUnavailable => to.u32(1),
            AcceptStat::ProgramMismatch { low, high } => to.u32(2).u32(low).u32(high),
            AcceptStat::ProcedureUnavailable => to.u32(3),
            AcceptStat::GarbageArguments => to.u32(4),
            AcceptStat::SystemError => to.u32(5),
        };
    }

    pub fn unauthorized(to: &mut Encoder, xid: u32, why: AuthStat) {
        to.u32(xid).u32(REPLY).u32(DENIED).u32(AUTH_ERROR);
        to.u32(why as u32);
    }

    pub fn other_version(to: &mut Encoder, xid: u32) {
        to.u32(xid).u32(REPLY).u32(DENIED).u32(RPC_MISMATCH);
        to.u32(RPC_VERSION).u32(RPC_VERSION);
    }

    /// Reads what stands between the message type and the results; true if those follow.
    pub(super) fn skip_head(from: &mut Decoder<'_>) -> Result<bool> {
        match from.u32()? {
            ACCEPTED => {
                from.u32()?;
                Opaque::<BODY_MAX>::decode(from)?;
                Ok(from.u32()? == 0)
            }
            DENIED => Ok(false),
            _ => Err(XdrError::Invalid("a reply is neither accepted nor denied")),
        }
    }
}
