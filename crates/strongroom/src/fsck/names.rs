//! Every name of every share, and where bytes are lost the names of the files that lost them.

use std::sync::Arc;

use strongroom_vfs::{
    AccessMask, CreateOptions, Credentials, DirCursor, DirEntry, Handle, OpenRequest, Share,
    ShareAccess, Vfs, VfsError,
};

use super::report::Report;
use crate::failure::Result;

/// Entries of a directory looked at in one go.
const PAGE: usize = 500;
const PIECE: usize = 1 << 20;

/// Goes through all names; reads the files, too, where something is known to be lost.
pub(super) async fn check(vfs: &Vfs, damaged: bool, report: &mut Report) -> Result<()> {
    for share in vfs.shares() {
        report.shares += 1;
        walk(vfs, &share, damaged, true, report).await;
    }
    Ok(())
}

/// Reads all files and names those that cannot be read.
pub(super) async fn read_files(vfs: &Vfs, report: &mut Report) -> Result<()> {
    for share in vfs.shares() {
        walk(vfs, &share, true, false, report).await;
    }
    Ok(())
}

async fn walk(vfs: &Vfs, share: &Share, read: bool, count: bool, report: &mut Report) {
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let entries = match entries(vfs, share, &directory).await {
            Ok(entries) => entries,
            Err(error) => {
                report
                    .problems
                    .push(format!("{}: {error}", shown(share, &directory)));
                continue;
            }
        };
        report.directories += u64::from(count);
        for entry in entries {
            let path = if directory.is_empty() {
                entry.name.clone()
            } else {
                format!("{directory}\\{}", entry.name)
            };
            if entry.stat.is_directory {
                directories.push(path);
                continue;
            }
            report.files += u64::from(count);
            if let Err(error) = look_at(vfs, share, &path, read).await {
                report
                    .problems
                    .push(format!("{}: {error}", shown(share, &path)));
            }
        }
    }
}

/// As people write it.
fn shown(share: &Share, path: &str) -> String {
    format!("/{}/{}", share.name, path.replace('\\', "/"))
}

async fn open(vfs: &Vfs, share: &Share, path: &str) -> std::result::Result<Arc<Handle>, VfsError> {
    let request = OpenRequest {
        access: AccessMask::FILE_READ,
        share_access: ShareAccess::ALL,
        options: CreateOptions {
            open_reparse_point: true,
            backup_intent: true,
            ..CreateOptions::default()
        },
        ..OpenRequest::new(share, path)
    };
    Ok(vfs.open(&Credentials::system(), request).await?.0)
}

async fn entries(
    vfs: &Vfs,
    share: &Share,
    directory: &str,
) -> std::result::Result<Vec<DirEntry>, VfsError> {
    let handle = open(vfs, share, directory).await?;
    let mut cursor = DirCursor::default();
    let mut all = Vec::new();
    loop {
        let page = vfs.list(&handle, &mut cursor, "*", PAGE)?;
        if page.is_empty() {
            break;
        }
        all.extend(
            page.into_iter()
                .filter(|entry| entry.name != "." && entry.name != ".."),
        );
    }
    vfs.close(&handle).await?;
    Ok(all)
}

/// Opens a file, which reads its rows, and reads all its streams where that is wanted.
async fn look_at(
    vfs: &Vfs,
    share: &Share,
    path: &str,
    read: bool,
) -> std::result::Result<(), VfsError> {
    let handle = open(vfs, share, path).await?;
    let streams = vfs.streams(&handle)?;
    if read {
        read_all(vfs, &handle)?;
        for stream in streams.iter().filter(|stream| !stream.name.is_empty()) {
            let stream = open(vfs, share, &format!("{path}:{}", stream.name)).await?;
            read_all(vfs, &stream)?;
            vfs.close(&stream).await?;
        }
    }
    vfs.close(&handle).await
}

fn read_all(vfs: &Vfs, handle: &Handle) -> std::result::Result<(), VfsError> {
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let read = vfs.read(handle, offset, &mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        offset += read as u64;
    }
}
