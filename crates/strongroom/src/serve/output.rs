//! Answers that wait to be written to one client.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Buffers in one write (IOV_MAX is 1,024).
const SLICES_MAX: usize = 64;

/// The answers in their order; of the first one some bytes may be gone already.
#[derive(Debug)]
pub(super) struct Output<T> {
    answers: VecDeque<T>,
    sent_of_first: usize,
    bytes: usize,
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Self {
            answers: VecDeque::new(),
            sent_of_first: 0,
            bytes: 0,
        }
    }
}

impl<T: AsRef<[u8]>> Output<T> {
    pub(super) fn add(&mut self, answers: impl IntoIterator<Item = T>) {
        for answer in answers {
            self.bytes += answer.as_ref().len();
            self.answers.push_back(answer);
        }
    }

    /// Bytes that the client has not taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Writes as much as `writer` takes now; waits for nothing.
    pub(super) async fn send_ready(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        poll_fn(|context| {
            while !self.is_empty() {
                match self.poll_send(writer, context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits until `writer` takes something, for ever while there is nothing.
    pub(super) async fn send_some(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        if self.is_empty() {
            return pending().await;
        }
        poll_fn(|context| self.poll_send(writer, context)).await
    }

    /// One vectored write of the first answers.
    fn poll_send(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut skip = self.sent_of_first;
        let mut count = 0;
        for (slice, answer) in slices.iter_mut().zip(&self.answers) {
            *slice = IoSlice::new(answer.as_ref().get(skip..).unwrap_or_default());
            skip = 0;
            count += 1;
        }
        let written = Pin::new(writer).poll_write_vectored(context, &slices[..count]);
        written.map_ok(|bytes| self.advance(bytes))
    }

    /// Forgets bytes that were written.
    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.answers.front() {
            let left = first.as_ref().len() - self.sent_of_first;
            if written < left {
                self.sent_of_first += written;
                return;
            }
            written -= left;
            self.sent_of_first = 0;
            self.answers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at each write, and none at every third.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        writes: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes += 1;
            if self.writes.is_multiple_of(3) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken = bytes.len().min(self.writes % 7 + 1);
            self.taken.extend(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn every_byte_is_written_once_and_in_order_however_little_is_taken() {
        let (mut output, mut slow) = (Output::default(), Slow::default());
        let mut expected = Vec::new();
        for length in [3_u8, 1, 200, 64, 9] {
            let answer: Vec<u8> = (0..length).collect();
            expected.extend(&answer);
            output.add([answer]);
            output.send_ready(&mut slow).await.unwrap();
            assert_eq!(slow.taken.len() + output.bytes(), expected.len());
        }
        while !output.is_empty() {
            output.send_some(&mut slow).await.unwrap();
        }
        assert_eq!((slow.taken, output.bytes()), (expected, 0));
    }
}
