//! Bytes of files, out and in.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Query, State as Extracted};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use strongroom_vfs::{AccessMask, Disposition, Handle, OpenRequest, Vfs};

use super::{Answer, Place, Received, kind, view};
use crate::endpoint::segment;
use crate::{Caller, Problem, State};

/// Read and sent at a time.
const CHUNK: u64 = 256 << 10;
/// A client that sends nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// Behind the name of a file that is arriving.
const PART: &str = ".upload";

#[derive(Debug, Deserialize)]
pub(super) struct ReadQuery {
    path: String,
    #[serde(default)]
    at_s: Option<u64>,
    #[serde(default)]
    view: Option<u8>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WriteQuery {
    path: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    replace: bool,
}

pub(super) async fn read(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<ReadQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let place = Place::of(&state, &caller, &wanted.path)?;
    let then = view(&state, &place.share, wanted.at_s)?;
    let handle = place.read(&state, then).await?;
    if handle.is_directory() {
        return Err(Problem::wrong(format!("{} is a folder", place.name())));
    }
    let size = state.vfs.stat(&handle)?.size;
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    let (first, end, status) = match range.and_then(|range| parse_range(range, size)) {
        Some(Ok((first, end))) => (first, end, StatusCode::PARTIAL_CONTENT),
        Some(Err(())) => return Ok(unsatisfiable(size)),
        None => (0, size, StatusCode::OK),
    };
    let body = Body::from_stream(bytes_of(Arc::clone(&state.vfs), handle, first, end));
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    let shown = wanted
        .view
        .is_some()
        .then(|| shown_as(place.name()))
        .flatten();
    describe(headers, place.name(), shown);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(end - first));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{size}", end - 1);
        if let Ok(range) = HeaderValue::try_from(range) {
            headers.insert(CONTENT_RANGE, range);
        }
    }
    Ok(response)
}

/// What a file is sent as: bytes to be kept, or something harmless to be looked at, in a box of its own.
fn describe(headers: &mut HeaderMap, name: &str, shown: Option<&'static str>) {
    let kind = shown.unwrap_or("application/octet-stream");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    );
    let how = if shown.is_some() {
        "inline"
    } else {
        "attachment"
    };
    if let Ok(value) = HeaderValue::try_from(disposition(how, name)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
}

/// RFC 6266, with a plain name for old clients and the right one for others (RFC 8187).
fn disposition(how: &str, name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || " ._-()".contains(c) {
            c
        } else {
            '_'
        }
    };
    let fallback: String = name.chars().map(plain).collect();
    format!(
        "{how}; filename=\"{fallback}\"; filename*=UTF-8''{}",
        segment(name)
    )
}

/// Types that no browser runs anything in; the name decides, never the bytes.
fn shown_as(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "txt" | "md" | "csv" | "log" | "ini" | "json" | "toml" | "yaml" | "yml" => {
            "text/plain; charset=utf-8"
        }
        _ => return None,
    })
}

/// One range of bytes (RFC 9110, section 14.1.2) as its first byte and the one behind its last. None for what is no such
/// range, which is then left out of account; an error for one outside the file.
fn parse_range(text: &str, size: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        (size.saturating_sub(suffix), size)
    } else {
        let first: u64 = first.parse().ok()?;
        let last: u64 = if last.is_empty() {
            u64::MAX
        } else {
            last.parse().ok()?
        };
        if last < first {
            return None;
        }
        (first, last.saturating_add(1).min(size))
    };
    Some(if first < end {
        Ok((first, end))
    } else {
        Err(())
    })
}

fn unsatisfiable(size: u64) -> Response {
    let detail = format!("the file has {size} bytes");
    let mut response = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail).into_response();
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{size}")) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    response
}

/// Read a chunk at a time, as the client takes it.
fn bytes_of(
    vfs: Arc<Vfs>,
    handle: Arc<Handle>,
    first: u64,
    end: u64,
) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(first, move |at| {
        let (vfs, handle) = (Arc::clone(&vfs), Arc::clone(&handle));
        async move {
            if at >= end {
                return None;
            }
            let wanted = usize::try_from((end - at).min(CHUNK)).unwrap_or(0);
            let mut buffer = vec![0; wanted];
            match vfs.read(&handle, at, &mut buffer) {
                // It was cut short meanwhile: the length that was promised cannot be kept.
                Ok(0) => Some((Err(std::io::Error::other("the file became shorter")), end)),
                Ok(read) => {
                    buffer.truncate(read);
                    Some((Ok(Bytes::from(buffer)), at + read as u64))
                }
                Err(error) => Some((Err(std::io::Error::other(error)), end)),
            }
        }
    })
}

