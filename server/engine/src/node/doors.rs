//! How clients come in: with a handshake, or going on with a ticket; and over what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fanfare_core::{App, Limit};

use super::{Handshake, Node, Pressure};
use crate::directory::{AppEntry, ConnectionPermit, Place};
use crate::error::NodeError;
use crate::outbox::Wire;
use crate::session::Session;

/// The ways to be connected, as they are counted.
const TRANSPORTS: [Wire; 4] = [Wire::NativeJson, Wire::Events, Wire::Stream, Wire::Poll];

/// What clients are connected by.
#[derive(Debug, Default)]
pub(crate) struct Links {
    opened: [AtomicU64; TRANSPORTS.len()],
    ended: [AtomicU64; TRANSPORTS.len()],
}

impl Links {
    pub(crate) fn opened(&self, wire: Wire) {
        self.opened[place_of(wire)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, wire: Wire) {
        self.ended[place_of(wire)].fetch_add(1, Ordering::Relaxed);
    }
}

const fn place_of(wire: Wire) -> usize {
    match wire {
        Wire::NativeJson | Wire::NativeJsonDeflate { .. } => 0,
        Wire::Events => 1,
        Wire::Stream => 2,
        Wire::Poll => 3,
    }
}

impl Node {
    /// By transport: its word, how many links there are, and how many there ever were. Each poll is one.
    #[must_use]
    pub fn links(&self) -> Vec<(&'static str, u64, u64)> {
        let read = |wire: &Wire| {
            let place = place_of(*wire);
            // Ended first: what ends in between does not make more ends than begins.
            let ended = self.links.ended[place].load(Ordering::Relaxed);
            let opened = self.links.opened[place].load(Ordering::Relaxed);
            (wire.transport(), opened.saturating_sub(ended), opened)
        };
        TRANSPORTS.iter().map(read).collect()
    }

    /// Lets a client in before its handshake is answered, or says why not.
    ///
    /// # Errors
    /// When the app, a limit, the origin or the node's state refuses.
    pub fn admit_connection(&self, app: &Arc<App>, handshake: &Handshake) -> Result<ConnectionPermit, NodeError> {
        let entry = self.directory.find(app.id)?;
        let place = self.place_for(&entry, handshake.origin.as_deref())?;
        let now = self.clock.monotonic();
        let permit = self.counted(&entry, entry.admit(Some(now), place))?;
        // Last: what an app's own limits refuse takes no place from others. The token is looked at only after this.
        self.admission
            .admit(now, self.options.connect_rate, self.chance.next())
            .map_err(|retry_after_ms| NodeError::Paced { retry_after_ms })?;
        Ok(permit)
    }

    /// Lets a client go on with the ticket of its last answer, and puts what it says into the handshake. It is no new
    /// connection, so it draws from no rate of those: it draws from the rate of its own commands, for itself and for each
    /// subscription that is taken up again.
    ///
    /// # Errors
    /// When the ticket does not hold, or the app, a limit, the origin or the node's state refuses.
    pub fn admit_ticket(
        &self,
        app: &Arc<App>,
        text: &str,
        handshake: &mut Handshake,
    ) -> Result<ConnectionPermit, NodeError> {
        let entry = self.directory.find(app.id)?;
        let place = self.place_for(&entry, handshake.origin.as_deref())?;
        let opened = self.open_ticket(app.id, text).map_err(NodeError::from);
        let ticket = self.counted(&entry, opened)?;
        let (app, now_ms) = (entry.app(), self.clock.unix_ms());
        let mut session = Session::default();
        let started = ticket
            .carries(now_ms)
            .map_err(NodeError::from)
            .and_then(|token| session.start_again(&app, token, ticket.generation, now_ms));
        self.counted(&entry, started)?;
        session.share(entry.carried.rates(ticket.connection, self.second())?);
        let weight = 1 + ticket.places.len() as u64;
        let drawn = session.draw(&app, self.clock.monotonic(), (Limit::CommandRate, weight));
        self.counted(&entry, drawn)?;
        let permit = self.counted(&entry, entry.admit(None, place))?;
        handshake.ticket = Some(Box::new(ticket));
        Ok(permit)
    }

    /// Refuses pages of origins that the app does not list.
    ///
    /// # Errors
    /// When this is one.
    pub(crate) fn check_origin(&self, entry: &AppEntry, origin: Option<&str>) -> Result<(), NodeError> {
        match origin {
            Some(origin) if !self.admits_origin(&entry.peek(), origin) => {
                self.counted(entry, Err(NodeError::Origin(origin.chars().take(200).collect())))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A place on the node for a client that comes from there.
    fn place_for(&self, entry: &AppEntry, origin: Option<&str>) -> Result<Place, NodeError> {
        if self.draining.is_cancelled() {
            return Err(NodeError::Draining);
        }
        self.check_origin(entry, origin)?;
        if self.pressure() >= Pressure::High {
            return self.counted(entry, Err(NodeError::Overloaded));
        }
        self.population.enter(self.options.connections_max)
    }
}
