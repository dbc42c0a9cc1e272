//! The handlers, by what they are about. Each module has its rows of the table of endpoints.

mod accounts;
mod acts;
mod alarms;
mod events;
mod files;
mod history;
mod metrics;
mod own;
pub mod pool;
mod shares;
mod sign_in;
pub mod status;

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::{Extension, Router};

pub use status::index_document;

use crate::endpoint::{self, Endpoint};
use crate::{Caller, State};

pub use accounts::{Group, NewGroup};
pub use acts::{ActsPage, QueryOfActs};
pub use events::Pulse;
pub use files::{Done, Entry, FileQuery, Listing, Move, NewFolder, Received, Restore};
pub use own::{
    Me, NewPassword, NewToken, Password, SecondFactor, SecondFactorCode, TokenMade, TokenShown,
};
pub use sign_in::{Connected, SetUp, SignIn, SignedIn};
pub(crate) use sign_in::{Cookie, Peer};

/// Everything that the API does.
pub fn endpoints() -> Vec<Endpoint> {
    [
        status::endpoints(),
        pool::endpoints(),
        shares::endpoints(),
        accounts::endpoints(),
        own::endpoints(),
        sign_in::endpoints(),
        files::endpoints(),
        history::endpoints(),
        alarms::endpoints(),
        acts::endpoints(),
        events::endpoints(),
        metrics::endpoints(),
    ]
    .concat()
}

/// The API for a door that says who calls in the request's extensions.
pub(crate) fn router(state: &Arc<State>) -> Router {
    endpoint::router(endpoints())
        .with_state(Arc::clone(state))
        .layer(Extension(Arc::clone(state)))
}

/// The API for whoever may open the socket.
pub fn local_router(state: &Arc<State>) -> Router {
    let owner = async |mut request: Request, next: Next| {
        let extensions = request.extensions_mut();
        extensions.insert(Caller::owner());
        extensions.insert(Peer(Ipv4Addr::LOCALHOST.into()));
        extensions.insert(Cookie(None));
        next.run(request).await
    };
    router(state).layer(middleware::from_fn(owner))
}
