//! Negotiating, signing in, connecting to shares.

use super::client::Client;
use super::world::{PASSWORD, USER, World};
use crate::crypto::{CipherAlgorithm, SigningAlgorithm};
use crate::server::{Disconnect, EncryptionPolicy};
use crate::wire::fscc::fsctl::{ValidateNegotiateRequest, ValidateNegotiateResponse};
use crate::wire::ioctl::{FsctlCode, IOCTL_IS_FSCTL, IoctlRequest, IoctlResponse};
use crate::wire::negotiate::{
    Capabilities, Dialect, NegotiateRequest, NegotiateResponse, SecurityMode,
};
use crate::wire::negotiate_context::NegotiateContext;
use crate::wire::simple::Empty;
use crate::wire::smb1::{DIALECT_SMB_2_WILDCARD, Smb1Negotiate};
use crate::wire::tree::TreeConnectResponse;
use crate::wire::{Codec, Command, FileId, Guid, NtStatus, SessionId};

#[test]
fn speaks_every_dialect_with_its_own_signatures() {
    let world = World::new();
    let cases = [
        (Dialect::Smb202, SigningAlgorithm::HmacSha256, None),
        (Dialect::Smb210, SigningAlgorithm::HmacSha256, None),
        (
            Dialect::Smb300,
            SigningAlgorithm::AesCmac,
            Some(CipherAlgorithm::Aes128Ccm),
        ),
        (
            Dialect::Smb302,
            SigningAlgorithm::AesCmac,
            Some(CipherAlgorithm::Aes128Ccm),
        ),
        (
            Dialect::Smb311,
            SigningAlgorithm::AesGmac,
            Some(CipherAlgorithm::Aes128Gcm),
        ),
    ];
    for (dialect, signing, cipher) in cases {
        let mut client = world.client();
        client.negotiate(&[dialect]);
        assert_eq!(
            (client.dialect, client.signing, client.cipher),
            (dialect, signing, cipher)
        );
        client.log_on(USER, PASSWORD).unwrap();
        client.tree_connect("files").unwrap();
        let file = client.create("hello.txt");
        assert_eq!(client.close(file), NtStatus::SUCCESS);
    }
}

#[test]
fn chooses_the_newest_common_dialect() {
    let world = World::new();
    let mut client = world.client();
    let answer = client.negotiate(&[Dialect::Smb202, Dialect::Smb302, Dialect::Smb210]);
    let response: NegotiateResponse<'_> = answer.decode();
    assert_eq!(response.dialect, Dialect::Smb302);
    assert!(
        response
            .security_mode
            .contains(SecurityMode::SIGNING_REQUIRED)
    );
    assert!(response.capabilities.contains(Capabilities::LARGE_MTU));
    assert!(response.contexts.is_empty());
}

#[test]
fn refuses_clients_without_a_common_dialect() {
    let world = World::new();
    let answer = world.client().negotiate(&[Dialect::Unknown(0x0222)]);
    assert_eq!(answer.status(), NtStatus::NOT_SUPPORTED);
    let answer = world.client().negotiate(&[]);
    assert_eq!(answer.status(), NtStatus::INVALID_PARAMETER);
}

#[test]
fn refuses_311_without_preauthentication_integrity() {
    let world = World::new();
    let mut client = world.client();
    let mut request = Client::negotiate_request(&[Dialect::Smb311]);
    request
        .contexts
        .retain(|one| !matches!(one, NegotiateContext::PreauthIntegrity { .. }));
    let answer = client.ask(Command::Negotiate, &request);
    assert_eq!(answer.status(), NtStatus::INVALID_PARAMETER);
}

#[test]
fn a_second_negotiate_ends_the_connection() {
    let world = World::new();
    let mut client = world.client();
    client.negotiate(&[Dialect::Smb311]);
    let request = Client::negotiate_request(&[Dialect::Smb202]);
    let message = client.message(Command::Negotiate, &request);
    client.send(message).unwrap();
    assert!(client.answer().is_none());
    assert!(client.is_closed());
    assert_eq!(
        client.deliver(&[0xFE, b'S', b'M', b'B']),
        Err(Disconnect::Closed)
    );
}

