//! Whatever bytes a client sends before it has proved anything: no panic, no hang, no large answer, and no logon.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::sync::Arc;

use strongroom_device::Timestamp;
use strongroom_identity::{NtHash, Sid};
use strongroom_smb::auth::{
    AcceptState, AcceptorConfig, Account, AccountName, Accounts, AuthError, Step, initial_token,
};
use strongroom_smb::crypto::{
    Cipher, CipherAlgorithm, Sender, Side, SigningAlgorithm, SigningKey, TRANSFORM_HEADER_LEN,
    TransformHeader,
};

/// Answers are a challenge or less.
const ANSWER_LEN_MAX: usize = 1024;
/// Mutations of each token tried in each run.
const MUTATIONS: u64 = 20_000;
const SERVER_CHALLENGE: [u8; 8] = 0x0123_4567_89ab_cdef_u64.to_be_bytes();

/// NEGOTIATE_MESSAGE of Windows 10, and the AUTHENTICATE_MESSAGE of MS-NLMP 4.2.4.3.
const NEGOTIATE: &str =
    "4e544c4d5353500001000000978208e200000000000000000000000000000000060380250000000f";
const AUTHENTICATE: &str = "\
    4e544c4d5353500003000000180018006c0000005400540084000000 0c000c004800000008000800540000001000\
    10005c00000010001000d8000000358288e20501280a0000000f44006f006d00610069006e005500730065007200\
    43004f004d005000550054004500520086c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa68cd0ab851e5\
    1c96aabc927bebef6a1c01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c0044006f00\
    6d00610069006e0001000c005300650072007600650072000000000000000000c5dad2544fc9799094ce1ce90bc9\
    d03e";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let pairs = digits.as_chunks::<2>().0.iter();
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// One to four changes: a byte set, a bit flipped, a piece cut, doubled or made extreme.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(8)).min(bytes.len());
            match self.below(5) {
                _ if bytes.is_empty() => bytes.push(self.byte()),
                0 => bytes[at] = self.byte(),
                1 => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes[at..end].fill(if self.below(2) == 0 { 0 } else { 0xFF }),
            }
        }
    }
}

struct OneUser;

impl Accounts for OneUser {
    fn begin(&self, name: &AccountName) -> Account {
        if name.user.eq_ignore_ascii_case("user") {
            Account::Known(NtHash::of_password("Password"))
        } else {
            Account::Unknown
        }
    }

    fn succeeded(&self, name: &AccountName) {
        assert!(name.user.eq_ignore_ascii_case("user"));
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], len.as_slice(), content].concat()
}

/// NegTokenInit with NTLMSSP only.
fn init(token: &[u8]) -> Vec<u8> {
    let oids = hex("a00e300c060a2b06010401823702020a");
    let fields = [oids, element(0xA2, &element(4, token))].concat();
    let init = element(0xA0, &element(0x30, &fields));
    element(0x60, &[hex("06062b0601050502"), init].concat())
}

fn response(token: &[u8]) -> Vec<u8> {
    element(0xA1, &element(0x30, &element(0xA2, &element(4, token))))
}

fn begin() -> AcceptState {
    AcceptState::new(Arc::new(AcceptorConfig::standalone("strongroom")))
}

fn step(state: &mut AcceptState, token: &[u8]) -> Result<Step, AuthError> {
    let mut entropy = |buffer: &mut [u8]| buffer.copy_from_slice(&SERVER_CHALLENGE);
    state.step(token, Timestamp(0), &mut entropy, &OneUser)
}

/// The two tokens of a logon that succeeds, bare and in SPNEGO.
fn logons() -> [[Vec<u8>; 2]; 2] {
    let (negotiate, authenticate) = (hex(NEGOTIATE), hex(AUTHENTICATE));
    let wrapped = [init(&negotiate), response(&authenticate)];
    [[negotiate, authenticate], wrapped]
}

/// Runs a logon whose tokens may be spoilt. True if it succeeded.
fn log_on(tokens: &[Vec<u8>; 2]) -> bool {
    let mut state = begin();
    match step(&mut state, &tokens[0]) {
        Ok(Step::Continue(answer)) => assert!(answer.len() <= ANSWER_LEN_MAX),
        Ok(Step::Done(_)) => unreachable!("nobody has proved anything yet"),
        Err(_) => return false,
    }
    match step(&mut state, &tokens[1]) {
        Ok(Step::Continue(answer)) => {
            assert!(answer.len() <= ANSWER_LEN_MAX);
            false
        }
        Ok(Step::Done(accepted)) => accepted.account.is_some(),
        Err(_) => false,
    }
}

#[test]
fn whole_logons_succeed() {
    assert!(logons().iter().all(log_on));
}

