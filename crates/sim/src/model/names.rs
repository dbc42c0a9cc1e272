//! The tree: what has which names, and everything of it that is no stream's bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use strongroom_vfs::acl::SecurityDescriptor;
use strongroom_vfs::{REPARSE_TAG_SYMLINK, ReparseData};

use super::Why;

/// An inode.
pub(crate) type Id = u64;
/// A directory and a name in it.
pub(crate) type Link = (Id, String);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) directory: bool,
    /// Without ARCHIVE, which the file system sets by itself at a time of its own.
    pub(crate) attributes: u32,
    pub(crate) created: u64,
    /// By folded name: flags, name, value.
    pub(crate) eas: BTreeMap<String, (u8, String, Vec<u8>)>,
    pub(crate) security: Arc<SecurityDescriptor>,
    pub(crate) reparse: Option<ReparseData>,
    /// By folded name: the name and the number of its data.
    pub(crate) streams: BTreeMap<String, (String, u32)>,
    pub(crate) names: BTreeSet<Link>,
    /// The number of the next stream.
    pub(crate) next_stream: u32,
    /// The directory whose quota it counts for; 0 if none.
    pub(crate) tree: Id,
}

impl Node {
    pub(crate) fn is_link(&self) -> bool {
        self.reparse
            .as_ref()
            .is_some_and(|reparse| reparse.tag == REPARSE_TAG_SYMLINK)
    }

    /// What differs from a node that was found, whose streams have no numbers and whose quota is not seen.
    fn differs(&self, found: &Node) -> Option<&'static str> {
        let streams = |node: &Node| -> Vec<String> {
            node.streams
                .values()
                .map(|(name, _)| name.clone())
                .collect()
        };
        let secures = |node: &Node| {
            let security = &node.security;
            (security.owner, security.group, security.dacl.clone())
        };
        [
            (self.directory != found.directory, "kind"),
            (self.attributes != found.attributes, "attributes"),
            (self.created != found.created, "creation time"),
            (self.eas != found.eas, "extended attributes"),
            (secures(self) != secures(found), "security"),
            (self.reparse != found.reparse, "reparse data"),
            (streams(self) != streams(found), "streams"),
            (self.names != found.names, "names"),
        ]
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Names {
    /// Everything that has a name.
    pub(crate) nodes: BTreeMap<Id, Arc<Node>>,
    /// Recorded client sessions: whether they ended.
    pub(crate) sessions: BTreeMap<u64, bool>,
}

impl Names {
    /// What differs between this state and the one that was found; empty if it is the same.
    pub(crate) fn differences(&self, found: &Names) -> Vec<String> {
        let mut all = Vec::new();
        for (id, node) in &self.nodes {
            match found.nodes.get(id) {
                None => all.push(format!("{} ({id}) is missing", self.path_of(*id))),
                Some(other) => {
                    if let Some(what) = node.differs(other) {
                        let path = self.path_of(*id);
                        all.push(format!(
                            "{what} of {path} ({id}): {node:?}, found {other:?}"
                        ));
                    }
                }
            }
        }
        let extra = found.nodes.keys().filter(|id| !self.nodes.contains_key(id));
        all.extend(extra.map(|id| format!("{} ({id}) should not be there", found.path_of(*id))));
        if self.sessions != found.sessions {
            all.push(format!(
                "sessions {:?}, found {:?}",
                self.sessions, found.sessions
            ));
        }
        all
    }

    /// What a name means in a directory: one spelt exactly so, else the first that is the same without case.
    pub(crate) fn lookup(&self, directory: Id, name: &str) -> Option<(Id, String)> {
        let folded = fold(name);
        let all = self.nodes.iter().flat_map(|(id, node)| {
            let here = node.names.iter().filter(|(at, _)| *at == directory);
            here.map(|(_, name)| (name.clone(), *id))
        });
        let same: BTreeSet<(String, Id)> = all.filter(|(held, _)| fold(held) == folded).collect();
        let exact = same.iter().find(|(held, _)| held == name);
        let (name, id) = exact.or(same.first())?;
        Some((*id, name.clone()))
    }

    /// Follows directories from `root`.
    pub(crate) fn walk(&self, root: Id, parts: &[String]) -> Result<Id, Why> {
        let mut at = root;
        for part in parts {
            let (next, _) = self.lookup(at, part).ok_or("PathNotFound")?;
            let node = &self.nodes[&next];
            if node.is_link() {
                return Err("Symlink");
            }
            if !node.directory {
                return Err("PathNotFound");
            }
            at = next;
        }
        Ok(at)
    }

    pub(crate) fn children(&self, directory: Id) -> BTreeMap<String, Id> {
        let all = self.nodes.iter().flat_map(|(id, node)| {
            let here = node.names.iter().filter(|(at, _)| *at == directory);
            here.map(|(_, name)| (name.clone(), *id))
        });
        all.collect()
    }

    pub(crate) fn is_empty(&self, directory: Id) -> bool {
        self.children(directory).is_empty()
    }

    /// Whether `top` is above a directory, or is it.
    pub(crate) fn is_below(&self, directory: Id, top: Id) -> bool {
        let mut at = directory;
        loop {
            if at == top {
                return true;
            }
            let above = self.nodes.get(&at).and_then(|node| node.names.first());
            match above {
                Some((above, _)) => at = *above,
                None => return false,
            }
        }
    }

    pub(crate) fn path_of(&self, id: Id) -> String {
        let mut parts = Vec::new();
        let mut at = id;
        while let Some((above, name)) = self.nodes.get(&at).and_then(|node| node.names.first()) {
            parts.push(name.clone());
            at = *above;
            if parts.len() > 20 {
                break;
            }
        }
        parts.reverse();
        parts.join("\\")
    }

    /// The paths of all directories that can be walked into.
    pub(crate) fn directories(&self, root: Id) -> Vec<(Id, Vec<String>)> {
        let mut all = vec![(root, Vec::new())];
        let mut next = 0;
        while let Some((at, path)) = all.get(next).cloned() {
            next += 1;
            for (name, id) in self.children(at) {
                if self.nodes[&id].directory && !self.nodes[&id].is_link() {
                    let mut path = path.clone();
                    path.push(name);
                    all.push((id, path));
                }
            }
        }
        all
    }
}

/// A path as a client writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) parts: Vec<String>,
    pub(crate) stream: Option<String>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("\\"))?;
        match &self.stream {
            Some(stream) => write!(f, ":{stream}"),
            None => Ok(()),
        }
    }
}

/// Without case, for the names that clients use here.
pub(crate) fn fold(name: &str) -> String {
    name.to_uppercase()
}

/// A descriptor as it comes back from the disk.
pub(crate) fn normal(security: &SecurityDescriptor) -> Arc<SecurityDescriptor> {
    Arc::new(SecurityDescriptor::from_bytes(&security.to_bytes()).unwrap())
}
