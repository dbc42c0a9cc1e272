//! Renames, links, and removals.

use std::sync::Arc;

use strongroom_vfs::{AccessMask, CaseMode, Credentials, DosAttributes};

use super::directory::{close_directory, open_directory};
use super::open::describe;
use super::{STREAMS, object_of};
use crate::client::{Client, Held, counted};
use crate::model::{Id, Link, Model, Object, Open, Path, Why, fold};

const READ_ONLY: u32 = DosAttributes::READ_ONLY.0;

/// Where something is to go: the directory, the name, and what has it now.
type Destination = (Id, String, Option<(Id, String)>);

impl Client {
    fn target(&mut self) -> Path {
        if self.rng.chance(35) {
            self.known_path()
        } else {
            self.path()
        }
    }
}

impl Model {
    fn destination(&self, path: &Path) -> Result<Destination, Why> {
        let (last, before) = path.parts.split_last().unwrap();
        let directory = self.names.walk(self.root, before)?;
        Ok((directory, last.clone(), self.names.lookup(directory, last)))
    }

    /// Why what has the name cannot be replaced.
    fn judge_replaced(&self, who: &Credentials, directory: Id, present: &(Id, String)) -> Vec<Why> {
        let (id, name) = present;
        let node = self.node(*id);
        let link = (directory, name.clone());
        let open = self.opens.through(*id, &link).next().is_some();
        let kept = node.directory || node.attributes & READ_ONLY != 0;
        let pending = self.opens.is_pending(*id, &link);
        if kept || open || pending || !self.may_delete(who, *id, directory) {
            vec!["AccessDenied"]
        } else {
            Vec::new()
        }
    }

    fn may_delete(&self, who: &Credentials, id: Id, directory: Id) -> bool {
        self.rights(id, who).contains(AccessMask::DELETE)
            || self
                .rights(directory, who)
                .contains(AccessMask::DELETE_CHILD)
    }

    fn may_add(&self, who: &Credentials, directory: Id, adds_directory: bool) -> bool {
        let needed = if adds_directory {
            AccessMask::ADD_SUBDIRECTORY
        } else {
            AccessMask::ADD_FILE
        };
        self.rights(directory, who).contains(needed)
    }

    fn judge_rename(&self, who: &Credentials, held: &Held, path: &Path, replace: bool) -> Vec<Why> {
        let open = &self.opens.all[&held.key()];
        let id = open.object.id;
        let node = self.node(id);
        let mut why = Vec::new();
        if !open.access.contains(AccessMask::DELETE) {
            why.push("AccessDenied");
        }
        if open.object.stream != 0 {
            why.push("InvalidParameter");
        }
        if id == self.root {
            why.push("AccessDenied");
        }
        let gone = self.opens.gone.contains_key(&id);
        if gone {
            why.push("NotFound");
        }
        if gone || self.opens.is_pending(id, &open.link) {
            why.push("DeletePending");
        }
        let (directory, _, present) = match self.destination(path) {
            Ok(destination) => destination,
            Err(error) => {
                why.push(error);
                return why;
            }
        };
        // The name that it was opened by was removed, and the file has another.
        if !node.names.contains(&open.link) {
            why.push("InUse");
        }
        let moves = directory != open.link.0;
        if node.directory {
            if moves && self.names.is_below(directory, id) {
                why.push("InvalidParameter");
            }
            if self.has_opens_below(id) {
                why.push("InUse");
            }
        }
        self.judge_taken(who, held, directory, present.as_ref(), replace, &mut why);
        self.judge_move(who, held, directory, &mut why);
        why
    }

    /// What has the name already, and may or may not be replaced.
    fn judge_taken(
        &self,
        who: &Credentials,
        held: &Held,
        directory: Id,
        present: Option<&(Id, String)>,
        replace: bool,
        why: &mut Vec<Why>,
    ) {
        let open = &self.opens.all[&held.key()];
        let Some(present) = present else { return };
        let itself = present.0 == open.object.id;
        if itself && open.link == (directory, present.1.clone()) {
            return;
        }
        if !replace {
            why.push("Exists");
        } else if itself {
            why.push("AccessDenied");
        } else {
            if self.node(open.object.id).directory {
                why.push("AccessDenied");
            }
            why.extend(self.judge_replaced(who, directory, present));
        }
    }

