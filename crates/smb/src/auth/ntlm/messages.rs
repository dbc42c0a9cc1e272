//! The three messages (MS-NLMP 2.2.1), read with bounds and written.

use strongroom_device::Timestamp;

use super::flags;

pub(crate) const SIGNATURE: &[u8] = b"NTLMSSP\0";
const CHALLENGE_PAYLOAD: usize = 56;
/// The MIC's place in an AUTHENTICATE_MESSAGE that has one.
pub(crate) const MIC: std::ops::Range<usize> = 72..88;
/// Windows 10's level of the protocol: 10.0, NTLMSSP_REVISION_W2K3.
const VERSION: [u8; 8] = [10, 0, 0, 0, 0, 0, 0, 15];
/// Bytes of an NTLMv2_CLIENT_CHALLENGE before its AV pairs, and of the proof before it.
const CLIENT_CHALLENGE_FIXED: usize = 28;
const PROOF_LEN: usize = 16;
/// Response of NTLMv1.
const NTLM_V1_LEN: usize = 24;
const AV_FLAG_MIC: u32 = 2;
/// FILETIME of 1970-01-01, in units of 100 ns since 1601-01-01.
const EPOCH: u64 = 116_444_736_000_000_000;

/// AV_PAIR ids (MS-NLMP 2.2.2.1).
mod av {
    pub(super) const EOL: u16 = 0;
    pub(super) const NB_COMPUTER_NAME: u16 = 1;
    pub(super) const NB_DOMAIN_NAME: u16 = 2;
    pub(super) const DNS_COMPUTER_NAME: u16 = 3;
    pub(super) const DNS_DOMAIN_NAME: u16 = 4;
    pub(super) const FLAGS: u16 = 6;
    pub(super) const TIMESTAMP: u16 = 7;
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadMessage {
    Malformed(&'static str),
    Unsupported(&'static str),
}

use BadMessage::{Malformed, Unsupported};

/// The flags of a NEGOTIATE_MESSAGE; its names mean nothing.
pub(crate) fn parse_negotiate(message: &[u8]) -> Result<u32, BadMessage> {
    check_header(message, 1)?;
    let flags = u32_at(message, 12)?;
    if flags & flags::UNICODE == 0 {
        return Err(Unsupported("the client knows no Unicode"));
    }
    if flags & flags::EXTENDED_SESSIONSECURITY == 0 {
        return Err(Unsupported("the client knows no extended session security"));
    }
    Ok(flags)
}

/// What a CHALLENGE_MESSAGE tells of the server.
#[derive(Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) client_flags: u32,
    pub(crate) challenge: &'a [u8; 8],
    pub(crate) netbios_name: &'a str,
    pub(crate) netbios_domain: &'a str,
    pub(crate) dns_name: &'a str,
    pub(crate) dns_domain: &'a str,
    pub(crate) now: Timestamp,
}

impl Challenge<'_> {
    /// What the client asked for and this server takes, with what this server insists on.
    fn flags(&self) -> u32 {
        let taken = flags::REQUEST_TARGET
            | flags::SIGN
            | flags::SEAL
            | flags::ALWAYS_SIGN
            | flags::KEY_128
            | flags::KEY_56
            | flags::KEY_EXCH;
        let always = flags::UNICODE
            | flags::NTLM
            | flags::EXTENDED_SESSIONSECURITY
            | flags::TARGET_INFO
            | flags::TARGET_TYPE_SERVER
            | flags::VERSION;
        (self.client_flags & taken) | always
    }

    /// The message's bytes, and the flags in it.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let flags = self.flags();
        let target = utf16(self.netbios_name);
        let info = self.target_info();
        let mut out = Vec::with_capacity(CHALLENGE_PAYLOAD + target.len() + info.len());
        out.extend(SIGNATURE);
        out.extend(2_u32.to_le_bytes());
        out.extend(field(target.len(), CHALLENGE_PAYLOAD));
        out.extend(flags.to_le_bytes());
        out.extend(self.challenge);
        out.extend([0; 8]);
        out.extend(field(info.len(), CHALLENGE_PAYLOAD + target.len()));
        out.extend(VERSION);
        out.extend(target);
        out.extend(info);
        (out, flags)
    }

    /// The timestamp makes clients send a MIC (MS-NLMP 3.1.5.1.2).
    fn target_info(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let names = [
            (av::NB_DOMAIN_NAME, self.netbios_domain),
            (av::NB_COMPUTER_NAME, self.netbios_name),
            (av::DNS_DOMAIN_NAME, self.dns_domain),
            (av::DNS_COMPUTER_NAME, self.dns_name),
        ];
        for (id, name) in names {
            put_pair(&mut out, id, &utf16(name));
        }
        put_pair(
            &mut out,
            av::TIMESTAMP,
            &(self.now.0 / 100 + EPOCH).to_le_bytes(),
        );
        put_pair(&mut out, av::EOL, &[]);
        out
    }
}

fn put_pair(out: &mut Vec<u8>, id: u16, value: &[u8]) {
    out.extend(id.to_le_bytes());
    out.extend(
        u16::try_from(value.len())
            .expect("names are short")
            .to_le_bytes(),
    );
    out.extend(value);
}

