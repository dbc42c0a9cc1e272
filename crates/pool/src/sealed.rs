//! Stripes of an encrypted pool. The payload is encrypted in chunks of 16 KiB before parity and checksums are made, so
//! that whatever repairs, moves or checks shards needs no key. The chunks' tags stand in every shard's header, and a tag
//! of the header's own binds them to the stripe's extents.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::crypt::{Cipher, ObjectKey, ObjectNonce, Purpose, Tag};
use crate::epoch::halves;
use crate::fragment::Header;
use crate::pool::Pool;
use crate::read::BadShards;
use crate::segment::Segment;
use crate::{PoolError, Result, SegmentId};

/// Bytes that are encrypted together: those under one checksum.
pub(crate) const CHUNK: usize = 16 * 1024;
/// The number of the header's own tag among the parts of a stripe.
const HEADER_PART: u64 = u64::MAX;
/// Stripes whose keys are kept.
const OPENERS_MAX: usize = 1024;

/// What the headers of an encrypted stripe say of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) nonce: ObjectNonce,
    /// Of the header.
    pub(crate) tag: Tag,
    pub(crate) chunks: Vec<Tag>,
}

/// Chunks of a payload.
pub(crate) fn chunks_of(payload: usize) -> usize {
    payload.div_ceil(CHUNK)
}

/// What decrypts a stripe.
#[derive(Debug)]
pub(crate) struct Opener {
    key: ObjectKey,
    payload_len: usize,
    seal: Arc<Seal>,
}

type StripeKey = (SegmentId, u32);

#[derive(Debug, Default)]
struct Known {
    openers: HashMap<StripeKey, Arc<Opener>>,
    queue: VecDeque<StripeKey>,
}

/// The stripes read of late; the oldest goes first.
#[derive(Debug, Default)]
pub(crate) struct Openers(Mutex<Known>);

impl Openers {
    fn get(&self, key: StripeKey) -> Option<Arc<Opener>> {
        self.0.lock().openers.get(&key).cloned()
    }

    fn insert(&self, key: StripeKey, opener: Arc<Opener>) {
        let Known { openers, queue } = &mut *self.0.lock();
        if openers.insert(key, opener).is_none() {
            queue.push_back(key);
        }
        if queue.len() > OPENERS_MAX
            && let Some(oldest) = queue.pop_front()
        {
            openers.remove(&oldest);
        }
    }

    fn remove(&self, key: StripeKey) {
        let Known { openers, queue } = &mut *self.0.lock();
        if openers.remove(&key).is_some() {
            queue.retain(|known| *known != key);
        }
    }
}

/// The key of one stripe. A stripe that is begun again in the same place has another nonce.
fn key_of(cipher: &Cipher, (segment, stripe): StripeKey, nonce: &ObjectNonce) -> ObjectKey {
    cipher.object(Purpose::Stripe, nonce, &[segment.0, u64::from(stripe)])
}

/// All that a header says of its stripe and not of its shard.
fn context(header: &Header, chunks: &[Tag]) -> Vec<u8> {
    let (low, high) = halves(header.epoch.0);
    let mut words = vec![
        low,
        high,
        header.txg.0,
        header.attempt,
        u64::from(header.payload_len),
        u64::from(header.layout.data),
        u64::from(header.layout.parity),
    ];
    for (tag, offset) in &header.extents {
        words.extend([tag.inode, tag.offset, tag.txg.0]);
        words.extend([tag.stream, tag.len, *offset, tag.packing].map(u64::from));
    }
    let mut context: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    context.extend(chunks.iter().flatten());
    context
}

/// Encrypts a payload in place; the header tells what it needs to be opened.
pub(crate) fn seal(cipher: &Cipher, place: StripeKey, header: &mut Header, payload: &mut [u8]) {
    let nonce = cipher.nonce();
    let key = key_of(cipher, place, &nonce);
    let parts = payload.chunks_mut(CHUNK).zip(0..);
    let chunks: Vec<Tag> = parts
        .map(|(chunk, part)| key.seal(part, &[], chunk))
        .collect();
    let tag = key.seal(HEADER_PART, &context(header, &chunks), &mut []);
    header.seal = Some(Arc::new(Seal { nonce, tag, chunks }));
}

