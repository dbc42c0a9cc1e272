//! The server service (MS-SRVS): shares, the server's own data, its clock.

use super::handles::Handles;
use super::ndr::{NdrReader, NdrWriter};
use super::{CallError, Interface, PipeContext, RpcShare, RpcShareKind};
use crate::wire::Guid;

pub(super) const INTERFACE: Interface = Interface {
    name: "srvsvc",
    id: Guid::from_fields(
        0x4B32_4FC8,
        0x1670,
        0x01D3,
        [0x12, 0x78, 0x5A, 0x47, 0xBF, 0x6E, 0xE1, 0x88],
    ),
    version: 3,
    call,
};

const SUCCESS: u32 = 0;
/// ERROR_INVALID_LEVEL
pub(super) const INVALID_LEVEL: u32 = 124;
/// NERR_NetNameNotFound
const SHARE_NOT_FOUND: u32 = 2310;

/// STYPE_IPC with STYPE_SPECIAL (MS-SRVS 2.2.2.4).
const TYPE_IPC: u32 = 0x8000_0003;
/// PLATFORM_ID_NT
pub(super) const PLATFORM_NT: u32 = 500;
/// SV_TYPE_WORKSTATION, SERVER, NT, SERVER_NT (MS-SRVS 2.2.2.7).
const SERVER_TYPE: u32 = 0x0000_9003;
/// The version that Windows 10 and Server 2016 and later name.
pub(super) const VERSION: (u32, u32) = (10, 0);

fn call(
    context: &dyn PipeContext,
    _: &mut Handles,
    opnum: u16,
    stub: &[u8],
) -> Result<Vec<u8>, CallError> {
    let r = NdrReader::new(stub);
    match opnum {
        15 | 36 => share_enum(context, r),
        16 => share_get_info(context, r),
        21 => server_get_info(context, r),
        28 => remote_tod(context, r),
        _ => Err(CallError::Opnum),
    }
}

/// The levels of share information that are served.
fn known_level(level: u32) -> bool {
    matches!(level, 0 | 1 | 2 | 501 | 502)
}

/// NetrShareEnum and NetrShareEnumSticky (3.1.4.8, 3.1.4.9): always all shares at once.
fn share_enum(context: &dyn PipeContext, mut r: NdrReader<'_>) -> Result<Vec<u8>, CallError> {
    r.unique_string()?;
    let (level, switch) = (r.u32()?, r.u32()?);
    if level != switch {
        return Err(CallError::Stub);
    }
    if r.u32()? != 0 {
        r.u32()?;
        // A client that sends entries along would have to be read by level; none does.
        if r.u32()? != 0 {
            return Err(CallError::Stub);
        }
    }
    r.u32()?;
    let resume = r.unique_u32()?;
    Ok(share_enum_response(context, level, resume))
}

fn share_enum_response(context: &dyn PipeContext, level: u32, resume: Option<u32>) -> Vec<u8> {
    let mut w = NdrWriter::default();
    w.u32(level);
    w.u32(level);
    let shares = if known_level(level) {
        context.shares()
    } else {
        Vec::new()
    };
    let count = u32::try_from(shares.len()).unwrap_or(u32::MAX);
    if known_level(level) {
        w.pointer();
        w.u32(count);
        w.pointer();
        w.u32(count);
        shares
            .iter()
            .for_each(|share| put_share(&mut w, level, share));
        w.flush();
    } else {
        w.u32(0);
    }
    w.u32(count);
    put_resume(&mut w, resume);
    w.finish(if known_level(level) {
        SUCCESS
    } else {
        INVALID_LEVEL
    })
}

/// The resume handle goes back as zero: there is nothing more.
fn put_resume(w: &mut NdrWriter, resume: Option<u32>) {
    match resume {
        Some(_) => {
            w.pointer();
            w.u32(0);
        }
        None => w.u32(0),
    }
}

/// SHARE_INFO_0, 1, 2, 501 and 502 (2.2.4.22 to 2.2.4.26), strings deferred.
fn put_share(w: &mut NdrWriter, level: u32, share: &RpcShare) {
    w.string_pointer(&share.name);
    if level == 0 {
        return;
    }
    w.u32(match share.kind {
        RpcShareKind::Disk => 0,
        RpcShareKind::Ipc => TYPE_IPC,
    });
    w.string_pointer(&share.comment);
    match level {
        501 => w.u32(0),
        2 => put_share_limits(w, share),
        502 => {
            put_share_limits(w, share);
            // No security descriptor: length zero, a null pointer.
            w.u32(0);
            w.u32(0);
        }
        _ => {}
    }
}

