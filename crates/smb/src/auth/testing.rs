//! The client's side of a bare NTLMv2 logon (MS-NLMP 3.1.5.1), for conversations in tests.

use strongroom_identity::NtHash;

use super::ntlm::flags;
use super::ntlm::hash::{hmac_md5, nt_proof, ntowf_v2};
use super::ntlm::messages;
use super::ntlm::rc4::Rc4;

const FLAGS: u32 = flags::UNICODE
    | flags::REQUEST_TARGET
    | flags::SIGN
    | flags::NTLM
    | flags::ALWAYS_SIGN
    | flags::EXTENDED_SESSIONSECURITY
    | flags::KEY_128
    | flags::KEY_EXCH;
/// Where a CHALLENGE_MESSAGE has its challenge (MS-NLMP 2.2.1.2).
const CHALLENGE: std::ops::Range<usize> = 24..32;
/// The session key that this client always chooses.
pub(crate) const SESSION_KEY: [u8; 16] = [0x5A; 16];

/// NEGOTIATE_MESSAGE.
pub(crate) fn negotiate() -> Vec<u8> {
    let mut message = [
        messages::SIGNATURE,
        &1_u32.to_le_bytes(),
        &FLAGS.to_le_bytes(),
    ]
    .concat();
    message.extend([0; 16]);
    message
}

/// AUTHENTICATE_MESSAGE that answers the server's challenge.
pub(crate) fn authenticate(user: &str, password: &str, challenge: &[u8]) -> Vec<u8> {
    let units: Vec<u16> = user.encode_utf16().collect();
    let key = ntowf_v2(&NtHash::of_password(password), &units, &[]);
    let mut temp = vec![1, 1, 0, 0, 0, 0, 0, 0];
    temp.extend([0xAA; 16]);
    temp.extend([0; 4]);
    temp.extend([6, 0, 4, 0, 2, 0, 0, 0]);
    temp.extend([0; 8]);
    let nonce = challenge[CHALLENGE].try_into().unwrap();
    let proof = nt_proof(&key, &nonce, &temp);
    let base = hmac_md5(&*key, &[&proof]);
    let mut encrypted = SESSION_KEY;
    Rc4::new(&*base).apply(&mut encrypted);
    let response = [proof.as_slice(), &temp].concat();
    let user: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let mut message = message_of(&[&[0; 24], &response, &[], &user, &[], &encrypted]);
    let mic = hmac_md5(&SESSION_KEY, &[&negotiate(), challenge, &message]);
    message[messages::MIC].copy_from_slice(&*mic);
    message
}

/// LM response, NT response, domain, user, workstation, session key; the MIC is zero.
fn message_of(fields: &[&[u8]; 6]) -> Vec<u8> {
    let mut message = [messages::SIGNATURE, &3_u32.to_le_bytes()].concat();
    let mut payload = Vec::new();
    for field in fields {
        let len = u16::try_from(field.len()).unwrap().to_le_bytes();
        let offset = u32::try_from(messages::MIC.end + payload.len()).unwrap();
        message.extend([len, len].concat());
        message.extend(offset.to_le_bytes());
        payload.extend(*field);
    }
    message.extend(FLAGS.to_le_bytes());
    message.extend([0; 24]);
    [message, payload].concat()
}

/// AUTHENTICATE_MESSAGE of a client that names nobody (MS-NLMP 3.2.5.1.2).
pub(crate) fn anonymous() -> Vec<u8> {
    message_of(&[&[0], &[], &[], &[], &[], &SESSION_KEY])
}
