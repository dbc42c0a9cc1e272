//! Published vectors. "Anatomy" is Microsoft's blog "SMB 2 and SMB 3 security in Windows 10: the anatomy of signing and
//! cryptographic keys", "perspective" its "Encryption in SMB 3.0: A protocol perspective". What names no source was
//! computed with Python's `cryptography` 48 and `hmac`.

use super::signing::{MessageMac, gmac};
use super::*;

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

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// Anatomy, the messages of a logon under 3.1.1 and the hash after each.
const PREAUTH: [(&str, &str); 2] = [
    (
        "FE534D4240000100000000000000800000000000000000000100000000000000FFFE000000000000\
         00000000000000000000000000000000000000000000000024000500000000003F000000ECD86F32\
         6276024F9F7752B89BB33F3A70000000020000000202100200030203110300000100260000000000\
         010020000100FA49E6578F1F3A9F4CD3E9CC14A67AA884B3D05844E0E5A118225C15887F32FF0000\
         0200060000000000020002000100",
        "DD94EFC5321BB618A2E208BA8920D2F422992526947A409B5037DE1E0FE8C7362B8C47122594CDE0\
         CE26AA9DFC8BCDBDE0621957672623351A7540F1E54A0426",
    ),
    (
        "FE534D4240000100000000000000010001000000000000000100000000000000FFFE000000000000\
         000000000000000000000000000000000000000000000000410001001103020039CBCAF329714942\
         BDCE5D60F09AB3FB2F000000000080000000800000008000D8DAE5ADCBAED00109094AB095AED001\
         80004001C00100006082013C06062B0601050502A08201303082012CA01A3018060A2B0601040182\
         3702021E060A2B06010401823702020AA282010C048201084E45474F455854530100000000000000\
         60000000700000007C7CC0FD06D6362D02DDE1CF343BFE292900F49750B4AA97934D9C4296B26E51\
         FD370471B235E15A50DAE15BD5489C87000000000000000060000000010000000000000000000000\
         5C33530DEAF90D4DB2EC4AE3786EC3084E45474F4558545303000000010000004000000098000000\
         7C7CC0FD06D6362D02DDE1CF343BFE295C33530DEAF90D4DB2EC4AE3786EC3084000000058000000\
         3056A05430523027802530233121301F06035504031318546F6B656E205369676E696E6720507562\
         6C6963204B65793027802530233121301F06035504031318546F6B656E205369676E696E67205075\
         626C6963204B6579010026000000000001002000010060A3C3B95C3C7CCD51EC536648D9B3AC74C4\
         83CA5B65385A251117BEB30712E50000020004000000000001000200",
        "324BFA92A4F3A190E466EBEA08D9C110DC88BFED758D9846ECC6F541CC1D02AE3C94A79F36011E99\
         7E13F841B91B50957AD07B19C8E2539C0B23FDAE09D2C513",
    ),
];

#[test]
fn preauth_hash_chains_as_published() {
    let mut hash = PreauthHash::new();
    for (message, expected) in PREAUTH {
        hash.update(&hex(message));
        assert_eq!(hash.as_bytes().as_slice(), hex(expected));
    }
}

/// Anatomy, SMB 3.1.1: the hash over the whole logon.
fn final_hash() -> PreauthHash {
    PreauthHash::from_bytes_for_test(array(
        "0DD13628CC3ED218EF9DF9772D436D0887AB9814BFAE63A80AA845F36909DB7928622DDDAD522D97\
         51640A459762C5A9D6BB084CBB3CE6BDADEF5D5BCE3C6C01",
    ))
}

#[test]
fn keys_of_smb_30_are_the_published_ones() {
    // Anatomy, first channel; "EncryptionKey" there is the client's.
    let key = SessionKey::new(&hex("7CD451825D0450D235424E44BA6E78CC"));
    let keys = keys::raw_keys_for_test(&key, Derivation::Smb30);
    assert_eq!(keys.signing, array("0B7E9C5CAC36C0F6EA9AB275298CEDCE"));
    assert_eq!(keys.to_server, array("FAD27796665B313EBB578F388632B4F7"));
    assert_eq!(keys.to_client, array("B0F0427F7CEB416D1D9DCC0CD4F99447"));
    assert_eq!(keys.application, array("BB23A4575AA26C721AF525AF15A87B4F"));
}