impl Opener {
    /// None if the header was changed, or is not of this place.
    fn new(cipher: &Cipher, place: StripeKey, header: &Header) -> Option<Self> {
        let seal = Arc::clone(header.seal.as_ref()?);
        let key = key_of(cipher, place, &seal.nonce);
        let bound = context(header, &seal.chunks);
        key.open(HEADER_PART, &bound, &seal.tag, &mut []).ok()?;
        let payload_len = header.payload_len as usize;
        Some(Self {
            key,
            payload_len,
            seal,
        })
    }

    /// The whole chunks around a range of the payload.
    fn around(&self, from: usize, len: usize) -> Option<std::ops::Range<usize>> {
        let end = from
            .checked_add(len)
            .filter(|end| *end <= self.payload_len)?;
        Some(from / CHUNK * CHUNK..end.next_multiple_of(CHUNK).min(self.payload_len))
    }

    /// Decrypts whole chunks, the first of which begins at `from`.
    fn open(&self, from: usize, bytes: &mut [u8]) -> Option<()> {
        for (chunk, number) in bytes.chunks_mut(CHUNK).zip(from / CHUNK..) {
            let tag = self.seal.chunks.get(number)?;
            self.key.open(number as u64, &[], tag, chunk).ok()?;
        }
        Some(())
    }
}

impl Pool {
    /// Reads from the payload of an encrypted stripe. `raw` reads what is stored.
    pub(crate) fn read_sealed(
        &self,
        cipher: &Cipher,
        segment: &Arc<Segment>,
        stripe: u32,
        from: u64,
        buffer: &mut [u8],
        raw: &dyn Fn(u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let place = (segment.id, stripe);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if let Some(opener) = self.openers.get(place)
            && read_through(&opener, from, buffer, raw)?.is_some()
        {
            return Ok(());
        }
        self.openers.remove(place);
        // One header that is good tells; where it is of an append that failed, most of them do.
        for wanted in [1, usize::MAX] {
            let opener = self.opener(cipher, segment, stripe, wanted);
            let opener = match opener {
                Ok(Some(opener)) => Arc::new(opener),
                Ok(None) => continue,
                Err(error) => return Err(error),
            };
            if read_through(&opener, from, buffer, raw)?.is_some() {
                self.openers.insert(place, opener);
                return Ok(());
            }
        }
        Err(PoolError::Corrupt {
            segment: segment.id,
            stripe,
            detail: "it cannot be decrypted: it was changed, or belongs elsewhere".into(),
        })
    }

    /// What the headers of at most so many shards tell; None if they cannot be believed.
    fn opener(
        &self,
        cipher: &Cipher,
        segment: &Arc<Segment>,
        stripe: u32,
        wanted: usize,
    ) -> Result<Option<Opener>> {
        let place = (segment.id, stripe);
        let header = if wanted == 1 {
            let shards = segment.live_shards();
            let mut found = shards
                .iter()
                .filter_map(|shard| self.header_of(segment, shard, stripe).ok());
            found.next().map(|(header, _)| header)
        } else {
            let found = self.header_of_others(segment, stripe, None, &mut BadShards::new());
            found.ok()
        };
        Ok(header.and_then(|header| Opener::new(cipher, place, &header)))
    }
}

/// None if what was read does not decrypt.
fn read_through(
    opener: &Opener,
    from: usize,
    buffer: &mut [u8],
    raw: &dyn Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<Option<()>> {
    let Some(around) = opener.around(from, buffer.len()) else {
        return Ok(None);
    };
    if around == (from..from + buffer.len()) {
        raw(around.start as u64, buffer)?;
        return Ok(opener.open(around.start, buffer));
    }
    let mut bytes = vec![0; around.len()];
    raw(around.start as u64, &mut bytes)?;
    let opened = opener.open(around.start, &mut bytes);
    let skip = from - around.start;
    buffer.copy_from_slice(&bytes[skip..skip + buffer.len()]);
    Ok(opened)
}
