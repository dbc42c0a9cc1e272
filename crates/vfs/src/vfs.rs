//! The file system: what is shared by all operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use strongroom_device::{Env, Timestamp};
use strongroom_store::{Inode, Store, Txn, View};

use crate::acl::{Ace, AceFlags, Acl, AclSlot, Control, SecurityDescriptor};
use crate::grants::Keys;
use crate::guard::Guard;
use crate::node::{Node, Nodes};
use crate::past::ShareRealms;
use crate::persistent::Persistents;
use crate::quota::Quotas;
use crate::rows::{self, Attr, AttrFlags, SdRef};
use crate::schedules::Schedules;
use crate::security::DescriptorCache;
use crate::sessions::Sessions;
use crate::shares::Shares;
use crate::short::ShortNames;
use crate::snapshots::Snapshots;
use crate::unix::Listings;
use crate::watch::Watches;
use crate::works::Works;
use crate::{AccessMask, DosAttributes, FileKind, FileTime, HandleId, Result, Sid, VfsError};

/// Version of the rows; higher ones are refused.
const FORMAT_VERSION: u64 = 1;
const FORMAT_KEY: u64 = 0;
/// Nodes kept in memory that nobody uses.
const IDLE_NODES_MAX: usize = 65_536;

/// The file system over one store. Made by [`Vfs::create`] or [`Vfs::open_store`].
#[derive(Debug)]
pub struct Vfs {
    pub(crate) store: Arc<Store>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) nodes: Nodes,
    pub(crate) watches: Watches,
    pub(crate) quotas: Quotas,
    pub(crate) shares: Shares,
    pub(crate) sessions: Sessions,
    pub(crate) snapshots: Snapshots,
    pub(crate) schedules: Schedules,
    pub(crate) works: Works,
    pub(crate) guard: Guard,
    pub(crate) descriptors: DescriptorCache,
    /// Held while a directory moves to another, so that no two moves make a cycle.
    pub(crate) rename_lock: Mutex<()>,
    /// What the keys of grants are for.
    pub(crate) grant_keys: Keys,
    /// Grants on directories; mostly there are none to be looked for when a name changes.
    pub(crate) directory_grants: AtomicUsize,
    pub(crate) short_names: ShortNames,
    pub(crate) persistents: Persistents,
    /// Listings by cookie under way.
    pub(crate) listings: Listings,
    next_handle: AtomicU64,
    me: std::sync::Weak<Vfs>,
}

impl Vfs {
    /// Lays a new file system on an empty store.
    pub fn create(store: Arc<Store>, env: Arc<dyn Env>) -> Result<Arc<Self>> {
        let key = rows::list_key(FORMAT_KEY);
        if store.get(rows::COUNTERS, &key)?.is_some() {
            return Err(VfsError::Exists);
        }
        let mut txn = store.txn(strongroom_store::SessionId::SYSTEM);
        txn.put(rows::COUNTERS, key, FORMAT_VERSION.to_le_bytes().to_vec());
        txn.commit()?;
        Self::start(store, env)
    }

    /// Opens the file system of a store and finishes what a crash left: unlinked files that were open, charges.
    pub fn open_store(store: Arc<Store>, env: Arc<dyn Env>) -> Result<Arc<Self>> {
        let row = store.get(rows::COUNTERS, &rows::list_key(FORMAT_KEY))?;
        let row = row.ok_or_else(|| VfsError::Corrupt("the store holds no file system".into()))?;
        let version = rows::Reader::new(&row, "counters").u64()?;
        if version > FORMAT_VERSION {
            return Err(VfsError::Corrupt(format!(
                "the file system has format version {version}; this program knows up to {FORMAT_VERSION}"
            )));
        }
        let vfs = Self::start(store, env)?;
        vfs.finish_orphans()?;
        vfs.finish_charges()?;
        Ok(vfs)
    }

