//! The console: pages for people, made on the server from what the API's handlers answer. Every page works without script;
//! scripts add what a page alone cannot: figures that move, uploads that go on, a slider.

mod account;
mod activity;
mod acts;
mod alerts;
mod assets;
mod call;
mod disks;
mod fields;
mod files;
mod history;
mod overview;
mod page;
mod people;
mod shares;
mod sign;
mod visitor;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Extension, Router};

use crate::State;
use call::Api;

/// The pages. The layers around say who visits.
pub(crate) fn router(api: &Router, state: &Arc<State>) -> Router {
    let api = Api::new(api.clone());
    Router::new()
        .route("/", get(overview::page))
        .route("/sign-in", get(sign::page).post(sign::submit))
        .route("/sign-out", post(sign::out))
        .route("/setup", get(sign::setup_page).post(sign::setup_submit))
        .route("/files", get(files::page))
        .route(
            "/files/upload",
            post(files::upload).layer(DefaultBodyLimit::disable()),
        )
        .route("/history", get(history::page))
        .route("/history/undo", get(history::undo_page))
        .route("/history/rewind", get(history::rewind_page))
        .route("/shares", get(shares::page))
        .route("/people", get(people::page))
        .route("/disks", get(disks::page))
        .route("/alerts", get(alerts::page))
        .route("/activity", get(activity::page))
        .route("/account", get(account::page))
        .route("/account/second-factor", post(account::second_factor))
        .route("/account/token", post(account::token))
        .route("/act/{name}", post(acts::submit))
        .route("/assets/{name}", get(assets::serve))
        .layer(Extension(api))
        .with_state(Arc::clone(state))
}
