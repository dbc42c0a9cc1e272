//! Who a call says that it is from (RFC 5531, 8).

use crate::xdr::{Decoder, Encoder, List, Opaque, Result, Xdr, XdrError};

const NONE: u32 = 0;
const SYS: u32 = 1;
/// The longest credential or verifier (RFC 5531, 8.2).
pub(crate) const BODY_MAX: usize = 400;
const MACHINE_NAME_MAX: usize = 255;
const GROUPS_MAX: usize = 16;

xdr_struct! {
    /// Numbers that the client's machine vouches for (RFC 5531, appendix A).
    pub struct AuthSys<'a> {
        pub stamp: u32,
        pub machine: Opaque<'a, MACHINE_NAME_MAX>,
        pub user: u32,
        pub group: u32,
        pub groups: List<u32, GROUPS_MAX>,
    }
}

/// A credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth<'a> {
    None,
    Sys(AuthSys<'a>),
    /// One that is not known here.
    Other {
        flavor: u32,
        body: &'a [u8],
    },
}

impl<'a> Xdr<'a> for Auth<'a> {
    fn decode(from: &mut Decoder<'a>) -> Result<Self> {
        let flavor = from.u32()?;
        let body = from.opaque(BODY_MAX, "a credential")?;
        match flavor {
            NONE => Ok(Self::None),
            SYS => {
                let mut body = Decoder::new(body);
                let sys = AuthSys::decode(&mut body)?;
                if body.is_empty() {
                    Ok(Self::Sys(sys))
                } else {
                    Err(XdrError::Invalid("a credential is longer than its content"))
                }
            }
            flavor => Ok(Self::Other { flavor, body }),
        }
    }

    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::None => to.u32(NONE).u32(0),
            Self::Sys(sys) => to.u32(SYS).opaque(&sys.to_xdr()),
            Self::Other { flavor, body } => to.u32(*flavor).opaque(body),
        };
    }
}
