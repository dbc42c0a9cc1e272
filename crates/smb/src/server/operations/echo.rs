//! ECHO (MS-SMB2 3.3.5.17).

use crate::server::answer::{Body, Step};
use crate::server::request::Request;
use crate::wire::simple::Empty;

pub(crate) fn run(request: &Request) -> Step {
    Step::Answer(
        request
            .decode::<Empty>()
            .map(|_| Body::Empty)
            .map_err(Into::into),
    )
}
