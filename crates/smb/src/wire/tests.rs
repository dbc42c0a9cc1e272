//! Claims about single structures, and bytes published by others.
//!
//! Round trips and hostile bytes of all messages are in `tests/hostile.rs`.

use super::codec::{Codec, Put, WireError, padding};
use super::compound::{Compound, link_next};
use super::fscc::directory::{DirectoryEntry, DirectoryWriter, decode_entries, fixed_len};
use super::fscc::ea::FullEa;
use super::fscc::fsctl::{NetworkInterface, SnapshotArray};
use super::fscc::list::ListWriter;
use super::fscc::names::{HardLinkInfo, LinkEntry, StreamEntry};
use super::fscc::notify::{NotifyAction, NotifyEntry};
use super::header::{HEADER_LEN, HeaderMut, Packet};
use super::info::{Buffer, FileInfoClass, FsInfoClass};
use super::negotiate::{Capabilities, Dialect, NegotiateRequest, NegotiateResponse};
use super::negotiate_context::{Cipher, HashAlgorithm, NegotiateContext};
use super::read::{ReadResponse, ReadSlot};
use super::session::{SessionSetupRequest, SessionSetupResponse};
use super::simple::Empty;
use super::smb1::{DIALECT_SMB_2_002, DIALECT_SMB_2_WILDCARD, Smb1Negotiate};
use super::transport::{FrameHead, frame_head, parse_frame_head, split_frame};
use super::utf16::{put_utf16, utf16_len, utf16_to_string};
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.as_chunks::<2>().0.iter();
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The packets that Microsoft published with "SMB 3.1.1 Pre-authentication integrity in Windows 10",
/// Open Specifications blog, 2015.
mod golden {
    pub(super) const NEGOTIATE_REQUEST: &str = "
        FE534D4240000100000000000000800000000000000000000100000000000000FFFE000000000000
        00000000000000000000000000000000000000000000000024000500000000003F000000ECD86F32
        6276024F9F7752B89BB33F3A70000000020000000202100200030203110300000100260000000000
        010020000100FA49E6578F1F3A9F4CD3E9CC14A67AA884B3D05844E0E5A118225C15887F32FF0000
        0200060000000000020002000100";
    pub(super) const NEGOTIATE_RESPONSE: &str = "
        FE534D4240000100000000000000010001000000000000000100000000000000FFFE000000000000
        000000000000000000000000000000000000000000000000410001001103020039CBCAF329714942
        BDCE5D60F09AB3FB2F000000000080000000800000008000D8DAE5ADCBAED00109094AB095AED001
        80004001C00100006082013C06062B0601050502A08201303082012CA01A3018060A2B0601040182
        3702021E060A2B06010401823702020AA282010C048201084E45474F455854530100000000000000
        60000000700000007C7CC0FD06D6362D02DDE1CF343BFE292900F49750B4AA97934D9C4296B26E51
        FD370471B235E15A50DAE15BD5489C87000000000000000060000000010000000000000000000000
        5C33530DEAF90D4DB2EC4AE3786EC3084E45474F4558545303000000010000004000000098000000
        7C7CC0FD06D6362D02DDE1CF343BFE295C33530DEAF90D4DB2EC4AE3786EC3084000000058000000
        3056A05430523027802530233121301F06035504031318546F6B656E205369676E696E6720507562
        6C6963204B65793027802530233121301F06035504031318546F6B656E205369676E696E67205075
        626C6963204B6579010026000000000001002000010060A3C3B95C3C7CCD51EC536648D9B3AC74C4
        83CA5B65385A251117BEB30712E50000020004000000000001000200";
    pub(super) const SESSION_SETUP_REQUEST: &str = "
        FE534D4240000100000000000100800000000000000000000200000000000000FFFE000000000000
        00000000000000000000000000000000000000000000000019000001010000000000000058004A00
        0000000000000000604806062B0601050502A03E303CA00E300C060A2B06010401823702020AA22A
        04284E544C4D5353500001000000978208E200000000000000000000000000000000060380250000
        000F";
    pub(super) const SESSION_SETUP_RESPONSE: &str = "
        FE534D4240000100000000000100800009000000000000000300000000000000FFFE000000000000
        1900000000100000EBE146DA120BA25FC3376A49DFE31BC10900000048001D00A11B3019A0030A01
        00A3120410010000003B453CDC3524164200000000";
}

