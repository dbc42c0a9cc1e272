//! Messages from a client: calls, and replies to calls that the server made (RFC 5531, 9).

use super::auth::{Auth, BODY_MAX};
use super::reply::Reply;
use crate::xdr::{Decoder, Encoder, Opaque, Result, Xdr, XdrError};

const CALL: u32 = 0;
const REPLY: u32 = 1;
const VERSION: u32 = 2;

/// The head of a call; its arguments follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    pub xid: u32,
    pub program: u32,
    pub version: u32,
    pub procedure: u32,
    /// A credential that is not well formed is told to the client, so it does not make the call unreadable.
    pub auth: std::result::Result<Auth<'a>, XdrError>,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    Call(Call<'a>),
    /// A call of another version of RPC.
    OtherVersion {
        xid: u32,
    },
    /// An answer to a call of the server; its result follows where it was accepted.
    Reply {
        xid: u32,
        accepted: bool,
    },
}

impl<'a> Message<'a> {
    /// Reads the head of a record; the decoder is left where arguments or results begin.
    pub fn decode(from: &mut Decoder<'a>) -> Result<Self> {
        let xid = from.u32()?;
        match from.u32()? {
            CALL => {}
            REPLY => {
                let accepted = Reply::skip_head(from)?;
                return Ok(Self::Reply { xid, accepted });
            }
            _ => return Err(XdrError::Invalid("neither a call nor a reply")),
        }
        if from.u32()? != VERSION {
            return Ok(Self::OtherVersion { xid });
        }
        let (program, version, procedure) = (from.u32()?, from.u32()?, from.u32()?);
        let auth = credential(from)?;
        let _verifier = (from.u32()?, Opaque::<BODY_MAX>::decode(from)?);
        Ok(Self::Call(Call {
            xid,
            program,
            version,
            procedure,
            auth,
        }))
    }
}

/// Reads past a credential, good or bad.
fn credential<'a>(from: &mut Decoder<'a>) -> Result<std::result::Result<Auth<'a>, XdrError>> {
    let auth = Auth::decode(&mut from.clone());
    from.u32()?;
    from.opaque(BODY_MAX, "a credential")?;
    Ok(auth)
}

impl Call<'_> {
    /// Writes the head of a call.
    pub fn encode(&self, to: &mut Encoder) {
        to.u32(self.xid).u32(CALL).u32(VERSION);
        to.u32(self.program).u32(self.version).u32(self.procedure);
        match &self.auth {
            Ok(auth) => auth.encode(to),
            Err(_) => Auth::None.encode(to),
        }
        Auth::None.encode(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::AuthSys;
    use crate::xdr::List;

    fn call() -> Call<'static> {
        Call {
            xid: 7,
            program: 100_003,
            version: 3,
            procedure: 1,
            auth: Ok(Auth::Sys(AuthSys {
                stamp: 1,
                machine: Opaque(b"host"),
                user: 1000,
                group: 100,
                groups: List(vec![4, 20]),
            })),
        }
    }

    fn bytes() -> Vec<u8> {
        let mut to = Encoder::default();
        call().encode(&mut to);
        to.u32(99);
        to.into_vec()
    }

    #[test]
    fn a_call_comes_back_and_its_arguments_follow() {
        let bytes = bytes();
        let mut from = Decoder::new(&bytes);
        assert_eq!(Message::decode(&mut from).unwrap(), Message::Call(call()));
        assert_eq!(from.u32(), Ok(99));
    }

    #[test]
    fn every_cut_of_a_call_is_refused() {
        let bytes = bytes();
        for len in 0..bytes.len() - 4 {
            assert!(
                Message::decode(&mut Decoder::new(&bytes[..len])).is_err(),
                "{len}"
            );
        }
    }

    #[test]
    fn a_bad_credential_leaves_the_call_readable() {
        let mut bytes = bytes();
        // The count of groups.
        let at = 4 * 6 + 8 + 4 + 8 + 8;
        bytes[at..at + 4].copy_from_slice(&17u32.to_be_bytes());
        let Ok(Message::Call(read)) = Message::decode(&mut Decoder::new(&bytes)) else {
            panic!("not a call");
        };
        assert!(read.auth.is_err());
    }
}
