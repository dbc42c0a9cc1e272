//! The frame that answers one frame: responses one after the other, each signed once it is complete, and the whole
//! encrypted where the requests were (MS-SMB2 3.3.4.1).

use std::sync::Arc;

use super::outbox;
use super::session::Session;
use super::session_channel::SessionChannel;
use crate::compress::{self, Form};
use crate::crypto::TRANSFORM_HEADER_LEN;
use crate::wire::compound::link_next;
use crate::wire::header::{HEADER_LEN, Header, HeaderMut};
use crate::wire::read::READ_RESPONSE_FIXED;
use crate::wire::transport::{TRANSPORT_LEN, TRANSPORT_MAX, frame_head};
use crate::wire::{AsyncId, Codec, NtStatus, Put, Route, SessionId, TreeId};

/// Room in front of the first message, for the transport's header and that of an encrypted frame.
const HEAD_ROOM: usize = TRANSPORT_LEN + TRANSFORM_HEADER_LEN;

/// Header and fixed part of a READ response, which would not get shorter.
const COMPRESS_FROM: usize = HEADER_LEN + READ_RESPONSE_FIXED;

/// A frame of responses that is being laid out.
#[derive(Debug)]
pub(crate) struct Reply {
    out: Vec<u8>,
    /// Complete messages end here.
    done: usize,
    last: Option<Message>,
    /// A client asked for fewer bytes.
    compression: Option<Form>,
}

/// The last complete message, to be linked to the next and signed.
#[derive(Debug)]
struct Message {
    start: usize,
    signer: Option<Arc<SessionChannel>>,
}

/// A response header that is begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    start: usize,
}

impl Reply {
    /// `size` is a guess of the bytes of all bodies.
    pub(crate) fn new(size: usize) -> Self {
        let mut out = Vec::with_capacity(HEAD_ROOM + size);
        out.put_zeros(HEAD_ROOM);
        Self {
            out,
            done: HEAD_ROOM,
            last: None,
            compression: None,
        }
    }

    /// The frame is to be compressed if that makes it shorter.
    pub(crate) fn compress(&mut self, form: Form) {
        self.compression = Some(form);
    }

    /// Begins a message; what was begun and not completed before is dropped.
    pub(crate) fn begin(&mut self, header: &Header) -> Begun {
        self.out.truncate(self.done);
        if let Some(last) = &self.last {
            self.out.pad_to(last.start, 8);
        }
        let start = self.out.len();
        header.encode(&mut self.out);
        Begun { start }
    }

    /// Bytes of the complete messages.
    pub(crate) fn len(&self) -> usize {
        self.done - HEAD_ROOM
    }

    /// Where the body is appended to.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub(crate) fn head(&mut self, begun: Begun) -> HeaderMut<'_> {
        self.out
            .get_mut(begun.start..)
            .and_then(HeaderMut::new)
            .expect("the header is begun")
    }

    /// The message, from its header on.
    pub(crate) fn message(&self, begun: Begun) -> &[u8] {
        self.out.get(begun.start..).unwrap_or_default()
    }

    /// Signs a message that is whole and that no other follows.
    pub(crate) fn sign(&mut self, begun: Begun, signer: Option<&SessionChannel>) {
        let key = signer.and_then(SessionChannel::signing);
        if let (Some(key), Some(message)) = (key, self.out.get_mut(begun.start..)) {
            key.sign(message);
        }
    }

    /// The message is whole; it will be signed by `signer`.
    pub(crate) fn complete(&mut self, begun: Begun, signer: Option<Arc<SessionChannel>>) {
        if let Some(last) = self.last.take() {
            let tail = self.out.split_off(begun.start);
            link_next(&mut self.out, last.start);
            last.sign(&mut self.out);
            self.out.put(&tail);
        }
        self.done = self.out.len();
        self.last = Some(Message {
            start: begun.start,
            signer,
        });
    }

    /// Signs or encrypts and queues the frame, if there is anything in it.
    pub(crate) fn send(mut self, outbox: &Arc<outbox::Shared>, encrypt: Option<&Session>) {
        self.out.truncate(self.done);
        let Some(last) = self.last.take() else { return };
        if last.start > HEAD_ROOM {
            // All messages of a compound end at a multiple of 8, the last too.
            self.out.pad_to(last.start, 8);
        }
        match encrypt {
            Some(session) => {
                self.shorten();
                self.send_encrypted(outbox, session);
            }
            None => {
                last.sign(&mut self.out);
                self.shorten();
                self.send_plain(outbox);
            }
        }
    }

    /// Signatures are made before, encryption comes after (MS-SMB2 3.1.4.4).
    fn shorten(&mut self) {
        let message = self.out.get(HEAD_ROOM..).unwrap_or_default();
        let form = self.compression.as_ref();
        let shorter = form.and_then(|form| compress::compress(form, message, COMPRESS_FROM));
        if let Some(frame) = shorter {
            self.out.truncate(HEAD_ROOM);
            self.out.put(&frame);
        }
    }

    fn send_plain(mut self, outbox: &Arc<outbox::Shared>) {
        let len = self.out.len() - HEAD_ROOM;
        assert!(
            len <= TRANSPORT_MAX,
            "answers stay below what the transport can carry"
        );
        self.out.patch(TRANSFORM_HEADER_LEN, &frame_head(len));
        outbox.push(self.out, TRANSFORM_HEADER_LEN);
    }

    fn send_encrypted(mut self, outbox: &Arc<outbox::Shared>, session: &Session) {
        let len = self.out.len() - TRANSPORT_LEN;
        self.out.patch(0, &frame_head(len));
        let cipher = session
            .signed_in()
            .and_then(|user| user.keys.cipher.as_ref());
        let frame = self.out.get_mut(TRANSPORT_LEN..).unwrap_or_default();
        let sealed = cipher.is_some_and(|cipher| cipher.seal(session.id.0, frame).is_ok());
        if sealed {
            outbox.push(self.out, 0);
        } else {
            // A used-up key: nothing can be said any more, and nothing must be said in the clear.
            outbox.close();
        }
    }
}

impl Message {
    fn sign(&self, out: &mut [u8]) {
        let key = self.signer.as_ref().and_then(|channel| channel.signing());
        if let (Some(key), Some(message)) = (key, out.get_mut(self.start..)) {
            key.sign(message);
        }
    }
}

/// Which header answers a request, beside what the request's own header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addressing {
    pub(crate) session_id: SessionId,
    pub(crate) tree_id: TreeId,
    /// Set once the request went asynchronous.
    pub(crate) async_id: Option<u64>,
}

impl Addressing {
    pub(crate) fn header(&self, request: &Header, credits: u16) -> Header {
        let process_id = match request.route {
            Route::Sync { process_id, .. } => process_id,
            Route::Async { .. } => 0,
        };
        let route = match self.async_id {
            Some(id) => Route::Async {
                async_id: AsyncId(id),
            },
            None => Route::Sync {
                process_id,
                tree_id: self.tree_id,
            },
        };
        let response = request.response(NtStatus::SUCCESS, credits);
        Header {
            session_id: self.session_id,
            route,
            ..response
        }
    }
}
