#![expect(
    clippy::cast_possible_truncation,
    reason = "messages of tests are short"
)]

use std::cell::Cell;

use strongroom_identity::NtHash;

use super::*;
use crate::auth::der::{self, context, element};
use crate::auth::ntlm::flags;
use crate::auth::ntlm::hash::{hmac_md5, nt_proof, ntowf_v2};
use crate::auth::ntlm::rc4::Rc4;
use crate::auth::ntlm::vectors::{AUTHENTICATE, SERVER_CHALLENGE, hex};
use crate::auth::{
    Account, AccountName, Kerberos, KerberosAccepted, KerberosConfig, KerberosError,
};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);
const PASSWORD: &str = "Password";
const CLIENT_FLAGS: u32 = flags::UNICODE
    | flags::REQUEST_TARGET
    | flags::SIGN
    | flags::NTLM
    | flags::ALWAYS_SIGN
    | flags::EXTENDED_SESSIONSECURITY
    | flags::KEY_128
    | flags::KEY_EXCH;
const KERBEROS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02];
const RANDOM_KEY: [u8; 16] = [0x55; 16];

/// One account, "User"; counts what it is asked.
#[derive(Default)]
struct OneUser {
    begun: Cell<u32>,
    succeeded: Cell<u32>,
    throttled: bool,
}

impl Accounts for OneUser {
    fn begin(&self, name: &AccountName) -> Account {
        self.begun.set(self.begun.get() + 1);
        match name.user.to_lowercase().as_str() {
            _ if self.throttled => Account::Throttled,
            "user" => Account::Known(NtHash::of_password(PASSWORD)),
            _ => Account::Unknown,
        }
    }

    fn succeeded(&self, _: &AccountName) {
        self.succeeded.set(self.succeeded.get() + 1);
    }
}

fn fixed_entropy(buffer: &mut [u8]) {
    buffer.copy_from_slice(&SERVER_CHALLENGE);
}

/// A logon with the accounts it is tried on.
struct Server {
    state: AcceptState,
    accounts: OneUser,
}

impl Server {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut AcceptorConfig)) -> Self {
        let mut config = AcceptorConfig::standalone("strongroom");
        change(&mut config);
        Server {
            state: AcceptState::new(Arc::new(config)),
            accounts: OneUser::default(),
        }
    }

    fn step(&mut self, token: &[u8]) -> Result<Step, AuthError> {
        self.state
            .step(token, NOW, &mut fixed_entropy, &self.accounts)
    }

    fn more(&mut self, token: &[u8]) -> Vec<u8> {
        match self.step(token).unwrap() {
            Step::Continue(token) => token,
            Step::Done(_) => unreachable!("the logon is not over"),
        }
    }

    fn done(&mut self, token: &[u8]) -> Accepted {
        match self.step(token).unwrap() {
            Step::Done(accepted) => accepted,
            Step::Continue(_) => unreachable!("the logon is over"),
        }
    }
}

/// What a client sends; the fields may be spoilt.
struct Client {
    user: &'static str,
    domain: &'static str,
    password: &'static str,
    flags: u32,
    mic: bool,
}

const CLIENT: Client = Client {
    user: "User",
    domain: "Domain",
    password: PASSWORD,
    flags: CLIENT_FLAGS,
    mic: true,
};

impl Client {
    fn negotiate(&self) -> Vec<u8> {
        let mut out = [
            messages::SIGNATURE,
            &1_u32.to_le_bytes(),
            &self.flags.to_le_bytes(),
        ]
        .concat();
        out.extend([0; 16]);
        out
    }

