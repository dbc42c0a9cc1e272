//! A small client: lays out requests with the wire module's encoders, signs or encrypts them with the client's side
//! of the keys, and checks every answer's signature.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use strongroom_device::sim::SimEnv;

use crate::auth::testing;
use crate::compress::{self, Form};
use crate::crypto::{
    CipherAlgorithm, Derivation, PreauthHash, Sender, SessionKey, SessionKeys, SigningAlgorithm,
    SigningKey, TRANSFORM_HEADER_LEN, TransformHeader,
};
use crate::server::{Connection, Disconnect, Outbox};
use crate::wire::close::{CloseFlags, CloseRequest};
use crate::wire::compound::{Compound, link_next};
use crate::wire::create::{
    CreateDisposition, CreateOptions, CreateRequest, CreateResponse, ImpersonationLevel,
    OplockLevel, ShareAccess,
};
use crate::wire::create_context::CreateContexts;
use crate::wire::header::{COMPRESSION_MAGIC, Header, HeaderFlags};
use crate::wire::negotiate::{
    Capabilities, Dialect, NegotiateRequest, NegotiateResponse, SecurityMode,
};
use crate::wire::negotiate_context::{
    Cipher as WireCipher, HashAlgorithm, NegotiateContext, SigningAlgorithm as WireSigning,
};
use crate::wire::session::{SessionSetupFlags, SessionSetupRequest, SessionSetupResponse};
use crate::wire::tree::{TreeConnectFlags, TreeConnectRequest};
use crate::wire::{
    Codec, Command, FileId, Guid, MessageId, NtStatus, Route, SessionId, TreeId, Utf16,
};

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) header: Header,
    pub(super) body: Vec<u8>,
    pub(super) signed: bool,
    pub(super) encrypted: bool,
}

impl Answer {
    pub(super) fn status(&self) -> NtStatus {
        self.header.status
    }

    pub(super) fn decode<'a, T: Codec<'a>>(&'a self) -> T {
        T::decode(&self.body).unwrap()
    }
}

pub(super) struct Client {
    pub(super) env: Arc<SimEnv>,
    connection: Connection,
    outbox: Outbox,
    pub(super) guid: Guid,
    pub(super) next_id: u64,
    pub(super) session_id: SessionId,
    pub(super) tree_id: TreeId,
    pub(super) dialect: Dialect,
    pub(super) signing: SigningAlgorithm,
    pub(super) cipher: Option<CipherAlgorithm>,
    pub(super) keys: Option<SessionKeys>,
    /// Requests go unsigned.
    pub(super) careless: bool,
    pub(super) encrypts: bool,
    /// How the server's compressed frames are read.
    pub(super) form: Option<Form>,
    /// Compressed frames that came.
    pub(super) compressed: usize,
    /// The key of the session that a further channel is being made for.
    binding: Option<Arc<SigningKey>>,
    pub(super) challenge_was_signed: bool,
    /// The session that a logon replaces.
    previous: SessionId,
    /// Of the connection, and of the logon under way.
    connection_preauth: PreauthHash,
    preauth: PreauthHash,
    answers: VecDeque<Answer>,
    /// Bytes of the last frame that came.
    pub(super) last_frame: Vec<u8>,
}

impl Client {
    pub(super) fn new(env: Arc<SimEnv>, connection: Connection, outbox: Outbox) -> Self {
        Self {
            env,
            connection,
            outbox,
            guid: Guid([9; 16]),
            next_id: 0,
            session_id: SessionId(0),
            tree_id: TreeId(0),
            dialect: Dialect::Wildcard,
            signing: SigningAlgorithm::HmacSha256,
            cipher: None,
            keys: None,
            careless: false,
            encrypts: false,
            form: None,
            compressed: 0,
            binding: None,
            challenge_was_signed: false,
            previous: SessionId(0),
            connection_preauth: PreauthHash::new(),
            preauth: PreauthHash::new(),
            answers: VecDeque::new(),
            last_frame: Vec::new(),
        }
    }

    pub(super) fn header(&mut self, command: Command) -> Header {
        let id = MessageId(self.next_id);
        if command != Command::Cancel {
            self.next_id += 1;
        }
        let route = Route::Sync {
            process_id: 0xFEFF,
            tree_id: self.tree_id,
        };
        Header {
            route,
            session_id: self.session_id,
            credits: 16,
            ..Header::request(command, id)
        }
    }

