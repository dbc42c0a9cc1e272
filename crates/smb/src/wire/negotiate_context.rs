//! Negotiate contexts of dialect 3.1.1 (MS-SMB2 2.2.3.1 and 2.2.4.1).

use super::codec::{Codec, Put, Reader, WireError, len16, padding};
use super::utf16::Utf16;

open_enum! {
    /// HashAlgorithms of the preauthentication integrity context.
    pub enum HashAlgorithm: u16 {
        Sha512 = 1,
    }
}

open_enum! {
    /// Ciphers of the encryption context.
    pub enum Cipher: u16 {
        Aes128Ccm = 1,
        Aes128Gcm = 2,
        Aes256Ccm = 3,
        Aes256Gcm = 4,
    }
}

open_enum! {
    /// Algorithms of the compression context.
    pub enum CompressionAlgorithm: u16 {
        None = 0,
        Lznt1 = 1,
        Lz77 = 2,
        Lz77Huffman = 3,
        PatternV1 = 4,
        Lz4 = 5,
    }
}

open_enum! {
    /// Algorithms of the signing context.
    pub enum SigningAlgorithm: u16 {
        HmacSha256 = 0,
        AesCmac = 1,
        AesGmac = 2,
    }
}

/// The context types.
pub mod context_type {
    /// SMB2_PREAUTH_INTEGRITY_CAPABILITIES
    pub const PREAUTH_INTEGRITY: u16 = 1;
    /// SMB2_ENCRYPTION_CAPABILITIES
    pub const ENCRYPTION: u16 = 2;
    /// SMB2_COMPRESSION_CAPABILITIES
    pub const COMPRESSION: u16 = 3;
    /// SMB2_NETNAME_NEGOTIATE_CONTEXT_ID
    pub const NETNAME: u16 = 5;
    /// SMB2_TRANSPORT_CAPABILITIES
    pub const TRANSPORT: u16 = 6;
    /// SMB2_RDMA_TRANSFORM_CAPABILITIES
    pub const RDMA_TRANSFORM: u16 = 7;
    /// SMB2_SIGNING_CAPABILITIES
    pub const SIGNING: u16 = 8;
    /// The POSIX extensions' context, of Samba and the Linux client.
    pub const POSIX: u16 = 0x100;
}

