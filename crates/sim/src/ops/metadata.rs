//! Attributes, times, extended attributes, access lists, links to elsewhere, and looking at all of it.

use std::sync::Arc;

use strongroom_vfs::acl::{
    Ace, AceFlags, Acl, AclSlot, Control, SecurityDescriptor, SecurityParts,
};
use strongroom_vfs::{
    AccessMask, DosAttributes, FileTime, REPARSE_TAG_SYMLINK, ReparseData, SetTimes, Sid,
};

use super::open::describe;
use super::{merge_eas, object_of};
use crate::client::{Client, Held, Shared, counted, user};
use crate::model::{Model, Object, Why, normal};

/// Why an open does not have a right.
fn without(model: &Model, held: &Held, right: AccessMask) -> Vec<Why> {
    if model.opens.all[&held.key()].access.contains(right) {
        Vec::new()
    } else {
        vec!["AccessDenied"]
    }
}

fn prepare(
    client: &mut Client,
    right: AccessMask,
) -> Option<(Held, Arc<Shared>, Object, Vec<Why>)> {
    let held = client.pick()?;
    let shared = Arc::clone(&client.shared);
    let model = shared.model.lock();
    let object = object_of(&model, &held);
    let why = without(&model, &held, right);
    drop(model);
    Some((held, shared, object, why))
}

pub(super) async fn set_eas(client: &mut Client) {
    let Some((held, shared, object, why)) = prepare(client, AccessMask::WRITE_EA) else {
        return;
    };
    let eas = client.eas();
    let (result, turns) = counted(shared.vfs.set_eas(&held.handle, &eas)).await;
    let what = client.says(&format!(
        "set {} EAs of {}",
        eas.len(),
        describe(client, &held)
    ));
    if shared.judge(&what, &why, turns, &result) {
        let mut model = shared.model.lock();
        model.change(object.id, |node| merge_eas(node, &eas));
    }
}

pub(super) async fn set_attributes(client: &mut Client) {
    let wanted = prepare(client, AccessMask::WRITE_ATTRIBUTES);
    let Some((held, shared, object, why)) = wanted else {
        return;
    };
    let normal = DosAttributes::NORMAL.0;
    let all = [
        normal,
        DosAttributes::HIDDEN.0,
        DosAttributes::READ_ONLY.0,
        DosAttributes::NOT_CONTENT_INDEXED.0 | DosAttributes::ARCHIVE.0,
    ];
    let attributes = DosAttributes(all[client.rng.below(4)]);
    let (result, turns) = counted(shared.vfs.set_attributes(&held.handle, attributes)).await;
    let what = format!(
        "set attributes {:#x} of {}",
        attributes.0,
        describe(client, &held)
    );
    if shared.judge(&client.says(&what), &why, turns, &result) {
        let settable = DosAttributes::SETTABLE.0;
        let archive = DosAttributes::ARCHIVE.0;
        let mut model = shared.model.lock();
        model.change(object.id, |node| {
            let kept = node.attributes & !settable;
            node.attributes = (kept | (attributes.0 & settable)) & !archive;
        });
    }
}

pub(super) async fn set_times(client: &mut Client) {
    let wanted = prepare(client, AccessMask::WRITE_ATTRIBUTES);
    let Some((held, shared, object, why)) = wanted else {
        return;
    };
    let created = FileTime::from_unix(client.rng.below(1 << 31) as i64, 0);
    let times = SetTimes {
        created: Some(created),
        modified: client.rng.chance(50).then_some(created),
        ..SetTimes::default()
    };
    let (result, turns) = counted(shared.vfs.set_times(&held.handle, times)).await;
    let what = client.says(&format!("set times of {}", describe(client, &held)));
    if shared.judge(&what, &why, turns, &result) {
        let mut model = shared.model.lock();
        model.change(object.id, |node| node.created = created.0);
    }
}

/// A list that lets most clients do most things, or one that keeps some of them from some.
fn list(client: &mut Client) -> Acl {
    let all = AccessMask::FILE_ALL;
    let inherit = AceFlags::OBJECT_INHERIT.union(AceFlags::CONTAINER_INHERIT);
    let flags = [AceFlags::default(), inherit][client.rng.below(2)];
    let someone = user(1000 + client.rng.below(4) as u32).user;
    let mut aces = Vec::new();
    if client.rng.chance(40) {
        let mask = [
            AccessMask::WRITE_DATA,
            AccessMask::DELETE,
            AccessMask::READ_DATA,
        ];
        aces.push(Ace::deny(someone, mask[client.rng.below(3)], flags));
    }
    aces.push(Ace::allow(Sid::AUTHENTICATED_USERS, all, flags));
    Acl { aces }
}

