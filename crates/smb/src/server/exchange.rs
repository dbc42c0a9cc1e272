//! The requests of one frame on their way to their answers, one after the other (MS-SMB2 3.3.5.2.7).
//!
//! What can be answered at once is answered at once. The first request that must wait takes the exchange along into a
//! task, which goes on with the rest of the frame when the wait is over.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use strongroom_device::BoxFuture;
use strongroom_vfs::grants::waits_for_holder;

use super::answer::{Answer, Body, Step};
use super::caching::Hushed;
use super::connection::{Conn, WaitingBytes};
use super::dispatch::dispatch;
use super::outbox::Unsent;
use super::reply::{Addressing, Begun, Reply};
use super::request::{Related, Request};
use super::session::Session;
use super::session_channel::SessionChannel;
use super::status::Failure;
use super::waiting::Waiter;
use crate::wire::header::{Header, HeaderFlags};
use crate::wire::transport::TRANSPORT_MAX;
use crate::wire::{Command, NtStatus, SessionId};

/// A request that works longer than this gets an interim response, so that its client does not give up.
const SLOW: Duration = Duration::from_secs(2);
/// A guess of what an answer takes, headers included.
const ANSWER_BYTES: usize = 512;
/// An answer is at most this much longer than what its request's credits pay for.
const ANSWER_SLACK: usize = 64 << 10;

/// One request of a frame.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) header: Header,
    /// The message ids that it uses up.
    pub(crate) charge: u16,
    /// Header, body and padding in the frame.
    pub(crate) range: Range<usize>,
    pub(crate) signature: Signature,
    /// Whose key the signature was checked with.
    pub(crate) signer: Option<Arc<SessionChannel>>,
}

/// What was found of a request's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// There is none, or none that could be checked.
    None,
    Valid,
    Wrong,
}

impl Element {
    pub(crate) fn new(header: Header, charge: u16, range: Range<usize>) -> Self {
        Self {
            header,
            charge,
            range,
            signature: Signature::None,
            signer: None,
        }
    }
}

impl Element {
    /// Bytes that its answer may take, headers included.
    fn answer_bytes(&self) -> usize {
        let command = self.header.command;
        let large = matches!(
            command,
            Command::Read | Command::QueryDirectory | Command::QueryInfo | Command::Ioctl
        );
        if large {
            self.paid() + ANSWER_SLACK
        } else {
            ANSWER_BYTES
        }
    }

    /// What its credits pay for (MS-SMB2 3.3.5.2.5).
    fn paid(&self) -> usize {
        usize::from(self.charge.max(1)) << 16
    }

    /// Whose key signs the answer. What is said of a further channel before it has a key of its own is signed with that of
    /// the session, as its requests are (MS-SMB2 3.3.5.5.3). A request with a wrong signature may come from anybody: only on a channel of its own
    /// connection, where its message id is used up, is it answered with a signature.
    fn answerer(&self) -> Option<&Arc<SessionChannel>> {
        let signer = self.signer.as_ref()?;
        let may = match self.signature {
            Signature::Valid => true,
            Signature::Wrong => signer.is_established(),
            Signature::None => false,
        };
        may.then_some(signer)
    }
}

#[derive(Debug)]
pub(crate) struct Exchange {
    conn: Arc<Conn>,
    frame: Bytes,
    elements: SmallVec<[Element; 2]>,
    next: usize,
    encrypted: Option<Arc<Session>>,
    reply: Reply,
    related: Related,
    /// Once it is in a task.
    waiting: Option<WaitingBytes>,
    /// Breaks that must come after what is in the reply.
    hushed: Vec<Hushed>,
    /// What the answers may take that were made in a task.
    reserved: Vec<Unsent>,
}

/// A request that is not done yet.
enum Pending {
    Work(Current, BoxFuture<Answer>),
    Wait(Current, Arc<Waiter>, BoxFuture<Answer>),
}

/// A request under way: what its answer needs.
#[derive(Debug)]
struct Current {
    header: Header,
    addressing: Addressing,
    signer: Option<Arc<SessionChannel>>,
    /// It claims to be signed.
    claims: bool,
    charge: u16,
    last: bool,
}

