//! From nothing to a message that arrives: a subscriber that is already listening, a curl with the real key, the
//! message with its milliseconds, and what comes next.

mod checklist;
mod code;
mod listening;
mod received;
mod send;

use fanfare_api::SecretText;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::browser;
use crate::components::page_head::PageHead;
use crate::live::{Arrival, Live};
use crate::session::{FreshKey, Here};
use checklist::{Checklist, Progress};
use code::Code;
use listening::ListeningPane;
use received::ReceivedPane;
use send::SendPane;

/// The channel of this page; everyone may use it in a new app.
pub(super) const CHANNEL: &str = "demo:hello";
/// How many arrivals are shown.
const SHOWN_MAX: usize = 8;

/// A message that the page's own button sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    /// The id it was given.
    pub(super) id: String,
    /// When the button was pressed.
    pub(super) at_ms: f64,
    /// When the acknowledgement came.
    pub(super) acknowledged_ms: Option<f64>,
}

/// A message as the page shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    /// The message and when it came.
    pub(super) arrival: Arrival,
    /// When it was on the screen.
    pub(super) painted_ms: Option<f64>,
}

/// What the panes share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// The newest message first.
    pub(super) shown: RwSignal<Vec<Shown>>,
    /// What the button sent last.
    pub(super) sent: RwSignal<Option<Sent>>,
    /// What is ticked.
    progress: Progress,
    app: AppId,
    fresh: FreshKey,
}

impl Stage {
    /// The key, while it is known; tracked.
    pub(super) fn key(self) -> Option<SecretText> {
        self.fresh.of(self.app)
    }

    fn take(self, arrival: Arrival) {
        let id = arrival.message.id.clone();
        self.progress.tick(|done| {
            (done.published, done.received) = (true, true);
            done.token |= arrival.message.publisher.is_some();
        });
        self.shown.update(|shown| {
            shown.insert(0, Shown { arrival, painted_ms: None });
            shown.truncate(SHOWN_MAX);
        });
        // Twice: the first frame still lies before the drawing, the second after it.
        request_animation_frame(move || {
            request_animation_frame(move || {
                let painted_ms = browser::now_ms();
                self.shown.try_update(|shown| {
                    if let Some(shown) = shown.iter_mut().find(|shown| shown.arrival.message.id == id) {
                        shown.painted_ms = Some(painted_ms);
                    }
                });
            })
        });
    }
}

/// The page.
#[component]
pub(crate) fn FirstMessage(here: Here) -> impl IntoView {
    let live = expect_context::<Live>();
    let stage = Stage {
        shown: RwSignal::new(Vec::new()),
        sent: RwSignal::new(None),
        progress: Progress::of(here.app.id),
        app: here.app.id,
        fresh: expect_context::<FreshKey>(),
    };
    let listening = live.listen(CHANNEL, move |arrival| stage.take(arrival));
    view! {
        <PageHead title="First message" about="This page is subscribed already. Send something and watch it arrive."/>
        <div class="stack">
            <div class="panes">
                <ListeningPane here=here.clone() listening=listening/>
                <SendPane here=here.clone() stage=stage/>
                <ReceivedPane stage=stage listening=listening/>
            </div>
            <Checklist here=here.clone() progress=stage.progress/>
            <Code here=here stage=stage/>
        </div>
    }
}
