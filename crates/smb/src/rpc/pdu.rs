//! Protocol data units of connection-oriented RPC (C706 12.6.4, MS-RPCE 2.2.2).

use crate::wire::Guid;
use crate::wire::codec::{Put, Reader, WireError, len16, len32};

use super::{CONTEXTS_MAX, FRAGMENT_MAX};

/// Bytes of the header that all units share.
pub(super) const HEADER_LEN: usize = 16;
/// Bytes of a response before its stub.
const RESPONSE_FIXED: usize = 24;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 2;
const FAULT: u8 = 3;
const BIND: u8 = 11;
const BIND_ACK: u8 = 12;
const BIND_NAK: u8 = 13;
const ALTER_CONTEXT: u8 = 14;
const ALTER_CONTEXT_RESPONSE: u8 = 15;
const CO_CANCEL: u8 = 18;
const ORPHANED: u8 = 19;

const FIRST: u8 = 0x01;
const LAST: u8 = 0x02;
const OBJECT: u8 = 0x80;

/// authentication_type_not_recognized
pub(super) const NAK_AUTH_TYPE: u16 = 8;
/// local_limit_exceeded
pub(super) const NAK_LOCAL_LIMIT: u16 = 2;

/// NDR, version 2.
const NDR: Guid = Guid::from_fields(
    0x8A88_5D04,
    0x1CEB,
    0x11C9,
    [0x9F, 0xE8, 0x08, 0x00, 0x2B, 0x10, 0x48, 0x60],
);
const NDR_VERSION: u32 = 2;
/// The first eight bytes of bind time feature negotiation (MS-RPCE 3.3.1.5.3); the others are the
/// features offered.
const FEATURES: [u8; 8] = [0x2C, 0x1C, 0xB7, 0x6C, 0x12, 0x98, 0x40, 0x45];

/// The common header.
#[derive(Debug, Clone, Copy)]
pub(super) struct PduHeader {
    kind: u8,
    flags: u8,
    pub(super) fragment_len: u16,
    pub(super) auth_len: u16,
    pub(super) call_id: u32,
}

impl PduHeader {
    /// The header at the start of `bytes`, once it is there as a whole.
    pub(super) fn peek(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        Self::decode(&mut Reader::new(bytes)).map(Some)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, &'static str> {
        let [major, _, kind, flags] = r.array().map_err(truncated)?;
        let [representation, ..]: [u8; 4] = r.array().map_err(truncated)?;
        let fragment_len = r.u16().map_err(truncated)?;
        let auth_len = r.u16().map_err(truncated)?;
        let call_id = r.u32().map_err(truncated)?;
        if major != 5 || representation & 0xF0 != 0x10 {
            return Err("not little-endian RPC of version 5");
        }
        if usize::from(fragment_len) < HEADER_LEN || fragment_len > FRAGMENT_MAX {
            return Err("a fragment's length is out of bounds");
        }
        Ok(Self {
            kind,
            flags,
            fragment_len,
            auth_len,
            call_id,
        })
    }

    pub(super) const fn is_first(&self) -> bool {
        self.flags & FIRST != 0
    }

    pub(super) const fn is_last(&self) -> bool {
        self.flags & LAST != 0
    }
}

fn truncated(_: WireError) -> &'static str {
    "a fragment is truncated"
}

/// A fragment of the client.
#[derive(Debug)]
pub(super) enum Fragment<'a> {
    /// BIND or ALTER_CONTEXT.
    Bind(Bind<'a>),
    /// REQUEST.
    Request {
        context: u16,
        opnum: u16,
        stub: &'a [u8],
    },
    /// A cancellation, which comes too late for calls that do not wait.
    Dropped,
}

impl<'a> Fragment<'a> {
    /// Reads one whole fragment.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<(PduHeader, Self), &'static str> {
        let mut r = Reader::new(bytes);
        let header = PduHeader::decode(&mut r)?;
        let fragment = match header.kind {
            BIND | ALTER_CONTEXT => Self::Bind(Bind::decode(r).map_err(truncated)?),
            REQUEST if header.auth_len == 0 => Self::decode_request(r, header.flags)?,
            REQUEST => return Err("an authenticated request on a pipe that is not"),
            CO_CANCEL | ORPHANED => Self::Dropped,
            _ => return Err("an unexpected kind of fragment"),
        };
        Ok((header, fragment))
    }

    fn decode_request(mut r: Reader<'a>, flags: u8) -> Result<Self, &'static str> {
        r.skip(4).map_err(truncated)?;
        let context = r.u16().map_err(truncated)?;
        let opnum = r.u16().map_err(truncated)?;
        if flags & OBJECT != 0 {
            r.skip(16).map_err(truncated)?;
        }
        Ok(Self::Request {
            context,
            opnum,
            stub: r.rest(),
        })
    }
}

/// The body of BIND and ALTER_CONTEXT.
#[derive(Debug)]
pub(super) struct Bind<'a> {
    pub(super) receive_max: u16,
    pub(super) contexts: Vec<Offered<'a>>,
}

impl<'a> Bind<'a> {
    fn decode(mut r: Reader<'a>) -> Result<Self, WireError> {
        r.skip(2)?;
        let receive_max = r.u16()?;
        r.skip(4)?;
        let count = usize::from(r.u8()?);
        r.skip(3)?;
        if count > CONTEXTS_MAX {
            return Err(WireError::TooLong("the list of presentation contexts"));
        }
        let mut contexts = Vec::with_capacity(count);
        for _ in 0..count {
            contexts.push(Offered::decode(&mut r)?);
        }
        Ok(Self {
            receive_max,
            contexts,
        })
    }
}

