//! Requests that a plugin sends.
//!
//! Owns: the way of a request from the guest to the network and of its response back: the rule that
//! allows it, the secrets that are put in, the connection, times and sizes. Denied unless a rule
//! allows it. It must not know which version of `wasi:http` the guest speaks.
//!
//! There are no redirects here: `wasi:http` has none, so a guest that follows one sends another
//! request, which is checked like the first.

mod asked;
mod body;
mod budget;
mod counted;
mod dial;
mod errors;
mod hooks;
mod pool;
mod rules;
mod secrets;
mod uri;

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

pub use self::dial::{Network, RESOLVING_MAX};
pub use self::errors::body_code;
pub use self::hooks::Hooks;

use self::asked::Asked;
use self::body::{Answer, Outgoing, Received, Sent};
use self::budget::CallBudget;
use self::counted::Payer;
use self::dial::{Failure, Permits, RESOLVING_PLUGIN_MAX};
use self::pool::{Connection, Key, Lease, Pool};
use self::rules::Rule;
use self::secrets::Secrets;
use self::uri::Target;
use crate::grants::Grants;

/// How long a connection may take to be made where nobody says less.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Fields for the next hop alone, beyond those that `wasi:http` forbids.
const NEXT_HOP: [HeaderName; 3] = [header::TE, header::TRAILER, header::EXPECT];

/// Methods that nobody may use: a tunnel, in which nothing could be checked, and what has a server
/// send back what it was sent, secrets included.
const METHODS_REFUSED: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// What a plugin may send, and its connections.
pub struct Egress {
    network: Arc<Network>,
    rules: Vec<Rule>,
    secrets: Arc<Secrets>,
    pool: Arc<Pool>,
    resolving: Arc<Semaphore>,
}

/// A request that is allowed.
struct Allowed {
    request: Request<WasiBody>,
    target: Target,
    method: Method,
    permits: Permits,
    sent: Sent,
    times: Times,
    response_max: Option<u64>,
}

/// How long each part of an exchange may take; none: for as long as the call may.
#[derive(Clone, Copy)]
struct Times {
    connect: Duration,
    first_byte: Option<Duration>,
    between_bytes: Option<Duration>,
}

/// Why a request is not sent.
enum Refusal {
    /// Nothing allows it.
    Denied(Asked),
    /// It is none.
    Invalid(HttpError),
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Refusal {
        Refusal::Invalid(error)
    }
}

impl Egress {
    /// What these grants allow; none: nothing. The error is a sentence.
    pub fn new(grants: &Grants, network: &Arc<Network>) -> Result<Option<Arc<Egress>>, String> {
        if grants.http.is_empty() && grants.secrets.is_empty() {
            return Ok(None);
        }
        let rules = grants.http.iter().map(Rule::new);
        Ok(Some(Arc::new(Egress {
            network: Arc::clone(network),
            rules: rules.collect::<Result<_, _>>()?,
            secrets: Arc::new(Secrets::new(&grants.secrets)?),
            pool: Pool::new(network.runtime.clone()),
            resolving: Arc::new(Semaphore::new(RESOLVING_PLUGIN_MAX)),
        })))
    }

