//! LOGOFF (MS-SMB2 3.3.5.6).

use crate::server::answer::{Body, Step};
use crate::server::request::Request;
use crate::wire::simple::Empty;

pub(crate) fn run(request: Request) -> Step {
    if let Err(error) = request.decode::<Empty>() {
        return Step::Answer(Err(error.into()));
    }
    Step::Later(Box::pin(async move {
        request.session()?.end(&request.conn.server).await;
        Ok(Body::Empty)
    }))
}
