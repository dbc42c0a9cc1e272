//! What becomes of sessions: other rights, other users, further channels, the end.

use super::client::Client;
use super::world::{PASSWORD, USER, World};
use crate::auth::testing;
use crate::crypto::SigningAlgorithm;
use crate::wire::lock::{LockElement, LockFlags, LockRequest};
use crate::wire::negotiate::{Capabilities, Dialect, NegotiateResponse};
use crate::wire::negotiate_context::{NegotiateContext, SigningAlgorithm as WireSigning};
use crate::wire::session::{SessionFlags, SessionSetupFlags, SessionSetupResponse};
use crate::wire::simple::Empty;
use crate::wire::{Command, FileId, NtStatus};
use strongroom_vfs::NewShare;

const OTHER: &str = "bob";

fn lock(file_id: FileId, flags: LockFlags) -> LockRequest {
    LockRequest {
        sequence_number: 0,
        sequence_index: 0,
        file_id,
        locks: vec![LockElement {
            offset: 0,
            length: 1,
            flags,
        }],
    }
}

#[test]
fn a_removed_user_is_refused_at_once_and_holds_nothing() {
    let world = World::new();
    let mut client = world.signed_in_as(OTHER);
    client.tree_connect("files").unwrap();
    let file = client.create("f");
    client.ask(Command::Lock, &lock(file, LockFlags::EXCLUSIVE));
    let mut waiting = world.connected();
    let same = waiting.create("f");
    let held = waiting.ask(Command::Lock, &lock(same, LockFlags::EXCLUSIVE));
    assert_eq!(held.status(), NtStatus::PENDING);
    world.server.identity.remove_user(OTHER).unwrap();
    let refused = client.ask(Command::Lock, &lock(file, LockFlags::UNLOCK));
    assert_eq!(refused.status(), NtStatus::USER_SESSION_DELETED);
    assert!(refused.signed);
    assert_eq!(waiting.wait().status(), NtStatus::SUCCESS);
    assert_eq!(world.server.status().sessions, 1);
}

#[test]
fn an_idle_session_of_a_disabled_user_ends_too() {
    let world = World::new();
    let mut client = world.signed_in_as(OTHER);
    client.tree_connect("files").unwrap();
    client.create("f");
    let identity = &world.server.identity;
    identity.set_disabled(OTHER, true).unwrap();
    assert_eq!(world.server.status().opens, 1);
    world.env.block_on(world.server.apply_changes());
    let status = world.server.status();
    assert_eq!((status.sessions, status.opens), (0, 0));
    identity.set_disabled(OTHER, false).unwrap();
    let refused = client.tree_connect("files").unwrap_err();
    assert_eq!(refused, NtStatus::USER_SESSION_DELETED);
}

/// A share that only the members of "staff" may enter.
fn share_for_staff(world: &World) {
    let server = &world.server;
    let group = server.identity.add_group("staff").unwrap();
    let share = NewShare {
        name: "staff".to_owned(),
        users: Some(vec![group.sid]),
        ..NewShare::default()
    };
    server.vfs.add_share(share).unwrap();
}

#[test]
fn membership_of_a_group_reaches_sessions_that_are_there() {
    let world = World::new();
    share_for_staff(&world);
    let mut client = world.signed_in_as(OTHER);
    let (server, identity) = (&world.server, &world.server.identity);
    let outside = client.tree_connect("staff").unwrap_err();
    assert_eq!(outside, NtStatus::ACCESS_DENIED);
    identity.add_member("staff", OTHER).unwrap();
    client.tree_connect("staff").unwrap();
    client.create("f");
    identity.remove_member("staff", OTHER).unwrap();
    world.env.block_on(server.apply_changes());
    assert_eq!(server.status().opens, 0);
    let refused = client.try_create(&Client::create_request("f"));
    assert_eq!(refused, Err(NtStatus::NETWORK_NAME_DELETED));
    assert_eq!(
        client.tree_connect("staff").unwrap_err(),
        NtStatus::ACCESS_DENIED
    );
    client.tree_connect("files").unwrap();
}

