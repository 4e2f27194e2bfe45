//! One request to a component's `wasi:http` handler, in a fresh instance.
//!
//! Owns: bodies in both directions and their backpressure.
//! The guest writes the response into a channel of one chunk, so guest and reader are polled
//! together: each makes room for the other. It must not know on which thread it runs; only that
//! events may be sent once it is on the workers.

use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use wasmtime::Result;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::abi::{
    ATOLL_CHUNK_BYTES_MAX, ATOLL_FLAG_END, ATOLL_KIND_BODY, ATOLL_KIND_HEAD, ATOLL_OK, ATOLL_TRAP,
    ATOLL_WOULD_BLOCK,
};
use crate::call::Payload;
use crate::component::{ExportKind, Handler};
use crate::error::Outcome;
use crate::exports::Callee;
use crate::http_head;
use crate::http3;
use crate::instance::{self, Data};
use crate::isolation;
use crate::limits::Limits;
use crate::meter;
use crate::state::CallState;

const CHUNK: usize = ATOLL_CHUNK_BYTES_MAX as usize;

/// How often guest and reader take turns in one poll: each may be as short as a byte.
const TURNS_MAX: u32 = 64;

/// What a request needs.
pub struct Job {
    /// The handler.
    pub callee: Arc<Callee>,
    /// Limits at the time of the request.
    pub limits: Limits,
    /// The call; chunks of its body arrive there.
    pub state: Arc<CallState>,
    /// The head and the beginning of the body.
    pub payload: Payload,
    /// The payload holds the whole body.
    pub whole: bool,
}

/// What a guest answers with, by the version of its `wasi:http`.
type Answered<B, E> = std::result::Result<http::Response<B>, E>;

/// Serves the request. The instance is gone when this is done.
pub async fn run(job: Job) -> Outcome {
    let ExportKind::Http(handler) = &job.callee.export.kind else {
        return Outcome::unsupported("a function takes CALL frames");
    };
    let request = match request(&job) {
        Ok(request) => request,
        Err(outcome) => return outcome,
    };
    match handler {
        Handler::Incoming(proxy) => {
            let (sender, receiver) = oneshot::channel();
            exchange(&job, handle(proxy, &job, request, sender), receiver).await
        }
        Handler::Service(service) => {
            let (sender, receiver) = oneshot::channel();
            let guest = http3::handle(service, &job, request, sender);
            exchange(&job, guest, receiver).await
        }
    }
}

/// Runs a guest and reads its response.
async fn exchange<B, E>(
    job: &Job,
    guest: impl Future<Output = Result<()>>,
    receiver: oneshot::Receiver<Answered<B, E>>,
) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
    E: Debug,
{
    let guest = pin!(guest);
    let mut exchange = Exchange {
        guest,
        ended: None,
        receiver,
        response: None,
        limits: &job.limits,
        state: &job.state,
    };
    std::future::poll_fn(|context| exchange.poll(context)).await
}

/// Instantiates and runs the guest to its end.
async fn handle(
    proxy: &ProxyPre<Data>,
    job: &Job,
    request: http::Request<UnsyncBoxBody<Bytes, Infallible>>,
    sender: oneshot::Sender<Answered<HyperOutgoingBody, ErrorCode>>,
) -> Result<()> {
    let plugin = &job.callee.export.plugin;
    let mut store = instance::store(proxy.engine(), plugin, &job.limits, job.state.call());
    instance::expect_plain(&mut store, &job.limits);
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(scheme, request)?;
    let out = store.data_mut().http().new_response_outparam(sender)?;
    let reserve = plugin.reserve();
    let proxy = loop {
        match proxy.instantiate_async(&mut store).await {
            // What rests gives way. The pool refuses before it has made anything.
            Err(error) if isolation::is_full(&error) && reserve.make_room() => {}
            made => break made?,
        }
    };
    proxy
        .wasi_http_incoming_handler()
        .call_handle(&mut store, request, out)
        .await
}

/// A guest and the reader of its response.
struct Exchange<'a, G, B, E> {
    guest: Pin<&'a mut G>,
    ended: Option<Result<()>>,
    receiver: oneshot::Receiver<Answered<B, E>>,
    response: Option<Sending<B>>,
    limits: &'a Limits,
    state: &'a CallState,
}