#[test]
fn smb1_clients_are_led_to_smb2() {
    let world = World::new();
    let mut client = world.client();
    let offer = Smb1Negotiate {
        dialects: vec![b"NT LM 0.12", DIALECT_SMB_2_WILDCARD],
    };
    client.deliver(&offer.to_vec()).unwrap();
    let answer = client.answer().unwrap();
    assert_eq!(
        answer.decode::<NegotiateResponse<'_>>().dialect,
        Dialect::Wildcard
    );
    client.next_id = 1;
    client.negotiate(&[Dialect::Smb210]);
    client.log_on(USER, PASSWORD).unwrap();
}

#[test]
fn smb1_alone_is_not_spoken() {
    let world = World::new();
    let offer = Smb1Negotiate {
        dialects: vec![b"NT LM 0.12"],
    };
    assert_eq!(
        world.client().deliver(&offer.to_vec()),
        Err(Disconnect::Negotiation)
    );
}

#[test]
fn nothing_comes_before_negotiation() {
    let world = World::new();
    let mut client = world.client();
    let message = client.message(Command::Echo, &Empty);
    assert_eq!(client.send(message), Err(Disconnect::Negotiation));
    assert_eq!(
        world.client().deliver(b"GET / HTTP/1.1"),
        Err(Disconnect::NotSmb)
    );
}

#[test]
fn refuses_a_wrong_password_and_an_unknown_user_alike() {
    let world = World::new();
    for (user, password) in [(USER, "wrong"), ("nobody", PASSWORD)] {
        let mut client = world.client();
        client.negotiate(&[Dialect::Smb311]);
        assert_eq!(client.log_on(user, password), Err(NtStatus::LOGON_FAILURE));
    }
    assert_eq!(world.server.status().sessions, 0);
}

#[test]
fn unsigned_requests_are_refused() {
    let world = World::new();
    let mut client = world.signed_in();
    client.careless = true;
    assert_eq!(
        client.tree_connect("files").unwrap_err(),
        NtStatus::ACCESS_DENIED
    );
}

#[test]
fn a_changed_request_is_refused() {
    let world = World::new();
    let mut client = world.connected();
    let mut message = client.message(Command::Create, &Client::create_request("a"));
    client.keys.as_ref().unwrap().signing.sign(&mut message);
    let last = message.len() - 1;
    message[last] ^= 1;
    client.deliver(&message).unwrap();
    assert_eq!(client.answer().unwrap().status(), NtStatus::ACCESS_DENIED);
}

#[test]
fn requests_of_no_session_are_refused() {
    let world = World::new();
    let mut client = world.signed_in();
    client.session_id = SessionId(12345);
    assert_eq!(
        client.tree_connect("files").unwrap_err(),
        NtStatus::USER_SESSION_DELETED
    );
}

#[test]
fn shares_are_found_without_case_and_guarded() {
    let world = World::new();
    let mut client = world.signed_in();
    assert_eq!(
        client.tree_connect("nowhere").unwrap_err(),
        NtStatus::BAD_NETWORK_NAME
    );
    let answer = client.tree_connect("FILES").unwrap();
    assert_eq!(
        answer.decode::<TreeConnectResponse>().maximal_access,
        0x001F_01FF
    );
    client.tree_connect("IPC$").unwrap();
    client.tree_id.0 += 100;
    let refused = client.try_create(&Client::create_request("a"));
    assert_eq!(refused, Err(NtStatus::NETWORK_NAME_DELETED));
}

#[test]
fn an_encrypted_share_takes_no_plain_request() {
    let world = World::new();
    let mut client = world.signed_in();
    client.tree_connect("secret").unwrap();
    let refused = client.try_create(&Client::create_request("a"));
    assert_eq!(refused, Err(NtStatus::ACCESS_DENIED));
    client.encrypts = true;
    let file = client.create("a");
    let answer = client.ask(Command::Echo, &Empty);
    assert!(answer.encrypted && !answer.signed);
    assert_eq!(client.close(file), NtStatus::SUCCESS);
}