impl Exchange {
    pub(crate) fn new(
        conn: Arc<Conn>,
        frame: Bytes,
        elements: SmallVec<[Element; 2]>,
        encrypted: Option<Arc<Session>>,
    ) -> Self {
        let reply = Reply::new(ANSWER_BYTES * elements.len());
        Self {
            conn,
            frame,
            elements,
            next: 0,
            encrypted,
            reply,
            related: Related::default(),
            waiting: None,
            hushed: Vec::new(),
            reserved: Vec::new(),
        }
    }

    /// Answers until all is answered or something waits.
    pub(crate) fn run(mut self) {
        while self.next < self.elements.len() {
            match self.advance() {
                None => {}
                Some(pending) => return self.put_off(pending),
            }
        }
        self.send();
    }

    /// The same in a task. The reader of the connection stops while much is unsent, a task does not hear of that: it
    /// must ask before it makes more.
    async fn go_on(mut self) {
        while let Some(element) = self.elements.get(self.next) {
            let bytes = element.answer_bytes();
            let unsent = self.conn.outbox.reserve(bytes).await;
            self.reserved.push(unsent);
            if let Some(pending) = self.advance() {
                return self.put_off(pending);
            }
        }
        self.send();
    }

    fn send(self) {
        self.reply
            .send(&self.conn.outbox, self.encrypted.as_deref());
        drop(self.hushed);
        // Counted as queued now.
        drop(self.reserved);
    }

    /// Takes one request to its answer, or as far as it goes at once.
    fn advance(&mut self) -> Option<Pending> {
        let element = self.elements.get(self.next)?;
        if element.header.command == Command::Cancel {
            self.cancel();
            return None;
        }
        let (current, step) = self.step();
        match step {
            Step::Now(_) => {}
            Step::Answer(answer) => self.answer(&current, answer),
            Step::Later(work) => match poll_once(work) {
                Ok(answer) => self.answer(&current, answer),
                Err(work) => return Some(Pending::Work(current, work)),
            },
            Step::Wait(waiter, work) => match poll_once(work) {
                Ok(answer) => {
                    self.conn.waiters.leave(&waiter);
                    self.answer(&current, answer);
                }
                Err(work) if current.last => return Some(Pending::Wait(current, waiter, work)),
                Err(_) => self.refuse_to_wait(&current, &waiter),
            },
        }
        None
    }

    fn put_off(self, pending: Pending) {
        match pending {
            Pending::Work(current, work) => self.work_later(current, work),
            Pending::Wait(current, waiter, work) => self.wait(current, waiter, work),
        }
    }

    /// Only the last request of a frame may go asynchronous (MS-SMB2 3.3.5.2.7).
    fn refuse_to_wait(&mut self, current: &Current, waiter: &Waiter) {
        self.conn.waiters.leave(waiter);
        self.answer(current, Err(NtStatus::INTERNAL_ERROR.into()));
    }

    /// Takes the next request as far as it goes at once.
    fn step(&mut self) -> (Current, Step) {
        let index = self.next;
        self.next += 1;
        let last = self.next == self.elements.len();
        let element = self.elements.get(index).expect("run looked");
        let admitted = Request::admit(
            &self.conn,
            &self.frame,
            element,
            index,
            &mut self.related,
            self.encrypted.as_ref(),
        );
        let header = element.header;
        tracing::trace!(command = ?header.command, id = header.message_id.0, "request");
        let current = Current {
            header,
            addressing: self.related.addressing(&header),
            signer: element.answerer().cloned(),
            claims: self.encrypted.is_none() && header.flags.contains(HeaderFlags::SIGNED),
            charge: element.charge,
            last,
        };
        let request = match admitted {
            Ok(request) => request,
            Err(failure) => return (current, Step::Answer(Err(failure))),
        };
        if !self.has_room_for(&current) {
            let failure = NtStatus::INSUFFICIENT_RESOURCES.into();
            return (current, Step::Answer(Err(failure)));
        }
        if let Some(form) = request.wants_compression() {
            self.reply.compress(form);
        }
        let begun = self.reply.begin(&current.addressing.header(&header, 0));
        let step = dispatch(request, self.reply.body());
        if let Step::Now(status) = step {
            self.related.succeeded();
            let credits = self.credits(&current);
            let mut head = self.reply.head(begun);
            head.set_status(status);
            head.set_credits(credits);
            self.reply.complete(begun, current.signer.clone());
            return (current, step);
        }
        (current, step)
    }

