//! `.history`, a read-only directory in the root of every share that no listing shows: below it stands the share as it
//! was at each kept instant, under the instant's time (`2026-11-24T14:03:27Z`) or a snapshot's name.
//!
//! It has no row. A file or directory of that name in a share's root comes first.

use std::borrow::Cow;
use std::sync::Arc;

use strongroom_store::{Inode, Instant, View};

use crate::names::{ParsedPath, Pattern, fold, from_unix, to_unix};
use crate::node::{LinkRef, Node};
use crate::open::Target;
use crate::stat::stat_of;
use crate::types::CursorPosition;
use crate::{
    CaseMode, CivilTime, DirCursor, DirEntry, DosAttributes, FileKind, FileTime, Handle,
    OpenRequest, Result, Share, Vfs, VfsError,
};

/// The name of the directory.
pub(crate) const NAME: &str = ".history";
/// Its id; the store gives none so low.
pub(crate) const INODE: Inode = Inode(1);
/// The listing shows an instant a minute of the last hour, an hour of the last day, and a day of the rest.
const LISTED: [(u64, u64); 3] = [(3_600, 60), (86_400, 3_600), (u64::MAX, 86_400)];

impl Node {
    /// Whether it is the directory that holds the past.
    pub(crate) fn is_history(&self) -> bool {
        self.inode == INODE
    }
}

/// The name under which an instant stands.
pub fn instant_name(time: FileTime) -> String {
    let CivilTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = time.civil();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The time that a name means: as [`instant_name`] writes it, with `.` or `-` in place of `:` where a client cannot write
/// that; or `@GMT-2026.11.24-14.03.27`, as SMB clients do.
pub fn time_of_name(name: &str) -> Option<FileTime> {
    let upper = name.to_ascii_uppercase();
    let digits = match upper.strip_prefix("@GMT-") {
        Some(rest) if has_shape(rest, "dddd.dd.dd-dd.dd.dd") => rest,
        Some(_) => return None,
        None if has_shape(&upper, "dddd-dd-ddTddsddsddZ") => &upper,
        None => return None,
    };
    let mut numbers = digits.split(|c: char| !c.is_ascii_digit());
    let year = numbers.next()?.parse().ok()?;
    let mut next = || numbers.next()?.parse().ok();
    let civil = CivilTime {
        year,
        month: next()?,
        day: next()?,
        hour: next()?,
        minute: next()?,
        second: next()?,
    };
    civil.to_file_time()
}

/// Whether a text is as a pattern says: `d` is a digit, `s` separates the parts of a time, others are themselves.
fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(c, s): (char, char)| match s {
        'd' => c.is_ascii_digit(),
        's' => ":.-".contains(c),
        other => c == other,
    };
    text.len() == shape.len() && text.chars().zip(shape.chars()).all(fits)
}

impl Vfs {
    /// Where a path below `.history` leads; None for any other path.
    pub(crate) fn resolve_history(
        &self,
        request: &OpenRequest<'_>,
        path: &ParsedPath<'_>,
        start: &Arc<Node>,
    ) -> Result<Option<Target>> {
        let Some((first, rest)) = path.components.split_first() else {
            return Ok(None);
        };
        if start.is_history() {
            let all = &path.components[..];
            return self.resolve_instant(request, path, start, all).map(Some);
        }
        let same = match request.case {
            CaseMode::Exact => first == NAME,
            CaseMode::Insensitive => fold(first) == fold(NAME),
        };
        let enters = same && start.view.is_now();
        if !enters || start.inode != request.share.root {
            return Ok(None);
        }
        if self
            .lookup(&View::Now, start.inode, first, request.case)?
            .is_some()
        {
            return Ok(None);
        }
        let node = self.history_node(start)?;
        if !rest.is_empty() {
            return self.resolve_instant(request, path, &node, rest).map(Some);
        }
        let link = Arc::new(LinkRef {
            directory: start.inode,
            name: NAME.to_owned(),
        });
        Ok(Some(Target::Found { node, link }))
    }

    /// The directory, as if the share's root had such a name. It looks and is guarded as the root is.
    pub(crate) fn history_node(&self, root: &Arc<Node>) -> Result<Arc<Node>> {
        let mut state = root.lock();
        let security = self.security_of(root, &mut state)?;
        let mut attr = state.attr.clone();
        attr.name = NAME.into();
        attr.parent = root.inode;
        attr.dos = attr.dos.union(DosAttributes::HIDDEN);
        attr.dos = attr.dos.union(DosAttributes::READ_ONLY);
        Ok(Node::new(INODE, attr, Some(security)))
    }

