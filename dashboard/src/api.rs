//! The only place that fetches. Signed-out and signed-in clients are two types: what needs a session can only be asked
//! through a [`Member`], and a `Member` only comes from the [`Guest`]'s answers. [`Backend`] calls the data plane with
//! a key, as a tenant's own backend would; [`Inspector`] with tokens that a member is given to look at an app.

mod access;
mod backend;
mod error;
mod health;
mod inspector;
mod issuers;
mod send;

use fanfare_api::app::{AppView, CreateApp, UpdateApp};
use fanfare_api::inspector::{ActRequest, InspectorToken};
use fanfare_api::key::{CreateKey, KeyCreated, KeyRevoked, KeyView, UpdateKey};
use fanfare_api::limits::{LimitList, LowerLimits};
use fanfare_api::live::LiveToken;
use fanfare_api::session::{SessionView, SignInRequest, SignUpRequest, SignedUp, WelcomeRequest};
use fanfare_api::settings::{ChannelSettingsView, ReplaceChannelSettings};
use fanfare_api::statistics::Statistics;
use fanfare_api::{Page, SecretText};
use fanfare_core::id::{AppId, KeyId, TenantId};
use fanfare_core::{Act, ErrorCode};
use leptos::prelude::*;

pub(crate) use backend::Backend;
pub(crate) use error::ApiError;
pub(crate) use health::Health;
pub(crate) use inspector::Inspector;
use send::{Call, send};

use crate::browser;
pub(crate) use crate::browser::encoded;
use crate::session::{Session, SessionHandle};

/// What a call answers.
pub(crate) type Answer<T> = Result<T, ApiError>;

/// The most pages of a list that are read; a hundred items each are more than a page of the dashboard shows.
const PAGES_MAX: usize = 20;

/// The client of somebody who is not signed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest {
    health: Health,
    session: SessionHandle,
}

impl Guest {
    /// The client that reports to these handles.
    pub(crate) const fn new(health: Health, session: SessionHandle) -> Self {
        Self { health, session }
    }

    /// Who is signed in by the cookie that the browser has, if anybody.
    pub(crate) async fn resume(self) -> Answer<Option<(Member, SessionView)>> {
        match send(self.health, Call::get("/api/v1/session")).await {
            Ok(view) => Ok(Some((self.member(), view))),
            Err(error) if error.status() == Some(401) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a user, a tenant, an app and its first key, and signs in.
    pub(crate) async fn sign_up(self, request: &SignUpRequest) -> Answer<(Member, SignedUp)> {
        let made = send(self.health, Call::post("/api/v1/sign-up").json(request).creates()).await?;
        Ok((self.member(), made))
    }

    /// Signs in.
    pub(crate) async fn sign_in(self, email: String, password: SecretText) -> Answer<(Member, SessionView)> {
        let request = SignInRequest { email, password };
        let view = send(self.health, Call::post("/api/v1/sign-in").json(&request)).await?;
        Ok((self.member(), view))
    }

    /// Claims the tenant of a server's first start, and signs in.
    pub(crate) async fn welcome(self, request: &WelcomeRequest) -> Answer<(Member, SignedUp)> {
        let made = send(self.health, Call::post("/api/v1/welcome").json(request)).await?;
        Ok((self.member(), made))
    }

    const fn member(self) -> Member {
        Member { health: self.health, session: self.session }
    }
}

/// The client of a signed-in member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    health: Health,
    session: SessionHandle,
}

impl Member {
    /// Ends the session. The page is signed out even when the server cannot be told.
    pub(crate) async fn sign_out(self) -> Answer<()> {
        let answer = send(self.health, Call::post("/api/v1/sign-out")).await;
        self.session.set(Session::SignedOut { ended: false });
        answer
    }

    /// Asks again who is signed in; used to find out whether storage is back.
    pub(crate) async fn check(self) -> Answer<()> {
        let view = self.ask::<SessionView>(Call::get("/api/v1/session")).await?;
        self.session.update(|known| *known = view);
        Ok(())
    }

    /// An app in full.
    pub(crate) async fn app(self, app: AppId) -> Answer<AppView> {
        self.ask(Call::get(format!("/api/v1/apps/{app}"))).await
    }

    /// Makes an app.
    pub(crate) async fn create_app(self, tenant: TenantId, name: String) -> Answer<AppView> {
        let path = format!("/api/v1/tenants/{tenant}/apps");
        self.ask(Call::post(path).json(&CreateApp { name }).creates()).await
    }

