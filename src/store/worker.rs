//! The thread that writes, and the connections that read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::{
    Settings, Unavailable, What, answers,
    files::{self, Strays},
    new_id, schema,
};
use crate::clock::Clock;

/// What waits to be written. More are turned away: the disk is too slow for them.
const QUEUE: usize = 1024;
/// What is written in one transaction at most.
const BATCH: usize = 128;
/// How often what is over is cleared away.
const SWEEP: Duration = Duration::from_mins(15);
/// Connections that are kept for the next reader.
const READERS: usize = 4;

/// What to do with the connection, if there is one. Says whether it did anything, and what to call
/// once that is on the disk or is known not to be.
pub type Work = Box<dyn FnOnce(Result<&Connection, Unavailable>) -> (bool, Reply) + Send>;
pub type Reply = Box<dyn FnOnce(Result<(), Unavailable>) + Send>;

#[derive(Debug)]
pub struct Worker {
    settings: Settings,
    clock: Clock,
    /// Tells this run of the program from others.
    run: Arc<str>,
    state: Mutex<State>,
    is_open: Arc<AtomicBool>,
    readers: Readers,
}

/// Connections for the next to read.
type Readers = Arc<Mutex<Vec<Connection>>>;

#[derive(Debug)]
enum State {
    Idle,
    Running(Running),
    Ended,
}

#[derive(Debug)]
struct Running {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

struct Job(Work);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Worker {
    pub fn new(settings: Settings, clock: Clock) -> Self {
        Self {
            settings,
            clock,
            run: new_id("").unwrap_or_default().into(),
            state: Mutex::new(State::Idle),
            is_open: Arc::default(),
            readers: Readers::default(),
        }
    }

    /// Hands `work` to the thread, which is started for the first.
    ///
    /// # Errors
    ///
    /// When too much waits already, or the program ends.
    pub fn send(&self, work: Work) -> Result<(), Unavailable> {
        let mut state = self.state.lock();
        if matches!(*state, State::Idle) {
            let (jobs, waiting) = sync_channel(QUEUE);
            let writer = Writer {
                settings: self.settings.clone(),
                clock: self.clock.clone(),
                run: Arc::clone(&self.run),
                is_open: Arc::clone(&self.is_open),
                readers: Arc::clone(&self.readers),
                connection: None,
                next_sweep: self.clock.instant(),
                strays: Strays::All,
            };
            let thread = std::thread::Builder::new().name("store".into());
            let thread = thread.spawn(move || writer.run(&waiting))?;
            *state = State::Running(Running { jobs, thread });
        }
        let State::Running(running) = &*state else {
            return Err(Unavailable::because(What::Ending));
        };
        running.jobs.try_send(Job(work)).map_err(|error| match error {
            TrySendError::Full(_) => Unavailable::because(What::Busy),
            TrySendError::Disconnected(_) => Unavailable::because(What::Ending),
        })
    }

    /// What tells this run of the program from others.
    pub fn run(&self) -> Arc<str> {
        Arc::clone(&self.run)
    }

    /// Whether it can be read: it exists and has the shape of this release.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    pub fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        let kept = self.readers.lock().pop();
        let reader = match kept {
            Some(reader) => reader,
            None => schema::reader(&self.settings.database())?,
        };
        // What went wrong with a connection goes with it.
        let done = work(&reader)?;
        let mut readers = self.readers.lock();
        if readers.len() < READERS && self.is_open() {
            readers.push(reader);
        }
        Ok(done)
    }

    /// Waits until all is on the disk and the database is closed.
    pub fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Ended);
        self.is_open.store(false, Ordering::Release);
        // The last one to close tidies up; that is the one that can write.
        self.readers.lock().clear();
        if let State::Running(Running { jobs, thread }) = state {
            drop(jobs);
            let _panicked = thread.join();
        }
    }
}

