//! Calls to clients of version 4.1 and later (RFC 8881, 20): CB_SEQUENCE and one operation behind it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use strongroom_device::Env;

use super::Status;
use super::state::{Backchannel, Client, Delegation, Security, Session, lease, recall_time};
use super::types::{Bitmap, RawAttributes, Stateid};
use crate::server::Server;
use crate::xdr::{Decoder, Encoder, Opaque, Xdr, XdrError};

const CB_COMPOUND: u32 = 1;
const VERSION: u32 = 1;
const CB_GETATTR: u32 = 3;
const CB_RECALL: u32 = 4;
const CB_SEQUENCE: u32 = 11;

/// How long an answer is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long a client that is asked for attributes keeps another waiting.
const ATTRIBUTES_TIME: Duration = Duration::from_secs(2);
/// Between one attempt and the next, at first.
const RETRY_TIME: Duration = Duration::from_millis(100);
const RETRY_TIME_MAX: Duration = Duration::from_secs(5);

/// What a client is called for.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Only to see whether it can be called.
    None,
    Recall {
        id: Stateid,
        file: Vec<u8>,
    },
    GetAttributes {
        file: Vec<u8>,
        asked: Bitmap,
    },
}

/// Why a call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// No connection leads to the client, or nobody answers.
    Nobody,
    /// The client does not know the session, or answers nonsense.
    Faulty,
    /// The operation failed.
    Failed(Status),
}

impl From<XdrError> for Unanswered {
    fn from(_: XdrError) -> Self {
        Self::Faulty
    }
}

impl Operation {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::None => {}
            Self::Recall { id, file } => {
                to.u32(CB_RECALL);
                id.encode(to);
                // Its content stays (RFC 8881, 20.2.1).
                to.bool(false).opaque(file);
            }
            Self::GetAttributes { file, asked } => {
                to.u32(CB_GETATTR).opaque(file);
                asked.encode(to);
            }
        }
    }

    fn count(&self) -> u32 {
        match self {
            Self::None => 1,
            Self::Recall { .. } | Self::GetAttributes { .. } => 2,
        }
    }
}

/// Waits no longer than that.
pub(crate) async fn within<T>(
    env: &dyn Env,
    time: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut work, mut late) = (pin!(work), env.sleep(time));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        late.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Calls a client by any of its sessions; what stands behind the operation's status.
pub(crate) async fn call(
    server: &Arc<Server>,
    client: &Client,
    operation: &Operation,
) -> Result<Bytes, Unanswered> {
    let mut outcome = Err(Unanswered::Nobody);
    for session in server.state.sessions_of(client.id) {
        outcome = call_by(server, &session, operation).await;
        if !matches!(outcome, Err(Unanswered::Nobody | Unanswered::Faulty)) {
            break;
        }
    }
    outcome
}

/// Calls a client by one of its sessions.
pub(crate) async fn call_by(
    server: &Arc<Server>,
    session: &Session,
    operation: &Operation,
) -> Result<Bytes, Unanswered> {
    let back = &session.back;
    if back.is_faulty() {
        return Err(Unanswered::Faulty);
    }
    let (slot, mut last) = back.slot().await;
    let mut outcome = Err(Unanswered::Nobody);
    // A slot whose last answer was lost may be ahead of what is known of it.
    for _ in 0..2 {
        outcome = exchange(server, session, (slot, last.wrapping_add(1)), operation).await;
        let lost = [Status::SEQ_MISORDERED, Status::SEQ_FALSE_RETRY];
        match outcome {
            Err(Unanswered::Failed(status)) if lost.contains(&status) => {
                *last = last.wrapping_add(1);
            }
            Ok(_) | Err(Unanswered::Failed(_)) => {
                *last = last.wrapping_add(1);
                break;
            }
            Err(Unanswered::Nobody | Unanswered::Faulty) => break,
        }
    }
    match outcome {
        Err(Unanswered::Failed(Status::BADSESSION | Status::BADSLOT)) | Err(Unanswered::Faulty) => {
            back.set_faulty();
            return Err(Unanswered::Faulty);
        }
        Err(Unanswered::Nobody) => back.set_silent(true),
        Ok(_) | Err(Unanswered::Failed(_)) => back.set_silent(false),
    }
    outcome
}

async fn exchange(
    server: &Arc<Server>,
    session: &Session,
    (slot, sequence): (u32, u32),
    operation: &Operation,
) -> Result<Bytes, Unanswered> {
    let back: &Backchannel = &session.back;
    let (peer, program, security) = back.way().ok_or(Unanswered::Nobody)?;
    let answer = peer.call(|xid, to| {
        head(to, xid, program, CB_COMPOUND, &security);
        to.opaque(b"")
            .u32(session.minor)
            .u32(0)
            .u32(operation.count());
        to.u32(CB_SEQUENCE).fixed(&session.id).u32(sequence);
        let highest = back.slots().saturating_sub(1);
        // Nothing is kept for a second time, and no call of the client's is referred to.
        to.u32(slot).u32(highest).bool(false).u32(0);
        operation.encode(to);
    });
    let answer = within(&*server.env, ANSWER_TIME, answer).await;
    let answer = answer.flatten().ok_or(Unanswered::Nobody)?;
    let mut from = Decoder::new(&answer);
    read_answer(&mut from, operation)?;
    Ok(answer.slice_ref(from.rest()))
}