    /// The AUTHENTICATE_MESSAGE after this challenge, with the extra AV pairs that a MIC needs.
    fn authenticate(&self, negotiate: &[u8], challenge: &[u8]) -> Vec<u8> {
        let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
        let bytes = |text: &str| {
            text.encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>()
        };
        let key = ntowf_v2(
            &NtHash::of_password(self.password),
            &units(self.user),
            &units(self.domain),
        );
        let mut temp = vec![1, 1, 0, 0, 0, 0, 0, 0];
        temp.extend([0xAA; 16]);
        temp.extend([0; 4]);
        temp.extend([6, 0, 4, 0, if self.mic { 2 } else { 0 }, 0, 0, 0]);
        temp.extend([0; 8]);
        let proof = nt_proof(&key, &SERVER_CHALLENGE, &temp);
        let base = hmac_md5(&*key, &[&proof]);
        let mut encrypted = RANDOM_KEY;
        Rc4::new(&*base).apply(&mut encrypted);
        let response = [proof.as_slice(), &temp].concat();
        let (user, domain) = (bytes(self.user), bytes(self.domain));
        let fields: [&[u8]; 6] = [&[0; 24], &response, &domain, &user, &[], &encrypted];
        let mut message = authenticate_of(self.flags, &fields);
        if self.mic {
            let mic = hmac_md5(&RANDOM_KEY, &[negotiate, challenge, &message]);
            message[messages::MIC].copy_from_slice(&*mic);
        }
        message
    }
}

/// LM response, NT response, domain, user, workstation, session key, with a MIC of zeroes.
fn authenticate_of(flags: u32, fields: &[&[u8]; 6]) -> Vec<u8> {
    let mut message = [messages::SIGNATURE, &3_u32.to_le_bytes()].concat();
    let mut payload = Vec::new();
    for field in fields {
        let len = (field.len() as u16).to_le_bytes();
        message.extend([len, len].concat());
        message.extend(((messages::MIC.end + payload.len()) as u32).to_le_bytes());
        payload.extend(*field);
    }
    message.extend(flags.to_le_bytes());
    message.extend([0; 24]);
    [message, payload].concat()
}

/// The MechTypeList of these.
fn mech_list(mechanisms: &[&[u8]]) -> Vec<u8> {
    let oids: Vec<Vec<u8>> = mechanisms
        .iter()
        .map(|mechanism| element(der::OID, &[mechanism]))
        .collect();
    element(
        der::SEQUENCE,
        &oids.iter().map(Vec::as_slice).collect::<Vec<_>>(),
    )
}

fn init(mechanisms: &[&[u8]], token: Option<&[u8]>) -> Vec<u8> {
    let list = element(context(0), &[&mech_list(mechanisms)]);
    let token = token.map_or_else(Vec::new, |token| {
        element(context(2), &[&element(der::OCTET_STRING, &[token])])
    });
    let init = element(context(0), &[&element(der::SEQUENCE, &[&list, &token])]);
    let spnego = element(der::OID, &[&[0x2B, 0x06, 0x01, 0x05, 0x05, 0x02]]);
    element(der::APPLICATION_0, &[&spnego, &init])
}

fn respond(token: Option<&[u8]>, mic: Option<&[u8]>) -> Vec<u8> {
    spnego::response(NegState::AcceptIncomplete, None, token, mic)
}

fn inner(token: &[u8]) -> Vec<u8> {
    NegTokenResp::parse(token)
        .unwrap()
        .response_token
        .unwrap()
        .to_vec()
}

/// The state and the MIC of an answer of ours.
fn state_of(token: &[u8]) -> u8 {
    let fields = der::only(der::only(token, context(1)).unwrap(), der::SEQUENCE).unwrap();
    let state = der::Reader(fields).take(context(0)).unwrap();
    der::only(state, der::ENUMERATED).unwrap()[0]
}

/// A bare NTLM logon up to its last step.
fn log_on(server: &mut Server, client: &Client) -> Result<Step, AuthError> {
    let negotiate = client.negotiate();
    let challenge = server.more(&negotiate);
    server.step(&client.authenticate(&negotiate, &challenge))
}

fn is_denied(result: Result<Step, AuthError>) -> bool {
    matches!(result, Err(AuthError::Denied(_)))
}

#[test]
fn accepts_the_published_example() {
    // MS-NLMP 4.2.4.3.
    let mut server = Server::new();
    server.more(&CLIENT.negotiate());
    let accepted = server.done(&hex(AUTHENTICATE));
    assert_eq!(accepted.session_key.full(), RANDOM_KEY);
    assert_eq!(accepted.workstation, "COMPUTER");
    let name = AccountName {
        domain: "Domain".to_owned(),
        user: "User".to_owned(),
    };
    assert_eq!(accepted.account, Some(name));
    assert_eq!(server.accounts.succeeded.get(), 1);
}

