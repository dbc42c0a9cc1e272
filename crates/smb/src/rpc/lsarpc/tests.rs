use crate::rpc::handles::Handle;
use crate::rpc::tests::{
    bound, call, fault_of, has, office_without_user, put_words, request, result_of, string,
};
use crate::rpc::{FAULT_HANDLE, FAULT_STUB, Pipe};
use crate::wire::codec::{Put, Reader, len32};
use crate::wire::utf16::put_utf16;
use strongroom_identity::Sid;

/// LsarOpenPolicy2 as Windows sends it, with a quality of service.
fn open_policy() -> Vec<u8> {
    let mut stub = Vec::new();
    stub.put_u32(0x0002_0000);
    string("\\\\office", &mut stub);
    for value in [24, 0, 0, 0, 0, 0x0002_0004, 12] {
        stub.put_u32(value);
    }
    stub.put(&[2, 0, 1, 0]);
    stub.put_u32(0x0200_0000);
    request(44, &stub)
}

fn policy(pipe: &mut Pipe) -> Handle {
    let stub = call(pipe, &open_policy());
    assert_eq!(result_of(&stub), 0);
    *stub.first_chunk().unwrap()
}

fn look_up_sids(opnum: u16, handle: &Handle, sids: &[Sid]) -> Vec<u8> {
    let mut stub = handle.to_vec();
    let count = len32(sids.len());
    put_words(&[count, 0x0002_0000, count], &mut stub);
    sids.iter().for_each(|_| stub.put_u32(0x0002_0004));
    for sid in sids {
        stub.put_u32(len32(sid.sub_authorities().len()));
        stub.put(&sid.to_bytes());
    }
    // No names yet, the level of a workstation, nothing mapped, options, revision.
    put_words(&[0, 0, 1, 0, 0, 2], &mut stub);
    request(opnum, &stub)
}

fn look_up_names(opnum: u16, handle: &Handle, names: &[&str]) -> Vec<u8> {
    let mut stub = handle.to_vec();
    let count = len32(names.len());
    put_words(&[count, count], &mut stub);
    for name in names {
        let bytes = u16::try_from(name.len().saturating_mul(2)).unwrap();
        stub.put_u16(bytes);
        stub.put_u16(bytes);
        stub.put_u32(0x0002_0000);
    }
    for name in names {
        let units = len32(name.len());
        stub.pad_to(0, 4);
        put_words(&[units, 0, units], &mut stub);
        put_utf16(name, &mut stub);
    }
    stub.pad_to(0, 4);
    put_words(&[0, 0, 1, 0, 0, 2], &mut stub);
    request(opnum, &stub)
}

fn member(rid: u32) -> Sid {
    Sid::machine([1, 2, 3]).with_rid(rid).unwrap()
}

#[test]
fn sids_have_names_in_their_domains() {
    let mut pipe = bound("lsarpc");
    let handle = policy(&mut pipe);
    let asked = [member(1000), Sid::USERS, Sid::EVERYONE, member(1)];
    for opnum in [15, 57] {
        let stub = call(&mut pipe, &look_up_sids(opnum, &handle, &asked));
        assert_eq!(result_of(&stub), 0x107, "one of them has no name");
        for text in [
            "anna",
            "OFFICE",
            "Users",
            "BUILTIN",
            "Everyone",
            "S-1-5-21-1-2-3-1",
        ] {
            assert!(has(&stub, text), "{text}");
        }
        let mapped = &stub[stub.len().saturating_sub(8)..];
        assert_eq!(mapped[..4], [3, 0, 0, 0]);
    }
    let none = call(&mut pipe, &look_up_sids(57, &handle, &[member(1)]));
    assert_eq!(result_of(&none), 0xC000_0073);
}

