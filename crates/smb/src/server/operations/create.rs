//! CREATE (MS-SMB2 3.3.5.9).

use std::borrow::Cow;
use std::sync::Arc;

use strongroom_vfs::{
    AccessMask, CaseMode, CreateAction, CreateOptions, Disposition, DosAttributes, Handle, Inode,
    MadeWith, OpenRequest, Share, ShareAccess, Stat, View,
};

use super::create_caching::{Wish, created, wish};
use super::create_contexts::{Wanted, answer};
use super::create_durable::{self, Course};
use super::quota;
use crate::server::answer::{Answer, Body, Created, Step};
use crate::server::lasting;
use crate::server::open::{FileOpen, Target};
use crate::server::past;
use crate::server::pipe::PipeOpen;
use crate::server::posix;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::server::tree::Root;
use crate::wire::create::{
    CreateAction as WireAction, CreateDisposition, CreateOptions as WireOptions, CreateRequest,
    CreateResponse, ImpersonationLevel, OplockLevel,
};
use crate::wire::create_context::CreateContexts;
use crate::wire::{FileTime, NtStatus};

/// STATUS_BAD_IMPERSONATION_LEVEL (MS-ERREF).
const BAD_IMPERSONATION_LEVEL: NtStatus = NtStatus(0xC000_00A5);
/// Bits of CreateOptions that mean nothing to anybody (MS-SMB2 2.2.13).
const OPTIONS_INVALID: WireOptions = WireOptions(0xFF00_0000);
/// FILE_CREATE_TREE_CONNECTION and FILE_RESERVE_OPFILTER: MS-SMB2 3.3.5.9 wants them refused.
const OPTIONS_UNSUPPORTED: WireOptions = WireOptions(0x0010_0080);
/// FileAttributes that a request may carry.
const ATTRIBUTES_VALID: u32 = 0x0000_7FB7;

pub(crate) fn run(request: Request) -> Step {
    Step::Later(Box::pin(create(request)))
}

async fn create(request: Request) -> Answer {
    let wanted: CreateRequest<'_> = request.decode()?;
    let tree = request.tree()?;
    if request.session()?.opens_are_full() {
        return Err(NtStatus::TOO_MANY_OPENED_FILES.into());
    }
    match &tree.root {
        Root::Share(share) => create_file(&request, share, &wanted).await,
        Root::Pipes => {
            check(&wanted)?;
            create_pipe(&request, &wanted)
        }
    }
}

