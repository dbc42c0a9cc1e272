//! Security descriptors of files: where they are kept, how new files get theirs, reading and setting.
//!
//! Most files of a directory have one of a few descriptors, so a directory keeps up to 64 for its children to share.
//! A child that leaves its directory, or gets a descriptor of its own, takes it along in a row of its own; so a
//! directory's rows can go when it goes, and nothing needs counting.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_store::{Aspect, Inode, Txn, View};

use crate::acl::{
    self, AclSlot, Control, Creation, MAX_DESCRIPTOR_LEN, SecurityDescriptor, SecurityParts,
};
use crate::grants::Conflict;
use crate::node::{Inheritance, Node, State, Templates};
use crate::quota::{Deltas, QuotaOf, signed};
use crate::rows::{self, Attr, SdRef};
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{AccessMask, Credentials, Handle, Result, Sid, Vfs, VfsError};

/// Descriptors that a directory keeps for its children.
const TEMPLATES_MAX: usize = 64;
/// Creations remembered with what they came to.
const RECENT_MAX: usize = 8;
const SHARDS: usize = 16;
/// What the right to change the owner, the access list, and the audit list is needed for: the list itself, and whether
/// it is protected from inheritance.
const OWNER_PARTS: u32 = SecurityParts::OWNER.0 | SecurityParts::GROUP.0;
const DACL_PARTS: u32 =
    SecurityParts::DACL.0 | SecurityParts::PROTECTED_DACL.0 | SecurityParts::UNPROTECTED_DACL.0;
const SACL_PARTS: u32 =
    SecurityParts::SACL.0 | SecurityParts::PROTECTED_SACL.0 | SecurityParts::UNPROTECTED_SACL.0;
/// Shared descriptors kept in memory, in each shard.
const SHARD_MAX: usize = 512;

type DescriptorShard = Mutex<HashMap<(Inode, u32), Arc<SecurityDescriptor>>>;

/// Shared descriptors in memory. A slot's content never changes, so nothing here grows stale.
#[derive(Debug, Default)]
pub(crate) struct DescriptorCache {
    shards: [DescriptorShard; SHARDS],
}

impl DescriptorCache {
    fn shard(&self, directory: Inode) -> &DescriptorShard {
        let mixed = directory.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60;
        &self.shards[usize::try_from(mixed).unwrap_or(0)]
    }

    fn get(&self, directory: Inode, slot: u32) -> Option<Arc<SecurityDescriptor>> {
        self.shard(directory)
            .lock()
            .get(&(directory, slot))
            .cloned()
    }

    fn put(&self, directory: Inode, slot: u32, descriptor: &Arc<SecurityDescriptor>) {
        let mut shard = self.shard(directory).lock();
        if shard.len() >= SHARD_MAX {
            shard.clear();
        }
        shard.insert((directory, slot), Arc::clone(descriptor));
    }
}

/// What a new object's descriptor is and where it will be kept.
pub(crate) struct NewSecurity {
    pub(crate) descriptor: Arc<SecurityDescriptor>,
    pub(crate) place: SdRef,
    /// The slot is new, so its row must be written.
    fresh: bool,
    /// The same creation will come to the same.
    repeats: Option<Repeat>,
}

/// What a creation without a descriptor of its own depends on, besides the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Repeat {
    owner: Sid,
    group: Sid,
    is_directory: bool,
    mode: Option<u32>,
}

/// Something to be made, as far as its descriptor goes.
pub(crate) struct NewFile<'a> {
    pub(crate) given: Option<&'a SecurityDescriptor>,
    /// Permission bits, for POSIX clients.
    pub(crate) mode: Option<u32>,
    pub(crate) is_directory: bool,
    pub(crate) creator: &'a Credentials,
}

impl NewSecurity {
    /// Writes the rows it needs.
    pub(crate) fn put(&self, txn: &mut Txn<'_>, inode: Inode) {
        match self.place {
            SdRef::Own => {
                txn.put(
                    rows::SECURITY,
                    rows::own_security_key(inode),
                    self.descriptor.to_bytes(),
                );
            }
            SdRef::Shared { directory, slot } if self.fresh => {
                let key = rows::shared_security_key(directory, slot);
                txn.put(rows::SECURITY, key, self.descriptor.to_bytes());
            }
            SdRef::Shared { .. } => {}
        }
    }

