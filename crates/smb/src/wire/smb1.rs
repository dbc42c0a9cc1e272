//! The one SMB1 message that an SMB2 server answers: the multi-protocol negotiate
//! (MS-SMB2 3.3.5.3.1, MS-CIFS 2.2.4.52.1).

use super::codec::{Codec, Put, Reader, WireError, len16};
use super::header::SMB1_MAGIC;

/// Offered by clients that speak SMB 2.0.2 only.
pub const DIALECT_SMB_2_002: &[u8] = b"SMB 2.002";
/// Offered by clients that speak SMB 2.1 or later.
pub const DIALECT_SMB_2_WILDCARD: &[u8] = b"SMB 2.???";

const SMB_COM_NEGOTIATE: u8 = 0x72;
/// Dialects beyond this are not looked at; real clients send about a dozen.
const DIALECTS_MAX: usize = 64;

/// An SMB1 negotiate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smb1Negotiate<'a> {
    /// The dialect names, without their markers and terminators.
    pub dialects: Vec<&'a [u8]>,
}

impl Smb1Negotiate<'_> {
    /// Whether `dialect` is among the offered.
    #[must_use]
    pub fn offers(&self, dialect: &[u8]) -> bool {
        self.dialects.contains(&dialect)
    }
}

impl<'a> Codec<'a> for Smb1Negotiate<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.array()? != SMB1_MAGIC || r.u8()? != SMB_COM_NEGOTIATE {
            return Err(WireError::Invalid("not an SMB1 negotiate"));
        }
        r.skip(27)?;
        let words = usize::from(r.u8()?);
        r.skip(words.saturating_mul(2))?;
        let count = usize::from(r.u16()?);
        let dialects = r.take(count)?;
        Ok(Self {
            dialects: parse_dialects(dialects)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&SMB1_MAGIC);
        out.put_u8(SMB_COM_NEGOTIATE);
        out.put_zeros(27);
        out.put_u8(0);
        let count = self
            .dialects
            .iter()
            .fold(0usize, |sum, name| sum.saturating_add(name.len()));
        out.put_u16(len16(
            count.saturating_add(self.dialects.len().saturating_mul(2)),
        ));
        for name in &self.dialects {
            out.put_u8(2);
            out.put(name);
            out.put_u8(0);
        }
    }
}

fn parse_dialects(mut bytes: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let mut dialects = Vec::new();
    while let Some((marker, rest)) = bytes.split_first() {
        let end = rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(WireError::Bounds)?;
        let (name, tail) = rest.split_at_checked(end).ok_or(WireError::Bounds)?;
        if *marker != 2 || dialects.len() == DIALECTS_MAX {
            return Err(WireError::Invalid("a malformed list of dialects"));
        }
        dialects.push(name);
        bytes = tail.get(1..).unwrap_or_default();
    }
    Ok(dialects)
}
