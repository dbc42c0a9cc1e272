//! Whole conversations on a pipe.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "the numbers are the test's own"
)]

use strongroom_identity::{AccountDomain, AccountKind};

use super::*;
use crate::wire::codec::{Put, Reader, len16, len32};
use crate::wire::utf16::put_utf16;

struct Office {
    shares: Vec<RpcShare>,
    /// Nobody has signed in.
    anonymous: bool,
}

const MACHINE: Sid = Sid::machine([1, 2, 3]);

impl Office {
    fn sid(rid: u32) -> Sid {
        MACHINE.with_rid(rid).unwrap()
    }
}

impl PipeContext for Office {
    fn server_name(&self) -> String {
        "OFFICE".to_owned()
    }

    fn domain(&self) -> String {
        "WORKGROUP".to_owned()
    }

    fn comment(&self) -> String {
        "Files".to_owned()
    }

    fn shares(&self) -> Vec<RpcShare> {
        self.shares.clone()
    }

    /// 2024-02-29 12:34:56, a Thursday.
    fn unix_time(&self) -> i64 {
        1_709_210_096
    }

    fn user(&self) -> Option<Sid> {
        (!self.anonymous).then(|| Self::sid(1000))
    }

    fn machine_sid(&self) -> Sid {
        MACHINE
    }

    fn sid_name(&self, sid: &Sid) -> Option<SidName> {
        let (name, domain, kind) = match sid {
            sid if *sid == Self::sid(1000) => ("anna", AccountDomain::Machine, AccountKind::User),
            sid if *sid == Self::sid(1001) => ("sales", AccountDomain::Machine, AccountKind::Alias),
            sid if *sid == Sid::USERS => ("Users", AccountDomain::BuiltIn, AccountKind::Alias),
            sid if *sid == Sid::EVERYONE => (
                "Everyone",
                AccountDomain::WellKnown,
                AccountKind::WellKnownGroup,
            ),
            _ => return None,
        };
        Some(SidName {
            name: name.to_owned(),
            domain,
            kind,
        })
    }

    fn sid_of(&self, name: &str) -> Option<Sid> {
        match name.to_lowercase().as_str() {
            "anna" => Some(Self::sid(1000)),
            "sales" => Some(Self::sid(1001)),
            "users" => Some(Sid::USERS),
            "everyone" => Some(Sid::EVERYONE),
            _ => None,
        }
    }

    fn users(&self) -> Vec<User> {
        vec![User {
            sid: Self::sid(1000),
            name: "anna".to_owned(),
            admin: false,
            disabled: false,
            groups: vec![Self::sid(1001)],
        }]
    }

    fn groups(&self) -> Vec<Group> {
        let group = |sid, name: &str, built_in| Group {
            sid,
            name: name.to_owned(),
            members: vec![Self::sid(1000)],
            built_in,
        };
        vec![
            group(Self::sid(1001), "sales", false),
            group(Sid::USERS, "Users", true),
        ]
    }
}

fn share(name: &str, kind: RpcShareKind) -> RpcShare {
    RpcShare {
        name: name.to_owned(),
        kind,
        comment: "c".to_owned(),
        path: "C:\\x".to_owned(),
    }
}

fn office(shares: Vec<RpcShare>) -> Arc<dyn PipeContext> {
    Arc::new(Office {
        shares,
        anonymous: false,
    })
}

pub(super) fn office_without_user() -> Arc<dyn PipeContext> {
    Arc::new(Office {
        shares: Vec::new(),
        anonymous: true,
    })
}

fn open(name: &str) -> Pipe {
    let shares = vec![
        share("files", RpcShareKind::Disk),
        share("IPC$", RpcShareKind::Ipc),
    ];
    Pipe::open(name, office(shares)).unwrap()
}

fn pdu(kind: u8, flags: u8, call_id: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
    out.put_u16(len16(body.len() + 16));
    out.put_u16(0);
    out.put_u32(call_id);
    out.put(body);
    out
}