    fn judge_move(&self, who: &Credentials, held: &Held, directory: Id, why: &mut Vec<Why>) {
        let open = &self.opens.all[&held.key()];
        let node = self.node(open.object.id);
        let mut others = self.opens.all.iter().filter(|(key, _)| **key != held.key());
        if others.any(|(_, other)| other.object == open.object && !other.share.delete) {
            why.push("SharingViolation");
        }
        if self.opens.has_pending(directory) {
            why.push("DeletePending");
        }
        let holds = |open: &Open| open.access.contains(AccessMask::DELETE);
        let mut others = self.opens.all.iter().filter(|(key, _)| **key != held.key());
        if others.any(|(_, other)| other.object.id == directory && holds(other)) {
            why.push("SharingViolation");
        }
        if open.link.0 == directory {
            return;
        }
        if node.directory && self.node(directory).tree != node.tree {
            why.push("NotSameVolume");
        }
        if !self.may_add(who, directory, node.directory) {
            why.push("AccessDenied");
        }
    }

    fn has_opens_below(&self, directory: Id) -> bool {
        let mut others = self
            .opens
            .all
            .values()
            .filter(|open| open.object.id != directory);
        others.any(|open| self.names.is_below(open.link.0, directory))
    }

    fn renamed(&mut self, held: &Held, path: &Path) {
        let open = self.opens.all[&held.key()].clone();
        let id = open.object.id;
        let (directory, name, present) = self.destination(path).unwrap();
        let to: Link = (directory, name);
        if let Some((other, name)) = present
            && other != id
        {
            self.drop_name(other, &(directory, name));
        }
        let tree = self.node(directory).tree;
        let node = self.names.nodes.get_mut(&id).unwrap();
        let node = Arc::make_mut(node);
        node.names.remove(&open.link);
        node.names.insert(to.clone());
        node.tree = tree;
        self.changed();
        for other in self.opens.all.values_mut() {
            if other.object.id == id && other.link == open.link {
                other.link = to.clone();
            }
        }
        if self.opens.pending.remove(&(id, open.link)) {
            self.opens.pending.insert((id, to));
        }
    }

    fn judge_link(&self, who: &Credentials, held: &Held, path: &Path, replace: bool) -> Vec<Why> {
        let open = &self.opens.all[&held.key()];
        let id = open.object.id;
        let node = self.node(id);
        let mut why = Vec::new();
        if node.directory {
            why.push("IsDirectory");
        }
        if open.object.stream != 0 {
            why.push("InvalidParameter");
        }
        let (directory, _, present) = match self.destination(path) {
            Ok(destination) => destination,
            Err(error) => {
                why.push(error);
                return why;
            }
        };
        if present.as_ref().is_some_and(|(present, _)| *present == id) {
            if !replace {
                why.push("Exists");
            }
            return why;
        }
        if self.opens.has_pending(directory)
            || self.opens.gone.contains_key(&id)
            || self.opens.has_pending(id)
        {
            why.push("DeletePending");
        }
        if !self.may_add(who, directory, false) {
            why.push("AccessDenied");
        }
        if self.node(directory).tree != node.tree {
            why.push("NotSameVolume");
        }
        if let Some(present) = &present {
            if replace {
                why.extend(self.judge_replaced(who, directory, present));
            } else {
                why.push("Exists");
            }
        }
        why
    }

    fn linked(&mut self, held: &Held, path: &Path) {
        let id = self.opens.all[&held.key()].object.id;
        let (directory, name, present) = self.destination(path).unwrap();
        if let Some((other, held)) = present {
            if other == id {
                return;
            }
            self.drop_name(other, &(directory, held));
        }
        let node = self.names.nodes.get_mut(&id).unwrap();
        Arc::make_mut(node).names.insert((directory, name));
        self.changed();
    }
}

pub(super) async fn rename(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let is_stream = object_of(&shared.model.lock(), &held).stream != 0;
    if is_stream && client.rng.chance(80) {
        return rename_stream(client, &held).await;
    }
    let (path, replace) = (client.target(), client.rng.chance(50));
    let why = shared
        .model
        .lock()
        .judge_rename(&client.who, &held, &path, replace);
    let what = format!(
        "rename {} to {path}, replace {replace}",
        describe(client, &held)
    );
    let what = client.says(&what);
    let text = path.to_string();
    let (result, turns) = counted(shared.vfs.rename(&held.handle, &text, replace)).await;
    if shared.judge(&what, &why, turns, &result) {
        shared.model.lock().renamed(&held, &path);
    }
}

