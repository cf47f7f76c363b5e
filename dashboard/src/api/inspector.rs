//! The data plane as a member looks at it: with short tokens that the control plane makes, one to look and one for each
//! act, on the gateway, across origins.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use fanfare_api::Page;
use fanfare_api::data::{ChannelDetail, ChannelList, DeletedHistory, HistoryPage, MessageView};
use fanfare_api::inspector::InspectorToken;
use fanfare_api::manage::{ConnectionDetail, ConnectionList, DisconnectRequest, Reach};
use fanfare_api::presence::PresenceView;
use fanfare_core::id::{AppId, ConnectionId};
use fanfare_core::{Act, ChannelName};
use leptos::prelude::*;
use serde::de::DeserializeOwned;

use super::send::{Call, exchange};
use super::{Answer, ApiError, Member, encoded};
use crate::browser;
use crate::session::Here;

/// How long before its end a token is not used any more.
const SPARE_MS: f64 = 15_000.0;
/// How many items a page of a list has.
pub(crate) const PAGE: u32 = 100;

/// The client of a page that looks at an app. It lives as long as the page.
#[derive(Clone, Copy)]
pub(crate) struct Inspector(StoredValue<Rc<State>, LocalStorage>);

struct State {
    member: Member,
    app: AppId,
    url: String,
    /// The token that lets look, until it is old.
    token: RefCell<Option<InspectorToken>>,
}

impl Inspector {
    /// A client for the app of a page.
    pub(crate) fn new(member: Member, here: &Here) -> Self {
        let (app, url) = (here.app.id, here.url.clone());
        Self(StoredValue::new_local(Rc::new(State { member, app, url, token: RefCell::default() })))
    }

    /// A page of connections, those that came first before the others.
    pub(crate) fn connections(
        self,
        user: &str,
        channel: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Answer<ConnectionList>> + use<> {
        let limit = PAGE.to_string();
        let query = [("user", user), ("channel", channel), ("after", after.unwrap_or_default()), ("limit", &limit)];
        self.look(browser::with_query("/connections", &query))
    }

    /// A connection, from near.
    pub(crate) fn connection(self, id: ConnectionId) -> impl Future<Output = Answer<ConnectionDetail>> {
        self.look(format!("/connections/{id}"))
    }

    /// A page of the channels that are in use, by name.
    pub(crate) fn channels(
        self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Answer<ChannelList>> + use<> {
        let query = [("prefix", prefix), ("after", after.unwrap_or_default()), ("limit", &PAGE.to_string())];
        self.look(browser::with_query("/channels", &query))
    }

    /// A channel as a whole.
    pub(crate) fn channel(self, name: &ChannelName) -> impl Future<Output = Answer<ChannelDetail>> + use<> {
        self.look(place(name))
    }

    /// Who is present on a channel.
    pub(crate) fn presence(self, name: &ChannelName) -> impl Future<Output = Answer<PresenceView>> + use<> {
        self.look(format!("{}/presence?limit={PAGE}", place(name)))
    }

    /// A page of what a channel keeps, the newest first.
    pub(crate) fn history(
        self,
        name: &ChannelName,
        from: Option<&str>,
    ) -> impl Future<Output = Answer<Page<MessageView>>> + use<> {
        let query = [("from", from.unwrap_or_default()), ("limit", "50")];
        let page = self.look::<HistoryPage>(browser::with_query(&format!("{}/messages", place(name)), &query));
        async move {
            let HistoryPage { messages, next, .. } = page.await?;
            let read = messages.iter().map(|message| serde_json::from_str(message.get())).collect::<Result<_, _>>();
            Ok(Page::part(read.map_err(|_| ApiError::Unreadable { status: 200 })?, next))
        }
    }

    /// Deletes all that a channel keeps.
    pub(crate) fn delete_history(self, name: &ChannelName) -> impl Future<Output = Answer<DeletedHistory>> + use<> {
        let path = format!("{}/messages", place(name));
        self.act(Act::DeleteHistory(name.clone()), move |url| Call::delete(format!("{url}{path}")))
    }

    /// Closes connections.
    pub(crate) fn disconnect(self, act: Act) -> impl Future<Output = Answer<Reach>> {
        let mut request = DisconnectRequest::default();
        match act.clone() {
            Act::DisconnectConnection(id) => request.connection = Some(id),
            Act::DisconnectUser(user) => request.user = Some(user.into()),
            Act::DisconnectChannel(channel) | Act::DeleteHistory(channel) => request.channel = Some(channel),
        }
        self.act(act, move |url| Call::post(format!("{url}/disconnect")).json(&request))
    }

    /// Does what a token is made for.
    fn act<T: DeserializeOwned>(self, act: Act, call: impl FnOnce(&str) -> Call) -> impl Future<Output = Answer<T>> {
        let state = self.0.with_value(Rc::clone);
        async move {
            let token = state.member.act_token(state.app, act).await?;
            exchange(bearing(call(&state.url), &token)).await.map_err(gateway)
        }
    }

    /// Reads something of the app.
    fn look<T: DeserializeOwned>(self, path: String) -> impl Future<Output = Answer<T>> + use<T> {
        let state = self.0.with_value(Rc::clone);
        async move {
            let url = format!("{}{path}", state.url);
            let answer = exchange(bearing(Call::get(&url), &state.token().await?)).await;
            // The backend may have ended all tokens of the app meanwhile. A new one says whether that is all.
            if answer.as_ref().err().and_then(ApiError::status) == Some(401) {
                state.token.take();
                return exchange(bearing(Call::get(&url), &state.token().await?)).await.map_err(gateway);
            }
            answer.map_err(gateway)
        }
    }
}

impl State {
    /// A token that lets look for a while yet.
    async fn token(&self) -> Answer<InspectorToken> {
        let fresh = |token: &InspectorToken| token.expires_at.timestamp_millis() as f64 - SPARE_MS > browser::now_ms();
        if let Some(token) = self.token.borrow().as_ref().filter(|token| fresh(token)) {
            return Ok(token.clone());
        }
        let token = self.member.inspector_token(self.app).await?;
        self.token.replace(Some(token.clone()));
        Ok(token)
    }
}

/// A channel's place below the app's URL.
fn place(name: &ChannelName) -> String {
    format!("/channels/{}", encoded(name.as_str()).replace("%3A", ":"))
}

fn bearing(call: Call, token: &InspectorToken) -> Call {
    call.header("Authorization", format!("Bearer {}", token.token.expose()))
}

/// It was the gateway that did not answer.
fn gateway(error: ApiError) -> ApiError {
    match error {
        ApiError::Unreachable => ApiError::GatewayUnreachable,
        ApiError::Problem(_) | ApiError::GatewayUnreachable | ApiError::Unreadable { .. } => error,
    }
}