fn bind_to(interfaces: &[(Guid, u32)]) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u16(4280);
    body.put_u16(4280);
    body.put_u32(0);
    body.put_u32(len32(interfaces.len()));
    for (id, (interface, version)) in (0u16..).zip(interfaces) {
        body.put_u16(id);
        body.put_u16(1);
        body.put(&interface.0);
        body.put_u32(*version);
        // The transfer syntax NDR 2.0 (C706, annex I).
        body.put(&[0x04, 0x5D, 0x88, 0x8A, 0xEB, 0x1C, 0xC9, 0x11]);
        body.put(&[0x9F, 0xE8, 0x08, 0x00, 0x2B, 0x10, 0x48, 0x60]);
        body.put_u32(2);
    }
    pdu(11, 3, 1, &body)
}

pub(super) fn request(opnum: u16, stub: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u32(len32(stub.len()));
    body.put_u16(0);
    body.put_u16(opnum);
    body.put(stub);
    pdu(0, 3, 2, &body)
}

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    let units = len32(text.encode_utf16().count() + 1);
    out.pad_to(0, 4);
    [units, 0, units].iter().for_each(|n| out.put_u32(*n));
    put_utf16(text, out);
    out.put_u16(0);
    out.pad_to(0, 4);
}

pub(super) fn put_words(words: &[u32], out: &mut Vec<u8>) {
    words.iter().for_each(|word| out.put_u32(*word));
}

/// Whether a text is anywhere in an answer.
pub(super) fn has(stub: &[u8], text: &str) -> bool {
    let mut name = Vec::new();
    put_utf16(text, &mut name);
    stub.windows(name.len()).any(|window| window == name)
}

/// The unique server name with which every call begins.
fn server_name() -> Vec<u8> {
    let mut stub = Vec::new();
    stub.put_u32(0x0002_0000);
    string("\\\\office", &mut stub);
    stub
}

fn share_enum(level: u32) -> Vec<u8> {
    let mut stub = server_name();
    for value in [level, level, 0x0002_0004, 0, 0, u32::MAX, 0x0002_0008, 0] {
        stub.put_u32(value);
    }
    request(15, &stub)
}

pub(super) fn bound(name: &str) -> Pipe {
    let mut pipe = open(name);
    let (id, version) = (pipe.interface.id, pipe.interface.version);
    let ack = pipe
        .transceive(&bind_to(&[(id, version)]), 4280)
        .unwrap()
        .unwrap();
    assert_eq!(ack.data[2], 12, "a BIND_ACK");
    pipe
}

/// The stub of the answer, over all of its fragments.
pub(super) fn call(pipe: &mut Pipe, request: &[u8]) -> Vec<u8> {
    pipe.write(request).unwrap();
    let mut stub = Vec::new();
    while let Some(read) = pipe.read(usize::MAX).unwrap() {
        assert_eq!(read.data[2], 2, "a RESPONSE");
        assert!(read.data.len() <= 4280);
        stub.extend_from_slice(&read.data[24..]);
    }
    stub
}

pub(super) fn result_of(stub: &[u8]) -> u32 {
    u32::from_le_bytes(*stub.last_chunk().unwrap())
}

pub(super) fn fault_of(pipe: &mut Pipe, request: &[u8]) -> u32 {
    let read = pipe.transceive(request, 4280).unwrap().unwrap();
    assert_eq!(read.data[2], 3, "a FAULT");
    u32::from_le_bytes(read.data[24..28].try_into().unwrap())
}

#[test]
fn opens_known_pipes_only_in_any_spelling() {
    let office: Arc<dyn PipeContext> = office(Vec::new());
    for name in [
        "srvsvc",
        "SRVSVC",
        "\\srvsvc",
        "\\PIPE\\wkssvc",
        "PIPE\\srvsvc",
    ] {
        assert!(Pipe::open(name, Arc::clone(&office)).is_some(), "{name}");
    }
    for name in ["", "spoolss", "srvsvc\\x", "netlogon"] {
        assert!(Pipe::open(name, Arc::clone(&office)).is_none(), "{name}");
    }
}

/// C706 12.6.4.4: the secondary address, one result for each context.
#[test]
fn a_bind_is_answered_context_by_context() {
    let mut pipe = open("srvsvc");
    let srvsvc = (pipe.interface.id, 3);
    let bind = bind_to(&[srvsvc, (Guid([1; 16]), 1), (srvsvc.0, 4)]);
    let ack = pipe.transceive(&bind, 4280).unwrap().unwrap().data;
    let mut r = Reader::new(&ack[24..]);
    assert_eq!(r.u16(), Ok(13));
    assert_eq!(r.take(13), Ok(&b"\\PIPE\\srvsvc\0"[..]));
    r.skip(1).unwrap();
    assert_eq!(r.u32(), Ok(3));
    let results: Vec<_> = ack[44..]
        .as_chunks::<24>()
        .0
        .iter()
        .map(|result| result[0])
        .collect();
    assert_eq!(results, [0, 2, 2]);
}

