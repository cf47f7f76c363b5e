//! `POST /v1/apps/{app}/tickets`: a word for a URL, where a token must never stand.
//!
//! A ticket is good once, for half a minute, on its app and on the node that gave it out. It stands for the token it was
//! bought with, which is checked again when it is used.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_api::data::TicketResponse;
use fanfare_api::{ProblemDocument, SecretText};
use fanfare_core::id::AppId;
use fanfare_core::{ErrorCode, Problem};

use crate::caller::{self, Caller};
use crate::context::Context;
use crate::failure::Failure;

/// How long a ticket is good.
const TTL_MS: u64 = 30_000;
/// Tickets that were not used yet, of all apps; of one app a quarter.
const TICKETS_MAX: usize = 65_536;
const TICKETS_OF_APP_MAX: usize = TICKETS_MAX / 4;

/// Tickets that were given out.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    good: HashMap<String, Ticket>,
    /// In the order in which they end.
    order: VecDeque<(u64, String)>,
    of_app: HashMap<AppId, usize>,
}

#[derive(Debug)]
struct Ticket {
    app: AppId,
    token: SecretText,
}

impl Tickets {
    /// Gives one out. Nothing when there are too many.
    fn sell(&self, app: AppId, token: SecretText, name: String, now_ms: u64) -> Option<u64> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.forget(now_ms);
        let of_app = book.of_app.get(&app).copied().unwrap_or(0);
        // Used ones count until their time is over: they are still in the order.
        if of_app >= TICKETS_OF_APP_MAX || book.order.len() >= TICKETS_MAX {
            return None;
        }
        book.of_app.insert(app, of_app + 1);
        book.good.insert(name.clone(), Ticket { app, token });
        book.order.push_back((now_ms + TTL_MS, name));
        Some(now_ms + TTL_MS)
    }

    /// Takes one back, whatever comes of it, and gives the token it stands for.
    pub(crate) fn redeem(&self, app: AppId, name: &str, now_ms: u64) -> Option<SecretText> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.forget(now_ms);
        let ticket = book.take(name)?;
        (ticket.app == app).then_some(ticket.token)
    }
}

impl Book {
    fn forget(&mut self, now_ms: u64) {
        while let Some((ends_ms, _)) = self.order.front()
            && *ends_ms <= now_ms
        {
            if let Some((_, name)) = self.order.pop_front() {
                self.take(&name);
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<Ticket> {
        let ticket = self.good.remove(name)?;
        if let Some(count) = self.of_app.get_mut(&ticket.app) {
            *count -= 1;
            if *count == 0 {
                self.of_app.remove(&ticket.app);
            }
        }
        Some(ticket)
    }
}

/// Buy a ticket
///
/// For clients that can send a URL and nothing else, such as a browser's `EventSource`: the answer's `ticket` stands for
/// the token in the request, once and for 30 seconds.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/tickets",
    operation_id = "create_ticket",
    tag = "Tokens",
    params(("app" = String, Path, description = "The app's id.")),
    responses(
        (status = 200, description = "The ticket.", body = TicketResponse),
        (status = "default", description = "There is none.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(crate) async fn create(
    State(context): State<Context>,
    Caller(caller): Caller,
    request: Request,
) -> Result<Json<TicketResponse>, Failure> {
    let token = caller::bearer(request.headers()).filter(|_| caller.is_client()).ok_or_else(|| {
        Problem::new(ErrorCode::TokenMissing, "A ticket stands for a client's token: send one as a Bearer credential.")
    })?;
    let node = &context.node;
    let ticket = URL_SAFE_NO_PAD.encode([node.unguessable(), node.unguessable()].map(u128::to_be_bytes).concat());
    let token = SecretText::new(token.to_owned());
    let sold = context.tickets.sell(caller.app().id, token, ticket.clone(), node.unix_ms());
    let expires_ms = sold.ok_or_else(|| {
        Problem::new(ErrorCode::Overloaded, "Too many tickets wait to be used; each ends after 30 seconds.")
    })?;
    Ok(Json(TicketResponse { ticket: SecretText::new(ticket), expires_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_in_time_and_on_its_app() {
        let (tickets, here, there) = (Tickets::default(), AppId::new(1, 1), AppId::new(1, 2));
        let sell = |name: &str, now_ms| tickets.sell(here, SecretText::new("t".to_owned()), name.to_owned(), now_ms);
        assert_eq!(sell("a", 1_000), Some(31_000));
        assert!(tickets.redeem(here, "b", 1_000).is_none());
        assert!(tickets.redeem(here, "a", 30_999).is_some());
        assert!(tickets.redeem(here, "a", 30_999).is_none(), "it was used");
        sell("b", 31_000);
        assert!(tickets.redeem(here, "b", 61_000).is_none(), "its time is over");
        sell("c", 61_000);
        assert!(tickets.redeem(there, "c", 61_000).is_none());
        assert!(tickets.redeem(here, "c", 61_000).is_none(), "who takes it elsewhere has used it");
        for number in 0..TICKETS_OF_APP_MAX {
            assert!(sell(&format!("many {number}"), 100_000).is_some());
        }
        assert!(sell("one more", 100_001).is_none());
        assert!(sell("later", 130_000).is_some());
    }
}
