//! Reads the log after a crash: the good copy frame by frame, the bad one repaired, a torn tail cut only where no
//! watermark says that it was acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use strongroom_device::DeviceError;
use strongroom_pool::crypt::Cipher;
use strongroom_pool::{EpochId, EpochTerm, Txg};

use crate::log::frame::{ALIGNMENT, HEADER_LEN, Header, NoFrame, Position, VERSION};
use crate::log::{LogCopy, Tail, UsedFile};
use crate::record::Record;
use crate::{Result, StoreError};

/// What the log says after the last group that the index holds.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Whole groups, in order, without a gap.
    pub(crate) records: Vec<Record>,
    pub(crate) last_txg: Txg,
    pub(crate) tail: Tail,
    pub(crate) repairs: u64,
    /// Copies that could not be repaired or synced; their devices are to be set aside.
    pub(crate) failed: Vec<(Arc<LogCopy>, DeviceError)>,
}

/// A verified frame.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) hash: u64,
    /// Header and body, without padding.
    pub(super) bytes: Bytes,
}

struct Reader<'a> {
    copies: &'a [Arc<LogCopy>],
    /// Each epoch's number in the chain, and the last group that counts of it.
    epochs: HashMap<EpochId, (u32, Txg)>,
    /// Sequence → slot.
    files: BTreeMap<u64, Found>,
    slots: BTreeSet<u32>,
    file_len: u64,
    repairs: u64,
    failed: Vec<(Arc<LogCopy>, DeviceError)>,
    cipher: Option<&'a Cipher>,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    slot: u32,
    /// Number of the epoch that began the file.
    epoch: u32,
    first: Option<(Txg, u32)>,
}

/// Reads what comes after `held`. `known` is the last group that an epoch or the index vouches for.
pub(crate) fn recover(
    copies: &[Arc<LogCopy>],
    terms: &[EpochTerm],
    file_len: u64,
    held: Txg,
    known: Txg,
    cut_below_watermark: bool,
    cipher: Option<&Cipher>,
) -> Result<Recovered> {
    let mut reader = Reader {
        copies,
        epochs: terms.iter().map(reach).collect(),
        files: BTreeMap::new(),
        slots: BTreeSet::new(),
        file_len,
        repairs: 0,
        failed: Vec::new(),
        cipher,
    };
    reader.find_files();
    let walk = reader.walk(held);
    if let Some(at) = walk.tampered {
        return Err(tampered(&reader, at));
    }
    if walk.headless
        || walk
            .records
            .first()
            .is_some_and(|record| record.txg.0 != held.0 + 1)
    {
        return Err(gap(&reader, &walk, held));
    }
    if !cut_below_watermark {
        reader.refuse_damage(&walk)?;
        if walk.last < known {
            return Err(lost(&reader, &walk, known));
        }
    }
    reader.restore(&walk)?;
    Ok(reader.finish(walk, held))
}

fn reach(term: &EpochTerm) -> (EpochId, (u32, Txg)) {
    let last = term.last_txg.unwrap_or(Txg(u64::MAX));
    (term.id, (term.sequence, last))
}

fn gap(reader: &Reader<'_>, walk: &Walk, held: Txg) -> StoreError {
    let what = format!(
        "the log begins after group {}, but the index holds only {}: log files are missing ({})",
        held.0 + 1,
        held.0,
        reader.place(Position {
            sequence: walk.first_sequence,
            offset: 0
        }),
    );
    StoreError::Corrupt { what }
}

fn tampered(reader: &Reader<'_>, at: Position) -> StoreError {
    let what = format!(
        "the log at {} cannot be decrypted: it was changed, or belongs elsewhere",
        reader.place(at)
    );
    StoreError::Corrupt { what }
}

fn lost(reader: &Reader<'_>, walk: &Walk, known: Txg) -> StoreError {
    let what = format!(
        "the log ends with group {} at {}, but group {} was acknowledged: log files are missing or damaged on every copy",
        walk.last.0,
        reader.place(walk.end),
        known.0
    );
    StoreError::Corrupt { what }
}

