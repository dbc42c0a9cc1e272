//! FileFullEaInformation (MS-FSA 2.1.5.12.11).

use strongroom_vfs::ExtendedAttribute;

use super::room;
use crate::server::open::FileOpen;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::NtStatus;
use crate::wire::fscc::ea::{FullEa, decode_get_ea_list};
use crate::wire::fscc::list::ListWriter;
use crate::wire::info::{QueryInfoFlags, QueryInfoRequest};

pub(super) fn query(
    request: &Request,
    file: &FileOpen,
    wanted: &QueryInfoRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    let all = request.conn.server.vfs.eas(&file.handle)?;
    let chosen = choose(&all, wanted)?;
    if chosen.is_empty() {
        return Err(NtStatus::NO_EAS_ON_FILE.into());
    }
    let single = wanted.flags.contains(QueryInfoFlags::RETURN_SINGLE_ENTRY);
    let mut list = ListWriter::new(out, room(wanted), 4);
    for ea in chosen.iter().take(if single { 1 } else { usize::MAX }) {
        if !ea.push(&mut list) {
            let empty = list.is_empty();
            let status = if empty {
                NtStatus::BUFFER_TOO_SMALL
            } else {
                NtStatus::BUFFER_OVERFLOW
            };
            return if empty {
                Err(status.into())
            } else {
                Ok(status)
            };
        }
    }
    Ok(NtStatus::SUCCESS)
}

/// The attributes asked for by name (an absent one is shown empty), from an index on, or all.
fn choose<'a>(
    all: &'a [ExtendedAttribute],
    wanted: &'a QueryInfoRequest<'_>,
) -> Result<Vec<FullEa<'a>>, Failure> {
    if !wanted.input.is_empty() {
        let names = decode_get_ea_list(wanted.input);
        let names = names.map_err(|_| NtStatus::EA_LIST_INCONSISTENT)?;
        return Ok(names.into_iter().map(|name| named(all, name)).collect());
    }
    let first = if wanted.flags.contains(QueryInfoFlags::INDEX_SPECIFIED) {
        usize::try_from(wanted.additional_information).unwrap_or(usize::MAX)
    } else {
        1
    };
    let rest = all.get(first.saturating_sub(1)..);
    if first == 0 || (first > 1 && rest.is_none_or(<[_]>::is_empty)) {
        return Err(NtStatus::NONEXISTENT_EA_ENTRY.into());
    }
    Ok(rest.unwrap_or_default().iter().map(wire).collect())
}

fn named<'a>(all: &'a [ExtendedAttribute], name: &'a [u8]) -> FullEa<'a> {
    let same = |ea: &&ExtendedAttribute| ea.name.as_bytes().eq_ignore_ascii_case(name);
    all.iter().find(same).map_or(
        FullEa {
            flags: 0,
            name,
            value: &[],
        },
        wire,
    )
}

fn wire(ea: &ExtendedAttribute) -> FullEa<'_> {
    FullEa {
        flags: ea.flags,
        name: ea.name.as_bytes(),
        value: &ea.value,
    }
}