    /// The rows are there now: the directory, still locked, may give the descriptor to others.
    pub(crate) fn committed(&self, directory: &mut State) {
        let SdRef::Shared { slot, .. } = self.place else {
            return;
        };
        let Some(templates) = &mut directory.templates else {
            return;
        };
        if self.fresh {
            templates.kept.push(Arc::clone(&self.descriptor));
        }
        if let Some(Repeat {
            owner,
            group,
            is_directory,
            mode,
        }) = self.repeats
        {
            if templates.recent.len() >= RECENT_MAX {
                templates.recent.pop_front();
            }
            let descriptor = Arc::clone(&self.descriptor);
            templates.recent.push_back(Inheritance {
                owner,
                group,
                is_directory,
                mode,
                slot,
                descriptor,
            });
        }
    }
}

impl Vfs {
    /// The security descriptor of a node whose state is locked.
    pub(crate) fn security_of(
        &self,
        node: &Node,
        state: &mut State,
    ) -> Result<Arc<SecurityDescriptor>> {
        if let Some(security) = &state.security {
            return Ok(Arc::clone(security));
        }
        let security = match state.attr.security {
            SdRef::Own => Arc::new(self.read_security(
                &node.view,
                node.inode,
                &rows::own_security_key(node.inode),
            )?),
            SdRef::Shared { directory, slot } => self.shared_security(node, directory, slot)?,
        };
        state.security = Some(Arc::clone(&security));
        Ok(security)
    }

    fn shared_security(
        &self,
        node: &Node,
        directory: Inode,
        slot: u32,
    ) -> Result<Arc<SecurityDescriptor>> {
        if let Some(cached) = self.descriptors.get(directory, slot) {
            return Ok(cached);
        }
        let key = rows::shared_security_key(directory, slot);
        let descriptor = Arc::new(self.read_security(&node.view, node.inode, &key)?);
        self.descriptors.put(directory, slot, &descriptor);
        Ok(descriptor)
    }

    fn read_security(&self, view: &View, inode: Inode, key: &[u8]) -> Result<SecurityDescriptor> {
        let corrupt = |what| {
            VfsError::Corrupt(format!(
                "the security descriptor of file {} is {what}",
                inode.0
            ))
        };
        let row = self
            .store
            .at(view)
            .get(rows::SECURITY, key)?
            .ok_or_else(|| corrupt("missing"))?;
        SecurityDescriptor::from_bytes(&row).map_err(|_| corrupt("damaged"))
    }

    /// The descriptor of something to be made in a directory whose state is locked.
    pub(crate) fn security_for_new(
        &self,
        directory: &Node,
        state: &mut State,
        new: &NewFile<'_>,
    ) -> Result<NewSecurity> {
        let NewFile {
            given,
            mode,
            is_directory,
            creator,
        } = *new;
        let repeats = Repeat {
            owner: creator.user,
            group: creator.primary_group,
            is_directory,
            mode,
        };
        if given.is_none()
            && let Some(known) = recent(state, &repeats)
        {
            let place = SdRef::Shared {
                directory: directory.inode,
                slot: known.slot,
            };
            return Ok(NewSecurity {
                descriptor: known.descriptor,
                place,
                fresh: false,
                repeats: None,
            });
        }
        if let Some(given) = given {
            check_given(given, creator)?;
        }
        let parent = self.security_of(directory, state)?;
        let creation = Creation {
            parent: &parent,
            given,
            is_directory,
            creator,
        };
        let inherited = acl::inherit(&creation);
        let descriptor = Arc::new(match mode {
            Some(mode) => acl::with_mode(&inherited, mode, is_directory),
            None => inherited,
        });
        // What is inherited can be longer than what the parent has, and a row that cannot be read again would take the
        // whole directory with it.
        if !descriptor.fits() {
            return Err(VfsError::InvalidSecurity);
        }
        self.place_for(
            directory.inode,
            state,
            descriptor,
            given.is_none().then_some(repeats),
        )
    }

