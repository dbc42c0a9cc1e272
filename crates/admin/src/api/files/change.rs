//! Making, moving, deleting and restoring, each with the caller's rights.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Query, State as Extracted};
use axum::http::StatusCode;
use axum::{Extension, Json};
use strongroom_vfs::{AccessMask, CreateOptions, Disposition, OpenRequest, View};

use super::{
    Answer, Done, FileQuery, Move, NewFolder, Place, Restore, check, folder, kind, page, view,
};
use crate::api::history::{split, to_the_end};
use crate::{Caller, Problem, State};

/// Folders within folders that are followed.
const DEPTH_MAX: usize = 200;
const AT_ONCE: usize = 1_000;

pub(super) async fn make_folder(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<NewFolder>,
) -> Answer<StatusCode> {
    let place = Place::of(&state, &caller, &wanted.path)?;
    let request = OpenRequest {
        disposition: Disposition::Create,
        options: kind(true),
        ..place.request(AccessMask::READ_ATTRIBUTES)
    };
    place.open(&state, request).await?;
    Ok(StatusCode::CREATED)
}

pub(super) async fn rename(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<Move>,
) -> Answer<StatusCode> {
    let place = Place::of(&state, &caller, &wanted.path)?;
    let (share, to) = split(&state, &wanted.to)?;
    check(&to)?;
    if share.id != place.share.id || to.is_empty() {
        return Err(Problem::wrong(
            "things move within one share; copy them to another",
        ));
    }
    let handle = place
        .open(
            &state,
            place.request(AccessMask::DELETE | AccessMask::READ_ATTRIBUTES),
        )
        .await?;
    let renamed = state.vfs.rename(&handle, &to, wanted.replace).await;
    renamed.map_err(|error| place.problem(error))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<FileQuery>,
) -> Answer<Json<Done>> {
    let place = Place::of(&state, &caller, &wanted.path)?;
    if place.path.is_empty() {
        return Err(Problem::wrong("a share is removed under Shares, not here"));
    }
    let done = to_the_end(async move {
        let mut done = Done::default();
        delete_all(&state, &place, &mut done, 0)
            .await
            .map(|()| done)
    });
    done.await?.map(Json)
}

/// Boxed, as it calls itself for each folder below.
type Walk<'a> = Pin<Box<dyn Future<Output = Answer<()>> + Send + 'a>>;

fn deep(depth: usize) -> Answer<()> {
    if depth > DEPTH_MAX {
        return Err(Problem::wrong("folders lie too deep in each other"));
    }
    Ok(())
}

fn below(place: &Place, name: &str) -> Place {
    let path = match place.path.as_str() {
        "" => name.to_owned(),
        path => format!("{path}\\{name}"),
    };
    Place {
        path,
        share: Arc::clone(&place.share),
        credentials: place.credentials.clone(),
    }
}

fn delete_all<'a>(
    state: &'a State,
    place: &'a Place,
    done: &'a mut Done,
    depth: usize,
) -> Walk<'a> {
    Box::pin(async move {
        deep(depth)?;
        let options = CreateOptions {
            open_reparse_point: true,
            ..CreateOptions::default()
        };
        let list = AccessMask::DELETE | AccessMask::READ_ATTRIBUTES;
        let request = OpenRequest {
            options,
            ..place.request(list)
        };
        let handle = place.open(state, request).await?;
        let size = state.vfs.stat(&handle)?.size;
        if handle.is_directory() {
            delete_below(state, place, done, depth).await?;
        }
        let marked = state.vfs.set_delete(&handle, true).await;
        marked.map_err(|error| place.problem(error))?;
        if handle.is_directory() {
            done.folders += 1;
        } else {
            done.files += 1;
            done.bytes += size;
        }
        state.vfs.close(&handle).await?;
        Ok(())
    })
}

async fn delete_below(state: &State, place: &Place, done: &mut Done, depth: usize) -> Answer<()> {
    let handle = place.read(state, View::Now).await?;
    let mut after: Option<String> = None;
    loop {
        let (entries, next) = page(state, &handle, after.as_deref(), AT_ONCE)?;
        for entry in &entries {
            delete_all(state, &below(place, &entry.name), done, depth + 1).await?;
        }
        match next {
            Some(_) => after = next,
            None => return Ok(()),
        }
    }
}

pub(super) async fn restore(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<Restore>,
) -> Answer<Json<Done>> {
    let place = Place::of(&state, &caller, &wanted.path)?;
    let past = view(&state, &place.share, Some(wanted.at_s))?;
    let done = to_the_end(async move {
        let mut done = Done::default();
        let restored = restore_all(&state, &place, &past, &mut done, 0).await;
        restored.map(|()| done)
    });
    done.await?.map(Json)
}

fn restore_all<'a>(
    state: &'a State,
    place: &'a Place,
    past: &'a View,
    done: &'a mut Done,
    depth: usize,
) -> Walk<'a> {
    Box::pin(async move {
        deep(depth)?;
        let then = place.read(state, past.clone()).await?;
        if !then.is_directory() {
            return restore_file(state, place, &then, done).await;
        }
        if !place.path.is_empty() {
            state.vfs.close(&*folder(state, place).await?).await?;
        }
        done.folders += 1;
        let mut after: Option<String> = None;
        loop {
            let (entries, next) = page(state, &then, after.as_deref(), AT_ONCE)?;
            for entry in &entries {
                restore_all(state, &below(place, &entry.name), past, done, depth + 1).await?;
            }
            match next {
                Some(_) => after = next,
                None => return Ok(()),
            }
        }
    })
}

/// Content is shared with the past where the store can, so this costs little whatever the size.
async fn restore_file(
    state: &State,
    place: &Place,
    then: &strongroom_vfs::Handle,
    done: &mut Done,
) -> Answer<()> {
    let access =
        AccessMask::WRITE_DATA | AccessMask::READ_ATTRIBUTES | AccessMask::WRITE_ATTRIBUTES;
    let request = OpenRequest {
        disposition: Disposition::OpenIf,
        options: kind(false),
        ..place.request(access)
    };
    let now = place.open(state, request).await?;
    let copied = state.vfs.copy_file(then, &now).await;
    done.bytes += copied.map_err(|error| place.problem(error))?;
    done.files += 1;
    let modified = state.vfs.stat(then)?.modified;
    let times = strongroom_vfs::SetTimes {
        modified: Some(modified),
        ..Default::default()
    };
    state.vfs.set_times(&now, times).await?;
    state.vfs.flush(&now).await?;
    Ok(state.vfs.close(&now).await?)
}
