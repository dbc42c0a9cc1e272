//! Opening with every disposition, and closing.

use std::sync::Arc;

use strongroom_vfs::acl::{Creation, inherit};
use strongroom_vfs::{
    AccessMask, CreateAction, CreateOptions, Credentials, Disposition, DosAttributes,
    ExtendedAttribute, Handle, OpenRequest, ShareAccess,
};

use super::{STREAMS, merge_eas};
use crate::client::{Client, Held, counted};
use crate::model::{Id, Link, Model, Node, Object, Open, Path, Why, fold, normal};

const ARCHIVE: u32 = DosAttributes::ARCHIVE.0;
const READ_ONLY: u32 = DosAttributes::READ_ONLY.0;
const OVERWRITES: AccessMask =
    AccessMask(AccessMask::WRITE_DATA.0 | AccessMask::WRITE_EA.0 | AccessMask::WRITE_ATTRIBUTES.0);
/// Opens that a client keeps at most.
const HELD_MAX: usize = 6;

/// One open as a client asks for it.
#[derive(Debug, Clone)]
struct Wish {
    path: Path,
    disposition: Disposition,
    options: CreateOptions,
    access: AccessMask,
    share: ShareAccess,
    attributes: u32,
    eas: Vec<ExtendedAttribute>,
}

/// Where it ends by the model.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Nowhere,
    Missing { directory: Id, name: String },
    Found { id: Id, link: Link },
}

impl Wish {
    fn replaces(&self) -> bool {
        matches!(
            self.disposition,
            Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf
        )
    }

    fn creates(&self) -> bool {
        !matches!(self.disposition, Disposition::Open | Disposition::Overwrite)
    }

    fn choose(client: &mut Client) -> Self {
        let mut path = if client.rng.chance(60) {
            client.known_path()
        } else {
            client.path()
        };
        let rng = &mut client.rng;
        if rng.chance(12) {
            path.stream = Some(STREAMS[rng.below(STREAMS.len())].into());
        }
        let (read, write) = (AccessMask::FILE_READ, AccessMask::FILE_WRITE);
        let access = match rng.below(12) {
            0 | 1 => read,
            2 => AccessMask::DELETE | AccessMask::READ_ATTRIBUTES,
            3 => read | write,
            4 => AccessMask::APPEND_DATA | AccessMask::READ_ATTRIBUTES,
            5 | 6 => read | write | AccessMask::WRITE_DAC | AccessMask::READ_CONTROL,
            _ => read | write | AccessMask::DELETE,
        };
        let share = match rng.below(12) {
            0 => ShareAccess::NONE,
            1 => ShareAccess::READ,
            2 => ShareAccess::from_bits(3),
            _ => ShareAccess::ALL,
        };
        use Disposition::{Create, Open, OpenIf, Overwrite, OverwriteIf, Supersede};
        let disposition = [
            Open,
            Open,
            Open,
            OpenIf,
            OpenIf,
            OpenIf,
            Create,
            Create,
            Overwrite,
            OverwriteIf,
            Supersede,
        ][rng.below(11)];
        let mut options = CreateOptions {
            directory: rng.chance(18),
            non_directory: rng.chance(10),
            write_through: rng.chance(8),
            delete_on_close: rng.chance(6),
            open_reparse_point: rng.chance(50),
            ..CreateOptions::default()
        };
        options.directory &= !(path.stream.is_some() && rng.chance(90));
        let hidden = DosAttributes::HIDDEN.0;
        let attributes = [0, 0, 0, 0, hidden, READ_ONLY][rng.below(6)];
        let eas = if rng.chance(15) {
            client.eas()
        } else {
            Vec::new()
        };
        Self {
            path,
            disposition,
            options,
            access,
            share,
            attributes,
            eas,
        }
    }

    fn describe(&self) -> String {
        let Self {
            path,
            disposition,
            options,
            access,
            share,
            ..
        } = self;
        let mut words = String::new();
        for (set, word) in [
            (options.directory, " directory"),
            (options.non_directory, " file"),
            (options.write_through, " write-through"),
            (options.delete_on_close, " delete-on-close"),
            (options.open_reparse_point, " link-itself"),
            (share.read, " r"),
            (share.write, " w"),
            (share.delete, " d"),
        ] {
            words.push_str(if set { word } else { "" });
        }
        format!("open {path} {disposition:?} {access:?}{words}")
    }
}

