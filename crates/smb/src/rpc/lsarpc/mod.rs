//! The local security authority (MS-LSAD, MS-LSAT): names of SIDs and SIDs of names, as security tabs show them.

mod lookup;
mod policy;
#[cfg(test)]
mod tests;

use super::handles::Handles;
use super::ndr::NdrReader;
use super::{CallError, Interface, PipeContext};
use crate::wire::Guid;

pub(super) use policy::{close, opened};

pub(super) const INTERFACE: Interface = Interface {
    name: "lsarpc",
    id: Guid::from_fields(
        0x1234_5778,
        0x1234,
        0xABCD,
        [0xEF, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB],
    ),
    version: 0,
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
        0 => policy::close(handles, r),
        6 => policy::open(context, handles, r, policy::SystemName::OneUnit),
        7 | 46 => policy::query(context, handles, r),
        14 => lookup::names(context, handles, r, lookup::Form::Short),
        15 => lookup::sids(context, handles, r, lookup::Form::Short),
        44 => policy::open(context, handles, r, policy::SystemName::String),
        45 => policy::user_name(context, r),
        57 => lookup::sids(context, handles, r, lookup::Form::Extended),
        58 => lookup::names(context, handles, r, lookup::Form::Extended),
        68 => lookup::names(context, handles, r, lookup::Form::WholeSids),
        _ => Err(CallError::Opnum),
    }
}
