//! A stream whose bytes somebody pays for.
//!
//! Owns: the counting, and who pays at the moment: a connection outlives the call that made it. It
//! must not know HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::budget::CallBudget;

/// What a connection runs over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The call that pays for what a connection carries; none while it rests.
#[derive(Default)]
pub struct Payer(Mutex<Option<Arc<CallBudget>>>);

impl Payer {
    /// From now on this call pays, or nobody.
    pub fn set(&self, budget: Option<Arc<CallBudget>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = budget;
    }

    fn charge(&self, bytes: usize) -> io::Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(budget) => budget.charge(bytes),
            None => Ok(()),
        }
    }
}

/// A stream and its payer.
pub struct Counted {
    stream: Box<dyn Stream>,
    payer: Arc<Payer>,
}

impl Counted {
    /// Over a stream.
    pub fn new(stream: Box<dyn Stream>, payer: Arc<Payer>) -> Counted {
        Counted { stream, payer }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.payer.charge(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        Poll::Ready(self.payer.charge(written).map(|()| written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts))?;
        Poll::Ready(self.payer.charge(written).map(|()| written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
