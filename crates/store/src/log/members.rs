//! The log's copies follow the members of the pool: one whose disk was lost begins anew elsewhere, with all that the
//! index may not hold yet.

use std::sync::Arc;

use strongroom_device::{DeviceError, DeviceFile};
use strongroom_pool::{EpochId, Home};

use crate::log::frame::{ALIGNMENT, Position};
use crate::log::recover::{Frame, try_read_frame};
use crate::log::{Log, LogCopy};

/// Bytes that are written to a new copy in one go, at least.
const CHUNK: usize = 1 << 20;
/// Bytes of a block; frames begin at multiples.
const ALIGNMENT_LEN: usize = 4096;
const _: () = assert!(ALIGNMENT_LEN as u64 == ALIGNMENT);

/// How often a copy is asked for a frame before it counts as failed.
const TRIES: usize = 3;

/// Why the copies could not follow.
#[derive(Debug)]
pub(crate) enum NotFollowed {
    /// No copy lies on a member any more.
    NoneLeft,
    /// A new copy could not be written.
    Copy(Arc<LogCopy>, DeviceError),
    /// A copy could not be read, and no other has what is in that place.
    Source(Arc<LogCopy>, DeviceError),
}

/// A copy that failed, and how.
type Failed = (Arc<LogCopy>, DeviceError);

/// A log file as far as it is in use.
#[derive(Debug, Clone, Copy)]
struct FilePart {
    slot: u32,
    sequence: u64,
    end: u64,
}

impl Log {
    /// The epoch whose members hold the copies; frames carry it.
    pub(crate) fn epoch(&self) -> EpochId {
        *self.epoch.lock()
    }

    /// Leaves out copies whose devices are no members in `epoch`, and begins one at each home that is not used yet. On
    /// return every copy holds the log as far as it is in use; on an error all is as before. Not to be called while
    /// frames are being written.
    pub(crate) fn follow(&self, epoch: EpochId, homes: Vec<Home>) -> Result<(), NotFollowed> {
        let known = self.copies();
        let same = |a: &Home, b: &Home| Arc::ptr_eq(&a.device, &b.device) && a.dir == b.dir;
        let (mut copies, mut begun) = (Vec::new(), Vec::new());
        for home in homes {
            match known.iter().find(|copy| same(&home, &copy.home)) {
                Some(copy) => copies.push(Arc::clone(copy)),
                None => begun.push(Arc::new(LogCopy::new(home))),
            }
        }
        if copies.is_empty() {
            return Err(NotFollowed::NoneLeft);
        }
        for copy in &begun {
            copy.clear()
                .map_err(|error| NotFollowed::Copy(Arc::clone(copy), error))?;
            self.fill(copy, &copies)?;
            tracing::warn!(
                device = copy.device().name(),
                "a copy of the log was made anew"
            );
        }
        copies.append(&mut begun);
        *self.copies.lock() = copies;
        *self.epoch.lock() = epoch;
        Ok(())
    }

    /// The files in use, oldest first.
    fn parts(&self) -> Vec<FilePart> {
        let tail = self.tail.lock();
        let files = tail.used.iter().rev().enumerate();
        let part = |(back, file): (usize, &super::UsedFile)| FilePart {
            slot: file.slot,
            sequence: tail.sequence - back as u64,
            end: if back == 0 {
                tail.offset
            } else {
                self.file_len
            },
        };
        let mut parts: Vec<FilePart> = files.map(part).collect();
        parts.reverse();
        parts
    }

    fn fill(&self, copy: &Arc<LogCopy>, sources: &[Arc<LogCopy>]) -> Result<(), NotFollowed> {
        let unwritten = |error| NotFollowed::Copy(Arc::clone(copy), error);
        let mut previous = None;
        for part in self.parts() {
            let file = copy.file_or_create(part.slot, self.file_len);
            let file = file.map_err(unwritten)?;
            let mut writer = Writer::new(&*file);
            copy_file(part, sources, &mut writer, &mut previous, &unwritten)?;
            writer
                .flush()
                .and_then(|()| file.sync())
                .map_err(unwritten)?;
        }
        Ok(())
    }
}