    /// Finds or makes a slot for a descriptor in the directory, or lets the child keep it itself.
    fn place_for(
        &self,
        directory: Inode,
        state: &mut State,
        descriptor: Arc<SecurityDescriptor>,
        repeats: Option<Repeat>,
    ) -> Result<NewSecurity> {
        let kept = &self.templates(directory, state)?.kept;
        let known = kept.iter().position(|kept| **kept == *descriptor);
        let fresh = known.is_none();
        if fresh && kept.len() >= TEMPLATES_MAX {
            return Ok(NewSecurity {
                descriptor,
                place: SdRef::Own,
                fresh,
                repeats: None,
            });
        }
        let slot = u32::try_from(known.unwrap_or(kept.len())).unwrap_or(u32::MAX);
        let descriptor = known
            .and_then(|index| kept.get(index).cloned())
            .unwrap_or(descriptor);
        Ok(NewSecurity {
            descriptor,
            place: SdRef::Shared { directory, slot },
            fresh,
            repeats,
        })
    }

    /// The kept descriptors of a directory, read when first needed.
    fn templates<'a>(&self, directory: Inode, state: &'a mut State) -> Result<&'a mut Templates> {
        if state.templates.is_none() {
            let rows = self.store.scan(
                rows::SECURITY,
                &rows::key_of(directory, &[1]),
                &rows::key_of(directory, &[2]),
                TEMPLATES_MAX,
            )?;
            let mut kept = Vec::with_capacity(rows.len());
            for (_, row) in rows {
                kept.push(Arc::new(SecurityDescriptor::from_bytes(&row)?));
            }
            state.templates = Some(Box::new(Templates {
                kept,
                ..Templates::default()
            }));
        }
        state.templates.as_deref_mut().ok_or(VfsError::NotFound)
    }

    /// Gives a child that leaves its directory a row of its own.
    pub(crate) fn take_security_along(
        &self,
        txn: &mut Txn<'_>,
        node: &Node,
        state: &mut State,
    ) -> Result<()> {
        if let SdRef::Shared { .. } = state.attr.security {
            let security = self.security_of(node, state)?;
            txn.put(
                rows::SECURITY,
                rows::own_security_key(node.inode),
                security.to_bytes(),
            );
            state.attr.security = SdRef::Own;
        }
        Ok(())
    }

    /// Gives an open file that loses its last name a row of its own: its directory may go before it does.
    pub(crate) fn keep_security(
        &self,
        txn: &mut Txn<'_>,
        node: &Node,
        state: &mut State,
        attr: &mut Attr,
    ) -> Result<()> {
        if let SdRef::Shared { .. } = attr.security {
            let security = self.security_of(node, state)?;
            let key = rows::own_security_key(node.inode);
            txn.put(rows::SECURITY, key, security.to_bytes());
            attr.security = SdRef::Own;
        }
        Ok(())
    }

    /// The parts of the descriptor (MS-FSA 2.1.5.14).
    pub fn security(&self, handle: &Handle, parts: SecurityParts) -> Result<SecurityDescriptor> {
        handle.check_open()?;
        let plain = SecurityParts::OWNER.0 | SecurityParts::GROUP.0 | SecurityParts::DACL.0;
        if parts.0 & plain != 0 {
            handle.require(AccessMask::READ_CONTROL)?;
        }
        if parts.contains(SecurityParts::SACL) {
            handle.require(AccessMask::ACCESS_SYSTEM_SECURITY)?;
        }
        let security = self.security_of(&handle.node, &mut handle.node.lock())?;
        Ok(security.only(parts))
    }

    /// Replaces the given parts (MS-FSA 2.1.5.17); none changes nothing, as on Windows. What children inherited is not
    /// touched: clients renew it themselves.
    pub async fn set_security(
        &self,
        handle: &Handle,
        parts: SecurityParts,
        descriptor: &SecurityDescriptor,
    ) -> Result<()> {
        check_set(handle, parts, descriptor)?;
        if parts.0 & (OWNER_PARTS | DACL_PARTS | SACL_PARTS) == 0 {
            return Ok(());
        }
        self.contend(handle, Conflict::Attributes).await;
        self.store.throttle().await;
        self.replace_security(handle, None, |current| {
            let mut next = current.clone();
            next.replace(parts, descriptor);
            let is_directory = handle.node.is_directory();
            next.dacl = acl::without_generic(&next.dacl, is_directory);
            next.sacl = acl::without_generic(&next.sacl, is_directory);
            next
        })
    }

    pub(crate) fn replace_security(
        &self,
        handle: &Handle,
        special: Option<u16>,
        change: impl FnOnce(&SecurityDescriptor) -> SecurityDescriptor,
    ) -> Result<()> {
        let node = &handle.node;
        let mut state = handle.lock_open()?;
        let current = self.security_of(node, &mut state)?;
        let next = change(&current);
        if !next.fits() {
            return Err(VfsError::InvalidSecurity);
        }
        let mut attr = state.attr.clone();
        attr.security = SdRef::Own;
        attr.mode_bits = special.unwrap_or(attr.mode_bits);
        attr.changed = self.now();
        let mut txn = self.store.txn(handle.session());
        txn.put(
            rows::SECURITY,
            rows::own_security_key(node.inode),
            next.to_bytes(),
        );
        put_attr(&mut txn, node.inode, &mut attr);
        txn.note(node.inode, Aspect::Acl);
        self.quotas
            .commit(txn, owner_changes(&attr, &current, &next), true)?;
        state.attr = attr;
        state.security = Some(Arc::new(next));
        if let Some(templates) = &mut state.templates {
            templates.recent.clear();
        }
        let link = state.open_of(handle.id).map(|open| Arc::clone(&open.link));
        drop(state);
        if let Some(link) = link {
            self.tell(
                handle.parent_grant,
                link.directory,
                WatchFilter::SECURITY,
                WatchAction::Modified,
                &link.name,
            );
        }
        Ok(())
    }

    /// The rights that credentials have on an open file, for the maximal access context.
    pub fn maximal_access(&self, handle: &Handle, credentials: &Credentials) -> Result<AccessMask> {
        handle.check_open()?;
        let mut state = handle.node.lock();
        let security = self.security_of(&handle.node, &mut state)?;
        let allowed = acl::maximal_access(&security, credentials);
        Ok(if handle.read_only {
            allowed & crate::open::READ_ONLY_RIGHTS
        } else {
            allowed
        })
    }
}

