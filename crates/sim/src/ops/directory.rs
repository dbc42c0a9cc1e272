//! Listing directories.

use std::sync::Arc;

use strongroom_vfs::{AccessMask, CreateOptions, DirCursor, Handle, OpenRequest, ShareAccess};

use crate::client::{Client, Shared, admin};
use crate::model::{Object, Open};

/// Opens a directory for a look at it, whatever its list says. The model knows of it.
pub(super) async fn open_directory(shared: &Shared, parts: &[String]) -> Option<Arc<Handle>> {
    let path = parts.join("\\");
    let request = OpenRequest {
        path: &path,
        access: AccessMask::LIST_DIRECTORY | AccessMask::READ_ATTRIBUTES,
        share_access: ShareAccess::ALL,
        options: CreateOptions {
            directory: true,
            backup_intent: true,
            ..CreateOptions::default()
        },
        ..OpenRequest::new(&shared.share, "")
    };
    let (directory, _) = shared.vfs.open(&admin(), request).await.ok()?;
    let mut model = shared.model.lock();
    let id = directory.inode().0;
    let names = model
        .names
        .nodes
        .get(&id)
        .map(|node| node.names.first().cloned());
    let link = names.flatten().unwrap_or((model.root, String::new()));
    let open = Open {
        object: Object { id, stream: 0 },
        access: AccessMask::LIST_DIRECTORY | AccessMask::READ_ATTRIBUTES,
        share: ShareAccess::ALL,
        link,
        delete_on_close: false,
    };
    model.opens.all.insert(directory.id().0, open);
    drop(model);
    Some(directory)
}

pub(super) async fn close_directory(shared: &Shared, directory: &Handle) {
    let result = shared.vfs.close(directory).await;
    shared.judge("close of a directory", &[], 1, &result);
    shared.model.lock().closed(directory.id().0);
}

/// Lists some directory, some names at a time, and compares it with the model.
pub(super) async fn list(client: &mut Client) {
    let shared = Arc::clone(&client.shared);
    let (at, parts) = {
        let model = shared.model.lock();
        let all = model.names.directories(model.root);
        all[client.rng.below(all.len())].clone()
    };
    let refused = {
        let model = shared.model.lock();
        let object = Object { id: at, stream: 0 };
        let wants = AccessMask::LIST_DIRECTORY;
        model.opens.has_pending(at) || model.opens.excluded(object, wants, ShareAccess::ALL)
    };
    let Some(directory) = open_directory(&shared, &parts).await else {
        if !refused && !shared.tolerates("Corrupt") && !shared.tolerates("Io") {
            shared.accuse(format!("cannot open {} to list it", parts.join("\\")));
        }
        return;
    };
    let what = client.says(&format!("list {}", parts.join("\\")));
    let expected = shared.model.lock().names.children(at);
    let mut cursor = DirCursor::default();
    let mut found = Vec::new();
    loop {
        let max = 1 + client.rng.below(5);
        let page = shared.vfs.list(&directory, &mut cursor, "*", max);
        if !shared.judge(&what, &[], 1, &page) {
            break;
        }
        let page = page.unwrap();
        if page.is_empty() {
            let mut names: Vec<_> = expected.into_iter().collect();
            found.sort();
            names.sort();
            if found != names {
                shared.accuse(format!("{what}: {found:?}, expected {names:?}"));
            }
            break;
        }
        let named = page
            .iter()
            .filter(|entry| entry.name != "." && entry.name != "..");
        found.extend(named.map(|entry| (entry.name.clone(), entry.stat.inode.0)));
    }
    close_directory(&shared, &directory).await;
}
