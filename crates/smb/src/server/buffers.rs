//! Large buffers between two uses, shared by all connections.
//!
//! A buffer keeps bytes that an answer had before: making room in it costs nothing, while room in a new buffer costs
//! zeroing or the kernel's work for fresh pages. Whoever makes room must fill it or cut it off.

use parking_lot::Mutex;

/// Smaller ones are not worth keeping.
pub(crate) const KEEP_BYTES_MIN: usize = 16 << 10;
/// Bytes kept in all. A connection keeps nothing of its own, so that idle ones cost nothing.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Buffers kept in all; each is looked at when one is wanted.
const KEPT_COUNT_MAX: usize = 64;
/// New buffers come in multiples of this.
const GRAIN: usize = 64 << 10;

#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Their lengths are what of them was ever written.
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Kept {
    /// The buffer that needs the fewest bytes written to have `wanted` of them, and then the shortest one.
    fn take(&mut self, wanted: usize) -> Option<Vec<u8>> {
        let cost = |buffer: &Vec<u8>| (wanted.saturating_sub(buffer.len()), buffer.capacity());
        let fitting = self.buffers.iter().enumerate();
        let fitting = fitting.filter(|(_, buffer)| buffer.capacity() >= wanted);
        let (index, _) = fitting.min_by_key(|(_, buffer)| cost(buffer))?;
        let buffer = self.buffers.swap_remove(index);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }
}

impl Buffers {
    /// Appends `more` bytes of any value, perhaps by moving to another buffer.
    pub(crate) fn lengthen(&self, buffer: &mut Vec<u8>, more: usize) {
        let (len, wanted) = (buffer.len(), buffer.len().saturating_add(more));
        if more < KEEP_BYTES_MIN || len >= KEEP_BYTES_MIN {
            buffer.resize(wanted, 0);
            return;
        }
        let kept = self.kept.lock().take(wanted);
        let mut other = kept.unwrap_or_else(|| vec![0; wanted.next_multiple_of(GRAIN)]);
        other.resize(wanted, 0);
        if let Some(head) = other.get_mut(..len) {
            head.copy_from_slice(buffer);
        }
        *buffer = other;
    }

    /// Takes a buffer back that is not needed any more.
    pub(crate) fn recycle(&self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let mut kept = self.kept.lock();
        let room = kept.bytes + bytes <= KEPT_BYTES_MAX && kept.buffers.len() < KEPT_COUNT_MAX;
        if bytes >= KEEP_BYTES_MIN && room {
            kept.bytes += bytes;
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_in_front() {
        let buffers = Buffers::default();
        let mut buffer = b"head".to_vec();
        buffers.lengthen(&mut buffer, 100 << 10);
        assert!(buffer.starts_with(b"head"));
        assert_eq!(buffer.len(), 4 + (100 << 10));
        buffers.lengthen(&mut buffer, 20 << 10);
        assert!(buffer.starts_with(b"head"));
        assert_eq!(buffer.len(), 4 + (120 << 10));
    }

    #[test]
    fn a_buffer_is_used_again_as_it_is() {
        let buffers = Buffers::default();
        let mut buffer = Vec::new();
        buffers.lengthen(&mut buffer, 64 << 10);
        buffer.fill(7);
        let place = buffer.as_ptr();
        buffers.recycle(buffer);
        let mut again = vec![1, 2];
        buffers.lengthen(&mut again, (64 << 10) - 2);
        assert_eq!((again.as_ptr(), again[1], again[2]), (place, 2, 7));
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let buffers = Buffers::default();
        for _ in 0..100 {
            buffers.recycle(vec![0; 4 << 20]);
            buffers.recycle(vec![0; 100]);
        }
        let kept = buffers.kept.lock();
        assert_eq!((kept.bytes, kept.buffers.len()), (64 << 20, 16));
    }
}