impl<G, B, E> Exchange<'_, G, B, E>
where
    G: Future<Output = Result<()>>,
    B: Body<Data = Bytes> + Unpin,
    E: Debug,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        for _ in 0..TURNS_MAX {
            if self.ended.is_none()
                && let Poll::Ready(result) = self.guest.as_mut().poll(context)
            {
                self.ended = Some(result);
            }
            if self.response.is_none() {
                match Pin::new(&mut self.receiver).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(answered) => match self.answered(answered.ok()) {
                        Ok(sending) => self.response = Some(sending),
                        Err(outcome) => return Poll::Ready(outcome),
                    },
                }
            }
            let Some(sending) = &mut self.response else {
                return Poll::Pending;
            };
            if let Some(Err(error)) = &self.ended
                && sending.body.is_some()
            {
                return Poll::Ready(Outcome::from_wasmtime(error, self.limits));
            }
            match sending.poll(context, self.state) {
                // The guest yielded because its slice is over: whoever polls this decides.
                Progress::Again if meter::overran() => break,
                Progress::Again => {}
                Progress::Waits => return Poll::Pending,
                Progress::Broken => {
                    return Poll::Ready(Outcome::message(
                        ATOLL_TRAP,
                        "the guest broke off the response's body",
                    ));
                }
                Progress::Complete if self.ended.is_some() => {
                    return Poll::Ready(sending.outcome());
                }
                // The guest still does something of its own; the client need not wait for that.
                Progress::Complete => {
                    if sending.streaming || !sending.flush(self.state) {
                        return Poll::Pending;
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn answered(
        &mut self,
        answered: Option<Answered<B, E>>,
    ) -> std::result::Result<Sending<B>, Outcome> {
        match answered {
            Some(Ok(response)) => Ok(Sending::new(response)),
            Some(Err(code)) => Err(Outcome::message(
                ATOLL_TRAP,
                format!("the guest answered with an error: {code:?}"),
            )),
            None => Err(match self.ended.take() {
                Some(Err(error)) => Outcome::from_wasmtime(&error, self.limits),
                _ => Outcome::message(ATOLL_TRAP, "the guest ended without setting a response"),
            }),
        }
    }
}

enum Progress {
    /// Something moved: the guest may go on.
    Again,
    /// For the guest or for room.
    Waits,
    /// The guest aborted the body.
    Broken,
    /// Everything was read, and sent where it was streamed.
    Complete,
}

/// A response on its way out.
struct Sending<B> {
    /// Head, then body as far as it was not sent yet.
    buffer: Vec<u8>,
    head: usize,
    /// Let go of at its end.
    body: Option<B>,
    /// HEAD was sent: the rest goes out in BODY events.
    streaming: bool,
    /// BODY with END was sent.
    closed: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    fn new(response: http::Response<B>) -> Sending<B> {
        let (parts, body) = response.into_parts();
        let mut buffer = Vec::with_capacity(512);
        http_head::write(&parts, &mut buffer);
        let head = buffer.len();
        Sending {
            buffer,
            head,
            body: Some(body),
            streaming: false,
            closed: false,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, state: &CallState) -> Progress {
        let full = self.buffer.len() - self.head >= CHUNK || self.buffer.len() > CHUNK;
        if full && !self.flush(state) {
            return Progress::Waits;
        }
        let Some(body) = &mut self.body else {
            return self.finish(state);
        };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers have no form at the boundary.
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
                Progress::Again
            }
            Poll::Ready(Some(Err(_))) => Progress::Broken,
            Poll::Ready(None) => {
                self.body = None;
                Progress::Again
            }
            Poll::Pending => {
                // The guest is slow: what there is goes out, if it may.
                self.flush(state);
                Progress::Waits
            }
        }
    }

    /// Whatever is left of a complete body.
    fn finish(&mut self, state: &CallState) -> Progress {
        if !self.streaming || self.closed {
            return Progress::Complete;
        }
        if self.buffer.len() > CHUNK && !self.flush(state) {
            return Progress::Waits;
        }
        let status = state
            .call()
            .event(ATOLL_KIND_BODY, ATOLL_FLAG_END, &self.buffer);
        if status == ATOLL_WOULD_BLOCK {
            return Progress::Waits;
        }
        self.buffer.clear();
        self.closed = true;
        Progress::Complete
    }

    /// Sends head and body as far as the client has room. `false`: it has none, or the call is
    /// still on its caller's thread and must move first.
    fn flush(&mut self, state: &CallState) -> bool {
        if !state.on_workers() {
            return false;
        }
        if !self.streaming {
            let (head, _) = self.buffer.split_at(self.head);
            if state.call().event(ATOLL_KIND_HEAD, 0, head) == ATOLL_WOULD_BLOCK {
                return false;
            }
            self.buffer.drain(..self.head);
            self.head = 0;
            self.streaming = true;
        }
        let mut sent = 0;
        while sent < self.buffer.len() {
            let end = self.buffer.len().min(sent + CHUNK);
            let status = state
                .call()
                .event(ATOLL_KIND_BODY, 0, &self.buffer[sent..end]);
            if status == ATOLL_WOULD_BLOCK {
                break;
            }
            sent = end;
        }
        self.buffer.drain(..sent);
        self.buffer.is_empty()
    }

    fn outcome(&mut self) -> Outcome {
        let bytes = if self.streaming {
            Vec::new()
        } else {
            std::mem::take(&mut self.buffer)
        };
        Outcome {
            status: ATOLL_OK,
            flags: ATOLL_FLAG_END,
            bytes,
        }
    }
}

/// The guest's view of the request.
fn request(
    job: &Job,
) -> std::result::Result<http::Request<UnsyncBoxBody<Bytes, Infallible>>, Outcome> {
    let (builder, first) = http_head::read(job.payload.as_slice()?, &job.limits)?;
    let first = Bytes::copy_from_slice(first);
    let body = match job.whole {
        true => Full::new(first).boxed_unsync(),
        false => {
            let state = Arc::clone(&job.state);
            Incoming {
                first: Some(first),
                state,
                end: false,
            }
            .boxed_unsync()
        }
    };
    builder
        .body(body)
        .map_err(|e| http_head::refused(&e.to_string()))
}

/// A request's body that arrives in chunks.
struct Incoming {
    first: Option<Bytes>,
    state: Arc<CallState>,
    end: bool,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        if let Some(first) = body.first.take()
            && !first.is_empty()
        {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        while !body.end {
            let Some(piece) = body.state.take_piece(context.waker()) else {
                return Poll::Pending;
            };
            body.end = piece.end;
            if !piece.bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece.bytes))));
            }
        }
        Poll::Ready(None)
    }
}
