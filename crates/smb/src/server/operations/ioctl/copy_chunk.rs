//! Server-side copy: FSCTL_SRV_REQUEST_RESUME_KEY, FSCTL_SRV_COPYCHUNK and FSCTL_SRV_COPYCHUNK_WRITE (MS-SMB2
//! 3.3.5.15.5, 3.3.5.15.6).

use std::sync::Arc;

use strongroom_vfs::{AccessMask, Handle};

use super::{OFFSET_MAX, Output, room};
use crate::server::open::{Open, Target};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::fscc::fsctl::{
    CopyChunk, CopyChunkRequest, CopyChunkResponse, RESUME_KEY_LEN, ResumeKey,
};
use crate::wire::ioctl::{FsctlCode, IoctlRequest};
use crate::wire::{Codec, FileId, NtStatus, Put, Reader};

/// ServerSideCopyMaxNumberofChunks, ServerSideCopyMaxChunkSize, ServerSideCopyMaxDataSize (MS-SMB2 3.3.1.5), at what
/// Windows has them.
const LIMITS: CopyChunkResponse = CopyChunkResponse {
    chunks: 256,
    chunk_bytes: 1 << 20,
    total_bytes: 16 << 20,
};
/// Bytes of the answer with a resume key, its empty context included.
const RESUME_KEY_RESPONSE: usize = 32;
/// Bytes of SRV_COPYCHUNK_RESPONSE.
const COPY_RESPONSE: usize = 12;

