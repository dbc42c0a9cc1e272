//! READDIR and READDIRPLUS (RFC 1813, 3.3.16, 3.3.17). Cookies are good for ever, so the verifier says nothing.

use strongroom_vfs::unix::{Found, UnixEntry};

use super::Status;
use super::types::{HANDLE_MAX, ReaddirArgs, ReaddirplusArgs};
use crate::server::{Done, HANDLE_LEN_MAX, Request, Target};
use crate::xdr::{Encoder, Xdr};

/// The largest answer.
const ANSWER_MAX: usize = 1 << 20;
/// Status, the directory's attributes, verifier, and the two booleans at the end.
const HEAD: usize = 4 + 88 + 8 + 8;
/// Presence, number, length of the name, cookie.
const ENTRY: usize = 4 + 8 + 4 + 8;
/// Attributes and handle of an entry.
const PLUS: usize = 88 + 4 + 4 + HANDLE_LEN_MAX;
const _: () = assert!(HANDLE_LEN_MAX <= HANDLE_MAX);

pub(super) fn readdir(request: &Request<'_>, args: ReaddirArgs<'_>, to: &mut Encoder) -> Done {
    let room = room(args.count);
    let directory = request.target3(args.directory);
    let mut listing = Listing {
        request,
        room,
        names_room: room,
        plus: false,
        taken: 0,
    };
    listing.answer(&directory, args.cookie, to);
    Ok(())
}

pub(super) fn readdirplus(
    request: &Request<'_>,
    args: ReaddirplusArgs<'_>,
    to: &mut Encoder,
) -> Done {
    let directory = request.target3(args.directory);
    let mut listing = Listing {
        request,
        room: room(args.count),
        names_room: room(args.directory_count),
        plus: true,
        taken: 0,
    };
    listing.answer(&directory, args.cookie, to);
    Ok(())
}

fn room(count: u32) -> usize {
    usize::try_from(count).unwrap_or(ANSWER_MAX).min(ANSWER_MAX)
}

struct Listing<'a, 'r> {
    request: &'a Request<'r>,
    /// Bytes left for the whole answer, and for the part of names, numbers and cookies.
    room: usize,
    names_room: usize,
    plus: bool,
    taken: usize,
}

impl Listing<'_, '_> {
    fn answer(&mut self, directory: &Result<Target, Status>, cookie: u64, to: &mut Encoder) {
        let start = to.len();
        Status::OK.encode(to);
        let status = directory.as_ref().map_err(|status| *status);
        self.request.post_op(status, to);
        to.fixed(&[0; 8]);
        self.room = self.room.saturating_sub(HEAD);
        let listed = status.and_then(|directory| self.list(directory, cookie, to));
        match listed {
            Ok(at_end) if at_end || self.taken > 0 => {
                to.bool(false).bool(at_end);
            }
            failed => {
                to.truncate(start);
                failed.err().unwrap_or(Status::TOOSMALL).encode(to);
                self.request.post_op(status, to);
            }
        }
    }

    fn list(&mut self, target: &Target, cookie: u64, to: &mut Encoder) -> Result<bool, Status> {
        let unix = target.unix(&self.request.server.vfs);
        let at_end = unix.list(target.inode, cookie, &mut |entry| {
            Ok(self.take(target, &entry, to))
        });
        Ok(at_end?)
    }

    /// False where it does not fit.
    fn take(&mut self, target: &Target, entry: &UnixEntry, to: &mut Encoder) -> bool {
        let name = ENTRY + entry.name.len().next_multiple_of(4);
        let size = if self.plus { name + PLUS } else { name };
        if size > self.room || (self.taken > 0 && name > self.names_room) {
            return false;
        }
        self.room -= size;
        self.names_room = self.names_room.saturating_sub(name);
        self.taken += 1;
        let target = target.leads_to(Found {
            inode: entry.inode,
            view: entry.view.clone(),
        });
        to.bool(true).u64(target.id().0).opaque(&entry.name);
        to.u64(entry.cookie);
        if self.plus {
            self.request.look3(&target).encode(to);
            to.bool(true).opaque(&self.request.handle_of(&target));
        }
        true
    }
}
