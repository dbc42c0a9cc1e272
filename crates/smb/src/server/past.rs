//! Previous versions: tokens of time that a client opens by, and the list of them (MS-SMB2 2.2.13.2.7, 3.3.5.15.1).

use std::borrow::Cow;

use strongroom_vfs::{
    CivilTime, FileTime as VfsTime, Handle, Share, Vfs, VfsError, View, time_of_name,
};

use crate::server::status::Failure;
use crate::wire::{FileTime, NtStatus};

/// Versions that one list names at most: more than anybody looks through.
const VERSIONS_MAX: usize = 64;
const TOKEN: &str = "@GMT-";

/// What a path means and in which state: a component `@GMT-…` is taken out and names the state, as a timewarp context
/// does, which comes first.
pub(crate) fn place<'p>(
    vfs: &Vfs,
    share: &Share,
    path: Cow<'p, str>,
    context: Option<FileTime>,
) -> Result<(Cow<'p, str>, View), Failure> {
    let (path, token) = take_token(path);
    let context = context.filter(|time| time.0 != 0);
    let Some(time) = context.map(|time| VfsTime(time.0)).or(token) else {
        return Ok((path, View::Now));
    };
    match vfs.view_at(share, time) {
        Ok(view) => Ok((path, view)),
        Err(VfsError::Forgotten) => Err(NtStatus::OBJECT_NAME_NOT_FOUND.into()),
        Err(error) => Err(error.into()),
    }
}

/// Takes the first token out of a path.
fn take_token(path: Cow<'_, str>) -> (Cow<'_, str>, Option<VfsTime>) {
    let begins = |component: &str| {
        let head = component.get(..TOKEN.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(TOKEN))
    };
    if !path.split('\\').any(begins) {
        return (path, None);
    }
    let mut token = None;
    let mut kept = Vec::new();
    for component in path.split('\\') {
        match time_of_name(component) {
            Some(time) if token.is_none() && begins(component) => token = Some(time),
            Some(_) | None => kept.push(component),
        }
    }
    if token.is_none() {
        return (path, None);
    }
    (Cow::Owned(kept.join("\\")), token)
}

/// The labels of the instants at which what is open was another, newest first.
pub(crate) fn labels(vfs: &Vfs, share: &Share, handle: &Handle) -> Result<Vec<String>, Failure> {
    let versions = vfs.previous_versions(share, handle, VERSIONS_MAX)?;
    let mut labels: Vec<_> = versions
        .into_iter()
        .map(|instant| label(VfsTime::from(instant.time)))
        .collect();
    labels.dedup();
    Ok(labels)
}

fn label(time: VfsTime) -> String {
    let CivilTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = time.civil();
    format!("{TOKEN}{year:04}.{month:02}.{day:02}-{hour:02}.{minute:02}.{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_anywhere_in_a_path_is_taken_out() {
        let time = VfsTime::from_unix(1_795_529_007, 0);
        let token = label(time);
        assert_eq!(token, "@GMT-2026.11.24-14.03.27");
        for (path, rest) in [
            (token.clone(), ""),
            (format!("{token}\\a\\b"), "a\\b"),
            (format!("a\\{token}\\b"), "a\\b"),
            (format!("a\\b\\{}", token.to_lowercase()), "a\\b"),
        ] {
            let (found, at) = take_token(Cow::Borrowed(&path));
            assert_eq!((&*found, at), (rest, Some(time)), "{path}");
        }
        for path in [
            "",
            "a\\b",
            "@GMT-",
            "a\\@GMT-2026.11.24",
            "2026-11-24T14:03:27Z",
        ] {
            let (found, at) = take_token(Cow::Borrowed(path));
            assert_eq!((&*found, at), (path, None), "{path}");
        }
    }
}