/// How far the log reads on.
struct Walk {
    tampered: Option<Position>,
    records: Vec<Record>,
    last: Txg,
    /// Where the first unreadable frame lies.
    end: Position,
    /// Hash of the last frame of the last whole group, or of a watermark after it.
    hash: u64,
    first_sequence: u64,
    /// The first frame lies in the middle of a group that the index does not hold.
    headless: bool,
    /// Last group with a frame in each file.
    ends: BTreeMap<u64, Txg>,
}

impl Reader<'_> {
    fn find_files(&mut self) {
        for copy in self.copies {
            match copy.slots() {
                Ok(slots) => self.slots.extend(slots),
                Err(error) => self.failed.push((Arc::clone(copy), error)),
            }
        }
        for slot in self.slots.clone() {
            let Some((sequence, found)) = self.find_file(slot) else {
                continue;
            };
            // What an opening cut off may have the sequence that the next one gave to another slot.
            let known = self.files.get(&sequence);
            if known.is_none_or(|known| known.epoch < found.epoch) {
                self.files.insert(sequence, found);
            }
        }
    }

    /// What a slot holds, by the copy that knows the newest use of it: another one may have lost the write.
    fn find_file(&self, slot: u32) -> Option<(u64, Found)> {
        let mut newest: Option<((u64, u32), Header)> = None;
        for copy in self.copies {
            let frame = self.read_frame(copy, slot, 0);
            let header = frame.map(|frame| frame.header);
            if let Some(header) = header.filter(|header| header.position.offset == 0) {
                let age = self.age(&header);
                if newest.is_none_or(|(known, _)| known < age) {
                    newest = Some((age, header));
                }
            }
        }
        if let Some(((sequence, epoch), header)) = newest {
            let first = Some((header.txg, header.number));
            return Some((sequence, Found { slot, epoch, first }));
        }
        let first = None;
        let (sequence, epoch) = self.age_inside(slot)?;
        Some((sequence, Found { slot, epoch, first }))
    }

    /// Orders the uses of a slot.
    fn age(&self, header: &Header) -> (u64, u32) {
        (header.position.sequence, self.epoch_of(header))
    }

    fn epoch_of(&self, header: &Header) -> u32 {
        self.epochs
            .get(&header.epoch)
            .map_or(0, |(sequence, _)| *sequence)
    }

    /// An opening voids what it did not accept, whether it saw it or not.
    fn counts(&self, header: &Header) -> bool {
        self.epochs
            .get(&header.epoch)
            .is_some_and(|(_, last)| header.txg <= *last)
    }

    /// Reads one frame of one copy; None if there is no whole one, or it is void.
    fn read_frame(&self, copy: &LogCopy, slot: u32, offset: u64) -> Option<Frame> {
        let frame = read_frame(copy, slot, offset);
        frame.filter(|frame| self.counts(&frame.header))
    }

    /// The age of a file whose first frame is damaged on all copies: any later frame tells.
    fn age_inside(&self, slot: u32) -> Option<(u64, u32)> {
        let mut highest = None;
        self.scan(slot, 0, &mut |frame| {
            highest = highest.max(Some(self.age(frame)));
        });
        highest
    }

    /// The file in which the groups after `held` begin.
    fn first_file(&self, held: Txg) -> Option<u64> {
        let wanted = (held.0 + 1, 0);
        let before = |found: &Found| {
            found
                .first
                .is_some_and(|(txg, number)| (txg.0, number) <= wanted)
        };
        self.files
            .iter()
            .rev()
            .find(|(_, found)| before(found))
            .map(|(sequence, _)| *sequence)
    }

    fn walk(&mut self, held: Txg) -> Walk {
        let first = self
            .first_file(held)
            .or_else(|| self.files.keys().next().copied());
        let start = Position {
            sequence: first.unwrap_or(0),
            offset: 0,
        };
        let mut walker = Walker::new(start, held, self.cipher);
        // A file's end shows only in that the next one goes on: files of an earlier setting have other lengths.
        while let Some(frame) = self.next_frame(&walker) {
            walker.accept(frame);
        }
        walker.walk(first.unwrap_or(0))
    }

    /// The frame that follows, here or at the head of the next file (an earlier opening went on there).
    fn next_frame(&mut self, walker: &Walker) -> Option<Frame> {
        if let Some(frame) = self.frame(walker.at, &|frame| walker.follows(frame)) {
            return Some(frame);
        }
        let next = Position {
            sequence: walker.at.sequence + 1,
            offset: 0,
        };
        self.frame(next, &|frame| {
            walker.follows(frame) || walker.restarts(frame)
        })
    }

    /// Reads one position on all copies, takes a good frame and repairs those that differ.
    fn frame(&mut self, at: Position, fits: &dyn Fn(&Frame) -> bool) -> Option<Frame> {
        let found = self.files.get(&at.sequence).copied()?;
        let mut read = Vec::with_capacity(self.copies.len());
        for copy in self.copies {
            let frame = self.read_frame(copy, found.slot, at.offset);
            let fitting = frame.filter(|frame| frame.header.position == at && fits(frame));
            read.push((copy, fitting));
        }
        let frames = read.iter().filter_map(|(_, frame)| frame.as_ref());
        let good = frames
            .max_by_key(|frame| self.epoch_of(&frame.header))
            .cloned()?;
        for (copy, frame) in read {
            if frame.is_none_or(|frame| frame.hash != good.hash) {
                self.repair(copy, found.slot, at, &good);
            }
        }
        Some(good)
    }

    fn repair(&mut self, copy: &Arc<LogCopy>, slot: u32, at: Position, frame: &Frame) {
        if self
            .failed
            .iter()
            .any(|(failed, _)| Arc::ptr_eq(failed, copy))
        {
            return;
        }
        tracing::warn!(
            device = copy.device().name(),
            file = copy.path(slot),
            offset = at.offset,
            txg = frame.header.txg.0,
            "log frame is missing or damaged on this copy; repaired from another"
        );
        let mut bytes = frame.bytes.to_vec();
        bytes.resize(
            usize::try_from(frame.header.frame_len()).unwrap_or(bytes.len()),
            0,
        );
        let written = copy
            .file_or_create(slot, self.file_len)
            .and_then(|file| file.write_at(at.offset, &bytes));
        match written {
            Ok(()) => self.repairs += 1,
            Err(error) => self.failed.push((Arc::clone(copy), error)),
        }
    }

    /// Damage is an error when any frame after it says that what is damaged was durable.
    fn refuse_damage(&self, walk: &Walk) -> Result<()> {
        let mut highest = Txg(0);
        for (sequence, found) in self.files.range(walk.end.sequence..) {
            let from = if *sequence == walk.end.sequence {
                walk.end.offset
            } else {
                0
            };
            self.scan(found.slot, from, &mut |frame| {
                if frame.position.sequence == *sequence {
                    highest = highest.max(frame.durable);
                }
            });
        }
        if highest <= walk.last {
            return Ok(());
        }
        let what = format!(
            "{}: the log is damaged on every copy, and group {} was acknowledged after it",
            self.place(walk.end),
            highest.0
        );
        Err(StoreError::Corrupt { what })
    }

    fn place(&self, at: Position) -> String {
        let slot = self.files.get(&at.sequence).map_or(0, |found| found.slot);
        let name = |copy: &Arc<LogCopy>| format!("{}/{}", copy.device().name(), copy.path(slot));
        let names: Vec<String> = self.copies.iter().map(name).collect();
        format!("{}, offset {}", names.join(" and "), at.offset)
    }

    /// Visits every whole frame of a slot from `from` on, in any copy, wherever it belongs.
    fn scan(&self, slot: u32, from: u64, visit: &mut dyn FnMut(&Header)) {
        let mut visit = |header: &Header| {
            if self.counts(header) {
                visit(header);
            }
        };
        for copy in self.copies {
            scan_copy(copy, slot, from, &mut visit);
        }
    }

    /// Makes what was accepted durable on every copy: a killed process may have left it in memory only.
    fn restore(&mut self, walk: &Walk) -> Result<()> {
        let files = self.files.range(walk.first_sequence..=walk.end.sequence);
        let slots: Vec<u32> = files.map(|(_, found)| found.slot).collect();
        for copy in self.copies {
            if self
                .failed
                .iter()
                .any(|(failed, _)| Arc::ptr_eq(failed, copy))
            {
                continue;
            }
            let sync = |slot: &u32| copy.file_or_create(*slot, self.file_len)?.sync();
            if let Err(error) = slots.iter().try_for_each(sync) {
                self.failed.push((Arc::clone(copy), error));
            }
        }
        match self.failed.first() {
            Some((_, error)) if self.failed.len() >= self.copies.len() => Err(error.clone().into()),
            Some(_) | None => Ok(()),
        }
    }

    fn finish(self, walk: Walk, held: Txg) -> Recovered {
        let mut used = std::collections::VecDeque::new();
        let mut taken = BTreeSet::new();
        for (sequence, found) in self.files.range(walk.first_sequence..=walk.end.sequence) {
            let last_txg = walk.ends.get(sequence).copied().unwrap_or(walk.last);
            used.push_back(UsedFile {
                slot: found.slot,
                last_txg,
            });
            taken.insert(found.slot);
        }
        // What was cut off is used first, in order, so that no sequence is ever in two slots.
        let cut = self
            .files
            .range(walk.end.sequence + 1..)
            .rev()
            .map(|(_, found)| found.slot);
        let cut: Vec<u32> = cut.collect();
        taken.extend(&cut);
        let others = self.slots.iter().rev().filter(|slot| !taken.contains(slot));
        let free = others.copied().chain(cut.iter().copied()).collect();
        let next_slot = self.slots.last().map_or(0, |slot| slot + 1);
        let tail = Tail {
            // Writing goes on in a new file, so that no accepted frame shares a page with a new one.
            sequence: walk.end.sequence,
            offset: self.file_len,
            previous: walk.hash,
            used,
            free,
            next_slot,
        };
        debug_assert!(walk.records.first().is_none_or(|record| record.txg > held));
        Recovered {
            records: walk.records,
            last_txg: walk.last,
            tail,
            repairs: self.repairs,
            failed: self.failed,
        }
    }
}

