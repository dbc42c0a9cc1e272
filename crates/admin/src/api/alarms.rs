//! The alarm: what was noticed, clearing it, and what it looks at.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use strongroom_vfs::{Alarm, AlarmAction, VfsError};

use super::history::{share_named, split, unix};
use crate::endpoint::{Access, Endpoint};
use crate::{Problem, State, types};

type Answer<T> = Result<T, Problem>;

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    vec![
        Endpoint::get(
            "/alarms",
            "list_alarms",
            "Who was noticed destroying files",
            A::WATCHERS,
            list,
        )
        .gives_list::<types::Alarm>(),
        Endpoint::post(
            "/alarms/{id}/clear",
            "clear_alarm",
            "Lets whoever it blocked change files again",
            A::OPERATORS,
            clear,
        ),
        Endpoint::get(
            "/alarms/permitted",
            "list_permitted",
            "Users who may encrypt files",
            A::WATCHERS,
            permitted,
        )
        .gives_list::<String>(),
        Endpoint::post(
            "/alarms/permitted",
            "set_permitted",
            "Gives or takes leave to encrypt files",
            A::ADMINISTRATORS,
            permit,
        )
        .takes::<types::Permission>(),
        Endpoint::post(
            "/alarms/decoys",
            "set_decoy",
            "Makes a file a decoy, or an ordinary one",
            A::ADMINISTRATORS,
            decoy,
        )
        .takes::<types::Decoy>(),
        Endpoint::get(
            "/shares/{share}/alarm",
            "get_alarm_action",
            "What an alarm does",
            A::WATCHERS,
            action,
        )
        .gives::<types::AlarmSetting>(),
        Endpoint::post(
            "/shares/{share}/alarm",
            "set_alarm_action",
            "Says what an alarm does",
            A::ADMINISTRATORS,
            set_action,
        )
        .takes::<types::AlarmSetting>(),
    ]
}

async fn list(Extracted(state): Extracted<Arc<State>>) -> Answer<Json<Vec<types::Alarm>>> {
    let alarms = state.vfs.alarms()?;
    let documents = alarms.into_iter().map(|alarm| document(&state, alarm));
    Ok(Json(documents.collect()))
}

fn document(state: &State, alarm: Alarm) -> types::Alarm {
    let share = state.vfs.share_by_id(alarm.share);
    types::Alarm {
        id: alarm.id,
        time_s: unix(alarm.time),
        since_s: unix(alarm.since),
        share: share.map_or_else(String::new, |share| share.name.clone()),
        session: alarm.session.0,
        user: alarm.user_name,
        address: alarm.address,
        files: alarm.files,
        paths: alarm.paths,
        decoy: alarm.decoy,
        action: action_document(alarm.action),
        snapshot: alarm.snapshot,
        cleared_s: alarm.cleared.map(unix),
    }
}

fn action_document(action: AlarmAction) -> types::AlarmAction {
    match action {
        AlarmAction::Block => types::AlarmAction::Block,
        AlarmAction::Report => types::AlarmAction::Report,
        AlarmAction::Off => types::AlarmAction::Off,
    }
}

async fn clear(Extracted(state): Extracted<Arc<State>>, Path(id): Path<u64>) -> Answer<StatusCode> {
    let cleared = state.vfs.clear_alarm(id).await;
    cleared.map_err(|error| {
        if matches!(error, VfsError::NotFound) {
            let detail = format!("there is no alarm {id}; `alarm list` shows all");
            return Problem::new(StatusCode::NOT_FOUND, detail);
        }
        error.into()
    })?;
    tracing::info!(alarm = id, "alarm cleared");
    Ok(StatusCode::NO_CONTENT)
}

async fn action(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
) -> Answer<Json<types::AlarmSetting>> {
    let share = share_named(&state, &share)?;
    let action = action_document(state.vfs.alarm_action(&share));
    Ok(Json(types::AlarmSetting { action }))
}

async fn set_action(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
    Json(setting): Json<types::AlarmSetting>,
) -> Answer<StatusCode> {
    let share = share_named(&state, &share)?;
    let action = match setting.action {
        types::AlarmAction::Block => AlarmAction::Block,
        types::AlarmAction::Report => AlarmAction::Report,
        types::AlarmAction::Off => AlarmAction::Off,
    };
    state.vfs.set_alarm_action(&share, action).await?;
    tracing::info!(share = share.name, ?action, "alarm set");
    Ok(StatusCode::NO_CONTENT)
}

async fn permitted(Extracted(state): Extracted<Arc<State>>) -> Answer<Json<Vec<String>>> {
    let users = state.vfs.permitted_users();
    let name = |sid| match state.identity.user_by_sid(&sid) {
        Some(user) => user.name,
        None => sid.to_string(),
    };
    let mut names: Vec<String> = users.into_iter().map(name).collect();
    names.sort();
    Ok(Json(names))
}

async fn permit(
    Extracted(state): Extracted<Arc<State>>,
    Json(wanted): Json<types::Permission>,
) -> Answer<StatusCode> {
    let user = state.identity.user_by_name(&wanted.user).ok_or_else(|| {
        let detail = format!("there is no user {}; `user list` shows all", wanted.user);
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    let done = state
        .vfs
        .permit_encryption(user.sid, wanted.permitted)
        .await;
    done.map_err(full)?;
    tracing::info!(
        user = wanted.user,
        permitted = wanted.permitted,
        "leave to encrypt"
    );
    Ok(StatusCode::NO_CONTENT)
}

async fn decoy(
    Extracted(state): Extracted<Arc<State>>,
    Json(wanted): Json<types::Decoy>,
) -> Answer<StatusCode> {
    let (share, path) = split(&state, &wanted.path)?;
    let done = state.vfs.set_decoy(&share, &path, wanted.decoy).await;
    done.map_err(|error| decoy_problem(&wanted.path, error))?;
    tracing::info!(path = wanted.path, decoy = wanted.decoy, "decoy");
    Ok(StatusCode::NO_CONTENT)
}

fn decoy_problem(path: &str, error: VfsError) -> Problem {
    if matches!(error, VfsError::NotFound | VfsError::PathNotFound) {
        return Problem::new(StatusCode::NOT_FOUND, format!("there is no {path}"));
    }
    if matches!(error, VfsError::IsDirectory) {
        let detail = format!("{path} is a folder; a decoy is a file");
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    }
    full(error)
}

fn full(error: VfsError) -> Problem {
    if matches!(error, VfsError::TooMany) {
        let detail = "there are 10,000 already; take one back first";
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    }
    error.into()
}