    /// Renames an app that is at this version.
    pub(crate) async fn rename_app(self, app: AppId, version: u64, name: String) -> Answer<AppView> {
        let change = UpdateApp { name: Some(name), ..UpdateApp::default() };
        self.ask(Call::patch(format!("/api/v1/apps/{app}")).json(&change).at_version(version)).await
    }

    /// Every key of an app.
    pub(crate) async fn keys(self, app: AppId) -> Answer<Vec<KeyView>> {
        self.all(&format!("/api/v1/apps/{app}/keys")).await
    }

    /// Makes a key; its secret is in this answer and nowhere else.
    pub(crate) async fn create_key(self, app: AppId, key: &CreateKey) -> Answer<KeyCreated> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/keys")).json(key).creates()).await
    }

    /// Renames a key that is at this version.
    pub(crate) async fn rename_key(self, app: AppId, key: &KeyView, name: String) -> Answer<KeyView> {
        let path = format!("/api/v1/apps/{app}/keys/{}", key.id);
        self.ask(Call::patch(path).json(&UpdateKey { name }).at_version(key.version)).await
    }

    /// Revokes a key for good.
    pub(crate) async fn revoke_key(self, app: AppId, key: KeyId) -> Answer<KeyRevoked> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/keys/{key}/revoke"))).await
    }

    /// Kept figures of the last so many seconds; without a step, the finest that there is.
    pub(crate) async fn statistics(
        self,
        app: AppId,
        metrics: &str,
        span_s: u32,
        step: Option<u32>,
    ) -> Answer<Statistics> {
        let from = browser::rfc3339(browser::now_ms() - f64::from(span_s) * 1_000.0);
        let step = step.map_or_else(String::new, |step| format!("&step={step}"));
        self.ask(Call::get(format!("/api/v1/apps/{app}/statistics?metric={metrics}&from={}{step}", encoded(&from))))
            .await
    }

    /// The channel settings of an app.
    pub(crate) async fn channel_settings(self, app: AppId) -> Answer<ChannelSettingsView> {
        self.ask(Call::get(format!("/api/v1/apps/{app}/channel-settings"))).await
    }

    /// Replaces the channel settings that are at this version.
    pub(crate) async fn replace_channel_settings(
        self,
        app: AppId,
        version: u64,
        settings: &ReplaceChannelSettings,
    ) -> Answer<ChannelSettingsView> {
        let path = format!("/api/v1/apps/{app}/channel-settings");
        self.ask(Call::put(path).json(settings).at_version(version)).await
    }

    /// The limits of an app and how much of them is used.
    pub(crate) async fn limits(self, app: AppId) -> Answer<LimitList> {
        self.ask(Call::get(format!("/api/v1/apps/{app}/limits"))).await
    }

    /// Replaces what an app has lowered, at this version.
    pub(crate) async fn lower_limits(self, app: AppId, version: u64, lowered: &LowerLimits) -> Answer<LimitList> {
        self.ask(Call::put(format!("/api/v1/apps/{app}/limits")).json(lowered).at_version(version)).await
    }

    /// A token that reads an app's live figures and messages.
    pub(crate) async fn live_token(self, app: AppId) -> Answer<LiveToken> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/live-token"))).await
    }

    /// Every item of a list, page by page.
    async fn all<T: serde::de::DeserializeOwned>(self, path: &str) -> Answer<Vec<T>> {
        let mut all = Vec::new();
        let mut asked = format!("{path}?limit=100");
        for _ in 0..PAGES_MAX {
            let page: Page<T> = self.ask(Call::get(asked)).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => asked = format!("{path}?limit=100&after={}", encoded(&next)),
                None => break,
            }
        }
        Ok(all)
    }

    /// A token that looks at an app's connections and channels.
    async fn inspector_token(self, app: AppId) -> Answer<InspectorToken> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/inspector-token"))).await
    }

    /// A token that does one thing there.
    async fn act_token(self, app: AppId, act: Act) -> Answer<InspectorToken> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/act-token")).json(&ActRequest::from(act))).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(self, call: Call) -> Answer<T> {
        let answer = send(self.health, call).await;
        if let Err(error) = &answer
            && error.code() == Some(ErrorCode::SessionExpired)
        {
            self.session.set(Session::SignedOut { ended: true });
        }
        answer
    }
}

/// Provides the clients' handles to everything below, and asks who is signed in.
pub(crate) fn provide_clients() {
    let (health, session) = (Health::new(), SessionHandle::new());
    let guest = Guest::new(health, session);
    provide_context(health);
    provide_context(session);
    provide_context(guest);
    session.resume(guest);
}