/// What can be refused without looking at any file.
fn check(wanted: &CreateRequest<'_>) -> Result<(), Failure> {
    if matches!(wanted.impersonation, ImpersonationLevel::Unknown(_)) {
        return Err(BAD_IMPERSONATION_LEVEL.into());
    }
    if wanted.options.intersects(OPTIONS_UNSUPPORTED) {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    if AccessMask(wanted.desired_access).has_reserved() {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let unknown = matches!(wanted.disposition, CreateDisposition::Unknown(_));
    let share_access = wanted.share_access.bits() & !7 != 0;
    if unknown || share_access || wanted.options.intersects(OPTIONS_INVALID) {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    if wanted.file_attributes & !ATTRIBUTES_VALID != 0 {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok(())
}

async fn create_file(request: &Request, share: &Arc<Share>, wanted: &CreateRequest<'_>) -> Answer {
    let contexts = Wanted::of(request, &wanted.contexts)?;
    if let Some(back) = contexts.reconnect {
        // Nothing else in the request is looked at.
        return create_durable::reconnect(request, share, wanted, &contexts, back);
    }
    check(wanted)?;
    let course = create_durable::course(request, share, wanted, &contexts)?;
    let durability = match course {
        Course::Answered(answer) => return answer,
        Course::Make(durability) => durability,
    };
    let mut name = wanted.name.to_string();
    if contexts.posix.is_some() {
        name = posix::path(&name);
    }
    let by_file_id = wanted.options.contains(WireOptions::OPEN_BY_FILE_ID);
    let name = if by_file_id || quota::is_file(&name) {
        Cow::Borrowed("")
    } else {
        resolve_path(&name)?
    };
    let vfs = &request.conn.server.vfs;
    let (name, view) = past::place(vfs, share, name, contexts.timewarp)?;
    create_durable::supersede(request, share, &contexts).await?;
    let wish = wish(request, wanted, &contexts);
    let mut open = open_request(share, wanted, &contexts, &wish, (&name, view))?;
    open.persistent = durability.persistence(request, share, (&name, wanted), &contexts)?;
    let kept = open.persistent.as_ref().map(|wish| wish.id);
    let id = kept.unwrap_or_else(|| request.conn.server.next_open_id());
    let who = request.who()?;
    let (handle, action) = vfs.open(&who.credentials, open).await?;
    match describe(request, share, &handle, &contexts) {
        Ok((stat, answers)) => {
            let mut file = FileOpen::new(handle, wanted.options, wire_action(action));
            let owner = who.credentials.user;
            durability.apply(request, share, &name, &contexts, owner, &mut file);
            let answers = with_durable(&file, answers);
            let answer = enter(request, (id, file), &stat, answers).await;
            // From here on the answer itself keeps breaks back.
            drop((wish, durability));
            answer
        }
        Err(failure) => {
            vfs.close(&handle).await?;
            Err(failure)
        }
    }
}

fn open_request<'a>(
    share: &'a Share,
    wanted: &CreateRequest<'_>,
    contexts: &Wanted,
    wish: &Wish,
    (name, view): (&'a str, View),
) -> Result<OpenRequest<'a>, Failure> {
    let by_file_id = wanted.options.contains(WireOptions::OPEN_BY_FILE_ID);
    let file_id = if by_file_id {
        Some(file_id_of(wanted.name.as_bytes())?)
    } else {
        None
    };
    Ok(OpenRequest {
        share,
        view,
        base: None,
        at: None,
        path: name,
        file_id,
        access: AccessMask(wanted.desired_access),
        share_access: ShareAccess::from_bits(wanted.share_access.bits()),
        disposition: disposition(wanted.disposition)?,
        options: options(wanted.options),
        attributes: DosAttributes(wanted.file_attributes),
        security: contexts.security.clone(),
        eas: contexts.eas.clone(),
        allocation: contexts.allocation,
        case: match contexts.posix {
            Some(_) => CaseMode::Exact,
            None => CaseMode::Insensitive,
        },
        grant: wish.grant.clone(),
        parent_grant: wish.parent,
        posix: contexts.posix,
        made_with: MadeWith::default(),
        persistent: None,
    })
}

/// The path as the file system takes it: it begins below the share's root, `.` and `..` are resolved by name alone, and
/// nothing climbs out of the share.
fn resolve_path(path: &str) -> Result<Cow<'_, str>, Failure> {
    if path.starts_with('\\') {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let dots = |component: &str| component == "." || component == "..";
    if !path.split('\\').any(dots) {
        return Ok(Cow::Borrowed(path));
    }
    let mut kept = Vec::new();
    for component in path.split('\\') {
        match component {
            "." => {}
            ".." => {
                kept.pop().ok_or(NtStatus::OBJECT_PATH_SYNTAX_BAD)?;
            }
            name => kept.push(name),
        }
    }
    Ok(Cow::Owned(kept.join("\\")))
}

/// With FILE_OPEN_BY_FILE_ID the name is the id in 8 bytes; other kinds of id are not there.
fn file_id_of(name: &[u8]) -> Result<Inode, Failure> {
    let bytes = <[u8; 8]>::try_from(name).map_err(|_| NtStatus::NOT_SUPPORTED)?;
    Ok(Inode(u64::from_le_bytes(bytes)))
}

fn disposition(wanted: CreateDisposition) -> Result<Disposition, Failure> {
    Ok(match wanted {
        CreateDisposition::Supersede => Disposition::Supersede,
        CreateDisposition::Open => Disposition::Open,
        CreateDisposition::Create => Disposition::Create,
        CreateDisposition::OpenIf => Disposition::OpenIf,
        CreateDisposition::Overwrite => Disposition::Overwrite,
        CreateDisposition::OverwriteIf => Disposition::OverwriteIf,
        CreateDisposition::Unknown(_) => return Err(NtStatus::INVALID_PARAMETER.into()),
    })
}

fn options(wanted: WireOptions) -> CreateOptions {
    CreateOptions {
        directory: wanted.contains(WireOptions::DIRECTORY_FILE),
        non_directory: wanted.contains(WireOptions::NON_DIRECTORY_FILE),
        write_through: wanted.contains(WireOptions::WRITE_THROUGH),
        no_ea_knowledge: wanted.contains(WireOptions::NO_EA_KNOWLEDGE),
        delete_on_close: wanted.contains(WireOptions::DELETE_ON_CLOSE),
        open_reparse_point: wanted.contains(WireOptions::OPEN_REPARSE_POINT),
        backup_intent: wanted.contains(WireOptions::OPEN_FOR_BACKUP_INTENT),
        by_file_id: wanted.contains(WireOptions::OPEN_BY_FILE_ID),
    }
}

fn describe(
    request: &Request,
    share: &Share,
    handle: &Handle,
    contexts: &Wanted,
) -> Result<(Stat, CreateContexts<'static>), Failure> {
    let stat = request.conn.server.vfs.stat(handle)?;
    let answers = answer(request, share, handle, &stat, contexts)?;
    Ok((stat, answers))
}

fn with_durable(file: &FileOpen, mut answers: CreateContexts<'static>) -> CreateContexts<'static> {
    if let Some(durable) = &file.durable {
        answers.push_response(&create_durable::durable_answer(durable));
    }
    answers
}

/// Enters an open in its session's table and answers.
async fn enter(
    request: &Request,
    (persistent, file): (u64, FileOpen),
    stat: &Stat,
    contexts: CreateContexts<'static>,
) -> Answer {
    let server = &request.conn.server;
    let changed = file.action != WireAction::Opened || file.handle.is_persistent();
    if changed && let Err(failure) = lasting::settle_names(server, request.tree()?).await {
        server.vfs.close(&file.handle).await?;
        return Err(failure);
    }
    let target = Target::File(file);
    match request
        .session()?
        .add_open(&request.conn.server, persistent, request.tree()?, target)
    {
        Ok(open) => created(request, &open, stat, contexts),
        Err((target, status)) => {
            if let Target::File(file) = target {
                server.vfs.close(&file.handle).await?;
            }
            Err(status.into())
        }
    }
}

fn wire_action(action: CreateAction) -> WireAction {
    match action {
        CreateAction::Superseded => WireAction::Superseded,
        CreateAction::Opened => WireAction::Opened,
        CreateAction::Created => WireAction::Created,
        CreateAction::Overwritten => WireAction::Overwritten,
    }
}

/// Pipes are opened by name; there is nothing else about them (MS-SMB2 3.3.5.9).
fn create_pipe(request: &Request, wanted: &CreateRequest<'_>) -> Answer {
    let name = wanted.name.to_string();
    let pipe = PipeOpen::open(request, &name).ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let persistent = request.conn.server.next_open_id();
    let entered = request.session()?.add_open(
        &request.conn.server,
        persistent,
        request.tree()?,
        Target::Pipe(pipe),
    );
    let open = entered.map_err(|(_, status)| status)?;
    let response = CreateResponse {
        oplock: OplockLevel::None,
        flags: 0,
        action: WireAction::Opened,
        created: FileTime(0),
        accessed: FileTime(0),
        written: FileTime(0),
        changed: FileTime(0),
        allocation_size: 4096,
        end_of_file: 0,
        file_attributes: DosAttributes::NORMAL.0,
        file_id: open.id,
        contexts: CreateContexts::default(),
    };
    Ok(Body::Create(Box::new(Created {
        response,
        hushed: None,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_within_the_share() {
        let resolved = |path| {
            resolve_path(path)
                .map(Cow::into_owned)
                .map_err(|f| f.status)
        };
        assert_eq!(resolved("a\\b"), Ok("a\\b".to_owned()));
        assert_eq!(resolved("a\\.\\x\\..\\b"), Ok("a\\b".to_owned()));
        assert_eq!(resolved("a\\.."), Ok(String::new()));
        assert_eq!(resolved(".."), Err(NtStatus::OBJECT_PATH_SYNTAX_BAD));
        assert_eq!(
            resolved("a\\..\\..\\b"),
            Err(NtStatus::OBJECT_PATH_SYNTAX_BAD)
        );
        assert_eq!(resolved("\\a"), Err(NtStatus::INVALID_PARAMETER));
    }
}