/// Decodes the one message of a published packet and encodes it again.
fn golden<'a, T: Codec<'a>>(packet: &'a [u8]) -> (Header, T) {
    let element = Compound::new(packet).next().unwrap().unwrap();
    let body = T::decode(element.body).unwrap();
    let mut again = element.header.to_bytes().to_vec();
    body.encode(&mut again);
    assert_eq!(again, packet);
    (element.header, body)
}

#[test]
fn reads_and_writes_the_negotiate_request_that_microsoft_published() {
    let packet = hex(golden::NEGOTIATE_REQUEST);
    let (header, request) = golden::<NegotiateRequest<'_>>(&packet);
    assert_eq!(header.command, Command::Negotiate);
    assert_eq!(header.message_id, MessageId(1));
    use Dialect::{Smb202, Smb210, Smb300, Smb302, Smb311};
    assert_eq!(request.dialects, [Smb202, Smb210, Smb300, Smb302, Smb311]);
    assert!(
        request
            .capabilities
            .contains(Capabilities::LEASING | Capabilities::DIRECTORY_LEASING)
    );
    let [
        NegotiateContext::PreauthIntegrity { algorithms, salt },
        encryption,
    ] = &request.contexts[..]
    else {
        panic!("{:?}", request.contexts)
    };
    assert_eq!(
        (&algorithms[..], salt.len()),
        (&[HashAlgorithm::Sha512][..], 32)
    );
    let ciphers = vec![Cipher::Aes128Gcm, Cipher::Aes128Ccm];
    assert_eq!(*encryption, NegotiateContext::Encryption(ciphers));
}

#[test]
fn reads_and_writes_the_negotiate_response_that_microsoft_published() {
    let packet = hex(golden::NEGOTIATE_RESPONSE);
    let (header, response) = golden::<NegotiateResponse<'_>>(&packet);
    assert!(header.is_response());
    assert_eq!(
        (response.dialect, response.max_read_size),
        (Dialect::Smb311, 0x0080_0000)
    );
    assert_eq!(response.security_buffer.len(), 0x140);
    assert_eq!(
        response.contexts[1],
        NegotiateContext::Encryption(vec![Cipher::Aes128Gcm])
    );
}

#[test]
fn reads_and_writes_the_session_setups_that_microsoft_published() {
    let packet = hex(golden::SESSION_SETUP_REQUEST);
    let (_, request) = golden::<SessionSetupRequest<'_>>(&packet);
    assert_eq!(request.security_buffer.len(), 0x4A);
    let packet = hex(golden::SESSION_SETUP_RESPONSE);
    let (header, response) = golden::<SessionSetupResponse<'_>>(&packet);
    assert_eq!(header.session_id, SessionId(0x1000_0000_0019));
    assert!(header.flags.contains(HeaderFlags::SIGNED));
    assert_eq!(response.security_buffer.first(), Some(&0xA1));
}

/// The padding of the request's own list ends at its last context, so a cut there must be refused.
#[test]
fn refuses_a_published_packet_cut_at_every_byte() {
    let packet = hex(golden::NEGOTIATE_REQUEST);
    for end in 0..packet.len() {
        let mut elements = Compound::new(&packet[..end]);
        let whole = elements
            .next()
            .is_some_and(|e| e.is_ok_and(|e| NegotiateRequest::decode(e.body).is_ok()));
        assert!(!whole, "cut to {end}");
    }
}

#[test]
fn tells_protocols_apart() {
    assert!(matches!(
        Packet::parse(b"\xFESMB rest"),
        Ok(Packet::Smb2(_))
    ));
    assert!(matches!(
        Packet::parse(b"\xFFSMB rest"),
        Ok(Packet::Smb1(_))
    ));
    assert!(matches!(
        Packet::parse(b"\xFCSMB rest"),
        Ok(Packet::Compressed(_))
    ));
    assert!(Packet::parse(b"HTTP/1.1").is_err());
    assert!(Packet::parse(b"\xFES").is_err());
}