pub(super) async fn open(client: &mut Client) {
    if client.held.len() >= HELD_MAX {
        return close_one(client).await;
    }
    let wish = Wish::choose(client);
    let shared = Arc::clone(&client.shared);
    let (why, place) = shared.model.lock().judge_open(&client.who, &wish);
    if let Place::Found { id, .. } = &place
        && shared.model.lock().opens.busy.contains(id)
    {
        return;
    }
    let path = wish.path.to_string();
    let request = OpenRequest {
        path: &path,
        access: wish.access,
        share_access: wish.share,
        disposition: wish.disposition,
        options: wish.options,
        attributes: DosAttributes(wish.attributes),
        eas: wish.eas.clone(),
        ..OpenRequest::new(&shared.share, "")
    };
    let (result, turns) = counted(shared.vfs.open(&client.who, request)).await;
    // It may have waited; what is there counts when it took effect.
    let (why, place) = if turns > 1 {
        shared.model.lock().judge_open(&client.who, &wish)
    } else {
        (why, place)
    };
    let what = client.says(&wish.describe());
    if !shared.judge(&what, &why, turns, &result) {
        return;
    }
    let (handle, action) = result.unwrap();
    match shared.vfs.stat(&handle) {
        Ok(stat) => {
            let mut model = shared.model.lock();
            let wrong = model.opened(&client.who, &wish, &place, &handle, action, stat.created.0);
            drop(model);
            if let Some(wrong) = wrong {
                shared.accuse(format!("{what}: {wrong}"));
            }
        }
        Err(error) => shared.accuse(format!("{what}: no stat of what was opened: {error}")),
    }
    client.held.push(Held {
        handle,
        write_through: wish.options.write_through,
    });
}

impl Model {
    /// Why an open must fail, and where it ends.
    fn judge_open(&self, who: &Credentials, wish: &Wish) -> (Vec<Why>, Place) {
        let mut why = Vec::new();
        let options = wish.options;
        if options.directory && (options.non_directory || wish.replaces()) {
            why.push("InvalidParameter");
        }
        if options.directory && wish.path.stream.is_some() {
            why.push("NotDirectory");
        }
        if options.delete_on_close && !wish.access.contains(AccessMask::DELETE) {
            why.push("AccessDenied");
        }
        let (last, before) = wish.path.parts.split_last().unwrap();
        let directory = match self.names.walk(self.root, before) {
            Ok(directory) => directory,
            Err(error) => {
                why.push(error);
                return (why, Place::Nowhere);
            }
        };
        match self.names.lookup(directory, last) {
            None => {
                self.judge_missing(who, wish, directory, &mut why);
                let name = last.clone();
                (why, Place::Missing { directory, name })
            }
            Some((id, name)) => {
                let link = (directory, name);
                self.judge_found(who, wish, id, &link, &mut why);
                (why, Place::Found { id, link })
            }
        }
    }

    fn judge_missing(&self, who: &Credentials, wish: &Wish, directory: Id, why: &mut Vec<Why>) {
        if !wish.creates() {
            why.push("NotFound");
            return;
        }
        if wish.options.delete_on_close && wish.attributes & READ_ONLY != 0 {
            why.push("CannotDelete");
        }
        if self.opens.has_pending(directory) {
            why.push("DeletePending");
        }
        let needed = if wish.options.directory {
            AccessMask::ADD_SUBDIRECTORY
        } else {
            AccessMask::ADD_FILE
        };
        if !self.rights(directory, who).contains(needed) {
            why.push("AccessDenied");
        }
    }

    fn judge_found(&self, who: &Credentials, wish: &Wish, id: Id, link: &Link, why: &mut Vec<Why>) {
        let node = self.node(id);
        let options = wish.options;
        if self.opens.is_pending(id, link) {
            why.push("DeletePending");
        }
        if node.is_link() && !options.open_reparse_point {
            why.push("Symlink");
        }
        let read_only = node.attributes & READ_ONLY != 0;
        let mut access = wish.access;
        if wish.replaces() {
            access |= AccessMask::WRITE_DATA;
        }
        match &wish.path.stream {
            None => {
                self.judge_kind(wish, node, why);
                let object = Object { id, stream: 0 };
                if self.opens.excluded(object, access, wish.share) {
                    why.push("SharingViolation");
                }
            }
            Some(stream) => match node.streams.get(&fold(stream)) {
                Some((_, stream)) => {
                    let object = Object {
                        id,
                        stream: *stream,
                    };
                    if self.opens.pending_streams.contains(&object) {
                        why.push("DeletePending");
                    }
                    if self.opens.excluded(object, access, wish.share) {
                        why.push("SharingViolation");
                    }
                    if wish.disposition == Disposition::Create {
                        why.push("Exists");
                    }
                }
                None if !wish.creates() => why.push("NotFound"),
                None => {
                    let may = self.rights(id, who).contains(AccessMask::WRITE_DATA);
                    if !may || (read_only && !node.directory) {
                        why.push("AccessDenied");
                    }
                }
            },
        }
        if options.delete_on_close && read_only {
            why.push("CannotDelete");
        }
        if !self.may_open(who, wish, id, link) {
            why.push("AccessDenied");
        }
    }