    /// Whether the answer is sure to fit behind those before it into what the transport can carry.
    fn has_room_for(&self, current: &Current) -> bool {
        let paid = usize::from(current.charge.max(1)) << 16;
        self.reply.len() == 0 || self.reply.len() + paid + ANSWER_SLACK <= TRANSPORT_MAX
    }

    /// The credits that go back with the first answer to a request.
    fn credits(&self, current: &Current) -> u16 {
        let mut window = self.conn.window.lock();
        window.answer(current.charge, current.header.credits)
    }

    /// Lays out the answer of a request that did not write its own.
    fn answer(&mut self, current: &Current, answer: Answer) {
        let mut addressing = current.addressing;
        let mut signer = current.signer.clone();
        let mut answer = answer;
        if let Ok(body) = &mut answer {
            self.hushed.extend(body.take_hushed());
            self.related.learn(body);
            body.address(&mut addressing);
            signer = body.signer().or(signer);
        }
        let credits = if addressing.async_id.is_some() {
            0
        } else {
            self.credits(current)
        };
        let begun = self
            .reply
            .begin(&addressing.header(&current.header, credits));
        match answer {
            Ok(body) => signer = self.lay_out(begun, &body, signer),
            Err(failure) => {
                let unsignable = current.claims && signer.is_none();
                self.lay_out_failure(begun, &failure, unsignable);
            }
        }
        self.reply.complete(begun, signer);
    }

    /// Whoever is still to sign it.
    fn lay_out(
        &mut self,
        begun: Begun,
        body: &Body,
        signer: Option<Arc<SessionChannel>>,
    ) -> Option<Arc<SessionChannel>> {
        let status = body.status();
        tracing::trace!(?status, "answered");
        self.reply.head(begun).set_status(status);
        body.encode(self.reply.body());
        if !body.is_hashed() {
            return signer;
        }
        // The hash is over what the client sees, a signature too.
        self.reply.sign(begun, signer.as_deref());
        body.hash(&self.conn, self.reply.message(begun));
        None
    }

    /// Where no key is known to sign a refusal with, it says that it is signed and is not, as from Windows: that is what
    /// clients take which otherwise end the connection.
    fn lay_out_failure(&mut self, begun: Begun, failure: &Failure, unsignable: bool) {
        self.related.failed(failure.status);
        tracing::trace!(status = ?failure.status, "refused");
        let mut head = self.reply.head(begun);
        head.set_status(failure.status);
        if unsignable {
            head.set_flags(head.flags() | HeaderFlags::SIGNED);
        }
        let in_context = self
            .conn
            .negotiated
            .get()
            .is_some_and(|negotiated| negotiated.is_311());
        failure.encode(in_context, self.reply.body());
    }

    /// Sends what is complete and STATUS_PENDING for the current request (MS-SMB2 3.3.4.2).
    fn send_interim(&mut self, current: &mut Current, async_id: u64) {
        current.addressing.async_id = Some(async_id);
        let credits = self.credits(current);
        let header = current.addressing.header(&current.header, credits);
        let begun = self.reply.begin(&header);
        self.reply.head(begun).set_status(NtStatus::PENDING);
        Failure::from(NtStatus::PENDING).encode(false, self.reply.body());
        let signer = current
            .signer
            .clone()
            .filter(|channel| channel.may_sign_twice());
        self.reply.complete(begun, signer);
        let next = Reply::new(ANSWER_BYTES);
        let interim = std::mem::replace(&mut self.reply, next);
        interim.send(&self.conn.outbox, self.encrypted.as_deref());
        self.hushed.clear();
    }

