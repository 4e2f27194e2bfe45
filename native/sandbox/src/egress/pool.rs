//! Connections of one plugin that rest between requests.
//!
//! Owns: which request may use which connection, and how long one rests. It must not know what is
//! sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};
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
    /// How long one rests.
    idle: Duration,
    /// Connections that are released and do not rest yet.
    settling: Arc<AtomicUsize>,
    resting: Mutex<Resting>,
}

/// A connection's place among those that settle.
struct Settling(Arc<AtomicUsize>);

impl Settling {
    /// None: so many settle already.
    fn begin(settling: &Arc<AtomicUsize>, most: usize) -> Option<Settling> {
        let place = Settling(Arc::clone(settling));
        (settling.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Resting {
    /// A task ends those that have rested long enough.
    swept: bool,
    /// Those that have rested longest first.
    connections: Vec<(Instant, Key, Connection)>,
}

impl Pool {
    /// An empty one.
    pub fn new(runtime: Handle) -> Arc<Pool> {
        Arc::new(Pool {
            runtime,
            idle: IDLE,
            settling: Arc::default(),
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
    fn put(self: &Arc<Pool>, key: Key, connection: Connection, most: usize) {
        let mut resting = self.lock();
        resting
            .connections
            .retain(|(_, _, connection)| !connection.sender.is_closed());
        resting.connections.push((Instant::now(), key, connection));
        let over = resting.connections.len().saturating_sub(most);
        let dropped: Vec<_> = resting.connections.drain(..over).collect();
        let swept = std::mem::replace(&mut resting.swept, true);
        drop(resting);
        drop(dropped);
        if !swept {
            self.runtime.spawn(sweep(Arc::downgrade(self), self.idle));
        }
    }

    /// Ends those that have rested long enough; when the next one will have. None: none rests, and
    /// whoever sweeps may go.
    fn end_idle(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut resting = self.lock();
        let over = resting
            .connections
            .partition_point(|(since, _, _)| now.duration_since(*since) >= self.idle);
        let ended: Vec<_> = resting.connections.drain(..over).collect();
        let first = resting.connections.first().map(|(since, _, _)| *since);
        resting.swept = first.is_some();
        drop(resting);
        drop(ended);
        first.map(|since| since + self.idle)
    }

    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what has rested long enough, for as long as anything rests.
async fn sweep(pool: Weak<Pool>, idle: Duration) {
    let mut next = Instant::now() + idle;
    loop {
        sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.end_idle()) {
            Some(later) => next = later,
            None => return,
        }
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

    /// Request and response are over: nothing of the call is left in the connection. It is closed
    /// where too many others are on their way to rest, which are in no call's budget.
    pub fn release(self) {
        let Lease {
            mut connection,
            open,
            key,
            pool,
            resting_max,
        } = self;
        drop(open);
        let Some(settling) = Settling::begin(&pool.settling, resting_max) else {
            return;
        };
        let weak: Weak<Pool> = Arc::downgrade(&pool);
        pool.runtime.spawn(async move {
            match timeout(READY, connection.sender.ready()).await {
                Ok(Ok(())) => connection.payer.set(None),
                _ => return,
            }
            if let Some(pool) = weak.upgrade() {
                pool.put(key, connection, resting_max);
            }
            drop(settling);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::runtime::Runtime;

    use super::*;
    use crate::egress::budget::CallBudget;
    use crate::limits::Limits;

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
    }

    fn key() -> Key {
        let target = Target::of(&"http://a.example/".parse().expect("a URI"));
        Key::of(&target.expect("a target"), Permits::Public)
    }

    async fn connection(runtime: &Runtime) -> (Connection, DuplexStream) {
        let (near, far) = duplex(64);
        let made = Connection::new(runtime.handle(), Box::new(near), Arc::default()).await;
        (made.expect("a connection"), far)
    }

    async fn is_closed(far: &mut DuplexStream) -> bool {
        let mut byte = [0];
        let read = far.read(&mut byte);
        matches!(timeout(Duration::from_secs(30), read).await, Ok(Ok(0)))
    }

    #[test]
    fn one_task_ends_what_has_rested_long_enough() {
        let runtime = runtime();
        runtime.block_on(async {
            let pool = Arc::new(Pool {
                runtime: runtime.handle().clone(),
                idle: Duration::from_millis(50),
                settling: Arc::default(),
                resting: Mutex::default(),
            });
            let (first, mut first_far) = connection(&runtime).await;
            pool.put(key(), first, 8);
            let tasks = runtime.metrics().num_alive_tasks();
            let mut later = Vec::new();
            for _ in 0..3 {
                let (next, far) = connection(&runtime).await;
                pool.put(key(), next, 8);
                later.push(far);
            }
            // Each connection has its own task; none more came.
            assert_eq!(runtime.metrics().num_alive_tasks(), tasks + 3);
            assert!(is_closed(&mut first_far).await);
            for far in &mut later {
                assert!(is_closed(far).await);
            }
            while pool.lock().swept {
                tokio::task::yield_now().await;
            }
            assert!(pool.take(&key()).is_none());
            // It starts again with the next one.
            let (next, mut far) = connection(&runtime).await;
            pool.put(key(), next, 8);
            assert!(pool.lock().swept && is_closed(&mut far).await);
        });
    }

    #[test]
    fn so_many_connections_settle_as_may_rest() {
        let runtime = runtime();
        runtime.block_on(async {
            let pool = Pool::new(runtime.handle().clone());
            let budget = CallBudget::new(&Limits::default());
            let mut ends = Vec::new();
            for _ in 0..3 {
                let (connection, far) = connection(&runtime).await;
                let open = budget.open().expect("a place");
                let lease = Lease::new(connection, open, key(), &pool, 2);
                lease.expect("a lease").release();
                ends.push(far);
            }
            assert_eq!(pool.settling.load(Ordering::Relaxed), 2);
            assert!(is_closed(&mut ends[2]).await);
            while pool.settling.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
            assert!(pool.take(&key()).is_some() && pool.take(&key()).is_some());
            assert!(pool.take(&key()).is_none());
        });
    }
}
