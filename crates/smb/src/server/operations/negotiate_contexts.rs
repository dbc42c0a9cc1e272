//! The negotiate contexts of dialect 3.1.1 (MS-SMB2 3.3.5.4, 3.3.4.1.x).

use crate::compress::Form;
use crate::crypto::{CipherAlgorithm, SigningAlgorithm};
use crate::server::negotiated::Negotiated;
use crate::server::status::Failure;
use crate::server::{EncryptionPolicy, ServerConfig};
use crate::wire::NtStatus;
use crate::wire::create_context::context_name;
use crate::wire::negotiate::{Dialect, NegotiateRequest};
use crate::wire::negotiate_context::{
    Cipher, CompressionAlgorithm, HashAlgorithm, NegotiateContext, SigningAlgorithm as WireSigning,
};

/// The fastest first.
const SIGNING: [SigningAlgorithm; 3] = [
    SigningAlgorithm::AesGmac,
    SigningAlgorithm::AesCmac,
    SigningAlgorithm::HmacSha256,
];
/// The fastest first; the client's longer keys are taken when it asks for nothing else.
const CIPHERS: [CipherAlgorithm; 4] = [
    CipherAlgorithm::Aes128Gcm,
    CipherAlgorithm::Aes256Gcm,
    CipherAlgorithm::Aes128Ccm,
    CipherAlgorithm::Aes256Ccm,
];

/// What messages may be compressed with.
const COMPRESSION: [CompressionAlgorithm; 5] = [
    CompressionAlgorithm::Lz77,
    CompressionAlgorithm::PatternV1,
    CompressionAlgorithm::Lz77Huffman,
    CompressionAlgorithm::Lznt1,
    CompressionAlgorithm::Lz4,
];
/// SMB2_COMPRESSION_CAPABILITIES_FLAG_CHAINED.
const CHAINED: u32 = 1;

/// What was chosen of the client's offers.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) signing: Option<SigningAlgorithm>,
    pub(crate) cipher: Option<CipherAlgorithm>,
    pub(crate) compression: Option<Form>,
    /// The POSIX extensions, in the one version that there is.
    pub(crate) posix: bool,
    offered_ciphers: bool,
    offered_compression: bool,
}

pub(crate) fn choose(
    config: &ServerConfig,
    dialect: Dialect,
    wanted: &NegotiateRequest<'_>,
) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::default();
    if dialect != Dialect::Smb311 {
        return Ok(chosen);
    }
    check_once(&wanted.contexts)?;
    let mut preauth = false;
    for context in &wanted.contexts {
        match context {
            NegotiateContext::PreauthIntegrity { algorithms, .. } => {
                preauth = true;
                if !algorithms.contains(&HashAlgorithm::Sha512) {
                    return Err(NtStatus::SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP.into());
                }
            }
            NegotiateContext::Encryption(ciphers) => chosen.choose_cipher(config, ciphers)?,
            NegotiateContext::Signing(algorithms) => chosen.choose_signing(algorithms)?,
            NegotiateContext::Compression { flags, algorithms } => {
                chosen.choose_compression(config, *flags, algorithms)?;
            }
            NegotiateContext::Netname(_)
            | NegotiateContext::Transport(_)
            | NegotiateContext::RdmaTransform(_)
            | NegotiateContext::Unknown { .. } => {}
            // A list of versions, each 16 bytes long.
            NegotiateContext::Posix(versions) => {
                let known = versions
                    .as_chunks::<16>()
                    .0
                    .iter()
                    .any(|version| version == context_name::POSIX);
                chosen.posix = config.posix_extensions && known;
            }
        }
    }
    if preauth {
        Ok(chosen)
    } else {
        Err(NtStatus::INVALID_PARAMETER.into())
    }
}

