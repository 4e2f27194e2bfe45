//! From a host to a stream.
//!
//! Owns: the resolution of names, the check of each address, the connection to the very address that
//! was checked, and TLS. It must not know HTTP or rules.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error as HttpError;

use super::counted::Stream;
use super::uri::{Host, Target};
use crate::address::{Reach, reach};

/// Names that are resolved at once. A resolver that does not answer holds a thread for as long as the
/// system's configuration says.
pub const RESOLVING_MAX: usize = 4;

/// Of these for one plugin: names that nobody answers for do not keep the others' waiting.
pub const RESOLVING_PLUGIN_MAX: usize = 2;

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;

/// The function of the system that resolves names.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Which addresses a rule opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permits {
    /// Anybody's.
    Public,
    /// Those of this host and its network too.
    Private,
    /// Whichever the rule names.
    Named,
}

/// Why there is no stream.
#[derive(Debug)]
pub enum Failure {
    /// The host has this address and no other one that may be dialled.
    Denied(IpAddr),
    /// As the guest learns it.
    Failed(HttpError),
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Failure {
        Failure::Failed(error)
    }
}

/// What all plugins of an engine send over.
pub struct Network {
    /// Where connections are kept going.
    pub runtime: Handle,
    resolving: Arc<Semaphore>,
    resolve: Resolve,
    extra_roots: Vec<CertificateDer<'static>>,
    tls: OnceLock<Arc<ClientConfig>>,
}

/// An address that was checked. Nothing else is dialled.
struct Checked(SocketAddr);

impl Network {
    /// With the certificates of a file beside the Web's. The error is a sentence.
    pub fn new(runtime: Handle, ca_file: Option<&Path>) -> Result<Network, String> {
        let extra_roots = match ca_file {
            None => Vec::new(),
            Some(path) => certificates(path)
                .map_err(|error| format!("certificates of {}: {error}", path.display()))?,
        };
        Ok(Network {
            runtime,
            resolving: Arc::new(Semaphore::new(RESOLVING_MAX)),
            resolve: |name, port| Ok((name, port).to_socket_addrs()?.collect()),
            extra_roots,
            tls: OnceLock::new(),
        })
    }

    /// Connects within a time. `permits` says to which addresses, `resolving` has the plugin's permits
    /// to resolve names.
    pub async fn dial(
        &self,
        target: &Target,
        permits: Permits,
        resolving: &Arc<Semaphore>,
        time: Duration,
    ) -> Result<Box<dyn Stream>, Failure> {
        let end = Instant::now() + time;
        timeout(time, self.connect(target, permits, resolving, end))
            .await
            .map_err(|_| HttpError::ConnectionTimeout)?
    }

    async fn connect(
        &self,
        target: &Target,
        permits: Permits,
        resolving: &Arc<Semaphore>,
        end: Instant,
    ) -> Result<Box<dyn Stream>, Failure> {
        let found = self.addresses(target, resolving).await?;
        let stream = first_of(checked(&found, permits)?, end).await?;
        // A request is written in one go; waiting for more only delays it.
        let _ = stream.set_nodelay(true);
        match target.tls {
            false => Ok(Box::new(stream)),
            true => Ok(Box::new(self.secure(stream, &target.host).await?)),
        }
    }

    async fn addresses(
        &self,
        target: &Target,
        own: &Arc<Semaphore>,
    ) -> Result<Vec<SocketAddr>, HttpError> {
        let name = match &target.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, target.port)]),
            Host::Name(name) => name.clone(),
        };
        let failed = |rcode: String| HttpError::DnsError {
            rcode: Some(rcode),
            info_code: None,
        };
        // The plugin's own first: what waits for it keeps none of the engine's.
        let own = permit(own).await?;
        let shared = permit(&self.resolving).await?;
        let (resolve, port) = (self.resolve, target.port);
        let resolved = self.runtime.spawn_blocking(move || {
            // Whoever asked may go; the thread is taken until the resolver has answered.
            let _permits = (own, shared);
            resolve(&name, port)
        });
        match resolved.await {
            Ok(Ok(found)) if found.is_empty() => Err(failed("no address".into())),
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(HttpError::ConnectionTerminated),
        }
    }

    async fn secure(
        &self,
        stream: TcpStream,
        host: &Host,
    ) -> Result<impl Stream + use<>, HttpError> {
        let name = match host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| HttpError::HttpRequestUriInvalid)?
            }
        };
        let connector = TlsConnector::from(self.tls()?);
        connector.connect(name, stream).await.map_err(tls_error)
    }

    /// Made by the first connection that needs it.
    fn tls(&self) -> Result<Arc<ClientConfig>, HttpError> {
        if let Some(made) = self.tls.get() {
            return Ok(Arc::clone(made));
        }
        let internal = |error: rustls::Error| HttpError::InternalError(Some(error.to_string()));
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.into(),
        };
        for root in &self.extra_roots {
            roots.add(root.clone()).map_err(internal)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(internal)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
    }
}

async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, HttpError> {
    let permit = Arc::clone(of).acquire_owned().await;
    permit.map_err(|_| HttpError::ConnectionTerminated)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| error.to_string())?
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots
            .add(certificate.clone())
            .map_err(|error| error.to_string())?;
    }
    match found.is_empty() {
        true => Err("it holds none".into()),
        false => Ok(found),
    }
}

/// Those that may be dialled.
fn checked(found: &[SocketAddr], permits: Permits) -> Result<Vec<Checked>, Failure> {
    let fits = |address: &&SocketAddr| match reach(address.ip()) {
        Reach::Public => true,
        Reach::Private => permits != Permits::Public,
        Reach::Special => permits == Permits::Named,
    };
    let fit: Vec<Checked> = found
        .iter()
        .filter(fits)
        .take(ADDRESSES_MAX)
        .map(|address| Checked(*address))
        .collect();
    match (fit.is_empty(), found.first()) {
        (true, Some(address)) => Err(Failure::Denied(address.ip())),
        (true, None) => Err(Failure::Failed(HttpError::DestinationNotFound)),
        (false, _) => Ok(fit),
    }
}

