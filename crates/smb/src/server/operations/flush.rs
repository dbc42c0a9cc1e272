//! FLUSH (MS-SMB2 3.3.5.11).

use strongroom_vfs::AccessMask;

use crate::server::answer::{Answer, Body, Step};
use crate::server::open::Target;
use crate::server::request::Request;
use crate::wire::NtStatus;
use crate::wire::close::FlushRequest;

pub(crate) fn run(request: Request) -> Step {
    match request.decode::<FlushRequest>() {
        Ok(wanted) => Step::Later(Box::pin(flush(request, wanted))),
        Err(error) => Step::Answer(Err(error.into())),
    }
}

async fn flush(request: Request, wanted: FlushRequest) -> Answer {
    let open = request.open(wanted.file_id)?;
    let Target::File(file) = &open.target else {
        return Ok(Body::Empty);
    };
    let writing = AccessMask::WRITE_DATA.union(AccessMask::APPEND_DATA);
    if !file.handle.granted().intersects(writing) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    request.conn.server.vfs.flush(&file.handle).await?;
    file.write_time.settle();
    Ok(Body::Empty)
}