#[test]
fn lists_shares_at_every_level_that_clients_ask_for() {
    for level in [0, 1, 2, 501, 502] {
        let stub = call(&mut bound("srvsvc"), &share_enum(level));
        let mut r = Reader::new(&stub);
        assert_eq!((r.u32(), r.u32()), (Ok(level), Ok(level)));
        r.skip(4).unwrap();
        assert_eq!(r.u32(), Ok(2), "two shares");
        assert!(has(&stub, "files\0"));
        assert_eq!(result_of(&stub), 0);
    }
}

/// The whole answer to NetrShareEnum at level 1, laid out by hand from MS-SRVS 2.2.4.23 and C706 14.
#[test]
fn level_one_is_laid_out_as_ndr_demands() {
    let shares = vec![share("a", RpcShareKind::Disk)];
    let mut pipe = bound("srvsvc");
    pipe.context = office(shares);
    let stub = call(&mut pipe, &share_enum(1));
    let words: Vec<u32> = stub
        .as_chunks::<4>()
        .0
        .iter()
        .map(|w| u32::from_le_bytes(*w))
        .collect();
    let a = u32::from(b'a');
    let c = u32::from(b'c');
    let expected = [
        1, 1, 0x20004, 1, 0x20008, 1, 0x2000C, 0, 0x20010, // container, array, pointers
        2, 0, 2, a, 2, 0, 2, c, // name and remark with their terminators
        1, 0x20014, 0, 0, // total, resume handle, result
    ];
    assert_eq!(words, expected);
}

#[test]
fn refuses_levels_it_does_not_have() {
    assert_eq!(
        result_of(&call(&mut bound("srvsvc"), &share_enum(503))),
        124
    );
}

#[test]
fn tells_about_one_share_or_that_there_is_none() {
    for (name, level, result) in [("FILES", 1, 0), ("none", 1, 2310), ("files", 77, 124)] {
        let mut stub = server_name();
        string(name, &mut stub);
        stub.put_u32(level);
        assert_eq!(
            result_of(&call(&mut bound("srvsvc"), &request(16, &stub))),
            result,
            "{name}"
        );
    }
}

#[test]
fn tells_about_the_server_and_the_workstation() {
    for (pipe, opnum) in [("srvsvc", 21), ("wkssvc", 0)] {
        for (level, result) in [(100, 0), (101, 0), (102, 0), (103, 124)] {
            let mut stub = server_name();
            stub.put_u32(level);
            let answer = call(&mut bound(pipe), &request(opnum, &stub));
            assert_eq!(result_of(&answer), result, "{pipe} {level}");
        }
    }
}

/// MS-SRVS 2.2.4.105: the fields of TIME_OF_DAY_INFO in their order.
#[test]
fn tells_the_time_of_day() {
    let stub = call(&mut bound("srvsvc"), &request(28, &server_name()));
    let words: Vec<u32> = stub
        .as_chunks::<4>()
        .0
        .iter()
        .map(|w| u32::from_le_bytes(*w))
        .collect();
    assert_eq!(
        words[1..],
        [1_709_210_096, 0, 12, 34, 56, 0, 0, 310, 29, 2, 2024, 4, 0]
    );
}

#[test]
fn a_long_list_comes_in_fragments() {
    let mut pipe = bound("srvsvc");
    let name = |n: usize| share(&format!("share number {n}"), RpcShareKind::Disk);
    pipe.context = office((0..500).map(name).collect());
    pipe.write(&share_enum(1)).unwrap();
    assert!(pipe.output.len() > 5);
    let (first, last) = (&pipe.output[0], pipe.output.back().unwrap());
    assert_eq!(
        (first[3], last[3]),
        (1, 2),
        "flags of the first and the last fragment"
    );
    let shares = call(&mut pipe, &[]);
    assert_eq!(result_of(&shares), 0);
}