#[test]
fn tokens_cut_at_any_byte_are_refused() {
    for tokens in logons() {
        for which in 0..2 {
            for len in 0..tokens[which].len() {
                let mut cut = tokens.clone();
                cut[which].truncate(len);
                // A NEGOTIATE_MESSAGE may end after its flags, as old clients' do.
                let whole_enough = which == 0 && tokens[0].starts_with(b"NTLM") && len >= 16;
                assert_eq!(log_on(&cut), whole_enough, "token {which} cut to {len}");
            }
        }
    }
}

/// Bytes of the published message that its proof covers: the names, the proof and what it is over.
#[test]
fn no_changed_proof_or_name_logs_on() {
    let [tokens, _] = logons();
    let covered = (72..84).chain(84..92).chain(132..216);
    for at in covered {
        for bit in 0..8 {
            let mut changed = tokens.clone();
            changed[1][at] ^= 1 << bit;
            // The user's name is taken in any case; a letter's case is this bit.
            let case = bit == 5 && (84..92).contains(&at) && at % 2 == 0;
            assert_eq!(log_on(&changed), case, "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn mutated_tokens_do_no_harm() {
    let mut random = Random(1);
    for tokens in logons() {
        for _ in 0..MUTATIONS {
            let mut changed = tokens.clone();
            let which = random.below(2);
            random.mutate(&mut changed[which]);
            log_on(&changed);
        }
    }
}

#[test]
fn random_bytes_never_log_on() {
    let mut random = Random(2);
    for _ in 0..MUTATIONS {
        let mut token: Vec<u8> = (0..random.below(300)).map(|_| random.byte()).collect();
        if random.below(2) == 0 {
            token.splice(0..0, *b"NTLMSSP\0");
        }
        assert!(!log_on(&[token.clone(), token]));
    }
}

#[test]
fn deep_and_long_tokens_are_refused_at_once() {
    let nested = [0x60, 0x80].repeat(30_000);
    assert!(step(&mut begin(), &nested).is_err());
    assert!(step(&mut begin(), &vec![0x60; 1 << 20]).is_err());
    let lengths = [[0x60, 0x84].as_slice(), &[0xFF; 4], &[0; 100]].concat();
    assert!(step(&mut begin(), &lengths).is_err());
    assert!(
        step(
            &mut begin(),
            &initial_token(&AcceptorConfig::standalone("strongroom"))
        )
        .is_ok(),
        "even our own token is only an offer"
    );
}

#[test]
fn spoilt_frames_are_not_decrypted() {
    let cipher = |algorithm, side| Cipher::new(algorithm, side, &[1; 16], &[2; 16]);
    for algorithm in [CipherAlgorithm::Aes128Gcm, CipherAlgorithm::Aes128Ccm] {
        let (client, server) = (
            cipher(algorithm, Side::Client),
            cipher(algorithm, Side::Server),
        );
        let mut frame = vec![7; TRANSFORM_HEADER_LEN + 100];
        client.seal(5, &mut frame).unwrap();
        for len in 0..frame.len() {
            assert!(server.open(&mut frame.clone()[..len]).is_err());
        }
        let mut random = Random(3);
        for _ in 0..MUTATIONS / 10 {
            let mut changed = frame.clone();
            random.mutate(&mut changed);
            if changed != frame {
                let header = TransformHeader::parse(&changed);
                assert!(server.open(&mut changed).is_err(), "{header:?}");
            }
        }
    }
}

#[test]
fn spoilt_messages_do_not_verify() {
    let mut random = Random(4);
    for id in 0..3 {
        let key = SigningKey::new(SigningAlgorithm::from_id(id).unwrap(), &[9; 16]);
        let mut message = vec![3; 100];
        message[16] = 0;
        key.sign(&mut message);
        for len in 0..message.len() {
            assert!(
                key.verify(&mut message.clone()[..len], Sender::Client)
                    .is_err()
            );
        }
        for _ in 0..MUTATIONS / 10 {
            let mut changed = message.clone();
            random.mutate(&mut changed);
            let same = changed == message;
            assert_eq!(key.verify(&mut changed, Sender::Client).is_ok(), same);
        }
    }
}

#[test]
fn hostile_sids_do_no_harm() {
    let mut random = Random(5);
    let sid: Sid = "S-1-5-21-1-2-3-1000".parse().unwrap();
    for _ in 0..MUTATIONS {
        let mut bytes = sid.to_bytes();
        random.mutate(&mut bytes);
        if let Ok(read) = Sid::from_bytes(&bytes) {
            assert!(bytes.starts_with(&read.to_bytes()));
            assert_eq!(read.to_string().parse::<Sid>(), Ok(read));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.parse::<Sid>().is_err());
    }
}
