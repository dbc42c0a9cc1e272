//! The caller's files: what shares and their access lists leave, as for every other protocol.

mod change;
mod content;

use std::sync::Arc;

use axum::extract::{Query, State as Extracted};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use strongroom_vfs::{
    AccessMask, CreateOptions, Credentials, DirCursor, Disposition, Handle, OpenRequest, Share,
    VfsError, View,
};
use utoipa::ToSchema;

use super::history::{split, unix, view};
use crate::endpoint::{Access, Endpoint};
use crate::{Caller, Problem, Scope, State};

type Answer<T> = Result<T, Problem>;

const PAGE: usize = 500;
const PAGE_MAX: usize = 5_000;
/// Instants shown beside a folder.
const INSTANTS_MAX: usize = 500;

/// A file or folder, now or at a time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FileQuery {
    /// `share/folder/name`; empty for the shares.
    #[serde(default)]
    pub path: String,
    /// Seconds since 1970; now without it.
    #[serde(default)]
    pub at_s: Option<u64>,
    /// Only names behind this one.
    #[serde(default)]
    pub after: Option<String>,
    #[serde(default)]
    pub max: Option<usize>,
}

/// What is in a folder, or the shares that the caller may enter.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Listing {
    /// The instant that is shown; None for now.
    pub at_s: Option<u64>,
    pub entries: Vec<Entry>,
    /// Where more go on; None at the end.
    pub after: Option<String>,
    /// The caller may make files here.
    pub writable: bool,
    /// The oldest instant that can be gone back to.
    pub oldest_s: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    pub name: String,
    pub directory: bool,
    pub size: u64,
    pub modified_s: u64,
}

/// A place for a folder, or a new place for what is at the old one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewFolder {
    pub path: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Move {
    pub path: String,
    /// In the same share.
    pub to: String,
    #[serde(default)]
    pub replace: bool,
}

/// A file or folder that is to be again what it was.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Restore {
    pub path: String,
    pub at_s: u64,
}

/// What was done below a path.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Done {
    pub files: u64,
    pub folders: u64,
    pub bytes: u64,
}

/// How much of an upload has arrived.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Received {
    pub bytes: u64,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    let files = |endpoint: Endpoint| endpoint.scope(Scope::Files);
    let path = "share/folder/name";
    vec![
        files(Endpoint::get(
            "/files",
            "list_files",
            "A folder, or the caller's shares",
            A::SIGNED_IN,
            list,
        ))
        .may_ask("path", path)
        .may_ask("at_s", "As it was at this time")
        .may_ask("after", "Only names behind this one")
        .may_ask("max", "At most so many, up to 5000")
        .gives::<Listing>(),
        files(Endpoint::get(
            "/files/instants",
            "list_instants",
            "When a share changed: instants that can be gone back to",
            A::SIGNED_IN,
            instants,
        ))
        .asks("path", path)
        .gives_list::<u64>(),
        files(Endpoint::get(
            "/files/content",
            "read_file",
            "A file's bytes, or the range that is asked for",
            A::SIGNED_IN,
            content::read,
        ))
        .asks("path", path)
        .may_ask("at_s", "As it was at this time")
        .may_ask("view", "1 to look at an image or a text in place")
        .gives_bytes("application/octet-stream"),
        files(Endpoint::put(
            "/files/content",
            "write_file",
            "Makes or replaces a file, whole once all bytes are there",
            A::SIGNED_IN,
            content::write,
        ))
        .asks("path", path)
        .may_ask("offset", "Where an upload that was cut off goes on")
        .may_ask("replace", "true to replace a file that is there")
        .takes_bytes("application/octet-stream")
        .gives::<Received>(),
        files(Endpoint::get(
            "/files/upload",
            "get_upload",
            "How much of an upload that was cut off is there",
            A::SIGNED_IN,
            content::received,
        ))
        .asks("path", path)
        .gives::<Received>(),
        files(Endpoint::post(
            "/files/folders",
            "make_folder",
            "Makes a folder",
            A::SIGNED_IN,
            change::make_folder,
        ))
        .takes::<NewFolder>()
        .with_status(StatusCode::CREATED),
        files(Endpoint::post(
            "/files/move",
            "move_file",
            "Moves or renames",
            A::SIGNED_IN,
            change::rename,
        ))
        .takes::<Move>(),
        files(Endpoint::delete(
            "/files",
            "delete_file",
            "Deletes a file, or a folder with all that is in it",
            A::SIGNED_IN,
            change::delete,
        ))
        .asks("path", path)
        .gives::<Done>(),
        files(Endpoint::post(
            "/files/restore",
            "restore_file",
            "Puts a file or folder back as it was; what is newer beside it stays",
            A::SIGNED_IN,
            change::restore,
        ))
        .takes::<Restore>()
        .gives::<Done>(),
    ]
}

/// A share that the caller may enter, and a path in it.
struct Place {
    share: Arc<Share>,
    /// With `\` between its parts; empty for the share itself.
    path: String,
    credentials: Credentials,
}

impl Place {
    /// Errors: no such share; not for this caller; a path that leads elsewhere.
    fn of(state: &State, caller: &Caller, path: &str) -> Answer<Place> {
        let (share, path) = split(state, path)?;
        let credentials = caller.credentials(state)?;
        if !state.vfs.may_enter(&share, &credentials) {
            let detail = format!("{} may not enter {}", caller.name, share.name);
            return Err(Problem::forbidden(detail));
        }
        check(&path)?;
        Ok(Place {
            share,
            path,
            credentials,
        })
    }