/// Names an open. It is worth nothing in another session, so it needs no secret.
pub(super) fn request_resume_key(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    file_of(&open)?;
    if room(wanted) < RESUME_KEY_RESPONSE {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let key = key_of(open.id);
    Ok((NtStatus::SUCCESS, ResumeKey { key }.to_vec()))
}

fn key_of(id: FileId) -> [u8; RESUME_KEY_LEN] {
    let mut bytes = Vec::with_capacity(RESUME_KEY_LEN);
    bytes.put_u64(id.persistent);
    bytes.put_u64(id.volatile);
    bytes.put_zeros(8);
    bytes.try_into().unwrap_or_default()
}

/// The open of this session that a key names, through whichever tree connect.
fn source_of(request: &Request, key: &[u8; RESUME_KEY_LEN]) -> Result<Arc<Open>, Failure> {
    let mut reader = Reader::new(key);
    let id = FileId {
        persistent: reader.u64()?,
        volatile: reader.u64()?,
    };
    let open = request.session()?.open(id);
    open.filter(|open| key_of(open.id) == *key)
        .ok_or_else(|| NtStatus::OBJECT_NAME_NOT_FOUND.into())
}

pub(super) async fn copy_chunk(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    if room(wanted) < COPY_RESPONSE {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let target = request.open(wanted.file_id)?;
    let target = &file_of(&target)?.handle;
    let Some(asked) = parse(wanted.input)? else {
        return Ok((NtStatus::INVALID_PARAMETER, LIMITS.to_vec()));
    };
    let source = source_of(request, &asked.source_key)?;
    let Target::File(source) = &source.target else {
        return Err(NtStatus::INVALID_DEVICE_REQUEST.into());
    };
    check_access(&source.handle, target, wanted.code)?;
    if asked.chunks.is_empty() && request.session()?.is_apple() {
        return copy_file(request, &source.handle, target).await;
    }
    let (done, failure) = copy_all(request, &source.handle, target, &asked.chunks).await;
    // A failure, too, tells how far the copy came, as Windows and Samba do.
    let status = failure.map_or(NtStatus::SUCCESS, |failure| failure.status);
    Ok((status, done.to_vec()))
}

/// None where the client goes past a limit: it is told them and may try again.
fn parse(input: &[u8]) -> Result<Option<CopyChunkRequest>, Failure> {
    let mut header = Reader::new(input);
    header.skip(RESUME_KEY_LEN)?;
    // Asked before the chunks are looked at, which need not even be there.
    if header.u32()? > LIMITS.chunks {
        return Ok(None);
    }
    let asked = CopyChunkRequest::decode(input)?;
    let fits = |chunk: &CopyChunk| chunk.length > 0 && chunk.length <= LIMITS.chunk_bytes;
    let total: u64 = asked
        .chunks
        .iter()
        .map(|chunk| u64::from(chunk.length))
        .sum();
    let within = asked.chunks.iter().all(fits) && total <= u64::from(LIMITS.total_bytes);
    Ok(within.then_some(asked))
}

/// COPYCHUNK wants the target readable as well, so that nobody learns by it what he may not read.
fn check_access(source: &Handle, target: &Handle, code: FsctlCode) -> Result<(), Failure> {
    let reads = AccessMask::READ_DATA.union(AccessMask::EXECUTE);
    let writes = AccessMask::WRITE_DATA.union(AccessMask::APPEND_DATA);
    let target_read =
        code == FsctlCode::SrvCopyChunkWrite || target.granted().contains(AccessMask::READ_DATA);
    if source.granted().intersects(reads) && target.granted().intersects(writes) && target_read {
        Ok(())
    } else {
        Err(NtStatus::ACCESS_DENIED.into())
    }
}

/// Copies chunk by chunk; what came before a failure stays, and is counted.
async fn copy_all(
    request: &Request,
    source: &Handle,
    target: &Handle,
    chunks: &[CopyChunk],
) -> (CopyChunkResponse, Option<Failure>) {
    let mut done = CopyChunkResponse::default();
    for chunk in chunks {
        if let Err(failure) = copy_one(request, source, target, chunk).await {
            return (done, Some(failure));
        }
        done.chunks += 1;
        done.total_bytes += chunk.length;
    }
    (done, None)
}

/// No chunks at all: to macOS, all of the file (`kAAPL_SUPPORTS_OSX_COPYFILE`).
async fn copy_file(request: &Request, source: &Handle, target: &Handle) -> Output {
    let copied = request.conn.server.vfs.copy_file(source, target).await?;
    let done = CopyChunkResponse {
        // The field is too narrow for long files; the client looks at the status.
        total_bytes: u32::try_from(copied).unwrap_or(u32::MAX),
        ..CopyChunkResponse::default()
    };
    Ok((NtStatus::SUCCESS, done.to_vec()))
}

async fn copy_one(
    request: &Request,
    source: &Handle,
    target: &Handle,
    chunk: &CopyChunk,
) -> Result<(), Failure> {
    let vfs = &request.conn.server.vfs;
    let len = u64::from(chunk.length);
    let end = |start: u64| start.checked_add(len).filter(|end| *end <= OFFSET_MAX);
    let (Some(source_end), Some(_)) = (end(chunk.source), end(chunk.target)) else {
        return Err(NtStatus::INVALID_PARAMETER.into());
    };
    if source_end > vfs.stat(source)?.size {
        return Err(NtStatus::INVALID_VIEW_SIZE.into());
    }
    vfs.copy_range(source, chunk.source, target, chunk.target, len)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(count: u32, lengths: &[u32]) -> Vec<u8> {
        let chunks = lengths.iter().map(|length| CopyChunk {
            length: *length,
            ..CopyChunk::default()
        });
        let request = CopyChunkRequest {
            source_key: [0; RESUME_KEY_LEN],
            chunks: chunks.collect(),
        };
        let mut bytes = request.to_vec();
        bytes[24..28].copy_from_slice(&count.to_le_bytes());
        bytes
    }

    #[test]
    fn past_a_limit_the_limits_are_the_answer() {
        assert!(parse(&asked(257, &[])).unwrap().is_none());
        assert!(parse(&asked(u32::MAX, &[])).unwrap().is_none());
        assert!(parse(&asked(1, &[0])).unwrap().is_none());
        assert!(parse(&asked(1, &[(1 << 20) + 1])).unwrap().is_none());
        assert!(parse(&asked(17, &[1 << 20; 17])).unwrap().is_none());
        assert!(parse(&asked(16, &[1 << 20; 16])).unwrap().is_some());
    }

    #[test]
    fn a_request_that_is_cut_short_is_refused() {
        let whole = asked(2, &[5, 6]);
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_err(), "{len} bytes");
        }
    }
}