/// Follows the chain.
struct Walker<'a> {
    cipher: Option<&'a Cipher>,
    /// The first frame that does not decrypt.
    tampered: Option<Position>,
    at: Position,
    held: Txg,
    started: bool,
    /// Hash of the frame before.
    previous: u64,
    /// Hash of the last frame of the last whole group.
    whole: u64,
    last: Txg,
    partial: Vec<Frame>,
    records: Vec<Record>,
    ends: BTreeMap<u64, Txg>,
    headless: bool,
}

impl<'a> Walker<'a> {
    fn new(at: Position, held: Txg, cipher: Option<&'a Cipher>) -> Self {
        Self {
            cipher,
            tampered: None,
            at,
            held,
            started: false,
            previous: 0,
            whole: 0,
            last: Txg(0),
            partial: Vec::new(),
            records: Vec::new(),
            ends: BTreeMap::new(),
            headless: false,
        }
    }

    /// Whether a frame goes on where the last one ended.
    fn follows(&self, frame: &Frame) -> bool {
        if !self.started {
            return true;
        }
        let header = &frame.header;
        let chained = header.previous == self.previous;
        let expected = match self.partial.last() {
            Some(before) => {
                header.txg == before.header.txg && header.number == before.header.number + 1
            }
            None if header.watermark_only => header.txg == self.last,
            None => header.txg.0 == self.last.0 + 1 && header.number == 0,
        };
        chained && expected
    }