/// One presentation context offered.
#[derive(Debug)]
pub(super) struct Offered<'a> {
    pub(super) id: u16,
    interface: Guid,
    version: u32,
    /// Transfer syntaxes of 20 bytes each.
    syntaxes: &'a [u8],
}

/// The answer to one presentation context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindResult {
    /// With NDR.
    Accepted,
    /// No such interface.
    UnknownInterface,
    /// No NDR among the syntaxes.
    UnknownSyntax,
    /// Feature negotiation: none of the features.
    Features,
}

impl<'a> Offered<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let id = r.u16()?;
        let count = usize::from(r.u8()?);
        r.skip(1)?;
        let (interface, version) = (Guid(r.array()?), r.u32()?);
        let syntaxes = r.take(count.saturating_mul(20))?;
        Ok(Self {
            id,
            interface,
            version,
            syntaxes,
        })
    }

    /// The minor version is in the high half and may be anything lower or higher.
    pub(super) fn judge(&self, interface: &Guid, version: u32) -> BindResult {
        if self.syntaxes.starts_with(&FEATURES) {
            return BindResult::Features;
        }
        if self.interface != *interface || self.version & 0xFFFF != version {
            return BindResult::UnknownInterface;
        }
        let mut ndr = Vec::with_capacity(20);
        put_ndr(&mut ndr);
        let offered = self.syntaxes.as_chunks::<20>().0;
        if offered.iter().any(|syntax| syntax[..] == ndr[..]) {
            BindResult::Accepted
        } else {
            BindResult::UnknownSyntax
        }
    }
}

fn put_ndr(out: &mut Vec<u8>) {
    out.put(&NDR.0);
    out.put_u32(NDR_VERSION);
}

fn begin(kind: u8, flags: u8, call_id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(&[5, 0, kind, flags, 0x10, 0, 0, 0]);
    out.put_u32(0);
    out.put_u32(call_id);
    out
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let len = len16(out.len());
    out.patch(8, &len.to_le_bytes());
    out
}

/// BIND_ACK or ALTER_CONTEXT_RESP, as the request was.
pub(super) fn bind_ack(
    request: &PduHeader,
    fragment_max: u16,
    pipe: &str,
    results: &[BindResult],
) -> Vec<u8> {
    let alter = request.kind == ALTER_CONTEXT;
    let kind = if alter {
        ALTER_CONTEXT_RESPONSE
    } else {
        BIND_ACK
    };
    let mut out = begin(kind, FIRST | LAST, request.call_id);
    out.put_u16(fragment_max);
    out.put_u16(FRAGMENT_MAX);
    // The association group: any id but zero, as there are no context handles to share.
    out.put_u32(0x0000_53F0);
    put_secondary_address(if alter { "" } else { pipe }, &mut out);
    out.pad_to(0, 4);
    out.put_u32(len32(results.len()));
    for result in results {
        put_result(*result, &mut out);
    }
    finish(out)
}

fn put_secondary_address(pipe: &str, out: &mut Vec<u8>) {
    if pipe.is_empty() {
        out.put_u16(0);
        return;
    }
    let address = format!("\\PIPE\\{pipe}\0");
    out.put_u16(len16(address.len()));
    out.put(address.as_bytes());
}

fn put_result(result: BindResult, out: &mut Vec<u8>) {
    let (code, reason) = match result {
        BindResult::Accepted => (0, 0),
        BindResult::UnknownInterface => (2, 1),
        BindResult::UnknownSyntax => (2, 2),
        BindResult::Features => (3, 0),
    };
    out.put_u16(code);
    out.put_u16(reason);
    if result == BindResult::Accepted {
        put_ndr(out)
    } else {
        out.put_zeros(20)
    }
}

/// BIND_NAK.
pub(super) fn bind_nak(call_id: u32, reason: u16) -> Vec<u8> {
    let mut out = begin(BIND_NAK, FIRST | LAST, call_id);
    out.put_u16(reason);
    out.put(&[1, 5, 0]);
    finish(out)
}

/// FAULT.
pub(super) fn fault(call_id: u32, context: u16, status: u32) -> Vec<u8> {
    let mut out = begin(FAULT, FIRST | LAST, call_id);
    out.put_u32(0);
    out.put_u16(context);
    out.put_u16(0);
    out.put_u32(status);
    out.put_u32(0);
    finish(out)
}

/// A stub as RESPONSE fragments of at most `fragment_max` bytes.
pub(super) fn responses(
    call_id: u32,
    context: u16,
    fragment_max: u16,
    stub: &[u8],
) -> Vec<Vec<u8>> {
    // All fragments but the last carry a multiple of 8 bytes (C706 12.6.4.10).
    let room = usize::from(fragment_max).saturating_sub(RESPONSE_FIXED) & !7;
    let parts: Vec<&[u8]> = if stub.is_empty() {
        vec![&[]]
    } else {
        stub.chunks(room).collect()
    };
    let last = parts.len().saturating_sub(1);
    let mut left = stub.len();
    let mut fragments = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let flags = if index == 0 { FIRST } else { 0 } | if index == last { LAST } else { 0 };
        let mut out = begin(RESPONSE, flags, call_id);
        out.put_u32(len32(left));
        out.put_u16(context);
        out.put_u16(0);
        out.put(part);
        fragments.push(finish(out));
        left = left.saturating_sub(part.len());
    }
    fragments
}
