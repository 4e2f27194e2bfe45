//! The guest's side of a request to a component's `wasi:http/handler` 0.3.
//!
//! Owns: how the handler is called, and how long its tasks go on: until the response was read to its
//! end and every one of them has ended. It must not know how a response goes out; `http` does.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;
use wasmtime::Result;
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error as HttpError, WasiHttpView};

use crate::http::Job;
use crate::instance::{self, Data};
use crate::isolation;

/// A response, or the error that the guest answers with.
pub type Answered = std::result::Result<http::Response<Read>, ErrorCode>;

/// Instantiates and runs the guest to its end.
pub async fn handle(
    service: &ServicePre<Data>,
    job: &Job,
    request: http::Request<UnsyncBoxBody<Bytes, Infallible>>,
    sender: oneshot::Sender<Answered>,
) -> Result<()> {
    let plugin = &job.callee.export.plugin;
    let mut store = instance::store(service.engine(), plugin, &job.limits, job.state.call());
    instance::expect_plain(&mut store, &job.limits);
    let reserve = plugin.reserve();
    let service = loop {
        match service.instantiate_async(&mut store).await {
            // What rests gives way. The pool refuses before it has made anything.
            Err(error) if isolation::is_full(&error) && reserve.make_room() => {}
            made => break made?,
        }
    };
    let http = store.data_mut().http();
    // Nobody here waits for what the guest says about its reading of the body.
    let (request, _) = Request::from_http(http.hooks, request);
    let request = http.table.push(request)?;
    let function = service.wasi_http_handler().func_handle();
    let (answered,) = function.call_async(&mut store, (request,)).await?;
    let (was_read, read) = oneshot::channel();
    let answered = match answered {
        Ok(response) => {
            let response = store.data_mut().http().table.delete(response)?;
            let (sent, is_sent) = oneshot::channel();
            let told = async {
                let _ = is_sent.await;
                Ok(())
            };
            let response = response.into_http(&mut store, told)?;
            Ok(response.map(|body| Read {
                body,
                _ends: (sent, was_read),
            }))
        }
        Err(code) => Err(code),
    };
    // Whoever waits for it is polled together with this.
    let _ = sender.send(answered);
    store
        .run_concurrent(async |accessor| {
            // A stream into the body may be the host's own: then no task of the guest's is left.
            let _ = read.await;
            poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
        })
        .await
}

/// A response's body; its end, or that nobody reads on, is told to the guest and to whoever runs it.
pub struct Read {
    body: UnsyncBoxBody<Bytes, HttpError>,
    _ends: (oneshot::Sender<()>, oneshot::Sender<()>),
}

impl Body for Read {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, HttpError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }
}
