//! A `wasi:http` handler: greets, echoes and streams.
//!
//! It sees the request with the mount point (`/http/hello-http`) taken off. Bodies pass through in
//! chunks as the other side takes them, so their size does not depend on the guest's memory.

mod route;

use route::Route;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// Most bytes moved at once.
const CHUNK: usize = 64 * 1024;

/// What `/stream` repeats.
const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let method = match request.method() {
            // RFC 9110, 9.3.2: the same fields without the body, which the host leaves out.
            Method::Get | Method::Head => "GET",
            Method::Post => "POST",
            _ => "",
        };
        // A write fails when the client has gone: there is nobody left to tell.
        let _ = match Route::of(method, &target) {
            Route::Hello => respond(out, 200, "text/plain; charset=utf-8", |to| {
                write(to, b"hello")
            }),
            Route::Echo => echo(&request, out),
            Route::Stream { bytes } => respond(out, 200, "text/plain; charset=utf-8", |to| {
                stream(to, bytes)
            }),
            Route::BadRequest(why) => respond(out, 400, "text/plain; charset=utf-8", |to| {
                write(to, why.as_bytes())
            }),
            Route::NotFound => respond(out, 404, "text/plain; charset=utf-8", |to| {
                write(to, b"not found")
            }),
        };
    }
}

/// Answers with the request's own body and media type, while it is still arriving.
fn echo(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), StreamError> {
    let media_type = request.headers().get("content-type").into_iter().next();
    let media_type = media_type.and_then(|value| String::from_utf8(value).ok());
    let body = request
        .consume()
        .expect("the body of a fresh request was not taken");
    let from = body
        .stream()
        .expect("the stream of a fresh body was not taken");
    let result = respond(
        out,
        200,
        media_type.as_deref().unwrap_or("application/octet-stream"),
        |to| copy(&from, to),
    );
    // A body outlives its stream.
    drop(from);
    drop(IncomingBody::finish(body));
    result
}

/// Sends the head, then what `write_body` writes; an error cuts the body, so the client notices.
fn respond(
    out: ResponseOutparam,
    status: u16,
    media_type: &str,
    write_body: impl FnOnce(&OutputStream) -> Result<(), StreamError>,
) -> Result<(), StreamError> {
    let headers = Fields::new();
    headers
        .append("content-type", media_type.as_bytes())
        .expect("a media type that came in is allowed out");
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(status)
        .expect("the status is a valid one");
    let body = response
        .body()
        .expect("the body of a fresh response was not taken");
    ResponseOutparam::set(out, Ok(response));
    let stream = body
        .write()
        .expect("the stream of a fresh body was not taken");
    write_body(&stream)?;
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    Ok(())
}

/// Writes `bytes` letters, the alphabet over and over.
fn stream(to: &OutputStream, bytes: u64) -> Result<(), StreamError> {
    // Whole alphabets, so that every chunk begins with an `a`.
    let chunk = LETTERS.repeat(CHUNK / LETTERS.len());
    let mut left = bytes;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        write(to, &chunk[..n])?;
        left -= n as u64;
    }
    Ok(())
}

fn copy(from: &InputStream, to: &OutputStream) -> Result<(), StreamError> {
    loop {
        match from.blocking_read(CHUNK as u64) {
            Ok(bytes) => write(to, &bytes)?,
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Writes all of `bytes`, waiting whenever the client is slower.
fn write(to: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = usize::try_from(to.check_write()?).unwrap_or(usize::MAX);
        if room == 0 {
            to.subscribe().block();
            continue;
        }
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        to.write(now)?;
        bytes = later;
    }
    Ok(())
}