#[test]
fn an_administrator_who_is_none_any_more_has_no_rights_of_one() {
    let world = World::new();
    let mut client = world.signed_in_as(OTHER);
    world.server.identity.set_admin(OTHER, true).unwrap();
    client.tree_connect("closed").unwrap();
    world.server.identity.set_admin(OTHER, false).unwrap();
    let refused = client.tree_connect("closed").unwrap_err();
    assert_eq!(refused, NtStatus::ACCESS_DENIED);
}

#[test]
fn tree_connects_of_a_removed_share_end() {
    let world = World::new();
    let mut client = world.connected();
    client.create("f");
    world.server.vfs.remove_share("files").unwrap();
    world.env.block_on(world.server.apply_changes());
    assert_eq!(world.server.status().opens, 0);
    let refused = client.try_create(&Client::create_request("g"));
    assert_eq!(refused, Err(NtStatus::NETWORK_NAME_DELETED));
    // Another share of the same name is another share.
    let again = NewShare {
        name: "files".to_owned(),
        ..NewShare::default()
    };
    world.server.vfs.add_share(again).unwrap();
    let refused = client.try_create(&Client::create_request("g"));
    assert_eq!(refused, Err(NtStatus::NETWORK_NAME_DELETED));
    client.tree_connect("files").unwrap();
}

#[test]
fn another_logon_brings_the_rights_of_its_user() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    world.add_user(OTHER);
    client.log_on_again(OTHER, PASSWORD).unwrap();
    assert_eq!(world.server.sessions()[0].user, OTHER);
    let refused = client.tree_connect("closed").unwrap_err();
    assert_eq!(refused, NtStatus::ACCESS_DENIED);
    assert_eq!(client.close(file), NtStatus::SUCCESS);
    client.log_on_again(USER, PASSWORD).unwrap();
    client.tree_connect("closed").unwrap();
}

#[test]
fn a_failed_logon_ends_the_session_that_it_was_to_renew() {
    let world = World::new();
    let mut client = world.connected();
    client.create("f");
    let refused = client.log_on_again(USER, "wrong");
    assert_eq!(refused, Err(NtStatus::LOGON_FAILURE));
    let status = world.server.status();
    assert_eq!((status.sessions, status.opens), (0, 0));
}

#[test]
fn another_logon_must_be_signed() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    client.careless = true;
    let refused = client.log_on_again(USER, PASSWORD);
    assert_eq!(refused, Err(NtStatus::ACCESS_DENIED));
    client.careless = false;
    assert_eq!(client.close(file), NtStatus::SUCCESS);
}

#[test]
fn a_session_that_gave_its_name_up_keeps_what_is_open_and_gets_nothing_more() {
    let world = World::new();
    let mut client = world.connected();
    let (file, other) = (client.create("f"), client.create("g"));
    let nobody = |_: &[u8]| testing::anonymous();
    let last = client.exchange(SessionSetupFlags::NONE, nobody).unwrap();
    let flags = last.decode::<SessionSetupResponse<'_>>().flags;
    assert!(flags.contains(SessionFlags::IS_NULL) && last.signed);
    assert_eq!(client.close(other), NtStatus::SUCCESS);
    let refused = client.try_create(&Client::create_request("g"));
    assert_eq!(refused, Err(NtStatus::ACCESS_DENIED));
    let tree = client.tree_id;
    let refused = client.tree_connect("files").unwrap_err();
    assert_eq!(refused, NtStatus::ACCESS_DENIED);
    client.log_on_again(USER, PASSWORD).unwrap();
    client.tree_id = tree;
    assert_eq!(client.close(file), NtStatus::SUCCESS);
    client.create("g");
}

#[test]
fn nobody_in_particular_has_no_first_logon() {
    let world = World::new();
    let mut client = world.client();
    client.negotiate(&[Dialect::Smb311]);
    let refused = client.exchange(SessionSetupFlags::NONE, |_| testing::anonymous());
    assert_eq!(refused.unwrap_err(), NtStatus::LOGON_FAILURE);
    assert_eq!(world.server.status().sessions, 0);
}