/// Gathers what is written one after the other from the start of a file.
struct Writer<'a> {
    to: &'a dyn DeviceFile,
    at: u64,
    gathered: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(to: &'a dyn DeviceFile) -> Self {
        Self {
            to,
            at: 0,
            gathered: Vec::new(),
        }
    }

    /// Where the next byte goes.
    fn position(&self) -> u64 {
        self.at + self.gathered.len() as u64
    }

    /// Adds bytes and zeroes up to `len`.
    fn add(&mut self, bytes: &[u8], len: usize) -> Result<(), DeviceError> {
        let end = self.gathered.len() + len;
        self.gathered.extend_from_slice(bytes);
        self.gathered.resize(end, 0);
        if end >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        if !self.gathered.is_empty() {
            self.to.write_at(self.at, &self.gathered)?;
            self.at += self.gathered.len() as u64;
            self.gathered.clear();
        }
        Ok(())
    }
}

/// Copies the frames of one file, each from a copy that has it whole. What none of them has is damage that was there
/// before, or was never acknowledged: it is copied as it stands, so that the new copy is no poorer than they are.
fn copy_file(
    part: FilePart,
    sources: &[Arc<LogCopy>],
    to: &mut Writer<'_>,
    previous: &mut Option<u64>,
    unwritten: &impl Fn(DeviceError) -> NotFollowed,
) -> Result<(), NotFollowed> {
    while to.position() < part.end {
        let position = Position {
            sequence: part.sequence,
            offset: to.position(),
        };
        let unread = |(copy, error)| NotFollowed::Source(copy, error);
        let found = find_frame(part.slot, position, sources, *previous).map_err(unread)?;
        let added = match found {
            Some(frame) => {
                *previous = Some(frame.hash);
                let len = usize::try_from(frame.header.frame_len()).unwrap_or(0);
                to.add(&frame.bytes, len)
            }
            None => {
                *previous = None;
                let block = read_block(part.slot, position.offset, sources).map_err(unread)?;
                to.add(&block, ALIGNMENT_LEN)
            }
        };
        added.map_err(unwritten)?;
    }
    Ok(())
}

/// The frame at a position, from the copy whose frame goes on where the one before ended.
///
/// # Errors
/// A copy could not be read, and no other has the frame: it may be there.
fn find_frame(
    slot: u32,
    at: Position,
    sources: &[Arc<LogCopy>],
    previous: Option<u64>,
) -> Result<Option<Frame>, Failed> {
    let (mut other, mut failed) = (None, None);
    for copy in sources {
        let frame = match read_frame(copy, slot, at.offset) {
            Ok(frame) => frame.filter(|frame| frame.header.position == at),
            Err(error) => {
                failed.get_or_insert((Arc::clone(copy), error));
                None
            }
        };
        let Some(frame) = frame else { continue };
        if previous.is_none_or(|previous| previous == frame.header.previous) {
            return Ok(Some(frame));
        }
        other = Some(frame);
    }
    match (other, failed) {
        // An opening goes on after the last whole group, and what it cut off lies between.
        (Some(other), _) => Ok(Some(other)),
        (None, Some(failed)) => Err(failed),
        (None, None) => Ok(None),
    }
}

/// A disk may fail to read once and answer the next time; giving up a copy for that would be rash.
fn read_frame(copy: &LogCopy, slot: u32, offset: u64) -> Result<Option<Frame>, DeviceError> {
    let mut outcome = try_read_frame(copy, slot, offset);
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        outcome = try_read_frame(copy, slot, offset);
    }
    outcome
}

/// The block at an offset, as the first copy has it; behind the end of the file are zeroes.
fn read_block(slot: u32, offset: u64, sources: &[Arc<LogCopy>]) -> Result<Vec<u8>, Failed> {
    let mut block = vec![0; ALIGNMENT_LEN];
    for copy in sources {
        let read = match copy.file(slot) {
            Err(DeviceError::NotFound { .. }) => continue,
            file => file.and_then(|file| file.read_at(offset, &mut block)),
        };
        read.map_err(|error| (Arc::clone(copy), error))?;
        break;
    }
    Ok(block)
}