    /// Goes asynchronous at once: nobody knows how long a lock or a change takes.
    fn wait(mut self, mut current: Current, waiter: Arc<Waiter>, work: BoxFuture<Answer>) {
        self.send_interim(&mut current, waiter.async_id);
        // It was the frame's last request, and what may wait for days must not hold the buffer that it came in.
        self.frame = Bytes::new();
        let conn = Arc::clone(&self.conn);
        let task = async move {
            let answer = work.await;
            self.conn.waiters.leave(&waiter);
            self.answer(&current, answer);
            self.send();
        };
        conn.server.env.spawn("smb wait", Box::pin(task));
    }

    /// Goes on in a task; asynchronous on the wire only if it takes long.
    fn work_later(mut self, mut current: Current, work: BoxFuture<Answer>) {
        if self.waiting.is_none() {
            self.waiting = Some(self.conn.hold(self.frame.len()));
        }
        let conn = Arc::clone(&self.conn);
        let task = async move {
            let answer = match self.until_slow(work).await {
                Ok(answer) => answer,
                Err(work) => {
                    let waiter = self.conn.waiters.enter(current.header.message_id.0);
                    if let Some(waiter) = &waiter {
                        self.send_interim(&mut current, waiter.async_id);
                    }
                    let answer = match &waiter {
                        Some(waiter) => {
                            let goes_on = || self.has_other_channels(&current);
                            until_cancelled(work, waiter, goes_on).await
                        }
                        None => work.await,
                    };
                    waiter
                        .iter()
                        .for_each(|waiter| self.conn.waiters.leave(waiter));
                    answer
                }
            };
            self.answer(&current, answer);
            self.go_on().await;
        };
        conn.server.env.spawn("smb request", Box::pin(task));
    }

    /// The work back when it is not done after [`SLOW`], or when it waits for another client, which may take long.
    async fn until_slow(&self, mut work: BoxFuture<Answer>) -> Result<Answer, BoxFuture<Answer>> {
        let mut slow = self.conn.server.env.sleep(SLOW);
        let first = poll_fn(|context| {
            waits_for_holder();
            if let Poll::Ready(answer) = work.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            if waits_for_holder() {
                return Poll::Ready(None);
            }
            slow.as_mut().poll(context).map(|()| None)
        })
        .await;
        first.ok_or(work)
    }

    /// A request is its session's: it goes on when its connection is lost and the session has others, so that its replay
    /// finds what came of it.
    fn has_other_channels(&self, current: &Current) -> bool {
        let session = self.conn.server.find_session(current.header.session_id);
        session.is_some_and(|session| {
            let conns = session.connections();
            conns.iter().any(|conn| conn.id != self.conn.id)
        })
    }

    /// CANCEL has no answer and uses no credit (MS-SMB2 3.3.5.16).
    fn cancel(&mut self) {
        let Some(element) = self.elements.get(self.next) else {
            return;
        };
        self.next += 1;
        let authentic = self.encrypted.is_some() || element.signature == Signature::Valid;
        if authentic || self.may_cancel_unsigned(element) {
            self.conn.waiters.cancel(&element.header);
        }
    }

    /// A session in which nothing is signed because its server does not ask for it.
    fn may_cancel_unsigned(&self, element: &Element) -> bool {
        !self.conn.server.config.signing_required
            && element.signature == Signature::None
            && element.header.session_id != SessionId(0)
    }
}

/// The answer, or the work back when it is not done.
fn poll_once(mut work: BoxFuture<Answer>) -> Result<Answer, BoxFuture<Answer>> {
    let polled = pin!(&mut work).poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(work),
    }
}

/// Works until it is done, or is cancelled while it waits for another client's answer: it has had no effect then. Whether
/// it goes on without its connection is asked when that is lost.
async fn until_cancelled(
    mut work: BoxFuture<Answer>,
    waiter: &Waiter,
    goes_on: impl Fn() -> bool,
) -> Answer {
    let mut ended = pin!(waiter.ended());
    let answer = poll_fn(|context| {
        waits_for_holder();
        if let Poll::Ready(answer) = work.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        if !waits_for_holder() || ended.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let stays = waiter.is_lost() && goes_on();
        Poll::Ready((!stays).then(|| Err(NtStatus::CANCELLED.into())))
    })
    .await;
    match answer {
        Some(answer) => answer,
        None => work.await,
    }
}