pub(super) async fn set_security(client: &mut Client) {
    let Some((held, shared, object, why)) = prepare(client, AccessMask::WRITE_DAC) else {
        return;
    };
    let dacl = AclSlot::Present(list(client));
    let descriptor = SecurityDescriptor {
        dacl,
        ..SecurityDescriptor::default()
    };
    let parts = SecurityParts::DACL;
    let work = shared.vfs.set_security(&held.handle, parts, &descriptor);
    let (result, turns) = counted(work).await;
    let what = client.says(&format!("set security of {}", describe(client, &held)));
    if shared.judge(&what, &why, turns, &result) {
        let mut model = shared.model.lock();
        model.change(object.id, |node| {
            let mut next = (*node.security).clone();
            next.dacl.clone_from(&descriptor.dacl);
            let flags = Control::DACL_AUTO_INHERITED.union(Control::DACL_PROTECTED);
            next.control = next.control.without(flags);
            node.security = normal(&next);
        });
    }
}

/// Makes an empty file a symbolic link, or a link a file again.
pub(super) async fn set_reparse(client: &mut Client) {
    let right = AccessMask::WRITE_DATA | AccessMask::WRITE_ATTRIBUTES;
    let Some((held, shared, object, _)) = prepare(client, right) else {
        return;
    };
    let undo = client.rng.chance(30);
    let why = {
        let model = shared.model.lock();
        judge_reparse(&model, &held, object, undo)
    };
    let target = ["alpha", "..\\Beta", "\\sub\\e"][client.rng.below(3)];
    let reparse = ReparseData::symlink(target);
    let (result, turns) = if undo {
        counted(shared.vfs.delete_reparse(&held.handle, REPARSE_TAG_SYMLINK)).await
    } else {
        counted(shared.vfs.set_reparse(&held.handle, &reparse)).await
    };
    let what = format!("link {} to {target}, undo {undo}", describe(client, &held));
    if shared.judge(&client.says(&what), &why, turns, &result) {
        let mut model = shared.model.lock();
        model.change(object.id, |node| node.reparse = (!undo).then_some(reparse));
    }
}

fn judge_reparse(model: &Model, held: &Held, object: Object, undo: bool) -> Vec<Why> {
    let open = &model.opens.all[&held.key()];
    let node = model.node(object.id);
    let mut why = Vec::new();
    let right = AccessMask::WRITE_DATA | AccessMask::WRITE_ATTRIBUTES;
    if !open.access.intersects(right) {
        why.push("AccessDenied");
    }
    if undo {
        if node.reparse.is_none() {
            why.push("NotReparsePoint");
        }
        return why;
    }
    if object.stream != 0 {
        why.push("InvalidReparse");
    }
    let data = Object {
        id: object.id,
        stream: 0,
    };
    if model.data.len(data) > 0 {
        why.push("InvalidParameter");
    }
    if node.directory && !model.names.is_empty(object.id) {
        why.push("NotEmpty");
    }
    why
}

/// Everything that can be asked of an open without changing anything.
pub(super) fn look(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let what = client.says(&format!("stat {}", describe(client, &held)));
    let result = shared.vfs.stat(&held.handle);
    if !shared.judge(&what, &[], 1, &result) {
        return;
    }
    let stat = result.unwrap();
    let model = shared.model.lock();
    let open = &model.opens.all[&held.key()];
    let object = open.object;
    let node = model.node(object.id);
    let size = if node.directory && object.stream == 0 {
        0
    } else {
        model.data.len(object)
    };
    let pending = model.opens.is_pending(object.id, &open.link);
    let links = (node.names.len() - usize::from(pending)) as u64;
    let gone = model.opens.gone.contains_key(&object.id);
    let derived = DosAttributes::ARCHIVE.0
        | DosAttributes::NORMAL.0
        | DosAttributes::DIRECTORY.0
        | DosAttributes::REPARSE_POINT.0;
    let found = [
        ("size", size, stat.size),
        ("created", node.created, stat.created.0),
        (
            "attributes",
            u64::from(node.attributes),
            u64::from(stat.attributes.0 & !derived),
        ),
        (
            "is a link",
            u64::from(node.reparse.is_some()),
            u64::from(stat.reparse_tag != 0),
        ),
    ];
    let mut wrong: Vec<String> = found
        .iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(what, expected, found)| format!("{what} {found}, expected {expected}"))
        .collect();
    if !gone && object.stream == 0 && !node.directory && u64::from(stat.links) != links {
        wrong.push(format!("{} links, expected {links}", stat.links));
    }
    drop(model);
    if !wrong.is_empty() {
        shared.accuse(format!("{what}: {wrong:?}"));
    }
}
