//! What goes on now, as server-sent events: figures and long work every two seconds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Extracted;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{pool, status};
use crate::endpoint::{Access, Endpoint};
use crate::{State, types};

const BEAT: Duration = Duration::from_secs(2);
/// A client that stays longer connects again, and is asked again who it is.
const BEATS_MAX: u32 = 900;

/// The server now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Pulse {
    pub time_s: u64,
    pub connections: usize,
    pub sessions: usize,
    pub opens: usize,
    /// Requests since the server started, over all protocols.
    pub requests: u64,
    /// Bytes received and sent over all protocols since the server started.
    pub received: u64,
    pub sent: u64,
    pub alarms: usize,
    /// Scrubs and the like that run, and those that ended last.
    pub jobs: Vec<types::Job>,
    /// Rewinds, undos and clones that run.
    pub works: Vec<types::Work>,
    pub upkeep: types::Upkeep,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/pulse",
            "get_pulse",
            "Figures and long work now",
            Access::WATCHERS,
            now,
        )
        .gives::<Pulse>(),
        Endpoint::get(
            "/events",
            "get_events",
            "The same every two seconds, as server-sent events",
            Access::WATCHERS,
            events,
        )
        .gives_bytes("text/event-stream"),
    ]
}

pub(crate) fn pulse(state: &State) -> Pulse {
    let smb = state.smb.status();
    let nfs = state.nfs.as_ref().map(|(server, _)| server.status());
    let alarms = state.vfs.alarms().unwrap_or_default();
    Pulse {
        time_s: state.now_s(),
        connections: smb.connections + nfs.as_ref().map_or(0, |nfs| nfs.connections),
        sessions: smb.sessions,
        opens: smb.opens,
        requests: smb.requests_ever + nfs.map_or(0, |nfs| nfs.requests),
        received: smb.received,
        sent: smb.sent,
        alarms: alarms
            .iter()
            .filter(|alarm| alarm.cleared.is_none())
            .count(),
        jobs: pool::jobs(&state.store, |_| true),
        works: state
            .vfs
            .works()
            .into_iter()
            .map(status::work_document)
            .collect(),
        upkeep: pool::upkeep_document(state.pool.upkeep_status()),
    }
}

async fn now(Extracted(state): Extracted<Arc<State>>) -> axum::Json<Pulse> {
    axum::Json(pulse(&state))
}

async fn events(
    Extracted(state): Extracted<Arc<State>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let beats = stream::unfold((state, 0), |(state, beat)| async move {
        if beat == BEATS_MAX {
            return None;
        }
        if beat > 0 {
            tokio::time::sleep(BEAT).await;
        }
        let text = serde_json::to_string(&pulse(&state)).unwrap_or_default();
        let event = Event::default().event("pulse").data(text);
        Some((Ok(event), (state, beat + 1)))
    });
    Sse::new(beats).keep_alive(KeepAlive::default())
}
