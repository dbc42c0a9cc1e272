//! Files: looked through, now and at any time that is kept.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Multipart, Query, State as Extracted};
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::StreamExt;
use maud::{Markup, html};

use super::fields::{Fields, local};
use super::page::{
    Failed, OrFail, Shown, act, behind, csrf, frame, hidden, sentence, time, time_exact,
};
use super::visitor::Member;
use crate::api::{FileQuery, Listing};
use crate::endpoint::segment;
use crate::words::size;
use crate::{Problem, State};

/// Steps of the slider.
const STEPS: u64 = 1_000;

/// Where the page is.
struct Place<'a> {
    path: &'a str,
    at_s: Option<u64>,
}

impl Place<'_> {
    fn link(&self) -> String {
        link(self.path, self.at_s)
    }

    fn below(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

pub(super) fn link(path: &str, at_s: Option<u64>) -> String {
    let at = at_s.map_or_else(String::new, |at| format!("&at_s={at}"));
    format!("/files?path={}{at}", segment(path))
}

fn content(path: &str, at_s: Option<u64>, more: &str) -> String {
    let at = at_s.map_or_else(String::new, |at| format!("&at_s={at}"));
    format!("/api/v1/files/content?path={}{at}{more}", segment(path))
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Wanted {
    #[serde(flatten)]
    file: std::collections::HashMap<String, String>,
}

impl Wanted {
    fn query(self, member: &Member) -> Result<FileQuery, Problem> {
        let mut fields = self.file;
        let mut take = |name: &str| fields.remove(name).filter(|value| !value.trim().is_empty());
        let (at_s, at) = (take("at_s"), take("at"));
        let at_s = match (at_s, at) {
            // What a person wrote wins over where the slider stood.
            (_, Some(at)) => {
                let at = at.replace('T', " ");
                let wrong = || {
                    Problem::wrong(format!(
                        "{at:?} is no time; write 2026-11-24 14:03, or 20 minutes ago"
                    ))
                };
                Some(member.here.parse(&at).ok_or_else(wrong)?)
            }
            (Some(at), None) => Some(at.parse().map_err(|_| Problem::wrong("this is no time"))?),
            (None, None) => None,
        };
        Ok(FileQuery {
            path: take("path")
                .unwrap_or_default()
                .trim_matches('/')
                .to_owned(),
            at_s,
            after: take("after"),
            max: None,
        })
    }
}

pub(super) async fn page(
    Extracted(state): Extracted<Arc<State>>,
    member: Member,
    Query(wanted): Query<Wanted>,
) -> Shown {
    let query = wanted.query(&member).or_fail(&member)?;
    let mut asked = format!("/files?path={}", segment(&query.path));
    if let Some(at) = query.at_s {
        asked += &format!("&at_s={at}");
    }
    if let Some(after) = &query.after {
        asked += &format!("&after={}", segment(after));
    }
    let listing: Listing = member.get(&asked).await.or_fail(&member)?;
    let place = Place {
        path: &query.path,
        at_s: query.at_s,
    };
    let name = query.path.rsplit('/').next().unwrap_or_default();
    let title = if name.is_empty() { "Files" } else { name };
    let body = html! {
        h1 { (title) }
        (way(&place))
        @if !place.path.is_empty() { (slider(&member, &place, &listing, state.now_s())) }
        div #listing {
            (past(&member, &place, &listing))
            (entries(&member, &place, &listing))
        }
        @if listing.writable { (making(&member, &place)) }
    };
    Ok(frame(&member, "/files", title, &body))
}

/// The folders above, each a link.
fn way(place: &Place<'_>) -> Markup {
    let parts: Vec<&str> = place
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    html! {
        nav.way aria-label="Folders above" {
            ol {
                li { a href="/files" { "All shares" } }
                @for (number, part) in parts.iter().enumerate() {
                    @let path = parts[..=number].join("/");
                    @if number + 1 == parts.len() { li aria-current="location" { (part) } }
                    @else { li { a href=(link(&path, place.at_s)) { (part) } } }
                }
            }
        }
    }
}

fn slider(member: &Member, place: &Place<'_>, listing: &Listing, now: u64) -> Markup {
    let Some(oldest) = listing.oldest_s else {
        return html! { p.fine { "This share keeps no past yet." } };
    };
    let shown = place.at_s.unwrap_or(now);
    let step = ((now - oldest.min(now)) / STEPS).max(1);
    let ago = |seconds: u64| now.saturating_sub(seconds);
    let jumps = [
        ("10 minutes ago", 600),
        ("An hour ago", 3_600),
        ("Yesterday", 86_400),
        ("A week ago", 604_800),
    ];
    html! {
        form.time method="get" action="/files" aria-label="Time" data-slider {
            (hidden("path", place.path))
            div.slide {
                label for="when" { "As it was" }
                input #when type="range" name="at_s" min=(oldest) max=(now) step=(step) value=(shown) data-now=(now) aria-valuetext=(member.here.show(shown));
                output for="when" { @if place.at_s.is_some() { (time_exact(&member.here, shown)) } @else { "now" } }
            }
            div.row {
                label.inline { "Exactly " input type="text" name="at" placeholder="2026-11-24 14:03" size="18" autocomplete="off"; }
                button type="submit" { "Show" }
                @if place.at_s.is_some() { a.button href=(link(place.path, None)) { "Back to now" } }
                span.jumps {
                    @for (name, seconds) in jumps.iter().filter(|(_, seconds)| ago(*seconds) >= oldest) {
                        a href=(link(place.path, Some(ago(*seconds)))) { (name) }
                    }
                }
            }
        }
    }
}

/// What is special about a page of the past.
fn past(member: &Member, place: &Place<'_>, listing: &Listing) -> Markup {
    let Some(at) = place.at_s else {
        return html! {};
    };
    let is_share = !place.path.contains('/');
    html! {
        div.past role="status" {
            p { "You see this " (if is_share { "share" } else { "folder" }) " as it was at " (time_exact(&member.here, listing.at_s.unwrap_or(at))) ". Nothing here changes by looking." }
            (act(member, "restore-file", &link(place.path, None), &html! {
                (hidden("path", place.path)) (hidden("at_s", &at.to_string()))
                button type="submit" { "Restore all of this folder" }
            }))
            p.fine { "Restoring puts back what was there; what is newer beside it stays. It can be undone in the same way." }
        }
    }
}

fn entries(member: &Member, place: &Place<'_>, listing: &Listing) -> Markup {
    if listing.entries.is_empty() {
        let what = if place.path.is_empty() {
            "There is no share for you yet."
        } else {
            "Nothing is in this folder."
        };
        return html! { p.empty { (what) } };
    }
    html! {
        div.scroll { table.files {
            thead { tr { th scope="col" { "Name" } th.number scope="col" { "Size" } th scope="col" { "Changed" } th scope="col" { span.hidden { "What to do" } } } }
            tbody {
                @for entry in &listing.entries {
                    @let path = place.below(&entry.name);
                    tr {
                        td {
                            @if entry.directory { a.folder href=(link(&path, place.at_s)) { (entry.name) } }
                            @else { a.file href=(content(&path, place.at_s, "")) { (entry.name) } }
                        }
                        td.number { @if !entry.directory { (size(entry.size)) } }
                        td { (time(&member.here, entry.modified_s)) }
                        td.acts { @if !place.path.is_empty() { (entry_acts(member, place, listing, &path, entry.directory)) } }
                    }
                }
            }
        } }
        @if let Some(after) = &listing.after {
            p { a.button href={ (place.link()) "&after=" (segment(after)) } { "More" } }
        }
    }
}

fn entry_acts(
    member: &Member,
    place: &Place<'_>,
    listing: &Listing,
    path: &str,
    directory: bool,
) -> Markup {
    let name = path.rsplit('/').next().unwrap_or_default();
    html! {
        details.menu {
            summary aria-label={ "More about " (name) } { "⋯" }
            div {
                @if !directory && is_seen(name) {
                    a href=(content(path, place.at_s, "&view=1")) target="_blank" rel="noopener" { "Look at it" }
                }
                @if let Some(at) = place.at_s {
                    (act(member, "restore-file", &place.link(), &html! {
                        (hidden("path", path)) (hidden("at_s", &at.to_string()))
                        button type="submit" { "Restore" }
                    }))
                }
                @if listing.writable {
                    (act(member, "rename-file", &place.link(), &html! {
                        (hidden("path", path)) (hidden("folder", place.path))
                        label { "New name" input name="name" value=(name) required; }
                        button type="submit" { "Rename" }
                    }))
                    (behind("Delete…", &act(member, "delete-file", &place.link(), &html! {
                        (hidden("path", path))
                        p { "The time slider can bring it back as long as the past is kept." }
                        button.danger type="submit" { "Delete " (name) }
                    })))
                }
            }
        }
    }
}

/// Whether a browser may show it in place.
fn is_seen(name: &str) -> bool {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    let seen = [
        "png", "jpg", "jpeg", "gif", "webp", "txt", "md", "csv", "log", "json",
    ];
    ending.is_some_and(|ending| seen.contains(&&*ending))
}

fn making(member: &Member, place: &Place<'_>) -> Markup {
    html! {
        div.tiles {
            section.tile aria-labelledby="up" {
                h2 #up { "Upload" }
                form method="post" action="/files/upload" enctype="multipart/form-data" data-upload=(place.path) data-csrf=(member.csrf()) {
                    (csrf(member)) (hidden("folder", place.path))
                    label.drop { span { "Choose files, or drop them here" } input type="file" name="file" multiple required; }
                    label.inline { input type="checkbox" name="replace" value="true"; " Replace files of the same name" }
                    button type="submit" { "Upload" }
                    ul.uploads aria-live="polite" {}
                }
            }
            section.tile aria-labelledby="new" {
                h2 #new { "New folder" }
                (act(member, "make-folder", &place.link(), &html! {
                    (hidden("folder", place.path))
                    label { "Name" input name="name" required autocomplete="off"; }
                    button type="submit" { "Make it" }
                }))
            }
        }
    }
}

/// Uploads of browsers without script: fields first, then files, each handed on as it comes.
pub(super) async fn upload(
    Extracted(state): Extracted<Arc<State>>,
    member: Member,
    mut form: Multipart,
) -> Response {
    let mut fields = Fields::default();
    let outcome = take(&member, &mut form, &mut fields).await;
    let flash = match outcome {
        Ok(0) => (false, "no file was chosen".to_owned()),
        Ok(1) => (true, "one file has arrived".to_owned()),
        Ok(files) => (true, format!("{files} files have arrived")),
        Err(problem) if fields.text("csrf").is_empty() => {
            return Failed(Box::new(member), problem).into_response();
        }
        Err(problem) => (false, sentence(problem.detail())),
    };
    if let Some(cookie) = &member.behalf.cookie.0 {
        state.sessions.tell(cookie, flash);
    }
    let back = link(fields.text("folder"), None);
    Redirect::to(local(&back)).into_response()
}

async fn take(
    member: &Member,
    form: &mut Multipart,
    fields: &mut Fields,
) -> Result<usize, Problem> {
    let broken = |_| Problem::wrong("the form was cut off");
    let mut files = 0;
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let Some(file) = field.file_name().map(str::to_owned) else {
            let value = field.text().await.map_err(broken)?;
            fields.0.push((name, value));
            continue;
        };
        super::acts::check(member, fields)?;
        if file.is_empty() {
            continue;
        }
        let path = format!(
            "{}/{}",
            fields.text("folder"),
            file.replace(['/', '\\'], "_")
        );
        let to = format!(
            "/files/content?path={}&replace={}",
            segment(&path),
            fields.is_set("replace")
        );
        // The body is lent to the handler through a channel, as a field lives no longer than the form.
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let body = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let chunk: Result<bytes::Bytes, std::io::Error> = receiver.recv().await?;
            Some((chunk, receiver))
        });
        let sending = async move {
            while let Some(chunk) = field.next().await {
                let chunk = chunk.map_err(std::io::Error::other);
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
        };
        let body = ("application/octet-stream", Body::from_stream(body));
        let saving = member.api.send(&member.behalf, Method::PUT, &to, body);
        let ((), saved) = tokio::join!(sending, saving);
        saved?;
        files += 1;
    }
    Ok(files)
}
