//! What forms do: each is one call of the API, and then back to where the form was.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State as Extracted};
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::fields::{Fields, local};
use super::page::Failed;
use super::visitor::Member;
use crate::endpoint::segment;
use crate::{Problem, State};

/// One call, and what is said once it is done.
struct Act {
    method: Method,
    path: String,
    body: Value,
    said: String,
}

impl Act {
    fn new(method: Method, path: impl Into<String>, body: Value, said: impl Into<String>) -> Act {
        Act {
            method,
            path: path.into(),
            body,
            said: said.into(),
        }
    }

    fn post(path: impl Into<String>, body: Value, said: impl Into<String>) -> Act {
        Act::new(Method::POST, path, body, said)
    }

    fn delete(path: impl Into<String>, said: impl Into<String>) -> Act {
        Act::new(Method::DELETE, path, Value::Null, said)
    }
}

pub(super) async fn submit(
    Extracted(state): Extracted<Arc<State>>,
    member: Member,
    Path(name): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    if let Err(problem) = check(&member, &fields) {
        return Failed(Box::new(member), problem).into_response();
    }
    let back = local(fields.text("back")).to_owned();
    let outcome = match act(&name, &fields) {
        Err(problem) => Err(problem),
        Ok(act) => member
            .api
            .document(&member.behalf, act.method, &act.path, &act.body)
            .await
            .map(|_| act.said),
    };
    let flash = match outcome {
        Ok(said) => (true, said),
        Err(problem) => (false, problem.detail().to_owned()),
    };
    if let Some(cookie) = &member.behalf.cookie.0 {
        state.sessions.tell(cookie, flash);
    }
    Redirect::to(&back).into_response()
}

/// That the form is one of ours.
pub(super) fn check(member: &Member, fields: &Fields) -> Result<(), Problem> {
    if member.signed.session.has_csrf(fields.text("csrf")) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "this form is too old, or from elsewhere: go back, load the page again, and try once more",
    ))
}

fn act(name: &str, fields: &Fields) -> Result<Act, Problem> {
    let of = |prefix: &str, field: &str| format!("{prefix}/{}", segment(fields.text(field)));
    if let Some(act) = file_act(name, fields) {
        return act;
    }
    if let Some(act) = share_act(name, fields) {
        return act;
    }
    Ok(match name {
        "add-user" => Act::post(
            "/users",
            json!({ "name": fields.text("name"), "password": fields.raw("password"), "role": fields.text("role") }),
            format!("{} can sign in now", fields.text("name")),
        ),
        "set-role" => Act::new(
            Method::PATCH,
            of("/users", "name"),
            json!({ "role": fields.text("role") }),
            "the role is changed",
        ),
        "set-disabled" => Act::new(
            Method::PATCH,
            of("/users", "name"),
            json!({ "disabled": fields.text("disabled") == "true" }),
            if fields.text("disabled") == "true" {
                "the account can no longer sign in"
            } else {
                "the account can sign in again"
            },
        ),
        "set-password" => Act::new(
            Method::PATCH,
            of("/users", "name"),
            json!({ "password": fields.raw("password") }),
            "the password is changed",
        ),
        "drop-factor" => Act::new(
            Method::PATCH,
            of("/users", "name"),
            json!({ "drop_second_factor": true }),
            "no code is asked for any more",
        ),
        "remove-user" => Act::delete(
            of("/users", "name"),
            format!("{} is removed; the files stay", fields.text("name")),
        ),
        "add-group" => Act::post(
            "/groups",
            json!({ "name": fields.text("name") }),
            "the group is made",
        ),
        "remove-group" => Act::delete(of("/groups", "name"), "the group is removed"),
        "add-member" => Act::new(
            Method::PUT,
            of(&members(fields), "name"),
            Value::Null,
            "added to the group",
        ),
        "remove-member" => Act::delete(of(&members(fields), "name"), "taken out of the group"),
        "start-scrub" => Act::post(
            "/pool/scrub",
            Value::Null,
            "the check of all disks has begun",
        ),
        "stop-scrub" => Act::delete("/pool/scrub", "the check is stopped"),
        "add-disk" => Act::post(
            "/pool/disks",
            json!({
                "path": fields.text("path"), "spare": fields.is_set("spare"), "domain": fields.text("domain"),
                "replaces": fields.is_set("replaces").then(|| fields.text("replaces")),
                "allow_shared_device": fields.is_set("allow_shared_device"),
            }),
            "the disk is a part of the pool; data moves there in the background",
        ),
        "remove-disk" => Act::delete(
            of("/pool/disks", "disk"),
            "the disk is being emptied; wait until it says that it is out",
        ),
        "set-spare" => Act::post(
            format!("{}/spare", of("/pool/disks", "disk")),
            json!({ "spare": fields.text("spare") == "true" }),
            "done",
        ),
        "clear-alarm" => Act::post(
            format!("{}/clear", of("/alarms", "id")),
            Value::Null,
            "cleared: whoever was blocked can change files again",
        ),
        "permit" => Act::post(
            "/alarms/permitted",
            json!({ "user": fields.text("user"), "permitted": fields.text("permitted") == "true" }),
            "done",
        ),
        "stop-work" => Act::delete(of("/works", "session"), "it stops"),
        "undo" => Act::post(
            "/undo",
            json!({ "share": fields.text("share"), "sessions": [fields.number("session")?], "keep_both": fields.is_set("keep_both") }),
            "undone",
        ),
        "rewind" => Act::post(
            "/rewind",
            json!({ "path": fields.text("path"), "to_s": fields.number("to_s")? }),
            "it is again as it was",
        ),
        "change-password" => Act::post(
            "/me/password",
            json!({ "old": fields.raw("old"), "new": fields.raw("new") }),
            "your password is changed",
        ),
        "confirm-factor" => Act::post(
            "/me/second-factor/confirm",
            json!({ "code": fields.text("code") }),
            "from now on signing in takes a code",
        ),
        "drop-own-factor" => Act::post(
            "/me/second-factor/drop",
            json!({ "password": fields.raw("password") }),
            "no code is asked for any more",
        ),
        "revoke-token" => Act::delete(of("/tokens", "id"), "the token is taken back"),
        _ => return Err(Problem::not_found("the console knows no such act")),
    })
}

