//! What the guest learns of a connection that failed.

use std::error::Error as _;

use wasmtime_wasi_http::Error as HttpError;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// The error of `wasi:http` for one of hyper's.
pub fn of_hyper(error: &hyper::Error) -> HttpError {
    // A body's own error comes back in the one of whoever sent it.
    if let Some(HttpError::HttpRequestBodySize(most)) =
        error.source().and_then(|source| source.downcast_ref())
    {
        return HttpError::HttpRequestBodySize(*most);
    }
    if error.is_parse_too_large() {
        HttpError::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() || error.is_body_write_aborted() {
        HttpError::HttpResponseIncomplete
    } else if error.is_timeout() {
        HttpError::HttpResponseTimeout
    } else if error.is_parse() || error.is_user() {
        HttpError::HttpProtocolError
    } else {
        HttpError::ConnectionTerminated
    }
}

/// The code of an error in the middle of a body. wasmtime gives one for errors that are codes already,
/// which those of a response's body are not.
pub fn body_code(error: &HttpError) -> Option<ErrorCode> {
    Some(match error {
        HttpError::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        HttpError::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        HttpError::HttpProtocolError => ErrorCode::HttpProtocolError,
        HttpError::HttpRequestBodySize(most) => ErrorCode::HttpRequestBodySize(*most),
        HttpError::HttpResponseBodySize(most) => ErrorCode::HttpResponseBodySize(*most),
        HttpError::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        HttpError::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        _ => return None,
    })
}
