//! TREE_DISCONNECT (MS-SMB2 3.3.5.8).

use crate::server::answer::{Body, Step};
use crate::server::request::Request;
use crate::server::session::close_all;
use crate::wire::simple::Empty;

pub(crate) fn run(request: Request) -> Step {
    if let Err(error) = request.decode::<Empty>() {
        return Step::Answer(Err(error.into()));
    }
    Step::Later(Box::pin(async move {
        let (session, tree) = (request.session()?, request.tree()?);
        session.remove_tree(tree.id);
        close_all(&request.conn.server, session.drain_opens_of(tree)).await;
        Ok(Body::Empty)
    }))
}