#[test]
fn keys_of_smb_311_are_the_published_ones() {
    let (key, hash) = (
        SessionKey::new(&hex("270E1BA896585EEB7AF3472D3B4C75A7")),
        final_hash(),
    );
    let keys = keys::raw_keys_for_test(&key, Derivation::Smb311(&hash));
    assert_eq!(keys.signing, array("73FE7A9A77BEF0BDE49C650D8CCB5F76"));
    assert_eq!(keys.to_server, array("629BCBC54422A0F572B97F45989B6073"));
    assert_eq!(keys.to_client, array("E2AF0DCEFAC68DA71A0DFBD0D1350D74"));
    assert_eq!(keys.application, array("6D7AD7954E9EC61E907B4D473DC178FF"));
}

#[test]
fn keys_of_256_bits_say_so_in_the_derivation() {
    let key = SessionKey::new(&hex("270E1BA896585EEB7AF3472D3B4C75A7"));
    let context: [u8; 64] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let hash = PreauthHash::from_bytes_for_test(context);
    let keys = keys::raw_keys_for_test(&key, Derivation::Smb311(&hash));
    let expected = array("c273f0de35671e766ef5106b605054d70385f9237f1327662763de8ac2444317");
    assert_eq!(keys.to_server_256, expected);
}

#[test]
fn session_keys_are_cut_and_padded() {
    let short = SessionKey::new(&[1; 8]);
    assert_eq!(short.short(), [[1; 8], [0; 8]].concat());
    assert_eq!(short.full(), [1; 8]);
    let long = SessionKey::new(&[2; 40]);
    assert_eq!(
        (long.short(), long.full()),
        ([2; 16].as_slice(), [2; 32].as_slice())
    );
}

#[test]
fn below_smb_30_the_session_key_signs_and_nothing_encrypts() {
    let key = SessionKey::new(&[7; 16]);
    let keys = SessionKeys::derive(
        &key,
        Derivation::None,
        SigningAlgorithm::AesGmac,
        Some(CipherAlgorithm::Aes128Gcm),
    );
    assert_eq!(keys.signing.algorithm(), SigningAlgorithm::HmacSha256);
    assert!(keys.cipher.is_none());
    let mut expected = message(0, 0);
    let mut signed = expected.clone();
    SigningKey::new(SigningAlgorithm::HmacSha256, &[7; 16]).sign(&mut expected);
    keys.signing.sign(&mut signed);
    assert_eq!(signed, expected);
}

/// Anatomy: the final SESSION_SETUP response of Windows Server, AES-CMAC.
#[test]
fn a_published_signature_verifies_and_is_made_again() {
    let mut message = hex(
        "FE534D4240000100000000000100800009000000000000000300000000000000FFFE000000000000\
         1900000000100000EBE146DA120BA25FC3376A49DFE31BC10900000048001D00A11B3019A0030A01\
         00A3120410010000003B453CDC3524164200000000",
    );
    let key = SigningKey::new(
        SigningAlgorithm::AesCmac,
        &array("73FE7A9A77BEF0BDE49C650D8CCB5F76"),
    );
    let before = message.clone();
    assert_eq!(key.verify(&mut message, Sender::Server), Ok(()));
    assert_eq!(message, before);
    assert_eq!(key.verify(&mut message, Sender::Client), Err(BadSignature));
    message[48..64].fill(0);
    key.sign(&mut message);
    assert_eq!(message, before);
    message[70] ^= 1;
    assert_eq!(key.verify(&mut message, Sender::Server), Err(BadSignature));
}

/// RFC 4493 section 4, example 4.
#[test]
fn cmac_is_that_of_rfc_4493() {
    let key: [u8; 16] = array("2b7e151628aed2a6abf7158809cf4f3c");
    let message = hex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    let mac = SigningKey::new(SigningAlgorithm::AesCmac, &key).mac_for_test(&message);
    assert_eq!(mac, array("51f0bebf7e3b9d92fc49741779363cfe"));
}

/// NIST CAVP gcmEncryptExtIV128, no plaintext, 128 bits of additional data, count 0.
#[test]
fn gmac_is_that_of_nist() {
    let mac = MessageMac::new(
        SigningAlgorithm::AesGmac,
        &array("77be63708971c4e240d1cb79e8d77feb"),
    );
    let MessageMac::Gmac(key) = mac else {
        unreachable!("GMAC was asked for")
    };
    let data = hex("7a43ec1d9c0a5a78a0b16533a6213cab");
    let tag = gmac(&key, array("e0e00f19fed7ba0136a797f3"), &data);
    assert_eq!(tag, array("209fcc8d3675ed938e9c7166709dd946"));
}

/// A short body behind a header with message id 7.
fn message(flags: u8, command: u8) -> Vec<u8> {
    let mut message = [b"\xFESMB".as_slice(), &[0; 60], b"a message"].concat();
    (message[4], message[24], message[16], message[12]) = (64, 7, flags, command);
    message
}