/// A read smaller than the message leaves the rest of it for the next read.
#[test]
fn a_message_is_read_in_pieces() {
    let mut pipe = bound("srvsvc");
    let first = pipe.transceive(&share_enum(1), 10).unwrap().unwrap();
    assert!(first.more && first.data.len() == 10);
    let rest = pipe.read(4280).unwrap().unwrap();
    assert!(!rest.more);
    assert_eq!(pipe.read(4280).unwrap(), None);
    assert_eq!(pipe.available(), (0, 0));
}

#[test]
fn requests_may_come_byte_by_byte_and_in_fragments() {
    let whole = share_enum(1);
    let expected = call(&mut bound("srvsvc"), &whole);
    let mut pipe = bound("srvsvc");
    whole.iter().for_each(|byte| pipe.write(&[*byte]).unwrap());
    assert_eq!(call(&mut pipe, &[]), expected);

    let (one, two) = whole[24..].split_at(16);
    let fragment = |flags, stub: &[u8]| {
        let mut body = vec![0, 0, 0, 0, 0, 0, 15, 0];
        body.put(stub);
        pdu(0, flags, 9, &body)
    };
    pipe.write(&fragment(1, one)).unwrap();
    assert_eq!(call(&mut pipe, &fragment(2, two)), expected);
}

#[test]
fn faults_answer_what_cannot_be_called() {
    let mut pipe = bound("srvsvc");
    assert_eq!(fault_of(&mut pipe, &request(99, &[])), FAULT_OPNUM);
    assert_eq!(fault_of(&mut pipe, &request(15, &[1, 2, 3])), FAULT_STUB);
    assert_eq!(
        fault_of(&mut open("srvsvc"), &share_enum(1)),
        FAULT_INTERFACE,
        "never bound"
    );
}

#[test]
fn what_is_no_rpc_breaks_the_pipe() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[5, 0, 0, 3, 0x00, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 0, 3, 0x10, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 0, 3, 0x10, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0],
        &[5, 0, 77, 3, 0x10, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut pipe = bound("srvsvc");
        assert!(
            matches!(pipe.write(bytes), Err(PipeError::Broken(_))),
            "{bytes:?}"
        );
        assert!(matches!(
            pipe.write(&share_enum(1)),
            Err(PipeError::Broken(_))
        ));
        assert!(matches!(pipe.read(100), Err(PipeError::Broken(_))));
    }
}

#[test]
fn a_client_that_never_reads_is_stopped() {
    let mut pipe = bound("srvsvc");
    let name = |n: usize| share(&format!("share number {n}"), RpcShareKind::Disk);
    pipe.context = office((0..2000).map(name).collect());
    let stopped = (0..200).any(|_| pipe.write(&share_enum(1)) == Err(PipeError::Full));
    assert!(stopped);
}

#[test]
fn refuses_strings_with_impossible_bounds() {
    for bounds in [
        [2, 1, 2],
        [1, 0, 2],
        [u32::MAX, 0, u32::MAX],
        [5000, 0, 5000],
    ] {
        let mut stub = Vec::new();
        stub.put_u32(1);
        bounds.iter().for_each(|n| stub.put_u32(*n));
        stub.put_zeros(64);
        assert_eq!(
            fault_of(&mut bound("wkssvc"), &request(0, &stub)),
            FAULT_STUB
        );
    }
}

/// Every operation of every interface, with parameters cut and twisted behind a handle that is good.
#[test]
fn no_parameters_break_an_operation() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for name in ["srvsvc", "wkssvc", "lsarpc", "samr"] {
        let mut pipe = bound(name);
        let objects = [
            handles::Object::Policy,
            handles::Object::Server,
            handles::Object::Domain(MACHINE),
            handles::Object::User(Office::sid(1000)),
            handles::Object::Alias(Office::sid(1001)),
        ];
        let open = objects.map(|object| pipe.handles.open(object).unwrap());
        for round in 0..20_000_usize {
            let opnum = u16::try_from(next() % 72).unwrap();
            let mut stub = open[round % open.len()].to_vec();
            for _ in 0..next() % 24 {
                let words = [0, 1, 2, 1000, u32::MAX, 0x0002_0000, 16, 0x10_0010];
                stub.put_u32(words[usize::try_from(next() % 8).unwrap()]);
            }
            stub.truncate(stub.len() - usize::try_from(next() % 4).unwrap());
            pipe.write(&request(opnum, &stub)).unwrap();
            while pipe.read(usize::MAX).unwrap().is_some() {}
        }
    }
}
