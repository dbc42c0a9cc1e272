//! LOCK (MS-SMB2 3.3.5.14).
//!
//! Lock sequences are verified for durable opens.

use std::sync::Arc;

use strongroom_vfs::{LockOwner, LockRange, VfsError};

use crate::server::Server;
use crate::server::answer::{Answer, Body, Step};
use crate::server::lock_sequence::LockSequences;
use crate::server::open::Open;
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::server::waiting::{Ended, OpenWait};
use crate::wire::NtStatus;
use crate::wire::lock::{LockElement, LockFlags, LockRequest};

/// More in one request are refused.
const ELEMENTS_MAX: usize = 1024;
/// STATUS_INVALID_LOCK_RANGE (MS-ERREF).
const INVALID_LOCK_RANGE: NtStatus = NtStatus(0xC000_01A1);

pub(crate) fn run(request: Request) -> Step {
    lock_or_unlock(request).unwrap_or_else(Step::from)
}

fn lock_or_unlock(request: Request) -> Result<Step, Failure> {
    let wanted: LockRequest = request.decode()?;
    if wanted.locks.len() > ELEMENTS_MAX {
        return Err(NtStatus::INSUFFICIENT_RESOURCES.into());
    }
    let open = request.open(wanted.file_id)?;
    if file_of(&open)?.handle.is_directory() {
        return Err(NtStatus::INVALID_DEVICE_REQUEST.into());
    }
    let sequence = Sequence::of(&request, &open, &wanted);
    if sequence.as_ref().is_some_and(Sequence::is_replay) {
        return Ok(Step::Answer(Ok(Body::Empty)));
    }
    let first = wanted.locks.first().ok_or(NtStatus::INVALID_PARAMETER)?;
    if first.flags.contains(LockFlags::UNLOCK) {
        let server = Arc::clone(&request.conn.server);
        return match unlock(&request, &open, &wanted.locks) {
            Ok(()) => Ok(finish(server, open, sequence)),
            Err(failure) => {
                // What came before it is unlocked.
                server.vfs.keep_locks(&file_of(&open)?.handle, None)?;
                Err(failure)
            }
        };
    }
    lock(&request, open, &wanted.locks, sequence)
}

/// What names the request among those of an open that may lose a channel and go on by another (MS-SMB2 3.3.5.14).
#[derive(Debug)]
struct Sequence {
    of_open: LockSequences,
    index: u32,
    number: u8,
}

impl Sequence {
    fn of(request: &Request, open: &Open, wanted: &LockRequest) -> Option<Self> {
        let file = file_of(open).ok()?;
        let negotiated = request.conn.negotiated.get()?;
        if file.durable.is_none() && !negotiated.multichannel() {
            return None;
        }
        Some(Self {
            of_open: file.lock_sequences.clone(),
            index: wanted.sequence_index,
            number: wanted.sequence_number,
        })
    }

    fn is_replay(&self) -> bool {
        self.of_open.is_replay(self.index, self.number)
    }

    fn succeeded(&self) {
        self.of_open.succeeded(self.index, self.number);
    }
}

/// MS-SMB2 3.3.5.14.1. What was unlocked before an element that fails stays unlocked.
fn unlock(request: &Request, open: &Open, elements: &[LockElement]) -> Result<(), Failure> {
    let handle = &file_of(open)?.handle;
    for element in elements {
        if element.flags != LockFlags::UNLOCK {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        let owner = LockOwner::default();
        request
            .conn
            .server
            .vfs
            .unlock(handle, owner, element.offset, element.length)?;
    }
    Ok(())
}

/// MS-SMB2 3.3.5.14.2. Several locks are taken all or none, and must not wait.
fn lock(
    request: &Request,
    open: Arc<Open>,
    elements: &[LockElement],
    sequence: Option<Sequence>,
) -> Result<Step, Failure> {
    let ranges = elements
        .iter()
        .map(range_of)
        .collect::<Result<Vec<_>, _>>()?;
    let now = |element: &LockElement| element.flags.contains(LockFlags::FAIL_IMMEDIATELY);
    let waits = !elements.iter().all(now);
    if waits && elements.len() > 1 {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let handle = &file_of(&open)?.handle;
    match request
        .conn
        .server
        .vfs
        .lock(handle, LockOwner::default(), &ranges)
    {
        Ok(()) => Ok(finish(Arc::clone(&request.conn.server), open, sequence)),
        Err(VfsError::LockNotGranted) if waits => {
            let range = *ranges.first().ok_or(NtStatus::INVALID_PARAMETER)?;
            wait(request, open, range, sequence)
        }
        Err(error) => Err(error.into()),
    }
}

/// What was locked or unlocked is kept with a persistent open, before it is answered.
fn finish(server: Arc<Server>, open: Arc<Open>, sequence: Option<Sequence>) -> Step {
    sequence.iter().for_each(Sequence::succeeded);
    if !file_of(&open).is_ok_and(|file| file.handle.is_persistent()) {
        return Step::Answer(Ok(Body::Empty));
    }
    Step::Later(Box::pin(async move {
        keep(&server, &open, sequence).await?;
        Ok(Body::Empty)
    }))
}

async fn keep(server: &Server, open: &Open, sequence: Option<Sequence>) -> Result<(), Failure> {
    let mark = sequence.map(|sequence| (sequence.index, sequence.number));
    server.vfs.keep_locks(&file_of(open)?.handle, mark)?;
    Ok(server.vfs.sync_names().await?)
}

fn range_of(element: &LockElement) -> Result<LockRange, Failure> {
    let kind = element.flags.without(LockFlags::FAIL_IMMEDIATELY);
    let exclusive = match kind {
        LockFlags::EXCLUSIVE => true,
        LockFlags::SHARED => false,
        _ => return Err(NtStatus::INVALID_PARAMETER.into()),
    };
    if element.length > 0 && element.offset.checked_add(element.length - 1).is_none() {
        return Err(INVALID_LOCK_RANGE.into());
    }
    Ok(LockRange {
        offset: element.offset,
        len: element.length,
        exclusive,
    })
}

fn wait(
    request: &Request,
    open: Arc<Open>,
    range: LockRange,
    sequence: Option<Sequence>,
) -> Result<Step, Failure> {
    let waiter = request.conn.waiters.enter(request.header.message_id.0);
    let waiter = waiter.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let wait = OpenWait::enter(open, Arc::clone(&waiter));
    // The request itself is not taken along: it holds the buffer that it came in.
    let work = granted(Arc::clone(&request.conn.server), wait, range, sequence);
    Ok(Step::Wait(waiter, Box::pin(work)))
}

async fn granted(
    server: Arc<Server>,
    wait: OpenWait,
    range: LockRange,
    sequence: Option<Sequence>,
) -> Answer {
    let handle = &file_of(&wait.open)?.handle;
    let owner = LockOwner::default();
    let result = match server.vfs.lock_wait(handle, owner, range) {
        Ok(lock) => wait.waiter.until(lock).await,
        Err(error) => Ok(Err(error)),
    };
    match result {
        Ok(Ok(())) => {
            sequence.iter().for_each(Sequence::succeeded);
            if handle.is_persistent() {
                keep(&server, &wait.open, sequence).await?;
            }
            Ok(Body::Empty)
        }
        Err(Ended::Cancelled) => Err(NtStatus::CANCELLED.into()),
        Ok(Err(VfsError::Closed)) | Err(Ended::Closed) => Err(NtStatus::RANGE_NOT_LOCKED.into()),
        Ok(Err(error)) => Err(error.into()),
    }
}
