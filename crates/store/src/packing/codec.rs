//! The two ways to compress, and what they need of memory.

use std::fmt;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use zstd::bulk::{Compressor, Decompressor};

use super::CHUNK;
use crate::Compression;

/// As rows and tags say it; the numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// LZ4 blocks, without a frame.
    Lz4,
    /// One Zstandard frame a chunk (RFC 8878).
    Zstd,
}

/// The fast levels of Zstandard cost half of the default one and save nearly as much in chunks of 64 KiB.
const ZSTD_LEVEL: i32 = 1;

impl Codec {
    pub(crate) fn of(compression: Compression) -> Option<Self> {
        match compression {
            Compression::Off => None,
            Compression::Lz4 => Some(Self::Lz4),
            Compression::Zstd => Some(Self::Zstd),
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Room to compress and unpack in, made when it is first needed: up to 1 MiB.
#[derive(Default)]
pub(super) struct Contexts {
    lz4: Option<CompressTable>,
    zstd: Option<Compressor<'static>>,
    unzstd: Option<Decompressor<'static>>,
    room: Vec<u8>,
}

impl fmt::Debug for Contexts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Contexts").finish_non_exhaustive()
    }
}

impl Contexts {
    /// Whether bytes lose an eighth of their length.
    pub(super) fn shortens(&mut self, codec: Codec, bytes: &[u8]) -> bool {
        let packed = self.compress(codec, bytes);
        packed.is_some_and(|packed| packed.len() <= bytes.len() - bytes.len() / 8)
    }

    /// Appends a chunk compressed, or as it is where that is not longer.
    pub(super) fn pack(&mut self, codec: Codec, chunk: &[u8], out: &mut Vec<u8>) {
        let packed = self.compress(codec, chunk);
        let packed = packed.filter(|packed| packed.len() < chunk.len());
        out.extend_from_slice(packed.unwrap_or(chunk));
    }

    /// None where a codec has an error, as for want of memory: then nothing is compressed.
    fn compress(&mut self, codec: Codec, bytes: &[u8]) -> Option<&[u8]> {
        self.room.resize(get_maximum_output_size(CHUNK), 0);
        let room = &mut self.room[..];
        let len = match codec {
            Codec::Lz4 => {
                let table = self.lz4.get_or_insert_with(CompressTable::large);
                compress_into_with_table(bytes, room, table).ok()?
            }
            Codec::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = Some(Compressor::new(ZSTD_LEVEL).ok()?);
                }
                self.zstd.as_mut()?.compress_to_buffer(bytes, room).ok()?
            }
        };
        self.room.get(..len)
    }

    /// Fills `target`, which has the length of the chunk; None for bytes that do not give exactly that many.
    pub(super) fn unpack(&mut self, codec: Codec, bytes: &[u8], target: &mut [u8]) -> Option<()> {
        if bytes.len() == target.len() {
            target.copy_from_slice(bytes);
            return Some(());
        }
        let len = match codec {
            Codec::Lz4 => decompress_into(bytes, target).ok()?,
            Codec::Zstd => {
                if self.unzstd.is_none() {
                    self.unzstd = Some(Decompressor::new().ok()?);
                }
                let context = self.unzstd.as_mut()?;
                context.decompress_to_buffer(bytes, target).ok()?
            }
        };
        (len == target.len()).then_some(())
    }
}
