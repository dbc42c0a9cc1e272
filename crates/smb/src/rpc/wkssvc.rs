//! The workstation service (MS-WKST): the computer's name and its workgroup.

use super::handles::Handles;
use super::ndr::{NdrReader, NdrWriter};
use super::srvsvc::{INVALID_LEVEL, PLATFORM_NT, VERSION};
use super::{CallError, Interface, PipeContext};
use crate::wire::Guid;

pub(super) const INTERFACE: Interface = Interface {
    name: "wkssvc",
    id: Guid::from_fields(
        0x6BFF_D098,
        0xA112,
        0x3610,
        [0x98, 0x33, 0x46, 0xC3, 0xF8, 0x7E, 0x34, 0x5A],
    ),
    version: 1,
    call,
};

fn call(
    context: &dyn PipeContext,
    _: &mut Handles,
    opnum: u16,
    stub: &[u8],
) -> Result<Vec<u8>, CallError> {
    match opnum {
        0 => get_info(context, NdrReader::new(stub)),
        _ => Err(CallError::Opnum),
    }
}

/// NetrWkstaGetInfo (3.2.4.1), levels 100 to 102 (2.2.5.1 to 2.2.5.3).
fn get_info(context: &dyn PipeContext, mut r: NdrReader<'_>) -> Result<Vec<u8>, CallError> {
    r.unique_string()?;
    let level = r.u32()?;
    let mut w = NdrWriter::default();
    w.u32(level);
    if !matches!(level, 100..=102) {
        w.u32(0);
        return Ok(w.finish(INVALID_LEVEL));
    }
    w.pointer();
    w.u32(PLATFORM_NT);
    w.string_pointer(&context.server_name());
    w.string_pointer(&context.domain());
    w.u32(VERSION.0);
    w.u32(VERSION.1);
    if level >= 101 {
        w.string_pointer("");
    }
    if level == 102 {
        w.u32(0);
    }
    Ok(w.finish(0))
}
