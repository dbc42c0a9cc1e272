//! The log's copies follow the members of the pool: one whose disk was lost begins anew elsewhere, with all that the
//! index may not hold yet.

use std::sync::Arc;

use strongroom_device::{DeviceError, DeviceFile};
use strongroom_pool::{EpochId, Home};

use crate::log::frame::Position;
use crate::log::recover::{Frame, read_frame};
use crate::log::{Log, LogCopy};

/// Bytes that are written to a new copy in one go, at least.
const CHUNK: usize = 1 << 20;

/// Why the copies could not follow.
#[derive(Debug)]
pub(crate) enum NotFollowed {
    /// No copy lies on a member any more.
    NoneLeft,
    /// A new copy could not be written.
    Copy(Arc<LogCopy>, DeviceError),
}

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
        let same = |a: &Home, b: &Home| a.device.name() == b.device.name() && a.dir == b.dir;
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
            if let Err(error) = copy.clear().and_then(|()| self.fill(copy, &copies)) {
                return Err(NotFollowed::Copy(Arc::clone(copy), error));
            }
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

    fn fill(&self, copy: &LogCopy, sources: &[Arc<LogCopy>]) -> Result<(), DeviceError> {
        let mut previous = None;
        for part in self.parts() {
            let file = copy.file_or_create(part.slot, self.file_len)?;
            copy_file(part, sources, &*file, &mut previous)?;
            file.sync()?;
        }
        Ok(())
    }
}

/// Copies the frames of one file, each from a copy that has it whole. What none of them has is damage that was there
/// before, or was never acknowledged.
fn copy_file(
    part: FilePart,
    sources: &[Arc<LogCopy>],
    to: &dyn DeviceFile,
    previous: &mut Option<u64>,
) -> Result<(), DeviceError> {
    let (mut at, mut gathered) = (0, Vec::new());
    while at + (gathered.len() as u64) < part.end {
        let position = Position {
            sequence: part.sequence,
            offset: at + gathered.len() as u64,
        };
        let Some(frame) = find_frame(part.slot, position, sources, *previous) else {
            break;
        };
        *previous = Some(frame.hash);
        let len = gathered.len() + usize::try_from(frame.header.frame_len()).unwrap_or(0);
        gathered.extend_from_slice(&frame.bytes);
        gathered.resize(len, 0);
        if len >= CHUNK {
            to.write_at(at, &gathered)?;
            at += len as u64;
            gathered.clear();
        }
    }
    to.write_at(at, &gathered)
}

/// The frame at a position, from the copy whose frame goes on where the one before ended.
fn find_frame(
    slot: u32,
    at: Position,
    sources: &[Arc<LogCopy>],
    previous: Option<u64>,
) -> Option<Frame> {
    let mut other = None;
    for copy in sources {
        let Some(frame) = read_frame(copy, slot, at.offset).filter(|f| f.header.position == at)
        else {
            continue;
        };
        if previous.is_none_or(|previous| previous == frame.header.previous) {
            return Some(frame);
        }
        other = Some(frame);
    }
    // An opening goes on after the last whole group, and what it cut off lies between.
    other
}
