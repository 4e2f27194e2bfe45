//! Bodies on their way out and in.
//!
//! Owns: the sizes that a rule allows, the time between two pieces of a response, and the end of a
//! response, at which its connection is free again. It must not know who reads or writes a body.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::errors::of_hyper;
use super::pool::Lease;
use super::secrets::Secrets;

/// Bytes that may still pass.
struct Room {
    left: u64,
    most: u64,
}

impl Room {
    fn new(most: Option<u64>) -> Option<Room> {
        most.map(|most| Room { left: most, most })
    }

    /// `false`: there is too little.
    fn take(room: &mut Option<Room>, frame: &Frame<Bytes>) -> bool {
        let (Some(room), Some(data)) = (room, frame.data_ref()) else {
            return true;
        };
        match room.left.checked_sub(data.len() as u64) {
            Some(left) => {
                room.left = left;
                true
            }
            None => false,
        }
    }
}

/// Whether a request has been sent to its end.
#[derive(Clone, Default)]
pub struct Sent(Arc<AtomicBool>);

impl Sent {
    fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A request's body.
pub struct Outgoing {
    body: WasiBody,
    room: Option<Room>,
    sent: Sent,
}

impl Outgoing {
    /// Of so many bytes at most.
    pub fn new(body: WasiBody, most: Option<u64>, sent: Sent) -> Outgoing {
        Outgoing {
            body,
            room: Room::new(most),
            sent,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match polled {
            Poll::Ready(Some(Ok(frame))) if !Room::take(&mut this.room, &frame) => {
                let most = this.room.as_ref().map(|room| room.most);
                Poll::Ready(Some(Err(HttpError::HttpRequestBodySize(most))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Whoever sends it keeps it until its end, or closes the connection.
        self.sent.0.store(true, Ordering::Release);
    }
}

/// What a server sends, without the values of secrets in its trailers.
pub struct Received {
    incoming: Incoming,
    secrets: Arc<Secrets>,
}

impl Received {
    /// From a server that may have been sent these.
    pub fn new(incoming: Incoming, secrets: Arc<Secrets>) -> Received {
        Received { incoming, secrets }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut polled = Pin::new(&mut self.incoming).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            self.secrets.take_out(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A response's body.
pub struct Answer {
    incoming: Received,
    lease: Option<Lease>,
    sent: Sent,
    room: Option<Room>,
    pause: Option<Duration>,
    /// Runs while the reader waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    /// Of so many bytes at most, with so long a pause between two pieces.
    pub fn new(
        incoming: Received,
        lease: Lease,
        sent: Sent,
        most: Option<u64>,
        pause: Option<Duration>,
    ) -> Answer {
        let mut answer = Answer {
            incoming,
            lease: Some(lease),
            sent,
            room: Room::new(most),
            pause,
            timer: None,
        };
        if answer.incoming.is_end_stream() {
            answer.end();
        }
        answer
    }

    /// The connection is free, unless the request is still under way: the server has answered early.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.sent.is()
        {
            lease.release();
        }
    }

    fn fail(&mut self, error: HttpError) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.lease = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                if !Room::take(&mut this.room, &frame) {
                    let most = this.room.as_ref().map(|room| room.most);
                    return this.fail(HttpError::HttpResponseBodySize(most));
                }
                if this.incoming.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(of_hyper(&error)),
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(pause) = this.pause else {
                    return Poll::Pending;
                };
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
                match timer.as_mut().poll(context) {
                    Poll::Ready(()) => this.fail(HttpError::ConnectionReadTimeout),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