async fn rename_stream(client: &mut Client, held: &Held) {
    let shared = Arc::clone(&client.shared);
    let name = STREAMS[client.rng.below(STREAMS.len())];
    let replace = client.rng.chance(50);
    let why = {
        let model = shared.model.lock();
        let open = &model.opens.all[&held.key()];
        let mut why = Vec::new();
        if !open.access.contains(AccessMask::DELETE) {
            why.push("AccessDenied");
        }
        let mut others = model
            .opens
            .all
            .iter()
            .filter(|(key, _)| **key != held.key());
        if others.any(|(_, other)| other.object == open.object && !other.share.delete) {
            why.push("SharingViolation");
        }
        let present = model.node(open.object.id).streams.get(&fold(name));
        if let Some((_, stream)) = present.filter(|(_, stream)| *stream != open.object.stream) {
            let object = Object {
                stream: *stream,
                ..open.object
            };
            if !replace {
                why.push("Exists");
            }
            if model.opens.of_object(object).next().is_some() {
                why.push("InUse");
            }
        }
        // A file that went took its streams along.
        if !model
            .node(open.object.id)
            .streams
            .values()
            .any(|(_, held)| *held == open.object.stream)
        {
            why.push("Closed");
        }
        why
    };
    let text = format!(":{name}");
    let (result, turns) = counted(shared.vfs.rename(&held.handle, &text, replace)).await;
    let what = format!(
        "rename stream {} to {name}, replace {replace}",
        describe(client, held)
    );
    if shared.judge(&client.says(&what), &why, turns, &result) {
        let mut model = shared.model.lock();
        let object = object_of(&model, held);
        model.change(object.id, |node| {
            node.streams
                .retain(|_, (_, stream)| *stream != object.stream);
            node.streams
                .insert(fold(name), (name.to_owned(), object.stream));
        });
    }
}

pub(super) async fn link(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let (path, replace) = (client.target(), client.rng.chance(40));
    let why = shared
        .model
        .lock()
        .judge_link(&client.who, &held, &path, replace);
    let what = format!(
        "link {} as {path}, replace {replace}",
        describe(client, &held)
    );
    let what = client.says(&what);
    let text = path.to_string();
    let (result, turns) = counted(shared.vfs.link(&held.handle, &text, replace)).await;
    if shared.judge(&what, &why, turns, &result) {
        shared.model.lock().linked(&held, &path);
    }
}

/// Removes a name at once, whoever has the file open.
pub(super) async fn unlink(client: &mut Client) {
    let path = client.known_path();
    let shared = Arc::clone(&client.shared);
    let (last, before) = path.parts.split_last().unwrap();
    let Some(directory) = open_directory(&shared, before).await else {
        return;
    };
    let at = directory.inode().0;
    let why = {
        let model = shared.model.lock();
        let mut why = Vec::new();
        match model.names.lookup(at, last) {
            None => why.push("NotFound"),
            Some((id, _)) => {
                if !model.may_delete(&client.who, id, at) {
                    why.push("AccessDenied");
                }
                if model.node(id).directory && !model.names.is_empty(id) {
                    why.push("NotEmpty");
                }
            }
        }
        why
    };
    let work = shared
        .vfs
        .unlink(&client.who, &directory, last, CaseMode::Insensitive);
    let (result, turns) = counted(work).await;
    let what = client.says(&format!("unlink {path}"));
    if shared.judge(&what, &why, turns, &result) {
        let mut model = shared.model.lock();
        let (id, name) = model.names.lookup(at, last).unwrap();
        model.drop_name(id, &(at, name));
        model.changed();
    }
    close_directory(&shared, &directory).await;
}

/// Marks for deletion, or takes the mark back.
pub(super) async fn delete(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let delete = client.rng.chance(80);
    let why = {
        let model = shared.model.lock();
        let open = &model.opens.all[&held.key()];
        let node = model.node(open.object.id);
        let mut why = Vec::new();
        if !open.access.contains(AccessMask::DELETE) {
            why.push("AccessDenied");
        }
        if delete && (node.attributes & READ_ONLY != 0 || open.object.id == model.root) {
            why.push("CannotDelete");
        }
        let filled = node.directory && !model.names.is_empty(open.object.id);
        if delete && open.object.stream == 0 && filled {
            why.push("NotEmpty");
        }
        why
    };
    let (result, turns) = counted(shared.vfs.set_delete(&held.handle, delete)).await;
    let what = client.says(&format!(
        "set delete {delete} of {}",
        describe(client, &held)
    ));
    if !shared.judge(&what, &why, turns, &result) {
        return;
    }
    let mut model = shared.model.lock();
    let Open { object, link, .. } = model.opens.all[&held.key()].clone();
    if delete {
        model.mark(object, &link);
    } else {
        model.opens.pending_streams.remove(&object);
        if object.stream == 0 {
            model.opens.pending.remove(&(object.id, link));
        }
    }
}
