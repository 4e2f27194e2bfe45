//! The thread that has the connection.
//!
//! Owns: the queue to it, which operations share a transaction, and when the file is opened and
//! closed. An answer is given once the transaction is on disk; writes that wait at the same time
//! share one, and with it the wait for the disk. It must not know SQL or guests.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::Failure;
use super::database::{Database, caught};
use crate::engine;

/// Operations that wait at once. Each is one of a call that runs, or of one that was cancelled.
const QUEUE_MAX: usize = 256;

/// Most operations of one transaction.
const GROUP_MAX: usize = 64;

/// How much less the thread's time counts than the caller's, as a worker's.
const NICE: i32 = 10;

/// Whether an operation changes anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It looks.
    Read,
    /// It may write.
    Write,
}

type Finish = Box<dyn FnOnce(Result<(), Failure>) + Send>;
type Work = Box<dyn FnOnce(Result<&Database, Failure>) -> Finish + Send>;

struct Job {
    mode: Mode,
    /// Does it; what it returns is told how the transaction ended.
    work: Work,
}

/// An open file. It is closed when this is dropped and what waits is done.
pub struct Storage {
    jobs: mpsc::Sender<Job>,
}

impl Storage {
    fn start(folder: &std::path::Path) -> Result<(Storage, JoinHandle<()>), Failure> {
        let database = Database::open(folder)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("atoll-storage".to_owned())
            .spawn(move || {
                engine::set_priority(NICE);
                serve(&database, queue);
            })
            .map_err(|e| Failure(format!("no thread for the key-value storage: {e}")))?;
        Ok((Storage { jobs }, thread))
    }

    /// Does something with the file, in a transaction where it writes: all of it or nothing.
    pub async fn run<T: Send + 'static>(
        &self,
        mode: Mode,
        work: impl FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let gone = || Failure("the key-value storage is closed".to_owned());
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |database| {
            let done = database.and_then(|database| match mode {
                Mode::Read => caught(|| work(database)),
                Mode::Write => database.whole(|| work(database)),
            });
            // Whoever asked may have gone.
            Box::new(move |ended| drop(answer.send(ended.and(done))))
        });
        let job = Job { mode, work };
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn serve(database: &Database, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX {
            match queue.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        settle(database, group);
    }
}

/// Does the operations of a group, which succeed or fail one by one unless the disk fails them all.
fn settle(database: &Database, group: Vec<Job>) {
    if group.iter().all(|job| job.mode == Mode::Read) {
        for job in group {
            (job.work)(Ok(database))(Ok(()));
        }
        return;
    }
    let begun = database.begin();
    let mut finishes = Vec::with_capacity(group.len());
    for Job { mode, work } in group {
        let usable = match (&begun, mode) {
            (Err(_), Mode::Read) => Ok(database),
            (Err(failure), Mode::Write) => Err(failure.clone()),
            (Ok(()), _) if database.is_writing() => Ok(database),
            (Ok(()), _) => Err(Failure(
                "the key-value storage took its transaction back".into(),
            )),
        };
        finishes.push(work(usable));
    }
    let ended = match begun {
        Ok(()) => database.commit(),
        // Those that write have heard of it.
        Err(_) => Ok(()),
    };
    if ended.is_err() {
        database.roll_back();
    }
    for finish in finishes {
        finish(ended.clone());
    }
}

/// The engine's file: open while a plugin is loaded that has a namespace.
pub struct Stores {
    folder: Option<PathBuf>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    storage: Weak<Storage>,
    threads: Vec<JoinHandle<()>>,
}

impl Stores {
    /// In that folder; none: there is no storage.
    pub fn new(folder: Option<PathBuf>) -> Stores {
        Stores {
            folder,
            open: Mutex::default(),
        }
    }

    /// The file, opened if need be. It takes its time: not on a thread that must not wait.
    pub fn storage(&self) -> Result<Arc<Storage>, Failure> {
        let folder = self.folder.as_ref().ok_or_else(|| {
            Failure("there is no folder for the key-value storage (storage.dir)".to_owned())
        })?;
        let mut open = self.lock();
        if let Some(storage) = open.storage.upgrade() {
            return Ok(storage);
        }
        let (storage, thread) = Storage::start(folder)?;
        let storage = Arc::new(storage);
        open.storage = Arc::downgrade(&storage);
        open.threads.retain(|thread| !thread.is_finished());
        open.threads.push(thread);
        Ok(storage)
    }

    /// Waits until every file is closed that nobody uses any more; `false`: it takes longer.
    pub fn close(&self, patience: Duration) -> bool {
        let threads = std::mem::take(&mut self.lock().threads);
        let begun = Instant::now();
        for thread in threads {
            while !thread.is_finished() {
                if begun.elapsed() >= patience {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            // A panic has been told on standard error; the file is closed all the same.
            let _ = thread.join();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