/// One negotiate context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NegotiateContext<'a> {
    /// Hash algorithms, in the client's order, and salt.
    PreauthIntegrity {
        /// Algorithms.
        algorithms: Vec<HashAlgorithm>,
        /// Salt, which only the hash itself consumes.
        salt: &'a [u8],
    },
    /// Ciphers, in the client's order.
    Encryption(Vec<Cipher>),
    /// Compression.
    Compression {
        /// 1: chained compression.
        flags: u32,
        /// In the client's order.
        algorithms: Vec<CompressionAlgorithm>,
    },
    /// The server's name as the client's user typed it; not terminated.
    Netname(Utf16<'a>),
    /// 1: the transport is secure, encryption is not needed.
    Transport(u32),
    /// RDMA transforms.
    RdmaTransform(Vec<u16>),
    /// Signing algorithms, in the client's order.
    Signing(Vec<SigningAlgorithm>),
    /// The POSIX extensions' GUID.
    Posix(&'a [u8]),
    /// Any other; it must be ignored.
    Unknown {
        /// ContextType.
        kind: u16,
        /// Data.
        data: &'a [u8],
    },
}

impl<'a> NegotiateContext<'a> {
    /// ContextType on the wire.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::PreauthIntegrity { .. } => context_type::PREAUTH_INTEGRITY,
            Self::Encryption(_) => context_type::ENCRYPTION,
            Self::Compression { .. } => context_type::COMPRESSION,
            Self::Netname(_) => context_type::NETNAME,
            Self::Transport(_) => context_type::TRANSPORT,
            Self::RdmaTransform(_) => context_type::RDMA_TRANSFORM,
            Self::Signing(_) => context_type::SIGNING,
            Self::Posix(_) => context_type::POSIX,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    fn decode_data(kind: u16, data: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(data);
        Ok(match kind {
            context_type::PREAUTH_INTEGRITY => Self::decode_preauth(r)?,
            context_type::ENCRYPTION => Self::Encryption(counted(&mut r, Cipher::from_wire)?),
            context_type::COMPRESSION => Self::decode_compression(r)?,
            context_type::NETNAME => Self::Netname(Utf16::from_bytes(data)?),
            context_type::TRANSPORT => Self::Transport(r.u32()?),
            context_type::RDMA_TRANSFORM => Self::decode_rdma(r)?,
            context_type::SIGNING => Self::Signing(counted(&mut r, SigningAlgorithm::from_wire)?),
            context_type::POSIX => Self::Posix(data),
            _ => Self::Unknown { kind, data },
        })
    }

    fn decode_preauth(mut r: Reader<'a>) -> Result<Self, WireError> {
        let (count, salt_len) = (usize::from(r.u16()?), usize::from(r.u16()?));
        let algorithms = r
            .u16_list(count)?
            .into_iter()
            .map(HashAlgorithm::from_wire)
            .collect();
        Ok(Self::PreauthIntegrity {
            algorithms,
            salt: r.take(salt_len)?,
        })
    }

    fn decode_compression(mut r: Reader<'a>) -> Result<Self, WireError> {
        let count = usize::from(r.u16()?);
        r.skip(2)?;
        let flags = r.u32()?;
        let algorithms = r.u16_list(count)?;
        let algorithms = algorithms
            .into_iter()
            .map(CompressionAlgorithm::from_wire)
            .collect();
        Ok(Self::Compression { flags, algorithms })
    }

    fn decode_rdma(mut r: Reader<'a>) -> Result<Self, WireError> {
        let count = usize::from(r.u16()?);
        r.skip(6)?;
        r.u16_list(count).map(Self::RdmaTransform)
    }

    fn encode_data(&self, out: &mut Vec<u8>) {
        match self {
            Self::PreauthIntegrity { algorithms, salt } => {
                out.put_u16(len16(algorithms.len()));
                out.put_u16(len16(salt.len()));
                put_list(algorithms.iter().map(|a| a.to_wire()), out);
                out.put(salt);
            }
            Self::Encryption(ciphers) => {
                out.put_u16(len16(ciphers.len()));
                put_list(ciphers.iter().map(|c| c.to_wire()), out);
            }
            Self::Compression { flags, algorithms } => {
                out.put_u16(len16(algorithms.len()));
                out.put_u16(0);
                out.put_u32(*flags);
                put_list(algorithms.iter().map(|a| a.to_wire()), out);
            }
            Self::Netname(name) => out.put(name.as_bytes()),
            Self::Transport(flags) => out.put_u32(*flags),
            Self::RdmaTransform(ids) => {
                out.put_u16(len16(ids.len()));
                out.put_zeros(6);
                put_list(ids.iter().copied(), out);
            }
            Self::Signing(algorithms) => {
                out.put_u16(len16(algorithms.len()));
                put_list(algorithms.iter().map(|a| a.to_wire()), out);
            }
            Self::Posix(data) | Self::Unknown { data, .. } => out.put(data),
        }
    }
}

impl<'a> Codec<'a> for NegotiateContext<'a> {
    /// Reads one context with its header; padding after it is not looked at.
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        decode_one(&mut Reader::new(bytes))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut data = Vec::new();
        self.encode_data(&mut data);
        out.put_u16(self.kind());
        out.put_u16(len16(data.len()));
        out.put_u32(0);
        out.put(&data);
    }
}

fn decode_one<'a>(r: &mut Reader<'a>) -> Result<NegotiateContext<'a>, WireError> {
    let (kind, len) = (r.u16()?, r.u16()?);
    r.skip(4)?;
    NegotiateContext::decode_data(kind, r.take(usize::from(len))?)
}

/// Reads `count` contexts, each beginning at a multiple of 8.
///
/// # Errors
/// A context that is cut short or malformed.
pub fn decode_contexts(bytes: &[u8], count: u16) -> Result<Vec<NegotiateContext<'_>>, WireError> {
    let mut r = Reader::new(bytes);
    let mut contexts = Vec::new();
    for _ in 0..count {
        let used = bytes.len().saturating_sub(r.left());
        r.skip(padding(used, 8))?;
        contexts.push(decode_one(&mut r)?);
    }
    Ok(contexts)
}

/// Appends contexts, each padded to begin at a multiple of 8.
pub fn encode_contexts(contexts: &[NegotiateContext<'_>], out: &mut Vec<u8>) {
    let start = out.len();
    for context in contexts {
        out.pad_to(start, 8);
        context.encode(out);
    }
}

fn counted<T>(r: &mut Reader<'_>, from_wire: fn(u16) -> T) -> Result<Vec<T>, WireError> {
    let count = usize::from(r.u16()?);
    Ok(r.u16_list(count)?.into_iter().map(from_wire).collect())
}

fn put_list(values: impl Iterator<Item = u16>, out: &mut Vec<u8>) {
    values.for_each(|value| out.put_u16(value));
}