fn head(to: &mut Encoder, xid: u32, program: u32, procedure: u32, security: &Security) {
    to.u32(xid).u32(0).u32(2);
    to.u32(program).u32(VERSION).u32(procedure);
    match security {
        Security::None => to.u32(0).u32(0),
        Security::Sys(body) => to.u32(1).opaque(body),
    };
    to.u32(0).u32(0);
}

/// Reads up to what stands behind the status of the operation.
fn read_answer(from: &mut Decoder<'_>, operation: &Operation) -> Result<(), Unanswered> {
    let _status = from.u32()?;
    Opaque::<1_024>::decode(from)?;
    let count = from.u32()?;
    if count == 0 || from.u32()? != CB_SEQUENCE {
        return Err(Unanswered::Faulty);
    }
    let status = Status(from.u32()?);
    if status != Status::OK {
        return Err(Unanswered::Failed(status));
    }
    from.fixed::<16>()?;
    for _ in 0..4 {
        from.u32()?;
    }
    if matches!(operation, Operation::None) {
        return Ok(());
    }
    if count < 2 {
        return Err(Unanswered::Faulty);
    }
    from.u32()?;
    match Status(from.u32()?) {
        Status::OK => Ok(()),
        status => Err(Unanswered::Failed(status)),
    }
}

/// Sees whether a session's client can be called.
pub(crate) fn probe(server: &Arc<Server>, session: &Arc<Session>) {
    let (server, session) = (Arc::clone(server), Arc::clone(session));
    let env = Arc::clone(&server.env);
    env.spawn(
        "probe of a backchannel",
        Box::pin(async move {
            let found = call_by(&server, &session, &Operation::None).await;
            if let Err(error) = found {
                tracing::debug!(?error, "a client cannot be called back");
            }
        }),
    );
}

/// Calls a delegation back until it is given back; who does not do so in time loses it. A client that was not heard of for
/// longer than its lease loses all that it holds.
pub(crate) async fn recall(server: &Arc<Server>, delegation: &Arc<Delegation>) {
    let env = &*server.env;
    let deadline = env.monotonic() + recall_time();
    let mut pause = RETRY_TIME;
    while !delegation.is_over() {
        let Some(client) = delegation.client.upgrade() else {
            return delegation.end();
        };
        let now = env.monotonic();
        if now.saturating_sub(client.renewed()) > lease() {
            return server.state.forget(client.id);
        }
        if now >= deadline {
            tracing::info!(
                inode = delegation.inode.0,
                "a delegation was not given back in time"
            );
            return client.revoke(delegation);
        }
        let operation = Operation::Recall {
            id: delegation.stateid(),
            file: delegation.file.clone(),
        };
        let outcome = within(env, deadline - now, call(server, &client, &operation)).await;
        drop(client);
        let left = deadline.saturating_sub(env.monotonic());
        let wait = if matches!(outcome, Some(Ok(_))) {
            left
        } else {
            // It may not have heard yet that it has it, or of its session's other connection.
            pause = (pause * 2).min(RETRY_TIME_MAX);
            pause.min(left)
        };
        wait_for_end(env, delegation, wait).await;
    }
}

async fn wait_for_end(env: &dyn Env, delegation: &Delegation, time: Duration) {
    let mut over = pin!(delegation.over.notified());
    over.as_mut().enable();
    if !delegation.is_over() {
        within(env, time, over).await;
    }
}

/// What the holder of a delegation for writing has made of the file: its count of changes, and its size.
pub(crate) async fn attributes(
    server: &Arc<Server>,
    delegation: &Delegation,
) -> Option<(u64, u64)> {
    use super::attributes::number::{CHANGE, SIZE};
    let client = delegation.client.upgrade()?;
    let operation = Operation::GetAttributes {
        file: delegation.file.clone(),
        asked: Bitmap::of(&[CHANGE, SIZE]),
    };
    let answer = call(server, &client, &operation);
    let answer = within(&*server.env, ATTRIBUTES_TIME, answer).await?.ok()?;
    let given = RawAttributes::decode(&mut Decoder::new(&answer)).ok()?;
    if given.mask != Bitmap::of(&[CHANGE, SIZE]) {
        return None;
    }
    let mut from = Decoder::new(given.values.0);
    Some((from.u64().ok()?, from.u64().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut to = Encoder::default();
        to.u32(0).opaque(b"").u32(2);
        to.u32(CB_SEQUENCE).u32(0).fixed(&[1; 16]);
        to.u32(1).u32(0).u32(0).u32(0);
        to.u32(CB_RECALL).u32(0);
        to.into_vec()
    }

    #[test]
    fn every_cut_of_an_answer_is_refused() {
        let operation = Operation::Recall {
            id: Stateid::ANONYMOUS,
            file: Vec::new(),
        };
        let bytes = answer();
        assert_eq!(read_answer(&mut Decoder::new(&bytes), &operation), Ok(()));
        for len in 0..bytes.len() {
            let cut = read_answer(&mut Decoder::new(&bytes[..len]), &operation);
            assert_eq!(cut, Err(Unanswered::Faulty), "{len}");
        }
    }
}