#[test]
fn accepts_bare_ntlm_with_a_mic() {
    let mut server = Server::new();
    let Ok(Step::Done(accepted)) = log_on(&mut server, &CLIENT) else {
        unreachable!("the password is right")
    };
    assert_eq!(accepted.session_key.full(), RANDOM_KEY);
    assert!(accepted.token.is_empty());
}

#[test]
fn refuses_a_wrong_password_and_an_unknown_user_alike() {
    for client in [
        Client {
            password: "Passwore",
            ..CLIENT
        },
        Client {
            user: "Nobody",
            ..CLIENT
        },
        Client { user: "", ..CLIENT },
    ] {
        let mut server = Server::new();
        assert!(is_denied(log_on(&mut server, &client)));
        assert_eq!(
            (server.accounts.begun.get(), server.accounts.succeeded.get()),
            (1, 0)
        );
        assert!(
            server.step(&client.negotiate()).is_err(),
            "the machine is over"
        );
    }
}

#[test]
fn the_stand_in_hash_of_unknown_users_opens_nothing() {
    // Even a client that computes its proof from the very hash that stands for nobody.
    let mut server = Server::new();
    let challenge = server.more(&CLIENT.negotiate());
    assert!(!challenge.is_empty());
    let units: Vec<u16> = "Nobody".encode_utf16().collect();
    let key = ntowf_v2(&NtHash::new([0x5A; 16]), &units, &[]);
    let temp = [[1, 1].as_slice(), &[0; 26], &[0; 4]].concat();
    let response = [nt_proof(&key, &SERVER_CHALLENGE, &temp).as_slice(), &temp].concat();
    let user: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let message = authenticate_of(
        CLIENT_FLAGS,
        &[&[], &response, &[], &user, &[], &RANDOM_KEY],
    );
    assert!(is_denied(server.step(&message)));
}

#[test]
fn every_bit_of_the_proof_counts() {
    let negotiate = CLIENT.negotiate();
    let client = Client {
        mic: false,
        ..CLIENT
    };
    for bit in 0..128 {
        let mut server = Server::new();
        let challenge = server.more(&negotiate);
        let mut message = client.authenticate(&negotiate, &challenge);
        let at = messages::MIC.end + 24 + bit / 8;
        message[at] ^= 1 << (bit % 8);
        assert!(is_denied(server.step(&message)), "bit {bit}");
    }
    let mut server = Server::new();
    let challenge = server.more(&negotiate);
    let mut message = client.authenticate(&negotiate, &challenge);
    message[messages::MIC.end + 24..][..16].fill(0);
    assert!(is_denied(server.step(&message)), "a proof of zeroes");
}

#[test]
fn an_announced_mic_covers_all_three_messages() {
    let negotiate = CLIENT.negotiate();
    let mut server = Server::new();
    let challenge = server.more(&negotiate);
    let mut spoilt_flags = CLIENT.authenticate(&negotiate, &challenge);
    spoilt_flags[62] ^= 0x10;
    assert_eq!(
        server.step(&spoilt_flags).unwrap_err(),
        AuthError::Integrity
    );

    // Someone made the client's NEGOTIATE_MESSAGE ask for less on its way.
    let mut server = Server::new();
    let weak = Client {
        flags: CLIENT_FLAGS & !flags::KEY_128,
        ..CLIENT
    }
    .negotiate();
    let challenge = server.more(&weak);
    let message = CLIENT.authenticate(&negotiate, &challenge);
    assert_eq!(server.step(&message).unwrap_err(), AuthError::Integrity);

    let mut server = Server::new();
    let challenge = server.more(&negotiate);
    let mut message = CLIENT.authenticate(&negotiate, &challenge);
    message[messages::MIC].fill(0);
    assert_eq!(server.step(&message).unwrap_err(), AuthError::Integrity);
}