    fn request(&self, access: AccessMask) -> OpenRequest<'_> {
        OpenRequest {
            access,
            ..OpenRequest::new(&self.share, &self.path)
        }
    }

    async fn open(&self, state: &State, request: OpenRequest<'_>) -> Answer<Arc<Handle>> {
        let opened = state.vfs.open(&self.credentials, request).await;
        let (handle, _) = opened.map_err(|error| self.problem(error))?;
        Ok(handle)
    }

    /// Opens what is there to read it.
    async fn read(&self, state: &State, view: View) -> Answer<Arc<Handle>> {
        let request = OpenRequest {
            view,
            ..self.request(AccessMask::FILE_READ)
        };
        self.open(state, request).await
    }

    /// What a refusal means here.
    fn problem(&self, error: VfsError) -> Problem {
        let name = self.path.rsplit('\\').next().unwrap_or_default();
        let name = if name.is_empty() {
            &self.share.name
        } else {
            name
        };
        if matches!(error, VfsError::NotFound | VfsError::PathNotFound) {
            return Problem::not_found(format!("{name} is not there"));
        }
        let problem = Problem::from(error);
        Problem::new(problem.status(), format!("{name}: {}", problem.detail()))
    }

    fn beside(&self, name: &str) -> String {
        match self.path.rsplit_once('\\') {
            Some((folder, _)) => format!("{folder}\\{name}"),
            None => name.to_owned(),
        }
    }

    fn name(&self) -> &str {
        self.path.rsplit('\\').next().unwrap_or_default()
    }
}

/// No step leads up, no colon to another stream, and none is empty.
fn check(path: &str) -> Answer<()> {
    let wrong = |part: &str| ["", ".", ".."].contains(&part) || part.contains([':', '\0']);
    if !path.is_empty() && path.split('\\').any(wrong) {
        return Err(Problem::wrong(
            "this is no path: it has a part that is empty, . or .., or has a colon",
        ));
    }
    Ok(())
}

async fn list(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<FileQuery>,
) -> Answer<Json<Listing>> {
    if wanted.path.trim_matches('/').is_empty() {
        return shares(&state, &caller).map(Json);
    }
    let place = Place::of(&state, &caller, &wanted.path)?;
    let view = view(&state, &place.share, wanted.at_s)?;
    let at_s = view.instant().map(|instant| instant.time.seconds());
    let handle = place.read(&state, view).await?;
    if !handle.is_directory() {
        return Err(Problem::wrong(format!("{} is a file", place.name())));
    }
    let max = wanted.max.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let (entries, after) = page(&state, &handle, wanted.after.as_deref(), max)?;
    let rights = state.vfs.maximal_access(&handle, &place.credentials)?;
    let is_now = handle.view().is_now() && !place.share.read_only;
    Ok(Json(Listing {
        at_s,
        entries,
        after,
        writable: is_now && rights.contains(AccessMask::ADD_FILE),
        oldest_s: state
            .vfs
            .oldest_instant(&place.share)?
            .map(|oldest| oldest.time.seconds()),
    }))
}

fn shares(state: &State, caller: &Caller) -> Answer<Listing> {
    let credentials = caller.credentials(state)?;
    let shares = state.vfs.shares().into_iter();
    let own = shares.filter(|share| state.vfs.may_enter(share, &credentials));
    let entries = own.map(|share| Entry {
        name: share.name.clone(),
        directory: true,
        size: 0,
        modified_s: unix(share.created),
    });
    Ok(Listing {
        at_s: None,
        entries: entries.collect(),
        after: None,
        writable: false,
        oldest_s: None,
    })
}

/// Up to `max` entries behind a name, and where more go on.
fn page(
    state: &State,
    folder: &Handle,
    after: Option<&str>,
    max: usize,
) -> Answer<(Vec<Entry>, Option<String>)> {
    let mut cursor = after.map_or_else(DirCursor::default, DirCursor::behind);
    let mut entries = Vec::new();
    while entries.len() < max {
        let found = state
            .vfs
            .list(folder, &mut cursor, "*", max - entries.len())?;
        if found.is_empty() {
            return Ok((entries, None));
        }
        let named = found
            .into_iter()
            .filter(|entry| ![".", ".."].contains(&&*entry.name));
        entries.extend(named.map(|entry| Entry {
            directory: entry.stat.is_directory,
            size: entry.stat.size,
            modified_s: unix(entry.stat.modified),
            name: entry.name,
        }));
    }
    let after = entries.last().map(|last| last.name.clone());
    Ok((entries, after))
}

async fn instants(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<FileQuery>,
) -> Answer<Json<Vec<u64>>> {
    use strongroom_vfs::FileTime;
    let place = Place::of(&state, &caller, &wanted.path)?;
    let all = state
        .vfs
        .instants(&place.share, FileTime(0), FileTime(u64::MAX), INSTANTS_MAX)?;
    Ok(Json(
        all.into_iter()
            .map(|instant| instant.time.seconds())
            .collect(),
    ))
}

/// Options for what is made or opened as a file, or as a folder.
fn kind(directory: bool) -> CreateOptions {
    CreateOptions {
        directory,
        non_directory: !directory,
        ..CreateOptions::default()
    }
}

/// Opens a folder to make things in it, making it where it is absent.
async fn folder(state: &State, place: &Place) -> Answer<Arc<Handle>> {
    let request = OpenRequest {
        disposition: Disposition::OpenIf,
        options: kind(true),
        ..place.request(AccessMask::READ_ATTRIBUTES)
    };
    place.open(state, request).await
}