#[test]
fn refuses_an_encrypted_message_of_another_length() {
    let header = header::TransformHeader {
        signature: [0; 16],
        nonce: [0; 16],
        original_size: 64,
        flags: 1,
        session_id: SessionId(1),
    };
    let mut frame = header.to_vec();
    frame.put_zeros(64);
    assert!(
        matches!(Packet::parse(&frame), Ok(Packet::Encrypted(_, cipher)) if cipher.len() == 64)
    );
    frame.push(0);
    assert!(Packet::parse(&frame).is_err());
    frame.truncate(100);
    assert!(Packet::parse(&frame).is_err());
}

#[test]
fn offers_of_an_smb1_negotiate_are_found() {
    let dialects = vec![&b"NT LM 0.12"[..], DIALECT_SMB_2_002];
    let bytes = Smb1Negotiate { dialects }.to_vec();
    let negotiate = Smb1Negotiate::decode(&bytes).unwrap();
    assert!(negotiate.offers(DIALECT_SMB_2_002));
    assert!(!negotiate.offers(DIALECT_SMB_2_WILDCARD));
}

#[test]
fn refuses_frames_that_are_empty_too_long_or_foreign() {
    assert_eq!(
        parse_frame_head(frame_head(64), 64),
        Ok(FrameHead::Message(64))
    );
    assert_eq!(
        parse_frame_head([0x85, 0, 0, 0], 64),
        Ok(FrameHead::KeepAlive)
    );
    assert!(parse_frame_head(frame_head(65), 64).is_err());
    assert!(parse_frame_head([0; 4], 64).is_err());
    assert!(parse_frame_head(*b"GET ", 1 << 24).is_err());
    assert_eq!(split_frame(b"\0\0\0\x02ab+", 64), Ok(Some((&b"ab"[..], 6))));
    assert_eq!(split_frame(b"\0\0\0\x02a", 64), Ok(None));
}

fn two_messages() -> Vec<u8> {
    let mut frame = Header::request(Command::Echo, MessageId(1))
        .to_bytes()
        .to_vec();
    Empty.encode(&mut frame);
    link_next(&mut frame, 0);
    Header::request(Command::Logoff, MessageId(2)).encode(&mut frame);
    Empty.encode(&mut frame);
    frame
}

#[test]
fn walks_a_compound_with_its_padding() {
    let frame = two_messages();
    let elements: Vec<_> = Compound::new(&frame).collect::<Result<_, _>>().unwrap();
    let [echo, logoff] = &elements[..] else {
        panic!("two messages")
    };
    assert!(echo.first && !echo.last && !logoff.first && logoff.last);
    assert_eq!(
        (echo.raw.len(), echo.body.len(), logoff.body.len()),
        (72, 8, 4)
    );
    assert_eq!(
        (echo.header.command, logoff.header.command),
        (Command::Echo, Command::Logoff)
    );
}

#[test]
fn refuses_compounds_that_are_unaligned_or_point_outside() {
    for next in [1, 8, 60, 68, 136, 0x7FFF_FFF8, u32::MAX] {
        let mut frame = two_messages();
        HeaderMut::new(&mut frame).unwrap().set_next_command(next);
        let bad = Compound::new(&frame).any(|element| element.is_err());
        assert!(bad, "{next}");
        assert!(Compound::new(&frame).count() <= 2, "it ends after an error");
    }
}

#[test]
fn header_fields_are_patched_in_place() {
    let mut bytes = Header::request(Command::Read, MessageId(9)).to_bytes();
    let mut header = HeaderMut::new(&mut bytes).unwrap();
    header.set_status(NtStatus::PENDING);
    header.set_credits(17);
    header.set_flags(HeaderFlags::SIGNED);
    header.set_session_id(SessionId(3));
    header.set_signature(&[7; 16]);
    assert_eq!(header.flags(), HeaderFlags::SIGNED);
    let read = Header::decode(&bytes).unwrap();
    assert_eq!((read.status, read.credits), (NtStatus::PENDING, 17));
    assert_eq!((read.session_id, read.signature), (SessionId(3), [7; 16]));
    assert_eq!(
        (read.command, read.message_id),
        (Command::Read, MessageId(9))
    );
}

#[test]
fn a_read_is_laid_out_in_one_piece() {
    let mut out = frame_head(0).to_vec();
    out.extend(Header::request(Command::Read, MessageId(1)).to_bytes());
    let slot = ReadSlot::begin(&mut out);
    out.put_zeros(100);
    slot.payload(&mut out)[..5].copy_from_slice(b"hello");
    slot.finish(&mut out, 5);
    assert_eq!(out.len(), 4 + HEADER_LEN + 16 + 5);
    let response = ReadResponse::decode(&out[4 + HEADER_LEN..]).unwrap();
    assert_eq!(response.data, b"hello");
}

