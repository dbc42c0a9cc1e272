//! Quotas of users by QUERY_INFO and SET_INFO (MS-SMB2 3.3.5.20.4, 3.3.5.21.4; MS-FSA 2.1.5.21, 2.1.5.25).
//!
//! They are the pool's, not one share's: what a user's files take is counted over all shares.

use strongroom_device::EnvExt;
use strongroom_vfs::{QuotaInfo, QuotaOf, Sid};

use crate::server::open::FileOpen;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::fscc::list::ListWriter;
use crate::wire::fscc::quota::{QueryQuotaInfo, QuotaEntry};
use crate::wire::{Codec, FileTime, NtStatus};

/// The file of NTFS by whose handle clients list quotas; here it stands for a share's root.
const FILE: &str = "$Extend\\$Quota:$Q:$INDEX_ALLOCATION";
/// No limit (MS-FSCC 2.4.41).
const UNLIMITED: u64 = u64::MAX;
/// Greater limits say that there is none, or that the entry is to go.
const LIMIT_MAX: u64 = i64::MAX.unsigned_abs();

/// Whether a path names the file of quotas.
pub(crate) fn is_file(path: &str) -> bool {
    path.trim_start_matches('\\').eq_ignore_ascii_case(FILE)
}

/// Appends the entries that were asked for, as far as the client has room. Who is no administrator sees his own.
pub(crate) fn query(
    request: &Request,
    file: &FileOpen,
    input: &[u8],
    room: usize,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    let wanted = QueryQuotaInfo::decode(input)?;
    let who = request.who()?;
    let mut known = request.conn.server.vfs.quotas();
    let mut listed = Vec::new();
    if wanted.sids.is_empty() {
        if !who.credentials.admin {
            return Err(NtStatus::ACCESS_DENIED.into());
        }
        let mut scan = file.quota_scan.lock();
        if wanted.restart_scan {
            *scan = None;
        }
        let start = sid_of(wanted.start_sid).ok();
        listed.extend(
            known
                .drain(..)
                .filter_map(|info| user_of(&info).map(|sid| (sid, info)))
                .filter(|(sid, _)| start.is_none_or(|start| *sid >= start))
                .filter(|(sid, _)| scan.is_none_or(|last| *sid > last)),
        );
    } else {
        for bytes in &wanted.sids {
            let sid = sid_of(bytes)?;
            if !who.credentials.admin && sid != who.credentials.user {
                return Err(NtStatus::ACCESS_DENIED.into());
            }
            let found = known.iter().find(|info| user_of(info) == Some(sid));
            listed.push((sid, found.copied().unwrap_or(unlimited(sid))));
        }
    }
    let mut list = ListWriter::new(out, room, 8);
    let mut last = None;
    for (sid, info) in &listed {
        let limit = info.limit.unwrap_or(UNLIMITED);
        let bytes = sid.to_bytes();
        let entry = QuotaEntry {
            changed: FileTime(0),
            used: info.used,
            threshold: limit,
            limit,
            sid: &bytes,
        };
        if !entry.push(&mut list) {
            break;
        }
        last = Some(*sid);
        if wanted.return_single {
            break;
        }
    }
    match last {
        None if listed.is_empty() => Err(NtStatus::NO_MORE_ENTRIES.into()),
        None => Err(NtStatus::BUFFER_TOO_SMALL.into()),
        Some(last) => {
            if wanted.sids.is_empty() {
                *file.quota_scan.lock() = Some(last);
            }
            Ok(NtStatus::SUCCESS)
        }
    }
}

/// Sets limits; administrators only. The first one makes the pool count, which looks at every file once.
pub(crate) async fn set(request: &Request, buffer: &[u8]) -> Result<(), Failure> {
    if !request.who()?.credentials.admin {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let mut limits = Vec::new();
    for entry in QuotaEntry::decode_list(buffer)? {
        let limit = (entry.limit <= LIMIT_MAX).then_some(entry.limit);
        limits.push((sid_of(entry.sid)?, limit));
    }
    let server = std::sync::Arc::clone(&request.conn.server);
    let env = std::sync::Arc::clone(&server.env);
    env.run_blocking(move || {
        limits
            .into_iter()
            .try_for_each(|(sid, limit)| server.vfs.set_quota(QuotaOf::User(sid), limit))
    })
    .await?;
    Ok(())
}

fn user_of(info: &QuotaInfo) -> Option<Sid> {
    match info.of {
        QuotaOf::User(sid) => Some(sid),
        QuotaOf::Tree(_) => None,
    }
}

fn unlimited(sid: Sid) -> QuotaInfo {
    QuotaInfo {
        of: QuotaOf::User(sid),
        limit: None,
        used: 0,
    }
}

fn sid_of(bytes: &[u8]) -> Result<Sid, Failure> {
    Sid::from_bytes(bytes).map_err(|_| NtStatus::INVALID_PARAMETER.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_quotas_is_known_in_any_case() {
        assert!(is_file("$extend\\$quota:$q:$index_allocation"));
        assert!(is_file("\\$Extend\\$Quota:$Q:$INDEX_ALLOCATION"));
        assert!(!is_file("$Extend\\$Quota"));
    }
}
