//! Who is signed in, known to the whole page.

use fanfare_api::SecretText;
use fanfare_api::session::{AppName, SessionView, TenantView};
use fanfare_core::Role;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::{ApiError, Guest, Member};
use crate::browser;

/// Where the last visited app is remembered.
const LAST_APP: &str = "fanfare.app";

/// What is known of the person in front of the page.
#[derive(Debug, Clone)]
pub(crate) enum Session {
    /// The first answer has not come yet.
    Unknown,
    /// Nobody is signed in; `ended` when somebody was until a moment ago.
    SignedOut {
        /// Whether a session ended under the reader's hands.
        ended: bool,
    },
    /// Somebody is.
    SignedIn(Member, SessionView),
    /// The server could not say.
    Failed(ApiError),
}

/// The handle that the page's parts share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionHandle(RwSignal<Session>);

/// Which of the four states it is, without what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not known yet.
    Unknown,
    /// Nobody.
    SignedOut,
    /// Somebody.
    SignedIn,
    /// The server could not say.
    Failed,
}

impl SessionHandle {
    /// A handle that knows nothing yet.
    pub(crate) fn new() -> Self {
        Self(RwSignal::new(Session::Unknown))
    }

    /// The session as it stands, tracked.
    pub(crate) fn get(self) -> Session {
        self.0.get()
    }

    /// Replaces what is known.
    pub(crate) fn set(self, session: Session) {
        self.0.set(session);
    }

    /// Which state it is; what watches this is not disturbed when a name changes.
    pub(crate) fn phase(self) -> Memo<Phase> {
        Memo::new(move |_| {
            self.0.with(|session| match session {
                Session::Unknown => Phase::Unknown,
                Session::SignedOut { .. } => Phase::SignedOut,
                Session::SignedIn(..) => Phase::SignedIn,
                Session::Failed(_) => Phase::Failed,
            })
        })
    }

    /// The signed-in client; `None` while nobody is signed in.
    pub(crate) fn member(self) -> Option<Member> {
        self.0.with(|session| match session {
            Session::SignedIn(member, _) => Some(*member),
            Session::Unknown | Session::SignedOut { .. } | Session::Failed(_) => None,
        })
    }

    /// Who is signed in, tracked.
    pub(crate) fn view(self) -> Option<SessionView> {
        self.0.with(|session| match session {
            Session::SignedIn(_, view) => Some(view.clone()),
            Session::Unknown | Session::SignedOut { .. } | Session::Failed(_) => None,
        })
    }

    /// Changes what is known of the signed-in person: an app was made, a name changed.
    pub(crate) fn update(self, change: impl FnOnce(&mut SessionView)) {
        self.0.update(|session| {
            if let Session::SignedIn(_, view) = session {
                change(view);
            }
        });
    }

    /// Asks the server who is signed in.
    pub(crate) fn resume(self, guest: Guest) {
        leptos::task::spawn_local(async move {
            let session = match guest.resume().await {
                Ok(Some((member, view))) => Session::SignedIn(member, view),
                Ok(None) => Session::SignedOut { ended: false },
                Err(error) => Session::Failed(error),
            };
            self.set(session);
        });
    }
}

/// The app that a page is about, and what the reader may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Here {
    /// The app.
    pub(crate) app: AppName,
    /// Its tenant.
    pub(crate) tenant: TenantView,
    /// The URL that clients configure.
    pub(crate) url: String,
}

impl Here {
    /// Finds an app among those of the session.
    pub(crate) fn find(session: &SessionView, id: AppId) -> Option<Self> {
        let tenant = session.tenants.iter().find(|tenant| tenant.apps.iter().any(|app| app.id == id))?;
        let app = tenant.apps.iter().find(|app| app.id == id)?;
        let url = format!("{}/v1/apps/{id}", session.gateway_url.trim_end_matches('/'));
        Some(Self { app: app.clone(), tenant: tenant.clone(), url })
    }

    /// Whether the reader may change keys, the ACL and settings.
    pub(crate) fn may_edit(&self) -> bool {
        self.tenant.role >= Role::Developer
    }
}

/// The path to start at: the app that was visited last, else the first one, else the tenant that has none yet.
pub(crate) fn home(session: &SessionView) -> String {
    match (last_app(session), session.tenants.first()) {
        (Some(here), _) => format!("/apps/{}", here.app.id),
        (None, Some(tenant)) => format!("/tenants/{}", tenant.id),
        (None, None) => "/errors".to_owned(),
    }
}

/// The app that was visited last in this browser, else the first one.
pub(crate) fn last_app(session: &SessionView) -> Option<Here> {
    let last = browser::stored(LAST_APP).and_then(|text| text.parse::<AppId>().ok());
    last.and_then(|id| Here::find(session, id)).or_else(|| {
        let first = session.tenants.iter().flat_map(|tenant| &tenant.apps).next()?;
        Here::find(session, first.id)
    })
}

/// Remembers which app was visited.
pub(crate) fn remember(app: AppId) {
    browser::store(LAST_APP, Some(&app.to_string()));
}

/// The key that signing up, or a button, has just made: known until the page goes, stored nowhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreshKey(RwSignal<Option<(AppId, SecretText)>>);

impl FreshKey {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(RwSignal::new(None))
    }

    /// Remembers the key of an app, forgetting any other.
    pub(crate) fn set(self, app: AppId, key: SecretText) {
        self.0.set(Some((app, key)));
    }

    /// The key of this app, if it is still known; tracked.
    pub(crate) fn of(self, app: AppId) -> Option<SecretText> {
        self.0.with(|fresh| fresh.as_ref().filter(|(of, _)| *of == app).map(|(_, key)| key.clone()))
    }
}