#[test]
fn a_buffer_is_filled_in_place() {
    let mut out = vec![0; HEADER_LEN];
    let slot = Buffer::begin(&mut out);
    out.put(b"entries");
    Buffer::finish(slot, &mut out);
    assert_eq!(
        Buffer::decode(&out[HEADER_LEN..]),
        Ok(Buffer { data: b"entries" })
    );
}

#[test]
fn refuses_fields_that_overlap_the_fixed_part() {
    let setup = SessionSetupResponse {
        flags: session::SessionFlags::NONE,
        security_buffer: b"token",
    };
    let mut bytes = setup.to_vec();
    for offset in [0u16, 63, 64, 71, 73, 0xFFFF] {
        bytes[4..6].copy_from_slice(&offset.to_le_bytes());
        assert_eq!(
            SessionSetupResponse::decode(&bytes),
            Err(WireError::Bounds),
            "{offset}"
        );
    }
}

/// MS-SMB2 2.2.13.2: what a chain of create contexts must not do.
#[test]
fn refuses_malformed_chains_of_create_contexts() {
    let mut contexts = create_context::CreateContexts::default();
    contexts.push_request(&create_context::RequestContext::OnDiskId);
    contexts.push_request(&create_context::RequestContext::DurableRequest);
    let mut bytes = Vec::new();
    contexts.encode(&mut bytes);
    assert_eq!(create_context::decode_list(&bytes).unwrap(), contexts);
    let spoil = |at: usize, value: u16| {
        let mut bad = bytes.clone();
        bad[at..at + 2].copy_from_slice(&value.to_le_bytes());
        assert!(
            create_context::decode_list(&bad).is_err(),
            "{value} at {at}"
        );
    };
    let len = u16::try_from(bytes.len()).unwrap();
    for next in [1, 8, 20, 0xFFF8, len] {
        spoil(0, next);
    }
    spoil(4, 0);
    spoil(6, 3);
    spoil(6, 0xFFFF);
    spoil(24 + 10, 1);
    spoil(24 + 12, 0xFFFF);
}

#[test]
fn every_sequence_of_utf16_units_comes_back() {
    let units = [
        0x41, 0xD800, 0xDC00, 0xD83D, 0x42, 0xDE00, 0xDFFF, 0xD800, 0xDBBC, 0xDC00, 0xDBBD, 0xDFFF,
        0xFFFF, 0,
    ];
    for start in 0..units.len() {
        for end in start..units.len() {
            let bytes: Vec<u8> = units[start..end]
                .iter()
                .flat_map(|u: &u16| u.to_le_bytes())
                .collect();
            let text = utf16_to_string(&bytes);
            let mut again = Vec::new();
            put_utf16(&text, &mut again);
            assert_eq!(again, bytes);
            assert_eq!(utf16_len(&text), bytes.len());
        }
    }
    assert_eq!(utf16_to_string(&[0x00, 0xD8]), "\u{FF000}");
    assert_eq!(Utf16::from("ä😀").to_string(), "ä😀");
    assert!(Utf16::from_bytes(b"odd").is_err());
}

/// MS-DTYP 2.3.3 counts from 1601; 11644473600 seconds lie before 1970.
#[test]
fn file_times_convert_both_ways() {
    assert_eq!(FileTime::from_unix(0, 0).0, 116_444_736_000_000_000);
    let blog = FileTime(0x01D0_AECB_ADE5_DAD8);
    let (seconds, nanos) = blog.to_unix().unwrap();
    assert_eq!(FileTime::from_unix(seconds, nanos), blog);
    let early = FileTime::from_unix(-1, 500_000_000);
    assert_eq!(early.to_unix(), Some((-1, 500_000_000)));
    for order in [FileTime::UNCHANGED, FileTime::FREEZE, FileTime::THAW] {
        assert_eq!(order.to_unix(), None);
    }
    assert_eq!(FileTime::from_unix(i64::MIN, 0).0, 0);
    assert_eq!(FileTime::from_unix(i64::MAX, 0).0, i64::MAX.unsigned_abs());
}