/// Permissions, no limit of uses, no uses counted, the path, no password.
fn put_share_limits(w: &mut NdrWriter, share: &RpcShare) {
    w.u32(0);
    w.u32(u32::MAX);
    w.u32(0);
    w.string_pointer(&share.path);
    w.u32(0);
}

/// NetrShareGetInfo (3.1.4.10).
fn share_get_info(context: &dyn PipeContext, mut r: NdrReader<'_>) -> Result<Vec<u8>, CallError> {
    r.unique_string()?;
    let name = r.string()?.to_lowercase();
    let level = r.u32()?;
    let shares = context.shares();
    let share = shares
        .iter()
        .find(|share| share.name.to_lowercase() == name);
    let mut w = NdrWriter::default();
    w.u32(level);
    let result = match share {
        Some(share) if known_level(level) => {
            w.pointer();
            put_share(&mut w, level, share);
            SUCCESS
        }
        found => {
            w.u32(0);
            if found.is_some() {
                INVALID_LEVEL
            } else {
                SHARE_NOT_FOUND
            }
        }
    };
    Ok(w.finish(result))
}

/// NetrServerGetInfo (3.1.4.17).
fn server_get_info(context: &dyn PipeContext, mut r: NdrReader<'_>) -> Result<Vec<u8>, CallError> {
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
    if level >= 101 {
        w.u32(VERSION.0);
        w.u32(VERSION.1);
        w.u32(SERVER_TYPE);
        w.string_pointer(&context.comment());
    }
    if level == 102 {
        put_server_limits(&mut w);
    }
    Ok(w.finish(SUCCESS))
}

/// Users, disconnect time, hidden, announce, its delta, licences, and the users' path (2.2.4.42).
fn put_server_limits(w: &mut NdrWriter) {
    for value in [u32::MAX, 15, 0, 240, 3000, 0] {
        w.u32(value);
    }
    w.string_pointer("C:\\");
}

/// NetrRemoteTOD (3.1.4.21), in UTC.
fn remote_tod(context: &dyn PipeContext, mut r: NdrReader<'_>) -> Result<Vec<u8>, CallError> {
    r.unique_string()?;
    let now = context.unix_time();
    let seconds = now.rem_euclid(86_400);
    let days = now.div_euclid(86_400);
    let (year, month, day) = civil_date(days);
    let field = |value: i64| u32::try_from(value).unwrap_or(0);
    let mut w = NdrWriter::default();
    w.pointer();
    w.u32(field(now));
    w.u32(0);
    w.u32(field(seconds / 3600));
    w.u32(field(seconds % 3600 / 60));
    w.u32(field(seconds % 60));
    w.u32(0);
    w.u32(0);
    w.u32(310);
    w.u32(field(day));
    w.u32(field(month));
    w.u32(field(year));
    // 1 January 1970 was a Thursday, the fourth day after Sunday.
    w.u32(field(days.saturating_add(4).rem_euclid(7)));
    Ok(w.finish(SUCCESS))
}

/// Year, month and day of a number of days since 1 January 1970, in the Gregorian calendar.
///
/// Years are counted from March on, so that the leap day is a year's last, in eras of 400 years.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let leaps = (day_of_era / 1460)
        .saturating_sub(day_of_era / 36_524)
        .saturating_add(day_of_era / 146_096);
    let year_of_era = day_of_era.saturating_sub(leaps) / 365;
    let before = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era / 4)
        .saturating_sub(year_of_era / 100);
    let day_of_year = day_of_era.saturating_sub(before);
    let month_from_march = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let month_start = month_from_march.saturating_mul(153).saturating_add(2) / 5;
    let day = day_of_year.saturating_sub(month_start).saturating_add(1);
    let (month, carry) = if month_from_march < 10 {
        (month_from_march.saturating_add(3), 0)
    } else {
        (month_from_march.saturating_sub(9), 1)
    };
    let year = era
        .saturating_mul(400)
        .saturating_add(year_of_era)
        .saturating_add(carry);
    (year, month, day)
}
