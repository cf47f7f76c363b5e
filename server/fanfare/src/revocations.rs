//! Where the data plane's revocations are kept: the store, when it is there.
//!
//! ```text
//! gateway ─▶ Node::revoke ─▶ StoredRevocations ─▶ Store ─▶ Postgres ─▶ change feed ─▶ every node's directory
//! ```
//!
//! A caller waits for a bounded time, and only so many wait at once: a Postgres that hangs costs requests for revocations
//! and nothing else.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::id::RevocationId;
use fanfare_core::revocation::{Revocation, Revoked};
use fanfare_engine::{Backend, LogError, Pending, RevocationLog};
use fanfare_store::{Store, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::{error, warn};

/// Changes that are under way at once; one more is refused.
const AT_ONCE_MAX: usize = 32;
/// How long one may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The log of revocations over the store.
pub(crate) struct StoredRevocations {
    store: watch::Receiver<Option<Store>>,
    turns: Arc<Semaphore>,
}

impl StoredRevocations {
    /// Over the store, once it has been reached.
    pub(crate) fn new(store: watch::Receiver<Option<Store>>) -> Self {
        Self { store, turns: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// Does something with the store, or says that it cannot be done now.
    fn with_store<T, F>(&self, work: impl FnOnce(Store) -> F) -> Pending<Result<T, LogError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let store = self.store.borrow().clone();
        let (Some(store), Ok(turn)) = (store, Arc::clone(&self.turns).try_acquire_owned()) else {
            return Pending::Ready(Err(LogError::Unavailable));
        };
        let work = work(store);
        Pending::Later(Box::pin(async move {
            let done = timeout(ANSWER_WITHIN, work).await;
            drop(turn);
            match done {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(error)) => Err(told(&error)),
                Err(_) => Err(LogError::Unavailable),
            }
        }))
    }
}

impl RevocationLog for StoredRevocations {
    fn revoke(&self, by: Backend, revoked: Revoked, issued_until_ms: u64) -> Pending<Result<Revocation, LogError>> {
        self.with_store(move |store| async move {
            store.backend(by.tenant, by.app, by.key).revoke(revoked, issued_until_ms).await
        })
    }

    fn end(&self, by: Backend, id: RevocationId) -> Pending<Result<(), LogError>> {
        self.with_store(move |store| async move { store.backend(by.tenant, by.app, by.key).end_revocation(id).await })
    }
}

fn told(error: &StoreError) -> LogError {
    match error {
        StoreError::NotFound => LogError::NotFound,
        StoreError::Full { max, .. } => LogError::Full { max: *max },
        error if error.is_temporary() => {
            warn!(%error, "a revocation was not stored");
            LogError::Unavailable
        }
        error => {
            error!(%error, "a revocation was not stored");
            LogError::Unavailable
        }
    }
}