fn entries() -> [DirectoryEntry<'static>; 3] {
    let entry = DirectoryEntry {
        name: ".",
        created: FileTime(1),
        accessed: FileTime(2),
        written: FileTime(3),
        changed: FileTime(4),
        end_of_file: 5,
        allocation_size: 6,
        attributes: 0x10,
        file_id: 7,
        ..Default::default()
    };
    let long = DirectoryEntry {
        name: "Übersicht 2024.txt",
        short_name: "BERSI~1.TXT",
        ..entry
    };
    [
        entry,
        long,
        DirectoryEntry {
            name: "x",
            ea_size: 9,
            ..entry
        },
    ]
}

fn directory_classes() -> impl Iterator<Item = FileInfoClass> {
    FileInfoClass::ALL
        .iter()
        .copied()
        .filter(|class| fixed_len(*class).is_some())
}

#[test]
fn every_directory_class_carries_what_it_has_room_for() {
    for class in directory_classes() {
        let mut out = b"odd".to_vec();
        let mut writer = DirectoryWriter::new(&mut out, class, 4096).unwrap();
        entries()
            .iter()
            .for_each(|entry| assert!(writer.push(entry)));
        let decoded = decode_entries(class, &out[3..]).unwrap();
        let names: Vec<_> = decoded.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, [".", "Übersicht 2024.txt", "x"], "{class:?}");
        if class == FileInfoClass::Names {
            continue;
        }
        assert_eq!(decoded[1].times, [1, 2, 3, 4].map(FileTime));
        assert_eq!((decoded[1].end_of_file, decoded[1].allocation_size), (5, 6));
        let with_id = format!("{class:?}").starts_with("Id");
        assert_eq!(decoded[1].file_id, if with_id { 7 } else { 0 }, "{class:?}");
        let with_short = format!("{class:?}").contains("Both");
        assert_eq!(decoded[1].short_name.is_empty(), !with_short, "{class:?}");
    }
}

/// MS-FSCC 2.4: the fixed lengths that clients rely on, and the alignment of 8.
#[test]
fn directory_entries_are_aligned_and_stay_within_the_buffer() {
    for class in directory_classes() {
        for max in 0..600 {
            let mut out = Vec::new();
            let mut writer = DirectoryWriter::new(&mut out, class, max).unwrap();
            let count = entries()
                .iter()
                .take_while(|entry| writer.push(entry))
                .count();
            assert_eq!(writer.is_empty(), count == 0);
            assert!(out.len() <= max);
            assert_eq!(
                decode_entries(class, &out).unwrap().len(),
                count,
                "{class:?} in {max}"
            );
        }
    }
}

#[test]
fn a_reparse_point_shows_its_tag_where_the_class_has_no_field_for_it() {
    let entry = DirectoryEntry {
        name: "l",
        reparse_tag: 0xA000_000C,
        ..Default::default()
    };
    for (class, ea, tag) in [
        (FileInfoClass::IdBothDirectory, 0xA000_000C, 0),
        (FileInfoClass::IdExtdDirectory, 0, 0xA000_000C),
    ] {
        let mut out = Vec::new();
        assert!(
            DirectoryWriter::new(&mut out, class, 500)
                .unwrap()
                .push(&entry)
        );
        let decoded = &decode_entries(class, &out).unwrap()[0];
        assert_eq!((decoded.ea_size, decoded.reparse_tag), (ea, tag));
    }
}

#[test]
fn lists_come_back_and_stop_at_the_buffers_end() {
    let stream = |name: &str| StreamEntry {
        name: name.to_owned(),
        size: 1,
        allocation_size: 2,
    };
    let streams = [
        stream("::$DATA"),
        stream(":Zone.Identifier:$DATA"),
        stream(":x:$DATA"),
    ];
    let mut out = Vec::new();
    let mut list = ListWriter::new(&mut out, 4096, 8);
    assert!(streams.iter().all(|stream| stream.push(&mut list)));
    assert_eq!(StreamEntry::decode_list(&out).unwrap(), streams);

    let entry = |action, name: &str| NotifyEntry {
        action,
        name: name.to_owned(),
    };
    let added = entry(NotifyAction::Added, "dir\\file");
    let mut out = Vec::new();
    let mut list = ListWriter::new(&mut out, 30, 4);
    assert!(added.push(&mut list));
    assert!(
        !entry(NotifyAction::Removed, "y").push(&mut list),
        "no room"
    );
    assert_eq!(NotifyEntry::decode_list(&out).unwrap(), [added]);
}

