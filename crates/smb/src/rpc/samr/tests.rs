use crate::rpc::handles::Handle;
use crate::rpc::tests::{
    bound, call, fault_of, has, office_without_user, put_words, request, result_of, string,
};
use crate::rpc::{FAULT_HANDLE, FAULT_STUB, Pipe};
use crate::wire::codec::{Put, len32};
use crate::wire::utf16::put_utf16;
use strongroom_identity::Sid;

fn connect() -> Vec<u8> {
    let mut stub = Vec::new();
    stub.put_u32(0x0002_0000);
    string("\\\\office", &mut stub);
    put_words(&[0x0200_0000, 1, 1, 3, 0], &mut stub);
    request(64, &stub)
}

fn server(pipe: &mut Pipe) -> Handle {
    let stub = call(pipe, &connect());
    assert_eq!(
        (&stub[..16], result_of(&stub)),
        (&[1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..], 0)
    );
    *stub[16..].first_chunk().unwrap()
}

fn open(
    pipe: &mut Pipe,
    opnum: u16,
    of: &Handle,
    rest: impl FnOnce(&mut Vec<u8>),
) -> (Handle, u32) {
    let mut stub = of.to_vec();
    stub.put_u32(0x0200_0000);
    rest(&mut stub);
    let answer = call(pipe, &request(opnum, &stub));
    (*answer.first_chunk().unwrap(), result_of(&answer))
}

fn domain(pipe: &mut Pipe, sid: Sid) -> Handle {
    let server = server(pipe);
    let (handle, result) = open(pipe, 7, &server, |stub| {
        stub.put_u32(len32(sid.sub_authorities().len()));
        stub.put(&sid.to_bytes());
    });
    assert_eq!(result, 0);
    handle
}

fn machine(pipe: &mut Pipe) -> Handle {
    domain(pipe, Sid::machine([1, 2, 3]))
}

#[test]
fn domains_are_listed_and_opened_and_no_others() {
    let mut pipe = bound("samr");
    let handle = server(&mut pipe);
    let mut stub = handle.to_vec();
    put_words(&[0, 1000], &mut stub);
    let listed = call(&mut pipe, &request(6, &stub));
    assert!(has(&listed, "OFFICE") && has(&listed, "BUILTIN"));
    assert_eq!(result_of(&listed), 0);
    let (none, result) = open(&mut pipe, 7, &handle, |stub| {
        stub.put_u32(1);
        stub.put(&Sid::EVERYONE.to_bytes());
    });
    assert_eq!((none, result), (Handle::default(), 0xC000_00DF));
}

/// SAMPR_ENUMERATION_BUFFER laid out by hand from MS-SAMR 2.2.3.10 and C706 14.
#[test]
fn users_are_listed_as_ndr_demands() {
    let mut pipe = bound("samr");
    let handle = machine(&mut pipe);
    let mut stub = handle.to_vec();
    put_words(&[0, 0x10, 1000], &mut stub);
    let listed = call(&mut pipe, &request(13, &stub));
    let words: Vec<u32> = listed
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect();
    let expected = [
        1,
        0x20004,
        1,
        0x20008,
        1, // go on at 1; the buffer, its array
        1000,
        0x0008_0008,
        0x2000C, // the identifier, the name
        4,
        0,
        4,
        0x006E_0061,
        0x0061_006E, // "anna"
        1,
        0,
    ];
    assert_eq!(words, expected);
}

#[test]
fn names_and_identifiers_lead_to_one_another() {
    let mut pipe = bound("samr");
    let handle = machine(&mut pipe);
    let mut stub = handle.to_vec();
    put_words(
        &[1, 1000, 0, 1, 0x0008_0008, 0x0002_0000, 4, 0, 4],
        &mut stub,
    );
    put_utf16("Anna", &mut stub);
    let found = call(&mut pipe, &request(17, &stub));
    assert_eq!(result_of(&found), 0);
    assert_eq!(found[12..16], 1000_u32.to_le_bytes());
    let mut stub = handle.to_vec();
    put_words(&[3, 1000, 0, 3, 1001, 513, 7], &mut stub);
    let found = call(&mut pipe, &request(18, &stub));
    assert_eq!(result_of(&found), 0x107);
    assert!(has(&found, "sales") && has(&found, "None"));
}

#[test]
fn users_and_groups_are_opened_and_told_of() {
    let mut pipe = bound("samr");
    let handle = machine(&mut pipe);
    let (user, result) = open(&mut pipe, 34, &handle, |stub| stub.put_u32(1000));
    assert_eq!(result, 0);
    for (class, result) in [
        (6_u32, 0),
        (7, 0),
        (8, 0),
        (9, 0),
        (16, 0),
        (21, 0),
        (1, 0xC000_0003),
    ] {
        let mut stub = user.to_vec();
        stub.put_u32(class);
        assert_eq!(
            result_of(&call(&mut pipe, &request(36, &stub))),
            result,
            "{class}"
        );
    }
    assert_eq!(result_of(&call(&mut pipe, &request(39, &user))), 0);
    let (alias, result) = open(&mut pipe, 27, &handle, |stub| stub.put_u32(1001));
    assert_eq!(result, 0);
    let members = call(&mut pipe, &request(33, &alias));
    assert_eq!((members[0], result_of(&members)), (1, 0));
    assert_eq!(
        open(&mut pipe, 34, &handle, |stub| stub.put_u32(1001)).1,
        0xC000_0064
    );
    assert_eq!(
        open(&mut pipe, 27, &handle, |stub| stub.put_u32(1000)).1,
        0xC000_0151
    );
    assert_eq!(
        fault_of(&mut pipe, &request(33, &user)),
        FAULT_HANDLE,
        "a user is no group"
    );
}

#[test]
fn whoever_has_not_signed_in_learns_nothing() {
    let mut pipe = bound("samr");
    pipe.context = office_without_user();
    let stub = call(&mut pipe, &connect());
    assert_eq!(result_of(&stub), 0xC000_0022);
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let mut pipe = bound("samr");
    let handle = machine(&mut pipe);
    for (opnum, words) in [
        (17, [1, 1000, 0, 2]),
        (18, [1001, 1001, 0, 1001]),
        (18, [2, 1000, 0, 2]),
        (16, [5000, 1, 5000, 1]),
    ] {
        let mut stub = handle.to_vec();
        put_words(&words, &mut stub);
        assert_eq!(
            fault_of(&mut pipe, &request(opnum, &stub)),
            FAULT_STUB,
            "{words:?}"
        );
    }
}
