//! Connections that were let in: counted for their app and for the node, until they are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::AppEntry;
use crate::error::NodeError;
use crate::stats::AppStats;

/// One counted connection of an app and of the node; dropping it gives both places back.
pub struct ConnectionPermit {
    pub(crate) entry: Arc<AppEntry>,
    _place: Place,
}

impl ConnectionPermit {
    /// Of one that was counted.
    pub(super) const fn new(entry: Arc<AppEntry>, place: Place) -> Self {
        Self { entry, _place: place }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        AppStats::sub(&self.entry.stats.connections, 1);
    }
}

impl std::fmt::Debug for ConnectionPermit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ConnectionPermit").field("app", &self.entry.id()).finish()
    }
}

/// How many connections a node has, whatever the apps' limits say.
#[derive(Debug, Default, Clone)]
pub(crate) struct Population(Arc<AtomicU64>);

/// One of them; dropping it gives the place back.
pub(crate) struct Place(Population);

impl Population {
    /// One more, unless there are `max`.
    pub(crate) fn enter(&self, max: u64) -> Result<Place, NodeError> {
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1))
            .map(|_| Place(self.clone()))
            .map_err(|_| NodeError::Overloaded)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