#[test]
fn refuses_lm_and_ntlm_v1_and_old_flags() {
    let user = [0x55, 0, 0x73, 0, 0x65, 0, 0x72, 0];
    for response in [&[][..], &[7; 24]] {
        let mut server = Server::new();
        server.more(&CLIENT.negotiate());
        let fields: [&[u8]; 6] = [&[7; 24], response, &[], &user, &[], &RANDOM_KEY];
        let result = server.step(&authenticate_of(CLIENT_FLAGS, &fields));
        assert!(matches!(result, Err(AuthError::Unsupported(_))));
        assert_eq!(server.accounts.begun.get(), 0);
    }
    for missing in [flags::UNICODE, flags::EXTENDED_SESSIONSECURITY] {
        let client = Client {
            flags: CLIENT_FLAGS & !missing,
            ..CLIENT
        };
        let result = Server::new().step(&client.negotiate());
        assert!(matches!(result, Err(AuthError::Unsupported(_))));
    }
}

#[test]
fn refuses_anonymous_clients_unless_told_otherwise() {
    let anonymous = || {
        authenticate_of(
            CLIENT_FLAGS & !flags::KEY_EXCH,
            &[&[0], &[], &[], &[], &[], &[]],
        )
    };
    let mut server = Server::new();
    server.more(&CLIENT.negotiate());
    assert_eq!(server.step(&anonymous()).unwrap_err(), AuthError::Anonymous);
    let mut server = Server::with(|config| config.anonymous = true);
    server.more(&CLIENT.negotiate());
    assert_eq!(server.done(&anonymous()).account, None);
}

#[test]
fn a_throttled_name_is_refused_with_the_right_password() {
    let mut server = Server::new();
    server.accounts.throttled = true;
    assert!(matches!(
        log_on(&mut server, &CLIENT),
        Err(AuthError::Throttled(_))
    ));
}

#[test]
fn only_configured_domains_enter_where_they_are_configured() {
    let only = |config: &mut AcceptorConfig| config.domains = Domains::Only(vec!["office".into()]);
    for (domain, accepted) in [
        ("OFFICE", true),
        ("", true),
        ("StrongRoom", true),
        ("Domain", false),
    ] {
        let result = log_on(&mut Server::with(only), &Client { domain, ..CLIENT });
        assert_eq!(result.is_ok(), accepted, "{domain}");
    }
}

#[test]
fn a_user_may_be_written_with_its_domain() {
    for user in ["OFFICE\\User", "user@office.example"] {
        let client = Client {
            user,
            domain: "",
            ..CLIENT
        };
        let Ok(Step::Done(accepted)) = log_on(&mut Server::new(), &client) else {
            unreachable!("{user}")
        };
        assert_eq!(accepted.account.unwrap().user.to_lowercase(), "user");
    }
}

#[test]
fn keys_without_exchange_are_the_base_key() {
    let client = Client {
        flags: CLIENT_FLAGS & !flags::KEY_EXCH,
        mic: false,
        ..CLIENT
    };
    let Ok(Step::Done(accepted)) = log_on(&mut Server::new(), &client) else {
        unreachable!("the password is right")
    };
    assert_ne!(accepted.session_key.full(), RANDOM_KEY);
    assert_eq!(accepted.session_key.full().len(), 16);
}

#[test]
fn spnego_with_ntlm_first_ends_without_a_mic_if_the_client_sends_none() {
    let mut server = Server::new();
    let negotiate = CLIENT.negotiate();
    let answer = server.more(&init(&[spnego::NTLMSSP], Some(&negotiate)));
    assert_eq!(state_of(&answer), NegState::AcceptIncomplete as u8);
    let message = CLIENT.authenticate(&negotiate, &inner(&answer));
    let accepted = server.done(&respond(Some(&message), None));
    // RFC 4178 4.2.2: accept-completed and nothing else.
    assert_eq!(accepted.token, hex("a1073005a0030a0100"));
}

/// The client's own signer over its MechTypeList.
fn client_mic(list: &[u8]) -> [u8; 16] {
    Signer::new(&RANDOM_KEY, CLIENT_FLAGS, Direction::ClientToServer).sign(list)
}

