//! Accounts and groups.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use strongroom_identity::User;
use utoipa::ToSchema;

use crate::endpoint::{Access, Endpoint};
use crate::people::rid_of;
use crate::{Problem, Role, State, types};

type Answer<T> = Result<T, Problem>;

/// A group of accounts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Group {
    pub name: String,
    pub members: Vec<String>,
    /// It cannot be removed.
    #[serde(default)]
    pub built_in: bool,
}

/// A group to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewGroup {
    pub name: String,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    vec![
        Endpoint::get(
            "/users",
            "list_users",
            "All accounts",
            A::WATCHERS,
            list_users,
        )
        .gives_list::<types::User>(),
        Endpoint::post(
            "/users",
            "add_user",
            "Makes an account",
            A::ADMINISTRATORS,
            add_user,
        )
        .takes::<types::NewUser>()
        .gives::<types::User>()
        .with_status(StatusCode::CREATED),
        Endpoint::patch(
            "/users/{name}",
            "change_user",
            "Changes an account",
            A::ADMINISTRATORS,
            change_user,
        )
        .takes::<types::UserChange>()
        .gives::<types::User>(),
        Endpoint::delete(
            "/users/{name}",
            "remove_user",
            "Removes an account; its files stay",
            A::ADMINISTRATORS,
            remove_user,
        ),
        Endpoint::get(
            "/groups",
            "list_groups",
            "All groups",
            A::WATCHERS,
            list_groups,
        )
        .gives_list::<Group>(),
        Endpoint::post(
            "/groups",
            "add_group",
            "Makes a group",
            A::ADMINISTRATORS,
            add_group,
        )
        .takes::<NewGroup>()
        .gives::<Group>()
        .with_status(StatusCode::CREATED),
        Endpoint::delete(
            "/groups/{group}",
            "remove_group",
            "Removes a group; its members stay accounts",
            A::ADMINISTRATORS,
            remove_group,
        ),
        Endpoint::put(
            "/groups/{group}/members/{name}",
            "add_member",
            "Puts an account into a group",
            A::ADMINISTRATORS,
            add_member,
        ),
        Endpoint::delete(
            "/groups/{group}/members/{name}",
            "remove_member",
            "Takes an account out of a group",
            A::ADMINISTRATORS,
            remove_member,
        ),
    ]
}

async fn list_users(Extracted(state): Extracted<Arc<State>>) -> Json<Vec<types::User>> {
    let users = state.identity.users().into_iter();
    Json(users.map(|user| user_document(&state, user)).collect())
}

fn user_document(state: &State, user: User) -> types::User {
    let person = rid_of(&state.identity, &user.sid).map(|rid| state.people.get(rid));
    let factor = person.and_then(|person| person.totp);
    let groups = user
        .groups
        .iter()
        .filter_map(|sid| state.identity.sid_name(sid));
    types::User {
        sid: user.sid.to_string(),
        role: state.people.role(&state.identity, &user.sid, user.admin),
        second_factor: factor.is_some_and(|factor| factor.confirmed),
        groups: groups.map(|group| group.name).collect(),
        name: user.name,
        admin: user.admin,
        disabled: user.disabled,
    }
}

/// Hashing a password takes tens of milliseconds on purpose, so it runs where it holds nobody up.
async fn add_user(
    Extracted(state): Extracted<Arc<State>>,
    Json(new): Json<types::NewUser>,
) -> Answer<(StatusCode, Json<types::User>)> {
    let (identity, role) = (Arc::clone(&state.identity), new.role);
    let made = tokio::task::spawn_blocking(move || {
        identity.add_user(strongroom_identity::NewUser {
            name: &new.name,
            password: &new.password,
            admin: new.admin || role == Role::Administrator,
        })
    });
    let user = made.await.map_err(Problem::internal)??;
    if !user.admin && role != Role::User {
        set_role(&state, &user, role)?;
    }
    state.store.sync_all().await?;
    tracing::info!(user = user.name, admin = user.admin, "user added");
    Ok((StatusCode::CREATED, Json(user_document(&state, user))))
}

fn user_named(state: &State, name: &str) -> Answer<User> {
    state.identity.user_by_name(name).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no user named {name}; `user list` shows all"
        ))
    })
}

fn set_role(state: &State, user: &User, role: Role) -> Answer<()> {
    let is_admin = role == Role::Administrator;
    if user.admin != is_admin {
        state.identity.set_admin(&user.name, is_admin)?;
    }
    if let Some(rid) = rid_of(&state.identity, &user.sid)
        && !is_admin
    {
        state.people.change(rid, |person| {
            person.role = role;
            Ok::<_, Problem>(())
        })?;
    }
    Ok(())
}

async fn change_user(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
    Json(change): Json<types::UserChange>,
) -> Answer<Json<types::User>> {
    let user = user_named(&state, &name)?;
    if let Some(role) = change.role {
        set_role(&state, &user, role)?;
    }
    if let Some(disabled) = change.disabled {
        state.identity.set_disabled(&name, disabled)?;
    }
    if let Some(password) = change.password {
        super::own::set_password(&state, &user, password, None).await?;
    }
    if change.drop_second_factor
        && let Some(rid) = rid_of(&state.identity, &user.sid)
    {
        state.people.change(rid, |person| {
            person.totp = None;
            Ok::<_, Problem>(())
        })?;
    }
    state.smb.apply_changes().await;
    state.store.sync_all().await?;
    tracing::info!(user = name, "user changed");
    let user = user_named(&state, &name)?;
    Ok(Json(user_document(&state, user)))
}

async fn remove_user(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    let user = user_named(&state, &name)?;
    state.identity.remove_user(&name)?;
    state.end_sessions(&user.sid, None);
    if let Some(rid) = rid_of(&state.identity, &user.sid) {
        state.tokens.revoke_all_of(rid)?;
        state.people.forget(rid)?;
    }
    state.smb.apply_changes().await;
    state.store.sync_all().await?;
    tracing::info!(user = name, "user removed");
    Ok(StatusCode::NO_CONTENT)
}

async fn list_groups(Extracted(state): Extracted<Arc<State>>) -> Json<Vec<Group>> {
    let groups = state.identity.groups().into_iter();
    Json(groups.map(|group| group_document(&state, group)).collect())
}

fn group_document(state: &State, group: strongroom_identity::Group) -> Group {
    let members = group.members.iter();
    let names = members.filter_map(|sid| state.identity.user_by_sid(sid));
    Group {
        name: group.name,
        members: names.map(|user| user.name).collect(),
        built_in: group.built_in,
    }
}

async fn add_group(
    Extracted(state): Extracted<Arc<State>>,
    Json(new): Json<NewGroup>,
) -> Answer<(StatusCode, Json<Group>)> {
    let group = state.identity.add_group(&new.name)?;
    state.store.sync_all().await?;
    Ok((StatusCode::CREATED, Json(group_document(&state, group))))
}

/// What a change of groups means reaches sessions that are there.
async fn settle(state: &Arc<State>) -> Answer<StatusCode> {
    state.smb.apply_changes().await;
    state.store.sync_all().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_group(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    state.identity.remove_group(&name)?;
    settle(&state).await
}

async fn add_member(
    Extracted(state): Extracted<Arc<State>>,
    Path((group, name)): Path<(String, String)>,
) -> Answer<StatusCode> {
    state.identity.add_member(&group, &name)?;
    settle(&state).await
}

async fn remove_member(
    Extracted(state): Extracted<Arc<State>>,
    Path((group, name)): Path<(String, String)>,
) -> Answer<StatusCode> {
    state.identity.remove_member(&group, &name)?;
    settle(&state).await
}