    /// Whether a frame goes on after the last whole group, where a later opening cut a torn one.
    fn restarts(&self, frame: &Frame) -> bool {
        let header = &frame.header;
        let expected = if header.watermark_only {
            header.txg == self.last
        } else {
            header.txg.0 == self.last.0 + 1 && header.number == 0
        };
        self.started && header.previous == self.whole && expected
    }

    fn accept(&mut self, frame: Frame) {
        let header = frame.header;
        if !self.started {
            self.start(&header);
        } else if header.number == 0 {
            self.partial.clear();
        }
        self.at = header.position;
        self.at.offset += header.frame_len();
        self.previous = frame.hash;
        self.ends.insert(header.position.sequence, header.txg);
        if header.watermark_only {
            self.whole = frame.hash;
            return;
        }
        self.partial.push(frame);
        if header.last {
            self.complete(header);
        }
    }

    /// The first frame read may lie in the middle of a group that the index holds.
    fn start(&mut self, header: &Header) {
        self.started = true;
        let before = Txg(header.txg.0.saturating_sub(1));
        self.last = if header.watermark_only {
            header.txg
        } else {
            before
        };
        self.headless = header.number > 0 && header.txg > self.held;
    }

    fn complete(&mut self, header: Header) {
        self.whole = self.previous;
        self.last = header.txg;
        let frames = std::mem::take(&mut self.partial);
        if header.txg > self.held {
            match join(&frames, self.cipher) {
                Ok(body) => self.records.push(Record {
                    txg: header.txg,
                    time: header.time,
                    body,
                }),
                Err(at) => self.tampered = self.tampered.or(Some(at)),
            }
        }
    }