#[test]
fn spnego_answers_a_mic_with_its_own() {
    let mut server = Server::new();
    let (negotiate, list) = (CLIENT.negotiate(), mech_list(&[spnego::NTLMSSP, KERBEROS]));
    let answer = server.more(&init(&[spnego::NTLMSSP, KERBEROS], Some(&negotiate)));
    let message = CLIENT.authenticate(&negotiate, &inner(&answer));
    let accepted = server.done(&respond(Some(&message), Some(&client_mic(&list))));
    let mic = NegTokenResp::parse(&accepted.token)
        .unwrap()
        .mech_list_mic
        .unwrap();
    let mut expected = Signer::new(&RANDOM_KEY, CLIENT_FLAGS, Direction::ServerToClient);
    assert!(expected.verify(&list, mic));
}

#[test]
fn spnego_refuses_a_list_of_mechanisms_that_was_changed() {
    let mut server = Server::new();
    let (negotiate, list) = (CLIENT.negotiate(), mech_list(&[KERBEROS, spnego::NTLMSSP]));
    let answer = server.more(&init(&[spnego::NTLMSSP], Some(&negotiate)));
    let message = CLIENT.authenticate(&negotiate, &inner(&answer));
    let result = server.step(&respond(Some(&message), Some(&client_mic(&list))));
    assert_eq!(result.unwrap_err(), AuthError::Integrity);
}

/// Kerberos first with a token of its own, NTLM second.
fn prefer_kerberos(server: &mut Server) -> (Vec<u8>, Vec<u8>) {
    let first = server.more(&init(&[KERBEROS, spnego::NTLMSSP], Some(b"a ticket")));
    assert_eq!(state_of(&first), NegState::RequestMic as u8);
    let negotiate = CLIENT.negotiate();
    let answer = server.more(&respond(Some(&negotiate), None));
    let message = CLIENT.authenticate(&negotiate, &inner(&answer));
    (message, mech_list(&[KERBEROS, spnego::NTLMSSP]))
}

#[test]
fn a_client_that_prefers_kerberos_must_prove_its_list() {
    let mut server = Server::new();
    let (message, list) = prefer_kerberos(&mut server);
    let accepted = server.done(&respond(Some(&message), Some(&client_mic(&list))));
    assert!(
        NegTokenResp::parse(&accepted.token)
            .unwrap()
            .mech_list_mic
            .is_some()
    );
}

#[test]
fn a_mic_that_is_owed_may_come_one_step_later_but_must_come() {
    let mut server = Server::new();
    let (message, list) = prefer_kerberos(&mut server);
    let answer = server.more(&respond(Some(&message), None));
    assert!(
        NegTokenResp::parse(&answer)
            .unwrap()
            .mech_list_mic
            .is_some()
    );
    server.done(&respond(None, Some(&client_mic(&list))));

    let mut server = Server::new();
    let (message, _) = prefer_kerberos(&mut server);
    server.more(&respond(Some(&message), None));
    assert_eq!(
        server.step(&respond(None, None)).unwrap_err(),
        AuthError::Integrity
    );
}

#[test]
fn spnego_without_ntlm_is_refused() {
    let result = Server::new().step(&init(&[KERBEROS], Some(b"a ticket")));
    assert!(matches!(result, Err(AuthError::Unsupported(_))));
}

#[test]
fn the_initial_token_offers_ntlm() {
    let token = initial_token(&AcceptorConfig::standalone("strongroom"));
    let parsed = NegTokenInit::parse(&token).unwrap();
    assert_eq!((parsed.ntlm_at, parsed.mech_token), (Some(0), None));
    assert_eq!(parsed.mech_list, mech_list(&[spnego::NTLMSSP]));
}

fn group() -> strongroom_identity::Sid {
    "S-1-5-21-7-8-9-513".parse().unwrap()
}

/// Takes one ticket, of ada.
#[derive(Debug)]
struct OneTicket;

impl Kerberos for OneTicket {
    fn accept(&self, token: &[u8]) -> Result<KerberosAccepted, KerberosError> {
        let (principal, key) = match token {
            b"a ticket" => ("ada@OFFICE.TEST", 32),
            b"a weak ticket" => ("ada@OFFICE.TEST", 8),
            b"an instance's" => ("ada/admin@OFFICE.TEST", 32),
            _ => return Err(KerberosError::new("it is forged")),
        };
        Ok(KerberosAccepted {
            principal: principal.to_owned(),
            groups: vec![group()],
            session_key: zeroize::Zeroizing::new(vec![5; key]),
            token: b"the server's proof".to_vec(),
        })
    }
}