/// A connection that has negotiated with these algorithms to sign with, and the dialect.
fn negotiated(world: &World, dialect: Dialect, signing: WireSigning) -> Client {
    let mut client = world.client();
    let mut request = Client::negotiate_request(&[dialect]);
    request.capabilities |= Capabilities::MULTI_CHANNEL;
    for context in &mut request.contexts {
        if let NegotiateContext::Signing(offered) = context {
            *offered = vec![signing];
        }
    }
    let answer = client.negotiate_with(&request);
    let response: NegotiateResponse<'_> = answer.decode();
    let can = response.capabilities.contains(Capabilities::MULTI_CHANNEL);
    assert_eq!(can, dialect != Dialect::Smb210);
    client
}

fn two_channels(world: &World, dialect: Dialect, signing: WireSigning) -> (Client, Client) {
    let mut first = negotiated(world, dialect, signing);
    first.log_on(USER, PASSWORD).unwrap();
    first.tree_connect("files").unwrap();
    let mut second = negotiated(world, dialect, signing);
    second.bind(&first, USER, PASSWORD).unwrap();
    (first, second)
}

#[test]
fn a_session_outlives_all_its_channels_but_the_last() {
    let world = World::new();
    let cases = [
        (Dialect::Smb300, WireSigning::AesCmac),
        (Dialect::Smb311, WireSigning::AesCmac),
        (Dialect::Smb311, WireSigning::AesGmac),
    ];
    for (dialect, signing) in cases {
        let (mut first, mut second) = two_channels(&world, dialect, signing);
        let file = first.create("f");
        let held = second.ask(Command::Lock, &lock(file, LockFlags::EXCLUSIVE));
        assert_eq!(held.status(), NtStatus::SUCCESS);
        assert_eq!(world.server.status().sessions, 1);
        first.disconnect();
        assert_eq!(second.close(file), NtStatus::SUCCESS);
        second.create("f");
        second.disconnect();
        let status = world.server.status();
        assert_eq!((status.sessions, status.opens), (0, 0));
    }
}

#[test]
fn a_logoff_ends_the_session_on_all_its_channels() {
    let world = World::new();
    let (mut first, mut second) = two_channels(&world, Dialect::Smb311, WireSigning::AesGmac);
    first.create("f");
    let answer = second.ask(Command::Logoff, &Empty);
    assert_eq!(answer.status(), NtStatus::SUCCESS);
    assert_eq!(world.server.status().opens, 0);
    let refused = first.tree_connect("files").unwrap_err();
    assert_eq!(refused, NtStatus::USER_SESSION_DELETED);
}

#[test]
fn requests_on_a_connection_that_is_no_channel_are_refused() {
    let world = World::new();
    let first = world.connected();
    let mut second = world.client();
    second.negotiate(&[Dialect::Smb311]);
    second.session_id = first.session_id;
    second.tree_id = first.tree_id;
    let refused = second.try_create(&Client::create_request("f"));
    assert_eq!(refused, Err(NtStatus::USER_SESSION_DELETED));
    let without_the_flag = second.log_on(USER, PASSWORD);
    assert_eq!(without_the_flag, Err(NtStatus::USER_SESSION_DELETED));
    assert_eq!(world.server.status().sessions, 1);
}

#[test]
fn a_binding_by_another_user_or_a_wrong_password_harms_no_session() {
    let world = World::new();
    let mut first = negotiated(&world, Dialect::Smb311, WireSigning::AesGmac);
    first.log_on(USER, PASSWORD).unwrap();
    first.tree_connect("files").unwrap();
    world.add_user(OTHER);
    let cases = [
        (OTHER, PASSWORD, NtStatus::ACCESS_DENIED),
        (USER, "wrong", NtStatus::LOGON_FAILURE),
    ];
    for (user, password, status) in cases {
        let mut second = negotiated(&world, Dialect::Smb311, WireSigning::AesGmac);
        assert_eq!(second.bind(&first, user, password), Err(status));
        second.bind(&first, USER, PASSWORD).unwrap();
        second.disconnect();
    }
    first.create("f");
}