    fn walk(self, first_sequence: u64) -> Walk {
        Walk {
            records: self.records,
            last: self.last,
            end: self.at,
            hash: self.whole,
            first_sequence,
            ends: self.ends,
            headless: self.headless,
            tampered: self.tampered,
        }
    }
}

/// The bodies of frames, decrypted, or where one lies that does not decrypt.
fn join(frames: &[Frame], cipher: Option<&Cipher>) -> std::result::Result<Bytes, Position> {
    let open = |frame: &Frame| {
        let opened = frame.header.open(&frame.bytes, cipher);
        opened.ok_or(frame.header.position)
    };
    if let [frame] = frames {
        return open(frame);
    }
    let mut body = Vec::with_capacity(frames.iter().map(|frame| frame.bytes.len()).sum());
    for frame in frames {
        body.extend_from_slice(&open(frame)?);
    }
    Ok(Bytes::from(body))
}

/// Reads one frame of one copy; None if there is no whole one. What one copy cannot read is as good as missing there.
fn read_frame(copy: &LogCopy, slot: u32, offset: u64) -> Option<Frame> {
    try_read_frame(copy, slot, offset).unwrap_or_default()
}

/// Reads one frame of one copy; None if there is no whole one.
///
/// # Errors
/// The copy cannot be read. A file that is not there holds no frame.
pub(super) fn try_read_frame(
    copy: &LogCopy,
    slot: u32,
    offset: u64,
) -> std::result::Result<Option<Frame>, DeviceError> {
    let file = match copy.file(slot) {
        Err(DeviceError::NotFound { .. }) => return Ok(None),
        file => file?,
    };
    let mut head = [0; HEADER_LEN];
    if file.read_at(offset, &mut head)? < HEADER_LEN {
        return Ok(None);
    }
    let (header, stored) = match Header::parse(&head) {
        Ok(parsed) => parsed,
        Err(NoFrame::Damaged) => return Ok(None),
        Err(NoFrame::Newer(found)) => return Ok(newer(copy, slot, offset, found)),
    };
    let len = HEADER_LEN + header.body_len as usize;
    let mut bytes = vec![0; len];
    if file.read_at(offset, &mut bytes)? < len {
        return Ok(None);
    }
    Ok(header.verify(&bytes, stored).map(|hash| Frame {
        header,
        hash,
        bytes: Bytes::from(bytes),
    }))
}

/// A version field may be damage, too. A newer program says so in the label, which is read before; this is damage.
fn newer(copy: &LogCopy, slot: u32, offset: u64, found: u16) -> Option<Frame> {
    tracing::warn!(
        device = copy.device().name(),
        file = copy.path(slot),
        offset,
        found,
        known = VERSION,
        "log frame names a newer version; taken for damage"
    );
    None
}

fn scan_copy(copy: &LogCopy, slot: u32, from: u64, visit: &mut dyn FnMut(&Header)) {
    const CHUNK: usize = 1 << 20;
    const BLOCK: usize = 4096;
    let Ok(file) = copy.file(slot) else {
        return;
    };
    let mut chunk = vec![0; CHUNK];
    let mut offset = from;
    loop {
        let read = file.read_at(offset, &mut chunk).unwrap_or(0);
        for (index, block) in chunk[..read].chunks(BLOCK).enumerate() {
            let at = offset + index as u64 * ALIGNMENT;
            let plausible =
                Header::parse(block).is_ok_and(|(header, _)| header.position.offset == at);
            if plausible && let Some(frame) = read_frame(copy, slot, at) {
                visit(&frame.header);
            }
        }
        if read < CHUNK {
            return;
        }
        offset += CHUNK as u64;
    }
}

#[cfg(test)]
mod tests;