    /// Variables that the guest sees in place of its secrets.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.secrets.variables()
    }

    /// Checks a request and makes it what is sent.
    fn allow(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Allowed, Refusal> {
        let (mut parts, body) = request.into_parts();
        let target = target(&parts.method, &parts.uri)?;
        let fits = |rule: &&Rule| rule.fits(&parts.method, &target);
        let Some(rule) = self.rules.iter().find(fits) else {
            return Err(Refusal::Denied(Asked::request(
                &parts.method,
                &target,
                false,
            )));
        };
        let open = rule.terms.private;
        let put = self.secrets.put_in(&mut parts.headers, &target, open);
        put.map_err(|unbound| Refusal::Denied(Asked::secret(&unbound, &target)))?;
        for name in NEXT_HOP {
            parts.headers.remove(name);
        }
        let authority = HeaderValue::from_str(&target.authority());
        let authority = authority.map_err(|_| HttpError::HttpRequestUriInvalid)?;
        parts.headers.insert(header::HOST, authority);
        let most = rule.terms.request_bytes;
        let said = http_body::Body::size_hint(&body).lower();
        let said = content_length(&parts.headers).unwrap_or(said);
        if most.is_some_and(|most| said > most) {
            return Err(HttpError::HttpRequestBodySize(most).into());
        }
        parts.uri = Uri::builder()
            .path_and_query(target.path_and_query())
            .build()
            .map_err(|_| HttpError::HttpRequestUriInvalid)?;
        parts.version = http::Version::HTTP_11;
        let sent = Sent::default();
        let body = Outgoing::new(body, most, sent.clone()).boxed_unsync();
        Ok(Allowed {
            method: parts.method.clone(),
            request: Request::from_parts(parts, body),
            target,
            permits: permits(rule),
            sent,
            times: Times::of(rule, options),
            response_max: rule.terms.response_bytes,
        })
    }

    /// Sends it within the budget of a call.
    async fn send(
        &self,
        allowed: Allowed,
        budget: Arc<CallBudget>,
        resting_max: usize,
    ) -> Result<Response<WasiBody>, HttpError> {
        let Allowed {
            mut request,
            target,
            method,
            permits,
            sent,
            times,
            response_max,
        } = allowed;
        let key = Key::of(&target, permits);
        let mut open = budget.open()?;
        loop {
            let (connection, rested) = match self.pool.take(&key) {
                Some(connection) => (connection, true),
                None => match self.connect(&target, permits, times.connect, &budget).await {
                    Ok(connection) => (connection, false),
                    Err(Failure::Failed(error)) => return Err(error),
                    Err(Failure::Denied(address)) => {
                        budget.tell(Asked::address(&method, &target, address));
                        return Err(HttpError::HttpRequestDenied);
                    }
                },
            };
            connection.payer.set(Some(Arc::clone(&budget)));
            let mut lease = Lease::new(connection, open, key.clone(), &self.pool, resting_max)?;
            let sending = lease.connection().sender.try_send_request(request);
            match within(times.first_byte, sending).await? {
                Ok(response) => {
                    let response = self.without_secrets(response);
                    return answer(response, lease, sent, response_max, &times);
                }
                Err(mut failed) => match failed.take_message() {
                    // Its server has closed it while it rested: nothing of the request was sent.
                    Some(unsent) if rested => {
                        request = unsent;
                        open = lease.fail();
                    }
                    _ => return Err(errors::of_hyper(&failed.into_error())),
                },
            }
        }
    }

    /// A response as the guest may see it; its body sees to the trailers.
    fn without_secrets(&self, response: Response<Incoming>) -> Response<Received> {
        let (mut parts, body) = response.into_parts();
        self.secrets.take_out(&mut parts.headers);
        Response::from_parts(parts, Received::new(body, Arc::clone(&self.secrets)))
    }

    async fn connect(
        &self,
        target: &Target,
        permits: Permits,
        time: Duration,
        budget: &Arc<CallBudget>,
    ) -> Result<Connection, Failure> {
        let dialled = self.network.dial(target, permits, &self.resolving, time);
        let stream = dialled.await?;
        let payer = Arc::new(Payer::default());
        payer.set(Some(Arc::clone(budget)));
        let made = Connection::new(&self.network.runtime, stream, payer).await;
        made.map_err(|error| Failure::Failed(errors::of_hyper(&error)))
    }
}

impl Times {
    fn of(rule: &Rule, options: Option<RequestOptions>) -> Times {
        let options = options.unwrap_or_default();
        let most = rule.terms.timeout_ms.map(Duration::from_millis);
        let shorter = |asked: Option<Duration>| match (asked, most) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        };
        let connect = shorter(options.connect_timeout).unwrap_or(CONNECT_MAX);
        Times {
            connect: connect.min(CONNECT_MAX),
            first_byte: shorter(options.first_byte_timeout),
            between_bytes: shorter(options.between_bytes_timeout),
        }
    }
}

async fn within<T>(time: Option<Duration>, work: impl Future<Output = T>) -> Result<T, HttpError> {
    match time {
        None => Ok(work.await),
        Some(time) => timeout(time, work)
            .await
            .map_err(|_| HttpError::ConnectionReadTimeout),
    }
}

fn answer(
    response: Response<Received>,
    lease: Lease,
    sent: Sent,
    most: Option<u64>,
    times: &Times,
) -> Result<Response<WasiBody>, HttpError> {
    // An answer to HEAD has no body, whatever length it tells.
    let said = match http_body::Body::is_end_stream(response.body()) {
        true => None,
        false => content_length(response.headers()),
    };
    if most.zip(said).is_some_and(|(most, said)| said > most) {
        return Err(HttpError::HttpResponseBodySize(most));
    }
    let pause = times.between_bytes;
    Ok(response.map(|incoming| Answer::new(incoming, lease, sent, most, pause).boxed_unsync()))
}

fn content_length(fields: &http::HeaderMap) -> Option<u64> {
    let value = fields.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Where a request goes, if it may go anywhere.
fn target(method: &Method, uri: &Uri) -> Result<Target, HttpError> {
    // Servers that take small letters for capitals are known.
    let named = |name: &str| method.as_str().eq_ignore_ascii_case(name);
    if METHODS_REFUSED.into_iter().any(named) {
        return Err(HttpError::HttpRequestMethodInvalid);
    }
    Target::of(uri).ok_or(HttpError::HttpRequestUriInvalid)
}

fn permits(rule: &Rule) -> Permits {
    match (rule.names_address(), rule.terms.private) {
        (true, _) => Permits::Named,
        (false, true) => Permits::Private,
        (false, false) => Permits::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_show_what_was_sent_or_hide_it_are_refused() {
        let uri: Uri = "https://a.example/".parse().expect("a URI");
        for name in ["CONNECT", "TRACE", "TRACK", "trace", "Track"] {
            let method = Method::from_bytes(name.as_bytes()).expect("a method");
            let refused = target(&method, &uri);
            assert!(
                matches!(refused, Err(HttpError::HttpRequestMethodInvalid)),
                "{name}"
            );
        }
        assert!(target(&Method::GET, &uri).is_ok());
    }
}