#[test]
fn connections_that_sign_otherwise_or_not_at_all_are_not_bound() {
    let world = World::new();
    let refused = |first, second, status| {
        let (dialect, signing) = first;
        let mut one = negotiated(&world, dialect, signing);
        one.log_on(USER, PASSWORD).unwrap();
        let (dialect, signing) = second;
        let mut other = negotiated(&world, dialect, signing);
        assert_eq!(other.bind(&one, USER, PASSWORD), Err(status));
    };
    let (cmac, gmac) = (WireSigning::AesCmac, WireSigning::AesGmac);
    let (old, new) = (Dialect::Smb210, Dialect::Smb311);
    refused((new, gmac), (new, cmac), NtStatus(0xC000_042A));
    refused((new, cmac), (new, gmac), NtStatus::NOT_SUPPORTED);
    refused(
        (new, cmac),
        (Dialect::Smb302, cmac),
        NtStatus::INVALID_PARAMETER,
    );
    refused((old, cmac), (new, cmac), NtStatus::INVALID_PARAMETER);
    refused((new, cmac), (old, cmac), NtStatus::REQUEST_NOT_ACCEPTED);
    refused((new, gmac), (old, gmac), NtStatus(0xC000_042A));
    let mut one = negotiated(&world, new, gmac);
    one.log_on(USER, PASSWORD).unwrap();
    let mut other = negotiated(&world, new, gmac);
    other.careless = true;
    let unsigned = other.bind(&one, USER, PASSWORD);
    assert_eq!(unsigned, Err(NtStatus::INVALID_PARAMETER));
}

#[test]
fn what_precedes_a_channels_own_key_is_signed_with_the_sessions() {
    let world = World::new();
    for (wire, algorithm) in [
        (WireSigning::AesCmac, SigningAlgorithm::AesCmac),
        (WireSigning::AesGmac, SigningAlgorithm::AesGmac),
    ] {
        let (mut first, mut second) = two_channels(&world, Dialect::Smb311, wire);
        assert_eq!(second.signing, algorithm);
        assert!(second.challenge_was_signed);
        // A channel that is there is not bound again.
        let again = second.bind(&first, USER, PASSWORD);
        assert_eq!(again, Err(NtStatus::ACCESS_DENIED));
        first.create("f");
    }
}

#[test]
fn a_create_that_waits_goes_on_when_its_channel_is_lost_and_others_are_left() {
    use super::caching::{open, opened, with_oplock};
    use crate::wire::create::OplockLevel;
    use crate::wire::create_context::RequestContext;
    use crate::wire::header::HeaderFlags;
    let world = World::new();
    let mut holder = world.connected();
    let held = open(&mut holder, &with_oplock("f", OplockLevel::Batch));
    let (mut first, mut second) = two_channels(&world, Dialect::Smb311, WireSigning::AesGmac);
    let mut request = with_oplock("f", OplockLevel::None);
    let name = RequestContext::DurableRequestV2 {
        timeout_ms: 0,
        flags: 0,
        create_guid: crate::wire::Guid([1; 16]),
    };
    request.contexts.push_request(&name);
    let message = first.message(Command::Create, &request);
    first.send(message).unwrap();
    assert_eq!(first.answer().unwrap().status(), NtStatus::PENDING);
    first.disconnect();
    let replay = |client: &mut Client| {
        let mut message = client.message(Command::Create, &request);
        let flags = HeaderFlags::REPLAY_OPERATION.bits().to_le_bytes();
        message[16..20].copy_from_slice(&flags);
        client.send(message).unwrap();
        client.wait()
    };
    let early = replay(&mut second);
    assert_eq!(early.status(), NtStatus::FILE_NOT_AVAILABLE);
    holder.close(held.file_id);
    let file_id = opened(&replay(&mut second)).file_id;
    assert_eq!(second.close(file_id), NtStatus::SUCCESS);
}

#[test]
fn logons_that_are_not_brought_to_their_end_are_few() {
    let world = World::new();
    let mut client = world.client();
    client.negotiate(&[Dialect::Smb311]);
    for begun in 0..20 {
        client.session_id.0 = 0;
        let status = client.begin_logon();
        let expected = if begun < 8 {
            NtStatus::MORE_PROCESSING_REQUIRED
        } else {
            NtStatus::REQUEST_NOT_ACCEPTED
        };
        assert_eq!(status, expected);
    }
    assert_eq!(world.server.status().sessions, 8);
}