#[test]
fn a_server_that_wants_encryption_takes_nothing_else() {
    let world = World::with(|config| config.encryption = EncryptionPolicy::Required);
    let mut old = world.client();
    old.negotiate(&[Dialect::Smb210]);
    assert_eq!(old.log_on(USER, PASSWORD), Err(NtStatus::ACCESS_DENIED));
    let mut client = world.signed_in();
    assert_eq!(
        client.tree_connect("files").unwrap_err(),
        NtStatus::ACCESS_DENIED
    );
    client.encrypts = true;
    client.tree_connect("files").unwrap();
}

#[test]
fn a_frame_that_does_not_decrypt_ends_the_connection() {
    let world = World::new();
    let mut client = world.signed_in();
    let message = client.message(Command::Echo, &Empty);
    let mut frame = vec![0; 52];
    frame.extend(message);
    let session = client.session_id.0;
    client
        .keys
        .as_ref()
        .unwrap()
        .cipher
        .as_ref()
        .unwrap()
        .seal(session, &mut frame)
        .unwrap();
    let last = frame.len() - 1;
    frame[last] ^= 1;
    assert_eq!(client.deliver(&frame), Err(Disconnect::Decryption));
}

fn validate(client: &mut Client, dialects: Vec<Dialect>) -> Option<ValidateNegotiateResponse> {
    let told = ValidateNegotiateRequest {
        capabilities: Client::negotiate_request(&[]).capabilities,
        client_guid: Guid([9; 16]),
        security_mode: SecurityMode::SIGNING_ENABLED,
        dialects,
    };
    let input = told.to_vec();
    let request = IoctlRequest {
        code: FsctlCode::ValidateNegotiateInfo,
        file_id: FileId::ANY,
        input: &input,
        max_input_response: 0,
        max_output_response: 24,
        flags: IOCTL_IS_FSCTL,
    };
    let message = client.message(Command::Ioctl, &request);
    client.send(message).unwrap();
    let answer = client.answer()?;
    let response: IoctlResponse<'_> = answer.decode();
    Some(ValidateNegotiateResponse::decode(response.output).unwrap())
}

#[test]
fn a_negotiation_without_interference_validates() {
    let world = World::new();
    let mut client = world.client();
    let dialects = vec![Dialect::Smb210, Dialect::Smb302];
    client.negotiate(&dialects);
    client.log_on(USER, PASSWORD).unwrap();
    client.tree_connect("files").unwrap();
    let response = validate(&mut client, dialects).unwrap();
    assert_eq!(response.dialect, 0x0302);
}

#[test]
fn a_downgrade_is_found_out() {
    let world = World::new();
    let mut client = world.client();
    client.negotiate(&[Dialect::Smb210]);
    client.log_on(USER, PASSWORD).unwrap();
    client.tree_connect("files").unwrap();
    // The client offered 3.0.2 too; somebody on the way took it out.
    assert!(validate(&mut client, vec![Dialect::Smb210, Dialect::Smb302]).is_none());
    assert!(client.is_closed());
}

#[test]
fn every_message_cut_short_is_survived() {
    let world = World::new();
    let request: NegotiateRequest<'_> = Client::negotiate_request(&[Dialect::Smb311]);
    let whole = world.client().message(Command::Negotiate, &request);
    for length in 0..whole.len() {
        let mut client = world.client();
        match client.deliver(&whole[..length]) {
            Err(_) => {}
            Ok(()) => {
                let status = client.answer().unwrap().status();
                assert_eq!(status, NtStatus::INVALID_PARAMETER, "{length}");
            }
        }
    }
}

#[test]
fn signs_what_it_refuses_to_a_session_that_ended() {
    let world = World::new();
    let mut client = world.connected();
    assert_eq!(
        client.ask(Command::Logoff, &Empty).status(),
        NtStatus::SUCCESS
    );
    let refusal = client.ask(Command::Logoff, &Empty);
    assert_eq!(refusal.status(), NtStatus::USER_SESSION_DELETED);
    assert!(refusal.signed);
}