/// A field's length, its maximal length (the same) and its offset.
fn field(len: usize, offset: usize) -> [u8; 8] {
    let len = u16::try_from(len).expect("names are short").to_le_bytes();
    let offset = u32::try_from(offset)
        .expect("messages are short")
        .to_le_bytes();
    [
        len[0], len[1], len[0], len[1], offset[0], offset[1], offset[2], offset[3],
    ]
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// An AUTHENTICATE_MESSAGE.
#[derive(Debug)]
pub(crate) struct Authenticate<'a> {
    pub(crate) flags: u32,
    pub(crate) user: Vec<u16>,
    pub(crate) domain: Vec<u16>,
    pub(crate) workstation: String,
    pub(crate) encrypted_key: &'a [u8],
    /// None for an anonymous client.
    pub(crate) response: Option<Response<'a>>,
}

/// An NTLMv2_RESPONSE.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    pub(crate) proof: &'a [u8; PROOF_LEN],
    /// All behind the proof; what it proves.
    pub(crate) temp: &'a [u8],
    pub(crate) has_mic: bool,
}

impl<'a> Authenticate<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, BadMessage> {
        check_header(message, 3)?;
        let flags = u32_at(message, 60)?;
        if flags & flags::UNICODE == 0 {
            return Err(Unsupported("the client answered without Unicode"));
        }
        let user = units(payload(message, 36)?)?;
        let workstation = String::from_utf16_lossy(&units(payload(message, 44)?)?);
        let response = Response::parse(payload(message, 20)?, user.is_empty())?;
        // Who names nobody has no secret for it to protect.
        if flags & flags::EXTENDED_SESSIONSECURITY == 0 && response.is_some() {
            return Err(Unsupported(
                "the client answered without extended session security",
            ));
        }
        if response.as_ref().is_some_and(|response| response.has_mic) && message.len() < MIC.end {
            return Err(Malformed(
                "an AUTHENTICATE_MESSAGE without room for its MIC",
            ));
        }
        Ok(Self {
            flags,
            user,
            domain: units(payload(message, 28)?)?,
            workstation,
            encrypted_key: payload(message, 52)?,
            response,
        })
    }
}

impl<'a> Response<'a> {
    fn parse(bytes: &'a [u8], nobody: bool) -> Result<Option<Self>, BadMessage> {
        match bytes.len() {
            0 if nobody => return Ok(None),
            0 => return Err(Unsupported("the client sent an LM response only")),
            NTLM_V1_LEN => return Err(Unsupported("the client sent an NTLMv1 response")),
            _ => {}
        }
        let (proof, temp) = bytes
            .split_first_chunk()
            .ok_or(Malformed("an NTLMv2 response is too short"))?;
        if !temp.starts_with(&[1, 1]) {
            return Err(Unsupported("the client sent a response of unknown version"));
        }
        let pairs = temp.get(CLIENT_CHALLENGE_FIXED..);
        let pairs = pairs.ok_or(Malformed("an NTLMv2 response is too short"))?;
        let has_mic = av_flags(pairs)? & AV_FLAG_MIC != 0;
        Ok(Some(Self {
            proof,
            temp,
            has_mic,
        }))
    }
}

/// MsvAvFlags; zero if absent. Checks that the pairs end in MsvAvEOL. Others (channel bindings, target name) are let be.
fn av_flags(mut pairs: &[u8]) -> Result<u32, BadMessage> {
    let cut = Malformed("the AV pairs are cut off");
    let mut flags = 0;
    loop {
        let (&[id0, id1, len0, len1], rest) = pairs.split_first_chunk::<4>().ok_or(cut)?;
        let len = usize::from(u16::from_le_bytes([len0, len1]));
        let (value, rest) = rest.split_at_checked(len).ok_or(cut)?;
        pairs = rest;
        match u16::from_le_bytes([id0, id1]) {
            av::EOL => return Ok(flags),
            av::FLAGS => {
                let value = value
                    .try_into()
                    .map_err(|_| Malformed("MsvAvFlags of wrong size"))?;
                flags = u32::from_le_bytes(value);
            }
            _ => {}
        }
    }
}

fn check_header(message: &[u8], kind: u32) -> Result<(), BadMessage> {
    if !message.starts_with(SIGNATURE) || u32_at(message, 8)? != kind {
        return Err(Malformed("not the NTLM message expected"));
    }
    Ok(())
}

fn u32_at(message: &[u8], at: usize) -> Result<u32, BadMessage> {
    let bytes = message.get(at..).and_then(|rest| rest.first_chunk::<4>());
    bytes
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(Malformed("an NTLM message is cut off"))
}

/// The payload that the field at `at` points to. An empty one points anywhere.
fn payload(message: &[u8], at: usize) -> Result<&[u8], BadMessage> {
    let len = (u32_at(message, at)? & 0xFFFF) as usize;
    if len == 0 {
        return Ok(&[]);
    }
    let offset = usize::try_from(u32_at(message, at + 4)?).unwrap_or(usize::MAX);
    let bytes = message.get(offset..).and_then(|rest| rest.get(..len));
    bytes.ok_or(Malformed("an NTLM field lies outside its message"))
}

fn units(bytes: &[u8]) -> Result<Vec<u16>, BadMessage> {
    match bytes.as_chunks::<2>() {
        (units, []) => Ok(units.iter().map(|unit| u16::from_le_bytes(*unit)).collect()),
        _ => Err(Malformed("a name of half a character")),
    }
}