    /// Header and body, not signed yet.
    pub(super) fn message<'a>(&mut self, command: Command, body: &impl Codec<'a>) -> Vec<u8> {
        let mut out = Vec::new();
        self.header(command).encode(&mut out);
        body.encode(&mut out);
        out
    }

    /// Gives bytes to the server as they are.
    pub(super) fn deliver(&mut self, frame: &[u8]) -> Result<(), Disconnect> {
        let result = self.connection.receive(BytesMut::from(frame));
        self.env.run_until_idle();
        self.collect();
        result
    }

    /// Signs or encrypts a message of one request and delivers it.
    pub(super) fn send(&mut self, mut message: Vec<u8>) -> Result<(), Disconnect> {
        if let Some(keys) = &self.keys {
            if self.encrypts {
                let mut frame = vec![0; TRANSFORM_HEADER_LEN];
                frame.extend(&message);
                keys.cipher
                    .as_ref()
                    .unwrap()
                    .seal(self.session_id.0, &mut frame)
                    .unwrap();
                message = frame;
            } else if !self.careless {
                keys.signing.sign(&mut message);
            }
        }
        self.deliver(&message)
    }

    /// Signs and delivers a message before any task has a turn.
    pub(super) fn send_at_once(&mut self, mut message: Vec<u8>) -> Result<(), Disconnect> {
        self.keys.as_ref().unwrap().signing.sign(&mut message);
        self.connection.receive(BytesMut::from(&*message))
    }

    /// Links several messages to one frame, each signed; all but the first are related.
    pub(super) fn send_related(&mut self, messages: &[Vec<u8>]) -> Result<(), Disconnect> {
        let mut frame = Vec::new();
        let mut start = 0;
        for (index, message) in messages.iter().enumerate() {
            let mut message = message.clone();
            if index > 0 {
                link_next(&mut frame, start);
                self.keys
                    .as_ref()
                    .unwrap()
                    .signing
                    .sign(&mut frame[start..]);
                start = frame.len();
                message[16] |= HeaderFlags::RELATED_OPERATIONS.bits().to_le_bytes()[0];
            }
            frame.extend(message);
        }
        self.keys
            .as_ref()
            .unwrap()
            .signing
            .sign(&mut frame[start..]);
        self.deliver(&frame)
    }

    /// Whether no more frames should be given to the server for now.
    pub(super) fn is_full(&self) -> bool {
        self.connection.is_full()
    }

    fn collect(&mut self) {
        let mut frames = Vec::new();
        self.outbox.drain(&mut frames);
        for frame in frames {
            let bytes = frame.as_ref();
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
            assert_eq!(usize::try_from(length).unwrap(), bytes.len() - 4);
            self.take_frame(bytes[4..].to_vec());
        }
    }

    fn take_frame(&mut self, mut frame: Vec<u8>) {
        let encrypted = TransformHeader::is_transform(&frame);
        if encrypted {
            let cipher = self.keys.as_ref().unwrap().cipher.as_ref().unwrap();
            frame = cipher.open(&mut frame).unwrap().to_vec();
        }
        if frame.starts_with(&COMPRESSION_MAGIC) {
            frame = compress::decompress(self.form.as_ref().unwrap(), &frame, 1 << 24).unwrap();
            self.compressed += 1;
        }
        self.last_frame.clone_from(&frame);
        let messages: Vec<_> = Compound::new(&frame)
            .map(|message| message.map(|m| (m.header, m.raw.to_vec())))
            .collect();
        for message in messages {
            let (header, mut raw) = message.unwrap();
            // What cannot be signed only says that it is.
            let empty = header.signature == [0; 16];
            let signed = header.flags.contains(HeaderFlags::SIGNED) && !empty;
            if let (true, Some(keys)) = (signed, &self.keys) {
                keys.signing.verify(&mut raw, Sender::Server).unwrap();
            }
            let body = raw[64..].to_vec();
            self.answers.push_back(Answer {
                header,
                body,
                signed,
                encrypted,
            });
        }
    }

    /// The next answer that has come.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.collect();
        self.answers.pop_front()
    }

    pub(super) fn is_closed(&self) -> bool {
        !self.outbox.drain(&mut Vec::new())
    }

    /// One request and its one answer.
    pub(super) fn ask<'a>(&mut self, command: Command, body: &impl Codec<'a>) -> Answer {
        let message = self.message(command, body);
        self.send(message).unwrap();
        self.wait()
    }

    /// The next answer, with time passing as needed.
    pub(super) fn wait(&mut self) -> Answer {
        for _ in 0..200 {
            if let Some(answer) = self.answer() {
                return answer;
            }
            self.env.advance(std::time::Duration::from_millis(100));
        }
        panic!("no answer came");
    }

    pub(super) fn negotiate_request(dialects: &[Dialect]) -> NegotiateRequest<'static> {
        let contexts = if dialects.contains(&Dialect::Smb311) {
            vec![
                NegotiateContext::PreauthIntegrity {
                    algorithms: vec![HashAlgorithm::Sha512],
                    salt: b"pepper",
                },
                NegotiateContext::Encryption(vec![WireCipher::Aes128Ccm, WireCipher::Aes128Gcm]),
                NegotiateContext::Signing(vec![WireSigning::AesCmac, WireSigning::AesGmac]),
            ]
        } else {
            Vec::new()
        };
        NegotiateRequest {
            security_mode: SecurityMode::SIGNING_ENABLED,
            capabilities: Capabilities::LARGE_MTU
                | Capabilities::ENCRYPTION
                | Capabilities::DIRECTORY_LEASING,
            client_guid: Guid([9; 16]),
            dialects: dialects.to_vec(),
            contexts,
        }
    }

    pub(super) fn negotiate(&mut self, dialects: &[Dialect]) -> Answer {
        self.negotiate_with(&NegotiateRequest {
            client_guid: self.guid,
            ..Self::negotiate_request(dialects)
        })
    }

    pub(super) fn negotiate_with(&mut self, request: &NegotiateRequest<'_>) -> Answer {
        let message = self.message(Command::Negotiate, request);
        self.connection_preauth.update(&message);
        self.send(message).unwrap();
        let answer = self.answer().unwrap();
        self.connection_preauth.update(&self.last_frame.clone());
        if answer.status() == NtStatus::SUCCESS {
            self.learn(&answer);
        }
        answer
    }

    fn learn(&mut self, answer: &Answer) {
        let response: NegotiateResponse<'_> = answer.decode();
        self.dialect = response.dialect;
        if response.dialect != Dialect::Smb202 && response.dialect != Dialect::Smb210 {
            self.signing = SigningAlgorithm::AesCmac;
        }
        if response.capabilities.contains(Capabilities::ENCRYPTION) {
            self.cipher = Some(CipherAlgorithm::Aes128Ccm);
        }
        for context in &response.contexts {
            match context {
                NegotiateContext::Signing(chosen) => {
                    self.signing = SigningAlgorithm::from_id(chosen[0].to_wire()).unwrap();
                }
                NegotiateContext::Compression { flags, algorithms } => {
                    self.form = Some(Form {
                        chained: *flags == 1,
                        algorithms: algorithms.clone(),
                    });
                }
                NegotiateContext::Encryption(chosen) => {
                    self.cipher = CipherAlgorithm::from_id(chosen[0].to_wire());
                }
                _ => {}
            }
        }
    }

    fn session_setup(&mut self, flags: SessionSetupFlags, token: &[u8]) -> Answer {
        let request = SessionSetupRequest {
            flags,
            security_mode: SecurityMode::SIGNING_ENABLED,
            capabilities: Capabilities::NONE,
            previous_session_id: self.previous,
            security_buffer: token,
        };
        let mut message = self.message(Command::SessionSetup, &request);
        if let Some(key) = self.binding.as_ref().filter(|_| !self.careless) {
            key.sign(&mut message);
        } else if let Some(keys) = self.keys.as_ref().filter(|_| !self.careless) {
            keys.signing.sign(&mut message);
        }
        self.preauth.update(&message);
        self.deliver(&message).unwrap();
        self.answer().unwrap()
    }

    /// Sends the first token of a logon.
    pub(super) fn begin_logon(&mut self) -> NtStatus {
        self.session_setup(SessionSetupFlags::NONE, &testing::negotiate())
            .status()
    }

    /// Sends all tokens of a logon; the last answer.
    pub(super) fn exchange(
        &mut self,
        flags: SessionSetupFlags,
        answer: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Answer, NtStatus> {
        self.preauth = self.connection_preauth.clone();
        let first = self.session_setup(flags, &testing::negotiate());
        if first.status() != NtStatus::MORE_PROCESSING_REQUIRED {
            return Err(first.status());
        }
        self.challenge_was_signed = first.signed;
        self.preauth.update(&self.last_frame.clone());
        self.session_id = first.header.session_id;
        let response: SessionSetupResponse<'_> = first.decode();
        let last = self.session_setup(flags, &answer(response.security_buffer));
        match last.status() {
            NtStatus::SUCCESS => Ok(last),
            status => Err(status),
        }
    }

    /// Signs in; the session's keys are in use from then on.
    pub(super) fn log_on(&mut self, user: &str, password: &str) -> Result<(), NtStatus> {
        self.log_on_after(user, password, SessionId(0))
    }

    /// Signs in in place of an earlier session.
    pub(super) fn log_on_after(
        &mut self,
        user: &str,
        password: &str,
        previous: SessionId,
    ) -> Result<(), NtStatus> {
        self.previous = previous;
        let authenticate = |challenge: &[u8]| testing::authenticate(user, password, challenge);
        let last = self.exchange(SessionSetupFlags::NONE, authenticate);
        self.previous = SessionId(0);
        let last = last.inspect_err(|_| self.session_id = SessionId(0))?;
        let keys = self.derive();
        assert!(last.signed, "the answer that ends a logon is signed");
        keys.signing
            .verify(&mut self.last_frame.clone(), Sender::Server)
            .unwrap();
        self.keys = Some(keys);
        Ok(())
    }

    fn derive(&self) -> SessionKeys {
        let derivation = match self.dialect {
            Dialect::Smb311 => Derivation::Smb311(&self.preauth),
            Dialect::Smb300 | Dialect::Smb302 => Derivation::Smb30,
            _ => Derivation::None,
        };
        let key = SessionKey::new(&testing::SESSION_KEY);
        SessionKeys::derive_for_client(&key, derivation, self.signing, self.cipher)
    }

    /// Logs on again in the session that is there; its keys stay.
    pub(super) fn log_on_again(&mut self, user: &str, password: &str) -> Result<(), NtStatus> {
        let authenticate = |challenge: &[u8]| testing::authenticate(user, password, challenge);
        let last = self.exchange(SessionSetupFlags::NONE, authenticate)?;
        assert!(last.signed);
        Ok(())
    }

    /// Makes this connection a further channel of the other one's session.
    pub(super) fn bind(
        &mut self,
        other: &Client,
        user: &str,
        password: &str,
    ) -> Result<(), NtStatus> {
        let session_key = Arc::clone(&other.keys.as_ref().unwrap().signing);
        self.session_id = other.session_id;
        self.binding = Some(session_key);
        let authenticate = |challenge: &[u8]| testing::authenticate(user, password, challenge);
        let last = self.exchange(SessionSetupFlags::BINDING, authenticate);
        self.binding = None;
        let last = last?;
        let keys = self.derive();
        assert!(last.signed);
        keys.signing
            .verify(&mut self.last_frame.clone(), Sender::Server)
            .unwrap();
        self.keys = Some(keys);
        self.tree_id = other.tree_id;
        Ok(())
    }

    pub(super) fn tree_connect(&mut self, share: &str) -> Result<Answer, NtStatus> {
        let path = format!("\\\\strongroom\\{share}");
        let request = TreeConnectRequest {
            flags: TreeConnectFlags::NONE,
            path: Utf16::from(path.as_str()),
            contexts: Vec::new(),
        };
        let answer = self.ask(Command::TreeConnect, &request);
        if answer.status() != NtStatus::SUCCESS {
            return Err(answer.status());
        }
        self.tree_id = answer.header.tree_id();
        Ok(answer)
    }

    pub(super) fn create_request(name: &str) -> CreateRequest<'static> {
        CreateRequest {
            oplock: OplockLevel::None,
            impersonation: ImpersonationLevel::Impersonation,
            desired_access: 0x001F_01FF,
            file_attributes: 0x80,
            share_access: ShareAccess::READ | ShareAccess::WRITE | ShareAccess::DELETE,
            disposition: CreateDisposition::OpenIf,
            options: CreateOptions::NONE,
            name: Utf16::from(name),
            contexts: CreateContexts::default(),
        }
    }

    pub(super) fn try_create(&mut self, request: &CreateRequest<'_>) -> Result<FileId, NtStatus> {
        let answer = self.ask(Command::Create, request);
        match answer.status() {
            NtStatus::SUCCESS => Ok(answer.decode::<CreateResponse<'_>>().file_id),
            status => Err(status),
        }
    }

    pub(super) fn create(&mut self, name: &str) -> FileId {
        self.try_create(&Self::create_request(name)).unwrap()
    }

    pub(super) fn open_directory(&mut self, name: &str) -> FileId {
        let options = CreateOptions::DIRECTORY_FILE;
        self.try_create(&CreateRequest {
            options,
            ..Self::create_request(name)
        })
        .unwrap()
    }

    pub(super) fn close(&mut self, file_id: FileId) -> NtStatus {
        let request = CloseRequest {
            flags: CloseFlags::NONE,
            file_id,
        };
        self.ask(Command::Close, &request).status()
    }

    pub(super) fn disconnect(self) {
        self.connection.closed();
        self.env.run_until_idle();
    }
}
