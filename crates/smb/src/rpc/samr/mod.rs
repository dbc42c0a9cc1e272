//! The account manager (MS-SAMR), read only: which users and groups there are, for those who pick one from a list.

mod account;
mod domain;
mod server;
#[cfg(test)]
mod tests;

use super::handles::Handles;
use super::lsarpc::close;
use super::ndr::NdrReader;
use super::{CallError, Interface, PipeContext};
use crate::wire::Guid;

pub(super) const INTERFACE: Interface = Interface {
    name: "samr",
    id: Guid::from_fields(
        0x1234_5778,
        0x1234,
        0xABCD,
        [0xEF, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAC],
    ),
    version: 1,
    call,
};

fn call(
    context: &dyn PipeContext,
    handles: &mut Handles,
    opnum: u16,
    stub: &[u8],
) -> Result<Vec<u8>, CallError> {
    let r = NdrReader::new(stub);
    match opnum {
        0 => server::connect(context, handles, r, server::Connect::OneUnit),
        1 => close(handles, r),
        5 => server::look_up(context, handles, r),
        6 => server::enumerate(context, handles, r),
        7 => server::open_domain(context, handles, r),
        8 | 46 => domain::query(context, handles, r),
        11 => domain::enumerate(context, handles, r, domain::Kind::Groups),
        13 => domain::enumerate(context, handles, r, domain::Kind::Users),
        15 => domain::enumerate(context, handles, r, domain::Kind::Aliases),
        16 => domain::memberships(context, handles, r),
        17 => domain::names(context, handles, r),
        18 => domain::rids(context, handles, r),
        27 => account::open_alias(context, handles, r),
        33 => account::members(context, handles, r),
        34 => account::open_user(context, handles, r),
        36 | 47 => account::query(context, handles, r),
        39 => account::groups(context, handles, r),
        57 => server::connect(context, handles, r, server::Connect::String),
        62 => server::connect(context, handles, r, server::Connect::Revision),
        64 => server::connect(context, handles, r, server::Connect::Negotiated),
        _ => Err(CallError::Opnum),
    }
}