/// The charge goes from the old owner to the new one.
fn owner_changes(attr: &Attr, old: &SecurityDescriptor, new: &SecurityDescriptor) -> Deltas {
    let mut changes = Deltas::new();
    if old.owner != new.owner {
        let charged = signed(attr.charged);
        changes.extend(old.owner.map(|owner| (QuotaOf::User(owner), -charged)));
        changes.extend(new.owner.map(|owner| (QuotaOf::User(owner), charged)));
    }
    changes
}

fn recent(state: &State, wanted: &Repeat) -> Option<Inheritance> {
    let matches = |known: &&Inheritance| {
        known.is_directory == wanted.is_directory
            && known.owner == wanted.owner
            && known.group == wanted.group
            && known.mode == wanted.mode
    };
    state
        .templates
        .as_ref()?
        .recent
        .iter()
        .find(matches)
        .cloned()
}

/// Whether a creator or setter may name this owner (MS-FSA 2.1.5.17): itself; administrators, who may restore what
/// others own, any. A group that users are members of owns nothing, or they could charge each other with their files.
pub(crate) fn check_owner(owner: Option<Sid>, credentials: &Credentials) -> Result<()> {
    match owner {
        Some(owner) if !credentials.admin && credentials.user != owner => {
            Err(VfsError::InvalidOwner)
        }
        _ => Ok(()),
    }
}

fn check_given(given: &SecurityDescriptor, creator: &Credentials) -> Result<()> {
    check_owner(given.owner, creator)?;
    if given.sacl.is_given() && !creator.admin {
        return Err(VfsError::PrivilegeNotHeld);
    }
    if given.encoded_len() > MAX_DESCRIPTOR_LEN / 2 {
        return Err(VfsError::InvalidSecurity);
    }
    Ok(())
}

