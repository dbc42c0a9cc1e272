//! QUERY_DIRECTORY (MS-SMB2 3.3.5.18).

use strongroom_vfs::names::short_name;
use strongroom_vfs::{AccessMask, DirEntry, Handle};

use super::negotiate::payload_max;
use crate::server::answer::Step;
use crate::server::apple;
use crate::server::listing::Listing;
use crate::server::open::FileOpen;
use crate::server::posix;
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::directory::{QueryDirectoryFlags, QueryDirectoryRequest};
use crate::wire::fscc::directory::{DirectoryEntry, DirectoryWriter, fixed_len, has_short_names};
use crate::wire::fscc::list::ListWriter;
use crate::wire::fscc::posix::POSIX_ENTRY_MIN;
use crate::wire::info::{Buffer, FileInfoClass};
use crate::wire::{Codec, FileTime, NtStatus};

pub(crate) fn run(request: &Request, out: &mut Vec<u8>) -> Step {
    match query(request, out) {
        Ok(()) => Step::Now(NtStatus::SUCCESS),
        Err(failure) => failure.into(),
    }
}

fn query(request: &Request, out: &mut Vec<u8>) -> Result<(), Failure> {
    let wanted: QueryDirectoryRequest<'_> = request.decode()?;
    request.check_charge(0, wanted.output_buffer_length)?;
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    check(request, file, &wanted)?;
    let mut slot = file.listing.lock();
    let listing = match &mut *slot {
        Some(listing) => {
            position(listing, &wanted);
            listing.resume(&request.conn.server.vfs, &file.handle)?;
            listing
        }
        None => slot.insert(Box::new(Listing::new(pattern(&wanted)))),
    };
    fill(request, file, &wanted, listing, out)
}

fn check(
    request: &Request,
    file: &FileOpen,
    wanted: &QueryDirectoryRequest<'_>,
) -> Result<(), Failure> {
    let max = request.conn.server.config.max_transact_size;
    let max = request
        .conn
        .negotiated
        .get()
        .map_or(0, |negotiated| payload_max(negotiated, max));
    if !file.handle.is_directory() || wanted.output_buffer_length > max {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    if !file.handle.granted().contains(AccessMask::LIST_DIRECTORY) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let fixed = if wanted.class == FileInfoClass::Posix && request.is_posix() {
        POSIX_ENTRY_MIN
    } else {
        fixed_len(wanted.class).ok_or(NtStatus::INVALID_INFO_CLASS)?
    };
    if room(wanted) < fixed {
        return Err(NtStatus::INFO_LENGTH_MISMATCH.into());
    }
    Ok(())
}

fn room(wanted: &QueryDirectoryRequest<'_>) -> usize {
    usize::try_from(wanted.output_buffer_length).unwrap_or(0)
}

fn pattern(wanted: &QueryDirectoryRequest<'_>) -> String {
    if wanted.pattern.is_empty() {
        "*".to_owned()
    } else {
        wanted.pattern.to_string()
    }
}

/// RESTART_SCANS begins anew, REOPEN with another pattern too. FileIndex is never given out as a place to go on from,
/// so INDEX_SPECIFIED goes on where the listing stands.
fn position(listing: &mut Listing, wanted: &QueryDirectoryRequest<'_>) {
    if wanted.flags.contains(QueryDirectoryFlags::REOPEN) {
        *listing = Listing::new(pattern(wanted));
    } else if wanted.flags.contains(QueryDirectoryFlags::RESTART_SCANS) {
        if wanted.pattern.is_empty() {
            listing.restart();
        } else {
            *listing = Listing::new(pattern(wanted));
        }
    }
}

fn fill(
    request: &Request,
    file: &FileOpen,
    wanted: &QueryDirectoryRequest<'_>,
    listing: &mut Listing,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let vfs = &request.conn.server.vfs;
    let first = !listing.matched;
    let single = wanted
        .flags
        .contains(QueryDirectoryFlags::RETURN_SINGLE_ENTRY);
    let slot = Buffer::begin(out);
    let mut list =
        Entries::new(out, wanted.class, room(wanted)).ok_or(NtStatus::INVALID_INFO_CLASS)?;
    let mut overflow = false;
    loop {
        let left = room(wanted).saturating_sub(list.used());
        let Some(entry) = listing.peek(vfs, &file.handle, left)? else {
            break;
        };
        if !list.push(request, &file.handle, entry)? {
            overflow = true;
            break;
        }
        listing.advance();
        if single {
            break;
        }
    }
    if !list.is_empty() {
        Buffer::finish(slot, out);
        return Ok(());
    }
    let status = match (overflow, first) {
        (true, _) => NtStatus::INFO_LENGTH_MISMATCH,
        (false, true) => NtStatus::NO_SUCH_FILE,
        (false, false) => NtStatus::NO_MORE_FILES,
    };
    Err(status.into())
}

/// The entries of one answer, in the class that was asked for.
enum Entries<'o> {
    Windows {
        list: DirectoryWriter<'o>,
        short_names: bool,
    },
    Posix(ListWriter<'o>),
}

impl<'o> Entries<'o> {
    fn new(out: &'o mut Vec<u8>, class: FileInfoClass, max: usize) -> Option<Self> {
        if class == FileInfoClass::Posix {
            return Some(Self::Posix(ListWriter::new(out, max, 8)));
        }
        DirectoryWriter::new(out, class, max).map(|list| Self::Windows {
            list,
            short_names: has_short_names(class),
        })
    }

    /// False when there is no room. An entry that is gone since it was listed is left out.
    fn push(
        &mut self,
        request: &Request,
        directory: &Handle,
        entry: &DirEntry,
    ) -> Result<bool, Failure> {
        let vfs = &request.conn.server.vfs;
        let list = match self {
            Self::Windows { list, .. }
                if list.tells_apple() && request.session()?.lists_for_apple() =>
            {
                let Some(apple) = apple::entry(request, directory, entry)? else {
                    return Ok(true);
                };
                return Ok(list.push(&DirectoryEntry {
                    apple: Some(apple),
                    ..wire_entry(entry, None)
                }));
            }
            Self::Windows { list, short_names } => {
                return Ok(list.push(&wire_entry(entry, short_of(entry, *short_names).as_deref())));
            }
            Self::Posix(list) => list,
        };
        let entry = posix::entry(vfs, directory, entry)?;
        Ok(entry.is_none_or(|entry| list.push(entry.len(), |out| entry.encode(out))))
    }

    fn used(&self) -> usize {
        match self {
            Self::Windows { list, .. } => list.used(),
            Self::Posix(list) => list.used(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Windows { list, .. } => list.is_empty(),
            Self::Posix(list) => list.is_empty(),
        }
    }
}

fn short_of(entry: &DirEntry, asked: bool) -> Option<String> {
    let dots = entry.name == "." || entry.name == "..";
    if asked && !dots {
        short_name(&entry.name)
    } else {
        None
    }
}

fn wire_entry<'a>(entry: &'a DirEntry, short_name: Option<&'a str>) -> DirectoryEntry<'a> {
    let stat = &entry.stat;
    DirectoryEntry {
        name: &entry.name,
        short_name: short_name.unwrap_or_default(),
        file_index: 0,
        created: FileTime(stat.created.0),
        accessed: FileTime(stat.accessed.0),
        written: FileTime(stat.modified.0),
        changed: FileTime(stat.changed.0),
        end_of_file: stat.size,
        allocation_size: stat.allocated,
        attributes: stat.attributes.0,
        ea_size: stat.ea_size,
        reparse_tag: stat.reparse_tag,
        file_id: stat.inode.0,
        apple: None,
    }
}