#[test]
fn hard_links_that_do_not_fit_are_announced() {
    let link = |name: &str| LinkEntry {
        parent: 5,
        name: name.to_owned(),
    };
    let info = HardLinkInfo {
        links: vec![link("one"), link("another one")],
    };
    let mut out = Vec::new();
    assert!(info.encode(1000, &mut out));
    assert_eq!(HardLinkInfo::decode(&out).unwrap(), info);
    assert_eq!(out[..4], u32::try_from(out.len()).unwrap().to_le_bytes());
    let (needed, mut out) = (out[..4].to_vec(), Vec::new());
    assert!(!info.encode(40, &mut out));
    assert_eq!((&out[..4], out[4]), (&needed[..], 1));
}

#[test]
fn extended_attributes_come_back_and_bad_names_are_refused() {
    let eas = [
        FullEa {
            flags: 0,
            name: b"user.one",
            value: b"1",
        },
        FullEa {
            flags: 0x80,
            name: b"TWO",
            value: b"",
        },
    ];
    let mut out = Vec::new();
    let mut list = ListWriter::new(&mut out, 1000, 4);
    assert!(eas.iter().all(|ea| ea.push(&mut list)));
    let long = [b'x'; 256];
    assert!(
        !FullEa {
            flags: 0,
            name: &long,
            value: b""
        }
        .push(&mut list)
    );
    assert_eq!(FullEa::decode_list(&out).unwrap(), eas);
    out[8 + 8] = b'!';
    assert!(
        FullEa::decode_list(&out).is_err(),
        "a name without its terminator"
    );
}

/// MS-SMB2 2.2.32.5: 152 bytes each, linked.
#[test]
fn network_interfaces_are_152_bytes_each() {
    let interface = |address: &str| NetworkInterface {
        index: 1,
        capability: 0,
        link_speed: 1_000_000_000,
        address: address.parse().unwrap(),
    };
    let mut out = Vec::new();
    let mut list = ListWriter::new(&mut out, 4096, 8);
    assert!(interface("192.0.2.1:445").push(&mut list));
    assert!(interface("[2001:db8::1]:445").push(&mut list));
    assert_eq!((out.len(), out[0]), (304, 152));
    assert_eq!(out[24..32], [2, 0, 0, 0, 192, 0, 2, 1]);
    assert_eq!(out[176..178], [0x17, 0]);
}

#[test]
fn snapshots_that_do_not_fit_say_how_much_room_they_need() {
    let labels = vec!["@GMT-2024.02.29-12.34.56".to_owned()];
    let mut out = Vec::new();
    SnapshotArray {
        labels: labels.clone(),
    }
    .encode(16, &mut out);
    assert_eq!(out, [1, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, 0]);
    out.clear();
    SnapshotArray { labels }.encode(64, &mut out);
    assert_eq!((out[4], out.len()), (1, 64));
}

#[test]
fn open_enums_keep_what_they_do_not_know() {
    for class in FileInfoClass::ALL {
        assert_eq!(FileInfoClass::from_wire(class.to_wire()), *class);
    }
    for class in FsInfoClass::ALL {
        assert_eq!(FsInfoClass::from_wire(class.to_wire()), *class);
    }
    for code in ioctl::FsctlCode::ALL {
        assert_eq!(ioctl::FsctlCode::from_wire(code.to_wire()), *code);
    }
    assert_eq!(Command::from_wire(0x99), Command::Unknown(0x99));
    assert_eq!(Command::Unknown(0x99).to_wire(), 0x99);
    assert_eq!(
        format!("{:?}", NtStatus(0xC000_0022)),
        "STATUS_ACCESS_DENIED"
    );
    assert_eq!(
        format!("{:?}", NtStatus(0xC123_4567)),
        "NTSTATUS(0xc1234567)"
    );
}

#[test]
fn padding_reaches_the_next_multiple() {
    let gaps: Vec<_> = (0..10).map(|len| padding(len, 8)).collect();
    assert_eq!(gaps, [0, 7, 6, 5, 4, 3, 2, 1, 0, 7]);
}