fn with_tickets(ntlm: bool) -> Server {
    Server::with(|config| {
        config.ntlm = ntlm;
        config.kerberos = Some(KerberosConfig {
            tickets: Arc::new(OneTicket),
            realm: "OFFICE.TEST".to_owned(),
        });
    })
}

#[test]
fn a_ticket_is_taken_where_kerberos_is_liked_best() {
    for oid in [spnego::KRB5, spnego::MS_KRB5] {
        let mut server = with_tickets(true);
        let list = [oid, spnego::NTLMSSP];
        let accepted = server.done(&init(&list, Some(b"a ticket")));
        assert_eq!(accepted.account.unwrap().user, "ada");
        assert_eq!(accepted.groups, [group()]);
        assert_eq!(accepted.session_key.full(), [5; 32]);
        let answer = NegTokenResp::parse(&accepted.token).unwrap();
        assert_eq!(answer.response_token, Some(&b"the server's proof"[..]));
        assert!(accepted.token.windows(oid.len()).any(|part| part == oid));
    }
}

#[test]
fn forged_weak_and_strange_tickets_are_refused() {
    for ticket in [&b"forged"[..], b"a weak ticket", b"an instance's"] {
        let list = [spnego::KRB5, spnego::NTLMSSP];
        let mut server = with_tickets(true);
        let result = server.step(&init(&list, Some(ticket)));
        assert!(matches!(result, Err(AuthError::Ticket(_))));
        let again = server.step(&init(&list, Some(b"a ticket")));
        assert!(again.is_err(), "the logon is over");
    }
}

#[test]
fn ntlm_can_be_switched_off() {
    let mut server = with_tickets(false);
    let bare = server.step(&CLIENT.negotiate());
    assert!(matches!(bare, Err(AuthError::Unsupported(_))));
    let mut server = with_tickets(false);
    let inside = server.step(&init(&[spnego::NTLMSSP], Some(&CLIENT.negotiate())));
    assert!(matches!(inside, Err(AuthError::Unsupported(_))));
    let token = initial_token(&with_tickets(false).state.config);
    let offered = NegTokenInit::parse(&token).unwrap();
    assert_eq!(
        (offered.ntlm_at, offered.kerberos),
        (None, Some(spnego::MS_KRB5))
    );
    let token = initial_token(&with_tickets(true).state.config);
    assert_eq!(NegTokenInit::parse(&token).unwrap().ntlm_at, Some(2));
}

#[test]
fn the_challenge_names_the_server_and_the_time() {
    let challenge = Server::new().more(&CLIENT.negotiate());
    assert_eq!(challenge[24..32], SERVER_CHALLENGE);
    let flags_sent = u32::from_le_bytes(challenge[20..24].try_into().unwrap());
    assert_eq!(flags_sent & CLIENT_FLAGS, CLIENT_FLAGS);
    assert_eq!(
        flags_sent & flags::SEAL,
        0,
        "what the client did not ask for"
    );
    let name: Vec<u8> = "STRONGROOM"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(challenge[56..76], name);
    // 2023-11-14T22:13:20Z as a FILETIME, behind MsvAvTimestamp's id and length.
    let time = 133_444_736_000_000_000_u64.to_le_bytes();
    let pair = [&[7, 0, 8, 0], time.as_slice()].concat();
    assert!(challenge.windows(12).any(|window| window == pair));
    assert!(challenge.ends_with(&[0; 4]));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut server = Server::new();
        let answer = server.more(&init(&[spnego::NTLMSSP], Some(&CLIENT.negotiate())));
        let message = CLIENT.authenticate(&CLIENT.negotiate(), &inner(&answer));
        (answer, server.done(&respond(Some(&message), None)).token)
    };
    assert_eq!(run(), run());
}

#[test]
fn debug_of_a_logon_shows_no_key() {
    let mut server = Server::new();
    let Ok(step) = log_on(&mut server, &CLIENT) else {
        unreachable!("the password is right")
    };
    assert!(!format!("{step:?} {:?}", server.state).contains("85, 85"));
}
