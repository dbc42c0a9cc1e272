//! Extended attributes (MS-FSCC 2.4.15): one row each, names without case.

use std::collections::BTreeMap;

use strongroom_store::{Aspect, Inode, Txn, View};

use crate::names::fold;
use crate::rows::{self, Attr, Reader, Writer};
use crate::types::EA_TOTAL_MAX;
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{AccessMask, ExtendedAttribute, Handle, Result, Vfs, VfsError};

/// Attributes that one file may have.
const EAS_MAX: usize = 4_096;
/// Bytes of one attribute besides name and value, as clients count them: flags, lengths, the name's end.
const EA_OVERHEAD: usize = 5;
/// Bytes before the first attribute, as clients count them.
const LIST_OVERHEAD: usize = 4;
const ILLEGAL: &[u8] = b"\"*+,/:;<=>?[\\]|";

/// Checked attributes, to be written to a file that has none.
#[derive(Debug)]
pub(crate) struct EaRows {
    eas: ByName,
    size: u32,
}

/// By folded name.
type ByName = BTreeMap<String, ExtendedAttribute>;

impl EaRows {
    /// Later ones win; empty values are no attributes. Needs no lock.
    pub(crate) fn of(given: &[ExtendedAttribute]) -> Result<Self> {
        let mut eas = ByName::new();
        merge(&mut eas, given)?;
        let size = total(&eas)?;
        Ok(Self { eas, size })
    }

    /// Returns their size, as the attribute row keeps it.
    pub(crate) fn put(&self, txn: &mut Txn<'_>, inode: Inode) -> u32 {
        for (folded, ea) in &self.eas {
            put_ea(txn, inode, folded, ea);
        }
        if !self.eas.is_empty() {
            txn.note(inode, Aspect::ExtendedAttributes);
        }
        self.size
    }
}

impl Vfs {
    /// All extended attributes, in the order of their names.
    pub fn eas(&self, handle: &Handle) -> Result<Vec<ExtendedAttribute>> {
        handle.require(AccessMask::READ_EA)?;
        let state = handle.node.lock();
        self.read_eas(handle.view(), handle.node.inode, &state.attr)
    }

    /// Sets each of them; an empty value removes one (MS-FSA 2.1.5.15.5).
    pub async fn set_eas(&self, handle: &Handle, changes: &[ExtendedAttribute]) -> Result<()> {
        handle.require(AccessMask::WRITE_EA)?;
        handle.require_writable_share()?;
        check_count(changes)?;
        self.store.throttle().await;
        self.replace_eas(handle, changes)
    }

    fn replace_eas(&self, handle: &Handle, changes: &[ExtendedAttribute]) -> Result<()> {
        let inode = handle.node.inode;
        let mut state = handle.lock_open()?;
        let mut attr = state.attr.clone();
        let before: ByName = self
            .read_eas(&View::Now, inode, &attr)?
            .into_iter()
            .map(|ea| (fold(&ea.name), ea))
            .collect();
        let mut after = before.clone();
        merge(&mut after, changes)?;
        attr.ea_size = total(&after)?;
        attr.changed = self.now();
        let mut txn = self.store.txn(handle.session());
        for folded in before.keys().filter(|old| !after.contains_key(*old)) {
            txn.delete(rows::EAS, ea_key(inode, folded));
        }
        for (folded, new) in after
            .iter()
            .filter(|(at, new)| before.get(*at) != Some(new))
        {
            put_ea(&mut txn, inode, folded, new);
        }
        put_attr(&mut txn, inode, &mut attr);
        txn.note(inode, Aspect::ExtendedAttributes);
        txn.commit()?;
        state.attr = attr;
        drop(state);
        let link = handle.link()?;
        self.tell(
            handle.parent_grant,
            link.directory,
            WatchFilter::EA,
            WatchAction::Modified,
            &link.name,
        );
        Ok(())
    }

    pub(crate) fn read_eas(
        &self,
        view: &View,
        inode: Inode,
        attr: &Attr,
    ) -> Result<Vec<ExtendedAttribute>> {
        if attr.ea_size == 0 {
            return Ok(Vec::new());
        }
        let rows = self.store.at(view).scan(
            rows::EAS,
            &rows::inode_key(inode),
            &rows::end_of(inode),
            EAS_MAX,
        )?;
        rows.iter().map(|(_, row)| decode_ea(row)).collect()
    }

    pub(crate) fn drop_eas(&self, txn: &mut Txn<'_>, inode: Inode, attr: &mut Attr) -> Result<()> {
        for ea in self.read_eas(&View::Now, inode, attr)? {
            txn.delete(rows::EAS, ea_key(inode, &fold(&ea.name)));
        }
        attr.ea_size = 0;
        Ok(())
    }
}

fn check_count(given: &[ExtendedAttribute]) -> Result<()> {
    if given.len() > EAS_MAX {
        return Err(VfsError::EaTooLarge);
    }
    Ok(())
}

fn merge(into: &mut ByName, changes: &[ExtendedAttribute]) -> Result<()> {
    check_count(changes)?;
    for change in changes {
        check_name(&change.name)?;
        let folded = fold(&change.name);
        if change.value.is_empty() {
            into.remove(&folded);
        } else {
            into.insert(folded, change.clone());
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let bad = |byte: u8| byte < 0x20 || ILLEGAL.contains(&byte);
    if name.is_empty() || name.len() > 255 || name.bytes().any(bad) {
        return Err(VfsError::InvalidEaName);
    }
    Ok(())
}

fn total(eas: &ByName) -> Result<u32> {
    if eas.is_empty() {
        return Ok(0);
    }
    let bytes: usize = eas
        .values()
        .map(|ea| EA_OVERHEAD + ea.name.len() + ea.value.len())
        .sum();
    let bytes = bytes + LIST_OVERHEAD;
    if bytes > EA_TOTAL_MAX || eas.len() > EAS_MAX {
        return Err(VfsError::EaTooLarge);
    }
    u32::try_from(bytes).map_err(|_| VfsError::EaTooLarge)
}

fn ea_key(inode: Inode, folded: &str) -> rows::Key {
    rows::key_of(inode, folded.as_bytes())
}

fn put_ea(txn: &mut Txn<'_>, inode: Inode, folded: &str, ea: &ExtendedAttribute) {
    let mut row = Writer::with_capacity(3 + ea.name.len() + ea.value.len());
    row.u8(ea.flags).long_text(&ea.name).bytes(&ea.value);
    txn.put(rows::EAS, ea_key(inode, folded), row.0);
}

fn decode_ea(row: &[u8]) -> Result<ExtendedAttribute> {
    let mut reader = Reader::new(row, "extended attributes");
    let flags = reader.u8()?;
    let name = reader.long_text()?;
    Ok(ExtendedAttribute {
        flags,
        name,
        value: reader.rest().to_vec(),
    })
}