fn members(fields: &Fields) -> String {
    format!("/groups/{}/members", segment(fields.text("group")))
}

fn file_act(name: &str, fields: &Fields) -> Option<Result<Act, Problem>> {
    let under = |field: &str| format!("{}/{}", fields.text("folder"), fields.text(field));
    Some(Ok(match name {
        "make-folder" => Act::post(
            "/files/folders",
            json!({ "path": under("name") }),
            "the folder is made",
        ),
        "delete-file" => {
            let path = format!("/files?path={}", segment(fields.text("path")));
            Act::delete(path, "deleted; the time slider still shows it")
        }
        "rename-file" => Act::post(
            "/files/move",
            json!({ "path": fields.text("path"), "to": under("name") }),
            "renamed",
        ),
        "restore-file" => match fields.number("at_s") {
            Err(problem) => return Some(Err(problem)),
            Ok(at_s) => Act::post(
                "/files/restore",
                json!({ "path": fields.text("path"), "at_s": at_s }),
                "restored as it was then",
            ),
        },
        _ => return None,
    }))
}

fn share_act(name: &str, fields: &Fields) -> Option<Result<Act, Problem>> {
    let share = || format!("/shares/{}", segment(fields.text("share")));
    let act = || -> Result<Option<Act>, Problem> {
        Ok(Some(match name {
            "add-share" => {
                let only = fields.text("who") == "some";
                let limit = fields
                    .is_set("limit")
                    .then(|| crate::words::parse_size(fields.text("limit")));
                Act::post(
                    "/shares",
                    json!({
                        "name": fields.text("name"), "read_only": fields.is_set("read_only"),
                        "time_machine": fields.is_set("time_machine"), "hide_unreadable": fields.is_set("hide_unreadable"),
                        "size_limit": limit.transpose().map_err(Problem::wrong)?,
                        "users": only.then(|| fields.all("user")), "compress": fields.text("compress"),
                    }),
                    format!("people can connect to {} now", fields.text("name")),
                )
            }
            "set-compression" => Act::new(
                Method::PATCH,
                share(),
                json!({ "compress": fields.text("compress") }),
                "what is written from now on is stored so",
            ),
            "remove-share" => Act::delete(
                share(),
                "the share is no longer offered; its files stay in the pool",
            ),
            "create-snapshot" => Act::post(
                format!("{}/snapshots", share()),
                json!({ "name": fields.text("name"), "at_s": fields.number_if("at_s")? }),
                "the snapshot is made",
            ),
            "delete-snapshot" => Act::delete(
                format!("{}/snapshots/{}", share(), segment(fields.text("name"))),
                "the snapshot is deleted",
            ),
            "hold-snapshot" => Act::post(
                format!("{}/snapshots/{}", share(), segment(fields.text("name"))),
                json!({ "hold": fields.text("hold") == "true" }),
                "done",
            ),
            "set-schedule" => Act::post(
                format!("{}/schedule", share()),
                json!({ "every_s": fields.number("every_s")?, "keep": fields.number("keep")? }),
                "snapshots are made so from now on",
            ),
            "set-retention" => Act::post(
                format!("{}/retention", share()),
                retention(fields)?,
                "the past is kept so from now on",
            ),
            "set-alarm" => Act::post(
                format!("{}/alarm", share()),
                json!({ "action": fields.text("action") }),
                "done",
            ),
            _ => return Ok(None),
        }))
    };
    act().transpose()
}

/// Days as people type them.
fn retention(fields: &Fields) -> Result<Value, Problem> {
    const HOUR_S: u64 = 3_600;
    let seconds =
        |name: &str, unit: u64| Ok::<_, Problem>(fields.number(name)?.saturating_mul(unit));
    Ok(json!({
        "every_second_s": seconds("second_hours", HOUR_S)?,
        "every_minute_s": seconds("minute_days", 24 * HOUR_S)?,
        "every_hour_s": seconds("hour_days", 24 * HOUR_S)?,
        "every_day_s": seconds("day_days", 24 * HOUR_S)?,
        "every_month_s": seconds("month_days", 24 * HOUR_S)?,
    }))
}