    fn judge_kind(&self, wish: &Wish, node: &Node, why: &mut Vec<Why>) {
        if node.directory && wish.options.non_directory {
            why.push("IsDirectory");
        }
        if !node.directory && wish.options.directory && wish.disposition != Disposition::Create {
            why.push("NotDirectory");
        }
        if wish.disposition == Disposition::Create || (wish.replaces() && node.directory) {
            why.push("Exists");
        }
        let hidden = DosAttributes::HIDDEN.0;
        let hides = node.attributes & hidden != 0 && wish.attributes & hidden == 0;
        if wish.replaces() && !node.directory && hides {
            why.push("AccessDenied");
        }
    }

    /// Whether the lists of the file and of its directory, and the read-only attribute, let this open be.
    fn may_open(&self, who: &Credentials, wish: &Wish, id: Id, link: &Link) -> bool {
        let node = self.node(id);
        let mut allowed = self.rights(id, who);
        let above = self.rights(link.0, who);
        if above.contains(AccessMask::DELETE_CHILD) {
            allowed |= AccessMask::DELETE;
        }
        if above.contains(AccessMask::LIST_DIRECTORY) {
            allowed |= AccessMask::READ_ATTRIBUTES;
        }
        if node.attributes & READ_ONLY != 0 && !node.directory {
            allowed = allowed.without(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA);
        }
        let needed = match wish.disposition {
            Disposition::Overwrite | Disposition::OverwriteIf => OVERWRITES,
            Disposition::Supersede => OVERWRITES | AccessMask::DELETE,
            Disposition::Open | Disposition::Create | Disposition::OpenIf => AccessMask::NONE,
        };
        allowed.contains(wish.access | needed)
    }

    /// Takes note of an open that was let in; tells what is wrong with it.
    fn opened(
        &mut self,
        who: &Credentials,
        wish: &Wish,
        place: &Place,
        handle: &Handle,
        action: CreateAction,
        created: u64,
    ) -> Option<String> {
        let id = handle.inode().0;
        let (object, link, expected) = match place {
            Place::Nowhere => return Some("there is no such directory".into()),
            Place::Missing { directory, name } => {
                if self.names.nodes.contains_key(&id) || self.opens.gone.contains_key(&id) {
                    return Some(format!("inode {id} was given out twice"));
                }
                let link = (*directory, name.clone());
                let object = self.make(who, wish, id, &link, created);
                (object, link, CreateAction::Created)
            }
            Place::Found { id: expected, link } => {
                if id != *expected {
                    return Some(format!("inode {id} was opened, not {expected}"));
                }
                let (object, action) = self.reopen(wish, id, created);
                (object, link.clone(), action)
            }
        };
        self.opens.all.insert(
            handle.id().0,
            Open {
                object,
                access: wish.access,
                share: wish.share,
                link,
                delete_on_close: wish.options.delete_on_close,
            },
        );
        (action != expected).then(|| format!("it was {action:?}, not {expected:?}"))
    }

    fn make(
        &mut self,
        who: &Credentials,
        wish: &Wish,
        id: Id,
        link: &Link,
        created: u64,
    ) -> Object {
        let above = self.node(link.0);
        let directory = wish.options.directory;
        let security = inherit(&Creation {
            parent: &above.security,
            given: None,
            is_directory: directory,
            creator: who,
        });
        let mut node = Node {
            directory,
            attributes: wish.attributes & !ARCHIVE,
            created,
            eas: Default::default(),
            security: normal(&security),
            reparse: None,
            streams: Default::default(),
            names: [link.clone()].into(),
            next_stream: 1,
            tree: above.tree,
        };
        merge_eas(&mut node, &wish.eas);
        let stream = add_stream(&mut node, wish);
        self.names.nodes.insert(id, Arc::new(node));
        self.changed();
        Object { id, stream }
    }

    fn reopen(&mut self, wish: &Wish, id: Id, created: u64) -> (Object, CreateAction) {
        let replaced = if wish.disposition == Disposition::Supersede {
            CreateAction::Superseded
        } else {
            CreateAction::Overwritten
        };
        let Some(name) = &wish.path.stream else {
            let object = Object { id, stream: 0 };
            if !wish.replaces() {
                return (object, CreateAction::Opened);
            }
            self.overwrite(wish, id, created);
            return (object, replaced);
        };
        let held = self.node(id).streams.get(&fold(name)).cloned();
        let Some((_, stream)) = held else {
            let mut node = self.node(id).clone();
            let stream = add_stream(&mut node, wish);
            self.change(id, |held| *held = node);
            return (Object { id, stream }, CreateAction::Created);
        };
        let object = Object { id, stream };
        if !wish.replaces() {
            return (object, CreateAction::Opened);
        }
        self.empty(object);
        (object, replaced)
    }