struct Writer {
    settings: Settings,
    clock: Clock,
    run: Arc<str>,
    is_open: Arc<AtomicBool>,
    readers: Readers,
    connection: Option<Connection>,
    next_sweep: Instant,
    strays: Strays,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let wait = self.next_sweep.saturating_duration_since(self.clock.instant());
            // Whoever opens the database sweeps it, so that there is nothing to do before.
            let wait = if self.connection.is_some() { wait } else { SWEEP };
            match jobs.recv_timeout(wait) {
                Ok(job) => {
                    let others = jobs.try_iter().take(BATCH - 1);
                    self.write([job].into_iter().chain(others).collect());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.connection.is_some() && self.clock.instant() >= self.next_sweep {
                self.sweep();
            }
        }
        self.is_open.store(false, Ordering::Release);
        if let Some(connection) = self.connection.take() {
            let _unclean = connection.close();
        }
    }

    fn sweep(&mut self) {
        self.next_sweep = self.clock.instant() + SWEEP;
        let Some(connection) = &self.connection else { return };
        let now = self.clock.unix();
        let answered = answers::fail_open(connection, &self.run);
        let answered = answered.and_then(|()| answers::sweep(connection, &self.settings, now));
        let answered = answered.map_err(Unavailable::from);
        let cleared = files::sweep(connection, &self.settings, now, self.strays);
        let tidied = schema::tidy(connection, now).map_err(Unavailable::from);
        // What could not be done now is done the next time.
        match answered.and(cleared) {
            Ok(()) => self.strays = Strays::Old,
            Err(error) => {
                let error = &*crate::transport::chain(&error);
                tracing::warn!(error, "cannot clear the storage");
            }
        }
        if let Err(error) = tidied {
            tracing::debug!(error = &*error.to_string(), "cannot tidy the storage");
        }
    }

    /// Everything in one transaction: the disk is slow once and not for each.
    fn write(&mut self, batch: Vec<Job>) {
        let began = self.connection().and_then(|db| Ok(db.execute_batch("BEGIN IMMEDIATE")?));
        let Some(connection) = self.connection.as_ref().filter(|_| began.is_ok()) else {
            let error = began.err().unwrap_or_else(|| Unavailable::because(What::Refused));
            self.told(&error);
            for Job(work) in batch {
                let (_, reply) = work(Err(error.clone()));
                reply(Ok(()));
            }
            return;
        };
        let mut is_worth_it = false;
        let mut replies = Vec::with_capacity(batch.len());
        for Job(work) in batch {
            // Some failures undo the whole transaction. Whatever follows would stand alone.
            let is_lost = connection.is_autocommit();
            let lost = Err(Unavailable::because(What::Refused));
            let (is_done, reply) = work(if is_lost { lost } else { Ok(connection) });
            is_worth_it |= is_done;
            replies.push(reply);
        }
        let end = if is_worth_it { "COMMIT" } else { "ROLLBACK" };
        let ended = connection.execute_batch(end).map_err(Unavailable::from);
        if let Err(error) = &ended {
            let _no_transaction = connection.execute_batch("ROLLBACK");
            self.told(&error.clone());
        }
        for reply in replies {
            reply(ended.clone());
        }
    }

    /// What a failure means for the next who asks.
    fn told(&mut self, error: &Unavailable) {
        tracing::warn!(error = &*crate::transport::chain(error), "the local storage fails");
        if error.what != What::Busy && error.what != What::Full {
            self.is_open.store(false, Ordering::Release);
            // They may hold a file that is not there any more.
            self.readers.lock().clear();
            self.connection = None;
        }
    }

    fn connection(&mut self) -> Result<&Connection, Unavailable> {
        if self.connection.is_none() {
            let opened = schema::open(&self.settings, self.clock.unix())?;
            self.connection = Some(opened);
            // Nobody reads what another run has left unfinished.
            self.sweep();
            self.is_open.store(true, Ordering::Release);
        }
        self.connection.as_ref().ok_or_else(|| Unavailable::because(What::Refused))
    }
}

/// Does `work` so that nothing of it is left if it fails, or comes to what is not to stay.
pub fn in_a_savepoint<T>(
    db: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    stays: fn(&T) -> bool,
) -> rusqlite::Result<T> {
    db.execute_batch("SAVEPOINT job")?;
    let done = work(db);
    let undo = if done.as_ref().is_ok_and(stays) { "" } else { "ROLLBACK TO job;" };
    let ended = db.execute_batch(&format!("{undo} RELEASE job"));
    // What went wrong first says more than that nothing is left to be undone.
    let done = done?;
    ended.map(|()| done)
}
