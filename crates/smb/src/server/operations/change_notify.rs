//! CHANGE_NOTIFY (MS-SMB2 3.3.5.19, FILE_NOTIFY_INFORMATION of MS-FSCC 2.7.1).

use std::sync::Arc;

use strongroom_vfs::{AccessMask, WatchAction, WatchEvent, WatchFilter, WatchOutcome};

use super::negotiate::payload_max;
use crate::server::answer::{Answer, Body, Step};
use crate::server::open::{Notices, Open};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::server::waiting::{Ended, OpenWait};
use crate::wire::NtStatus;
use crate::wire::fscc::list::ListWriter;
use crate::wire::fscc::notify::{NotifyAction, NotifyEntry};
use crate::wire::notify::{ChangeNotifyRequest, NotifyFlags};

pub(crate) fn run(request: Request) -> Step {
    notify(request).unwrap_or_else(Step::from)
}

fn notify(request: Request) -> Result<Step, Failure> {
    let wanted: ChangeNotifyRequest = request.decode()?;
    request.check_charge(0, wanted.output_buffer_length)?;
    let open = request.open(wanted.file_id)?;
    let notices = watch(&request, &open, &wanted)?;
    let waiter = request.conn.waiters.enter(request.header.message_id.0);
    let waiter = waiter.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let wait = OpenWait::enter(open, Arc::clone(&waiter));
    let room = usize::try_from(wanted.output_buffer_length).unwrap_or(0);
    let work = next_change(wait, notices, room);
    Ok(Step::Wait(waiter, Box::pin(work)))
}

/// The open's watch. The first request on an open fixes what is watched.
fn watch(
    request: &Request,
    open: &Open,
    wanted: &ChangeNotifyRequest,
) -> Result<Arc<Notices>, Failure> {
    let file = file_of(open).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let configured = request.conn.server.config.max_transact_size;
    let max = request
        .conn
        .negotiated
        .get()
        .map_or(0, |one| payload_max(one, configured));
    if !file.handle.is_directory() || wanted.output_buffer_length > max {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    if !file.handle.granted().contains(AccessMask::LIST_DIRECTORY) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let mut slot = file.notices.lock();
    if let Some(notices) = &*slot {
        return Ok(Arc::clone(notices));
    }
    let recursive = wanted.flags.contains(NotifyFlags::WATCH_TREE);
    let filter = WatchFilter(wanted.filter.bits());
    let room = usize::try_from(wanted.output_buffer_length).unwrap_or(0);
    let watch = request.conn.server.vfs.watch(
        &file.handle,
        filter,
        recursive,
        room,
        request.session()?.notices(),
    )?;
    let notices = Arc::new(Notices::new(watch));
    Ok(Arc::clone(slot.insert(notices)))
}

async fn next_change(wait: OpenWait, notices: Arc<Notices>, room: usize) -> Answer {
    // Requests on one open are answered in their order.
    let next = async { notices.lock().await.next().await };
    match wait.waiter.until(next).await {
        Ok(WatchOutcome::Events(events)) => Ok(encode(events, room)),
        Ok(WatchOutcome::Overflow) => Ok(Body::Buffer(NtStatus::NOTIFY_ENUM_DIR, Vec::new())),
        Ok(WatchOutcome::Deleted) => Err(NtStatus::DELETE_PENDING.into()),
        Ok(WatchOutcome::Closed) | Err(Ended::Closed) => {
            Ok(Body::Buffer(NtStatus::NOTIFY_CLEANUP, Vec::new()))
        }
        Err(Ended::Cancelled) => Err(NtStatus::CANCELLED.into()),
    }
}

/// All events, or word that there are more than fit.
fn encode(events: Vec<WatchEvent>, room: usize) -> Body {
    let mut out = Vec::new();
    let mut list = ListWriter::new(&mut out, room, 4);
    for event in events {
        let entry = NotifyEntry {
            action: action(event.action),
            name: event.path,
        };
        if !entry.push(&mut list) {
            return Body::Buffer(NtStatus::NOTIFY_ENUM_DIR, Vec::new());
        }
    }
    Body::Buffer(NtStatus::SUCCESS, out)
}

fn action(action: WatchAction) -> NotifyAction {
    match action {
        WatchAction::Added => NotifyAction::Added,
        WatchAction::Removed => NotifyAction::Removed,
        WatchAction::Modified => NotifyAction::Modified,
        WatchAction::RenamedOld => NotifyAction::RenamedOldName,
        WatchAction::RenamedNew => NotifyAction::RenamedNewName,
        WatchAction::AddedStream => NotifyAction::AddedStream,
        WatchAction::RemovedStream => NotifyAction::RemovedStream,
        WatchAction::ModifiedStream => NotifyAction::ModifiedStream,
    }
}