    fn start(store: Arc<Store>, env: Arc<dyn Env>) -> Result<Arc<Self>> {
        let shares = Shares::load(&store)?;
        let quotas = Quotas::load(&store)?;
        let sessions = Sessions::load(&store)?;
        let snapshots = Snapshots::load(&store, &*env)?;
        let schedules = Schedules::load(&store)?;
        let guard = Guard::load(&store)?;
        store.set_realms(Arc::new(ShareRealms(Arc::clone(&shares.roots))));
        let vfs = Arc::new_cyclic(|me| Self {
            store,
            env,
            nodes: Nodes::new(IDLE_NODES_MAX),
            watches: Watches::default(),
            quotas,
            shares,
            sessions,
            snapshots,
            schedules,
            works: Works::default(),
            guard,
            descriptors: DescriptorCache::default(),
            rename_lock: Mutex::new(()),
            grant_keys: Keys::default(),
            directory_grants: AtomicUsize::new(0),
            short_names: ShortNames::default(),
            persistents: Persistents::default(),
            listings: Listings::default(),
            next_handle: AtomicU64::new(1),
            me: me.clone(),
        });
        vfs.resume_locks();
        vfs.follow_schedules();
        Ok(vfs)
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn weak(&self) -> std::sync::Weak<Self> {
        self.me.clone()
    }

    pub(crate) fn now(&self) -> FileTime {
        self.env.now().into()
    }

    /// Now, in the store's form and cut to what clients can see.
    pub(crate) fn timestamp(&self) -> Timestamp {
        let now = self.env.now();
        Timestamp(now.0 - now.0 % 100)
    }

    pub(crate) fn new_handle_id(&self) -> HandleId {
        HandleId(self.next_handle.fetch_add(1, Ordering::Relaxed))
    }

    /// The node of an inode that must exist, as something names it.
    pub(crate) fn node(&self, inode: Inode) -> Result<Arc<Node>> {
        self.nodes
            .get(&self.store, inode)?
            .ok_or(VfsError::NotFound)
    }

    /// The node of an inode as a view shows it; None if there was no such inode then.
    pub(crate) fn node_in(&self, view: &View, inode: Inode) -> Result<Option<Arc<Node>>> {
        self.nodes.get_in(&self.store, view, inode)
    }

    /// Makes the root directory of a share, with nobody's parent but itself.
    pub(crate) fn make_root(&self, txn: &mut Txn<'_>) -> Inode {
        let inode = self.store.allocate_inode(Inode(0));
        let mut attr = new_attr(FileKind::Directory, self.now(), inode);
        attr.security = SdRef::Own;
        attr.links = 1;
        txn.put(rows::ATTRIBUTES, rows::inode_key(inode), attr.encode());
        let security = root_security().to_bytes();
        txn.put(rows::SECURITY, rows::own_security_key(inode), security);
        inode
    }
}

/// A change of the attribute row: counts it and puts it into the transaction.
pub(crate) fn put_attr(txn: &mut Txn<'_>, inode: Inode, attr: &mut Attr) {
    attr.version += 1;
    txn.put(rows::ATTRIBUTES, rows::inode_key(inode), attr.encode());
}

/// The attributes of something new, without a name yet.
pub(crate) fn new_attr(kind: FileKind, now: FileTime, parent: Inode) -> Attr {
    Attr {
        kind,
        flags: AttrFlags::default(),
        dos: DosAttributes::default(),
        created: now,
        accessed: now,
        modified: now,
        changed: now,
        links: 0,
        ea_size: 0,
        version: 0,
        parent,
        security: SdRef::Own,
        next_stream: 1,
        charged: 0,
        quota_tree: Inode(0),
        mode_bits: 0,
        reparse_tag: 0,
        name: "".into(),
    }
}

/// A new share: administrators everything, users may change everything, and all of it is passed on.
fn root_security() -> SecurityDescriptor {
    let inherit = AceFlags::OBJECT_INHERIT.union(AceFlags::CONTAINER_INHERIT);
    let modify = AccessMask::FILE_READ
        | AccessMask::FILE_WRITE
        | AccessMask::FILE_EXECUTE
        | AccessMask::DELETE;
    let aces = vec![
        Ace::allow(Sid::ADMINISTRATORS, AccessMask::FILE_ALL, inherit),
        Ace::allow(Sid::LOCAL_SYSTEM, AccessMask::FILE_ALL, inherit),
        Ace::allow(
            Sid::CREATOR_OWNER,
            AccessMask::FILE_ALL,
            inherit.union(AceFlags::INHERIT_ONLY),
        ),
        Ace::allow(Sid::AUTHENTICATED_USERS, modify, inherit),
    ];
    SecurityDescriptor {
        owner: Some(Sid::ADMINISTRATORS),
        group: Some(Sid::ADMINISTRATORS),
        dacl: AclSlot::Present(Acl { aces }),
        sacl: AclSlot::Absent,
        control: Control::DACL_PROTECTED.union(Control::DACL_AUTO_INHERITED),
    }
}
