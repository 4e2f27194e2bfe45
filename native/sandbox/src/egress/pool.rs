//! Connections of one plugin that rest between requests.
//!
//! Owns: which request may use which connection, and how long one rests. It must not know what is
//! sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::budget::Open;
use super::counted::{Counted, Payer, Stream};
use super::dial::Permits;
use super::uri::{Host, Target};

/// How long a connection rests before it is closed; servers close theirs after a minute or so.
const IDLE: Duration = Duration::from_secs(30);

/// How long the end of a response may take to reach the connection.
const READY: Duration = Duration::from_secs(1);

/// Bytes of the head of a response and of what is read ahead of its reader.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Where a connection leads. One that a rule of private addresses has opened serves no other rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    tls: bool,
    host: Host,
    port: u16,
    permits: Permits,
}

impl Key {
    /// That of a request.
    pub fn of(target: &Target, permits: Permits) -> Key {
        Key {
            tls: target.tls,
            host: target.host.clone(),
            port: target.port,
            permits,
        }
    }
}

/// A connection and the task that keeps it going, which ends with it.
pub struct Connection {
    /// Takes requests.
    pub sender: SendRequest<WasiBody>,
    /// Who pays for its bytes.
    pub payer: Arc<Payer>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Over a stream.
    pub async fn new(
        runtime: &Handle,
        stream: Box<dyn Stream>,
        payer: Arc<Payer>,
    ) -> Result<Connection, hyper::Error> {
        let stream = TokioIo::new(Counted::new(stream, Arc::clone(&payer)));
        let (sender, driven) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(stream)
            .await?;
        let driver = runtime.spawn(async move {
            // Whoever waits for a response is told by the sender.
            let _ = driven.await;
        });
        Ok(Connection {
            sender,
            payer,
            driver,
        })
    }

    /// To end it with.
    pub fn abort_handle(&self) -> AbortHandle {
        self.driver.abort_handle()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connections that rest.
pub struct Pool {
    runtime: Handle,
    resting: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    last: u64,
    connections: Vec<(u64, Key, Connection)>,
}

impl Pool {
    /// An empty one.
    pub fn new(runtime: Handle) -> Arc<Pool> {
        Arc::new(Pool {
            runtime,
            resting: Mutex::default(),
        })
    }

    /// The connection that has rested shortest, if one leads there.
    pub fn take(&self, key: &Key) -> Option<Connection> {
        let mut resting = self.lock();
        let found = resting
            .connections
            .iter()
            .rposition(|(_, known, connection)| known == key && !connection.sender.is_closed())?;
        let (_, _, connection) = resting.connections.remove(found);
        Some(connection)
    }

    /// Keeps a connection, at the cost of the one that has rested longest.
    fn put(&self, key: Key, connection: Connection, most: usize) -> u64 {
        let mut resting = self.lock();
        resting.last += 1;
        let number = resting.last;
        resting
            .connections
            .retain(|(_, _, connection)| !connection.sender.is_closed());
        resting.connections.push((number, key, connection));
        let over = resting.connections.len().saturating_sub(most);
        let dropped: Vec<_> = resting.connections.drain(..over).collect();
        drop(resting);
        drop(dropped);
        number
    }

    fn remove(&self, number: u64) {
        let mut resting = self.lock();
        let found = resting
            .connections
            .iter()
            .position(|(known, _, _)| *known == number);
        let removed = found.map(|at| resting.connections.remove(at));
        drop(resting);
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection while a request of a call has it.
pub struct Lease {
    connection: Connection,
    open: Open,
    key: Key,
    pool: Arc<Pool>,
    /// Connections that may rest.
    resting_max: usize,
}

impl Lease {
    /// Lends a connection to whoever has a place for it.
    pub fn new(
        connection: Connection,
        open: Open,
        key: Key,
        pool: &Arc<Pool>,
        resting_max: usize,
    ) -> Result<Lease, HttpError> {
        open.hold(connection.abort_handle())?;
        Ok(Lease {
            connection,
            open,
            key,
            pool: Arc::clone(pool),
            resting_max,
        })
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Takes the place back from a connection that was of no use.
    pub fn fail(self) -> Open {
        self.open
    }

    /// Request and response are over: nothing of the call is left in the connection.
    pub fn release(self) {
        let Lease {
            mut connection,
            open,
            key,
            pool,
            resting_max,
        } = self;
        drop(open);
        let weak: Weak<Pool> = Arc::downgrade(&pool);
        pool.runtime.spawn(async move {
            match tokio::time::timeout(READY, connection.sender.ready()).await {
                Ok(Ok(())) => connection.payer.set(None),
                _ => return,
            }
            let Some(pool) = weak.upgrade() else { return };
            let number = pool.put(key, connection, resting_max);
            drop(pool);
            tokio::time::sleep(IDLE).await;
            if let Some(pool) = weak.upgrade() {
                pool.remove(number);
            }
        });
    }
}
