//! The examples of MS-NLMP 4.2 that concern what is here: no NTLMv1 and no LM responses.

use strongroom_identity::NtHash;

use super::flags;
use super::hash::{hmac_md5, nt_proof, ntowf_v2};
use super::messages::Authenticate;
use super::rc4::Rc4;
use super::signing::{Direction, Signer};

pub(crate) const SERVER_CHALLENGE: [u8; 8] = 0x0123_4567_89ab_cdef_u64.to_be_bytes();

/// 4.2.4.1.3: the client's challenge, time zero, domain and server names.
const TEMP: &str = "\
    01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c00\
    44006f006d00610069006e0001000c005300650072007600650072000000000000000000";
/// 4.2.4.3: the whole AUTHENTICATE_MESSAGE.
pub(crate) const AUTHENTICATE: &str = "\
    4e544c4d53535000030000001800180 06c000000 5400540084000000 0c000c0048000000 0800080054000000\
    100010005c000000 10001000d8000000 358288e2 0501280a0000000f 44006f006d00610069006e00\
    5500730065007200 43004f004d0050005500540045005200\
    86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa 68cd0ab851e51c96aabc927bebef6a1c\
    01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c00\
    44006f006d00610069006e0001000c005300650072007600650072000000000000000000\
    c5dad2544fc9799094ce1ce90bc9d03e";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let pairs = digits.as_chunks::<2>().0.iter();
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn response_key() -> [u8; 16] {
    *ntowf_v2(
        &NtHash::of_password("Password"),
        &units("User"),
        &units("Domain"),
    )
}

/// 4.2.4.1.1.
#[test]
fn ntowf_v2_is_the_published_one() {
    assert_eq!(
        response_key().as_slice(),
        hex("0c868a403bfd7a93a3001ef22ef02e3f")
    );
}

/// 4.2.4.1.2, 4.2.4.2.2 and 4.2.4.2.3.
#[test]
fn proof_and_session_keys_are_the_published_ones() {
    let key = response_key();
    let proof = nt_proof(&key, &SERVER_CHALLENGE, &hex(TEMP));
    assert_eq!(proof.as_slice(), hex("68cd0ab851e51c96aabc927bebef6a1c"));
    let base = hmac_md5(&key, &[&proof]);
    assert_eq!(base.as_slice(), hex("8de40ccadbc14a82f15cb0ad0de95ca3"));
    let mut random = [0x55; 16];
    Rc4::new(&*base).apply(&mut random);
    assert_eq!(random.as_slice(), hex("c5dad2544fc9799094ce1ce90bc9d03e"));
}

/// 4.2.4.3.
#[test]
fn authenticate_message_is_read_as_it_was_written() {
    let bytes = hex(AUTHENTICATE);
    let message = Authenticate::parse(&bytes).unwrap();
    assert_eq!(
        (message.user, message.domain),
        (units("User"), units("Domain"))
    );
    assert_eq!(message.workstation, "COMPUTER");
    assert_eq!(
        message.encrypted_key,
        hex("c5dad2544fc9799094ce1ce90bc9d03e")
    );
    let response = message.response.unwrap();
    assert_eq!(
        response.proof.as_slice(),
        hex("68cd0ab851e51c96aabc927bebef6a1c")
    );
    assert_eq!(response.temp, hex(TEMP));
    assert!(!response.has_mic);
}

/// 4.2.4.4: SignKey, SealKey, and the signature of "Plaintext" behind its own encryption.
#[test]
fn signature_with_key_exchange_is_the_published_one() {
    let message = hex("50006c00610069006e007400650078007400");
    let negotiated = flags::KEY_EXCH | flags::KEY_128;
    let mut signer = Signer::new(&[0x55; 16], negotiated, Direction::ClientToServer);
    // The example seals first, which moves the stream on by the message's length.
    let sealed = signer.seal_for_test(&message);
    assert_eq!(sealed, hex("54e50165bf1936dc996020c1811b0f06fb5f"));
    assert_eq!(
        signer.sign(&message).as_slice(),
        hex("010000007fb38ec5c55d497600000000")
    );
}

/// 4.2.3.4: without key exchange the checksum goes out as it is.
#[test]
fn signature_without_key_exchange_is_the_published_one() {
    let message = hex("50006c00610069006e007400650078007400");
    let key = hex("eb93429a8bd952f8b89c55b87f475edc").try_into().unwrap();
    let mut signer = Signer::new(&key, flags::KEY_56, Direction::ClientToServer);
    assert_eq!(
        signer.sign(&message).as_slice(),
        hex("01000000ff2aeb52f681793a00000000")
    );
}

/// Windows's own logon in Microsoft's blog "SMB 2 and SMB 3 security in Windows 10: the anatomy of signing and
/// cryptographic keys": both mechListMICs over its list of mechanisms, which names NTLMSSP only.
#[test]
fn mech_list_mics_are_those_of_windows() {
    let key = hex("270E1BA896585EEB7AF3472D3B4C75A7").try_into().unwrap();
    let list = hex("300C060A2B06010401823702020A");
    let mic = |direction| Signer::new(&key, 0xE288_8215, direction).sign(&list);
    let client = mic(Direction::ClientToServer);
    assert_eq!(client.as_slice(), hex("0100000063775A9A5FD97F0600000000"));
    let server = mic(Direction::ServerToClient);
    assert_eq!(server.as_slice(), hex("010000003B453CDC3524164200000000"));
}
