//! What people connect to.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use strongroom_identity::Identity;
use strongroom_store::Compression;
use strongroom_vfs::{ShareChange, Sid, VfsError};

use crate::endpoint::{Access, Endpoint};
use crate::{Problem, State, types};

type Answer<T> = Result<T, Problem>;

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    vec![
        Endpoint::get(
            "/shares",
            "list_shares",
            "All shares",
            A::WATCHERS,
            list_shares,
        )
        .gives_list::<types::Share>(),
        Endpoint::post(
            "/shares",
            "add_share",
            "Makes a share",
            A::ADMINISTRATORS,
            add_share,
        )
        .takes::<types::NewShare>()
        .gives::<types::Share>()
        .with_status(StatusCode::CREATED),
        Endpoint::patch(
            "/shares/{share}",
            "change_share",
            "Changes a share",
            A::ADMINISTRATORS,
            change_share,
        )
        .takes::<types::ShareChange>()
        .gives::<types::Share>(),
        Endpoint::delete(
            "/shares/{share}",
            "remove_share",
            "Stops offering a share; its files stay",
            A::ADMINISTRATORS,
            remove_share,
        ),
    ]
}

async fn list_shares(Extracted(state): Extracted<Arc<State>>) -> Json<Vec<types::Share>> {
    let shares = state.vfs.shares();
    Json(
        shares
            .iter()
            .map(|share| share_document(&state, share))
            .collect(),
    )
}

fn share_document(state: &State, share: &strongroom_vfs::Share) -> types::Share {
    let name_of = |sid: &Sid| {
        state
            .identity
            .sid_name(sid)
            .map_or_else(|| sid.to_string(), |account| account.name)
    };
    types::Share {
        name: share.name.clone(),
        read_only: share.read_only,
        encrypted: share.encrypt,
        hide_unreadable: share.hide_unreadable,
        time_machine: share.time_machine,
        size_limit: state.vfs.size_limit(share).ok().flatten(),
        continuously_available: share.continuously_available,
        users: share
            .users
            .as_ref()
            .map(|users| users.iter().map(name_of).collect()),
        nfs: share.exports.iter().map(ToString::to_string).collect(),
        compress: share.compression.to_string(),
    }
}

async fn add_share(
    Extracted(state): Extracted<Arc<State>>,
    Json(new): Json<types::NewShare>,
) -> Answer<(StatusCode, Json<types::Share>)> {
    let users = new
        .users
        .map(|names| resolve(&state.identity, &names))
        .transpose()?;
    let exports: Vec<_> = new
        .nfs
        .iter()
        .map(|text| text.parse().map_err(wrong_export))
        .collect::<Answer<_>>()?;
    let name = new.name;
    let request = strongroom_vfs::NewShare {
        name: name.clone(),
        read_only: new.read_only,
        encrypt: new.encrypted,
        hide_unreadable: new.hide_unreadable,
        time_machine: new.time_machine,
        size_limit: new.size_limit,
        continuously_available: new.continuously_available,
        users,
        exports,
        compression: compression(&new.compress)?,
        ..Default::default()
    };
    let share = state
        .vfs
        .add_share(request)
        .map_err(|error| share_problem(&name, error))?;
    state.store.sync_all().await?;
    state.shares_changed.send_replace(());
    tracing::info!(share = name, read_only = share.read_only, "share added");
    Ok((StatusCode::CREATED, Json(share_document(&state, &share))))
}

/// Nothing said is as good as off.
fn compression(text: &str) -> Answer<Compression> {
    if text.is_empty() {
        return Ok(Compression::default());
    }
    text.parse()
        .map_err(|why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))
}

async fn change_share(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
    Json(change): Json<types::ShareChange>,
) -> Answer<Json<types::Share>> {
    let change = ShareChange {
        compression: change.compress.as_deref().map(compression).transpose()?,
    };
    let share = state
        .vfs
        .change_share(&name, change)
        .map_err(|error| share_problem(&name, error))?;
    state.store.sync_all().await?;
    tracing::info!(share = name, compression = %share.compression, "share changed");
    Ok(Json(share_document(&state, &share)))
}

fn resolve(identity: &Identity, names: &[String]) -> Answer<Vec<Sid>> {
    names
        .iter()
        .map(|name| identity.sid_of(name).ok_or_else(|| nobody(name)))
        .collect()
}

fn wrong_export(why: String) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("{why}: it is written as 192.168.1.0/24:rw:root-squash"),
    )
}

fn nobody(name: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("there is no user or group named {name}; `user list` shows all users"),
    )
}

async fn remove_share(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    state
        .vfs
        .remove_share(&name)
        .map_err(|error| share_problem(&name, error))?;
    state.smb.apply_changes().await;
    state.store.sync_all().await?;
    state.shares_changed.send_replace(());
    tracing::info!(share = name, "share removed");
    Ok(StatusCode::NO_CONTENT)
}

/// What the file system's refusal means for a share of this name.
pub(super) fn share_problem(name: &str, error: VfsError) -> Problem {
    if matches!(error, VfsError::Exists) {
        return Problem::new(
            StatusCode::CONFLICT,
            format!("there is a share named {name} already; choose another name"),
        );
    }
    if matches!(error, VfsError::NotFound) {
        return Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no share named {name}; `share list` shows all"),
        );
    }
    if matches!(error, VfsError::InvalidName | VfsError::NameTooLong) {
        return Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "{name:?} cannot be a share's name: it has 1 to 80 characters, none of them \
                 \" \\ / [ ] : | < > + = ; , * ? or a control character, and IPC$ is taken"
            ),
        );
    }
    Problem::from(error)
}