    fn empty(&mut self, object: Object) {
        if self.data.len(object) > 0 {
            self.data.push(object, Vec::new());
        }
    }

    fn overwrite(&mut self, wish: &Wish, id: Id, created: u64) {
        self.empty(Object { id, stream: 0 });
        let mut node = self.node(id).clone();
        let streams = std::mem::take(&mut node.streams);
        for (folded, (name, stream)) in streams {
            let object = Object { id, stream };
            if self.opens.of_object(object).next().is_some() {
                self.opens.pending_streams.insert(object);
                node.streams.insert(folded, (name, stream));
            }
        }
        node.eas.clear();
        merge_eas(&mut node, &wish.eas);
        let kept = node.attributes & DosAttributes::SPARSE_FILE.0;
        node.attributes = kept | (wish.attributes & !ARCHIVE);
        if wish.disposition == Disposition::Supersede {
            node.created = created;
        }
        self.change(id, |held| *held = node);
    }

    /// Takes note of a close that could write nothing down: the open is over, what it had to remove stays marked.
    fn left(&mut self, key: u64) {
        let Some(open) = self.opens.all.remove(&key) else {
            return;
        };
        self.opens.locks.retain(|lock| lock.handle != key);
        if open.delete_on_close {
            self.mark(open.object, &open.link);
        }
        if self.opens.of_object(open.object).next().is_none() {
            self.opens.pending_streams.remove(&open.object);
        }
    }

    /// Takes note of a close.
    pub(super) fn closed(&mut self, key: u64) {
        let Some(open) = self.opens.all.remove(&key) else {
            return;
        };
        self.opens.locks.retain(|lock| lock.handle != key);
        let Object { id, stream } = open.object;
        let gone = self.opens.gone.contains_key(&id);
        if open.delete_on_close && !gone {
            self.mark(open.object, &open.link);
        }
        let unused = self.opens.of_object(open.object).next().is_none();
        if stream != 0 && unused && self.opens.pending_streams.remove(&open.object) {
            self.change(id, |node| {
                node.streams.retain(|_, (_, held)| *held != stream)
            });
        }
        if gone {
            if self.opens.of(id).next().is_none() {
                self.opens.gone.remove(&id);
            }
            return;
        }
        let last = self.opens.through(id, &open.link).next().is_none();
        if self.opens.is_pending(id, &open.link) && last {
            if self.node(id).directory && !self.names.is_empty(id) {
                self.opens.pending.remove(&(id, open.link));
            } else {
                self.drop_name(id, &open.link);
                self.changed();
            }
        }
    }

    /// Marks a name or a stream for deletion.
    pub(super) fn mark(&mut self, object: Object, link: &Link) {
        if object.stream != 0 {
            self.opens.pending_streams.insert(object);
        } else if !self.opens.gone.contains_key(&object.id) {
            self.opens.pending.insert((object.id, link.clone()));
        }
    }
}

/// Adds the stream that is asked for, if one is; its number, or 0.
fn add_stream(node: &mut Node, wish: &Wish) -> u32 {
    let Some(name) = &wish.path.stream else {
        return 0;
    };
    let stream = node.next_stream;
    node.next_stream += 1;
    node.streams.insert(fold(name), (name.clone(), stream));
    stream
}

/// Closes some open.
pub(super) async fn close_one(client: &mut Client) {
    if !client.held.is_empty() {
        let index = client.rng.below(client.held.len());
        close(client, index).await;
    }
}

pub(crate) async fn close(client: &mut Client, index: usize) {
    let held = client.held.swap_remove(index);
    let shared = Arc::clone(&client.shared);
    let (result, turns) = counted(shared.vfs.close(&held.handle)).await;
    let what = client.says(&format!("close {}", describe(client, &held)));
    let done = shared.judge(&what, &[], turns, &result);
    let mut model = shared.model.lock();
    if done {
        model.closed(held.key());
    } else {
        model.left(held.key());
    }
}

/// An open for people.
pub(super) fn describe(client: &Client, held: &Held) -> String {
    let model = client.shared.model.lock();
    let Some(open) = model.opens.all.get(&held.key()) else {
        return format!("handle {}", held.key());
    };
    let above = model.names.path_of(open.link.0);
    let Object { id, stream } = open.object;
    let name = &open.link.1;
    format!("{above}\\{name} ({id}:{stream}, handle {})", held.key())
}
