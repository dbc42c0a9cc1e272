//! Reading everything back, and comparing it with what may be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strongroom_store::{Inode, ObjectId};
use strongroom_vfs::acl::SecurityParts;
use strongroom_vfs::{
    AccessMask, CreateOptions, DirCursor, DosAttributes, Handle, OpenRequest, QuotaOf, SessionId,
    Share, ShareAccess, Vfs, VfsError,
};

use crate::client::{admin, name_of};
use crate::machine::Stack;
use crate::model::{Data, Id, Model, Names, Node, Object, fold, normal};
use crate::plan::Budget;

/// All that the file system shows. Streams are known by their folded names; the file's own has none.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) names: Names,
    data: BTreeMap<(Id, String), Result<Vec<u8>, VfsError>>,
}

/// What became of a comparison.
pub(crate) enum Verdict {
    Sound,
    /// Some files' data was reported as damaged: their paths, with `:stream` where it is one.
    Damaged(Vec<String>),
    /// Nothing more can be said, within what was promised.
    Given,
}

/// The bytes of a stream as the store has them now.
pub(crate) fn current(vfs: &Vfs, object: Object) -> Result<Vec<u8>, VfsError> {
    let object = ObjectId {
        inode: Inode(object.id),
        stream: object.stream,
    };
    let size = vfs.store().head(object)?.size as usize;
    let mut bytes = vec![0xA5; size];
    let read = vfs.store().read(object, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Opens something for a look at all of it.
async fn open(vfs: &Vfs, share: &Share, path: &str) -> Result<Arc<Handle>, VfsError> {
    let request = OpenRequest {
        path,
        access: AccessMask::FILE_READ | AccessMask::READ_CONTROL,
        share_access: ShareAccess::ALL,
        options: CreateOptions {
            open_reparse_point: true,
            backup_intent: true,
            ..CreateOptions::default()
        },
        ..OpenRequest::new(share, "")
    };
    Ok(vfs.open(&admin(), request).await?.0)
}

/// Reads all names, attributes and bytes.
pub(crate) async fn read_back(vfs: &Vfs, share: &Share) -> Result<Found, VfsError> {
    let mut found = Found::default();
    let root = open(vfs, share, "").await?;
    let node = describe(vfs, &root, BTreeSet::new())?;
    found.names.nodes.insert(share.root.0, Arc::new(node));
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let handle = open(vfs, share, &directory).await?;
        let mut cursor = DirCursor::default();
        loop {
            let page = vfs.list(&handle, &mut cursor, "*", 50)?;
            if page.is_empty() {
                break;
            }
            let named = page.into_iter().filter(|e| e.name != "." && e.name != "..");
            for entry in named {
                let path = if directory.is_empty() {
                    entry.name.clone()
                } else {
                    format!("{directory}\\{}", entry.name)
                };
                let link = (handle.inode().0, entry.name);
                read_one(vfs, share, &path, link, &mut found).await?;
                if entry.stat.is_directory {
                    directories.push(path);
                }
            }
        }
    }
    Ok(found)
}

async fn read_one(
    vfs: &Vfs,
    share: &Share,
    path: &str,
    link: (Id, String),
    found: &mut Found,
) -> Result<(), VfsError> {
    let handle = open(vfs, share, path).await?;
    let id = handle.inode().0;
    if let Some(node) = found.names.nodes.get_mut(&id) {
        Arc::make_mut(node).names.insert(link);
        return Ok(());
    }
    let node = describe(vfs, &handle, BTreeSet::from([link]))?;
    if !node.directory {
        let bytes = content(vfs, &handle);
        found.data.insert((id, String::new()), bytes);
    }
    for (folded, (name, _)) in &node.streams {
        let stream = open(vfs, share, &format!("{path}:{name}")).await?;
        let bytes = content(vfs, &stream);
        found.data.insert((id, folded.clone()), bytes);
    }
    found.names.nodes.insert(id, Arc::new(node));
    Ok(())
}

fn content(vfs: &Vfs, handle: &Handle) -> Result<Vec<u8>, VfsError> {
    let size = vfs.stat(handle)?.size as usize;
    let mut bytes = vec![0xA5; size];
    let read = vfs.read(handle, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn describe(vfs: &Vfs, handle: &Handle, names: BTreeSet<(Id, String)>) -> Result<Node, VfsError> {
    let stat = vfs.stat(handle)?;
    let derived = DosAttributes::ARCHIVE.0
        | DosAttributes::NORMAL.0
        | DosAttributes::DIRECTORY.0
        | DosAttributes::REPARSE_POINT.0;
    let mut node = Node {
        directory: stat.is_directory,
        attributes: stat.attributes.0 & !derived,
        created: stat.created.0,
        eas: BTreeMap::new(),
        security: Arc::default(),
        reparse: None,
        streams: BTreeMap::new(),
        names,
        next_stream: 1,
        tree: 0,
    };
    for ea in vfs.eas(handle)? {
        let value = (ea.flags, ea.name.clone(), ea.value);
        node.eas.insert(fold(&ea.name), value);
    }
    let parts = SecurityParts::OWNER
        .union(SecurityParts::GROUP)
        .union(SecurityParts::DACL);
    node.security = normal(&vfs.security(handle, parts)?);
    if stat.reparse_tag != 0 {
        node.reparse = Some(vfs.reparse(handle)?);
    }
    for stream in vfs.streams(handle)? {
        if !stream.name.is_empty() {
            node.streams.insert(fold(&stream.name), (stream.name, 0));
        }
    }
    Ok(node)
}

impl Found {
    /// Client sessions that the model ever knew.
    fn add_sessions(&mut self, vfs: &Vfs, known: &Names) -> Result<(), VfsError> {
        for id in known.sessions.keys() {
            if let Some(record) = vfs.session(SessionId(*id))? {
                self.names.sessions.insert(*id, record.ended.is_some());
            }
        }
        Ok(())
    }

    /// Makes a first model of what is there.
    pub(crate) fn into_model(self, root: Id) -> Model {
        let node = (*self.names.nodes[&root]).clone();
        let mut model = Model::new(root, node);
        let mut data = Data::default();
        for ((id, stream), bytes) in self.data {
            assert!(stream.is_empty(), "a new file system has no named streams");
            data.settle(Object { id, stream: 0 }, bytes.unwrap());
        }
        model.adopt(self.names, data);
        model
    }
}

/// Compares what is there with what may be there by the model, which then takes it for the truth.
pub(crate) async fn compare(
    stack: &Stack,
    model: &mut Model,
    budget: Budget,
) -> Result<Verdict, String> {
    let beyond = budget == Budget::Beyond;
    let mut found = match read_back(&stack.vfs, &stack.share).await {
        Ok(found) => found,
        Err(_) if beyond => return Ok(Verdict::Given),
        Err(error) => return Err(format!("cannot read everything back: {error:?}")),
    };
    if let Err(error) = found.add_sessions(&stack.vfs, &model.names) {
        return Err(format!("cannot read the sessions back: {error:?}"));
    }
    let same = model
        .candidates(beyond)
        .find(|names| names.differences(&found.names).is_empty());
    let Some(names) = same.cloned() else {
        return Err(no_state(model, &found, beyond));
    };
    let mut data = Data::default();
    let mut damaged = Vec::new();
    for (object, key) in objects(&names) {
        let bytes = match found.data.remove(&key) {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) if budget >= Budget::Data && name_of(&error) == "Corrupt" => {
                damaged.push(path_of(&names, object));
                continue;
            }
            other => return Err(format!("{}: {other:?}", path_of(&names, object))),
        };
        if !model.data.may_be(object, &bytes, beyond) {
            let what = model.data.explain(object, &bytes);
            let path = path_of(&names, object);
            return Err(format!("{path} ({object:?}) never was so: {what}"));
        }
        data.settle(object, bytes);
    }
    model.adopt(names, data);
    if damaged.is_empty() {
        Ok(Verdict::Sound)
    } else {
        Ok(Verdict::Damaged(damaged))
    }
}

/// All streams with data, and what they are known by when found.
fn objects(names: &Names) -> Vec<(Object, (Id, String))> {
    let mut all = Vec::new();
    for (id, node) in &names.nodes {
        if !node.directory {
            all.push((Object { id: *id, stream: 0 }, (*id, String::new())));
        }
        for (folded, (_, stream)) in &node.streams {
            let object = Object {
                id: *id,
                stream: *stream,
            };
            all.push((object, (*id, folded.clone())));
        }
    }
    all
}

fn path_of(names: &Names, object: Object) -> String {
    let node = &names.nodes[&object.id];
    let named = node
        .streams
        .values()
        .find(|(_, stream)| *stream == object.stream);
    let path = names.path_of(object.id);
    match named {
        Some((name, _)) => format!("{path}:{name}"),
        None => path,
    }
}

fn no_state(model: &Model, found: &Found, beyond: bool) -> String {
    let count = model.candidates(beyond).count();
    let closest = model
        .candidates(beyond)
        .map(|names| names.differences(&found.names))
        .min_by_key(Vec::len);
    let differences = closest.unwrap_or_default();
    let first: Vec<_> = differences.iter().take(4).collect();
    format!(
        "names are in none of the {count} states that they may be in; the closest has {} differences: {first:#?}",
        differences.len()
    )
}

/// Each quota says the sum over its files, once all of them are closed.
pub(crate) fn quotas(stack: &Stack, model: &Model) -> Result<(), String> {
    if !model.quotas {
        return Ok(());
    }
    let mut users: BTreeMap<QuotaOf, u64> = BTreeMap::new();
    for (id, node) in &model.names.nodes {
        let taken = taken(stack, *id, node).map_err(|error| error.to_string())?;
        if let Some(owner) = node.security.owner {
            *users.entry(QuotaOf::User(owner)).or_default() += taken;
        }
        if node.tree != 0 {
            *users.entry(QuotaOf::Tree(Inode(node.tree))).or_default() += taken;
        }
    }
    for quota in stack.vfs.quotas() {
        let expected = users.get(&quota.of).copied().unwrap_or(0);
        if quota.used != expected {
            let of = quota.of;
            return Err(format!(
                "the quota of {of:?} says {} bytes, its files take {expected}",
                quota.used
            ));
        }
    }
    Ok(())
}

/// Bytes that all streams of a file take.
fn taken(stack: &Stack, id: Id, node: &Node) -> Result<u64, VfsError> {
    let sparse = node.attributes & DosAttributes::SPARSE_FILE.0 != 0;
    let named = node.streams.values().map(|(_, stream)| *stream);
    let mut sum = 0;
    for stream in std::iter::once(0).chain(named) {
        let inode = Inode(id);
        let head = stack.store.head(ObjectId { inode, stream })?;
        let bytes = if sparse {
            head.allocated.min(head.size)
        } else {
            head.size
        };
        sum += bytes.next_multiple_of(4096);
    }
    Ok(sum)
}
