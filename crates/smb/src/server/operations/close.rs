//! CLOSE (MS-SMB2 3.3.5.10).

use crate::server::answer::{Answer, Body, Step};
use crate::server::lasting;
use crate::server::open::Target;
use crate::server::request::Request;
use crate::wire::close::{CloseFlags, CloseRequest, CloseResponse};
use crate::wire::{FileTime, NtStatus};

pub(crate) fn run(request: Request) -> Step {
    match request.decode::<CloseRequest>() {
        Ok(wanted) => Step::Later(Box::pin(close(request, wanted))),
        Err(error) => Step::Answer(Err(error.into())),
    }
}

async fn close(request: Request, wanted: CloseRequest) -> Answer {
    let open = request.open(wanted.file_id)?;
    // Of two CLOSE requests one finds the open.
    request
        .session()?
        .remove_open(open.id)
        .ok_or(NtStatus::FILE_CLOSED)?;
    open.waits.close();
    let Target::File(file) = &open.target else {
        return Ok(Body::Close(CloseResponse::default()));
    };
    let vfs = &request.conn.server.vfs;
    if file.write_time.is_hiding()
        && let Err(error) = vfs.touch(&file.handle).await
    {
        tracing::debug!(%error, "a file's time of writing stays that of its last write");
    }
    let attributes = wanted.flags.contains(CloseFlags::POSTQUERY_ATTRIB);
    let stat = if attributes {
        vfs.stat(&file.handle).ok()
    } else {
        None
    };
    let closed = vfs.close(&file.handle).await;
    request.conn.server.forget_open(&open);
    closed?;
    lasting::settle_names(&request.conn.server, &open.tree).await?;
    Ok(Body::Close(stat.map_or_else(
        CloseResponse::default,
        |stat| CloseResponse {
            flags: CloseFlags::POSTQUERY_ATTRIB,
            created: FileTime(stat.created.0),
            accessed: FileTime(stat.accessed.0),
            written: FileTime(stat.modified.0),
            changed: FileTime(stat.changed.0),
            allocation_size: stat.allocated,
            end_of_file: stat.size,
            file_attributes: stat.attributes.0,
        },
    )))
}