#[test]
fn each_algorithm_signs_as_another_implementation_does() {
    let key: [u8; 16] = array("000102030405060708090a0b0c0d0e0f");
    for (algorithm, flags, command, expected) in [
        (
            SigningAlgorithm::HmacSha256,
            0,
            0,
            "b838b64d26c915db6b24ee141fc12cf6",
        ),
        (
            SigningAlgorithm::AesCmac,
            0,
            0,
            "e685d8058684d590e59522ebce4d360f",
        ),
        (
            SigningAlgorithm::AesGmac,
            0,
            0,
            "439fc3dfaaca3b5d9086d729a17c77c1",
        ),
        (
            SigningAlgorithm::AesGmac,
            1,
            0,
            "5448bb8e44ca656ffd4511e1662e4c1b",
        ),
        (
            SigningAlgorithm::AesGmac,
            0,
            12,
            "40e6849f5a90a2b2d22cebf22d4e6dec",
        ),
    ] {
        let mut message = message(flags, command);
        let sender = if flags == 1 {
            Sender::Server
        } else {
            Sender::Client
        };
        let key = SigningKey::new(algorithm, &key);
        key.sign(&mut message);
        assert_eq!(
            message[48..64],
            hex(expected),
            "{algorithm:?} {flags} {command}"
        );
        assert_eq!(message[16], flags | 8);
        assert_eq!(key.verify(&mut message, sender), Ok(()));
    }
}

#[test]
fn windows_encrypted_write_opens_with_derived_keys() {
    // Perspective: SMB 3.0, AES-128-CCM.
    let key = SessionKey::new(&hex("B4546771B515F766A86735532DD6C4F0"));
    let keys = SessionKeys::derive(
        &key,
        Derivation::Smb30,
        SigningAlgorithm::AesCmac,
        Some(CipherAlgorithm::Aes128Ccm),
    );
    let mut frame = hex(
        "FD534D4281A286535415445DAE393921E44FA42E66E69A111892584FB5ED524A744DA3EE87000000\
         000001001100001400E4080025C8FEE16605A437832D1CD52DA9F4645333482A175FE5384563F45F\
         CDAFAEF38BC62BA4D5C62897996625A44C29BE5658DE2E6117585779E7B59FFD971278D08580D7FA\
         899E410E910EABF5AA1DB43050B33B49182637759AC15D84BFCDF5B6B238993C0F4CF4D6012023F6\
         C627297075D84B7803912D0A9639634453595EF3E33FFE4E7AC2AB",
    );
    let header = TransformHeader::parse(&frame).unwrap();
    assert_eq!(
        (header.session_id, header.original_message_size),
        (0x0008_E400_1400_0011, 0x87)
    );
    let message = keys.cipher.unwrap().open(&mut frame).unwrap();
    assert!(message.starts_with(b"\xFESMB") && message.ends_with(b"Smb3 encryption testing"));
}

#[test]
fn windows_encrypted_response_opens_at_the_client() {
    // Perspective: the response of that WRITE.
    let key = SessionKey::new(&hex("B4546771B515F766A86735532DD6C4F0"));
    let keys = SessionKeys::derive_for_client(
        &key,
        Derivation::Smb30,
        SigningAlgorithm::AesCmac,
        Some(CipherAlgorithm::Aes128Ccm),
    );
    let mut frame = hex(
        "FD534D42A6015530A18F6D9AFFE22AFAE8E6648486000000000000001100001400E4080050000000\
         000001001100001400E40800DBF46435C5F14169293CE079E344479BF670227E49873F458672C309\
         8DAC467DD5809F369D674091665157871483E01F7BECD02064EAC3E235F913668BBC2F097980D4B3\
         78F1993EFF6E60D177309E5B",
    );
    let message = keys.cipher.unwrap().open(&mut frame).unwrap();
    assert_eq!(message[12..16], hex("09002100"));
    assert!(message.ends_with(&hex("11000000170000000000000000000000")));
}