fn check_set(handle: &Handle, parts: SecurityParts, descriptor: &SecurityDescriptor) -> Result<()> {
    handle.check_open()?;
    handle.require_writable_share()?;
    if parts.0 & OWNER_PARTS != 0 {
        handle.require(AccessMask::WRITE_OWNER)?;
    }
    if parts.0 & DACL_PARTS != 0 {
        handle.require(AccessMask::WRITE_DAC)?;
    }
    if parts.0 & SACL_PARTS != 0 {
        handle.require(AccessMask::ACCESS_SYSTEM_SECURITY)?;
    }
    if parts.contains(SecurityParts::OWNER) {
        if descriptor.owner.is_none() {
            return Err(VfsError::InvalidOwner);
        }
        check_owner(descriptor.owner, &handle.credentials)?;
    }
    Ok(())
}

impl SecurityDescriptor {
    /// A copy with only the given parts.
    pub fn only(&self, parts: SecurityParts) -> SecurityDescriptor {
        let mut control = self.control;
        let mut only = SecurityDescriptor::default();
        if parts.contains(SecurityParts::OWNER) {
            only.owner = self.owner;
        }
        if parts.contains(SecurityParts::GROUP) {
            only.group = self.group;
        }
        let dacl_bits = Control::DACL_AUTO_INHERITED.union(Control::DACL_PROTECTED);
        let sacl_bits = Control::SACL_AUTO_INHERITED.union(Control::SACL_PROTECTED);
        if parts.contains(SecurityParts::DACL) {
            only.dacl = self.dacl.clone();
        } else {
            control = control.without(dacl_bits);
        }
        if parts.contains(SecurityParts::SACL) {
            only.sacl = self.sacl.clone();
        } else {
            control = control.without(sacl_bits);
        }
        only.control = control;
        only
    }

    /// Takes the given parts of another descriptor. AUTO_INHERITED is kept where the setter asked for inheritance
    /// (the AUTO_INHERIT_REQ bit, MS-DTYP 2.5.3.4.1).
    fn replace(&mut self, parts: SecurityParts, from: &SecurityDescriptor) {
        if parts.contains(SecurityParts::OWNER) {
            self.owner = from.owner;
        }
        if parts.contains(SecurityParts::GROUP) {
            self.group = from.group;
        }
        if parts.contains(SecurityParts::DACL) {
            // A list that is to be set and is not there is one that denies nothing, as on Windows.
            self.dacl = match &from.dacl {
                AclSlot::Absent => AclSlot::Null,
                given @ (AclSlot::Null | AclSlot::Present(_)) => given.clone(),
            };
            let inherit = [Control::DACL_AUTO_INHERIT_REQ, Control::DACL_AUTO_INHERITED];
            self.take_flags(from, inherit, Control::DACL_PROTECTED);
        }
        if parts.contains(SecurityParts::SACL) {
            self.sacl = from.sacl.clone();
            let inherit = [Control::SACL_AUTO_INHERIT_REQ, Control::SACL_AUTO_INHERITED];
            self.take_flags(from, inherit, Control::SACL_PROTECTED);
        }
        self.protect(parts);
    }

    fn take_flags(
        &mut self,
        from: &SecurityDescriptor,
        [requested, inherited]: [Control; 2],
        protected: Control,
    ) {
        self.control = self.control.without(inherited.union(protected));
        if from.control.contains(requested) && from.control.contains(inherited) {
            self.control = self.control.union(inherited);
        }
        if from.control.contains(protected) {
            self.control = self.control.union(protected);
        }
    }

    fn protect(&mut self, parts: SecurityParts) {
        let rules = [
            (SecurityParts::PROTECTED_DACL, Control::DACL_PROTECTED, true),
            (
                SecurityParts::UNPROTECTED_DACL,
                Control::DACL_PROTECTED,
                false,
            ),
            (SecurityParts::PROTECTED_SACL, Control::SACL_PROTECTED, true),
            (
                SecurityParts::UNPROTECTED_SACL,
                Control::SACL_PROTECTED,
                false,
            ),
        ];
        for (part, flag, on) in rules {
            if parts.contains(part) {
                self.control = if on {
                    self.control.union(flag)
                } else {
                    self.control.without(flag)
                };
            }
        }
    }
}
