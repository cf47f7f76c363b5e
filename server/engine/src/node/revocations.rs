//! Revoking tokens: kept for every node and restart first, then felt by live connections at once.
//!
//! ```text
//!   REST ─► Node::revoke ─► RevocationLog (the store, through the binary) ─► Bus: every node adds it to its snapshot,
//!                                │                                                and has those it covers look again
//!                                └─► change feed ─► the next snapshots hold it, on nodes that start later too
//! ```
//!
//! While the store is away nothing is revoked, and the answer says so: a revocation that a restart forgets would be
//! worse than one that has to be asked for again. Everything else of the data plane goes on meanwhile.

use std::sync::Arc;

use fanfare_core::id::{AppId, KeyId, RevocationId, TenantId};
use fanfare_core::revocation::{Revocation, Revoked};
use fanfare_core::{ErrorCode, Problem, Subject};

use super::Node;
use super::manage::may_manage_all;
use crate::broker::Pending;
use crate::bus::{Control, Told, What};
use crate::caller::Caller;
use crate::error::NodeError;

/// Who writes, into which app.
#[derive(Debug, Clone, Copy)]
pub struct Backend {
    /// The app's tenant.
    pub tenant: TenantId,
    /// The app.
    pub app: AppId,
    /// The key that was checked.
    pub key: KeyId,
}

/// Why a revocation was not kept, or not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The store cannot be reached, or too much is asked of it: nothing was changed.
    #[error("revocations cannot be stored just now; nothing was revoked")]
    Unavailable,
    /// The app has as many as may be.
    #[error("there are {max} revocations already; revoke by label or by key, or everything issued until now, instead")]
    Full {
        /// The most.
        max: u32,
    },
    /// There is none with this id.
    #[error("there is no such revocation")]
    NotFound,
}

/// Where revocations are kept, so that they outlive this process and reach every node. It answers in bounded time.
pub trait RevocationLog: Send + Sync + 'static {
    /// Keeps one.
    fn revoke(&self, by: Backend, revoked: Revoked, issued_until_ms: u64) -> Pending<Result<Revocation, LogError>>;

    /// Ends one.
    fn end(&self, by: Backend, id: RevocationId) -> Pending<Result<(), LogError>>;
}

impl Node {
    /// Says where revocations are kept. The first call counts; before it, none can be made.
    pub fn keep_revocations_in(&self, log: Arc<dyn RevocationLog>) {
        let _first = self.revocations.set(log);
    }

    /// Revokes tokens that were issued until a moment, now where none is said.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` `**`, the key to revoke is none of the app's, the moment lies ahead,
    /// or it cannot be kept.
    pub async fn revoke(
        &self,
        caller: &Caller,
        revoked: Revoked,
        issued_until_ms: Option<u64>,
    ) -> Result<(Revocation, Told), NodeError> {
        let outcome = async {
            let by = backend(caller)?;
            let now_ms = self.clock.unix_ms();
            if let Revoked::Key(key) = &revoked
                && caller.entry.peek().key(*key).is_none()
            {
                return Err(invalid("/key", "The app has no such key."));
            }
            if issued_until_ms.is_some_and(|until_ms| until_ms > now_ms + AHEAD_MS_MAX) {
                let detail = "`issued_until` lies ahead: tokens that are signed from now on would be refused.";
                return Err(invalid("/issued_until", detail));
            }
            let log = self.revocations.get().ok_or(LogError::Unavailable)?;
            let kept = log.revoke(by, revoked, issued_until_ms.unwrap_or(now_ms)).wait().await?;
            let what = What::Revoke(kept.clone());
            let told = self.bus().tell(Control { app: by.app, what }).wait().await;
            Ok((kept, told))
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    /// The revocations that are kept, in the order of their ids, after this one.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` `**`.
    pub fn revocations(
        &self,
        caller: &Caller,
        after: Option<RevocationId>,
        limit: u32,
    ) -> Result<(Vec<Revocation>, Option<RevocationId>), NodeError> {
        self.counted(&caller.entry, may_manage_all(caller))?;
        let app = caller.entry.app();
        let mut rest = app.revocations.iter().filter(|one| after.is_none_or(|after| one.id > after));
        let page: Vec<Revocation> = rest.by_ref().take(limit as usize).cloned().collect();
        let next = page.last().map(|last| last.id).filter(|_| rest.next().is_some());
        Ok((page, next))
    }

    /// Ends a revocation: the tokens work again for as long as they live.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` `**`, there is none, or the store cannot be reached.
    pub async fn end_revocation(&self, caller: &Caller, id: RevocationId) -> Result<Told, NodeError> {
        let outcome = async {
            let by = backend(caller)?;
            let log = self.revocations.get().ok_or(LogError::Unavailable)?;
            log.end(by, id).wait().await?;
            Ok(self.bus().tell(Control { app: by.app, what: What::EndRevocation(id) }).wait().await)
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }
}

/// How far ahead of this node's clock a backend's may be.
const AHEAD_MS_MAX: u64 = 60_000;

fn backend(caller: &Caller) -> Result<Backend, NodeError> {
    may_manage_all(caller)?;
    match &*caller.subject {
        Subject::Key { id, .. } => Ok(Backend { tenant: caller.entry.peek().tenant, app: caller.entry.id(), key: *id }),
        Subject::Client(_) | Subject::Inspector(_) => Err(NodeError::KeyInvalid),
    }
}

fn invalid(pointer: &str, detail: &str) -> NodeError {
    NodeError::Invalid(Box::new(Problem::new(ErrorCode::InvalidRequest, detail).at(pointer, detail)))
}

impl From<LogError> for NodeError {
    fn from(error: LogError) -> Self {
        let code = match error {
            LogError::Unavailable => ErrorCode::StorageUnavailable,
            LogError::Full { .. } => ErrorCode::LimitReached,
            LogError::NotFound => ErrorCode::NotFound,
        };
        let problem = Problem::new(code, crate::error::sentence(&error));
        let problem = if error == LogError::Unavailable { problem.retry_after_ms(1_000) } else { problem };
        Self::Invalid(Box::new(problem))
    }
}