/// The first that answers; each has its share of what is left of the time.
async fn first_of(addresses: Vec<Checked>, end: Instant) -> Result<TcpStream, HttpError> {
    let mut last = HttpError::ConnectionTimeout;
    let count = addresses.len();
    for (tried, Checked(address)) in addresses.into_iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - tried).unwrap_or(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                last = HttpError::ConnectionRefused;
            }
            Ok(Err(_)) => last = HttpError::DestinationUnavailable,
            Err(_) => last = HttpError::ConnectionTimeout,
        }
    }
    Err(last)
}

fn tls_error(error: io::Error) -> HttpError {
    match error.get_ref().and_then(|e| e.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => HttpError::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => HttpError::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: alert.as_str().map(str::to_owned),
        },
        Some(_) => HttpError::TlsProtocolError,
        None => HttpError::ConnectionTerminated,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| SocketAddr::new(text.parse().expect("an address"), 1);
        texts.iter().map(parse).collect()
    }

    #[track_caller]
    fn kept(texts: &[&str], permits: Permits) -> Vec<String> {
        match checked(&addresses(texts), permits) {
            Ok(fit) => fit.iter().map(|fit| fit.0.ip().to_string()).collect(),
            Err(Failure::Denied(address)) => vec![format!("denied {address}")],
            Err(Failure::Failed(error)) => vec![error.to_string()],
        }
    }

    #[test]
    fn only_what_the_rule_opens_is_dialled() {
        let mixed = ["127.0.0.1", "8.8.8.8", "::ffff:10.0.0.1", "169.254.169.254"];
        assert_eq!(kept(&mixed, Permits::Public), ["8.8.8.8"]);
        let both = ["127.0.0.1", "8.8.8.8", "::ffff:10.0.0.1"];
        assert_eq!(kept(&mixed, Permits::Private), both);
        let metadata = ["169.254.169.254"];
        assert_eq!(kept(&metadata, Permits::Public), ["denied 169.254.169.254"]);
        assert_eq!(
            kept(&metadata, Permits::Private),
            ["denied 169.254.169.254"]
        );
        assert_eq!(kept(&metadata, Permits::Named), ["169.254.169.254"]);
        assert_eq!(kept(&["::1"], Permits::Public), ["denied ::1"]);
    }

    /// How often the resolver was asked, and where the first answer leads.
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static PORT: AtomicU16 = AtomicU16::new(0);

    fn changing(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let first = ASKED.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first {
            [127, 0, 0, 1]
        } else {
            [169, 254, 169, 254]
        };
        Ok(vec![(address, PORT.load(Ordering::SeqCst)).into()])
    }

    #[test]
    fn a_name_is_resolved_once_and_what_was_checked_is_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        PORT.store(port, Ordering::SeqCst);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut network = Network::new(runtime.handle().clone(), None).expect("a network");
        network.resolve = changing;
        let target = Target::of(&"http://rebinding.example/".parse().expect("a URI"));
        let target = target.expect("a target");
        let (time, own) = (Duration::from_secs(30), Arc::new(Semaphore::new(1)));
        runtime.block_on(async {
            let made = network.dial(&target, Permits::Private, &own, time).await;
            assert!(made.is_ok(), "{:?}", made.err());
            assert_eq!(ASKED.load(Ordering::SeqCst), 1);
            // The next request asks, and checks, anew.
            let made = network.dial(&target, Permits::Private, &own, time).await;
            assert!(matches!(made, Err(Failure::Denied(_))));
            assert_eq!(ASKED.load(Ordering::SeqCst), 2);
        });
        assert!(listener.accept().is_ok());
    }

    /// Held by the test while nobody is answered under `slow.example`.
    static SILENCE: Mutex<()> = Mutex::new(());
    static WAITING: AtomicUsize = AtomicUsize::new(0);

    fn silent(name: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        if name == "slow.example" {
            WAITING.fetch_add(1, Ordering::SeqCst);
            drop(SILENCE.lock());
        }
        Ok(Vec::new())
    }

    #[test]
    fn names_that_nobody_answers_for_keep_only_their_own_plugin_waiting() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut network = Network::new(runtime.handle().clone(), None).expect("a network");
        network.resolve = silent;
        let target = |uri: &str| Target::of(&uri.parse().expect("a URI")).expect("a target");
        let plugin = || Arc::new(Semaphore::new(RESOLVING_PLUGIN_MAX));
        let (slow, quick) = (
            target("http://slow.example/"),
            target("http://quick.example/"),
        );
        let (one, other) = (plugin(), plugin());
        let silence = SILENCE.lock().expect("silence");
        runtime.block_on(async {
            let short = Duration::from_millis(20);
            for _ in 0..2 * RESOLVING_MAX {
                let made = network.dial(&slow, Permits::Public, &one, short).await;
                let late = Failure::Failed(HttpError::ConnectionTimeout);
                assert_eq!(format!("{:?}", made.err()), format!("{:?}", Some(late)));
            }
            let long = Duration::from_secs(30);
            let made = network.dial(&quick, Permits::Public, &other, long).await;
            let dns = matches!(made, Err(Failure::Failed(HttpError::DnsError { .. })));
            assert!(dns, "the other plugin is answered");
        });
        assert_eq!(WAITING.load(Ordering::SeqCst), RESOLVING_PLUGIN_MAX);
        drop(silence);
    }
}