/// Of each kind that is looked at there may be one only.
fn check_once(contexts: &[NegotiateContext<'_>]) -> Result<(), Failure> {
    let looked_at = |context: &&NegotiateContext<'_>| {
        matches!(
            context,
            NegotiateContext::PreauthIntegrity { .. }
                | NegotiateContext::Encryption(_)
                | NegotiateContext::Compression { .. }
                | NegotiateContext::Signing(_)
                | NegotiateContext::Posix(_)
        )
    };
    let mut kinds: Vec<u16> = contexts
        .iter()
        .filter(looked_at)
        .map(NegotiateContext::kind)
        .collect();
    kinds.sort_unstable();
    let all = kinds.len();
    kinds.dedup();
    if kinds.len() == all {
        Ok(())
    } else {
        Err(NtStatus::INVALID_PARAMETER.into())
    }
}

impl Chosen {
    fn choose_cipher(&mut self, config: &ServerConfig, offered: &[Cipher]) -> Result<(), Failure> {
        if offered.is_empty() {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        self.offered_ciphers = true;
        if config.encryption != EncryptionPolicy::Off {
            let common = |cipher: &CipherAlgorithm| {
                offered.iter().any(|offer| offer.to_wire() == cipher.id())
            };
            self.cipher = CIPHERS.into_iter().find(common);
        }
        Ok(())
    }

    /// All that both know, in the client's order (MS-SMB2 3.3.5.4); a pattern alone compresses nothing by itself.
    fn choose_compression(
        &mut self,
        config: &ServerConfig,
        flags: u32,
        offered: &[CompressionAlgorithm],
    ) -> Result<(), Failure> {
        if offered.is_empty() {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        self.offered_compression = true;
        let chained = flags & CHAINED != 0;
        let known = |offer: &&CompressionAlgorithm| {
            COMPRESSION.contains(offer) && (chained || **offer != CompressionAlgorithm::PatternV1)
        };
        let algorithms: Vec<_> = offered.iter().filter(known).copied().collect();
        if config.compression && !algorithms.is_empty() {
            self.compression = Some(Form {
                chained,
                algorithms,
            });
        }
        Ok(())
    }

    fn choose_signing(&mut self, offered: &[WireSigning]) -> Result<(), Failure> {
        if offered.is_empty() {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        let common =
            |own: &SigningAlgorithm| offered.iter().any(|offer| offer.to_wire() == own.id());
        self.signing = SIGNING.into_iter().find(common);
        Ok(())
    }

    /// The contexts of the response.
    pub(crate) fn contexts<'a>(
        &self,
        negotiated: &Negotiated,
        salt: &'a [u8],
    ) -> Vec<NegotiateContext<'a>> {
        if !negotiated.is_311() {
            return Vec::new();
        }
        let algorithms = vec![HashAlgorithm::Sha512];
        let mut contexts = vec![NegotiateContext::PreauthIntegrity { algorithms, salt }];
        if self.offered_ciphers {
            // Cipher 0 says that there is none in common (MS-SMB2 3.3.5.4).
            let id = self.cipher.map_or(0, CipherAlgorithm::id);
            contexts.push(NegotiateContext::Encryption(vec![Cipher::from_wire(id)]));
        }
        if self.offered_compression {
            contexts.push(self.compression_context());
        }
        if let Some(signing) = self.signing {
            let id = WireSigning::from_wire(signing.id());
            contexts.push(NegotiateContext::Signing(vec![id]));
        }
        if self.posix {
            contexts.push(NegotiateContext::Posix(context_name::POSIX));
        }
        contexts
    }

    /// NONE says that nothing is in common.
    fn compression_context(&self) -> NegotiateContext<'static> {
        match &self.compression {
            Some(form) => NegotiateContext::Compression {
                flags: if form.chained { CHAINED } else { 0 },
                algorithms: form.algorithms.clone(),
            },
            None => NegotiateContext::Compression {
                flags: 0,
                algorithms: vec![CompressionAlgorithm::None],
            },
        }
    }
}