/// The whole answer to LsarLookupNames3, laid out by hand from MS-LSAT 2.2.12, 2.2.24 and C706 14.
#[test]
fn a_name_is_answered_as_ndr_demands() {
    let mut pipe = bound("lsarpc");
    let handle = policy(&mut pipe);
    let stub = call(&mut pipe, &look_up_names(68, &handle, &["everyone"]));
    let words: Vec<u32> = stub
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect();
    let expected = [
        0x20004,
        1,
        0x20008,
        1,
        1, // the list of domains and its array
        0,
        0x2000C,
        0x20010, // an empty name, its SID
        0,
        0,
        0, // no characters
        0,
        1,
        0x0100_0000, // S-1-1: no sub-authorities, revision 1, authority 1
        1,
        0x20014,
        1,
        5,
        0x20018,
        0,
        0, // one answer: a well-known group of domain 0
        1,
        0x101,
        0x0100_0000,
        0, // S-1-1-0
        1,
        0, // one found, success
    ];
    assert_eq!(words, expected);
}

#[test]
fn names_are_found_as_people_write_them() {
    let mut pipe = bound("lsarpc");
    let handle = policy(&mut pipe);
    for name in [
        "ANNA",
        "office\\anna",
        "anna@OFFICE",
        "WORKGROUP\\anna",
        "BUILTIN\\users",
        "office\\none",
        "OFFICE",
        "builtin\\",
    ] {
        let stub = call(&mut pipe, &look_up_names(58, &handle, &[name]));
        assert_eq!(result_of(&stub), 0, "{name}");
    }
    for name in [
        "BUILTIN\\anna",
        "elsewhere\\anna",
        "office\\users",
        "nobody",
        "",
    ] {
        let stub = call(&mut pipe, &look_up_names(14, &handle, &[name]));
        assert_eq!(result_of(&stub), 0xC000_0073, "{name}");
    }
}

#[test]
fn whoever_has_not_signed_in_learns_nothing() {
    let mut pipe = bound("lsarpc");
    pipe.context = office_without_user();
    let stub = call(&mut pipe, &open_policy());
    assert_eq!(result_of(&stub), 0xC000_0022);
    assert_eq!(stub[..20], [0; 20]);
    let lookup = look_up_sids(57, &Handle::default(), &[Sid::USERS]);
    assert_eq!(fault_of(&mut pipe, &lookup), FAULT_HANDLE);
}

#[test]
fn a_closed_handle_is_of_no_more_use() {
    let mut pipe = bound("lsarpc");
    let handle = policy(&mut pipe);
    let closed = call(&mut pipe, &request(0, &handle));
    assert_eq!(
        (closed[..20].to_vec(), result_of(&closed)),
        (vec![0; 20], 0)
    );
    assert_eq!(fault_of(&mut pipe, &request(0, &handle)), FAULT_HANDLE);
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let mut pipe = bound("lsarpc");
    let handle = policy(&mut pipe);
    for words in [
        [1, 1, 2],
        [1001, 1, 1001],
        [u32::MAX, 1, u32::MAX],
        [1, 1, 1],
    ] {
        let mut stub = handle.to_vec();
        put_words(&words, &mut stub);
        assert_eq!(
            fault_of(&mut pipe, &request(57, &stub)),
            FAULT_STUB,
            "{words:?}"
        );
    }
    // A SID of sixteen sub-authorities, and one whose two counts differ.
    for (count, inner) in [(16, 16), (2, 1)] {
        let mut stub = handle.to_vec();
        put_words(&[1, 1, 1, 1, count], &mut stub);
        stub.put(&[1, inner]);
        stub.put_zeros(100);
        assert_eq!(fault_of(&mut pipe, &request(57, &stub)), FAULT_STUB);
    }
}

#[test]
fn the_policy_names_the_machine_and_its_domain() {
    let mut pipe = bound("lsarpc");
    let handle = policy(&mut pipe);
    for (class, text, result) in [
        (3_u32, "WORKGROUP", 0),
        (5, "OFFICE", 0),
        (6, "", 0),
        (12, "WORKGROUP", 0),
        (99, "", 0xC000_0003),
    ] {
        let mut stub = handle.to_vec();
        stub.put_u32(class);
        let answer = call(&mut pipe, &request(46, &stub));
        assert_eq!(result_of(&answer), result, "{class}");
        assert!(text.is_empty() || has(&answer, text), "{class}");
    }
    let mut r = Reader::new(&handle);
    assert_eq!(r.u32(), Ok(0), "no attributes");
}
