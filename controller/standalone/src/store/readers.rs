//! The connections of the readers: few, made when they are first needed. Short reads run in place, long ones
//! on the blocking pool.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ReadError;
use super::database;

/// More would read no faster on the small machines that this is for, and each holds a page cache.
const CONNECTIONS: usize = 4;
/// One connection is left to short reads: a get never waits for lists.
const LONG: usize = CONNECTIONS - 1;

#[derive(Debug)]
pub(super) struct Readers {
    pool: Arc<Pool>,
    long: Arc<Semaphore>,
}

#[derive(Debug)]
struct Pool {
    file: PathBuf,
    all: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// A connection on loan; it goes back when it is dropped.
#[derive(Debug)]
struct Loan {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(file: PathBuf) -> Self {
        let all = Arc::new(Semaphore::new(CONNECTIONS));
        Self {
            pool: Arc::new(Pool { file, all, idle: Mutex::default() }),
            long: Arc::new(Semaphore::new(LONG)),
        }
    }

    /// A short read, on the thread of the caller.
    pub(super) async fn here<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let permit = Arc::clone(&self.pool.all).acquire_owned().await.map_err(|_| ReadError::Closed)?;
        Pool::lend(&self.pool, permit)?.read(read)
    }

    /// A long read, on a thread that may block. If the caller stops waiting, it ends by itself.
    pub(super) async fn elsewhere<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let long = Arc::clone(&self.long).acquire_owned().await.map_err(|_| ReadError::Closed)?;
        let permit = Arc::clone(&self.pool.all).acquire_owned().await.map_err(|_| ReadError::Closed)?;
        let pool = Arc::clone(&self.pool);
        let reading = tokio::task::spawn_blocking(move || {
            let _long = long;
            Pool::lend(&pool, permit)?.read(read)
        });
        reading.await.map_err(|_| ReadError::Closed)?
    }

    /// Refuses further reads and closes the connections that are not in use; those that are close when their read ends.
    pub(super) fn close(&self) {
        self.long.close();
        self.pool.all.close();
        self.pool.idle().clear();
    }
}

impl Pool {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lend(pool: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Loan, ReadError> {
        let idle = pool.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => database::connect_reader(&pool.file)?,
        };
        Ok(Loan { pool: Arc::clone(pool), connection: Some(connection), _permit: permit })
    }
}

impl Loan {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.connection.as_ref().ok_or(ReadError::Closed).and_then(read)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut idle = self.pool.idle();
        if !self.pool.all.is_closed() {
            idle.extend(self.connection.take());
        }
    }
}