    /// Goes on from `.history`: the first component is an instant.
    fn resolve_instant(
        &self,
        request: &OpenRequest<'_>,
        path: &ParsedPath<'_>,
        history: &Arc<Node>,
        components: &[Cow<'_, str>],
    ) -> Result<Target> {
        let missing = |name: &str| Target::Missing {
            directory: Arc::clone(history),
            name: name.to_owned(),
        };
        let Some((instant, below)) = components.split_first() else {
            return Err(VfsError::NotFound);
        };
        let Some(view) = self.named_view(request.share, instant)? else {
            return match below {
                [] => Ok(missing(instant)),
                _ => Err(VfsError::PathNotFound),
            };
        };
        let root = self.node_in(&view, request.share.root)?;
        let root = root.ok_or(VfsError::NotFound)?;
        self.resolve_from(root, below, path, request)
    }

    /// The view that a name below `.history` means.
    pub(crate) fn named_view(&self, share: &Share, name: &str) -> Result<Option<View>> {
        let spelt = String::from_utf8(to_unix(name)).unwrap_or_default();
        let view = match (self.snapshot(share, name), time_of_name(&spelt)) {
            (Ok(snapshot), _) => self.view_of(share, snapshot.instant),
            (Err(VfsError::NotFound), Some(time)) => self.view_at(share, time),
            (Err(VfsError::NotFound), None) => return Ok(None),
            (Err(error), _) => return Err(error),
        };
        match view {
            Ok(view) => Ok(Some(view)),
            Err(VfsError::Forgotten) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The listing of `.history`: all snapshots, and a choice of instants; every other one can be opened as well.
    pub(crate) fn list_history(
        &self,
        handle: &Handle,
        cursor: &mut DirCursor,
        pattern: &Pattern,
        max: usize,
    ) -> Result<Vec<DirEntry>> {
        let share = self
            .shares()
            .into_iter()
            .find(|share| share.id == handle.share);
        let share = share.ok_or(VfsError::NotFound)?;
        let root = self.node(share.root)?;
        let attr = root.lock().attr.clone();
        let entry = |name: String, time: FileTime| {
            let mut stat = stat_of(share.root, &attr, None);
            stat.kind = FileKind::Directory;
            (stat.modified, stat.changed) = (time, time);
            DirEntry { name, stat }
        };
        let after = match &cursor.position {
            CursorPosition::End => return Ok(Vec::new()),
            CursorPosition::Dot | CursorPosition::DotDot => String::new(),
            CursorPosition::After { name, .. } => name.clone(),
        };
        let now = self.now();
        let mut all = vec![entry(".".into(), now), entry("..".into(), now)];
        for (name, instant) in self.history_names(&share)? {
            all.push(entry(name, instant.time.into()));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let wanted = |entry: &DirEntry| entry.name > after && pattern.matches(&entry.name);
        let found: Vec<_> = all.into_iter().filter(wanted).take(max).collect();
        cursor.position = match found.last() {
            Some(last) => CursorPosition::After {
                folded: fold(&last.name),
                name: last.name.clone(),
            },
            None => CursorPosition::End,
        };
        cursor.matched |= !found.is_empty();
        Ok(found)
    }

    /// What stands in `.history`: all snapshots, and a choice of instants.
    pub(crate) fn history_names(&self, share: &Share) -> Result<Vec<(String, Instant)>> {
        let snapshots = self.snapshots(share)?.into_iter();
        let mut all: Vec<_> = snapshots
            .map(|snapshot| (snapshot.name, snapshot.instant))
            .collect();
        for instant in self.listed_instants(share)? {
            let name = instant_name(instant.time.into());
            all.push((from_unix(name.as_bytes())?, instant));
        }
        Ok(all)
    }

    /// The last instant of each minute, hour or day, by age.
    fn listed_instants(&self, share: &Share) -> Result<Vec<Instant>> {
        let all = self.instants(share, FileTime(0), FileTime(u64::MAX), usize::MAX)?;
        let now = self.env.now().seconds();
        let bucket = |instant: &Instant| {
            let second = instant.time.seconds();
            let age = now.saturating_sub(second);
            let width = LISTED.iter().find(|(span, _)| age <= *span);
            width.map(|(_, width)| (*width, second / width))
        };
        let next = all.iter().skip(1).map(Some).chain([None]);
        let last = all.iter().zip(next);
        let last = last.filter(|(this, next)| next.is_none_or(|next| bucket(next) != bucket(this)));
        Ok(last.map(|(this, _)| *this).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instants_are_read_as_they_are_written() {
        let time = FileTime::from_unix(1_795_529_007, 0);
        assert_eq!(instant_name(time), "2026-11-24T14:03:27Z");
        for name in [
            "2026-11-24T14:03:27Z",
            "2026-11-24t14.03.27z",
            "2026-11-24T14-03-27Z",
            "@GMT-2026.11.24-14.03.27",
            "@gmt-2026.11.24-14.03.27",
        ] {
            assert_eq!(time_of_name(name), Some(time), "{name}");
        }
        for name in [
            "",
            "2026-11-24",
            "2026-11-24T14:03:27",
            "2026-11-24T14:03:67Z",
            "@GMT-2026.11.24-14.03.2",
            "@GMT-2026-11-24-14.03.27",
            "2026-1١-24T14:03:27Z",
        ] {
            assert_eq!(time_of_name(name), None, "{name}");
        }
    }
}
