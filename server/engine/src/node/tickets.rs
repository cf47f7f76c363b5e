//! Resume tickets, as the node makes and reads them.

use std::sync::Arc;

use fanfare_core::App;
use fanfare_core::id::AppId;

use super::Node;
use crate::caller::Caller;
use crate::error::NodeError;
use crate::session::Session;
use crate::ticket::{ResumeTicket, TicketError};

impl Node {
    /// A resume ticket's text.
    ///
    /// # Errors
    /// When too much stands in it.
    pub fn seal_ticket(&self, app: AppId, ticket: &ResumeTicket<'_>) -> Result<String, TicketError> {
        self.ticket_keys.seal(app, ticket, &self.chance)
    }

    /// The text of a ticket that is written out already.
    pub(crate) fn seal_carried(&self, app: AppId, plain: &[u8]) -> Result<String, TicketError> {
        self.ticket_keys.seal_plain(app, plain, &self.chance)
    }

    /// Reads a resume ticket that a client shows to an app. It says who comes, and not that they still may:
    /// [`Node::authenticate_ticket`] does.
    ///
    /// # Errors
    /// When it is none of this app.
    pub fn open_ticket(&self, app: AppId, text: &str) -> Result<ResumeTicket<'static>, TicketError> {
        self.ticket_keys.open(app, text)
    }

    /// Who comes with nothing but a ticket: for transports that keep their state in it.
    ///
    /// # Errors
    /// When it does not hold, or the app admits nobody without a token any more.
    pub fn authenticate_ticket(
        &self,
        app: &Arc<App>,
        text: &str,
    ) -> Result<(Caller, ResumeTicket<'static>), NodeError> {
        let entry = self.directory.find(app.id)?;
        let app = entry.app();
        let ticket = self.open_ticket(app.id, text)?;
        let now_ms = self.clock.unix_ms();
        let mut session = Session::default();
        session.start_again(&app, ticket.holds(now_ms)?, ticket.generation, now_ms)?;
        let subject = session.subject().cloned().ok_or(NodeError::TokenMissing)?;
        Ok((Caller { entry, subject, connection: Some(ticket.connection) }, ticket))
    }
}