/// Bytes go to a file beside the one that is meant, which takes its place when all are there.
pub(super) async fn write(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<WriteQuery>,
    body: Body,
) -> Answer<Json<Received>> {
    let place = Place::of(&state, &caller, &wanted.path)?;
    if place.path.is_empty() {
        return Err(Problem::wrong("say which file in the share"));
    }
    if !wanted.replace && exists(&state, &place).await? {
        let detail = format!(
            "there is a {} already; say that it is to be replaced, or choose another name",
            place.name()
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let part = Place {
        path: place.beside(&format!(".{}{PART}", place.name())),
        share: Arc::clone(&place.share),
        credentials: place.credentials.clone(),
    };
    let handle = open_part(&state, &part, wanted.offset).await?;
    let bytes = fill(&state, &handle, wanted.offset, body.into_data_stream()).await?;
    state.vfs.flush(&handle).await?;
    let renamed = state.vfs.rename(&handle, &place.path, wanted.replace).await;
    renamed.map_err(|error| place.problem(error))?;
    state.vfs.close(&handle).await?;
    Ok(Json(Received { bytes }))
}

async fn exists(state: &State, place: &Place) -> Answer<bool> {
    let request = place.request(AccessMask::READ_ATTRIBUTES);
    match place.open(state, request).await {
        Ok(_) => Ok(true),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Ok(false),
        Err(problem) => Err(problem),
    }
}

async fn open_part(state: &State, part: &Place, offset: u64) -> Answer<Arc<Handle>> {
    let access = AccessMask::WRITE_DATA | AccessMask::READ_ATTRIBUTES | AccessMask::DELETE;
    let disposition = if offset == 0 {
        Disposition::OverwriteIf
    } else {
        Disposition::Open
    };
    let request = OpenRequest {
        disposition,
        options: kind(false),
        ..part.request(access)
    };
    let handle = part.open(state, request).await?;
    let there = state.vfs.stat(&handle)?.size;
    if offset > there {
        let detail = format!("only {there} bytes are there yet; go on from there");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    if offset < there {
        state.vfs.set_size(&handle, offset).await?;
    }
    Ok(handle)
}

/// Writes what arrives; gives the file's length. What has arrived stays where the client goes away.
async fn fill(
    state: &State,
    handle: &Handle,
    offset: u64,
    mut body: BodyDataStream,
) -> Answer<u64> {
    let mut at = offset;
    loop {
        let next = tokio::time::timeout(PATIENCE, body.next()).await;
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "no bytes came for a minute");
        let Some(chunk) = next.map_err(late)? else {
            return Ok(at);
        };
        let cut = |_| Problem::new(StatusCode::BAD_REQUEST, "the upload was cut off");
        let chunk = chunk.map_err(cut)?;
        state.vfs.write(handle, at, &chunk).await?;
        at += chunk.len() as u64;
    }
}

pub(super) async fn received(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<ReadQuery>,
) -> Answer<Json<Received>> {
    let mut place = Place::of(&state, &caller, &wanted.path)?;
    place.path = place.beside(&format!(".{}{PART}", place.name()));
    let handle = place
        .open(&state, place.request(AccessMask::READ_ATTRIBUTES))
        .await?;
    let bytes = state.vfs.stat(&handle)?.size;
    Ok(Json(Received { bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_specification() {
        for (text, wanted) in [
            ("bytes=0-0", Some(Ok((0, 1)))),
            ("bytes=2-", Some(Ok((2, 10)))),
            ("bytes=-3", Some(Ok((7, 10)))),
            ("bytes=-30", Some(Ok((0, 10)))),
            ("bytes=5-99", Some(Ok((5, 10)))),
            ("bytes=10-", Some(Err(()))),
            ("bytes=-0", Some(Err(()))),
            ("bytes=5-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            (
                "bytes=18446744073709551615-18446744073709551615",
                Some(Err(())),
            ),
        ] {
            assert_eq!(parse_range(text, 10), wanted, "{text}");
        }
    }

    #[test]
    fn no_name_breaks_out_of_its_header() {
        let shown = disposition("attachment", "a\"; x=\r\nSet-Cookie: b\u{202e}é.html");
        assert!(!shown.contains(['\r', '\n']), "{shown}");
        assert_eq!(shown.matches('"').count(), 2, "{shown}");
        assert!(HeaderValue::try_from(shown).is_ok());
    }

    #[test]
    fn nothing_that_runs_is_shown_in_place() {
        for name in [
            "a.html",
            "a.svg",
            "a.xml",
            "a.pdf",
            "a.js",
            "a",
            "a.png.html",
        ] {
            assert_eq!(shown_as(name), None, "{name}");
        }
        assert_eq!(shown_as("A.PNG"), Some("image/png"));
    }
}
