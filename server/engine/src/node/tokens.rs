//! Tokens that callers bring: verified without keeping the reactor, and inspected for whoever wonders.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::{App, Operation, Refusal, Subject};
use tokio::time::timeout;

use super::Node;
use crate::broker::Pending;
use crate::caller::Caller;
use crate::directory::AppEntry;
use crate::error::NodeError;
use crate::session::Session;
use crate::token::{self, Examined, VerifiedToken};

/// Signatures of issuers that are verified at one moment.
pub(super) const VERIFIERS: usize = 2;
/// How long a token waits for its turn.
const VERIFY_WITHIN: Duration = Duration::from_secs(5);

impl Node {
    /// Checks a channel token against an app, or one of the dashboard's.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub async fn authenticate_token(&self, app: &Arc<App>, token: &str) -> Result<Caller, NodeError> {
        let entry = self.directory.find(app.id)?;
        let subject = match token::verify_inspector(&entry.peek(), token, self.clock.unix_ms()) {
            Some(inspector) => {
                inspector.map(|inspector| Subject::Inspector(Box::new(inspector))).map_err(NodeError::from)
            }
            None => {
                let verified = self.verify_token(&entry, token).wait().await;
                verified.map(|verified| Subject::Client(Box::new(verified.subject)))
            }
        };
        let subject = self.counted(&entry, subject)?;
        Ok(Caller { entry, subject: Arc::new(subject), connection: None })
    }

    /// Verifies a token: at once where that is cheap, else beside the reactor, a few at a time.
    pub(crate) fn verify_token(&self, entry: &Arc<AppEntry>, token: &str) -> Pending<Result<VerifiedToken, NodeError>> {
        let work = match token::examine(&entry.peek(), &entry.issuers, token, self.clock.unix_ms()) {
            Examined::Settled(outcome) => return Pending::Ready((*outcome).map_err(NodeError::from)),
            Examined::Costly(work) => work,
        };
        let (entry, clock) = (Arc::clone(entry), Arc::clone(&self.clock));
        let (verifiers, tasks) = (Arc::clone(&self.verifiers), self.tasks.clone());
        Pending::Later(Box::pin(async move {
            let place = timeout(VERIFY_WITHIN, verifiers.acquire_owned()).await;
            let place = place.ok().and_then(Result::ok).ok_or(NodeError::Overloaded)?;
            let worked = tasks.spawn_blocking(move || {
                let _place = place;
                work.run()
            });
            let worked = worked.await.map_err(|_| NodeError::Overloaded)?;
            Ok(token::conclude(&entry.peek(), &entry.issuers, worked, clock.unix_ms())?)
        }))
    }

    /// Checks that a client with this token, or with none, could connect to an app now.
    ///
    /// # Errors
    /// As its `connect` would be refused.
    pub async fn check_client(&self, app: &App, token: Option<&str>) -> Result<(), NodeError> {
        let entry = self.directory.find(app.id)?;
        let verified = match token {
            Some(token) => self.verify_token(&entry, token).wait().await.map(Some),
            None => Ok(None),
        };
        let started = verified.and_then(|verified| Session::default().start(&entry.app(), verified, 0));
        self.counted(&entry, started)
    }

    /// Judges a token as a connection would, for the developer who holds a key that may `sign`. The inner outcome is the
    /// token's.
    ///
    /// # Errors
    /// When the caller is no such key.
    pub async fn inspect_token(
        &self,
        caller: &Caller,
        token: &str,
    ) -> Result<Result<VerifiedToken, NodeError>, NodeError> {
        let Subject::Key { id, capabilities } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
        if !capabilities.anywhere(Operation::Sign) {
            let refusal = Refusal::Key { key: *id, operation: Operation::Sign };
            return self.counted(&caller.entry, Err(refusal.into()));
        }
        Ok(self.verify_token(&caller.entry, token).wait().await)
    }
}