#[test]
fn each_cipher_seals_as_another_implementation_does() {
    let key: Vec<u8> = (0..32).collect();
    for (algorithm, tag, sealed) in [
        (
            CipherAlgorithm::Aes128Ccm,
            "3a7ecd57a4a74f5110eaae6c307711b4",
            "3535efe15c49f19d52fbafd0838db110eb2a45c6217c18",
        ),
        (
            CipherAlgorithm::Aes128Gcm,
            "2e0c48402ba4486f93397ef4cbd8caf1",
            "1abbe560b9fec8ef91f00a1c09eedebdcdc8585a5d04a5",
        ),
        (
            CipherAlgorithm::Aes256Ccm,
            "e8beeb6bc492483332018da8cb9b690c",
            "4185e62f5fb4eee85b25d8511ed6bf9fe4e92bed303f55",
        ),
        (
            CipherAlgorithm::Aes256Gcm,
            "6d0d84e9f766a7fe0ab73562744b20fb",
            "5dd1d7ed9549edde7ad1d9417143ffb9a626252741ef07",
        ),
    ] {
        let key = &key[..algorithm.key_len()];
        let server = Cipher::new(algorithm, Side::Server, key, key);
        let mut frame = frame();
        server.seal(0x1122_3344_5566_7788, &mut frame).unwrap();
        assert_eq!(
            (&frame[4..20], &frame[52..]),
            (&*hex(tag), &*hex(sealed)),
            "{algorithm:?}"
        );
        let client = Cipher::new(algorithm, Side::Client, key, key);
        assert_eq!(client.open(&mut frame).unwrap(), b"Smb3 encryption testing");
    }
}

fn frame() -> Vec<u8> {
    [
        [0xEE; TRANSFORM_HEADER_LEN].as_slice(),
        b"Smb3 encryption testing",
    ]
    .concat()
}

#[test]
fn no_nonce_comes_twice_and_the_last_ends_the_session() {
    let cipher = Cipher::new(CipherAlgorithm::Aes128Gcm, Side::Server, &[1; 16], &[2; 16]);
    let mut nonces = std::collections::HashSet::new();
    for _ in 0..1000 {
        let mut frame = frame();
        cipher.seal(1, &mut frame).unwrap();
        assert!(nonces.insert(frame[20..36].to_vec()));
    }
    cipher.set_nonce_for_test(u64::MAX);
    assert_eq!(
        cipher.seal(1, &mut frame()),
        Err(CipherError::NonceExhausted)
    );
    assert_eq!(
        cipher.seal(1, &mut frame()),
        Err(CipherError::NonceExhausted)
    );
}

#[test]
fn a_frame_for_another_direction_or_session_does_not_open() {
    let server = Cipher::new(CipherAlgorithm::Aes128Gcm, Side::Server, &[1; 16], &[2; 16]);
    let mut sealed = frame();
    server.seal(1, &mut sealed).unwrap();
    assert_eq!(server.open(&mut sealed.clone()), Err(CipherError::Tag));
    let client = Cipher::new(CipherAlgorithm::Aes128Gcm, Side::Client, &[1; 16], &[2; 16]);
    let mut other_session = sealed.clone();
    other_session[44] ^= 1;
    assert_eq!(client.open(&mut other_session), Err(CipherError::Tag));
    sealed.push(0);
    assert_eq!(client.open(&mut sealed), Err(CipherError::Size));
}

#[test]
fn debug_shows_no_key() {
    let key = SessionKey::new(&[0x77; 16]);
    let cipher = Some(CipherAlgorithm::Aes256Ccm);
    let hash = final_hash();
    let keys = SessionKeys::derive(
        &key,
        Derivation::Smb311(&hash),
        SigningAlgorithm::AesGmac,
        cipher,
    );
    let shown = format!("{key:?} {keys:?}");
    assert!(
        !shown.contains("119") && shown.contains("AES-256-CCM"),
        "{shown}"
    );
    assert!(!shown.contains('['), "no bytes at all: {shown}");
}

/// Prints GB/s a core. Run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let measure = |name: &str, len: usize, work: &mut dyn FnMut()| {
        let (start, mut rounds) = (std::time::Instant::now(), 0);
        while start.elapsed().as_millis() < 200 {
            work();
            rounds += 1;
        }
        let rate = (len * rounds) as f64 / start.elapsed().as_secs_f64() / 1e9;
        println!("{name:12} {len:>8} bytes {rate:7.2} GB/s");
    };
    for len in [200, 4096, 65_536, 1 << 20] {
        for id in 0..3 {
            let key = SigningKey::new(SigningAlgorithm::from_id(id).unwrap(), &[1; 16]);
            let mut message = vec![7; len];
            measure(key.algorithm().name(), len, &mut || key.sign(&mut message));
        }
        for id in 1..5 {
            let algorithm = CipherAlgorithm::from_id(id).unwrap();
            let key = vec![1; algorithm.key_len()];
            let cipher = Cipher::new(algorithm, Side::Server, &key, &key);
            let mut frame = vec![7; TRANSFORM_HEADER_LEN + len];
            measure(algorithm.name(), len, &mut || {
                cipher.seal(1, &mut frame).unwrap()
            });
        }
    }
}
